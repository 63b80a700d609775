"""`from dataset.gazebo_occworld_dataset import GazeboOccWorldDataset, DatasetConfig`, as the guides write it."""

from aerialworld_training.dataset.gazebo_occworld_dataset import (
    DatasetConfig,
    GazeboOccWorldDataset,
    collate_fn,
    start_worker,
)

__all__ = ["DatasetConfig", "GazeboOccWorldDataset", "collate_fn", "start_worker"]

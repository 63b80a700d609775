"""`from dataset.transforms import get_train_transforms`, as the guides write it."""

from aerialworld_training.dataset.transforms import get_train_transforms

__all__ = ["get_train_transforms"]

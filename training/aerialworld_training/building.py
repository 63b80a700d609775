"""The model that a config describes."""

from __future__ import annotations

from aerialworld_training.models.aerial import AerialOccWorld
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.runconfig import RunConfig


def build(config: RunConfig) -> OccWorld:
    """The untrained model, on the CPU, with initial values from torch's generator."""
    if config.is_aerial:
        return AerialOccWorld(config.occworld_config(), config.aerial_config())
    return OccWorld(config.occworld_config())

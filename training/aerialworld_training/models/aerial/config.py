"""Sizes of what AerialOccWorld adds to OccWorld, and the states of its voxels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aerialworld_core.errors import InputError
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.labels import NUM_CLASSES
from aerialworld_training.models.occworld import OccWorldConfig
from aerialworld_training.models.occworld.config import norm_groups

#: The 19th state of a voxel: no ray has passed or hit it.
UNKNOWN = NUM_CLASSES
STATES = NUM_CLASSES + 1
#: Codebooks behind each other, at most.
MOST_DEPTH = 4


@dataclass(frozen=True)
class AerialConfig:
    """The tall grid, and how its levels lie to the low grid's slots.

    OccWorld's own input is `OccWorldConfig.grid_shape`: as wide as `grid`, and as many slots high as it was pretrained
    with, from `slot_minimum` in steps of `slot_size` metres (Occ3D-nuScenes: −1 … 5.4 m). `step` is the time between
    frames in seconds. `motion_width` and `correction_width` are hidden widths. `warp_samples` k takes k × k samples of
    the past per voxel and lets them vote (1: the voxel's centre, the ego-warp baseline). `fill_reach` metres beyond
    what was seen the nearest seen voxel is a hint (0: none are looked for). `code_depth` is the number of codes, each
    of a codebook of its own, whose vectors' sum stands for a cell of the latent (1: OccWorld's own code).
    """

    grid: VoxelGrid = DEFAULT_GRID
    slot_minimum: float = -1.0
    slot_size: float = 0.4
    step: float = 0.5
    motion_width: int = 64
    correction_width: int = 64
    warp_samples: int = 1
    fill_reach: float = 8.0
    code_depth: int = 1

    def check(self, config: OccWorldConfig) -> None:
        """Raises InputError when the sizes do not go with OccWorld's."""
        if self.grid.shape[:2] != config.grid_shape[:2]:
            raise InputError(f"aerial.grid is {self.grid.shape[:2]} voxels wide, the model {config.grid_shape[:2]}")
        channels = config.grid_shape[2] * config.expansion
        if channels % norm_groups(channels):
            raise InputError(f"model: {channels} channels (slots · expansion) cannot be split into norm groups")
        if config.num_classes != NUM_CLASSES:
            raise InputError(f"AerialOccWorld needs {NUM_CLASSES} classes, not {config.num_classes}")
        if self.slot_size <= 0 or self.step <= 0:
            raise InputError("aerial.slot_size and aerial.step must be above 0")
        if self.fill_reach < 0:
            raise InputError("aerial.fill_reach must not be negative")
        if min(self.motion_width, self.correction_width, self.warp_samples) < 1:
            raise InputError("aerial.motion_width, aerial.correction_width and aerial.warp_samples must be at least 1")
        if not 1 <= self.code_depth <= MOST_DEPTH:
            raise InputError(f"model.code_depth = {self.code_depth}: codes are 1 to {MOST_DEPTH} deep")


def states(semantics: Tensor, observed: Tensor | None = None) -> Tensor:
    """Voxel states uint8 from class ids and what was seen (bool, same shape; None: everything counts as seen).

    Give `observed` for frames of the history alone: which voxels of the future will be seen is not known.
    """
    voxels = semantics.to(torch.uint8)
    return voxels if observed is None else voxels.masked_fill(~observed, UNKNOWN)

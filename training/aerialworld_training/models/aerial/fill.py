"""What lies beside the unseen: the nearest seen voxel of the same height, as a hint of what may be there."""

from __future__ import annotations

import torch
from torch import Tensor

from aerialworld_core.grid import VoxelGrid
from aerialworld_training.models.aerial.config import STATES, UNKNOWN

#: Hints are told apart by their distance: a quarter of the reach each.
BANDS = 4
#: No hint: the voxel was seen, or nothing seen lies within reach. Others are band · 19 + state.
NONE = 255


def fill_hints(grid: VoxelGrid, moved: Tensor, reach: float) -> Tensor:
    """moved (N, X, Y, Z) uint8 states → hints of that shape, uint8.

    The nearest seen voxel of a height is looked for along x and y, up to `reach` metres away, counted along the axes;
    of equals, the one in front, then left, behind, right: `baselines.fill_from_neighbours`, with the distance kept.
    """
    size = max(grid.voxel_size[:2])
    filled, hints = moved, torch.full_like(moved, NONE)
    for step in range(1, round(reach / size) + 1):
        band = min(int((step - 0.5) * size / reach * BANDS), BANDS - 1)
        before = filled
        for axis, ahead in ((1, True), (2, True), (1, False), (2, False)):
            beside = neighbours(before, axis, ahead)
            take = (filled == UNKNOWN) & (beside != UNKNOWN)
            filled = torch.where(take, beside, filled)
            hints = torch.where(take, beside + band * STATES, hints)
    return hints


def neighbours(states: Tensor, axis: int, ahead: bool) -> Tensor:
    """Each voxel's neighbour along an axis, in front of it or behind; UNKNOWN at the edge."""
    n = states.shape[axis]
    edge = torch.full_like(states.narrow(axis, 0, 1), UNKNOWN)
    if ahead:
        return torch.cat([states.narrow(axis, 1, n - 1), edge], axis)
    return torch.cat([edge, states.narrow(axis, 0, n - 1)], axis)


def with_hints(moved: Tensor, hints: Tensor) -> Tensor:
    """The moved past with hints in place of the unknown."""
    return torch.where(hints == NONE, moved, hints % STATES)

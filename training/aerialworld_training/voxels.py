"""Which voxels a loss on decoded frames looks at: surfaces whole, open space by sample."""

from __future__ import annotations

import torch
from torch import Tensor

from aerialworld_core.labels import FREE


def near_occupied(occupied: Tensor) -> Tensor:
    """Voxels of (X, Y, Z) bool that share a face with an occupied one, or are occupied themselves."""
    near = occupied.clone()
    for axis in range(3):
        n = occupied.shape[axis] - 1
        near.narrow(axis, 1, n).logical_or_(occupied.narrow(axis, 0, n))
        near.narrow(axis, 0, n).logical_or_(occupied.narrow(axis, 1, n))
    return near


def sample_voxels(
    semantics: Tensor, observed: Tensor, free_samples: int, occupied_weight: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows (M,) int64 into a frame's flattened voxels and their weights (M,) float32.

    semantics (X, Y, Z) uint8, observed (X, Y, Z) bool, on the generator's device. No unknown voxel is among them; every
    occupied one and its neighbours is; of the other free ones `free_samples` draws stand for all (with the inverse of
    their probability), or all are there if they are no more or `free_samples` is 0.
    """
    occupied = semantics != FREE
    near = near_occupied(occupied)
    kept = torch.nonzero((near & observed).flatten())[:, 0]
    rest = torch.nonzero((observed & ~near).flatten())[:, 0]
    drawn = len(rest) if free_samples == 0 else min(free_samples, len(rest))
    if drawn < len(rest):
        some = rest[torch.randperm(len(rest), generator=generator, device=rest.device)[:drawn]].sort().values
    else:
        some = rest
    weights = torch.where(occupied.flatten()[kept], occupied_weight, 1.0)
    return torch.cat([kept, some]), torch.cat([weights, weights.new_full((drawn,), len(rest) / max(drawn, 1))])

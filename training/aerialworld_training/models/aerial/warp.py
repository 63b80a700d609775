"""The moved past: history frames' voxels where they lie in the grid of another pose, the latest observation winning.

The grid is gravity-aligned and its height counts from a datum that stays, so whole columns move in the plane. The same
numbers as `aerialworld_core.warp`, for batches and on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, NUM_CLASSES
from aerialworld_training.models.aerial.config import STATES, UNKNOWN
from aerialworld_training.models.aerial.fill import BANDS, NONE


def column_sources(
    grid: VoxelGrid, past: Tensor, future: Tensor, offset: tuple[float, float] = (0.0, 0.0)
) -> tuple[Tensor, Tensor]:
    """Which column of the past grid lies at each column of the future grid: flat index (X, Y) int64 (0 where it lies
    outside) and whether it lies inside (X, Y).

    past, future: planar poses (3,) float64 [x, y, yaw] in map. `offset` moves the sampled point away from the column's
    centre, in voxels.
    """
    nx, ny = grid.shape[:2]
    turn = future[2] - past[2]
    c, s = torch.cos(turn), torch.sin(turn)
    cp, sp = torch.cos(past[2]), torch.sin(past[2])
    away = future[:2] - past[:2]
    tx, ty = cp * away[0] + sp * away[1], cp * away[1] - sp * away[0]
    i, j = (torch.arange(n, dtype=torch.float64, device=past.device) for n in (nx, ny))
    x = (grid.minimum[0] + (i + 0.5 + offset[0]) * grid.voxel_size[0])[:, None]
    y = (grid.minimum[1] + (j + 0.5 + offset[1]) * grid.voxel_size[1])[None]
    # The margin keeps a centre that falls on a voxel's lower face, but for rounding, in that voxel.
    row = torch.floor((c * x - s * y + tx - grid.minimum[0]) / grid.voxel_size[0] + 1e-9)
    column = torch.floor((s * x + c * y + ty - grid.minimum[1]) / grid.voxel_size[1] + 1e-9)
    inside = (row >= 0) & (row < nx) & (column >= 0) & (column < ny)
    return torch.where(inside, row * ny + column, 0).long(), inside


def fuse_history(grid: VoxelGrid, states: Tensor, past: Tensor, future: Tensor, samples: int = 1) -> Tensor:
    """States (T, samples², X, Y, Z) uint8 at T future poses of what the history saw; UNKNOWN where it saw nothing.

    states (H, X, Y, Z) uint8 of the history frames, oldest first; past (H, 3) and future (T, 3) planar poses. Each of
    the samples² points in a column is looked up by itself; one is the ego-warp baseline.
    """
    steps = [(k + 0.5) / samples - 0.5 for k in range(samples)]
    offsets = [(a, b) for a in steps for b in steps]
    _, nx, ny, nz = states.shape
    fused = torch.full((len(future), len(offsets), nx, ny, nz), UNKNOWN, dtype=torch.uint8, device=states.device)
    for t, pose in enumerate(future):
        for k, offset in enumerate(offsets):
            for frame, origin in zip(states, past, strict=True):
                source, inside = column_sources(grid, origin, pose, offset)
                moved = frame.reshape(nx * ny, nz)[source].masked_fill(~inside[..., None], UNKNOWN)
                fused[t, k] = torch.where(moved == UNKNOWN, fused[t, k], moved)
    return fused


#: Logits of a hint's confidence of 1, so that it moves at the pace of other parameters.
HINT_SCALE = 64.0


class WarpEvidence(nn.Module):
    """The moved past as class logits: each state's own class leads by the confidence that states of its kind deserve;
    what was never seen counts as free, with little confidence, and what lies beside it has a say that begins at
    zero."""

    def __init__(self) -> None:
        super().__init__()
        confidence = torch.full((STATES,), 4.0)
        confidence[UNKNOWN] = 1.0
        self.log_confidence = nn.Parameter(confidence.log())
        self.hint_confidence = nn.Parameter(torch.zeros(BANDS, STATES))

    def forward(self, states: Tensor, hints: Tensor | None = None) -> Tensor:
        """Sampled states (M, K) and hints (M,) uint8 (`fill.fill_hints`) → logits (M, classes): the samples' votes, and
        the hints'."""
        index = states.long()
        confidence = self.log_confidence.exp()[index] / states.shape[1]
        logits = confidence.new_zeros(len(states), NUM_CLASSES)
        logits = logits.scatter_add(1, index.masked_fill(index == UNKNOWN, FREE), confidence)
        if hints is None:
            return logits
        none = hints == NONE
        row = hints.long().masked_fill(none, FREE)
        confidence = (HINT_SCALE * self.hint_confidence).flatten()[row].masked_fill(none, 0.0)
        return logits.scatter_add(1, (row % STATES)[:, None], confidence[:, None])

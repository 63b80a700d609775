"""Tall columns into the channels of a low pretrained VAE and out again.

OccWorld folds height into channels: slot by slot, each an embedding of a class. Here every level of a tall grid adds a
vector of its own for each state to its column's channels, and a 1×1 convolution reads every level out of the decoder's.
Both are *what the low model would do with a resampled grid* plus a learned part that begins at zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aerialworld_core.labels import FREE
from aerialworld_training.models.aerial.config import STATES, UNKNOWN, AerialConfig
from aerialworld_training.models.occworld import OccWorldConfig


def overlap(config: OccWorldConfig, aerial: AerialConfig) -> tuple[Tensor, Tensor, Tensor]:
    """How levels and slots lie to each other: `reads` (levels, slots) is 1 where a slot's centre lies in the level (the
    nearest level beyond the grid); `spread` (levels, slots) the mean of those slots for each level, or the nearest slot
    where there is none; `above` (levels,) is 1 for levels over all slots."""
    minimum, size, levels = aerial.grid.minimum[2], aerial.grid.voxel_size[2], aerial.grid.shape[2]
    slots = config.grid_shape[2]
    slot_centre = aerial.slot_minimum + aerial.slot_size * (torch.arange(slots, dtype=torch.float64) + 0.5)
    level_centre = minimum + size * (torch.arange(levels, dtype=torch.float64) + 0.5)
    # The margin keeps a centre on a level's lower face, but for rounding, in that level.
    level = torch.floor((slot_centre - minimum) / size + 1e-9).long().clamp(0, levels - 1)
    reads = F.one_hot(level, levels).T.to(torch.float32)
    nearest = (level_centre[:, None] - slot_centre).abs().argmin(1)
    counts = reads.sum(1, keepdim=True)
    spread = torch.where(counts > 0, reads / counts.clamp(min=1), F.one_hot(nearest, slots).to(torch.float32))
    above = (level_centre > slot_centre[-1]) & (counts[:, 0] == 0)
    return reads, spread, above.to(torch.float32)


class HeightAdapter(nn.Module):
    """`table` (levels, 19, channels) and `head` begin at zero: then columns are resampled to the slots by height,
    unknown counts as free, and levels above the slots read the top slot and lean towards free."""

    reads: Tensor
    spread: Tensor
    above: Tensor

    def __init__(self, config: OccWorldConfig, aerial: AerialConfig) -> None:
        super().__init__()
        self.levels, self.slots, self.width = aerial.grid.shape[2], config.grid_shape[2], config.expansion
        channels = self.slots * self.width
        self.table = nn.Parameter(torch.zeros(self.levels, STATES, channels))
        self.head = nn.Conv2d(channels, self.levels * self.width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        for name, value in zip(("reads", "spread", "above"), overlap(config, aerial), strict=True):
            self.register_buffer(name, value, persistent=False)

    def columns(self, class_embeds: Tensor) -> Tensor:
        """What each state at each level adds to its column: (levels, 19, slots · e)."""
        embeds = torch.cat([class_embeds, class_embeds[FREE : FREE + 1]])
        resampled = self.reads[:, None, :, None] * embeds[None, :, None, :]
        return resampled.flatten(2) + self.table

    def encode(self, states: Tensor, class_embeds: Tensor) -> Tensor:
        """States (N, X, Y, levels) uint8 → the VAE encoder's input (N, slots · e, X, Y).

        The sum over a column's levels, taken as that of an all-free column plus what its other voxels change: they are
        about 1 % occupied ones, looked up one by one, and the unknown, multiplied as a mask.
        """
        n, x, y, levels = states.shape
        table = self.columns(class_embeds)
        change = table - table[:, FREE : FREE + 1]
        flat = states.reshape(-1, levels)
        out = table[:, FREE].sum(0).expand(len(flat), -1)
        column, level = torch.nonzero((flat != FREE) & (flat != UNKNOWN), as_tuple=True)
        if len(column):
            bags = torch.bincount(column, minlength=len(flat)).cumsum(0).roll(1)
            bags[0] = 0
            rows = level * STATES + flat[column, level].long()
            out = out + F.embedding_bag(rows, change.flatten(0, 1), bags, mode="sum")
        unknown = flat == UNKNOWN
        if unknown.any():
            out = out + unknown.to(change.dtype) @ change[:, UNKNOWN]
        return out.reshape(n, x, y, -1).permute(0, 3, 1, 2)

    def decode(self, image: Tensor, class_embeds: Tensor) -> Tensor:
        """The VAE decoder's output (N, slots · e, X, Y) → features (N, X, Y, levels, e), to be classified by
        `class_embeds`."""
        slots = image.unflatten(1, (self.slots, self.width))
        resampled = torch.einsum("zs,nsehw->nzehw", self.spread, slots)
        lean = self.above[:, None] * class_embeds[FREE]
        learned = self.head(image).unflatten(1, (self.levels, self.width))
        return (resampled + lean[..., None, None] + learned).permute(0, 3, 4, 1, 2)

"""Which samples an iteration sees: a function of seed, epoch and iteration, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def mixed(*numbers: int) -> int:
    """One seed of several numbers, the same everywhere."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class Draw(NamedTuple):
    """A sample's index, and where it is drawn: all that is random about it comes from `seed`, `epoch`, `position`."""

    sample: int
    seed: int
    epoch: int
    position: int

    def generator(self, purpose: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
        """Another stream for each purpose."""
        return torch.Generator(device).manual_seed(mixed(self.seed, self.epoch, self.position, purpose))


class EpochOrder:
    """Each epoch passes over all samples in an order of its own (or draws by `weights`, with replacement). An iteration
    takes the next `batch` · `world` · `accumulate` of them; the last one is filled up from the epoch's start."""

    def __init__(
        self, count: int, seed: int, batch: int, world: int = 1, accumulate: int = 1, weights: Tensor | None = None
    ) -> None:
        self.count, self.seed, self.weights = count, seed, weights
        self.batch, self.world, self.accumulate = batch, world, accumulate
        self.together = batch * world * accumulate
        self.iterations = -(-count // self.together)

    def order(self, epoch: int) -> Tensor:
        """(count,) sample indices of an epoch."""
        generator = torch.Generator().manual_seed(mixed(self.seed, epoch))
        if self.weights is not None:
            return torch.multinomial(self.weights, self.count, replacement=True, generator=generator)
        return torch.randperm(self.count, generator=generator)

    def batches(self, epoch: int, first: int, rank: int = 0) -> Iterator[list[Draw]]:
        """The micro-batches of a process from iteration `first` on, `accumulate` of them for each iteration."""
        order = self.order(epoch).tolist()
        for iteration in range(first, self.iterations):
            for micro in range(self.accumulate):
                start = iteration * self.together + (micro * self.world + rank) * self.batch
                yield [Draw(order[at % self.count], self.seed, epoch, at) for at in range(start, start + self.batch)]

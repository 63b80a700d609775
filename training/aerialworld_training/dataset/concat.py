"""Several data sets as one, each drawn as often as it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import ConcatDataset as TorchConcatDataset
from torch.utils.data import Dataset, WeightedRandomSampler

from aerialworld_core.errors import InputError


class ConcatDataset(TorchConcatDataset[Any]):
    """torch's, with a share of the draws for each data set, whatever its length: `weights` need not sum to 1."""

    def __init__(self, datasets: Sequence[Dataset[Any]], weights: Sequence[float] | None = None) -> None:
        super().__init__(datasets)
        self.weights = [float(len(d)) for d in datasets] if weights is None else [float(w) for w in weights]  # type: ignore[arg-type]
        if len(self.weights) != len(datasets) or min(self.weights) < 0 or not sum(self.weights) > 0:
            raise InputError(f"{len(datasets)} data sets need as many weights of 0 or more, not {weights}")

    @property
    def sample_weights(self) -> torch.Tensor:
        """(len,) float64: each sample's chance, up to a factor."""
        lengths = [len(d) for d in self.datasets]  # type: ignore[arg-type]
        return torch.cat(
            [torch.full((n,), w / n, dtype=torch.float64) for n, w in zip(lengths, self.weights, strict=True)]
        )

    def sampler(self, count: int | None = None, generator: torch.Generator | None = None) -> WeightedRandomSampler:
        """Draws `count` samples (as many as there are) with replacement."""
        return WeightedRandomSampler(self.sample_weights.tolist(), count or len(self), generator=generator)

"""A volume's occupied voxels alone: one or two in a hundred, so what is counted row by row is counted on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.labels import DYNAMIC, FREE, NUM_CLASSES

#: By class id: whether it moves.
MOVES = np.isin(np.arange(NUM_CLASSES), DYNAMIC)


@dataclass(frozen=True, eq=False)
class Occupied:
    """cells (K,) int64: flat indices (C order) of a volume's occupied voxels, each once, in any order; classes (K,)
    uint8, never FREE. Every other voxel is FREE."""

    cells: NDArray[np.int64]
    classes: NDArray[np.uint8]

    @classmethod
    def of(cls, volume: NDArray[np.uint8]) -> Occupied:
        """Of class ids (X, Y, Z)."""
        flat = volume.reshape(-1)
        cells = np.flatnonzero(flat != FREE)
        return cls(cells, flat[cells])

    def where(self, keep: NDArray[np.bool_]) -> Occupied:
        """Those of its voxels for which `keep` (K,) holds."""
        return Occupied(self.cells[keep], self.classes[keep])

    def and_also(self, *others: Occupied) -> Occupied:
        """Together with voxels that are none of its own, nor of each other."""
        parts = (self, *others)
        return Occupied(np.concatenate([p.cells for p in parts]), np.concatenate([p.classes for p in parts]))

    @property
    def moving(self) -> Occupied:
        """The voxels of moving classes."""
        return self.where(MOVES[self.classes])

    def volume(self, shape: Sequence[int]) -> NDArray[np.uint8]:
        """Class ids in a volume of `shape`."""
        voxels = np.full(int(np.prod(shape)), FREE, np.uint8)
        voxels[self.cells] = self.classes
        return voxels.reshape(tuple(shape))


def connected(cells: NDArray[np.int64], shape: Sequence[int]) -> NDArray[np.int64]:
    """Which of the connected parts (26 neighbours) each of the voxels `cells` (K,), ascending flat indices, belongs to:
    (K,) from 0 on, by each part's first voxel."""
    i, j, k = np.unravel_index(cells, tuple(shape))
    firsts, seconds = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for da, db, dc in _AHEAD:
        inside = np.flatnonzero(
            (i + da < shape[0]) & (j + db >= 0) & (j + db < shape[1]) & (k + dc >= 0) & (k + dc < shape[2])
        )
        wanted = cells[inside] + ((da * shape[1] + db) * shape[2] + dc)
        at = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
        met = cells[at] == wanted
        firsts.append(inside[met])
        seconds.append(at[met])
    one, other = np.concatenate(firsts), np.concatenate(seconds)
    first = np.arange(len(cells))  # the earliest voxel known to be connected
    while True:
        a, b = first[one], first[other]
        differ = a != b
        if not differ.any():
            return np.unique(first, return_inverse=True)[1]
        np.minimum.at(first, np.maximum(a, b)[differ], np.minimum(a, b)[differ])
        while (first != (nearer := first[first])).any():
            first = nearer


#: The half of a voxel's 26 neighbours that lie after it in C order.
_AHEAD = [(a, b, c) for a in (0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) > (0, 0, 0)]

"""What tells the ground's height where no terrain model does: the feet of what stands, and surfaces with heights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """`bases` (N, 3): middles of the feet of bodies, z the foot's height, which is that of the *lowest* ground below it
    (so PLATEAU extrudes buildings: on a slope the foot meets the ground at its downhill edge); `corners` (M, 2) of the
    feet in plan and the body (M,) that each is of; `surfaces` (K, 3): places all over surfaces that have heights of
    their own. All in map."""

    bases: Array
    corners: Array
    owner: Index
    surfaces: Array

    @classmethod
    def of(cls, bases: Array, surfaces: Array | None = None) -> Evidence:
        """Bodies whose feet are mere points (N, 3)."""
        bases = np.asarray(bases, np.float64).reshape(-1, 3)
        bases = bases[np.isfinite(bases).all(axis=1)]
        none = np.zeros((0, 3))
        return cls(bases, bases[:, :2], np.arange(len(bases)), none if surfaces is None else surfaces)

    def __len__(self) -> int:
        return len(self.bases) + len(self.surfaces)

    def places(self) -> Array:
        """(N + K, 3): the bases and the surfaces' places."""
        return np.concatenate([self.bases, self.surfaces])


def thinned(places: Array, square_size: float) -> Array:
    """One place, the mean, of all places (N, 3) in each square: even where a file has many small triangles."""
    square = np.floor(places[:, :2] / square_size)
    order = np.lexsort((places[:, 2], square[:, 1], square[:, 0]))
    first = np.flatnonzero(np.r_[True, (np.diff(square[order], axis=0) != 0).any(axis=1)]) if len(order) else order
    number = np.diff(np.r_[first, len(order)])
    return np.asarray(np.add.reduceat(places[order], first, axis=0) / number[:, None]) if len(order) else places

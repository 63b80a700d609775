"""Finding the terrain triangles near a square without touching the others: a city's terrain may be millions of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.overlay import bounds_in_plan
from aerialworld_core.frames import Array

#: Triangles that share a cell, about.
_PER_CELL = 64


@dataclass(eq=False)
class Rows:
    """Triangles by cells of the x-y plane, each in the one that holds its middle.

    `order` (T,) int32 rows, cell by cell; `start` (C + 1,) int64 into it; `bounds` (C, 2, 2) lowest and highest x, y of
    each cell's triangles.
    """

    order: NDArray[np.int32]
    start: NDArray[np.int64]
    bounds: Array

    @classmethod
    def of(cls, triangles: Array) -> Rows:
        """Sort triangles (T, 3, 3) into cells."""
        if not len(triangles):
            return cls(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros((0, 2, 2)))
        middle = (triangles[:, 0, :2] + triangles[:, 1, :2] + triangles[:, 2, :2]) / 3
        low = middle.min(axis=0)
        extent = np.maximum(middle.max(axis=0) - low, 1e-3)
        edge = max(float(np.sqrt(extent.prod() * _PER_CELL / len(middle))), float(extent.max()) / 4000)
        column, row = np.floor((middle - low) / edge).astype(np.int64).T
        cell = row * (int(extent[0] / edge) + 1) + column
        order = np.argsort(cell, kind="stable")
        _, first = np.unique(cell[order], return_index=True)
        lowest, highest = bounds_in_plan(triangles)
        bounds = np.stack(
            [np.minimum.reduceat(lowest[order], first), np.maximum.reduceat(highest[order], first)], axis=1
        )
        return cls(order.astype(np.int32), np.append(first, len(order)).astype(np.int64), bounds)

    def near(self, triangles: Array, low: Array, high: Array) -> NDArray[np.int64]:
        """The rows of triangles whose bounds touch the box (2,) low to high, ascending."""
        cells = np.flatnonzero((self.bounds[:, 0] <= high).all(axis=1) & (self.bounds[:, 1] >= low).all(axis=1))
        spans = [self.order[self.start[c] : self.start[c + 1]] for c in cells]
        rows = np.sort(np.concatenate(spans)).astype(np.int64) if spans else np.zeros(0, np.int64)
        lowest, highest = bounds_in_plan(triangles[rows])
        return rows[(lowest <= high).all(axis=1) & (highest >= low).all(axis=1)]

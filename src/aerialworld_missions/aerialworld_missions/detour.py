"""Ways around buildings at the height that a flight has: the shortest one on the height map, pulled straight."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.route import Fence
from aerialworld_missions.heightmap import HeightMap
from aerialworld_missions.path import STEP

#: Metres beyond the clearance that a way keeps, for the bends of the flight and the raster's cells.
SPARE = 2.5
#: How far beyond a leg a way around is looked for, metres: the first that finds one.
WIDE = (60.0, 150.0, 400.0)
#: Cells of the graph at most: larger boxes are searched more coarsely.
MOST_CELLS = 60_000
_STEPS = np.array([(0, 1), (1, 0), (1, 1), (1, -1)])


class Obstacles:
    """Where, seen from above, a flight does not fit.

    `level(ground)` gives the height in map at which it flies over ground heights (R, C); `clearance` metres kept.
    """

    def __init__(
        self, name: str, heights: HeightMap, level: Callable[[Array], Array], clearance: float, fence: Fence
    ) -> None:
        self._name, self._heights, self._level, self._reach, self._fence = name, heights, level, clearance, fence

    def around(self, a: Array, b: Array) -> list[Array]:
        """Corners between points `a` and `b` (2,) of a way that keeps clear; none where the straight one does.

        Raises PlanError where there is none, or where `a` or `b` itself stands too near to something.
        """
        why = ""
        for wide in WIDE:
            box = _Box(self._heights, np.minimum(a, b) - wide, np.maximum(a, b) + wide)
            blocked = box.blocked(self._level, self._reach)
            for end in (a, b):
                if box.hits(blocked, end[None]):
                    raise PlanError(
                        f"{self._name}: ({end[0]:.0f}, {end[1]:.0f}) lies within {self._reach:g} m of a building at "
                        "the height of the flight, or outside the world; move it or fly higher"
                    )
            if not box.hits(blocked, _between(a, b, STEP)):
                return []
            blocked |= box.outside(self._fence)
            found = box.way(blocked, a, b)
            if found is not None:
                return box.pulled(blocked, found)
            why = f"no way around within {wide:g} m"
        raise PlanError(
            f"{self._name}: from ({a[0]:.0f}, {a[1]:.0f}) to ({b[0]:.0f}, {b[1]:.0f}) there is {why}; fly higher, move "
            "the line, or let it rise (avoid: raise)"
        )


class _Box:
    """A part of the height map."""

    def __init__(self, heights: HeightMap, low: Array, high: Array) -> None:
        self._rows, self._columns = heights.cells_in(low, high)
        self._heights, self._cell = heights, heights.cell
        self._low = heights.low + heights.cell * np.array([self._columns.start, self._rows.start])

    def blocked(self, level: Callable[[Array], Array], clearance: float) -> NDArray[np.bool_]:
        """(R, C) cells within the clearance, and some more, of something that reaches up to the clearance below the
        flight; and where there is no ground."""
        heights, (rows, columns) = self._heights, (self._rows, self._columns)
        ground = heights.ground[rows, columns]
        with np.errstate(invalid="ignore"):
            tall = heights.surface[rows, columns] > level(ground) - clearance
        nothing = ~np.isfinite(ground)
        radius = (clearance + SPARE) / self._cell
        reach = math.ceil(radius)
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        return np.asarray(binary_dilation(tall, np.hypot(dy, dx) <= radius) | nothing)

    def outside(self, fence: Fence) -> NDArray[np.bool_]:
        """(R, C) cells that lie outside of a fence."""
        shape = self._rows.stop - self._rows.start, self._columns.stop - self._columns.start
        row, column = (a.ravel() for a in np.indices(shape))
        xy = self._centres(row, column)
        middle = np.full(len(xy), (fence.floor + fence.ceiling) / 2)
        return ~fence.contains(np.column_stack([xy, middle])).reshape(shape)

    def _centres(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> Array:
        return np.asarray(self._low + (np.stack([column, row], axis=1) + 0.5) * self._cell)

    def hits(self, blocked: NDArray[np.bool_], xy: Array) -> bool:
        """Whether any of the points (N, 2) is blocked or outside the box."""
        column, row = np.floor((xy - self._low) / self._cell).astype(np.int64).T
        rows, columns = blocked.shape
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return not inside.all() or bool(blocked[row, column].any())

    def way(self, blocked: NDArray[np.bool_], a: Array, b: Array) -> Array | None:
        """(N, 2) the shortest way from `a` to `b` over free cells, or None."""
        coarse = max(1, math.ceil(math.sqrt(blocked.size / MOST_CELLS)))
        rows, columns = (math.ceil(n / coarse) for n in blocked.shape)
        padded = np.ones((rows * coarse, columns * coarse), bool)
        padded[: blocked.shape[0], : blocked.shape[1]] = blocked
        free: NDArray[np.bool_] = ~np.asarray(padded.reshape(rows, coarse, columns, coarse).any(axis=(1, 3)))
        edge = coarse * self._cell
        ends = [tuple(np.floor((p - self._low) / edge).astype(int)[::-1]) for p in (a, b)]
        for end in ends:
            free[end] = True
        number = np.arange(free.size).reshape(free.shape)
        source, target, weight = [], [], []
        for dy, dx in _STEPS:
            one = np.s_[: rows - dy, max(0, -dx) : columns - max(0, dx)]
            two = np.s_[dy:, max(0, dx) : columns + min(0, dx)]
            both = free[one] & free[two]
            source.append(number[one][both])
            target.append(number[two][both])
            weight.append(np.full(int(both.sum()), math.hypot(dy, dx) * edge))
        pairs = (np.concatenate(source), np.concatenate(target))
        graph = csr_matrix((np.concatenate(weight), pairs), shape=(free.size, free.size))
        first, last = (int(number[end]) for end in ends)
        cost, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
        if not np.isfinite(cost[last]):
            return None
        cells = [last]
        while cells[-1] != first:
            cells.append(int(before[cells[-1]]))
        row, column = np.divmod(np.array(cells[::-1]), columns)
        centres = self._low + (np.stack([column, row], axis=1) + 0.5) * edge
        return np.concatenate([a[None], centres[1:-1], b[None]])

    def pulled(self, blocked: NDArray[np.bool_], way: Array) -> list[Array]:
        """The inner corners of a way, as few as sight allows."""
        corners, here = [], 0
        while here < len(way) - 1:
            step = len(way) - 1 - here
            while step > 1 and self.hits(blocked, _between(way[here], way[here + step], self._cell / 2)):
                step = (step + 1) // 2 if step > 8 else step - 1
            here += step
            corners.append(way[here])
        return corners[:-1]


def _between(a: Array, b: Array, step: float) -> Array:
    """(N, 2) points from `a` to `b`, at most `step` metres apart."""
    return np.linspace(a, b, max(2, math.ceil(float(np.hypot(*(b - a))) / step) + 1))

"""Where a rover can drive, and routes through it that a vehicle with a turning circle can follow.

The state of the search is a cell and one of eight headings; a step goes straight ahead or turns by 45° along an arc.
Routes therefore never turn on the spot: a way back is driven as a loop or a U-turn of three cells' radius.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from aerialworld_core.frames import Array
from aerialworld_core.labels import DRIVEABLE_SURFACE, GROUND, OTHER_FLAT, SIDEWALK
from aerialworld_missions.heightmap import HeightMap

#: East, north-east, north, … as (column, row) steps.
DIRECTIONS = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])
#: What a metre costs: roads are preferred, open ground is allowed.
COST = {DRIVEABLE_SURFACE: 1.0, OTHER_FLAT: 1.5, SIDEWALK: 2.0}
COST_ELSEWHERE = 3.0
#: What a turn of 45° costs besides its length, metres: straight runs are preferred to weaving.
TURN_COST = 1.5
#: Steps of the surface higher than this are obstacles, metres.
STEP_HEIGHT = 0.3
#: Metres kept from ground too steep or missing: half the vehicle's width and some.
EDGE_CLEARANCE = 1.2


@dataclass(frozen=True, eq=False)
class FreeSpace:
    """The part of a height map within a box that a rover may drive on.

    low     (2,) south-west corner of the first cell, map x, y
    cell    metres
    free    (R, C) bool
    room    (R, C) metres that a vehicle may stray from the cell's centre without touching what it must keep clear of
    cost    (R, C) cost per metre
    """

    low: Array
    cell: float
    free: NDArray[np.bool_]
    room: Array
    cost: Array

    @classmethod
    def within(
        cls, heights: HeightMap, low: Array, high: Array, *, clearance: float, slope: float, blocked: Array
    ) -> FreeSpace:
        """The cells of the box from `low` to `high` (2,) at least `clearance` metres from obstacles, on ground no
        steeper than `slope` radians. `blocked` (K, 2) are points around which nothing is free either."""
        reach = clearance + 2 * heights.cell
        rows, columns = heights.cells_in(low - reach, high + reach)
        ground, surface = heights.ground[rows, columns], heights.surface[rows, columns]
        corner = heights.low + heights.cell * np.array([columns.start, rows.start])
        with np.errstate(invalid="ignore"):
            obstacle = (surface - ground > STEP_HEIGHT) | ~np.isin(heights.face_class[rows, columns], GROUND)
        if min(ground.shape, default=0) < 2:
            shape = ground.shape
            return cls(corner, heights.cell, np.zeros(shape, bool), np.zeros(shape), np.ones(shape))
        dy, dx = np.gradient(ground, heights.cell)
        unsafe = ~(np.hypot(dx, dy) <= np.tan(slope))  # NaN where the ground ends
        for x, y in blocked:
            column, row = np.floor((np.array([x, y]) - corner) / heights.cell).astype(int)
            obstacle[max(row, 0) : row + 1, max(column, 0) : column + 1] = True
        rim = np.zeros((ground.shape[0] + 2, ground.shape[1] + 2), bool)
        rim[1:-1, 1:-1] = (
            True  # beyond the raster is beyond the world, or so far beyond the box that it does not matter
        )
        half_diagonal = heights.cell * 0.71
        to_edge = distance_transform_edt(np.pad(~unsafe, 1) & rim)[1:-1, 1:-1] * heights.cell - EDGE_CLEARANCE
        to_obstacle = np.full(ground.shape, np.inf)
        if obstacle.any():
            to_obstacle = distance_transform_edt(~obstacle) * heights.cell - clearance
        room = np.minimum(to_edge, to_obstacle) - half_diagonal
        y = corner[1] + (np.arange(ground.shape[0]) + 0.5) * heights.cell
        x = corner[0] + (np.arange(ground.shape[1]) + 0.5) * heights.cell
        in_box = ((y >= low[1]) & (y <= high[1]))[:, None] & ((x >= low[0]) & (x <= high[0]))[None, :]
        cost = np.full(ground.shape, COST_ELSEWHERE)
        for label, value in COST.items():
            cost[heights.face_class[rows, columns] == label] = value
        return cls(corner, heights.cell, (room >= 0) & in_box, np.where(in_box, room, -np.inf), cost)

    def centres(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> Array:
        """(N, 2) map positions of cell centres."""
        return self.low + (np.stack([column, row], axis=1) + 0.5) * self.cell

    def fits(self, xy: Array) -> bool:
        """Whether every point (N, 2) lies in a free cell."""
        column, row = np.floor((xy - self.low) / self.cell).astype(np.int64).T
        rows, columns = self.free.shape
        if row.min() < 0 or column.min() < 0 or row.max() >= rows or column.max() >= columns:
            return False
        return bool(self.free[row, column].all())


@dataclass(frozen=True, eq=False)
class Lattice:
    """The graph of states (heading, row, column) of a free space; only states from which one can go on for ever."""

    space: FreeSpace

    @cached_property
    def graph(self) -> csr_matrix:
        """Sparse costs between states, numbered heading · R · C + row · C + column."""
        free, cost = self.space.free, self.space.cost
        rows, columns = free.shape
        numbers = np.arange(free.size).reshape(free.shape)
        r, c = np.nonzero(free)

        def reaches(offset: NDArray[np.int64]) -> NDArray[np.bool_]:
            i, j = r + offset[1], c + offset[0]
            ok = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
            ok[ok] = free[i[ok], j[ok]]
            return np.asarray(ok)

        source, target, weight = [], [], []
        for heading, ahead in enumerate(DIRECTIONS):
            open_ahead = reaches(ahead)
            for turn in (-1, 0, 1):
                after = (heading + turn) % 8
                offset = ahead if turn == 0 else ahead + DIRECTIONS[after]
                ok = open_ahead if turn == 0 else open_ahead & reaches(DIRECTIONS[after]) & reaches(offset)
                i, j = r[ok], c[ok]
                k, m = i + offset[1], j + offset[0]
                length = float(np.hypot(*offset)) * self.space.cell + (0.0 if turn == 0 else TURN_COST)
                source.append(heading * free.size + numbers[i, j])
                target.append(after * free.size + numbers[k, m])
                weight.append(length * 0.5 * (cost[i, j] + cost[k, m]))
        shape = (8 * free.size, 8 * free.size)
        pairs = (np.concatenate(source), np.concatenate(target))
        return csr_matrix((np.concatenate(weight), pairs), shape=shape)

    @cached_property
    def states(self) -> NDArray[np.int64]:
        """The largest set of states each of which can be reached from each other, ascending; empty if there is none."""
        if self.graph.nnz == 0:
            return np.zeros(0, np.int64)
        _, label = connected_components(self.graph, directed=True, connection="strong")
        counts = np.bincount(label)
        if counts.max() < 2:
            return np.zeros(0, np.int64)
        return np.flatnonzero(label == int(np.argmax(counts)))

    def cells(self, states: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of states."""
        row, column = np.divmod(states % self.space.free.size, self.space.free.shape[1])
        return row, column

    def positions(self, states: NDArray[np.int64]) -> Array:
        """(N, 2) map positions of states."""
        return self.space.centres(*self.cells(states))

    def way(self, start: int, goals: NDArray[np.int64]) -> list[int] | None:
        """The cheapest way from state `start` to one of `goals`, states of one cell; None where there is none.

        Dijkstra's search with costs reduced by what a straight line would save at least (Hart, Nilsson and Raphael,
        1968), and within growing limits, so that only what lies about the way is looked at.
        """
        graph, size = self.graph, self.space.free.size
        away = np.hypot(*(self._places - self.positions(goals[:1])).T)
        saved = away * float(self.space.cost[self.space.free].min())
        reduced = graph.data + saved[graph.indices % size] - saved[self._sources % size]
        search = csr_matrix((np.maximum(reduced, 1e-9), graph.indices, graph.indptr), shape=graph.shape)
        for limit in (40.0, 160.0, 640.0, np.inf):
            cost, before = dijkstra(search, indices=start, return_predecessors=True, limit=limit)
            goal = int(goals[int(np.argmin(cost[goals]))])
            if np.isfinite(cost[goal]):
                way = [goal]
                while way[-1] != start:
                    way.append(int(before[way[-1]]))
                return way[::-1]
        return None

    @cached_property
    def _places(self) -> Array:
        """(R · C, 2) the cells' centres."""
        row, column = np.indices(self.space.free.shape).reshape(2, -1)
        return self.space.centres(row, column)

    @cached_property
    def _sources(self) -> NDArray[np.int64]:
        """The state that each of the graph's edges leaves, in the order of its data."""
        return np.repeat(np.arange(self.graph.shape[0]), np.diff(self.graph.indptr))

    def onward(self, state: int, length: float) -> Array:
        """(N, 2) positions of a way on from `state` to a place `length` metres or more away, itself the first; only
        itself where there is none."""
        limit = 6.0 * (length + 10.0)
        cost, before = dijkstra(self.graph, indices=state, return_predecessors=True, limit=limit)
        found = self.states[np.isfinite(cost[self.states])]
        here = self.positions(np.array([state]))
        far = found[np.hypot(*(self.positions(found) - here).T) >= length]
        way = [int(far[int(np.argmin(cost[far]))])] if len(far) else [state]
        while way[-1] != state:
            way.append(int(before[way[-1]]))
        return self.positions(np.array(way[::-1]))

    def reversed(self, state: int) -> int:
        """The state at the same place that looks the other way; a way there and one back use the same cells."""
        return (state + 4 * self.space.free.size) % (8 * self.space.free.size)

    def area(self) -> float:
        """Square metres of ground that `states` cover."""
        return len(np.unique(self.states % self.space.free.size)) * self.space.cell**2

    def wander(self, random: np.random.Generator, start: int, length: float) -> Array:
        """(N, 2) positions of a route from state `start`, at least `length` metres long, towards random places on the
        cheapest ground that lie far from what it has passed already."""
        route = np.array([start])
        visited = np.ones(self.space.free.shape, bool)
        visited[self.cells(route)] = False
        candidates = self.states
        row, column = self.cells(candidates)
        cheap = self.space.cost[row, column] == self.space.cost[row, column].min()
        while True:
            xy = self.positions(route)
            travelled = float(np.linalg.norm(np.diff(xy, axis=0), axis=1).sum())
            if travelled >= length:
                return xy
            cost, previous = dijkstra(self.graph, indices=int(route[-1]), return_predecessors=True)
            novelty = np.minimum(distance_transform_edt(visited) * self.space.cell, 40.0)
            score = novelty[row, column] + 10.0 * random.random(len(candidates)) + 30.0 * cheap
            score[~np.isfinite(cost[candidates]) | (candidates == route[-1])] = -np.inf
            goal = int(candidates[int(np.argmax(score))])
            leg = [goal]
            while leg[-1] != route[-1]:
                leg.append(int(previous[leg[-1]]))
            leg = leg[-2::-1]
            route = np.concatenate([route, leg])
            visited[self.cells(route)] = False

"""Finding and cutting overlaps of triangle sets in plan: terrain heights, draping, the lowest ground under a house."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.packing import cells_between, ranges
from aerialworld_core.frames import Array

Index = NDArray[np.int64]

#: Pieces narrower than this vanish when their corners become float32 in a mesh, metres.
SLIVER = 2e-4
#: Twice the area in plan below which a triangle is vertical, m².
_NO_AREA = 1e-9
#: Triangles that are entered into an index at once.
_BLOCK = 200_000


class TriangleIndex:
    """Terrain triangles (T, 3, 3), hashed by cells of the x-y plane; vertical triangles are ignored.

    `triangles` (T, 3, 3) float64, `low` and `high` (T, 2) their bounds, `doubled` (T,) twice their signed
    areas in plan.
    """

    def __init__(self, triangles: Array) -> None:
        self.triangles = np.asarray(triangles, np.float64)
        xy = self.triangles[:, :, :2]
        if len(xy):
            self.low, self.high = bounds_in_plan(self.triangles)
            self.origin = self.low.min(axis=0)
            extent = self.high.max(axis=0) - self.origin
        else:
            self.low, self.high = np.zeros((0, 2)), np.zeros((0, 2))
            self.origin, extent = np.zeros(2), np.zeros(2)
        self.cell = max(float(np.sqrt(extent.prod() / max(len(xy), 1))) * 1.5, 1.0, float(extent.max()) / 2000)
        self.shape = np.floor(extent / self.cell).astype(np.int64) + 1
        self.members, self.start = self._members()
        self.doubled, self.slope = np.empty(len(xy)), np.empty((len(xy), 2))
        for begin in range(0, len(xy), _BLOCK):
            self._planes(slice(begin, begin + _BLOCK))

    def _members(self) -> tuple[NDArray[np.int32], Index]:
        """Triangles by cell, and where each cell's begin; in blocks, because a city has millions of triangles."""
        triangles, cells = [], []
        for begin in range(0, len(self.low), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            triangle, cell = self._cells(self.low[block], self.high[block])
            triangles.append((triangle + begin).astype(np.int32))
            cells.append(cell.astype(np.int32))
        members = np.concatenate(triangles) if triangles else np.zeros(0, np.int32)
        of_cell = np.concatenate(cells) if cells else np.zeros(0, np.int32)
        counts = np.bincount(of_cell, minlength=int(self.shape.prod()))
        return members[np.argsort(of_cell, kind="stable")], np.concatenate([[0], np.cumsum(counts)])

    def _planes(self, block: slice) -> None:
        """z = a·x + b·y + c of each triangle's plane, about its first corner."""
        corners = self.triangles[block]
        a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        doubled = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
        safe = np.where(np.abs(doubled) > _NO_AREA, doubled, 1.0)
        self.doubled[block] = doubled
        self.slope[block, 0] = (a[:, 2] * b[:, 1] - a[:, 1] * b[:, 2]) / safe
        self.slope[block, 1] = (a[:, 0] * b[:, 2] - a[:, 2] * b[:, 0]) / safe

    def __len__(self) -> int:
        return len(self.triangles)

    def _cell_of(self, places: Array) -> Index:
        """(N, 2) column and row of the cells that hold places (N, 2), the nearest ones for places outside."""
        return np.clip(np.floor((places - self.origin) / self.cell), 0, self.shape - 1).astype(np.int64)

    def _cells(self, low: Array, high: Array) -> tuple[Index, Index]:
        """(box, cell) pairs of all cells that boxes (N, 2) touch."""
        first, last = self._cell_of(low), self._cell_of(high)
        box, at = cells_between(first, last)
        return box, at[:, 1] * self.shape[0] + at[:, 0]

    def pairs(self, low: Array, high: Array) -> tuple[Index, Index]:
        """(box, triangle) pairs, each once, whose bounds in the plane overlap; boxes (N, 2) low and high."""
        if not len(self.triangles):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        box, cell = self._cells(low, high)
        count = self.start[cell + 1] - self.start[cell]
        query = np.repeat(box, count)
        slot = ranges(self.start[cell], count)
        triangle = self.members[slot].astype(np.int64)
        bottom, top = np.maximum(self.low[triangle], low[query]), np.minimum(self.high[triangle], high[query])
        # A pair that shares several cells counts in the one that holds its overlap's lowest corner.
        home = self._cell_of(bottom)
        kept = (
            (bottom <= top).all(axis=1)
            & (np.abs(self.doubled[triangle]) > _NO_AREA)
            & (home[:, 1] * self.shape[0] + home[:, 0] == np.repeat(cell, count))
        )
        return query[kept], triangle[kept]

    def plane_height(self, triangle: Index, xy: Array) -> Array:
        """Height of the planes of triangles (M,) at points (M, …, 2)."""
        extra = (1,) * (xy.ndim - 2)
        corner = self.triangles[triangle, 0].reshape(len(triangle), *extra, 3)
        slope = self.slope[triangle].reshape(len(triangle), *extra, 2)
        height: Array = corner[..., 2] + ((xy - corner[..., :2]) * slope).sum(axis=-1)
        return height

    def height(self, xy: Array) -> Array:
        """The highest surface at points (N, 2); NaN where there is none."""
        return self._top(xy)[0]

    def under(self, xy: Array) -> Index:
        """The triangle of the highest surface at points (N, 2); -1 where there is none."""
        return self._top(xy)[1]

    def _top(self, xy: Array) -> tuple[Array, Index]:
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        height, top = np.full(len(xy), np.nan), np.full(len(xy), -1, np.int64)
        for begin in range(0, len(xy), 65536):
            part = xy[begin : begin + 65536]
            query, triangle = self.pairs(part, part)
            p = self.triangles[triangle, :, :2] - part[query][:, None]
            nxt = np.roll(p, -1, axis=1)
            side = (p[..., 0] * nxt[..., 1] - p[..., 1] * nxt[..., 0]) * np.sign(self.doubled[triangle])[:, None]
            inside = (side >= -1e-9).all(axis=1)
            query, triangle = query[inside], triangle[inside]
            values = self.plane_height(triangle, part[query])
            order = np.lexsort((triangle, values, query))
            last = np.ones(len(order), np.bool_)
            last[:-1] = query[order[1:]] != query[order[:-1]]
            best = order[last]
            height[begin + query[best]], top[begin + query[best]] = values[best], triangle[best]
        return height, top

    def overlay(self, xy: Array) -> tuple[Array, Index, Index, Index]:
        """Cut triangles (N, 3, 2) along the terrain's triangles.

        Returns polygons (M, 9, 3) that lie on the terrain, their number of corners (M,), the triangle cut (M,) and the
        terrain triangle (M,); corners beyond the number repeat none and mean nothing.
        """
        if not len(xy):
            return np.zeros((0, 3, 3)), *(np.zeros(0, np.int64),) * 3
        query, triangle = self.pairs(xy.min(axis=1), xy.max(axis=1))
        polygon, count = counter_clockwise(xy)[query], np.full(len(query), 3, np.int64)
        window = counter_clockwise(self.triangles[:, :, :2])[triangle]
        for k in range(3):
            polygon, count = cut(polygon, count, left_of(polygon, window[:, k], window[:, (k + 1) % 3]))
            keep = count >= 3
            polygon, count, window = polygon[keep], count[keep], window[keep]
            query, triangle = query[keep], triangle[keep]
        height = self.plane_height(triangle, polygon)
        return np.concatenate([polygon, height[..., None]], axis=-1), count, query, triangle


def bounds_in_plan(triangles: Array) -> tuple[Array, Array]:
    """(T, 2) lowest and highest x, y of triangles (T, 3, ≥ 2); quicker than reducing their short middle axis."""
    a, b, c = (triangles[:, k, :2] for k in range(3))
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def counter_clockwise(xy: Array) -> Array:
    """Triangles (N, 3, 2) with all areas positive."""
    a, b = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
    negative = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
    result = xy.copy()
    result[negative] = result[negative][:, ::-1]
    return result


def cut(polygon: Array, count: Index, value: Array) -> tuple[Array, Index]:
    """The parts of convex polygons (M, K, D) where a value (M, K), linear over each, is not negative.

    Sutherland–Hodgman for all at once: corners (M, K', D), all D coordinates interpolated, and their number (M,), less
    than 3 where nothing remains.
    """
    if len(polygon) == 0:
        return polygon, count
    size = polygon.shape[1]
    slots = np.arange(size)
    valid = slots < count[:, None]
    following = np.where(slots + 1 < count[:, None], slots + 1, 0)
    rows = np.arange(len(polygon))[:, None]
    here, there = value, value[rows, following]
    crosses = valid & ((here < 0) != (there < 0))
    share = here / np.where(crosses, here - there, 1.0)
    crossing = polygon + share[..., None] * (polygon[rows, following] - polygon)
    candidates = np.stack([polygon, crossing], axis=2).reshape(len(polygon), 2 * size, polygon.shape[2])
    taken = np.stack([valid & (here >= 0), crosses], axis=2).reshape(len(polygon), 2 * size)
    number = taken.sum(axis=1)
    order = np.argsort(~taken, axis=1, kind="stable")[:, : max(int(number.max(initial=0)), 3)]
    return candidates[rows, order], number


def left_of(points: Array, a: Array, b: Array) -> Array:
    """How far points (M, K, 2) lie left of lines a → b (M, 2), times the lines' length."""
    direction, offset = (b - a)[:, None], points - a[:, None]
    value: Array = direction[..., 0] * offset[..., 1] - direction[..., 1] * offset[..., 0]
    return value


def barycentric(xy: Array, triangles: Array) -> Array:
    """(M, K, 3) weights in plan of points (M, K, 2) in triangles (M, 3, ≥ 2) that have an area in plan."""
    a, b, c = (triangles[:, k, :2] for k in range(3))
    u, v, p = b - a, c - a, xy - a[:, None]
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    second = (p[..., 0] * v[:, None, 1] - p[..., 1] * v[:, None, 0]) / area[:, None]
    third = (u[:, None, 0] * p[..., 1] - u[:, None, 1] * p[..., 0]) / area[:, None]
    return np.stack([1.0 - second - third, second, third], axis=-1)


def fans(polygon: Array, count: Index) -> tuple[Array, Index]:
    """Convex polygons (M, K, 3) as triangles (T, 3, 3), and which polygon each comes from; slivers are left out."""
    parts, origin = [], []
    for k in range(1, polygon.shape[1] - 1):
        has = np.flatnonzero(count > k + 1)
        parts.append(np.stack([polygon[has, 0], polygon[has, k], polygon[has, k + 1]], axis=1))
        origin.append(has)
    if not parts:
        return np.zeros((0, 3, 3)), np.zeros(0, np.int64)
    triangles, index = np.concatenate(parts), np.concatenate(origin)
    a, b = triangles[:, 1, :2] - triangles[:, 0, :2], triangles[:, 2, :2] - triangles[:, 0, :2]
    longest = np.linalg.norm(np.roll(triangles, -1, axis=1) - triangles, axis=2).max(axis=1)
    keep = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) > SLIVER * longest
    return triangles[keep], index[keep]


def subdivide(triangles: Array, longest: float) -> tuple[Array, Index]:
    """Halve longest edges until none exceeds `longest`; triangles (N, 3, D) → (M, 3, D) and the origin of each."""
    origin = np.arange(len(triangles))
    done, done_origin = [], []
    current = np.asarray(triangles, np.float64)
    while len(current):
        edge = np.linalg.norm(np.roll(current, -1, axis=1)[..., :2] - current[..., :2], axis=2)
        worst = edge.argmax(axis=1)
        short = edge.max(axis=1) <= longest
        done.append(current[short])
        done_origin.append(origin[short])
        current, origin, worst = current[~short], origin[~short], worst[~short]
        rows = np.arange(len(current))
        a, b, c = current[rows, worst], current[rows, (worst + 1) % 3], current[rows, (worst + 2) % 3]
        middle = (a + b) / 2
        current = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
        origin = np.concatenate([origin, origin])
    if not done:
        return current, origin
    return np.concatenate(done), np.concatenate(done_origin)

"""The topmost surface above or below a point: triangles are sorted into the squares of a plan, so that asking for one
height costs microseconds and the first question costs little more than one pass over the triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_core.kernels import kernel

#: A triangle that lies over more squares than this goes into a plan of larger squares.
_LARGE = 16
#: How far outside its triangle, as a share of it, a point still counts: more than float64 rounds on a shared edge.
_EDGE = 1e-9
_CHUNK = 1 << 18


@dataclass(frozen=True, eq=False)
class _Plan:
    """Squares of `size` metres from `minimum` (2,); square k lists the triangles items[starts[k] : starts[k + 1]]."""

    minimum: Array
    size: float
    shape: tuple[int, int]
    starts: NDArray[np.int64]
    items: NDArray[np.int32]


class Heights:
    """Heights over `faces` (F, 3) int32 of `vertices` (V, 3) float32, whichever way they face; upright have none."""

    def __init__(self, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
        self._vertices, self._faces = vertices, faces
        low, high = _boxes(vertices, faces)
        self._tops = high[:, 2].copy()
        left = np.flatnonzero((high > low)[:, :2].all(axis=1))
        # The highest come first in every square, so that what lies under a roof is not looked at.
        left = left[np.argsort(-self._tops[left], kind="stable")]
        self._plans: list[_Plan] = []
        while len(left):
            plan, left = _sorted(left, low[left, :2], high[left, :2])
            self._plans.append(plan)

    def topmost(self, xy: Array) -> NDArray[np.float64]:
        """z (N,) of the highest triangle at each of (N, 2) positions; NaN where there is none."""
        points = np.ascontiguousarray(xy, dtype=np.float64)
        top = np.full(len(points), -np.inf)
        for plan in self._plans:
            _raise(
                points, top, self._vertices, self._faces, self._tops,
                plan.minimum, plan.size, *plan.shape, plan.starts, plan.items,
            )  # fmt: skip
        return np.where(np.isneginf(top), np.nan, top)


def _sorted(
    level: NDArray[np.int64], low: NDArray[np.float32], high: NDArray[np.float32]
) -> tuple[_Plan, NDArray[np.int64]]:
    """A plan of about as many squares as there are triangles, and those triangles that are too large for it: at
    most half of them."""
    minimum = low.min(axis=0).astype(np.float64)
    extent = high.max(axis=0).astype(np.float64) - minimum
    size = float(np.sqrt(extent[0] * extent[1] / len(level)) * 1.5)
    # A long strip has few squares across: they are no smaller than its length needs.
    size = max(size, float(extent.max()) / (2 * len(level) + 1))
    while True:
        shape = int(extent[0] / size) + 1, int(extent[1] / size) + 1
        limit = np.array(shape, np.int32) - 1
        first = np.minimum(((low - minimum) / size).astype(np.int32), limit)
        last = np.minimum(((high - minimum) / size).astype(np.int32), limit)
        spans = last - first + 1
        squares = spans[:, 0] * spans[:, 1]
        large = squares > _LARGE
        if 2 * large.sum() <= len(level):
            break
        size *= 2.0
    rest = level[large]
    level, first, spans, squares = level[~large], first[~large], spans[~large], squares[~large]
    step = np.arange(squares.sum(), dtype=np.int32)
    step -= np.repeat((np.cumsum(squares) - squares).astype(np.int32), squares)
    across = np.repeat(spans[:, 1], squares)
    i = np.repeat(first[:, 0], squares) + step // across
    j = np.repeat(first[:, 1], squares) + step % across
    square = i * shape[1] + j
    items = np.repeat(level, squares)[np.argsort(square, kind="stable")].astype(np.int32)
    counts = np.bincount(square, minlength=shape[0] * shape[1])
    return _Plan(minimum, size, shape, np.concatenate([[0], np.cumsum(counts)]), items), rest


def _boxes(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(F, 3) lowest and highest corner of each triangle's box."""
    low, high = np.empty((len(faces), 3), np.float32), np.empty((len(faces), 3), np.float32)
    for axis in range(3):
        along = np.ascontiguousarray(vertices[:, axis])
        for start in range(0, len(faces), _CHUNK):
            rows = slice(start, start + _CHUNK)
            a, b, c = (along[faces[rows, k]] for k in range(3))
            low[rows, axis] = np.minimum(np.minimum(a, b), c)
            high[rows, axis] = np.maximum(np.maximum(a, b), c)
    return low, high


@kernel
def _height_of(x, y, vertices, corners):  # type: ignore[no-untyped-def]
    """z of a triangle's plane at (x, y) if the point lies in it, −inf otherwise."""
    a, b, c = vertices[corners[0]], vertices[corners[1]], vertices[corners[2]]
    ax, ay, az = np.float64(a[0]), np.float64(a[1]), np.float64(a[2])
    bx, by = b[0] - ax, b[1] - ay
    cx, cy = c[0] - ax, c[1] - ay
    area = bx * cy - by * cx
    if area == 0.0:
        return -np.inf
    px, py = x - ax, y - ay
    u = (px * cy - py * cx) / area
    v = (bx * py - by * px) / area
    if u < -_EDGE or v < -_EDGE or u + v > 1.0 + _EDGE:
        return -np.inf
    return az + u * (b[2] - az) + v * (c[2] - az)


@kernel
def _raise(points, top, vertices, faces, tops, minimum, size, rows, columns, starts, items):  # type: ignore[no-untyped-def]
    """Raise `top` (N,) to the highest of a plan's triangles at each point."""
    for n in range(len(points)):
        x, y = points[n, 0], points[n, 1]
        along, across = (x - minimum[0]) / size, (y - minimum[1]) / size
        if not (0.0 <= along <= rows and 0.0 <= across <= columns):
            continue  # beside the plan, or no number
        square = min(int(along), rows - 1) * columns + min(int(across), columns - 1)
        for k in range(starts[square], starts[square + 1]):
            if tops[items[k]] <= top[n]:
                break
            top[n] = max(top[n], _height_of(x, y, vertices, faces[items[k]]))

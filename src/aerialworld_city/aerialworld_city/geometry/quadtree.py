"""A grid of heights as few triangles: squares as large as the ground is even, joined edge to edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array

Index = NDArray[np.int64]

#: The largest squares have 2 to this power of the grid's squares a side.
LEVELS = 4


def triangulated(points: Array, even: Array, wanted: NDArray[np.bool_]) -> Array:
    """Triangles (T, 3, 3), facing up, over the grid's points (rows + 1, columns + 1, 3).

    `even` (rows, columns): how far the ground may depart from the grid's heights in each of its squares, metres.
    `wanted` (rows, columns): squares without are left open, where the large square that holds them has none that is
    wanted. Neighbours of different size meet without a crack: the larger one has a corner wherever the smaller has.
    """
    rows, columns = even.shape
    level = _levels(points, even)
    used = np.zeros((rows + 1, columns + 1), np.bool_)
    leaves = []
    for k in range(LEVELS + 1):
        size = 1 << k
        i, j = np.nonzero(level[::size, ::size] == k)
        i, j = i * size, j * size
        reach = np.arange(size)
        keep = wanted[(i[:, None, None] + reach[:, None]), (j[:, None, None] + reach)].any(axis=(1, 2))
        i, j = i[keep], j[keep]
        leaves.append((i, j))
        for di in (0, size):
            for dj in (0, size):
                used[i + di, j + dj] = True
    found = [_squares(k, *leaves[k], used) for k in range(LEVELS + 1)]
    return np.asarray(points.reshape(-1, 3)[np.concatenate(found)])


def _levels(points: Array, even: Array) -> NDArray[np.int8]:
    """(rows, columns) the level of the square that each of the grid's squares lies in."""
    z = points[..., 2]
    rows, columns = even.shape
    level = np.zeros((rows, columns), np.int8)
    whole = np.ones((rows, columns), np.bool_)
    for k in range(1, LEVELS + 1):
        size = 1 << k
        m, n = rows // size, columns // size
        if not m or not n:
            break
        tolerance = even[: m * size, : n * size].reshape(m, size, n, size).min(axis=(1, 3))
        corner = z[: m * size + 1 : size, : n * size + 1 : size]
        a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
        fine = whole[: m * size : size // 2, : n * size : size // 2]
        good = fine[0::2, 0::2] & fine[0::2, 1::2] & fine[1::2, 0::2] & fine[1::2, 1::2]
        for i in range(size + 1):
            for j in range(size + 1):
                u, v = j / size, i / size
                east, south = (a + u * (b - a) + v * (c - b)), (a + v * (d - a) + u * (c - d))
                off = np.abs(
                    (east if u >= v else south)
                    - z[i : i + (m - 1) * size + 1 : size, j : j + (n - 1) * size + 1 : size]
                )
                good &= off <= tolerance
        inside = np.repeat(np.repeat(good, size, axis=0), size, axis=1)
        level[: m * size, : n * size][inside] = k
        whole[:] = False
        whole[: m * size, : n * size] = inside
    return level


def _squares(k: int, i: Index, j: Index, used: NDArray[np.bool_]) -> Index:
    """(T, 3) the grid's points at the corners of the triangles of squares of level k with lowest corners i, j (N,)."""
    size, width = 1 << k, used.shape[1]
    step = np.arange(size)
    # Around the square, counter-clockwise from its lowest corner.
    around_i = np.concatenate([0 * step, step, 0 * step + size, size - step])
    around_j = np.concatenate([step, 0 * step + size, size - step, 0 * step])
    ring = (i[:, None] + around_i) * width + j[:, None] + around_j
    has = used.reshape(-1)[ring]
    plain = has.sum(axis=1) == 4
    a, b, c, d = (ring[plain][:, side * size] for side in range(4))
    found = [np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]
    if not plain.all():
        ring, has = ring[~plain], has[~plain]
        middle = (i[~plain] + size // 2) * width + j[~plain] + size // 2
        square, slot = np.nonzero(has)
        last = np.r_[square[1:] != square[:-1], True]
        first = np.flatnonzero(np.r_[True, square[1:] != square[:-1]])
        following = np.r_[slot[1:], 0]
        following[last] = slot[first]
        found.append(np.stack([middle[square], ring[square, slot], ring[square, following]], axis=1))
    return np.concatenate(found)

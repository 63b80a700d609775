"""The triangle of a surface that is nearest to a point: exact, from a tree of boxes over the triangles."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.distances import distance_to_triangle
from aerialworld_core.frames import Array

_LEAF = 4


def nearest(points: Array, surface: Array) -> tuple[Array, NDArray[np.int64]]:
    """Distance (N,) of points (N, 3) to a surface (M, 3, 3), and the nearest triangle (N,)."""
    surface = np.ascontiguousarray(surface, np.float64)
    return _nearest_all(np.ascontiguousarray(points, np.float64), surface, *box_tree(surface))


@numba.njit(cache=True)
def box_tree(triangles):  # type: ignore[no-untyped-def]  # numba infers
    """A tree of boxes, halved at the median along the longest side: order of triangles, boxes, first child (the second
    follows it; −1 for a leaf), a leaf's range."""
    n = len(triangles)
    order = np.arange(n)
    middle = np.empty((n, 3))
    for i in range(n):
        for axis in range(3):
            middle[i, axis] = (triangles[i, 0, axis] + triangles[i, 1, axis] + triangles[i, 2, axis]) / 3.0
    size = max(1, 4 * (n // _LEAF + 2))
    low, high = np.empty((size, 3)), np.empty((size, 3))
    child = np.full(size, -1, np.int64)
    start, count = np.zeros(size, np.int64), np.zeros(size, np.int64)
    count[0] = n
    used, at = 1, 0
    while at < used:
        first, many = start[at], count[at]
        for axis in range(3):
            low[at, axis], high[at, axis] = np.inf, -np.inf
        for i in range(first, first + many):
            for corner in range(3):
                for axis in range(3):
                    value = triangles[order[i], corner, axis]
                    low[at, axis] = min(low[at, axis], value)
                    high[at, axis] = max(high[at, axis], value)
        if many > _LEAF:
            axis = 0
            for other in range(1, 3):
                if high[at, other] - low[at, other] > high[at, axis] - low[at, axis]:
                    axis = other
            part = order[first : first + many].copy()
            order[first : first + many] = part[np.argsort(middle[part, axis], kind="mergesort")]
            half = many // 2
            child[at] = used
            start[used], count[used] = first, half
            start[used + 1], count[used + 1] = first + half, many - half
            used += 2
        at += 1
    return order, low[:used], high[:used], child[:used], start[:used], count[:used]


@numba.njit(cache=True)
def _box_distance(p, low, high):  # type: ignore[no-untyped-def]
    total = 0.0
    for axis in range(3):
        d = max(low[axis] - p[axis], 0.0, p[axis] - high[axis])
        total += d * d
    return total


@numba.njit(cache=True)
def nearest_triangle(p, guess, surface, order, low, high, child, start, count, stack):  # type: ignore[no-untyped-def]
    """Squared distance and triangle nearest to p; `guess` a triangle that is probably near."""
    best = distance_to_triangle(p, surface[guess, 0], surface[guess, 1], surface[guess, 2])
    found = guess
    stack[0] = 0
    depth = 1
    while depth > 0:
        depth -= 1
        node = stack[depth]
        if _box_distance(p, low[node], high[node]) >= best:
            continue
        if child[node] < 0:
            for i in range(start[node], start[node] + count[node]):
                t = order[i]
                d = distance_to_triangle(p, surface[t, 0], surface[t, 1], surface[t, 2])
                if d < best:
                    best, found = d, t
            continue
        a = child[node]
        near, far = a, a + 1
        if _box_distance(p, low[far], high[far]) < _box_distance(p, low[near], high[near]):
            near, far = far, near
        stack[depth] = far
        stack[depth + 1] = near
        depth += 2
    return best, found


@numba.njit(cache=True)
def _nearest_all(points, surface, order, low, high, child, start, count):  # type: ignore[no-untyped-def]
    stack = np.empty(256, np.int64)
    distance, index = np.empty(len(points)), np.empty(len(points), np.int64)
    guess = np.int64(0)
    for i in range(len(points)):
        best, guess = nearest_triangle(points[i], guess, surface, order, low, high, child, start, count, stack)
        distance[i], index[i] = np.sqrt(best), guess
    return distance, index

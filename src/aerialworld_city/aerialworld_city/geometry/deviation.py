"""How far two surfaces are apart, proven for every point of them and not for samples alone.

Each surface is cut into pieces that become smaller until each is known to lie within the limit of the other surface:
either all its corners lie within the limit of one and the same triangle (the distance to a triangle is convex, so the
whole piece does), or the distance at its middle plus its radius is within the limit (a distance grows no faster than
the point moves). What is proven in neither way down to pieces of a sixteenth of the limit counts as beyond it.
Closest points are exact, from a tree of boxes over the triangles.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.distances import distance_to_triangle
from aerialworld_core.frames import Array

_LEAF = 4
#: Pieces per triangle of both surfaces, at most, before a proof is given up: a large smooth surface near its limit.
_PIECES = 4000


class Deviation(NamedTuple):
    """`worst` the largest distance found at corners, middles of edges and middles of pieces, metres; `beyond` the
    triangles for which it is not proven that all their points are within the limit, and `at` the triangle of the other
    surface that was nearest there."""

    worst: float
    beyond: NDArray[np.int64]
    at: NDArray[np.int64]

    @property
    def within(self) -> bool:
        return len(self.beyond) == 0


def one_sided(triangles: Array, surface: Array, limit: float) -> Deviation:
    """How far the points of `triangles` (N, 3, 3) are from `surface` (M, 3, 3), float64 metres; for two surfaces ask
    both ways. An empty surface is infinitely far."""
    none = np.zeros(0, np.int64)
    if len(triangles) == 0:
        return Deviation(0.0, none, none)
    if len(surface) == 0:
        return Deviation(float("inf"), np.arange(len(triangles)), np.full(len(triangles), -1))
    surface = np.ascontiguousarray(surface, np.float64)
    worst, at = _prove(np.ascontiguousarray(triangles, np.float64), surface, *_tree(surface), float(limit))  # type: ignore[call-arg]
    beyond = np.flatnonzero(at >= 0)
    return Deviation(float(worst), beyond, at[beyond])


def nearest(points: Array, surface: Array) -> tuple[Array, NDArray[np.int64]]:
    """Distance (N,) of points (N, 3) to a surface (M, 3, 3), and the nearest triangle (N,)."""
    surface = np.ascontiguousarray(surface, np.float64)
    return _nearest_all(np.ascontiguousarray(points, np.float64), surface, *_tree(surface))


@numba.njit(cache=True)
def _tree(triangles):  # type: ignore[no-untyped-def]  # numba infers
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
def _nearest(p, guess, surface, order, low, high, child, start, count, stack):  # type: ignore[no-untyped-def]
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
        best, guess = _nearest(points[i], guess, surface, order, low, high, child, start, count, stack)
        distance[i], index[i] = np.sqrt(best), guess
    return distance, index


@numba.njit(cache=True)
def _prove(triangles, surface, order, low, high, child, start, count, limit):  # type: ignore[no-untyped-def]
    """The largest distance found, and for each triangle −1 or the surface's triangle where the proof failed."""
    stack = np.empty(256, np.int64)
    pieces, guesses = np.empty((512, 3, 3)), np.empty(512, np.int64)
    square, floor = limit * limit * (1 + 1e-12), max(limit, 1e-9) / 16.0
    worst = 0.0
    at = np.full(len(triangles), -1, np.int64)
    allowed = _PIECES * (len(triangles) + len(surface))
    p = np.empty(3)
    guess = np.int64(0)
    for i in range(len(triangles)):
        # Corners and middles of edges are always looked at.
        for k in range(6):
            for axis in range(3):
                p[axis] = triangles[i, k % 3, axis]
                if k >= 3:
                    p[axis] = 0.5 * (p[axis] + triangles[i, (k + 1) % 3, axis])
            best, guess = _nearest(p, guess, surface, order, low, high, child, start, count, stack)
            worst = max(worst, best)
            if best > square:
                at[i] = guess
        pieces[0] = triangles[i]
        guesses[0] = guess
        depth = 1 if at[i] < 0 else 0
        while depth > 0:
            depth -= 1
            a, b, c = pieces[depth, 0].copy(), pieces[depth, 1].copy(), pieces[depth, 2].copy()
            p[:] = (a + b + c) / 3.0
            best, g = _nearest(p, guesses[depth], surface, order, low, high, child, start, count, stack)
            worst = max(worst, best)
            ta, tb, tc = surface[g, 0], surface[g, 1], surface[g, 2]
            corners = max(
                distance_to_triangle(a, ta, tb, tc),
                distance_to_triangle(b, ta, tb, tc),
                distance_to_triangle(c, ta, tb, tc),
            )
            if corners <= square:
                continue
            radius = np.sqrt(max(((a - p) ** 2).sum(), ((b - p) ** 2).sum(), ((c - p) ** 2).sum()))
            if np.sqrt(best) + radius <= limit * (1 + 1e-12):
                continue
            allowed -= 1
            if best > square or radius < floor or allowed < 0 or depth + 2 > len(guesses):
                at[i] = g
                break
            # Halve the longest edge: the middle's radius shrinks for slivers too.
            ab, bc, ca = ((a - b) ** 2).sum(), ((b - c) ** 2).sum(), ((c - a) ** 2).sum()
            if ab >= bc and ab >= ca:
                x, y, z = a, b, c
            elif bc >= ca:
                x, y, z = b, c, a
            else:
                x, y, z = c, a, b
            m = 0.5 * (x + y)
            pieces[depth, 0], pieces[depth, 1], pieces[depth, 2] = x, m, z
            pieces[depth + 1, 0], pieces[depth + 1, 1], pieces[depth + 1, 2] = m, y, z
            guesses[depth], guesses[depth + 1] = g, g
            depth += 2
    return np.sqrt(worst), at


def height_deviation(one: Array, other: Array) -> Array:
    """Largest vertical distance, metres (N,), of each triangle of a surface of one height per place from another, where
    both are: triangles (N, 3, 3), (M, 3, 3) facing up. Exact: both are linear on every piece of their overlay, so its
    corners decide."""
    if len(one) == 0 or len(other) == 0:
        return np.zeros(len(one))
    flat = np.ascontiguousarray(other, np.float64).copy()
    flat[..., 2] = 0.0
    order, low, high, child, start, count = _tree(flat)
    gap: Array = _height_gap(
        np.ascontiguousarray(one), np.ascontiguousarray(other), order, low, high, child, start, count
    )
    return gap


@numba.njit(cache=True)
def _plane(t):  # type: ignore[no-untyped-def]
    """Height = p · x + q · y + r over a triangle; NaN for one without area in plan."""
    x1, y1, z1 = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1], t[1, 2] - t[0, 2]
    x2, y2, z2 = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1], t[2, 2] - t[0, 2]
    doubled = x1 * y2 - y1 * x2
    if doubled <= 0:
        return np.nan, np.nan, np.nan
    p, q = (z1 * y2 - y1 * z2) / doubled, (x1 * z2 - z1 * x2) / doubled
    return p, q, t[0, 2] - p * t[0, 0] - q * t[0, 1]


@numba.njit(cache=True)
def _height_gap(one, other, order, low, high, child, start, count):  # type: ignore[no-untyped-def]
    worst = np.zeros(len(one))
    stack = np.empty(256, np.int64)
    polygon, clipped = np.empty((16, 2)), np.empty((16, 2))
    for i in range(len(one)):
        t = one[i]
        p, q, r = _plane(t)
        if np.isnan(p):
            continue
        x0, x1 = min(t[0, 0], t[1, 0], t[2, 0]), max(t[0, 0], t[1, 0], t[2, 0])
        y0, y1 = min(t[0, 1], t[1, 1], t[2, 1]), max(t[0, 1], t[1, 1], t[2, 1])
        stack[0] = 0
        depth = 1
        while depth > 0:
            depth -= 1
            node = stack[depth]
            if low[node, 0] > x1 or high[node, 0] < x0 or low[node, 1] > y1 or high[node, 1] < y0:
                continue
            if child[node] >= 0:
                stack[depth], stack[depth + 1] = child[node], child[node] + 1
                depth += 2
                continue
            for j in range(start[node], start[node] + count[node]):
                s = other[order[j]]
                p2, q2, r2 = _plane(s)
                if np.isnan(p2):
                    continue
                corners = _clip(t, s, polygon, clipped)
                for k in range(corners):
                    x, y = polygon[k, 0], polygon[k, 1]
                    worst[i] = max(worst[i], abs((p - p2) * x + (q - q2) * y + r - r2))
    return worst


@numba.njit(cache=True)
def _clip(t, s, polygon, clipped):  # type: ignore[no-untyped-def]
    """What two triangles share in plan, into `polygon`; its number of corners (Sutherland and Hodgman 1974)."""
    n = 3
    for k in range(3):
        polygon[k, 0], polygon[k, 1] = t[k, 0], t[k, 1]
    for e in range(3):
        ax, ay = s[e, 0], s[e, 1]
        bx, by = s[(e + 1) % 3, 0] - ax, s[(e + 1) % 3, 1] - ay
        m = 0
        for k in range(n):
            px, py = polygon[k, 0], polygon[k, 1]
            qx, qy = polygon[(k + 1) % n, 0], polygon[(k + 1) % n, 1]
            dp, dq = bx * (py - ay) - by * (px - ax), bx * (qy - ay) - by * (qx - ax)
            if dp >= 0:
                clipped[m, 0], clipped[m, 1] = px, py
                m += 1
            if (dp > 0 and dq < 0) or (dp < 0 and dq > 0):
                f = dp / (dp - dq)
                clipped[m, 0], clipped[m, 1] = px + f * (qx - px), py + f * (qy - py)
                m += 1
        n = m
        polygon[:n] = clipped[:n]
        if n == 0:
            return 0
    return n

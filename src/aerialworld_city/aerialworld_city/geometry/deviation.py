"""How far two surfaces are apart, proven for every point of them and not for samples alone.

Each surface is cut into pieces that become smaller until each is known to lie within the limit of the other surface:
either all its corners lie within the limit of one and the same triangle (the distance to a triangle is convex, so the
whole piece does), or the distance at its middle plus its radius is within the limit (a distance grows no faster than
the point moves). Pieces are cut along the edges of the triangle that is nearest, else halved. What is proven in neither
way down to pieces of a sixteenth of the limit counts as beyond it.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.box_tree import box_tree, nearest_triangle
from aerialworld_city.geometry.distances import area_vector, distance_to_triangle
from aerialworld_core.frames import Array

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
    worst, at = _prove(np.ascontiguousarray(triangles, np.float64), surface, *box_tree(surface), float(limit))  # type: ignore[call-arg]
    beyond = np.flatnonzero(at >= 0)
    return Deviation(float(worst), beyond, at[beyond])


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
            best, guess = nearest_triangle(p, guess, surface, order, low, high, child, start, count, stack)
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
            best, g = nearest_triangle(p, guesses[depth], surface, order, low, high, child, start, count, stack)
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
            if best > square or radius < floor or allowed < 0 or depth + 3 > len(guesses):
                at[i] = g
                break
            added = _cut(a, b, c, p, ta, tb, tc, floor, pieces, depth)
            if added == 0:
                added = _halve(a, b, c, pieces, depth)
            guesses[depth : depth + added] = g
            depth += added
    return np.sqrt(worst), at


@numba.njit(cache=True)
def _halve(a, b, c, pieces, depth):  # type: ignore[no-untyped-def]
    """Halve the longest edge: the middle's radius shrinks for slivers too. Returns how many pieces it made."""
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
    return 2


@numba.njit(cache=True)
def _cut(a, b, c, p, ta, tb, tc, least, pieces, depth):  # type: ignore[no-untyped-def]
    """Cut a piece with middle p where it leaves the nearest triangle: along the upright plane through the edge that it
    sticks out of farthest. What is over the triangle is then known by its corners, be it ever so large. Returns how
    many pieces it made; none where the piece sticks out by less than `least`, or its middle does too."""
    nx, ny, nz = area_vector(ta, tb, tc)
    deepest = -least
    fa, fb, fc = 0.0, 0.0, 0.0
    for edge in range(3):
        if edge == 0:
            s, t = ta, tb
        elif edge == 1:
            s, t = tb, tc
        else:
            s, t = tc, ta
        ex, ey, ez = t[0] - s[0], t[1] - s[1], t[2] - s[2]
        ix, iy, iz = ny * ez - nz * ey, nz * ex - nx * ez, nx * ey - ny * ex
        length = np.sqrt(ix * ix + iy * iy + iz * iz)
        if length <= 0.0:
            continue
        ix, iy, iz = ix / length, iy / length, iz / length
        base = ix * s[0] + iy * s[1] + iz * s[2]
        if ix * p[0] + iy * p[1] + iz * p[2] <= base:
            continue
        ga = ix * a[0] + iy * a[1] + iz * a[2] - base
        gb = ix * b[0] + iy * b[1] + iz * b[2] - base
        gc = ix * c[0] + iy * c[1] + iz * c[2] - base
        if min(ga, gb, gc) < deepest:
            deepest = min(ga, gb, gc)
            fa, fb, fc = ga, gb, gc
    if deepest == -least:
        return 0
    # One corner is alone on its side of the plane.
    if (fa < 0) != (fb < 0) and (fa < 0) != (fc < 0):
        x, y, z, fx, fy, fz = a, b, c, fa, fb, fc
    elif (fb < 0) != (fa < 0) and (fb < 0) != (fc < 0):
        x, y, z, fx, fy, fz = b, c, a, fb, fc, fa
    else:
        x, y, z, fx, fy, fz = c, a, b, fc, fa, fb
    m, n = x + (fx / (fx - fy)) * (y - x), x + (fx / (fx - fz)) * (z - x)
    pieces[depth, 0], pieces[depth, 1], pieces[depth, 2] = x, m, n
    pieces[depth + 1, 0], pieces[depth + 1, 1], pieces[depth + 1, 2] = m, y, z
    pieces[depth + 2, 0], pieces[depth + 2, 1], pieces[depth + 2, 2] = m, z, n
    return 3

"""What a collapse must keep: topology, the faces' direction and width, texture, nearness and volume; numba kernels.

Corner u is to be pulled onto v; `star_u` (nu) and `star_v` (nv) are their triangles as in `fans`.
"""

from __future__ import annotations

import numba
import numpy as np

from aerialworld_city.geometry.distances import area_vector, squared_gap, tetrahedron
from aerialworld_city.geometry.fans import source_of_uv, uv_goes_on

#: What counts as no change, metres.
LOSSLESS = 1e-3
#: New triangles are no thinner than this unless the old one was, metres.
_THIN = 2e-3
#: Triangles thinner than this have no area, metres.
_NO_HEIGHT = 1e-4
#: Cosine of the most that a triangle turns in one collapse; where nothing may change; for textured ones the same.
_TURN, _TURN_LOSSLESS = 0.6, 0.9


@numba.njit(cache=True)
def _turns_over(a, b, c, p, cosine, ground):  # type: ignore[no-untyped-def]
    """Whether triangle (a, b, c) turned too far, or grew too thin, with p in place of a."""
    ox, oy, oz = area_vector(a, b, c)
    nx, ny, nz = area_vector(p, b, c)
    before, after = np.sqrt(ox * ox + oy * oy + oz * oz), np.sqrt(nx * nx + ny * ny + nz * nz)
    longest, old_longest = 0.0, 0.0
    for axis in range(3):
        longest += (b[axis] - c[axis]) ** 2
    old_longest = longest
    bp = (b[0] - p[0]) ** 2 + (b[1] - p[1]) ** 2 + (b[2] - p[2]) ** 2
    cp = (c[0] - p[0]) ** 2 + (c[1] - p[1]) ** 2 + (c[2] - p[2]) ** 2
    ab = (b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2
    ac = (c[0] - a[0]) ** 2 + (c[1] - a[1]) ** 2 + (c[2] - a[2]) ** 2
    longest, old_longest = np.sqrt(max(longest, bp, cp)), np.sqrt(max(old_longest, ab, ac))
    if before / max(old_longest, 1e-12) < _NO_HEIGHT:
        # A triangle without area closes a line; its normal says nothing, so it has to stay without.
        return after / longest >= _NO_HEIGHT
    if after / longest < min(_THIN, 0.99 * before / old_longest):
        return True
    if ground and nz <= 1e-3 * longest:
        return True
    return ox * nx + oy * ny + oz * nz < cosine * before * after


@numba.njit(cache=True)
def keeps_shape(u, v, star_u, nu, star_v, nv, face, position, uv, textured, group, bound, ground):  # type: ignore[no-untyped-def]
    """Whether u may be pulled onto v as far as topology, turning and texture go."""
    shared = 0
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        if face[f, (k + 1) % 3] == v or face[f, (k + 2) % 3] == v:
            shared += 1
    if shared == 0 or shared == nu or shared == nv:
        return False
    # The link condition: no neighbours in common but the shared triangles' third corners, no edge across from both.
    common = 0
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        for place in range(1, 3):
            w = face[f, (k + place) % 3]
            if w == v:
                continue
            seen = False
            for j in range(i):
                g, m = star_u[j] // 3, star_u[j] % 3
                seen = seen or face[g, (m + 1) % 3] == w or face[g, (m + 2) % 3] == w
            if place == 2 and face[f, (k + 1) % 3] == w:
                seen = True
            if seen:
                continue
            for j in range(nv):
                g, m = star_v[j] // 3, star_v[j] % 3
                if face[g, (m + 1) % 3] == w or face[g, (m + 2) % 3] == w:
                    common += 1
                    break
    if common != shared:
        return False
    cosine = _TURN_LOSSLESS if bound <= LOSSLESS else _TURN
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
        if b == v or c == v:
            continue
        for j in range(nv):
            g, m = star_v[j] // 3, star_v[j] % 3
            d, e = face[g, (m + 1) % 3], face[g, (m + 2) % 3]
            if (d == b and e == c) or (d == c and e == b):
                return False
        if _turns_over(position[u], position[b], position[c], position[v], cosine, ground):
            return False
        if textured[f]:
            g, m = source_of_uv(f, k, v, star_u, nu, face, uv, textured, group)
            if g < 0 or not uv_goes_on(f, k, uv[g, m], position, face, uv, v):
                return False
    return True


@numba.njit(cache=True)
def stays_near(u, v, star_u, nu, star_v, nv, face, position, bound, limit, points, chain, place, ground):  # type: ignore[no-untyped-def]
    """Whether all original corners on u's triangles stay near those that come, and the middles of these near what was
    there; `place` is told which triangle is nearest to each corner."""
    square = bound * bound
    middle = np.empty(3)
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
        if b == v or c == v:
            continue
        for axis in range(3):
            middle[axis] = (position[v, axis] + position[b, axis] + position[c, axis]) / 3.0
        best = np.inf
        for j in range(nu):
            g, m = star_u[j] // 3, star_u[j] % 3
            d, e = face[g, (m + 1) % 3], face[g, (m + 2) % 3]
            best = min(best, squared_gap(middle, position[u], position[d], position[e], ground))
        if best > square and (not ground or best < np.inf):
            return False
    for s in range(nu):
        point = points[star_u[s] // 3]
        while point >= 0:
            best = np.inf
            for i in range(nu):
                f, k = star_u[i] // 3, star_u[i] % 3
                b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
                if b != v and c != v:
                    gap = squared_gap(position[point], position[v], position[b], position[c], ground)
                    if gap < best:
                        best, place[point] = gap, f
            for j in range(nv):
                g, m = star_v[j] // 3, star_v[j] % 3
                d, e = face[g, (m + 1) % 3], face[g, (m + 2) % 3]
                if d != u and e != u:
                    gap = squared_gap(position[point], position[v], position[d], position[e], ground)
                    if gap < best:
                        best, place[point] = gap, g
            if best > min(square, limit[point] * limit[point]):
                return False
            point = chain[point]
    return True


@numba.njit(cache=True)
def settle(star_u, nu, points, chain, place):  # type: ignore[no-untyped-def]
    """Move the original corners on u's triangles to the triangles that `stays_near` found."""
    moving = np.int64(-1)
    for s in range(nu):
        f = star_u[s] // 3
        point = points[f]
        points[f] = -1
        while point >= 0:
            after = chain[point]
            chain[point] = moving
            moving = point
            point = after
    while moving >= 0:
        after = chain[moving]
        f = place[moving]
        chain[moving] = points[f]
        points[f] = moving
        moving = after


@numba.njit(cache=True)
def volume_change(u, v, star_u, nu, face, position):  # type: ignore[no-untyped-def]
    """By how much a closed shell's volume grows when u is pulled onto v, m³."""
    change = 0.0
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
        change -= tetrahedron(position[u], position[b], position[c])
        if b != v and c != v:
            change += tetrahedron(position[v], position[b], position[c])
    return change / 6.0

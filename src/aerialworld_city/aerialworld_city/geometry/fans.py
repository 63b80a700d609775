"""The fan of triangles around a corner, for numba kernels: its lines between groups, its texture map.

A corner's triangles are a linked list of corners `3·face + place`: `head` (V,) and `following` (3F,).
"""

from __future__ import annotations

import numba

from aerialworld_city.geometry.distances import area_vector

#: Corners with more triangles than this stay.
MAX_STAR = 96
#: Texture coordinates nearer than this are one, image sizes.
UV_STEP = 5e-4


@numba.njit(cache=True)
def star_of(u, face, alive, head, following, out):  # type: ignore[no-untyped-def]
    """Corners (3·face + place) of the living triangles at u; −1 when there are too many. Cleans the list on the way."""
    count = 0
    before = -1
    corner = head[u]
    while corner >= 0:
        after = following[corner]
        if alive[corner // 3] and face[corner // 3, corner % 3] == u:
            if count == MAX_STAR:
                return -1
            out[count] = corner
            count += 1
            before = corner
        elif before >= 0:
            following[before] = after
        else:
            head[u] = after
        corner = after
    return count


@numba.njit(cache=True)
def _seam(f, i, j, g, k, m, group, textured, uv):  # type: ignore[no-untyped-def]
    """Whether the edge that triangle f has at places i, j and g at k, m parts two groups or two texture charts."""
    if group[f] != group[g]:
        return True
    if not textured[f]:
        return False
    for axis in range(2):
        if abs(uv[f, i, axis] - uv[g, k, axis]) > UV_STEP or abs(uv[f, j, axis] - uv[g, m, axis]) > UV_STEP:
            return True
    return False


@numba.njit(cache=True)
def lines_at(star, count, face, group, textured, uv, ends):  # type: ignore[no-untyped-def]
    """How many of a corner's edges part groups or are open, the first two's other ends in `ends`, whether any is open.

    −1 for a corner whose triangles are no single fan.
    """
    lines, is_open = 0, False
    start = 0
    for i in range(count):
        f, k = star[i] // 3, star[i] % 3
        b = face[f, (k + 1) % 3]
        mates, mate = 0, -1
        for j in range(count):
            g, m = star[j] // 3, star[j] % 3
            if face[g, (m + 2) % 3] == b:
                mates += 1
                mate = j
            if j != i and face[g, (m + 1) % 3] == b:
                return -1, False
        if mates > 1:
            return -1, False
        if mates == 0:
            is_open = True
            start = i
        line = mates == 0
        if mates == 1:
            g, m = star[mate] // 3, star[mate] % 3
            line = _seam(f, k, (k + 1) % 3, g, m, (m + 2) % 3, group, textured, uv)
        if line:
            if lines < 2:
                ends[lines] = b
            lines += 1
    # Once round from the open end (or anywhere): every triangle must be met.
    at, met = start, 1
    while met < count:
        f, k = star[at] // 3, star[at] % 3
        c = face[f, (k + 2) % 3]
        found = -1
        for j in range(count):
            g, m = star[j] // 3, star[j] % 3
            if face[g, (m + 1) % 3] == c:
                found = j
        if found < 0 or found == start:
            break
        at = found
        met += 1
    if met < count:
        return -1, False
    if is_open:
        f, k = star[at] // 3, star[at] % 3
        if lines < 2:
            ends[lines] = face[f, (k + 2) % 3]
        lines += 1
    return lines, is_open


@numba.njit(cache=True)
def uv_goes_on(f, k, v_uv, position, face, uv, target):  # type: ignore[no-untyped-def]
    """Whether triangle f's own affine texture map gives v_uv at the place of corner `target`."""
    a, b, c = position[face[f, k]], position[face[f, (k + 1) % 3]], position[face[f, (k + 2) % 3]]
    nx, ny, nz = area_vector(a, b, c)
    square = nx * nx + ny * ny + nz * nz
    if square < 1e-12:
        return False
    p = position[target]
    px, py, pz = area_vector(a, p, c)
    v = (px * nx + py * ny + pz * nz) / square
    px, py, pz = area_vector(a, b, p)
    w = (px * nx + py * ny + pz * nz) / square
    for axis in range(2):
        ua, ub, uc = uv[f, k, axis], uv[f, (k + 1) % 3, axis], uv[f, (k + 2) % 3, axis]
        if abs(ua + v * (ub - ua) + w * (uc - ua) - v_uv[axis]) > UV_STEP:
            return False
    return True


@numba.njit(cache=True)
def source_of_uv(f, k, v, star_u, nu, face, uv, textured, group):  # type: ignore[no-untyped-def]
    """The triangle at the collapsing edge on f's own side of any seam, and v's place in it; (−1, 0) when unclear."""
    u_axis0, u_axis1 = uv[f, k, 0], uv[f, k, 1]
    found, place = -1, 0
    for i in range(nu):
        g, m = star_u[i] // 3, star_u[i] % 3
        if group[g] != group[f] or not textured[g]:
            continue
        if abs(uv[g, m, 0] - u_axis0) > UV_STEP or abs(uv[g, m, 1] - u_axis1) > UV_STEP:
            continue
        for step in range(1, 3):
            n = (m + step) % 3
            if face[g, n] == v:
                if found >= 0 and (
                    abs(uv[g, n, 0] - uv[found, place, 0]) > UV_STEP or abs(uv[g, n, 1] - uv[found, place, 1]) > UV_STEP
                ):
                    return -1, 0
                found, place = g, n
    return found, place

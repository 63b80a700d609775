"""What a collapse costs: quadric errors of corners (Garland and Heckbert 1997), for numba kernels."""

from __future__ import annotations

import numba
import numpy as np

from aerialworld_city.geometry.distances import area_vector
from aerialworld_city.geometry.fans import MAX_STAR, lines_at, star_of


@numba.njit(cache=True)
def _add_plane(q, nx, ny, nz, d, weight):  # type: ignore[no-untyped-def]
    q[0] += weight * nx * nx
    q[1] += weight * nx * ny
    q[2] += weight * nx * nz
    q[3] += weight * nx * d
    q[4] += weight * ny * ny
    q[5] += weight * ny * nz
    q[6] += weight * ny * d
    q[7] += weight * nz * nz
    q[8] += weight * nz * d
    q[9] += weight * d * d


@numba.njit(cache=True)
def edge_cost(q, r, p, o):  # type: ignore[no-untyped-def]
    """Error of two quadrics at p, plus a trace of the edge's length so that short edges go first among equals."""
    x, y, z = p[0], p[1], p[2]
    s = q + r
    e = s[0] * x * x + s[4] * y * y + s[7] * z * z + s[9]
    e += 2 * (s[1] * x * y + s[2] * x * z + s[5] * y * z + s[3] * x + s[6] * y + s[8] * z)
    return max(e, 0.0) + 1e-9 * ((x - o[0]) ** 2 + (y - o[1]) ** 2 + (z - o[2]) ** 2)


@numba.njit(cache=True)
def quadrics(position, face, group, textured, uv, head, following, ground):  # type: ignore[no-untyped-def]
    """(V, 10) of each corner: its triangles' planes by area, and upright planes along lines that must stay."""
    q = np.zeros((len(position), 10))
    alive = np.ones(len(face), np.bool_)
    star = np.empty(MAX_STAR, np.int64)
    ends = np.empty(2, np.int64)
    for f in range(len(face)):
        a, b, c = position[face[f, 0]], position[face[f, 1]], position[face[f, 2]]
        nx, ny, nz = area_vector(a, b, c)
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length <= 0:
            continue
        weight = length / 6.0
        nx, ny, nz = nx / length, ny / length, nz / length
        d = -(nx * a[0] + ny * a[1] + nz * a[2])
        if ground:  # vertical distance, not that across the slope
            weight /= max(nz * nz, 1e-3)
        for k in range(3):
            _add_plane(q[face[f, k]], nx, ny, nz, d, weight)
    for u in range(len(position)):
        count = star_of(u, face, alive, head, following, star)
        if count <= 0:
            continue
        lines, _ = lines_at(star, count, face, group, textured, uv, ends)
        if lines != 2:
            continue
        for e in ends:
            for i in range(count):
                f, k = star[i] // 3, star[i] % 3
                if face[f, (k + 1) % 3] != e and face[f, (k + 2) % 3] != e:
                    continue
                nx, ny, nz = area_vector(position[face[f, 0]], position[face[f, 1]], position[face[f, 2]])
                ex, ey, ez = (
                    position[e, 0] - position[u, 0],
                    position[e, 1] - position[u, 1],
                    position[e, 2] - position[u, 2],
                )
                mx, my, mz = ny * ez - nz * ey, nz * ex - nx * ez, nx * ey - ny * ex
                length = np.sqrt(mx * mx + my * my + mz * mz)
                if length > 0:
                    mx, my, mz = mx / length, my / length, mz / length
                    d = -(mx * position[u, 0] + my * position[u, 1] + mz * position[u, 2])
                    _add_plane(q[u], mx, my, mz, d, ex * ex + ey * ey + ez * ez)
    return q

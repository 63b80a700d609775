"""Free space, ray by ray: every voxel that a depth image's rays pass through (kernel)."""

from __future__ import annotations

import numpy as np

from aerialworld_core.kernels import kernel
from aerialworld_recorder.faces import CORNER, DU, DV, ORIGIN

#: Where a plane is crossed, the other axes are read so many metres further on: a ray may cross two planes in one
#: point, and rounding must not take it for before both.
BEYOND = 1e-9


@kernel
def never_within(p, d, n):  # type: ignore[no-untyped-def]
    """Whether a ray at p is beyond a side of the grid, 0 or n, and does not come back."""
    return (p < 0.0 and d <= 0.0) or (p >= n and d >= 0.0)


@kernel
def clip(o, d, inverse, n, t0, t1):  # type: ignore[no-untyped-def]
    """The part of the stretch (t0, t1) that lies between two sides of the grid."""
    if d == 0.0:
        return t0, t1
    enters, leaves = -o * inverse, (n - o) * inverse
    if d < 0.0:
        enters, leaves = leaves, enters
    return (enters if enters > t0 else t0), (leaves if leaves < t1 else t1)


@kernel
def mark_entered(oa, da, inverse, ob, db, oc, dc, na, nb, nc, sa, sb, sc, t0, t1, mark, free):  # type: ignore[no-untyped-def]
    """Mark the voxels that a ray enters along axis a between t0 and t1; returns how many planes it crosses. For the
    three axes: o origin, d direction (inverse: of a), n voxels, s stride."""
    if da == 0.0:
        return 0
    begin, end = oa + t0 * da, oa + t1 * da  # a plane on which the stretch begins counts
    if da > 0.0:
        first, step, behind = int(np.ceil(begin)), 1, 0
        planes = int(np.floor(end)) - first + 1
    else:
        first, step, behind = int(np.floor(begin)), -1, -1
        planes = first - int(np.ceil(end)) + 1
    t = (first - oa) * inverse + BEYOND
    b, c, b_step, c_step = ob + t * db, oc + t * dc, step * inverse * db, step * inverse * dc
    for n in range(planes):
        i, j, k = np.uint64(first + behind + n * step), np.uint64(np.int64(b)), np.uint64(np.int64(c))
        if i < np.uint64(na) and j < np.uint64(nb) and k < np.uint64(nc):  # as they are but for rounding
            free[i * np.uint64(sa) + j * np.uint64(sb) + k * np.uint64(sc)] = mark
        b += b_step
        c += c_step
    return planes


@kernel
def carve_rays(  # type: ignore[no-untyped-def]
    begin, end, every, depth, slant, far, start, stop, view, shape, mark, free
):
    """Mark (with `mark`) the voxels that rays pass from depth `start` to their hit or `stop`: those of rows [begin,
    end), every so-many-th row and column. Returns how many were met.

    depth (H, W) float32 along the axis: +inf reaches to `far` (along the ray) or the grid's boundary; NaN, −inf, zero
    and negative reach nowhere. `shape` (6,) int64 is the grid's, and its strides; `free` is flat. A ray enters each
    of its voxels but the first through a plane between two: the planes of each axis are taken in turn, so that
    nothing need decide which comes next.
    """
    ox, oy, oz = view[ORIGIN], view[ORIGIN + 1], view[ORIGIN + 2]
    nx, ny, nz, sx, sy, sz = shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]
    steps = 0
    for v in range(begin, end, every):
        for u in range(0, depth.shape[1], every):
            t0, t1 = start, np.float64(depth[v, u])
            if not t1 > start:
                continue
            dx = view[CORNER] + u * view[DU] + v * view[DV]
            dy = view[CORNER + 1] + u * view[DU + 1] + v * view[DV + 1]
            dz = view[CORNER + 2] + u * view[DU + 2] + v * view[DV + 2]
            if never_within(ox + t0 * dx, dx, nx) or never_within(oy + t0 * dy, dy, ny):
                continue
            if never_within(oz + t0 * dz, dz, nz):
                continue
            if t1 == np.inf:
                t1 = far * np.float64(slant[v, u])
            t1 = t1 if t1 < stop else stop
            ix, iy, iz = 1.0 / dx, 1.0 / dy, 1.0 / dz
            t0, t1 = clip(ox, dx, ix, nx, t0, t1)
            t0, t1 = clip(oy, dy, iy, ny, t0, t1)
            t0, t1 = clip(oz, dz, iz, nz, t0, t1)
            if not t0 < t1:
                continue
            i, j, k = int(ox + t0 * dx), int(oy + t0 * dy), int(oz + t0 * dz)
            if i >= 0 and i < nx and j >= 0 and j < ny and k >= 0 and k < nz:
                free[i * sx + j * sy + k * sz] = mark
            steps += 1
            steps += mark_entered(ox, dx, ix, oy, dy, oz, dz, nx, ny, nz, sx, sy, sz, t0, t1, mark, free)
            steps += mark_entered(oy, dy, iy, oz, dz, ox, dx, ny, nz, nx, sy, sz, sx, t0, t1, mark, free)
            steps += mark_entered(oz, dz, iz, ox, dx, oy, dy, nz, nx, ny, sz, sx, sy, t0, t1, mark, free)
    return steps


@kernel
def carve_segments(origin, ends, shape, free):  # type: ignore[no-untyped-def]
    """Mark with 1 the voxels that the segments from `origin` (3,) to `ends` (N, 3) pass, in voxel units; `shape` (6,)
    int64 is the grid's and its strides; `free` is flat uint8."""
    nx, ny, nz, sx, sy, sz = shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]
    ox, oy, oz = origin[0], origin[1], origin[2]
    for n in range(len(ends)):
        dx, dy, dz = ends[n, 0] - ox, ends[n, 1] - oy, ends[n, 2] - oz
        ix = 1.0 / dx if dx != 0.0 else 0.0
        iy = 1.0 / dy if dy != 0.0 else 0.0
        iz = 1.0 / dz if dz != 0.0 else 0.0
        if (dx == 0.0 and not 0.0 <= ox < nx) or (dy == 0.0 and not 0.0 <= oy < ny):
            continue
        if dz == 0.0 and not 0.0 <= oz < nz:
            continue
        t0, t1 = clip(ox, dx, ix, nx, 0.0, 1.0)
        t0, t1 = clip(oy, dy, iy, ny, t0, t1)
        t0, t1 = clip(oz, dz, iz, nz, t0, t1)
        if not t0 < t1:
            continue
        i, j, k = int(np.floor(ox + t0 * dx)), int(np.floor(oy + t0 * dy)), int(np.floor(oz + t0 * dz))
        if i >= 0 and i < nx and j >= 0 and j < ny and k >= 0 and k < nz:
            free[i * sx + j * sy + k * sz] = 1
        mark_entered(ox, dx, ix, oy, dy, oz, dz, nx, ny, nz, sx, sy, sz, t0, t1, 1, free)
        mark_entered(oy, dy, iy, oz, dz, ox, dx, ny, nz, nx, sy, sz, sx, t0, t1, 1, free)
        mark_entered(oz, dz, iz, ox, dx, oy, dy, nz, nx, ny, sz, sx, sy, t0, t1, 1, free)

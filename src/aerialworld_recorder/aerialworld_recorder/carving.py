"""Free space, ray by ray: every voxel that a depth image's rays pass through (numba kernel)."""

from __future__ import annotations

import numpy as np

from aerialworld_recorder.faces import CORNER, DU, DV, ORIGIN
from aerialworld_recorder.kernels import helper, kernel

#: Where a plane is crossed, the other axes are read so many metres further on: a ray may cross two planes in one
#: point, and rounding must not take it for before both.
BEYOND = 1e-9


@helper
def stretch_within(u, v, start, t1, view, shape, ray):  # type: ignore[no-untyped-def]
    """The stretch (t0, t1) of a pixel's ray within the grid, from depth `start` to t1 (t0 > t1 where there is none),
    and in `ray` (2, 3) its direction and the inverse of that."""
    t0 = start
    for a in range(3):
        o, d, n = view[ORIGIN + a], view[CORNER + a] + u * view[DU + a] + v * view[DV + a], shape[a]
        p = o + start * d
        if (p < 0.0 and d <= 0.0) or (p >= n and d >= 0.0):  # beyond a side, and does not come back
            return 1.0, 0.0
        ray[0, a], ray[1, a] = d, 1.0 / d
        if d != 0.0:
            enters, leaves = -o * ray[1, a], (n - o) * ray[1, a]
            if d < 0.0:
                enters, leaves = leaves, enters
            t0 = enters if enters > t0 else t0
            t1 = leaves if leaves < t1 else t1
    return t0, t1


@helper
def mark_first(t0, view, shape, ray, mark, observed):  # type: ignore[no-untyped-def]
    """Mark the voxel at t0, which lies in the grid but for rounding."""
    index = 0
    for a in range(3):
        k = int(view[ORIGIN + a] + t0 * ray[0, a])
        k = k if k < shape[a] else shape[a] - 1
        index += shape[3 + a] * k if k > 0 else 0
    observed[index] = mark


@helper
def mark_entered(a, t0, t1, view, shape, ray, mark, observed):  # type: ignore[no-untyped-def]
    """Mark the voxels that a ray enters along axis `a` between t0 and t1; returns how many planes it crosses."""
    b, c = (a + 1) % 3, (a + 2) % 3
    oa, ob, oc, da, db, dc = view[ORIGIN + a], view[ORIGIN + b], view[ORIGIN + c], ray[0, a], ray[0, b], ray[0, c]
    if da == 0.0:
        return 0
    begin, end = (oa + t0 * da, oa + t1 * da) if da > 0.0 else (-oa - t0 * da, -oa - t1 * da)
    before = np.ceil(begin) - 1.0  # a plane on which the stretch begins counts
    planes = int(np.floor(end) - before)
    for n in range(planes):
        plane = before + 1.0 + n
        i = int(plane) if da > 0.0 else int(-plane) - 1
        t = ((plane if da > 0.0 else -plane) - oa) * ray[1, a] + BEYOND
        j, k = int(ob + t * db), int(oc + t * dc)
        if i >= 0 and i < shape[a] and j >= 0 and j < shape[b] and k >= 0 and k < shape[c]:  # but for rounding
            observed[np.uint64(i * shape[3 + a] + j * shape[3 + b] + k * shape[3 + c])] = mark
    return planes


@kernel
def carve_rays(  # type: ignore[no-untyped-def]
    begin, end, every, depth, slant, far, start, stop, view, shape, mark, observed, ray
):
    """Mark (with `mark`) the voxels that rays pass from depth `start` to their hit or `stop`: those of rows [begin,
    end), every so-many-th row and column. Returns how many were met.

    depth (H, W) float32 along the axis: +inf reaches to `far` (along the ray) or the grid's boundary; NaN, −inf, zero
    and negative reach nowhere. `shape` (6,) int64 is the grid's, and its strides; `observed` is flat; `ray` (2, 3)
    float64 is scratch. A ray enters each of its voxels but the first through a plane between two: the planes of each
    axis are taken in turn, so that nothing need decide which comes next.
    """
    steps = 0
    for v in range(begin, end, every):
        for u in range(0, depth.shape[1], every):
            t1 = np.float64(depth[v, u])
            if not t1 > start:
                continue
            if t1 == np.inf:
                t1 = far * np.float64(slant[v, u])
            t1 = t1 if t1 < stop else stop
            t0, t1 = stretch_within(u, v, start, t1, view, shape, ray)
            if not t0 < t1:
                continue
            mark_first(t0, view, shape, ray, mark, observed)
            steps += 1
            for a in range(3):
                steps += mark_entered(a, t0, t1, view, shape, ray, mark, observed)
    return steps

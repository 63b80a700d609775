"""Seen surface: the voxels that hold a depth image's hits and the surface between neighbouring hits (numba kernels).

A pixel is a sample of a surface; between two samples of one surface the surface goes on, and the voxels it crosses there
are occupied too. At 50 m neighbouring samples of a 400-pixel face lie 0.25 m apart (metres apart on a grazed floor), while
a voxel may hold a strip a few centimetres wide: marking samples alone misses a fifth of an oblique wall's voxels and the
rays that pass on carve them free. So the samples are joined along rows and columns:

- Along a row or column a plane's inverse depth is linear (both are projections). Two neighbours that continue a line of
  inverse depth together with a third pixel lie on one surface: the segment between them is walked.
- Where two such lines, one from either side, meet between the two neighbours, that is a crease (a roof's edge, the foot of
  a wall): both are walked up to the meeting point.
- Otherwise one surface ends in front of another or of the sky somewhere between the two samples. Each side is carried on by
  half a pixel, the expected place of the end, and so it is at the image's border, where the next face goes on.

Coordinates as in `carving`. Votes: a sample counts SAMPLE_VOTES for its class, a crossed voxel one, so that samples
decide wherever there are any.
"""

from __future__ import annotations

import numba
import numpy as np

from aerialworld_recorder.pixel_rays import axis_depth

SAMPLE_VOTES = 256
#: Columns of the per-face sums: hit pixels; area of hits in the grid's x-y range; of these below its bottom; hits of
#: class 0; hits in the grid's x-y range above its top; hits whose class is no surface class.
HITS, AREA, AREA_BELOW, UNLABELLED, ABOVE, BAD_CLASS = range(6)


@numba.njit(nogil=True, cache=True, inline="always")
def cell(p, n):  # type: ignore[no-untyped-def]
    """Index of the voxel along one axis, −1 outside."""
    if p >= 0.0 and p < n:
        return int(p)
    return -1


@numba.njit(nogil=True, cache=True)
def place_samples(  # type: ignore[no-untyped-def]
    depth, semantic, inverse_focal, centre, euclidean, nudge, origin, corner, du, dv, shape, inverse, voxel, sums
):
    """Per pixel the inverse depth along the axis (−1 without a hit) and the flat voxel index of its hit (−1 outside).

    Writes inverse (H, W) float64, voxel (H, W) int32 and adds to sums (6,) float64. `nudge` metres are added along the ray.
    """
    height, width = depth.shape
    nx, ny, nz = shape
    for v in range(height):
        y = (v + 0.5 - centre[1]) * inverse_focal
        for u in range(width):
            value = depth[v, u]
            if not (value > 0.0 and value < np.inf):
                inverse[v, u] = -1.0
                voxel[v, u] = -1
                continue
            x = (u + 0.5 - centre[0]) * inverse_focal
            norm = np.sqrt(1.0 + x * x + y * y)
            t = axis_depth(value, norm, euclidean)
            inverse[v, u] = 1.0 / t
            sums[HITS] += 1.0
            label = semantic[v, u]
            if label == 0:
                sums[UNLABELLED] += 1.0
            elif label >= 17:
                sums[BAD_CLASS] += 1.0
            s = t + nudge / norm
            px = origin[0] + s * (corner[0] + u * du[0] + v * dv[0])
            py = origin[1] + s * (corner[1] + u * du[1] + v * dv[1])
            pz = origin[2] + s * (corner[2] + u * du[2] + v * dv[2])
            i, j, k = cell(px, nx), cell(py, ny), cell(pz, nz)
            voxel[v, u] = -1
            if i >= 0 and j >= 0:
                area = t * t * inverse_focal * inverse_focal / norm
                sums[AREA] += area
                if k >= 0:
                    voxel[v, u] = (i * ny + j) * nz + k
                elif pz < 0.0:
                    sums[AREA_BELOW] += area
                else:
                    sums[ABOVE] += 1.0


@numba.njit(nogil=True, cache=True)
def grow(votes):  # type: ignore[no-untyped-def]
    larger = np.zeros((2 * votes.shape[0], votes.shape[1]), np.uint32)
    larger[: votes.shape[0]] = votes
    return larger


@numba.njit(nogil=True, cache=True, inline="always")
def slot_of(index, slots, touched, count):  # type: ignore[no-untyped-def]
    """The voxel's row in the table of votes, and the count of rows; a new voxel takes a new row."""
    slot = slots[index]
    if slot < 0:
        slot = count
        slots[index] = slot
        touched[slot] = index
        count += 1
    return slot, count


@numba.njit(nogil=True, cache=True)
def vote_samples(voxel, semantic, slots, touched, votes, count):  # type: ignore[no-untyped-def]
    """Count every sample's class in its voxel; returns (votes, count)."""
    height, width = voxel.shape
    for v in range(height):
        for u in range(width):
            index = voxel[v, u]
            if index >= 0:
                slot, count = slot_of(index, slots, touched, count)
                if count > votes.shape[0]:
                    votes = grow(votes)
                votes[slot, semantic[v, u]] += SAMPLE_VOTES
    return votes, count


@numba.njit(nogil=True, cache=True)
def walk_segment(p, q, label, shape, slots, touched, votes, count):  # type: ignore[no-untyped-def]
    """One vote for `label` in every voxel that the segment p–q (voxel units, tuples) crosses; returns (votes, count)."""
    t0, t1 = 0.0, 1.0
    for axis in range(3):
        d = q[axis] - p[axis]
        n = shape[axis]
        if d != 0.0:
            a, b = -p[axis] / d, (n - p[axis]) / d
            t0, t1 = max(t0, min(a, b)), min(t1, max(a, b))
        elif not 0.0 <= p[axis] < n:
            return votes, count
    if not t0 <= t1:
        return votes, count
    nx, ny, nz = shape
    dx, dy, dz = q[0] - p[0], q[1] - p[1], q[2] - p[2]
    i = min(max(int(np.floor(p[0] + t0 * dx)), 0), nx - 1)
    j = min(max(int(np.floor(p[1] + t0 * dy)), 0), ny - 1)
    k = min(max(int(np.floor(p[2] + t0 * dz)), 0), nz - 1)
    tx = ty = tz = np.inf
    ax = ay = az = np.inf
    if dx != 0.0:
        ax = abs(1.0 / dx)
        tx = ((i + 1 if dx > 0 else i) - p[0]) / dx
    if dy != 0.0:
        ay = abs(1.0 / dy)
        ty = ((j + 1 if dy > 0 else j) - p[1]) / dy
    if dz != 0.0:
        az = abs(1.0 / dz)
        tz = ((k + 1 if dz > 0 else k) - p[2]) / dz
    si, sj, sk = (1 if dx > 0 else -1), (1 if dy > 0 else -1), (1 if dz > 0 else -1)
    while True:
        slot, count = slot_of((i * ny + j) * nz + k, slots, touched, count)
        if count > votes.shape[0]:
            votes = grow(votes)
        votes[slot, label] += 1
        if tx <= ty and tx <= tz:
            if tx >= t1:
                break
            i += si
            tx += ax
            if i < 0 or i >= nx:
                break
        elif ty <= tz:
            if ty >= t1:
                break
            j += sj
            ty += ay
            if j < 0 or j >= ny:
                break
        else:
            if tz >= t1:
                break
            k += sk
            tz += az
            if k < 0 or k >= nz:
                break
    return votes, count


@numba.njit(nogil=True, cache=True, inline="always")
def on_line(a, b, c, tolerance):  # type: ignore[no-untyped-def]
    """Whether inverse depth c continues a, b: the depth that a line predicts differs by less than the tolerance."""
    predicted = 2.0 * b - a
    return predicted > 0.0 and abs(predicted - c) < (tolerance[0] + tolerance[1] / c) * predicted * c


@numba.njit(nogil=True, cache=True, inline="always")
def point(u, v, inverse_depth, inverse_focal, centre, nudge, origin, corner, du, dv):  # type: ignore[no-untyped-def]
    """The surface point of a (fractional) pixel in voxel units, nudged along its ray."""
    x, y = (u + 0.5 - centre[0]) * inverse_focal, (v + 0.5 - centre[1]) * inverse_focal
    t = 1.0 / inverse_depth + nudge / np.sqrt(1.0 + x * x + y * y)
    return (
        origin[0] + t * (corner[0] + u * du[0] + v * dv[0]),
        origin[1] + t * (corner[1] + u * du[1] + v * dv[1]),
        origin[2] + t * (corner[2] + u * du[2] + v * dv[2]),
    )


@numba.njit(nogil=True, cache=True, inline="always")
def at(inverse, n, u, v, across, k):  # type: ignore[no-untyped-def]
    """Inverse depth k pixels further along the row (across) or column, −1 beyond the image."""
    i = (u if across else v) + k
    if i < 0 or i >= n:
        return -1.0
    return inverse[v, i] if across else inverse[i, u]


@numba.njit(nogil=True, cache=True)
def join_samples(  # type: ignore[no-untyped-def]
    inverse, voxel, semantic, inverse_focal, centre, nudge, tolerance, reach, origin, corner, du, dv, shape,
    slots, touched, votes, count,
):  # fmt: skip
    """Vote along the surface between neighbouring samples, rows and columns; returns (votes, count)."""
    height, width = inverse.shape
    for v in range(-1, height):
        for u in range(-1, width):
            for across in (True, False):
                # Pair A = (u, v), B = the next pixel; A or B may lie beyond the border.
                if (v < 0) if across else (u < 0):
                    continue
                n = width if across else height
                ub, vb = (u + 1, v) if across else (u, v + 1)
                here, there = u >= 0 and v >= 0, ub < width and vb < height
                b = inverse[vb, ub] if there else -1.0
                a = inverse[v, u] if here else -1.0
                if a < 0.0 and b < 0.0:
                    continue
                if a > 0.0 and b > 0.0 and voxel[v, u] >= 0 and voxel[v, u] == voxel[vb, ub]:
                    continue  # a voxel is convex: the surface between stays inside
                a1, b1 = at(inverse, n, u, v, across, -1), at(inverse, n, ub, vb, across, 1)
                su, sv = (1.0, 0.0) if across else (0.0, 1.0)
                if a > 0.0 and b > 0.0:
                    if (a1 > 0.0 and on_line(a1, a, b, tolerance)) or (b1 > 0.0 and on_line(b1, b, a, tolerance)):
                        meet = 0.5
                        height_there = 0.5 * (a + b)
                    else:
                        meet = -1.0
                        height_there = 0.0
                else:
                    meet = -1.0
                    height_there = 0.0
                support_a = support_b = False
                if meet < 0.0:
                    a2, b2 = at(inverse, n, u, v, across, -2), at(inverse, n, ub, vb, across, 2)
                    support_a = a > 0.0 and a1 > 0.0 and a2 > 0.0 and on_line(a2, a1, a, tolerance)
                    support_b = b > 0.0 and b1 > 0.0 and b2 > 0.0 and on_line(b2, b1, b, tolerance)
                    if support_a and support_b:
                        at_a = a - (2.0 * b - b1)  # A's line above B's, at A and at B
                        at_b = (2.0 * a - a1) - b
                        if at_a * at_b < 0.0:
                            meet = at_a / (at_a - at_b)
                            height_there = a + meet * (a - a1)
                if meet >= 0.0:
                    if not height_there > 0.0:
                        continue
                    p = point(u, v, a, inverse_focal, centre, nudge, origin, corner, du, dv)
                    q = point(ub, vb, b, inverse_focal, centre, nudge, origin, corner, du, dv)
                    m = point(
                        u + meet * su, v + meet * sv, height_there, inverse_focal, centre, nudge, origin, corner, du, dv
                    )
                    votes, count = walk_segment(p, m, semantic[v, u], shape, slots, touched, votes, count)
                    votes, count = walk_segment(m, q, semantic[vb, ub], shape, slots, touched, votes, count)
                    continue
                if support_a and a + reach * (a - a1) > 0.0:
                    p = point(u, v, a, inverse_focal, centre, nudge, origin, corner, du, dv)
                    m = point(
                        u + reach * su, v + reach * sv, a + reach * (a - a1),
                        inverse_focal, centre, nudge, origin, corner, du, dv,
                    )  # fmt: skip
                    votes, count = walk_segment(p, m, semantic[v, u], shape, slots, touched, votes, count)
                if support_b and b + reach * (b - b1) > 0.0:
                    q = point(ub, vb, b, inverse_focal, centre, nudge, origin, corner, du, dv)
                    m = point(
                        ub - reach * su, vb - reach * sv, b + reach * (b - b1),
                        inverse_focal, centre, nudge, origin, corner, du, dv,
                    )  # fmt: skip
                    votes, count = walk_segment(m, q, semantic[vb, ub], shape, slots, touched, votes, count)
    return votes, count


@numba.njit(nogil=True, cache=True)
def settle_votes(slots, touched, votes, count, dynamic, occupancy, semantics):  # type: ignore[no-untyped-def]
    """Write each voted voxel's class (a dynamic one before any static one; then most votes; then the lowest id), mark it
    occupied, and clear the tables for the next frame. Arrays are flat."""
    for slot in range(count):
        index = touched[slot]
        best, best_votes, best_dynamic = 0, 0, False
        for label in range(votes.shape[1]):
            n = votes[slot, label]
            if n == 0:
                continue
            if (dynamic[label] and not best_dynamic) or (dynamic[label] == best_dynamic and n > best_votes):
                best, best_votes, best_dynamic = label, n, dynamic[label]
            votes[slot, label] = 0
        occupancy[index] = 1
        semantics[index] = best
        slots[index] = -1

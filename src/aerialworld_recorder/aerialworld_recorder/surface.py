"""Seen surface: the voxels that hold a depth image's hits and the surface between neighbouring hits (numba kernels).

A pixel is a sample of a surface; between two samples of one surface the surface goes on, and the voxels it crosses
there are occupied too. At 50 m neighbouring samples of a 400-pixel face lie 0.25 m apart (metres apart on a grazed
floor), while a voxel may hold a strip a few centimetres wide: samples alone miss many of an oblique wall's voxels, and
the rays that pass on would carve them free. So the samples are joined along rows and columns:

- Along a row or column a plane's inverse depth is linear (both are projections). Two neighbours that continue a line of
  inverse depth together with a third pixel lie on one surface: the segment between them is walked. So it is where
  four pixels follow a smooth surface: terrain, grazed from near the ground, is sampled metres apart.
- Where two such lines, one from either side, meet between the two neighbours, that is a crease (a roof's edge, the foot
  of a wall): both are walked up to the meeting point.
- Otherwise one surface ends in front of another or of the sky somewhere between the two samples. Each side is carried
  on by half a pixel, the expected place of the end, and so it is at the image's border, where the next face goes on.

Classes: a voxel's samples vote; dynamic classes come before static ones, then most votes, then the lowest id. A voxel
without samples has the class of the first surface that crosses it (faces in the rig's order, pixels row by row),
dynamic ones first. `state` is the voxel's mark while a frame is built: 0 empty, SAMPLED with samples of one class,
MIXED of several, CROSSED without samples.

Coordinates as in `carving`. A view is (origin, corner, du, dv); optics are (1/f, (cx, cy), nudge).
"""

from __future__ import annotations

import numba
import numpy as np

from aerialworld_core.labels import FREE
from aerialworld_recorder.pixel_rays import axis_depth

#: Between four samples in a row the surface is taken for smooth if each step turns by at most this (sine) from the one
#: before and is at most so many times as long or as short.
BEND, STEP_RATIO = 0.5, 5.0
SAMPLED, MIXED, CROSSED = 1, 2, 3
#: Voxel index of a pixel without a hit; hits outside the grid bear OUTSIDE − (bits of the sides they lie beyond).
NO_HIT, OUTSIDE = -1, -2
#: Columns of the sums: hit pixels; area of hits in the grid's x-y range; of these below its bottom; hits of class 0;
#: hits in the grid's x-y range above its top; hits whose class is no surface class; voxels with several classes.
HITS, AREA, AREA_BELOW, UNLABELLED, ABOVE, BAD_CLASS, MIXED_VOXELS = range(7)


@numba.njit(nogil=True, cache=True, inline="always")
def side(p, n):  # type: ignore[no-untyped-def]
    """0 within [0, n), 1 below, 2 above."""
    if p < 0.0:
        return 1
    return 0 if p < n else 2


@numba.njit(nogil=True, cache=True)
def place_samples(  # type: ignore[no-untyped-def]
    depth, semantic, optics, euclidean, view, shape, inverse, voxel, state, classes, sums
):
    """Find and mark the voxel of every hit.

    Writes per pixel the inverse depth along the axis (`inverse` (H, W) float64, −1 without a hit) and the voxel
    (`voxel` (H, W) int32, flat index or NO_HIT or OUTSIDE − sides), marks `state` and `classes` (flat uint8) and adds
    to `sums` (7,) float64. Ids that are no surface class are only counted.
    """
    inverse_focal, centre, nudge = optics
    origin, corner, du, dv = view
    height, width = depth.shape
    nx, ny, nz = shape
    for v in range(height):
        y = (v + 0.5 - centre[1]) * inverse_focal
        for u in range(width):
            value = depth[v, u]
            if not (value > 0.0 and value < np.inf):
                inverse[v, u] = -1.0
                voxel[v, u] = NO_HIT
                continue
            x = (u + 0.5 - centre[0]) * inverse_focal
            norm = np.sqrt(1.0 + x * x + y * y)
            t = axis_depth(value, norm, euclidean)
            inverse[v, u] = 1.0 / t
            sums[HITS] += 1.0
            label = semantic[v, u]
            if label == 0:
                sums[UNLABELLED] += 1.0
            s = t + nudge / norm
            px = origin[0] + s * (corner[0] + u * du[0] + v * dv[0])
            py = origin[1] + s * (corner[1] + u * du[1] + v * dv[1])
            pz = origin[2] + s * (corner[2] + u * du[2] + v * dv[2])
            sx, sy, sz = side(px, nx), side(py, ny), side(pz, nz)
            if sx == 0 and sy == 0:
                area = t * t * inverse_focal * inverse_focal / norm
                sums[AREA] += area
                if sz == 1:
                    sums[AREA_BELOW] += area
                elif sz == 2:
                    sums[ABOVE] += 1.0
            if sx + sy + sz != 0:
                voxel[v, u] = OUTSIDE - (sx + 4 * sy + 16 * sz)
                if label >= FREE:
                    sums[BAD_CLASS] += 1.0
                continue
            index = (int(px) * ny + int(py)) * nz + int(pz)
            voxel[v, u] = index
            if label >= FREE:
                sums[BAD_CLASS] += 1.0
            elif state[index] == 0:
                state[index] = SAMPLED
                classes[index] = label
            elif classes[index] != label and state[index] == SAMPLED:
                state[index] = MIXED
                sums[MIXED_VOXELS] += 1.0


@numba.njit(nogil=True, cache=True)
def vote_mixed(voxel, semantic, state, slots, touched, votes, count):  # type: ignore[no-untyped-def]
    """Count the samples of voxels that hold several classes. `slots` (one int32 per voxel, −1) maps voxels to rows of
    `votes` (a row for each mixed voxel), `touched` maps back; returns how many rows are used, `count` before."""
    height, width = voxel.shape
    for v in range(height):
        for u in range(width):
            index = voxel[v, u]
            if index >= 0 and state[index] == MIXED:
                slot = slots[index]
                if slot < 0:
                    slot = count
                    slots[index] = slot
                    touched[slot] = index
                    count += 1
                votes[slot, semantic[v, u]] += 1
    return count


@numba.njit(nogil=True, cache=True)
def walk_segment(p, q, label, shape, dynamic, state, classes):  # type: ignore[no-untyped-def]
    """Mark the voxels without samples that the segment p–q crosses (tuples, voxel units) with `label`."""
    t0, t1 = 0.0, 1.0
    for axis in range(3):
        d = q[axis] - p[axis]
        n = shape[axis]
        if d != 0.0:
            a, b = -p[axis] / d, (n - p[axis]) / d
            t0, t1 = max(t0, min(a, b)), min(t1, max(a, b))
        elif not 0.0 <= p[axis] < n:
            return
    if not t0 <= t1:
        return
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
        index = (i * ny + j) * nz + k
        if state[index] == 0 or (state[index] == CROSSED and dynamic[label] and not dynamic[classes[index]]):
            state[index] = CROSSED
            classes[index] = label
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


@numba.njit(nogil=True, cache=True, inline="always")
def on_line(a, b, c, tolerance):  # type: ignore[no-untyped-def]
    """Whether inverse depth c continues a, b: the depth that a line predicts differs by less than the tolerance."""
    predicted = 2.0 * b - a
    return predicted > 0.0 and abs(predicted - c) < (tolerance[0] + tolerance[1] / c) * predicted * c


@numba.njit(nogil=True, cache=True, inline="always")
def point(u, v, inverse_depth, optics, view):  # type: ignore[no-untyped-def]
    """The surface point of a (fractional) pixel in voxel units, nudged along its ray."""
    inverse_focal, centre, nudge = optics
    origin, corner, du, dv = view
    x, y = (u + 0.5 - centre[0]) * inverse_focal, (v + 0.5 - centre[1]) * inverse_focal
    t = 1.0 / inverse_depth + nudge / np.sqrt(1.0 + x * x + y * y)
    return (
        origin[0] + t * (corner[0] + u * du[0] + v * dv[0]),
        origin[1] + t * (corner[1] + u * du[1] + v * dv[1]),
        origin[2] + t * (corner[2] + u * du[2] + v * dv[2]),
    )


@numba.njit(nogil=True, cache=True, inline="always")
def at(inverse, u, v, su, sv, k):  # type: ignore[no-untyped-def]
    """Inverse depth k pixels further along the row or column, −1 beyond the image."""
    u += k * su
    v += k * sv
    if u < 0 or v < 0 or u >= inverse.shape[1] or v >= inverse.shape[0]:
        return -1.0
    return inverse[v, u]


@numba.njit(nogil=True, cache=True)
def bends_gently(u0, v0, su, sv, a, b, c, optics):  # type: ignore[no-untyped-def]
    """Whether three pixels in a row, (u0, v0) first, of inverse depths a, b, c, follow a smooth surface: the second
    step turns from the first by at most BEND (sine) and neither is more than STEP_RATIO times as long as the other."""
    inverse_focal, centre, _ = optics
    x, y = (u0 + 0.5 - centre[0]) * inverse_focal, (v0 + 0.5 - centre[1]) * inverse_focal
    dx, dy = su * inverse_focal, sv * inverse_focal
    ta, tb, tc = 1.0 / a, 1.0 / b, 1.0 / c
    px, py, pz = (x + dx) * tb - x * ta, (y + dy) * tb - y * ta, tb - ta
    qx, qy, qz = (x + 2 * dx) * tc - (x + dx) * tb, (y + 2 * dy) * tc - (y + dy) * tb, tc - tb
    pp, qq = px * px + py * py + pz * pz, qx * qx + qy * qy + qz * qz
    limit = STEP_RATIO * STEP_RATIO
    if qq > limit * pp or pp > limit * qq or px * qx + py * qy + pz * qz <= 0.0:
        return False
    cx, cy, cz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
    return cx * cx + cy * cy + cz * cz <= BEND * BEND * pp * qq


@numba.njit(nogil=True, cache=True, inline="always")
def nothing_between(a, b, ny, nz):  # type: ignore[no-untyped-def]
    """Whether a segment between two pixels' voxels crosses no third voxel of the grid: the voxels are one, or share a
    face (their union is convex), or both points lie beyond the same side of the grid, or neither is a hit."""
    if a >= 0 and b >= 0:
        if a == b:
            return True
        step = abs(a - b)
        if step == ny * nz:
            return True
        if step == nz:
            return a // (ny * nz) == b // (ny * nz)
        return step == 1 and a // nz == b // nz
    if a < OUTSIDE and b < OUTSIDE:
        return ((OUTSIDE - a) & (OUTSIDE - b)) != 0
    return a < 0 and b < 0 and (a == NO_HIT or b == NO_HIT)


@numba.njit(nogil=True, cache=True)
def join_pair(  # type: ignore[no-untyped-def]
    u, v, su, sv, inverse, semantic, optics, tolerance, reach, view, shape, dynamic, state, classes
):
    """Mark along the surface between pixel A = (u, v) and B = (u + su, v + sv); one may lie beyond the border."""
    a, b = at(inverse, u, v, su, sv, 0), at(inverse, u, v, su, sv, 1)
    a1, b1 = at(inverse, u, v, su, sv, -1), at(inverse, u, v, su, sv, 2)
    ub, vb = u + su, v + sv
    meet, met = -1.0, 0.0
    if a > 0.0 and b > 0.0:
        if (
            (a1 > 0.0 and on_line(a1, a, b, tolerance))
            or (b1 > 0.0 and on_line(b1, b, a, tolerance))
            or (
                (a1 > 0.0 and b1 > 0.0)
                and bends_gently(u - su, v - sv, su, sv, a1, a, b, optics)
                and bends_gently(u, v, su, sv, a, b, b1, optics)
            )
        ):
            if semantic[v, u] == semantic[vb, ub]:
                p, q = point(u, v, a, optics, view), point(ub, vb, b, optics, view)
                walk_segment(p, q, semantic[v, u], shape, dynamic, state, classes)
                return
            meet, met = 0.5, 0.5 * (a + b)
    if meet < 0.0:
        a2, b2 = at(inverse, u, v, su, sv, -2), at(inverse, u, v, su, sv, 3)
        on_a = a > 0.0 and a1 > 0.0 and a2 > 0.0 and on_line(a2, a1, a, tolerance)
        on_b = b > 0.0 and b1 > 0.0 and b2 > 0.0 and on_line(b2, b1, b, tolerance)
        if on_a and on_b:
            above_at_a = a - (2.0 * b - b1)  # A's line over B's, at A and at B
            above_at_b = (2.0 * a - a1) - b
            if above_at_a * above_at_b < 0.0:
                meet = above_at_a / (above_at_a - above_at_b)
                met = a + meet * (a - a1)
        if meet < 0.0:
            if on_a and a + reach * (a - a1) > 0.0:
                p = point(u, v, a, optics, view)
                m = point(u + reach * su, v + reach * sv, a + reach * (a - a1), optics, view)
                walk_segment(p, m, semantic[v, u], shape, dynamic, state, classes)
            if on_b and b + reach * (b - b1) > 0.0:
                q = point(ub, vb, b, optics, view)
                m = point(ub - reach * su, vb - reach * sv, b + reach * (b - b1), optics, view)
                walk_segment(m, q, semantic[vb, ub], shape, dynamic, state, classes)
            return
    if met > 0.0:
        p, q = point(u, v, a, optics, view), point(ub, vb, b, optics, view)
        m = point(u + meet * su, v + meet * sv, met, optics, view)
        walk_segment(p, m, semantic[v, u], shape, dynamic, state, classes)
        walk_segment(m, q, semantic[vb, ub], shape, dynamic, state, classes)


@numba.njit(nogil=True, cache=True)
def join_samples(  # type: ignore[no-untyped-def]
    inverse, voxel, semantic, optics, tolerance, reach, view, shape, dynamic, state, classes
):
    """Mark along the surface between all neighbouring samples, rows and columns."""
    height, width = inverse.shape
    ny, nz = shape[1], shape[2]
    for v in range(-1, height):
        for u in range(-1, width):
            here = voxel[v, u] if u >= 0 and v >= 0 else NO_HIT
            if v >= 0:
                there = voxel[v, u + 1] if u + 1 < width else NO_HIT
                if not nothing_between(here, there, ny, nz):
                    join_pair(
                        u, v, 1, 0, inverse, semantic, optics, tolerance, reach, view, shape,
                        dynamic, state, classes,
                    )  # fmt: skip
            if u >= 0:
                there = voxel[v + 1, u] if v + 1 < height else NO_HIT
                if not nothing_between(here, there, ny, nz):
                    join_pair(
                        u, v, 0, 1, inverse, semantic, optics, tolerance, reach, view, shape,
                        dynamic, state, classes,
                    )  # fmt: skip


@numba.njit(nogil=True, cache=True)
def settle(slots, touched, votes, count, dynamic, state, classes, observed):  # type: ignore[no-untyped-def]
    """Decide the mixed voxels' classes, make `state` 0 or 1, mark the occupied ones observed, clear `slots`.
    Arrays are flat; to be called when carving has ended."""
    for slot in range(count):
        index = touched[slot]
        best, best_votes, best_dynamic = 0, 0, False
        for label in range(votes.shape[1]):
            n = votes[slot, label]
            if n == 0:
                continue
            if (dynamic[label] and not best_dynamic) or (dynamic[label] == best_dynamic and n > best_votes):
                best, best_votes, best_dynamic = label, n, dynamic[label]
        classes[index] = best
        slots[index] = -1
    for index in range(len(state)):
        occupied = 1 if state[index] != 0 else 0
        state[index] = occupied
        observed[index] |= occupied

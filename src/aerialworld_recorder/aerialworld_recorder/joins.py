"""Seen surface, second part: the voxels that a surface crosses between neighbouring samples (kernels).

At 50 m neighbouring samples of a 400-pixel face lie 0.25 m apart (metres apart on a grazed floor), while a voxel may
hold a strip a few centimetres wide: samples alone miss many of an oblique wall's voxels, and the rays that pass on
would carve them free. So the samples are joined along rows and columns:

- Along a row or column a plane's inverse depth is linear (both are projections). Two neighbours that continue a line of
  inverse depth together with a third pixel lie on one surface: the segment between them is walked. So it is where
  four pixels follow a smooth surface: terrain, grazed from near the ground, is sampled metres apart.
- Where two such lines, one from either side, meet between the two neighbours, that is a crease (a roof's edge, the foot
  of a wall): both are walked up to the meeting point.
- Otherwise one surface ends in front of another or of the sky somewhere between the two samples. Each side is carried
  on by half a pixel, the expected place of the end, and so it is at the image's border, where the next face goes on.

A voxel without samples has the class of the first surface that crosses it (faces in the rig's order, pixels row by
row), dynamic ones first.

Only pairs that `samples` noted are looked at. A pair's pixels are numbered along its row or column: A is 0, B is 1.
"""

from __future__ import annotations

import numpy as np

from aerialworld_core.kernels import kernel
from aerialworld_recorder.faces import CENTRE_X, CENTRE_Y, CORNER, DU, DV, INVERSE_FOCAL, NUDGE, ORIGIN, TOLERANCE
from aerialworld_recorder.samples import CROSSED

#: Between four samples in a row the surface is taken for smooth if each step turns by at most this (sine) from the one
#: before and is at most so many times as long or as short.
BEND, STEP_RATIO = 0.5, 5.0
#: How far, in pixels, a surface is carried on where it ends between two pixels.
REACH = 0.5


@kernel
def point(u, v, inverse_depth, view):  # type: ignore[no-untyped-def]
    """The surface point of a (fractional) pixel in voxel units, nudged along its ray."""
    x, y = (u + 0.5 - view[CENTRE_X]) * view[INVERSE_FOCAL], (v + 0.5 - view[CENTRE_Y]) * view[INVERSE_FOCAL]
    t = 1.0 / inverse_depth + view[NUDGE] / np.sqrt(1.0 + x * x + y * y)
    return (
        view[ORIGIN] + t * (view[CORNER] + u * view[DU] + v * view[DV]),
        view[ORIGIN + 1] + t * (view[CORNER + 1] + u * view[DU + 1] + v * view[DV + 1]),
        view[ORIGIN + 2] + t * (view[CORNER + 2] + u * view[DU + 2] + v * view[DV + 2]),
    )


@kernel
def add_segment(segments, count, begin, inverse, end, inverse_end, label):  # type: ignore[no-untyped-def]
    segments[count, 0], segments[count, 1] = begin, inverse
    segments[count, 2], segments[count, 3] = end, inverse_end
    segments[count, 4] = label
    return count + 1


@kernel
def on_line(a, b, c, view):  # type: ignore[no-untyped-def]
    """Whether inverse depth c continues a, b: the depth that a line predicts differs by less than the tolerance."""
    predicted = 2.0 * b - a
    return predicted > 0.0 and abs(predicted - c) < (view[TOLERANCE] + view[TOLERANCE + 1] / c) * predicted * c


@kernel
def bends_gently(x, y, dx, dy, a, b, c):  # type: ignore[no-untyped-def]
    """Whether three pixels in a row of inverse depths a, b, c follow a smooth surface; the first's ray is (x, y, 1),
    each further one's (dx, dy, 0) on. The second step turns from the first by at most BEND (sine), and neither is
    more than STEP_RATIO times as long as the other."""
    ta, tb, tc = 1.0 / a, 1.0 / b, 1.0 / c
    px, py, pz = (x + dx) * tb - x * ta, (y + dy) * tb - y * ta, tb - ta
    qx, qy, qz = (x + 2 * dx) * tc - (x + dx) * tb, (y + 2 * dy) * tc - (y + dy) * tb, tc - tb
    pp, qq = px * px + py * py + pz * pz, qx * qx + qy * qy + qz * qz
    limit = STEP_RATIO * STEP_RATIO
    if qq > limit * pp or pp > limit * qq or px * qx + py * qy + pz * qz <= 0.0:
        return False
    cx, cy, cz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
    return cx * cx + cy * cy + cz * cz <= BEND * BEND * pp * qq


@kernel
def clip(p, d, inverse, n, t0, t1):  # type: ignore[no-untyped-def]
    """The part of [t0, t1] in which p + t · d lies in [0, n]; empty (t0 > t1) where there is none."""
    if p >= 0.0 and p < n and p + d >= 0.0 and p + d < n:
        return t0, t1
    if d == 0.0:
        return 1.0, 0.0
    a, b = -p * inverse, (n - p) * inverse
    if d < 0.0:
        a, b = b, a
    return (a if a > t0 else t0), (b if b < t1 else t1)


@kernel
def first_voxel(p, d, t, n):  # type: ignore[no-untyped-def]
    """The voxel at t, which lies in the grid but for rounding."""
    k = np.int64(np.floor(p + t * d))
    if k < 0:
        return 0
    return k if k < n else n - 1


@kernel
def walk(px, py, pz, qx, qy, qz, label, shape, dynamic, state, classes):  # type: ignore[no-untyped-def]
    """Mark the voxels without samples that the segment p–q (voxel units) crosses with `label`."""
    dx, dy, dz = qx - px, qy - py, qz - pz
    ix, iy, iz = 1.0 / dx, 1.0 / dy, 1.0 / dz
    nx, ny, nz = shape[0], shape[1], shape[2]
    t0, t1 = clip(px, dx, ix, nx, 0.0, 1.0)
    t0, t1 = clip(py, dy, iy, ny, t0, t1)
    t0, t1 = clip(pz, dz, iz, nz, t0, t1)
    if not t0 <= t1:
        return
    # Amanatides & Woo 1987: the voxel, and per axis where the next one begins and how far it is from one to the next.
    i, j, k = first_voxel(px, dx, t0, nx), first_voxel(py, dy, t0, ny), first_voxel(pz, dz, t0, nz)
    si, sj, sk = (1 if dx > 0.0 else -1), (1 if dy > 0.0 else -1), (1 if dz > 0.0 else -1)
    ax, ay, az = abs(ix), abs(iy), abs(iz)
    tx = ((i + 1 if dx > 0.0 else i) - px) * ix if dx != 0.0 else np.inf
    ty = ((j + 1 if dy > 0.0 else j) - py) * iy if dy != 0.0 else np.inf
    tz = ((k + 1 if dz > 0.0 else k) - pz) * iz if dz != 0.0 else np.inf
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
        elif ty <= tz:
            if ty >= t1:
                break
            j += sj
            ty += ay
        else:
            if tz >= t1:
                break
            k += sk
            tz += az
        if i < 0 or i >= nx or j < 0 or j >= ny or k < 0 or k >= nz:
            break


@kernel
def meeting(line, u, v, su, sv, view, same):  # type: ignore[no-untyped-def]
    """How the surfaces of A and B go on between them, from the inverse depths of six pixels in a row (`line`, A at 2, B
    at 3; −1 without a sample): (fraction of the way from A, inverse depth there), of one surface where the classes
    differ or of two that meet; (1, B's) where one segment of one class joins them; (−1, 0) if they do not meet."""
    a, b = line[2], line[3]
    if a > 0.0 and b > 0.0:
        joined = line[1] > 0.0 and on_line(line[1], a, b, view)
        joined = joined or (line[4] > 0.0 and on_line(line[4], b, a, view))
        if not joined and line[1] > 0.0 and line[4] > 0.0:
            scale = view[INVERSE_FOCAL]
            x, y = (u + 0.5 - view[CENTRE_X]) * scale, (v + 0.5 - view[CENTRE_Y]) * scale
            dx, dy = su * scale, sv * scale
            joined = True
            for n in range(2):
                k = n - 1
                joined = joined and bends_gently(x + k * dx, y + k * dy, dx, dy, line[n + 1], line[n + 2], line[n + 3])
        if joined:
            return (1.0, b) if same else (0.5, 0.5 * (a + b))
    if ends_on_line(line[0], line[1], a, view) and ends_on_line(line[5], line[4], b, view):
        above_at_a = a - (2.0 * b - line[4])  # A's line over B's, at A and at B
        above_at_b = (2.0 * a - line[1]) - b
        if above_at_a * above_at_b < 0.0:
            where = above_at_a / (above_at_a - above_at_b)
            return where, a + where * (a - line[1])
    return -1.0, 0.0


@kernel
def ends_on_line(a2, a1, a, view):  # type: ignore[no-untyped-def]
    """Whether a line of inverse depth ends in `a`."""
    return a > 0.0 and a1 > 0.0 and a2 > 0.0 and on_line(a2, a1, a, view)


@kernel
def join_samples(  # type: ignore[no-untyped-def]
    pairs, count, depth, semantic, view, shape, dynamic, state, classes, line, segments
):
    """Mark along the surface between the first `count` of `pairs` (see samples.mark_face); one pixel of a pair may lie
    beyond the image. `line` (6,) and `segments` (2, 5) float64 are scratch; `dynamic` (classes,) bool."""
    height, width = depth.shape
    for n in range(count):
        sv = pairs[n] & 1
        su = 1 - sv
        v, u = (pairs[n] >> 1) // (width + 1) - 1, (pairs[n] >> 1) % (width + 1) - 1
        for k in range(6):
            x, y = u + (k - 2) * su, v + (k - 2) * sv
            line[k] = -1.0
            if x >= 0 and y >= 0 and x < width and y < height:
                value = np.float64(depth[y, x])
                if value > 0.0 and value < np.inf:
                    line[k] = 1.0 / value
        a, b = line[2], line[3]
        label_a = semantic[v, u] if a > 0.0 else np.uint8(0)
        label_b = semantic[v + sv, u + su] if b > 0.0 else np.uint8(0)
        where, met = meeting(line, u, v, su, sv, view, label_a == label_b)
        # Up to two segments: from, inverse depth there, to, inverse depth there, class.
        found = 0
        if where >= 0.0:
            if met <= 0.0:
                continue
            found = add_segment(segments, found, 0.0, a, where, met, label_a)
            if where < 1.0 or label_a != label_b:
                found = add_segment(segments, found, where, met, 1.0, b, label_b)
        else:
            end = a + REACH * (a - line[1])
            if ends_on_line(line[0], line[1], a, view) and end > 0.0:
                found = add_segment(segments, found, 0.0, a, REACH, end, label_a)
            end = b + REACH * (b - line[4])
            if ends_on_line(line[5], line[4], b, view) and end > 0.0:
                found = add_segment(segments, found, 1.0 - REACH, end, 1.0, b, label_b)
        for m in range(found):
            px, py, pz = point(u + segments[m, 0] * su, v + segments[m, 0] * sv, segments[m, 1], view)
            qx, qy, qz = point(u + segments[m, 2] * su, v + segments[m, 2] * sv, segments[m, 3], view)
            walk(px, py, pz, qx, qy, qz, np.int64(segments[m, 4]), shape, dynamic, state, classes)

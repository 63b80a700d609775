"""Seen surface, first part: the voxels that hold a depth image's hits, and where neighbouring hits leave a gap.

A pixel is a sample of a surface. One pass over a face's rows finds every sample's voxel, marks it, and notes the
pairs of neighbouring pixels between whose voxels others may lie: `joins` looks at these again when all faces are
marked. Nearly all pairs lie in one voxel or in two that share a face, and the pass compares whole rows at once: it
costs a few nanoseconds per pixel, so each loop over a row is one that the compiler turns into vector instructions.

Classes: a voxel's samples vote. A run is a row's stretch of pixels with one voxel and one class; runs are kept, so that
only those of voxels with several classes need be counted. `state` is the voxel's mark while a frame is built: 0 empty,
SAMPLED with samples of one class, MIXED of several, CROSSED without samples.

Coordinates are voxel units: (p − grid.minimum) / voxel_size. `view` holds a face's numbers as in `faces`.
"""

from __future__ import annotations

import numpy as np

from aerialworld_core.kernels import kernel
from aerialworld_core.labels import FREE
from aerialworld_recorder.faces import CORNER, DU, DV, INVERSE_FOCAL, NUDGE, ORIGIN

SAMPLED, MIXED, CROSSED = 1, 2, 3
#: A pixel's tag: a bit for each side of the grid that its sample lies beyond, all six without a sample; whether the
#: voxel's first and second index are odd.
SIDES, ODD_I, ODD_J = 63, 64, 128
#: Columns of the counts: hit pixels; hits of class 0; hits in the grid's x-y range above its top; hits whose class is
#: no surface class; voxels with several classes; runs and pairs noted.
HITS, UNLABELLED, ABOVE, BAD_CLASS, MIXED_VOXELS, RUNS, PAIRS = range(7)
#: Bits of a tag: beyond a side in x or y; below the bottom; above the top.
BESIDE, BELOW_BOTTOM, ABOVE_TOP = 15, 16, 32
ZERO, INFINITE = np.float32(0.0), np.float32(np.inf)


@kernel
def place_samples(v, depth, slant, view, shape, codes, tags):  # type: ignore[no-untyped-def]
    """Voxel and tag of the pixels of row v, which go to `codes` and `tags` from 1 on."""
    ox, oy, oz = view[ORIGIN], view[ORIGIN + 1], view[ORIGIN + 2]
    cx, cy, cz = view[CORNER], view[CORNER + 1], view[CORNER + 2]
    ux, uy, uz = view[DU], view[DU + 1], view[DU + 2]
    vx, vy, vz = v * view[DV], v * view[DV + 1], v * view[DV + 2]
    nudge = view[NUDGE]
    nx, ny, nz = float(shape[0]), float(shape[1]), float(shape[2])
    for u in range(depth.shape[1]):
        value = np.float64(depth[v, u])
        hit = (value > 0.0) & (value < np.inf)
        s = (value if hit else 1.0) + nudge * slant[v, u]
        px = ox + s * (cx + u * ux + vx)
        py = oy + s * (cy + u * uy + vy)
        pz = oz + s * (cz + u * uz + vz)
        i, j, k = np.floor(px), np.floor(py), np.floor(pz)
        beyond = (
            np.int32(i < 0.0) | np.int32(i >= nx) << 1 | np.int32(j < 0.0) << 2 | np.int32(j >= ny) << 3
            | np.int32(k < 0.0) << 4 | np.int32(k >= nz) << 5
        )  # fmt: skip
        sides = beyond if hit else np.int32(SIDES)
        half_i, half_j = 0.5 * i, 0.5 * j
        odd = np.int32(half_i != np.floor(half_i)) << 6 | np.int32(half_j != np.floor(half_j)) << 7
        codes[u + 1] = np.int32((i * ny + j) * nz + k if sides == 0 else -1.0)
        tags[u + 1] = sides | odd


@kernel
def add_area(v, depth, slant, scale, tags, side, area):  # type: ignore[no-untyped-def]
    """Add the m² that the samples in the grid's x-y range cover across their rays, of those beyond `side` only unless
    it is 0; scale = 1/f². Sums are kept per column of the image: their order must not keep the loop from being a
    vector's."""
    for u in range(depth.shape[1]):
        t = np.float64(depth[v, u])
        counted = (tags[u + 1] & BESIDE == 0) & (tags[u + 1] & side == side)
        area[u] += t * t * scale * slant[v, u] if counted else 0.0


@kernel
def hits_among(v, depth):  # type: ignore[no-untyped-def]
    hits = np.int32(0)
    for u in range(depth.shape[1]):
        hits += np.int32((depth[v, u] > ZERO) & (depth[v, u] < INFINITE))
    return hits


@kernel
def exceptions_among(v, semantic, tags):  # type: ignore[no-untyped-def]
    """Whether a sample bears no class or none of a surface, or lies below or above the grid (and perhaps beside it)."""
    found = np.int32(0)
    for u in range(semantic.shape[1]):
        label, sides = np.int32(semantic[v, u]), np.int32(tags[u + 1] & SIDES)
        odd = (np.int32(sides & (BELOW_BOTTOM | ABOVE_TOP)) != 0) | (label == 0) | (label >= FREE)
        found = np.int32(found | np.int32((sides != SIDES) & odd))
    return found


@kernel
def count_exceptions(v, semantic, tags, counts):  # type: ignore[no-untyped-def]
    for u in range(semantic.shape[1]):
        sides = tags[u + 1] & SIDES
        if sides == SIDES:
            continue
        if semantic[v, u] == 0:
            counts[UNLABELLED] += 1
        if semantic[v, u] >= FREE:
            counts[BAD_CLASS] += 1
        if sides == ABOVE_TOP:
            counts[ABOVE] += 1


@kernel
def gap(code, tag, other_code, other_tag, row, column):  # type: ignore[no-untyped-def]
    """1 if a segment between two pixels' samples may cross a third voxel of the grid, else 0. It does not if they lie
    beyond one side of it, in one voxel or in two that share a face (their union is convex). `row` and `column` are
    the distances of two voxels' numbers that differ by one in their first and their second index."""
    apart, odd = np.int32(code - other_code), np.int32(tag ^ other_tag)
    apart = np.int32(-apart if apart < 0 else apart)
    near = (apart == row) | ((apart == column) & (np.int32(odd & ODD_I) == 0))
    near |= (apart == 0) | ((apart == 1) & (np.int32(odd & (ODD_I | ODD_J)) == 0))
    inside = np.int32((tag | other_tag) & SIDES) == 0
    return np.int32((np.int32(tag & other_tag & SIDES) == 0) & ~(inside & near))


@kernel
def note_gaps(codes, tags, below, tags_below, row, column, gaps):  # type: ignore[no-untyped-def]
    """For the pixels of two padded rows: 1 for a gap to the right, 2 for one below, 3 for both; returns
    whether there is any."""
    found = np.int32(0)
    for c in range(len(codes) - 1):
        right = gap(codes[c], tags[c], codes[c + 1], tags[c + 1], row, column)
        down = gap(codes[c], tags[c], below[c], tags_below[c], row, column)
        gaps[c] = np.int32(right | np.int32(down << 1))
        found = np.int32(found | gaps[c])
    return found


@kernel
def mark_runs(v, semantic, codes, state, classes, runs, counts):  # type: ignore[no-untyped-def]
    """Mark the voxels of the samples and append (voxel, class, pixels) for every run to `runs` (3, N)."""
    count, mixed = counts[RUNS], counts[MIXED_VOXELS]
    before, label_before, begin = np.int32(-1), np.uint8(0), 0
    for u in range(semantic.shape[1]):
        code, label = codes[u + 1], semantic[v, u]
        if code == before and label == label_before:
            continue
        if before >= 0:
            runs[2, count - 1] = u - begin
        before, label_before, begin = code, label, u
        if code < 0:
            continue
        runs[0, count], runs[1, count] = code, label
        count += 1
        if state[code] == 0:
            state[code] = SAMPLED
            classes[code] = label
        elif state[code] == SAMPLED and classes[code] != label:
            state[code] = MIXED
            mixed += 1
    if before >= 0:
        runs[2, count - 1] = semantic.shape[1] - begin
    counts[RUNS], counts[MIXED_VOXELS] = count, mixed


@kernel
def mark_face(  # type: ignore[no-untyped-def]
    depth, semantic, slant, view, shape, codes, tags, gaps, area, state, classes, runs, pairs, counts
):
    """Mark the voxels that hold a face's samples; note runs, pairs with a gap, sums.

    depth (H, W) float32 along the axis, semantic (H, W) uint8, slant (H, W) float32; `codes` (2, W + 2) int32, `tags`
    (2, W + 2) int32 and `gaps` (W + 2,) int32 are scratch; `area` (2, W) float64, flat `state` and `classes` and
    `counts` are added to; `runs` is appended to from counts[RUNS] on and `pairs` (int32) filled from 0 on, row by row:
    ((v + 1) · (W + 1) + u + 1) · 2, + 1 for the pair of (u, v) and (u, v + 1), else (u + 1, v). Pairs begin at −1:
    where a surface leaves the image it goes on in the next one.
    """
    height, width = depth.shape
    row, column = np.int32(shape[1] * shape[2]), np.int32(shape[2])
    scale = view[INVERSE_FOCAL] * view[INVERSE_FOCAL]
    codes[:] = -1
    tags[:] = SIDES
    count = 0
    sampled_above, sampled = False, False
    for v in range(height + 1):
        here, below = codes[(v + 1) & 1], codes[v & 1]  # rows v − 1 and v
        tags_here, tags_below = tags[(v + 1) & 1], tags[v & 1]
        hits = hits_among(v, depth) if v < height else 0
        sampled_above, sampled = sampled, hits > 0
        if sampled:
            counts[HITS] += hits
            place_samples(v, depth, slant, view, shape, below, tags_below)
            mark_runs(v, semantic, below, state, classes, runs, counts)
            parts = 1
            if exceptions_among(v, semantic, tags_below):
                parts = 2
                count_exceptions(v, semantic, tags_below, counts)
            for part in range(parts):
                add_area(v, depth, slant, scale, tags_below, part * BELOW_BOTTOM, area[part])
        else:
            below[:] = -1
            tags_below[:] = SIDES
        if (sampled or sampled_above) and note_gaps(here, tags_here, below, tags_below, row, column, gaps):
            for c in range(width + 1):
                if gaps[c] & 1:
                    pairs[count] = (v * (width + 1) + c) * 2
                    count += 1
                if gaps[c] & 2:
                    pairs[count] = (v * (width + 1) + c) * 2 + 1
                    count += 1
    counts[PAIRS] = count

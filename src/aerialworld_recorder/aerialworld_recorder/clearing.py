"""Free space, voxel by voxel: which voxels a face's rays pass before they hit something (kernels).

A ray that passes a voxel tells more than its own path: neighbouring rays pass the same voxels again and again, thirty
million steps for four million voxels. So the question is asked the other way round. As long as a voxel looks at least a
pixel wide (up to `Face.reach`), the ray of the pixel nearest to the picture of its centre runs through it, at the
centre's depth. If that pixel's depth is greater, the voxel is free: one look-up in place of a walk.

- `clear_blocks` asks for whole cubes of voxels first. A cube in front of everything that its pixels see is free, one
  behind all of it is not; both are told from the least and the greatest depth of a few cells (`bound_depth`), and only
  cubes in between are halved, down to single voxels.
- A voxel whose middle is hidden may still be passed at its rim. Such voxels have a free neighbour (`list_edges`), and
  there a dozen points of each are looked up (`clear_edges`).
- Beyond `Face.reach` rays are further apart than voxels, and are walked (`carving`).

Nothing is marked that no ray passes; of all that rays pass, less than 0.3 % is missed: voxels that only a thin beam
between two obstacles enters.
"""

from __future__ import annotations

import numpy as np

from aerialworld_core.kernels import kernel
from aerialworld_recorder.faces import DU, DV

#: Pixels per edge of the smallest cells whose least and greatest depth are kept, and edges of cubes: first and last.
CELL, ROOT, LEAF = 4, 16, 4
#: Metres in front of the camera from which on a cube is projected as a whole.
NEAR = 1e-3
#: A voxel's depth is increased by this share before it is compared: rounding must not free what is not.
GUARD = np.float32(1.000002)
ZERO, INFINITE = np.float32(0.0), np.float32(np.inf)
#: `observed` while a frame is built: free by its middle, by its rim, by a ray that was walked; holds samples.
FREE_MIDDLE, FREE_RIM, FREE_WALKED, OCCUPIED = 1, 2, 4, 8
#: Where the image is so many voxels wide or less, voxels may be passed whose middle is not in it: rays are walked to
#: there, so many to the narrower side of the image.
NARROW_VOXELS, NARROW_RAYS = 4, 16
#: A ray runs through a voxel if it comes nearer to its centre than this along every axis, in voxel units.
WITHIN = 0.499
#: Points of a voxel that are looked up, in voxel units from its centre.
_A, _B = 0.46, 0.42
RIM = np.array(
    [(x * _B, y * _B, z * _B) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    + [(_A, 0, 0), (-_A, 0, 0), (0, _A, 0), (0, -_A, 0), (0, 0, _A), (0, 0, -_A)]
    + [(0.0, 0.0, 0.2), (0.0, 0.0, -0.2)],
    np.float64,
)


def levels_of(height: int, width: int) -> np.ndarray:
    """(L, 3) int64: offset, rows and columns of each level of a face's cells, whose edges double from CELL on."""
    levels, offset, edge = [], 0, CELL
    while True:
        rows, columns = -(-height // edge), -(-width // edge)
        levels.append((offset, rows, columns))
        offset += rows * columns
        if rows == columns == 1:
            return np.array(levels, np.int64)
        edge *= 2


@kernel
def bound_depth(depth, levels, low, high, row_low, row_high):  # type: ignore[no-untyped-def]
    """Least and greatest depth of every cell, level by level; depth that says nothing counts as 0. `row_low` and
    `row_high` (W,) float32 are scratch."""
    height, width = depth.shape
    for cy in range(levels[0, 1]):
        for v in range(cy * CELL, min(cy * CELL + CELL, height)):
            first = v == cy * CELL
            for u in range(width):
                d = depth[v, u] if depth[v, u] > ZERO else ZERO
                row_low[u] = d if first or d < row_low[u] else row_low[u]
                row_high[u] = d if first or d > row_high[u] else row_high[u]
        for cx in range(levels[0, 2]):
            least, greatest = INFINITE, ZERO
            for n in range(min(CELL, width - cx * CELL)):
                m = cx * CELL + n
                least = row_low[m] if row_low[m] < least else least
                greatest = row_high[m] if row_high[m] > greatest else greatest
            low[cy * levels[0, 2] + cx], high[cy * levels[0, 2] + cx] = least, greatest
    for n in range(1, len(levels)):
        finer, fine_rows, fine_columns = levels[n - 1, 0], levels[n - 1, 1], levels[n - 1, 2]
        for cy in range(levels[n, 1]):
            for cx in range(levels[n, 2]):
                least, greatest = INFINITE, ZERO
                for y in range(2 * cy, min(2 * cy + 2, fine_rows)):
                    for x in range(2 * cx, min(2 * cx + 2, fine_columns)):
                        m = finer + y * fine_columns + x
                        least = low[m] if low[m] < least else least
                        greatest = high[m] if high[m] > greatest else greatest
                m = levels[n, 0] + cy * levels[n, 2] + cx
                low[m], high[m] = least, greatest


@kernel
def project(projection, x, y, z, uvw):  # type: ignore[no-untyped-def]
    for a in range(3):
        uvw[a] = projection[a, 0] * x + projection[a, 1] * y + projection[a, 2] * z + projection[a, 3]


@kernel
def spread(rows, first, spreads):  # type: ignore[no-untyped-def]
    """How far linear functions (N, 4) of a point may differ between a cube's centre and its corners, per edge, to
    `spreads` from `first` on."""
    for n in range(len(rows)):
        total = 0.0
        for a in range(3):
            total += 0.5 * rows[n, a] if rows[n, a] > 0.0 else -0.5 * rows[n, a]
        spreads[first + n] = total


@kernel
def set_sides(projection, width, height, reach, sides):  # type: ignore[no-untyped-def]
    """The image's four sides, nearest and farthest depth as half-spaces: sides[n, :3] · p + sides[n, 3] ≥ 0 within."""
    for a in range(4):
        wide, tall = 0.5 * width * projection[2, a], 0.5 * height * projection[2, a]
        sides[0, a], sides[1, a] = wide - projection[0, a], wide + projection[0, a]
        sides[2, a], sides[3, a] = tall - projection[1, a], tall + projection[1, a]
        sides[4, a], sides[5, a] = projection[2, a], -projection[2, a]
    sides[4, 3] -= NEAR
    sides[5, 3] += reach


@kernel
def sides_cut(sides, spreads, x, y, z, size):  # type: ignore[no-untyped-def]
    """Bits of the sides that may cut a cube around (x, y, z); −1 if it is wholly outside of one."""
    cut = 0
    for n in range(6):
        inwards = sides[n, 0] * x + sides[n, 1] * y + sides[n, 2] * z + sides[n, 3]
        if inwards < -spreads[3 + n] * size:
            return -1
        if inwards < spreads[3 + n] * size:
            cut |= 1 << n
    return cut


@kernel
def in_sight(sides, cut, x, y, begin, end):  # type: ignore[no-untyped-def]
    """The voxels [begin, end) of the column at (x, y) whose centres are on the inner side of those in `cut`."""
    low, high = begin + 0.5, end - 0.5
    for n in range(6):
        if cut >> n & 1 == 0:
            continue
        slope, ground = sides[n, 2], sides[n, 0] * x + sides[n, 1] * y + sides[n, 3]
        border = -ground / slope
        if slope > 0.0:
            low = border if border > low else low
        elif slope < 0.0:
            high = border if border < high else high
        elif ground < 0.0:
            return begin, begin
    return (int(np.ceil(low - 0.5)), int(np.floor(high - 0.5)) + 1) if low <= high else (begin, begin)


@kernel
def fill(sides, run, shape, free):  # type: ignore[no-untyped-def]
    """Mark what is in sight of columns: `run` holds i, j, how many columns along each, the first voxel, the one
    behind the last, and the bits of the sides that may cut them."""
    end_i, end_j, begin, end, cut = run[0] + run[2], run[1] + run[2], run[3], run[4], run[5]
    end_i, end_j = end_i if end_i < shape[0] else shape[0], end_j if end_j < shape[1] else shape[1]
    end = end if end < shape[2] else shape[2]
    c0, c1 = begin, end
    for a in range(run[0], end_i):
        for b in range(run[1], end_j):
            if cut:
                c0, c1 = in_sight(sides, cut, a + 0.5, b + 0.5, begin, end)
            first = a * shape[3] + b * shape[4] + c0
            for n in range(c1 - c0):
                free[first + n] = FREE_MIDDLE


@kernel
def bounds(uvw, spreads, size, width, height, levels, low, high):  # type: ignore[no-untyped-def]
    """Least and greatest depth that is seen towards a cube, from the projection of its centre: of all cells that it,
    and what of it lies beside the image, may touch."""
    near, far = 1.0 / (uvw[2] - spreads[2] * size), 1.0 / (uvw[2] + spreads[2] * size)
    level, x0, x1, y0, y1 = 0, 0, 0, 0, 0
    for a in range(2):
        begin, end = uvw[a] - spreads[a] * size, uvw[a] + spreads[a] * size
        begin, end = begin * (near if begin < 0.0 else far), end * (far if end < 0.0 else near)
        pixels = width if a == 0 else height
        begin, end = begin + 0.5 * pixels, end + 0.5 * pixels
        y0, y1 = int(begin) // CELL if begin > 0.0 else 0, (int(end) if end < pixels else pixels - 1) // CELL
        if a == 0:
            x0, x1 = y0, y1
    while x1 - x0 > 2 or y1 - y0 > 2:
        x0, x1, y0, y1 = x0 >> 1, x1 >> 1, y0 >> 1, y1 >> 1
        level += 1
    least, greatest = INFINITE, ZERO
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            m = levels[level, 0] + y * levels[level, 2] + x
            least = low[m] if low[m] < least else least
            greatest = high[m] if high[m] > greatest else greatest
    return least, greatest


@kernel
def look_up(uvw, reach, depth, offsets, pixels, depths):  # type: ignore[no-untyped-def]
    """For a cube's voxels whether their centres are in sight and in front of what is seen there, to `pixels`;
    `offsets` are their projections from that of the cube's centre on."""
    height, width = depth.shape
    flat = depth.reshape(-1)
    u, v, w = np.float32(uvw[0]), np.float32(uvw[1]), np.float32(uvw[2])
    cx, cy, wide, high = np.float32(0.5 * width), np.float32(0.5 * height), np.float32(width), np.float32(height)
    farthest, nearest, row = np.float32(reach), np.float32(NEAR), np.int32(width)
    for n in range(LEAF * LEAF * LEAF):
        t = w + offsets[2, n]
        x, y = (u + offsets[0, n]) / t + cx, (v + offsets[1, n]) / t + cy
        seen = (t > nearest) & (t <= farthest) & (x >= ZERO) & (x < wide) & (y >= ZERO) & (y < high)
        px, py = np.int32(x if seen else ZERO), np.int32(y if seen else ZERO)
        pixels[n] = np.int32(np.int32(py * row) + px)
        depths[n] = t * GUARD if seen else INFINITE
    for n in range(LEAF * LEAF * LEAF):
        pixels[n] = flat[pixels[n]] > depths[n]


@kernel
def clear_blocks(  # type: ignore[no-untyped-def]
    begin, end, depth, levels, low, high, projection, reach, shape, free, stack, run, sides, spreads, uvw, offsets,
    pixels, depths,
):  # fmt: skip
    """Mark the free voxels (i, j, k), begin ≤ i < end, up to depth `reach`; `begin` is a multiple of ROOT.

    `shape` (6,) int64 is the grid's, and its strides; `free` is flat. The rest is scratch: `stack` (64, 4) and `run`
    (6,) int64, `sides` (6, 4), `spreads` (9,) and `uvw` (3,) float64, `offsets` (3, LEAF³) float32, `pixels` (LEAF³,)
    int32 and `depths` float32.
    """
    height, width = depth.shape
    set_sides(projection, width, height, reach, sides)
    at = 0
    spread(projection, at, spreads)
    spread(sides, at + 3, spreads)
    for n in range(LEAF * LEAF * LEAF):
        x, y, z = n // (LEAF * LEAF) + 0.5 - LEAF / 2, n // LEAF % LEAF + 0.5 - LEAF / 2, n % LEAF + 0.5 - LEAF / 2
        for a in range(3):
            offsets[a, n] = x * projection[a, 0] + y * projection[a, 1] + z * projection[a, 2]
    roots_j, roots_k = (shape[1] + ROOT - 1) // ROOT, (shape[2] + ROOT - 1) // ROOT
    run[:] = 0  # free cubes that stand on each other are filled together
    for root in range((end - begin + ROOT - 1) // ROOT * roots_j * roots_k):
        stack[0, 0] = begin + root // (roots_j * roots_k) * ROOT
        stack[0, 1], stack[0, 2], stack[0, 3] = root // roots_k % roots_j * ROOT, root % roots_k * ROOT, ROOT
        top = 1
        while top > 0:
            top -= 1
            i, j, k, size = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
            x, y, z = i + 0.5 * size, j + 0.5 * size, k + 0.5 * size
            cut = sides_cut(sides, spreads, x, y, z, size)
            if cut < 0:
                continue
            project(projection, x, y, z, uvw)
            near, far = uvw[2] - spreads[2] * size, uvw[2] + spreads[2] * size
            if near > NEAR:
                least, greatest = bounds(uvw, spreads, size, width, height, levels, low, high)
                if greatest <= near:
                    continue
                if least > far * GUARD:
                    if i != run[0] or j != run[1] or size != run[2] or k != run[4]:
                        fill(sides, run, shape, free)
                        run[0], run[1], run[2], run[3], run[5] = i, j, size, k, 0
                    run[4], run[5] = k + size, run[5] | cut
                    continue
            if size > LEAF:
                half = size // 2
                for n in range(8):
                    a, b, c = i + (n >> 2) * half, j + (n >> 1 & 1) * half, k + (n & 1) * half
                    if a < end and b < shape[1] and c < shape[2]:
                        stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3] = a, b, c, half
                        top += 1
                continue
            look_up(uvw, reach, depth, offsets, pixels, depths)
            for n in range(LEAF * LEAF * LEAF):
                a, b, c = i + n // (LEAF * LEAF), j + n // LEAF % LEAF, k + n % LEAF
                if pixels[n] and a < shape[0] and b < shape[1] and c < shape[2]:
                    free[a * shape[3] + b * shape[4] + c] = FREE_MIDDLE
    fill(sides, run, shape, free)


@kernel
def look_around(free, first, last, west, east, nz, plane):  # type: ignore[no-untyped-def]
    """Which voxels [first, last) are not marked and beside a free one; `west` and `east` are the distances to the next
    planes'. Neighbours in memory: a column's ends also see the next column's, which costs a look-up and no more."""
    for c in range(last - first):
        n = first + c
        around = np.uint8(np.uint8(free[n - 1] | free[n + 1]) | np.uint8(free[n - nz] | free[n + nz]))
        around = np.uint8(around | np.uint8(free[n - west] | free[n + east]))
        plane[c] = np.uint8(around & FREE_MIDDLE) if free[n] == 0 else np.uint8(0)


@kernel
def add_edge(edges, count, index, i, within, nz):  # type: ignore[no-untyped-def]
    """Append a voxel, the `within`-th of its plane i: every face asks where it is, and dividing takes long."""
    edges[count, 0], edges[count, 1], edges[count, 2] = index, i, within // nz
    edges[count, 3] = within - edges[count, 2] * nz
    return count + 1


@kernel
def list_edges(begin, end, free, shape, edges, plane, words):  # type: ignore[no-untyped-def]
    """The voxels begin ≤ i < end that bear no mark and share a face with a free one, to `edges` (N, 4): flat index, i,
    j, k; returns their number. `plane` (≥ ny · nz,) uint8 and `words`, the same memory as uint64, are scratch."""
    area, nz, total, count = shape[3], shape[2], len(free), 0
    for n in range(nz):
        for corner in range(2):
            m = n + corner * (total - nz)
            twice = corner == 1 and m < nz  # in a grid of one column
            if m >= begin * area and m < end * area and free[m] == 0 and not twice:
                count = add_edge(edges, count, m, m // area, m % area, nz)
    for i in range(begin, end):
        # A plane at once, but for the grid's first and last column, whose neighbours in memory are not there: all of
        # these.
        first, last = i * area, (i + 1) * area
        first, last = first if first > nz else nz, last if last < total - nz else total - nz
        look_around(free, first, last, area if i > 0 else 0, area if last + area <= total else 0, nz, plane)
        for m in range((last - first + 7) // 8):
            if words[m]:
                for n in range(8 * m, 8 * m + 8):
                    if n < last - first and plane[n]:
                        count = add_edge(edges, count, first + n, i, first + n - i * area, nz)
    return count


@kernel
def clear_edges(  # type: ignore[no-untyped-def]
    edges, count, depth, levels, low, high, view, projection, reach, shape, free, spreads, uvw, rim, offsets
):
    """Mark those of the first `count` voxels of `edges` that one of the rays nearest to the points `rim` passes.

    `rim` (N, 3) float64 voxel units from a voxel's centre; `offsets` (3, N) float64 and what `clear_blocks` takes is
    scratch.
    """
    height, width = depth.shape
    at = 0
    spread(projection, at, spreads)
    size = shape[5]  # one voxel
    for n in range(len(rim)):
        for a in range(3):
            offsets[a, n] = projection[a, 0] * rim[n, 0] + projection[a, 1] * rim[n, 1] + projection[a, 2] * rim[n, 2]
    for m in range(count):
        index = np.uint64(edges[m, 0])
        if free[index]:
            continue
        x, y, z = edges[m, 1] + 0.5, edges[m, 2] + 0.5, edges[m, 3] + 0.5
        project(projection, x, y, z, uvw)
        near, far = uvw[2] - spreads[2], uvw[2] + spreads[2]
        if far <= 0.0 or near > reach:
            continue
        if abs(uvw[0]) > 0.5 * width * far + spreads[0] or abs(uvw[1]) > 0.5 * height * far + spreads[1]:
            continue
        if near > NEAR:
            _, greatest = bounds(uvw, spreads, size, width, height, levels, low, high)
            if greatest <= near:
                continue
        for n in range(len(rim)):
            t = uvw[2] + offsets[2, n]
            if t <= NEAR:
                continue
            x, y = (uvw[0] + offsets[0, n]) / t + 0.5 * width, (uvw[1] + offsets[1, n]) / t + 0.5 * height
            if not (x >= 0.0 and x < width and y >= 0.0 and y < height):
                continue
            px, py = int(x), int(y)
            if not depth[py, px] > t * GUARD:
                continue
            # The pixel's own ray at this depth, from the voxel's centre: it must be within the voxel.
            x, y = (px + 0.5 - x) * t, (py + 0.5 - y) * t
            inside = True
            for a in range(3):
                away = rim[n, a] + x * view[DU + a] + y * view[DV + a]
                inside = inside and away < WITHIN and away > -WITHIN
            if inside:
                free[index] = FREE_RIM
                break

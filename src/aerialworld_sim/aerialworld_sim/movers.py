"""Bodies that move, as the picture kernels take them: which of them a tile can see, and where their shadows fall."""

# numba infers machine types here that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_sim.compiled import kernel
from aerialworld_sim.raster import CX, CY, FOCAL, FOCAL_Y, FORWARD, LEFTWARD, UPWARD
from aerialworld_sim.render_scene import Mover

#: Which end of a box each of its eight corners takes, by axis.
_CORNERS = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)


@dataclass(frozen=True, eq=False)
class Placed:
    """The movers that are present, for one viewer.

    visible     (M,) bool: not the viewer's own body, whose shadow is seen all the same
    boxes       (M, 6) float32 low and high corner in map
    shadows     (M, 6) float32 the same of body and shadow together
    rectangles  (M, 5) float64 across the sun's direction: least and greatest of both axes, and the greatest height
    first       (M + 1,) int64 rows of `corners`, of mover after mover
    corners     (T, 9) float32 in map
    face        (T,) int32 rows of the scene's surfaces
    """

    visible: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    shadows: NDArray[np.float32]
    rectangles: Array
    first: NDArray[np.int64]
    corners: NDArray[np.float32]
    face: NDArray[np.int32]


def placed_for(movers: Sequence[Mover], viewer: int, sun_axes: Array, floor: float) -> Placed:
    """The movers present, for vehicle number `viewer` (−1: nobody). `floor` is the lowest height, map z, that a shadow
    can fall on."""
    seen = [m for m in movers if m.pose is not None and m.count]
    if not seen:
        return Placed(
            np.zeros(0, np.bool_), np.zeros((0, 6), np.float32), np.zeros((0, 6), np.float32), np.zeros((0, 5)),
            np.zeros(1, np.int64), np.zeros((0, 9), np.float32), np.zeros(0, np.int32),
        )  # fmt: skip
    counts = np.array([m.count for m in seen])
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    corners = np.concatenate([m.placed.reshape(-1, 9) for m in seen])
    points = corners.reshape(-1, 3)
    boxes = np.concatenate(_bounds(points, 3 * first[:-1]), axis=1)
    down = -sun_axes[2] / max(float(sun_axes[2, 2]), 0.02)  # per metre of descent
    fall = np.maximum(boxes[:, 5:6].astype(np.float64) - floor, 0.0) * down
    shadows = np.concatenate(
        [np.minimum(boxes[:, :3], boxes[:, :3] + fall), np.maximum(boxes[:, 3:], boxes[:, 3:] + fall)], axis=1
    )
    low, high = _bounds(points.astype(np.float64) @ sun_axes.T, 3 * first[:-1])
    rectangles = np.column_stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1], high[:, 2]])
    return Placed(
        np.array([m.owner < 0 or m.owner != viewer for m in seen]),
        boxes.astype(np.float32),
        shadows.astype(np.float32),
        np.ascontiguousarray(rectangles),
        first,
        corners,
        np.concatenate([np.arange(m.first, m.first + m.count, dtype=np.int32) for m in seen]),
    )


def _bounds(points: NDArray[Any], first: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(M, 3) least and greatest coordinates of M runs of points, which begin at `first`."""
    return np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)


def rows_seen(boxes: NDArray[np.float32], camera: Array, width: int) -> Array:
    """(M, 2) first and last row (fractional) of a pinhole's picture that boxes (M, 6) may touch, (inf, −inf) for those
    beside or behind it; `camera` as `raster.see_rows` takes it."""
    if not len(boxes):
        return np.zeros((0, 2))
    corners = boxes.astype(np.float64).reshape(-1, 2, 3)[:, _CORNERS, np.arange(3)] - camera[:3]
    f, left, up = (corners @ camera[k : k + 3] for k in (FORWARD, LEFTWARD, UPWARD))
    rows = np.tile([np.inf, -np.inf], (len(boxes), 1))
    partly = (f.max(axis=1) > 0) & (f.min(axis=1) <= 0.05)
    rows[partly] = -np.inf, np.inf  # reaches behind the camera: anywhere
    before = f.min(axis=1) > 0.05
    f = np.maximum(f, 0.05)
    column, row = camera[CX] - camera[FOCAL] * left / f, camera[CY] - camera[FOCAL_Y] * up / f
    before &= (column.max(axis=1) >= -1.0) & (column.min(axis=1) <= width)
    rows[before] = np.stack([row.min(axis=1) - 1.0, row.max(axis=1) + 1.0], axis=1)[before]
    return rows


def in_band(rows: Array, first: int, last: int) -> NDArray[np.bool_]:
    """(M,) which of `rows_seen` touch rows first … last."""
    touched: NDArray[np.bool_] = (rows[:, 0] <= last) & (rows[:, 1] >= first)
    return touched


#: Pixels that are held against the movers' rectangles together.
CHUNK = 64


@kernel
def casts_shadow(
    chosen: Any, count: int, rectangles: Any, first: Any, corners: Any, plane: Any, a: float, b: float, h: float
) -> bool:
    """Whether one of the first `count` movers of `chosen` stands above a point (a, b, h) along the sun's axes."""
    for n in range(count):
        m = chosen[n]
        if a < rectangles[m, 0] or a > rectangles[m, 1] or b < rectangles[m, 2] or b > rectangles[m, 3]:
            continue
        if h >= rectangles[m, 4]:
            continue
        for row in range(first[m], first[m + 1]):
            x0 = y0 = z0 = x1 = y1 = z1 = x2 = y2 = z2 = np.float64(0.0)
            for k in range(3):
                p, q, r = np.float64(corners[row, k]), np.float64(corners[row, 3 + k]), np.float64(corners[row, 6 + k])
                x0 += plane[0, k] * p
                y0 += plane[1, k] * p
                z0 += plane[2, k] * p
                x1 += plane[0, k] * q
                y1 += plane[1, k] * q
                z1 += plane[2, k] * q
                x2 += plane[0, k] * r
                y2 += plane[1, k] * r
                z2 += plane[2, k] * r
            e0 = (x1 - a) * (y2 - b) - (x2 - a) * (y1 - b)
            e1 = (x2 - a) * (y0 - b) - (x0 - a) * (y2 - b)
            e2 = (x0 - a) * (y1 - b) - (x1 - a) * (y0 - b)
            total = e0 + e1 + e2
            if total == 0.0 or not ((e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0) or (e0 <= 0.0 and e1 <= 0.0 and e2 <= 0.0)):
                continue
            if (e0 * z0 + e1 * z1 + e2 * z2) / total > h + 0.01:
                return True
    return False


@kernel
def shade_mask(
    face: Any, depth: Any, camera: Any, lefts: Any, ups: Any, first_row: int, axes: Any, origin: Any, chosen: Any,
    near: Any, points: Any, rectangles: Any, first: Any, corners: Any, plane: Any, mask: Any,
) -> None:  # fmt: skip
    """Mark the pixels of a band over which a mover of `chosen` stands towards the sun: 1 in `mask`, (R · W) uint8.

    face, depth, camera, lefts, ups, first_row  as `shading.shade_rows` takes them; axes (3, 3) forward, left, up
    in map; origin (3,); near (len(chosen),) int64 and points (CHUNK, 3) float64 are scratch; plane (3, 3) the sun map's
    axes. CHUNK pixels at a time are held against the movers' rectangles first.
    """
    height, width = face.shape
    for y in range(height):
        row = first_row + y
        for start in range(0, width, CHUNK):
            low_a = low_b = np.inf
            high_a = high_b = -np.inf
            count = min(CHUNK, width - start)
            for i in range(count):
                x = start + i
                if face[y, x] < 0:
                    continue
                if len(lefts):
                    left, up = np.float64(lefts[row, x]), np.float64(ups[row, x])
                else:
                    left, up = (camera[0] - x) * camera[2], (camera[1] - row) * camera[3]
                t = np.float64(depth[y, x])
                for k in range(3):
                    points[i, k] = 0.0
                for k in range(3):
                    place = origin[k] + t * (axes[0, k] + left * axes[1, k] + up * axes[2, k])
                    for j in range(3):
                        points[i, j] += plane[j, k] * place
                low_a, high_a = min(low_a, points[i, 0]), max(high_a, points[i, 0])
                low_b, high_b = min(low_b, points[i, 1]), max(high_b, points[i, 1])
            found = 0
            for i in range(len(chosen)):
                m = chosen[i]
                if low_a <= rectangles[m, 1] and rectangles[m, 0] <= high_a:
                    if low_b <= rectangles[m, 3] and rectangles[m, 2] <= high_b:
                        near[found] = m
                        found += 1
            if found == 0:
                continue
            for i in range(count):
                if face[y, start + i] >= 0:
                    a, b, h = points[i, 0], points[i, 1], points[i, 2]
                    if casts_shadow(near, found, rectangles, first, corners, plane, a, b, h):
                        mask[y * width + start + i] = 1

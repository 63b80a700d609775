"""Bodies that move, as the picture kernels take them: which of them a tile can see, and where their shadows fall."""

# Kernels have machine types that annotations cannot say.
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
    towards     (T, 9) float64 the corners along the sun's axes
    first       (M + 1,) int64 rows of `corners`, of mover after mover
    corners     (T, 9) float32 in map
    face        (T,) int32 rows of the scene's surfaces
    """

    visible: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    shadows: NDArray[np.float32]
    rectangles: Array
    towards: Array
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
            np.zeros((0, 9)), np.zeros(1, np.int64), np.zeros((0, 9), np.float32), np.zeros(0, np.int32),
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
    towards = points.astype(np.float64) @ sun_axes.T
    low, high = _bounds(towards, 3 * first[:-1])
    rectangles = np.column_stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1], high[:, 2]])
    return Placed(
        np.array([m.owner < 0 or m.owner != viewer for m in seen]),
        boxes.astype(np.float32),
        shadows.astype(np.float32),
        np.ascontiguousarray(rectangles),
        towards.reshape(-1, 9),
        first,
        corners,
        np.concatenate([np.arange(m.first, m.first + m.count, dtype=np.int32) for m in seen]),
    )


def _bounds(points: NDArray[Any], first: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(M, 3) least and greatest coordinates of M runs of points, which begin at `first`."""
    return np.minimum.reduceat(points, first), np.maximum.reduceat(points, first)


def screen_seen(boxes: NDArray[np.float32], camera: Array, width: int) -> Array:
    """(M, 4) first and last row and column (fractional) of a pinhole's picture that boxes (M, 6) may touch, (inf, −inf,
    …) for those beside or behind it; `camera` as `raster.see_rows` takes it."""
    if not len(boxes):
        return np.zeros((0, 4))
    corners = boxes.astype(np.float64).reshape(-1, 2, 3)[:, _CORNERS, np.arange(3)] - camera[:3]
    f, left, up = (corners @ camera[k : k + 3] for k in (FORWARD, LEFTWARD, UPWARD))
    seen = np.tile([np.inf, -np.inf], (len(boxes), 2))
    partly = (f.max(axis=1) > 0) & (f.min(axis=1) <= 0.05)
    seen[partly] = -np.inf, np.inf, -np.inf, np.inf  # reaches behind the camera: anywhere
    before = f.min(axis=1) > 0.05
    f = np.maximum(f, 0.05)
    column, row = camera[CX] - camera[FOCAL] * left / f, camera[CY] - camera[FOCAL_Y] * up / f
    before &= (column.max(axis=1) >= -1.0) & (column.min(axis=1) <= width)
    sides = row.min(axis=1) - 1.0, row.max(axis=1) + 1.0, column.min(axis=1) - 1.0, column.max(axis=1) + 1.0
    seen[before] = np.stack(sides, axis=1)[before]
    return seen


def in_band(seen: Array, first: int, last: int) -> NDArray[np.bool_]:
    """(M,) which of `screen_seen` touch rows first … last."""
    touched: NDArray[np.bool_] = (seen[:, 0] <= last) & (seen[:, 1] >= first)
    return touched


#: Pixels that are held against the movers' rectangles together.
CHUNK = 64


@kernel
def casts_shadow(
    chosen: Any, count: int, rectangles: Any, first: Any, towards: Any, a: float, b: float, h: float
) -> bool:
    """Whether one of the first `count` movers of `chosen` stands above a point (a, b, h) along the sun's axes."""
    for n in range(count):
        m = chosen[n]
        if a < rectangles[m, 0] or a > rectangles[m, 1] or b < rectangles[m, 2] or b > rectangles[m, 3]:
            continue
        if h >= rectangles[m, 4]:
            continue
        for i in range(first[m], first[m + 1]):
            x0, y0 = towards[i, 0] - a, towards[i, 1] - b
            x1, y1 = towards[i, 3] - a, towards[i, 4] - b
            x2, y2 = towards[i, 6] - a, towards[i, 7] - b
            e0, e1, e2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
            total = e0 + e1 + e2
            if total == 0.0 or not ((e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0) or (e0 <= 0.0 and e1 <= 0.0 and e2 <= 0.0)):
                continue
            if (e0 * towards[i, 2] + e1 * towards[i, 5] + e2 * towards[i, 8]) / total > h + 0.01:
                return True
    return False


@kernel
def shade_mask(
    face: Any, depth: Any, camera: Any, lefts: Any, ups: Any, first_row: int, turned: Any, chosen: Any, seen: Any,
    may: Any, near: Any, low: Any, high: Any, rectangles: Any, first: Any, towards: Any, mask: Any,
) -> None:  # fmt: skip
    """Mark the pixels of a band over which a mover of `chosen` stands towards the sun: 1 in `mask`, (R · W) uint8.

    face, depth, camera, lefts, ups, first_row  as `shading.shade_rows` takes them; turned (4, 3): the camera's axes and
    place along the sun's axes; seen (M, 4) where body and shadow may be seen (`screen_seen`); may and near (M,) int64,
    low and high (3,) float64 are scratch. CHUNK pixels at a time are held against the movers first.
    """
    height, width = face.shape
    for start in range(0, width, CHUNK):
        count = min(CHUNK, width - start)
        found, top, bottom = 0, np.inf, -np.inf
        for i in range(len(chosen)):
            m = chosen[i]
            if seen[m, 2] < start + count and start <= seen[m, 3]:
                may[found] = m
                found += 1
                top, bottom = min(top, seen[m, 0]), max(bottom, seen[m, 1])
        if found == 0:
            continue
        for y in range(int(max(top - first_row, 0.0)), int(min(bottom - first_row + 1.0, height))):
            row = first_row + y
            # Depths near_t … far_t along directions from the first to the last bound where the points lie.
            near_t, far_t = np.float32(np.inf), np.float32(0.0)
            for x in range(start, start + count):
                if face[y, x] >= 0:
                    near_t, far_t = min(near_t, depth[y, x]), max(far_t, depth[y, x])
            if far_t == 0.0:
                continue
            for j in range(3):
                low[j], high[j] = np.inf, -np.inf
            for side in range(0, count, max(count - 1, 1)):
                for j in range(3):
                    along = turned[0, j]
                    if len(lefts) == 0:
                        along += (camera[0] - start - side) * camera[2] * turned[1, j]
                        along += (camera[1] - row) * camera[3] * turned[2, j]
                    low[j] = min(low[j], turned[3, j] + min(along * near_t, along * far_t))
                    high[j] = max(high[j], turned[3, j] + max(along * near_t, along * far_t))
            kept = 0
            for i in range(found):
                m = may[i]
                if seen[m, 0] > row or row > seen[m, 1]:
                    continue
                if len(lefts) or (
                    low[0] <= rectangles[m, 1]
                    and rectangles[m, 0] <= high[0]
                    and low[1] <= rectangles[m, 3]
                    and rectangles[m, 2] <= high[1]
                    and low[2] < rectangles[m, 4]
                ):
                    near[kept] = m
                    kept += 1
            if kept == 0:
                continue
            for x in range(start, start + count):
                if face[y, x] < 0:
                    continue
                if len(lefts):
                    left, up = np.float64(lefts[row, x]), np.float64(ups[row, x])
                else:
                    left, up = (camera[0] - x) * camera[2], (camera[1] - row) * camera[3]
                t = np.float64(depth[y, x])
                a = turned[3, 0] + t * (turned[0, 0] + left * turned[1, 0] + up * turned[2, 0])
                b = turned[3, 1] + t * (turned[0, 1] + left * turned[1, 1] + up * turned[2, 1])
                h = turned[3, 2] + t * (turned[0, 2] + left * turned[1, 2] + up * turned[2, 2])
                if casts_shadow(near, kept, rectangles, first, towards, a, b, h):
                    mask[y * width + x] = 1

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


@dataclass(frozen=True, eq=False)
class Placed:
    """The movers that one viewer may see.

    boxes       (M, 6) float32 low and high corner in map
    shadows     (M, 6) float32 the same of body and shadow together
    rectangles  (M, 5) float64 across the sun's direction: least and greatest of both axes, and the greatest height
    first       (M + 1,) int64 rows of `corners`, of mover after mover
    corners     (T, 9) float32 in map
    face        (T,) int32 rows of the scene's surfaces
    """

    boxes: NDArray[np.float32]
    shadows: NDArray[np.float32]
    rectangles: Array
    first: NDArray[np.int64]
    corners: NDArray[np.float32]
    face: NDArray[np.int32]


def placed_for(movers: Sequence[Mover], viewer: int, sun_axes: Array, floor: float) -> Placed:
    """What vehicle number `viewer` (−1: nobody) may see of the movers present. `floor` is the lowest height, map z,
    that a shadow can fall on."""
    seen = [m for m in movers if m.pose is not None and m.count and (m.owner < 0 or m.owner != viewer)]
    if not seen:
        return Placed(
            np.zeros((0, 6), np.float32), np.zeros((0, 6), np.float32), np.zeros((0, 5)), np.zeros(1, np.int64),
            np.zeros((0, 9), np.float32), np.zeros(0, np.int32),
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


def in_view(boxes: NDArray[np.float32], camera: Array, first_row: int, rows: int, width: int) -> NDArray[np.int64]:
    """Which of `boxes` (M, 6) a band of a pinhole's rows may see; `camera` as `raster.see_rows` takes it."""
    c = camera
    left, right = c[CX] / c[FOCAL], (c[CX] - width + 1) / c[FOCAL]
    up, down = (c[CY] - first_row) / c[FOCAL_Y], (c[CY] - first_row - rows + 1) / c[FOCAL_Y]
    f, s, t = c[FORWARD : FORWARD + 3], c[LEFTWARD : LEFTWARD + 3], c[UPWARD : UPWARD + 3]
    normals = np.stack([left * f - s, s - right * f, up * f - t, t - down * f, f])
    middle = 0.5 * (boxes[:, :3] + boxes[:, 3:]) - c[:3]
    reach = middle @ normals.T + 0.5 * (boxes[:, 3:] - boxes[:, :3]) @ np.abs(normals).T
    return np.flatnonzero((reach >= -0.01).all(axis=1))


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

"""Bodies that move, as the picture kernels take them: which of them a tile can see, and where their shadows fall."""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_sim.bvh import COUNT, FIRST, MAX_DEPTH, Tree
from aerialworld_sim.compiled import aligned, kernel
from aerialworld_sim.lanes import LANES
from aerialworld_sim.raster import CX, CY, FOCAL, FOCAL_Y, FORWARD, LEFTWARD, UPWARD
from aerialworld_sim.render_scene import RenderScene
from aerialworld_sim.shadow_code import BOUNDS, CHUNK, PLACES, hide_run, sun_places

#: Which end of a box each of its eight corners takes, by axis.
_CORNERS = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)
#: Times that a shadow's reach is looked for again, each time over the ground that it can reach after the last.
_ROUNDS = 3
#: Metres by which rectangles are grown: what float32 may lose.
_GROWN = 0.01


@dataclass(frozen=True, eq=False)
class Placed:
    """The scene's M bodies (see `bodies.Bodies`), for one viewer.

    visible     (M,) bool: present, and not the viewer's own, whose shadow is seen all the same
    present     (M,) bool
    boxes       (M, 6) float32 low and high corner in map
    first       (M + 1,) int64 rows of `corners`, of body after body
    corners     (T, 9) float32 in map
    face        (T,) int32 rows of the scene's surfaces
    """

    visible: NDArray[np.bool_]
    present: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    first: NDArray[np.int64]
    corners: NDArray[np.float32]
    face: NDArray[np.int32]


def placed_for(scene: RenderScene, viewer: int) -> Placed:
    """The bodies for vehicle number `viewer` (−1: nobody)."""
    bodies = scene.bodies
    own = np.array([m.owner >= 0 and m.owner == viewer for m in scene.movers], np.bool_)
    count = len(bodies.placed)
    return Placed(
        bodies.present & ~own,
        bodies.present,
        bodies.boxes,
        bodies.first,
        bodies.placed.reshape(-1, 9),
        np.arange(scene.static_count, scene.static_count + count, dtype=np.int32),
    )


@dataclass(frozen=True, eq=False)
class Shadows:
    """Where the bodies' shadows are looked for.

    towards     (T, 9) float64 the corners along the sun's axes (see `sun_map.sun_axes`)
    hulls       (M, 16, 3) float64 corners, in map, of what holds a body and its shadow
    """

    towards: Array
    hulls: Array


def shadows_of(placed: Placed, tree: Tree, sun_axes: Array) -> Shadows:
    """The shadows of bodies over the triangles of `tree` and over each other."""
    down = -sun_axes[2] / max(float(sun_axes[2, 2]), 0.02)  # per metre of descent
    falls = np.zeros(len(placed.boxes))
    _fall(
        np.flatnonzero(placed.present), placed.boxes, tree.nodes, tree.links, down, np.empty(MAX_DEPTH + 4, np.int64),
        falls,
    )  # fmt: skip
    corners = box_corners(placed.boxes)
    hulls = np.concatenate([corners, corners + (falls[:, None] * down)[:, None]], axis=1)
    towards = placed.corners.reshape(-1, 3).astype(np.float64) @ sun_axes.T
    return Shadows(towards.reshape(-1, 9), hulls)


@kernel
def _lowest(nodes: Any, links: Any, x0: float, x1: float, y0: float, y1: float, stack: Any) -> float:
    """Least z of the leaves of a tree over a rectangle; +inf where there are none."""
    best = np.inf
    top = 0
    if len(nodes):
        stack[0] = 0
        top = 1
    while top > 0:
        top -= 1
        i = stack[top]
        if nodes[i, 2] >= best or nodes[i, 0] > x1 or nodes[i, 3] < x0 or nodes[i, 1] > y1 or nodes[i, 4] < y0:
            continue
        child = links[i, FIRST]
        if links[i, COUNT] > 0:
            best = np.float64(nodes[i, 2])
            continue
        lower = 1 if nodes[child + 1, 2] < nodes[child, 2] else 0
        stack[top], stack[top + 1] = child + 1 - lower, child + lower
        top += 2
    return best


@kernel
def _fall(present: Any, boxes: Any, nodes: Any, links: Any, down: Any, stack: Any, falls: Any) -> None:
    """How far (metres of descent) the shadow of each body falls at most, before it meets the lowest surface under its
    way: over the whole scene first, then over what it can still reach."""
    lowest_of_all = np.float64(nodes[0, 2]) if len(nodes) else np.inf
    for n in range(len(present)):
        lowest_of_all = min(lowest_of_all, np.float64(boxes[present[n], 2]))
    for n in range(len(present)):
        m = present[n]
        high = np.float64(boxes[m, 5])
        fall = max(high - lowest_of_all, 0.0)
        for _ in range(_ROUNDS):
            x0, x1 = boxes[m, 0] + min(fall * down[0], 0.0), boxes[m, 3] + max(fall * down[0], 0.0)
            y0, y1 = boxes[m, 1] + min(fall * down[1], 0.0), boxes[m, 4] + max(fall * down[1], 0.0)
            lowest = _lowest(nodes, links, x0, x1, y0, y1, stack)
            for i in range(len(present)):
                j = present[i]
                if boxes[j, 0] <= x1 and boxes[j, 3] >= x0 and boxes[j, 1] <= y1 and boxes[j, 4] >= y0:
                    lowest = min(lowest, np.float64(boxes[j, 2]))
            fall = max(high - lowest, 0.0)
        falls[m] = fall


def box_corners(boxes: NDArray[np.float32]) -> Array:
    """(M, 8, 3) corners of boxes (M, 6)."""
    return boxes.astype(np.float64).reshape(-1, 2, 3)[:, _CORNERS, np.arange(3)]


def screen_seen(hulls: Array, camera: Array, size: tuple[int, int]) -> Array:
    """(M, 4) first and last row and column (fractional) of a pinhole's picture that convex hulls of points (M, K, 3)
    may touch, (inf, −inf, …) for those beside or behind it; `camera` as `raster.see_rows` takes it; size (W, H)."""
    seen = np.tile([np.inf, -np.inf], (len(hulls), 2))
    if not len(hulls):
        return seen
    corners = hulls - camera[:3]
    f, left, up = (corners @ camera[k : k + 3] for k in (FORWARD, LEFTWARD, UPWARD))
    # Columns and rows times depth: a hull that lies beyond one side of the picture as a whole is not seen, however far
    # it reaches behind the camera.
    column, row = camera[CX] * f - camera[FOCAL] * left, camera[CY] * f - camera[FOCAL_Y] * up
    beyond = (f <= 0).all(axis=1)
    for place, count in ((column, size[0]), (row, size[1])):
        beyond |= (place < -f).all(axis=1) | (place > count * f).all(axis=1)
    near = f.min(axis=1) <= 0.05
    seen[near & ~beyond] = -np.inf, np.inf, -np.inf, np.inf  # reaches behind the camera: anywhere
    before = ~near & ~beyond
    column, row = column[before] / f[before], row[before] / f[before]
    sides = row.min(axis=1) - 1.0, row.max(axis=1) + 1.0, column.min(axis=1) - 1.0, column.max(axis=1) + 1.0
    seen[before] = np.stack(sides, axis=1)
    return seen


def in_band(seen: Array, first: int, last: int) -> NDArray[np.bool_]:
    """(M,) which of `screen_seen` touch rows first … last."""
    touched: NDArray[np.bool_] = (seen[:, 0] <= last) & (seen[:, 1] >= first)
    return touched


class ShadowMask:
    """Which pixels of a picture bodies hide from the sun.

    camera  as `raster.see_rows` takes it; pinhole (cx, cy, 1/focal, 1/focal_y); lefts, ups  of `PictureJob.rays`, or
            empty for a pinhole
    """

    def __init__(
        self,
        placed: Placed,
        shadows: Shadows,
        sun_axes: Array,
        camera: Array,
        pinhole: Array,
        rays: Any,
        size: tuple[int, int],
    ) -> None:
        self._pinhole, self._rays, self._first = pinhole, rays, placed.first
        self._seen = screen_seen(shadows.hulls, camera, size)
        if len(rays[0]):  # a lens that bends: anywhere
            self._seen = np.tile([-np.inf, np.inf], (len(placed.boxes), 2))
        self._seen[~placed.present] = np.inf, -np.inf, np.inf, -np.inf
        if not self.any(0, np.inf):
            return
        axes = camera[FORWARD : FORWARD + 9].reshape(3, 3)
        self._turned = (axes @ sun_axes.T).astype(np.float32).ravel()
        # Counted from the camera, single precision is exact enough anywhere in a city.
        self._corners = (shadows.towards - np.tile(sun_axes @ camera[:3], 3)).astype(np.float32)
        ends = np.minimum.reduceat, np.maximum.reduceat
        low, high = (end(self._corners.reshape(-1, 3), 3 * placed.first[:-1]) for end in ends)
        self._limits = np.column_stack([low[:, :2] - _GROWN, high[:, :2] + _GROWN, high[:, 2]])

    def any(self, first: float, last: float) -> bool:
        """Whether a shadow may touch rows first … last."""
        return bool(in_band(self._seen, first, last).any())

    def rows(self, first: int, depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """For the rows from `first` on, with their `depth` (R, W): what is 1 is hidden; (R · W + LANES,)."""
        mask = np.zeros(depth.size + LANES, np.uint8)
        chosen = np.flatnonzero(in_band(self._seen, first, first + len(depth)))
        mark_hidden(
            depth, *self._rays, first, self._pinhole, self._turned, chosen, self._seen, np.empty_like(chosen),
            self._limits, self._first, self._corners, aligned(PLACES), mask,
        )  # fmt: skip
        return mask


@kernel
def mark_hidden(
    depth: Any, lefts: Any, ups: Any, first_row: int, pinhole: Any, turned: Any, chosen: Any, seen: Any, may: Any,
    limits: Any, first: Any, corners: Any, places: Any, mask: Any,
) -> None:  # fmt: skip
    """1 in `mask` for the pixels of a band over which a triangle of a body of `chosen` stands towards the sun.

    turned  (9,) float32 the camera's axes along the sun's; seen (M, 4) where body and shadow may be seen; may (M,)
    int64 and places (PLACES,) float32 are scratch; limits (M, 5) float32 least and greatest place across the sun, and
    the greatest height; corners (T, 9) float32 along the sun's axes, from the camera. CHUNK pixels at a time are held
    against the bodies first.
    """
    height, width = depth.shape
    address, to_mask, to_turned = places.ctypes.data, mask.ctypes.data, turned.ctypes.data
    to_depth, to_corners = depth.ctypes.data, corners.ctypes.data
    table_l, table_u = (lefts.ctypes.data, ups.ctypes.data) if len(lefts) else (0, 0)
    step = np.float32(-pinhole[2])
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
        left = np.float32((pinhole[0] - start) * pinhole[2])
        for y in range(int(max(top - first_row, 0.0)), int(min(bottom - first_row + 1.0, height))):
            row, known = first_row + y, False
            at = y * width + start
            for i in range(found):
                m = may[i]
                if seen[m, 0] > row or row > seen[m, 1]:
                    continue
                if not known:
                    offset = 4 * (row * width + start)
                    sun_places(
                        to_depth + 4 * at, table_l + offset if len(lefts) else 0, table_u + offset, left, step,
                        np.float32((pinhole[1] - row) * pinhole[3]), to_turned, address, count,
                    )  # fmt: skip
                    known = True
                if (
                    places[BOUNDS] <= limits[m, 2] and places[BOUNDS + 1] >= limits[m, 0]
                    and places[BOUNDS + 2] <= limits[m, 3] and places[BOUNDS + 3] >= limits[m, 1]
                    and places[BOUNDS + 4] < limits[m, 4]
                ):  # fmt: skip
                    hide_run(address, count, to_corners + 36 * first[m], first[m + 1] - first[m], to_mask + at)

"""Ear clipping of many polygons, in bounded time: each in its own plane, holes included."""

from __future__ import annotations

import mapbox_earcut
import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.packing import ranges
from aerialworld_core.frames import Array

#: Ear clipping may take n² steps (of about 50 ns) for outlines that cross themselves everywhere. What one call may take
#: at most is this, plus `_STEPS_PER_POINT` for every point it is given; outlines that do not are far below.
_STEPS = 1e8
_STEPS_PER_POINT = 100
#: Polygons of fewer points than this are always done, and those of whose edges less than this share lie side by side.
_SMALL, _TANGLED = 500, 0.03
#: A polygon smaller than this has no area, m².
NO_AREA = 1e-6


def clip(
    p: Array,
    first: NDArray[np.int64],
    lengths: NDArray[np.int64],
    ring_polygon: NDArray[np.int64],
    chosen: NDArray[np.int64],
    normal: Array,
    area: Array,
    hole_area: Array,
    given: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[int, str]]:
    """Triangles of the chosen polygons, each clipped in its own plane.

    Rings are packed in `p` (M, 3): `first`, `lengths` and `ring_polygon` (R,), sorted by polygon, outer ring first;
    `normal` (N, 3) unit, `area` and `hole_area` (N,) m² of the polygons. `given` points the caller was given in all,
    which bounds the time. Returns corners (T, 3) into `p`, their polygons (T,), and why polygons gave nothing.
    """
    ring_low = np.searchsorted(ring_polygon, chosen)
    ring_high = np.searchsorted(ring_polygon, chosen, side="right")
    begin = first[ring_low]
    end = first[ring_high - 1] + lengths[ring_high - 1]
    plane = _in_planes(p, begin, end, normal[chosen])
    dear = _too_dear(plane, end - begin, _STEPS + _STEPS_PER_POINT * given)
    problems = dict.fromkeys(chosen[dear].tolist(), "a large outline that crosses itself too often; draw it anew")
    found, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    offset = 0
    for number, polygon in enumerate(chosen.tolist()):
        b, e = int(begin[number]), int(end[number])
        flat = plane[offset : offset + e - b]
        offset += e - b
        if dear[number]:
            continue
        ends = np.cumsum(lengths[ring_low[number] : ring_high[number]]).astype(np.uint32)
        index = mapbox_earcut.triangulate_float64(flat, ends).reshape(-1, 3).astype(np.int64)
        index, problem = _checked(flat, index, int(ends[0]), len(ends) > 1, float(area[polygon]), hole_area[polygon])
        if problem:
            problems[polygon] = problem
        found.append(index + b)
        owners.append(np.full(len(index), polygon))
    return np.concatenate(found), np.concatenate(owners), problems


def _too_dear(plane: Array, sizes: NDArray[np.int64], budget: float) -> NDArray[np.bool_]:
    """Which of the large polygons, whose points lie in `plane` one after the other, come when the budget is spent.

    A polygon's steps are told by how many pairs of its edges lie side by side, along the axis in which there are fewer.
    """
    dear = np.zeros(len(sizes), bool)
    first = np.cumsum(sizes) - sizes
    spent = 0.0
    for number in np.flatnonzero(sizes >= _SMALL).tolist():
        points = plane[first[number] : first[number] + sizes[number]]
        low, high = np.minimum(points, np.roll(points, -1, axis=0)), np.maximum(points, np.roll(points, -1, axis=0))
        pairs = [
            float((np.searchsorted(np.sort(low[:, axis]), high[:, axis], side="right")).sum())
            - float((np.searchsorted(np.sort(high[:, axis]), low[:, axis], side="left")).sum())
            for axis in (0, 1)
        ]
        if min(pairs) > _TANGLED * len(points) ** 2:
            spent += min(pairs)
            dear[number] = spent > budget
    return dear


def _checked(
    plane: Array, index: NDArray[np.int64], outer: int, holes: bool, area: float, hole_area: float
) -> tuple[NDArray[np.int64], str]:
    """Triangles that have an area, all turned one way, none outside the outline."""
    corners = plane[index]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    doubled = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    down = doubled < 0
    if down.any():
        index[down] = index[down][:, ::-1]
    size = np.abs(doubled)
    keep = size > 2 * NO_AREA
    if holes and abs(size.sum() / 2 - (area - hole_area)) > 1e-3 * area:
        keep &= points_in_ring(corners.mean(axis=1), plane[:outer])
    if not keep.any():
        return index[:0], "no area"
    return index[keep], ""


def _in_planes(p: Array, begin: NDArray[np.int64], end: NDArray[np.int64], normal: Array) -> Array:
    """(sum of lengths, 2) coordinates of slices of points, each in a right-handed basis of its normal's plane."""
    if not len(begin):
        return np.zeros((0, 2))
    aside = np.eye(3)[np.argmin(np.abs(normal), axis=1)]
    u = np.cross(aside, normal)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(normal, u)
    sizes = end - begin
    which = np.repeat(np.arange(len(begin)), sizes)
    local = p[ranges(begin, sizes)] - p[begin][which]
    return np.column_stack([(local * u[which]).sum(axis=1), (local * v[which]).sum(axis=1)])


def points_in_ring(points: Array, ring: Array) -> NDArray[np.bool_]:
    """Which points (N, 2) lie inside a ring (M, 2), by the even-odd rule."""
    inside = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside

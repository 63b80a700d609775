"""Polygons in space to triangles, many at once: holes included, orientation kept, texture coordinates carried along.

Triangles and convex quadrilaterals, which most polygons of a city are, need no search; the others are ear-clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.ear_clipping import NO_AREA, clip
from aerialworld_core.frames import Array

#: A ring, and a polygon, with more points than this is refused: real ones have a few hundred.
MAX_RING_POINTS = 10_000
#: Neighbouring points nearer than this are one point, metres.
_SAME_POINT = 1e-4
#: No city polygon is wider, metres.
_MAX_EXTENT = 20_000.0


class PolygonError(ValueError):
    """A polygon that cannot be triangulated; the text says why, for the report."""


@dataclass(frozen=True, eq=False)
class Faces:
    """Polygons as triangles over shared points.

    points  (M, 3) float64, the cleaned rings one after the other; the face lies to the left of its rings
    follow  (M,) int64, the next point of the same ring: the polygons' directed edges. Triangles may leave out corners
            that lie on a straight line; the edges have them all
    owner   (M,) int64, each point's polygon
    uv      (M, 2) float32, None where the polygons have none
    corners (T, 3) int64 into points, counter-clockwise about the outer ring's normal, sorted by polygon
    polygon (T,) int64, each triangle's polygon
    problems of the polygons that gave no triangle: (polygon, reason)
    """

    points: Array
    follow: NDArray[np.int64]
    owner: NDArray[np.int64]
    uv: NDArray[np.float32] | None
    corners: NDArray[np.int64]
    polygon: NDArray[np.int64]
    problems: list[tuple[int, str]]


def triangulate_polygons(
    points: Array,
    ring_start: NDArray[np.int64],
    polygon_start: NDArray[np.int64],
    uv: NDArray[np.float32] | None = None,
) -> Faces:
    """Triangles of packed polygons.

    `points` (P, 3) in metres, rings closed or not; `ring_start` (R + 1,) into points, `polygon_start` (N + 1,) into
    rings, outer ring first; `uv` (P, 2). Closing points and repeated neighbours are removed. Holes that wind as their
    outer ring does are turned; rings that cross give triangles inside the outer ring only. A polygon gives nothing and
    is named in `problems` when a coordinate is not finite, a ring has fewer than three distinct points, too many, or
    spans too far, or the polygon has no area.
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    ring_start, polygon_start = np.asarray(ring_start, np.int64), np.asarray(polygon_start, np.int64)
    count = len(polygon_start) - 1
    rings = np.diff(ring_start)
    ring_polygon = np.repeat(np.arange(count), np.diff(polygon_start))
    reasons = _Reasons(count)
    rows, lengths = _clean(points, ring_start, rings, ring_polygon, reasons)
    reasons.mark(np.flatnonzero(np.diff(polygon_start) == 0), "no ring")

    kept_ring = reasons.good[ring_polygon]
    rows, lengths, ring_polygon = rows[np.repeat(kept_ring, lengths)], lengths[kept_ring], ring_polygon[kept_ring]
    first = np.cumsum(lengths) - lengths
    p = points[rows]
    ring = np.repeat(np.arange(len(lengths)), lengths)
    follow = np.arange(1, len(p) + 1)
    follow[first + lengths - 1] = first
    vector = _area_vectors(p, follow, first, ring)
    outer = np.r_[True, ring_polygon[1:] != ring_polygon[:-1]] if len(ring_polygon) else np.zeros(0, bool)
    normal, area = np.zeros((count, 3)), np.zeros(count)
    area[ring_polygon[outer]] = np.linalg.norm(vector[outer], axis=1)
    reasons.mark(np.flatnonzero(reasons.good & (area < NO_AREA)), "no area")
    normal[ring_polygon[outer]] = vector[outer]
    normal /= np.where(area > 0, area, 1.0)[:, None]

    turned = ~outer & ((vector * normal[ring_polygon]).sum(axis=1) > 0)
    if turned.any():
        place = np.arange(len(p))
        mirrored = (2 * first + lengths - 1)[ring] - place
        rows = rows[np.where(turned[ring], mirrored, place)]
        p = points[rows]
    owner = ring_polygon[ring]
    total = np.bincount(owner, minlength=count)
    reasons.mark(np.flatnonzero(reasons.good & (total > MAX_RING_POINTS)), f"more than {MAX_RING_POINTS} points")

    holes = np.bincount(ring_polygon, minlength=count) - 1
    start = np.zeros(count, np.int64)
    start[ring_polygon[outer]] = first[outer]
    corners, polygon, clipped = _simple(p, start, total, holes, normal, reasons)
    hole_area = np.bincount(ring_polygon[~outer], np.linalg.norm(vector[~outer], axis=1), count).astype(np.float64)
    more, owners, problems = clip(p, first, lengths, ring_polygon, clipped, normal, area, hole_area, len(points))
    for number, reason in problems.items():
        reasons.mark(np.array([number]), reason)
    corners, polygon = np.concatenate([corners, more]), np.concatenate([polygon, owners])
    order = np.argsort(polygon, kind="stable")
    taken = None if uv is None else np.asarray(uv, np.float32)[rows]
    return Faces(p, follow, owner, taken, corners[order], polygon[order], reasons.found())


class _Reasons:
    """Why polygons give nothing; the first reason counts."""

    def __init__(self, count: int) -> None:
        self.good = np.ones(count, bool)
        self.text: dict[int, str] = {}

    def mark(self, polygons: NDArray[np.int64], reason: str) -> None:
        for number in polygons.tolist():
            self.text.setdefault(number, reason)
        self.good[polygons] = False

    def found(self) -> list[tuple[int, str]]:
        return sorted(self.text.items())


def _clean(
    points: Array,
    ring_start: NDArray[np.int64],
    rings: NDArray[np.int64],
    ring_polygon: NDArray[np.int64],
    reasons: _Reasons,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of points without closing and repeated ones, and each ring's length; broken rings are marked."""
    long = np.flatnonzero(rings > MAX_RING_POINTS)
    for number in long.tolist():
        reasons.mark(ring_polygon[[number]], f"a ring of {rings[number]} points (at most {MAX_RING_POINTS})")
    ring = np.repeat(np.arange(len(rings)), rings)
    finite = np.isfinite(points).all(axis=1)
    reasons.mark(np.unique(ring_polygon[ring[~finite]]), "a coordinate that is not a place on earth")
    before = np.arange(-1, len(points) - 1)
    has_points = rings > 0
    before[ring_start[:-1][has_points]] = ring_start[1:][has_points] - 1
    with np.errstate(invalid="ignore"):
        keep = ~(np.abs(points - points[before]).max(axis=1, initial=0.0) <= _SAME_POINT)
    rows = np.flatnonzero(keep)
    lengths = np.bincount(ring[rows], minlength=len(rings))
    for number in np.flatnonzero(lengths < 3).tolist():
        reasons.mark(ring_polygon[[number]], f"a ring with {lengths[number]} distinct points (at least 3)")
    usable = np.flatnonzero(has_points)
    if len(usable):
        edge = ring_start[:-1][usable]
        with np.errstate(invalid="ignore"):
            span = (np.maximum.reduceat(points, edge) - np.minimum.reduceat(points, edge)).max(axis=1)
        wide = ring_polygon[usable[span > _MAX_EXTENT]]
        reasons.mark(np.unique(wide), f"a ring that spans more than {_MAX_EXTENT / 1000:g} km")
    return rows, lengths


def _area_vectors(p: Array, follow: NDArray[np.int64], first: NDArray[np.int64], ring: NDArray[np.int64]) -> Array:
    """Newell's vector of every ring (R, 3): the normal, its length the area (m²)."""
    if not len(first):
        return np.zeros((0, 3))
    local = p - p[first][ring]
    return np.asarray(0.5 * np.add.reduceat(np.cross(local, local[follow]), first, axis=0))


def _simple(
    p: Array,
    start: NDArray[np.int64],
    total: NDArray[np.int64],
    holes: NDArray[np.int64],
    normal: Array,
    reasons: _Reasons,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Triangles (T, 3) of the triangles and convex quadrilaterals, their polygons, and the other polygons' numbers."""
    plain = reasons.good & (holes == 0)
    threes, fours = np.flatnonzero(plain & (total == 3)), np.flatnonzero(plain & (total == 4))
    quad = start[fours][:, None] + np.arange(4)
    edges = p[np.roll(quad, -1, axis=1)] - p[quad]
    turns = (np.cross(edges, np.roll(edges, -1, axis=1)) * normal[fours][:, None]).sum(axis=-1)
    convex = (turns > 1e-9).all(axis=1)
    quad, fours = quad[convex], fours[convex]
    corners = np.concatenate([start[threes][:, None] + np.arange(3), quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])
    rest = reasons.good.copy()
    rest[threes] = rest[fours] = False
    return corners, np.concatenate([threes, fours, fours]), np.flatnonzero(rest)


def area_vector(ring: Array) -> Array:
    """Newell's vector of one ring without its closing point (N, 3): the normal, its length the area (m²)."""
    p = ring - ring[0]
    vector: Array = 0.5 * np.cross(p[:-1], p[1:]).sum(axis=0)
    return vector


@dataclass(frozen=True, eq=False)
class Face:
    """A polygon as triangles: `triangles` (T, 3, 3), and `edges` (E, 2, 3) of its rings, the face to their left."""

    triangles: Array
    edges: Array


def triangulate(rings: Sequence[Array]) -> Face:
    """One polygon, outer ring first. Raises PolygonError where `triangulate_polygons` would name a problem."""
    arrays = [np.asarray(r, np.float64).reshape(-1, 3) for r in rings]
    starts = np.cumsum([0, *(len(r) for r in arrays)])
    points = np.concatenate(arrays) if arrays else np.zeros((0, 3))
    faces = triangulate_polygons(points, starts, np.array([0, len(arrays)]))
    if faces.problems:
        raise PolygonError(faces.problems[0][1])
    return Face(faces.points[faces.corners], np.stack([faces.points, faces.points[faces.follow]], axis=1))

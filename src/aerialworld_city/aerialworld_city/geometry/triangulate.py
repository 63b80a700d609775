"""Polygons in space to triangles: ear clipping in the polygon's own plane, holes included, orientation kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mapbox_earcut
import numpy as np

from aerialworld_core.frames import Array

#: A ring with more points than this is refused: real rings have a few hundred, and ear clipping may take n².
MAX_RING_POINTS = 10_000
#: Neighbouring points nearer than this are one point, metres.
_SAME_POINT = 1e-4
#: A polygon smaller than this has no area, m².
_NO_AREA = 1e-6
#: No city polygon is wider, metres.
_MAX_EXTENT = 20_000.0


class PolygonError(ValueError):
    """A polygon that cannot be triangulated; the text says why, for the report."""


def clean_ring(ring: Array) -> Array:
    """The ring without its closing point and without repeated neighbours, (N, 3).

    Raises PolygonError when fewer than three points remain, when there are too many, or when a number is not finite.
    """
    ring = np.asarray(ring, np.float64).reshape(-1, 3)
    if len(ring) > MAX_RING_POINTS:
        raise PolygonError(f"a ring of {len(ring)} points (at most {MAX_RING_POINTS})")
    if not np.isfinite(ring).all():
        raise PolygonError("a coordinate that is not a place on earth")
    if len(ring):
        step = np.abs(ring - np.roll(ring, 1, axis=0)).max(axis=1)
        ring = ring[step > _SAME_POINT]
    if len(ring) < 3:
        raise PolygonError(f"a ring with {len(ring)} distinct points (at least 3)")
    if np.ptp(ring, axis=0).max() > _MAX_EXTENT:
        raise PolygonError(f"a ring that spans more than {_MAX_EXTENT / 1000:g} km")
    return ring


def area_vector(ring: Array) -> Array:
    """Newell's vector: the normal, its length the area (m²)."""
    p = ring - ring[0]
    vector: Array = 0.5 * np.cross(p[:-1], p[1:]).sum(axis=0)
    return vector


@dataclass(frozen=True, eq=False)
class Face:
    """A polygon as triangles: `triangles` (T, 3, 3), and `edges` (E, 2, 3) of its rings, the face to their left. The
    triangles may leave out corners that lie on a straight line; the edges have them all."""

    triangles: Array
    edges: Array


def triangulate(rings: Sequence[Array]) -> Face:
    """Triangles of an outer ring and its holes, counter-clockwise about the outer ring's normal.

    Raises PolygonError (see `clean_ring`; no area). Holes that are broken themselves count as an error too; holes that
    wind as the outer ring does are turned. Rings that cross give triangles inside the outer ring only.
    """
    outer = clean_ring(rings[0])
    vector = area_vector(outer)
    area = float(np.linalg.norm(vector))
    if area < _NO_AREA:
        raise PolygonError("no area")
    if len(rings) == 1 and len(outer) == 3:
        return Face(outer[None], _edges([outer]))
    normal = vector / area
    if len(rings) == 1 and len(outer) == 4:
        quad = _split_quad(outer, normal)
        if quad is not None:
            return Face(quad, _edges([outer]))
    holes = [clean_ring(r) for r in rings[1:]]
    holes = [h[::-1] if area_vector(h) @ normal > 0 else h for h in holes]
    points = np.concatenate([outer, *holes])
    if len(points) > MAX_RING_POINTS:
        raise PolygonError(f"{len(points)} points (at most {MAX_RING_POINTS})")
    plane = _in_plane(points - outer[0], normal)
    ends = np.cumsum([len(r) for r in [outer, *holes]]).astype(np.uint32)
    index = mapbox_earcut.triangulate_float64(np.ascontiguousarray(plane), ends).reshape(-1, 3).astype(np.int64)
    corners = plane[index]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    doubled = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    index[doubled < 0] = index[doubled < 0][:, ::-1]
    keep = np.abs(doubled) > 2 * _NO_AREA
    expected = area - sum(float(np.linalg.norm(area_vector(h))) for h in holes)
    if holes and abs(np.abs(doubled).sum() / 2 - expected) > 1e-3 * area:
        keep &= points_in_ring(corners.mean(axis=1), plane[: len(outer)])
    if not keep.any():
        raise PolygonError("no area")
    return Face(points[index[keep]], _edges([outer, *holes]))


def _edges(rings: Sequence[Array]) -> Array:
    return np.concatenate([np.stack([r, np.roll(r, -1, axis=0)], axis=1) for r in rings])


def _split_quad(quad: Array, normal: Array) -> Array | None:
    """A convex quadrilateral in two triangles; None when a corner is not convex."""
    edges = np.roll(quad, -1, axis=0) - quad
    turns = np.cross(edges, np.roll(edges, -1, axis=0)) @ normal
    if (turns <= 1e-9).any():
        return None
    return quad[[[0, 1, 2], [0, 2, 3]]]


def _in_plane(points: Array, normal: Array) -> Array:
    """(N, 2) coordinates in a right-handed basis of the plane with this normal."""
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    u = np.cross(helper, normal)
    u /= np.linalg.norm(u)
    return np.asarray(points @ np.column_stack([u, np.cross(normal, u)]))


def points_in_ring(points: Array, ring: Array) -> np.ndarray:
    """Which points (N, 2) lie inside a ring (M, 2), by the even-odd rule."""
    inside = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside

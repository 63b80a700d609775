"""Exact distances from points to the triangles of a world: what proves that a path keeps clear."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_core.labels import GROUND
from aerialworld_missions.heightmap import Geometry, HeightMap

#: Consecutive points that share one search for candidate triangles, and pairs whose distance is taken at once.
_CHUNK = 32
_PAIRS_AT_ONCE = 100_000


def point_triangle_distance(points: NDArray[Any], triangles: NDArray[Any]) -> Array:
    """(N,) distance of points (N, 3) to triangles (N, 3, 3), pair by pair.

    Closest point by Voronoi regions (Ericson, Real-Time Collision Detection, 5.1.5): the plane where the foot of the
    perpendicular lies inside, else the nearest edge.
    """
    p = np.asarray(points, dtype=np.float64)
    a, b, c = (np.asarray(triangles, dtype=np.float64)[:, k] for k in range(3))
    normal = _cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1)
    edges = []
    inside = area > 1e-12
    for start, end in ((a, b), (b, c), (c, a)):
        along, offset = end - start, p - start
        inside &= np.einsum("ij,ij->i", _cross(along, offset), normal) >= 0
        length = np.maximum(np.einsum("ij,ij->i", along, along), 1e-18)
        u = np.clip(np.einsum("ij,ij->i", offset, along) / length, 0.0, 1.0)
        edges.append(np.linalg.norm(offset - u[:, None] * along, axis=1))
    plane = np.abs(np.einsum("ij,ij->i", p - a, normal)) / np.maximum(area, 1e-12)
    return np.where(inside, plane, np.minimum.reduce(edges))


def _cross(a: Array, b: Array) -> Array:
    """(N, 3) cross products, row by row; numpy's own spends most of its time on its axes."""
    result = np.empty_like(a)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.subtract(a[:, j] * b[:, k], a[:, k] * b[:, j], out=result[:, i])
    return result


def _obstacles(heights: HeightMap) -> tuple[Array, Array, Array]:
    """All triangles that are not ground: corners (F, 3, 3), lowest and highest (F, 3) of each; kept with the world."""
    world = heights.world
    known = _OBSTACLES.get(world)
    if known is None:
        scene = world.scene
        solid = np.flatnonzero(~np.isin(scene.face_class, GROUND))
        corners = scene.vertices[scene.faces[solid]].astype(np.float64)
        known = _OBSTACLES[world] = corners, corners.min(axis=1), corners.max(axis=1)
    return known


def obstacle_top(heights: HeightMap, xy: NDArray[Any], reach: float) -> Array:
    """(N,) highest corner of the triangles that are not ground and whose bounding boxes come within `reach` metres of
    points (N, 2), −inf where there is none: an upper bound of what stands there."""
    xy = np.asarray(xy, dtype=np.float64)
    corners, low, high = _obstacles(heights)
    low, high = low[:, :2], high[:, :2]
    near = ((low <= xy.max(axis=0) + reach) & (high >= xy.min(axis=0) - reach)).all(axis=1)
    low, high, top = low[near], high[near], corners[near, :, 2].max(axis=1)
    result = np.full(len(xy), -np.inf)
    for i, point in enumerate(xy):
        beside = ((low <= point + reach) & (high >= point - reach)).all(axis=1)
        result[i] = top[beside].max(initial=-np.inf)
    return result


def obstacle_distance(heights: HeightMap, points: NDArray[Any], reach: float) -> Array:
    """(N,) distance of points (N, 3) along a path to the nearest surface that is not ground, inf beyond `reach` m."""
    points = np.asarray(points, dtype=np.float64)
    corners, low, high = _obstacles(heights)
    near = ((low <= points.max(axis=0) + reach) & (high >= points.min(axis=0) - reach)).all(axis=1)
    corners, low, high = corners[near], low[near], high[near]
    result = np.full(len(points), np.inf)
    pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    waiting = 0
    for begin in range(0, len(points), _CHUNK):
        part = points[begin : begin + _CHUNK]
        candidates = np.flatnonzero(
            ((low <= part.max(axis=0) + reach) & (high >= part.min(axis=0) - reach)).all(axis=1)
        )
        for first in range(0, len(candidates), _PAIRS_AT_ONCE // _CHUNK):
            some = candidates[first : first + _PAIRS_AT_ONCE // _CHUNK]
            gap = np.maximum(low[some] - part[:, None], part[:, None] - high[some])
            gap = np.maximum(gap, 0.0, out=gap)
            of, to = np.nonzero(np.einsum("ijk,ijk->ij", gap, gap) <= reach * reach)
            pairs.append((begin + of, some[to]))
            waiting += len(of)
            if waiting > _PAIRS_AT_ONCE:
                _nearest(points, corners, pairs, result)
                waiting = 0
    _nearest(points, corners, pairs, result)
    return np.where(result <= reach, result, np.inf)


def _nearest(
    points: Array, corners: Array, pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]], result: Array
) -> None:
    """Lower `result` (N,) by the distances of pairs of points and triangles; the pairs are used up."""
    if not pairs:
        return
    of, to = (np.concatenate(column) for column in zip(*pairs, strict=True))
    np.minimum.at(result, of, point_triangle_distance(points[of], corners[to]))
    pairs.clear()


_OBSTACLES: WeakKeyDictionary[Geometry, tuple[Array, Array, Array]] = WeakKeyDictionary()

"""Faces of a mesh file with any number of corners, and their triangles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mapbox_earcut
import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array

#: A corner turns inward when its sine is below this; less is rounding in the file.
_STRAIGHT = -1e-6


@dataclass(eq=False)
class Faces:
    """Faces over shared points.

    points    (V, 3) float64
    corner    (C,) int, the point of each face corner, face after face
    start     (F + 1,) int64 into the corners
    triangles (T, 3) int64 into the corners (not the points), sorted by face
    face      (T,) int64, each triangle's face
    """

    points: Array
    corner: NDArray[Any]
    start: NDArray[np.int64]
    triangles: NDArray[np.int64]
    face: NDArray[np.int64]

    def follow(self) -> NDArray[np.int64]:
        """(C,) the next corner of the same face: the faces' directed edges."""
        follow = np.arange(1, len(self.corner) + 1)
        follow[self.start[1:] - 1] = self.start[:-1]
        return follow


def soup(triangles: Array) -> Faces:
    """Triangles (T, 3, 3) that share nothing."""
    count = len(triangles)
    corner = np.arange(3 * count)
    return Faces(triangles.reshape(-1, 3), corner, 3 * np.arange(count + 1), corner.reshape(-1, 3), np.arange(count))


def split_faces(points: Array, corner: NDArray[Any], start: NDArray[np.int64]) -> Faces:
    """Cut faces into triangles: convex ones as fans from their first corner (corners on a straight line stay), others
    by ear clipping in their own plane. Orientation is kept."""
    counts = np.diff(start)
    pieces, owners = [], []
    for k in np.unique(counts).tolist():
        face = np.flatnonzero(counts == k)
        fan = np.stack([np.zeros(k - 2, np.int64), np.arange(1, k - 1), np.arange(2, k)], axis=1)
        if k > 3:
            convex, normal = _convex(points, corner, start[face], k)
            for number in face[~convex].tolist():
                own = points[corner[start[number] : start[number + 1]]]
                ears = _ears(own, normal[np.searchsorted(face, number)], fan)
                pieces.append(ears + start[number])
                owners.append(np.full(len(ears), number))
            face = face[convex]
        pieces.append((start[face][:, None, None] + fan).reshape(-1, 3))
        owners.append(np.repeat(face, k - 2))
    triangles, owner = np.concatenate(pieces), np.concatenate(owners)
    if len(pieces) > 1:
        order = np.argsort(owner, kind="stable")
        triangles, owner = triangles[order], owner[order]
    return Faces(points, corner, start, triangles, owner)


def _convex(points: Array, corner: NDArray[Any], start: NDArray[np.int64], k: int) -> tuple[NDArray[np.bool_], Array]:
    """Which faces of k corners may be cut as a fan, and Newell's normals (F, 3). Faces with a corner that is no place
    count as convex: they are left out later."""
    convex = np.ones(len(start), np.bool_)
    normal = np.zeros((len(start), 3))
    step = max(1, 2_000_000 // k)
    for low in range(0, len(start), step):
        rows = slice(low, low + step)
        ring = points[corner[start[rows, None] + np.arange(k)]]
        with np.errstate(invalid="ignore", over="ignore"):
            ring = ring - ring[:, :1]
            newell = np.cross(ring, np.roll(ring, -1, axis=1)).sum(axis=1)
            length = np.linalg.norm(newell, axis=1, keepdims=True)
            normal[rows] = newell / np.where(length > 0, length, 1.0)
            edge = np.roll(ring, -1, axis=1) - ring
            long = np.linalg.norm(edge, axis=2)
            turn = (np.cross(edge, np.roll(edge, -1, axis=1)) * normal[rows, None]).sum(axis=2)
            convex[rows] = ~(turn < _STRAIGHT * long * np.roll(long, -1, axis=1)).any(axis=1)
    return convex, normal


def _ears(ring: Array, normal: Array, fan: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangles (T, 3) of a face (N, 3), by index into it; the fan where it has no area."""
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    u = np.cross(helper, normal)
    length = float(np.linalg.norm(u))
    if not length > 0:
        return fan
    u /= length
    plane = np.ascontiguousarray((ring - ring[0]) @ np.column_stack([u, np.cross(normal, u)]))
    index = mapbox_earcut.triangulate_float64(plane, np.array([len(ring)], np.uint32)).reshape(-1, 3).astype(np.int64)
    if len(index) == 0:
        return fan
    p = plane[index]
    a, b = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    back = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0
    index[back] = index[back][:, ::-1]
    return index

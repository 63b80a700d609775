"""One part of a mesh put into the world: float32 columns of a scene, made in pieces so that millions of triangles need
no large temporaries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.world.mesh import MeshPart

#: Triangles whose cross product is no longer than this (m²) have no side to be seen from.
LEAST_AREA = 1e-10

_CHUNK = 1 << 16


@dataclass(eq=False)
class Placed:
    """`vertices` (V, 3), `faces` (F, 3) int32 rows of them, `uv` (F, 3, 2), `normals` (F, 3, 3) unit, all as in Scene;
    `dropped` triangles had no area."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    uv: NDArray[np.float32]
    normals: NDArray[np.float32]
    dropped: int


def place(part: MeshPart, matrix: Array, both_sides: bool, context: str) -> Placed:
    """The part's triangles after its own matrix and `matrix` (4, 4); mirrored ones are wound again so that outside
    stays outside. With `both_sides` every triangle is followed, at the end, by its twin that faces the other way.

    Raises WorldError, beginning with `context`, where float32 cannot hold a coordinate.
    """
    if len(part.vertices) > 3 * len(part.faces):
        part = _compact(part)
    whole = matrix @ part.matrix
    mirrored = float(np.linalg.det(whole[:3, :3])) < 0
    vertices = _vertices(part, whole, context)
    directions = None if part.normals is None else _directions(part.normals, whole[:3, :3])
    count = len(part.faces)
    sides = 2 if both_sides else 1
    faces = np.empty((count * sides, 3), np.int32)
    uv = (np.zeros if part.uv is None else np.empty)((count * sides, 3, 2), np.float32)
    normals = np.empty((count * sides, 3, 3), np.float32)
    kept = 0
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        f = _index(part.faces[rows], mirrored)
        cross = _cross(vertices, f)
        area = np.sqrt(np.einsum("ij,ij->i", cross, cross))
        solid = None if area.min() > LEAST_AREA else area > LEAST_AREA
        if solid is not None:
            f, cross, area = f[solid], cross[solid], area[solid]
        out = slice(kept, kept + len(f))
        kept += len(f)
        faces[out] = f
        if part.uv is not None:
            index = f if part.uv_faces is None else _index(part.uv_faces[rows], mirrored, solid)
            uv[out] = np.take(part.uv, index, axis=0)
        flat = cross / area[:, None]
        if directions is None:
            normals[out] = flat[:, None]
        else:
            index = f if part.normal_faces is None else _index(part.normal_faces[rows], mirrored, solid)
            np.take(directions, index, axis=0, out=normals[out], mode="clip")
            missing = np.isnan(normals[out][..., 0])
            if missing.any():
                normals[out] = np.where(missing[..., None], flat[:, None], normals[out])
    if both_sides:
        faces[kept : 2 * kept] = faces[:kept][:, [0, 2, 1]]
        uv[kept : 2 * kept] = uv[:kept][:, [0, 2, 1]]
        normals[kept : 2 * kept] = -normals[:kept][:, [0, 2, 1]]
    total = kept * sides
    vertices, faces = _only_used(vertices, faces[:total])
    dropped = count - kept
    if dropped:  # let go of the room that the dropped ones would have taken
        uv, normals = uv[:total].copy(), normals[:total].copy()
    return Placed(vertices, faces, uv, normals, dropped)


def _index(faces: NDArray[Any], mirrored: bool, solid: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    chosen = faces if solid is None else faces[solid]
    return np.ascontiguousarray(chosen[:, [0, 2, 1]] if mirrored else chosen, dtype=np.intp)


def _compact(part: MeshPart) -> MeshPart:
    """Primitives may share one list of vertices that is far longer than what each of them uses."""
    used, faces = np.unique(part.faces, return_inverse=True)
    return replace(
        part,
        vertices=part.vertices[used],
        faces=faces.reshape(-1, 3),
        uv_faces=part.faces if part.uv_faces is None else part.uv_faces,
        normal_faces=part.faces if part.normal_faces is None else part.normal_faces,
    )


def _vertices(part: MeshPart, whole: Array, context: str) -> NDArray[np.float32]:
    vertices = np.empty((len(part.vertices), 3), np.float32)
    with np.errstate(over="ignore"):
        for start in range(0, len(vertices), _CHUNK):
            rows = slice(start, start + _CHUNK)
            vertices[rows] = _turned(part.vertices[rows], whole[:3, :3]) + whole[:3, 3]
    if not np.isfinite(vertices).all():
        raise WorldError(f"{context}: vertices reach beyond what float32 holds")
    return vertices


def _turned(rows: NDArray[Any], linear: Array) -> Array:
    """(n, 3) `linear` times each row, float64. Matrix products of this shape are slow, and busy all processors."""
    own = rows.astype(np.float64)
    if (linear == np.eye(3)).all():
        return own
    result = np.empty_like(own)
    x, y, z = own.T
    for k in range(3):
        result[:, k] = x * linear[k, 0] + y * linear[k, 1] + z * linear[k, 2]
    return result


def _cross(vertices: NDArray[np.float32], faces: NDArray[np.intp]) -> Array:
    """(n, 3) the cross product of each triangle's edges at its first corner, from float32 corners in float64."""
    a, b, c = (np.take(vertices, faces[:, k], axis=0).astype(np.float64) for k in range(3))
    b -= a
    c -= a
    cross = a  # no longer needed
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        cross[:, k] = b[:, i] * c[:, j] - b[:, j] * c[:, i]
    return cross


def _directions(normals: NDArray[Any], linear: Array) -> NDArray[np.float32]:
    """(N, 3) normals of a surface that `linear` stretches and turns, of unit length; NaN where one has no direction."""
    turn: Array = np.asarray(np.linalg.inv(linear).T, np.float64)
    result = np.empty((len(normals), 3), np.float32)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for start in range(0, len(normals), _CHUNK):
            rows = slice(start, start + _CHUNK)
            own = _turned(normals[rows], turn)
            result[rows] = own / np.sqrt(np.einsum("ij,ij->i", own, own))[:, None]
    finite = np.isfinite(result)
    if not finite.all():
        result[~finite.all(axis=1)] = np.nan
    return result


def _only_used(
    vertices: NDArray[np.float32], faces: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Without the vertices that no face uses: primitives of a mesh may share one long list."""
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    if used.all():
        return vertices, faces
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return vertices[used], number[faces]

"""One part of a mesh put into the world: float32 columns of a scene, made in pieces so that millions of triangles need
no large temporaries."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    linear = whole[:3, :3]
    vertices = _vertices(part, whole, context)
    volume = float(np.linalg.det(linear))
    order = [0, 2, 1] if volume < 0 else [0, 1, 2]
    turn = None if part.normals is None else np.linalg.inv(linear) * abs(volume) ** (1 / 3)
    count = len(part.faces)
    sides = 2 if both_sides else 1
    faces = np.empty((count * sides, 3), np.int32)
    uv = np.zeros((count * sides, 3, 2), np.float32)
    normals = np.empty((count * sides, 3, 3), np.float32)
    kept = 0
    for start in range(0, count, _CHUNK):
        rows = slice(start, start + _CHUNK)
        f = part.faces[rows][:, order]
        cross = _cross(vertices, f)
        area = np.sqrt(np.einsum("ij,ij->i", cross, cross))
        solid = area > LEAST_AREA
        if not solid.all():
            f, cross, area = f[solid], cross[solid], area[solid]
        out = slice(kept, kept + len(f))
        kept += len(f)
        faces[out] = f
        flat = cross / area[:, None]
        if part.uv is not None:
            index = f if part.uv_faces is None else part.uv_faces[rows][:, order][solid]
            uv[out] = part.uv[index]
        if part.normals is None or turn is None:
            normals[out] = flat[:, None]
        else:
            index = f if part.normal_faces is None else part.normal_faces[rows][:, order][solid]
            normals[out] = _unit(part.normals[index].astype(np.float64) @ turn, flat)
    if both_sides:
        faces[kept : 2 * kept] = faces[:kept][:, [0, 2, 1]]
        uv[kept : 2 * kept] = uv[:kept][:, [0, 2, 1]]
        normals[kept : 2 * kept] = -normals[:kept][:, [0, 2, 1]]
    total = kept * sides
    vertices, faces = _only_used(vertices, faces[:total])
    dropped = count - kept
    if dropped:  # let go of the room that the dropped ones would have taken
        return Placed(vertices, faces.copy(), uv[:total].copy(), normals[:total].copy(), dropped)
    return Placed(vertices, faces, uv, normals, 0)


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
            vertices[rows] = part.vertices[rows].astype(np.float64) @ whole[:3, :3].T + whole[:3, 3]
    if not np.isfinite(vertices).all():
        raise WorldError(f"{context}: vertices reach beyond what float32 holds")
    return vertices


def _cross(vertices: NDArray[np.float32], faces: NDArray[np.integer]) -> Array:
    a = vertices[faces[:, 0]].astype(np.float64)
    b, c = vertices[faces[:, 1]] - a, vertices[faces[:, 2]] - a
    cross = np.empty_like(a)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        cross[:, k] = b[:, i] * c[:, j] - b[:, j] * c[:, i]
    return cross


def _unit(normals: Array, flat: Array) -> Array:
    """Normals (n, 3, 3) of unit length; the triangle's own (n, 3) where a corner has none that is usable."""
    length = np.sqrt(np.einsum("ijk,ijk->ij", normals, normals))[..., None]
    good = np.isfinite(length) & (length > 1e-6)
    if good.all():
        return normals / length
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(good, normals / np.where(good, length, 1.0), flat[:, None])


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

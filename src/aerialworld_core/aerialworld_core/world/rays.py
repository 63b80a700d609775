"""Exact rays against a scene's triangles: Embree finds the triangle, the distance is computed again in float64."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.kernels import kernel

_CHUNK = 1 << 20


class RayCaster:
    """Embree's acceleration structure over triangles (F, 3, 3) float32.

    Rays are float32 inside Embree and should not start more than some kilometres from the origin (float32's step is
    0.06 mm at 1 km, 1 mm at 10 km); distances of hits are float64 against the plane of the triangle. `normals` (F, 3)
    float64 point out of the front and are not of unit length.
    """

    def __init__(self, triangles: NDArray[np.float32]) -> None:
        self._triangles = triangles
        self._corner = np.ascontiguousarray(triangles[:, 0], dtype=np.float64)
        a, b = (np.asarray(triangles[:, i], np.float64) - self._corner for i in (1, 2))
        self.normals = np.cross(a, b)
        self._reach = float(np.abs(triangles).max()) if len(triangles) else 0.0
        self._scene = None
        if len(triangles):
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene

            self._scene = EmbreeScene()
            flat = np.ascontiguousarray(triangles, dtype=np.float32).reshape(-1, 3)
            index = np.arange(len(flat), dtype=np.int32).reshape(-1, 3)
            TriangleMesh(self._scene, flat, index)

    @cached_property
    def _twins(self) -> NDArray[np.int32]:
        """(F,) for each triangle one with the same corners that faces the other way, −1 where there is none."""
        count = len(self.normals)
        words = (np.asarray(self._triangles, np.float32) + np.float32(0.0)).view(np.uint32).astype(np.uint64)
        mixed = words[..., 0] * np.uint64(0x9E3779B97F4A7C15)
        for axis in (1, 2):
            mixed = (mixed ^ (mixed >> np.uint64(31)) ^ words[..., axis]) * np.uint64(0xBF58476D1CE4E5B9)
        # The sum of the corners' keys is the same in any order.
        _, first, group, size = np.unique(mixed.sum(axis=1), return_index=True, return_inverse=True, return_counts=True)
        twins = np.full(count, -1, np.int32)
        several = np.flatnonzero(size[group] > 1)
        head = first[group[several]]
        corners, others = self._triangles[several], self._triangles[head]
        same = (corners[:, :, None] == others[:, None]).all(axis=-1).any(axis=2).all(axis=1)
        several, head = several[same], head[same]
        with_head = np.einsum("ij,ij->i", self.normals[several], self.normals[head]) > 0
        against = np.full(len(first), -1, np.int64)
        against[group[several[~with_head]]] = several[~with_head]
        twins[several] = np.where(with_head, against[group[several]], head)
        return twins

    def cast(
        self, origins: Array, directions: Array, *, cull_backfaces: bool, max_distance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """First hits of rays (N, 3), (N, 3): distance in metres (N,) (inf where none) and triangle (N,) (−1).

        Raises InputError for shapes that do not match, numbers that are not finite and directions without length.
        """
        o = np.asarray(origins, dtype=np.float64).reshape(-1, 3)
        d = np.asarray(directions, dtype=np.float64).reshape(-1, 3)
        if len(o) != len(d):
            raise InputError(f"{len(o)} ray origins and {len(d)} directions")
        distance = np.full(len(o), np.inf)
        face = np.full(len(o), -1, dtype=np.int32)
        for start in range(0, len(o), _CHUNK):
            part = slice(start, start + _CHUNK)
            length = np.linalg.norm(d[part], axis=1)
            if not (np.isfinite(o[part]).all() and np.isfinite(length).all() and (length > 0).all()):
                raise InputError("a ray has an origin or direction that is not finite, or a direction without length")
            unit = d[part] / length[:, None]
            distance[part], face[part] = self.first_hits(
                o[part], unit, cull_backfaces=cull_backfaces, max_distance=max_distance
            )
        return distance, face

    def backfacing(self, face: NDArray[np.int32], directions: Array) -> NDArray[np.bool_]:
        """Which rays (N, 3) meet their triangle (N,) from behind; False where it is −1 or has two sides."""
        if self._scene is None:
            return np.zeros(len(face), dtype=bool)
        along = np.einsum("ij,ij->i", self.normals[face], directions)
        return (face >= 0) & (along > 0) & (self._twins[face] < 0)

    def first_hits(
        self, o: Array, d: Array, *, cull_backfaces: bool, max_distance: float
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """As `cast`, for unit directions that are known to be finite; in one piece."""
        cull = cull_backfaces
        distance = np.full(len(o), np.inf)
        face = np.full(len(o), -1, dtype=np.int32)
        if self._scene is None:
            return distance, face
        # Behind a culled face a ray starts again this much further on: more than float32 rounds its origin.
        step = max(1e-4, 5e-7 * max(self._reach, float(np.abs(o).max(initial=0.0))))
        left = np.arange(len(o))
        travelled = np.zeros(len(o))
        while len(left):
            at = o[left] + d[left] * travelled[left, None]
            hit = self._scene.run(at.astype(np.float32), d[left].astype(np.float32), output=True)
            found = hit["primID"].astype(np.int32)
            t, facing = np.full(len(left), np.inf), np.full(len(left), -1, np.int8)
            _refine(o[left], d[left], travelled[left], found, hit["tfar"], self._corner, self.normals, t, facing)
            if cull and (facing == 0).any():
                # A surface that is written from both sides: which of its two faces Embree names is chance.
                twin = self._twins[found]
                turned = (facing == 0) & (twin >= 0)
                found[turned], facing[turned] = twin[turned], 1
            keep = facing > 0 if cull else facing >= 0
            distance[left[keep]], face[left[keep]] = t[keep], found[keep]
            again = (facing == 0) & (t < max_distance) if cull else np.zeros(len(left), bool)
            travelled[left[again]] = np.maximum(t[again], travelled[left[again]]) + step
            left = left[again]
        beyond = distance > max_distance
        distance[beyond], face[beyond] = np.inf, -1
        return distance, face


@kernel
def _refine(o, d, travelled, found, tfar, corner, normal, distance, facing):  # type: ignore[no-untyped-def]
    """Float64 `distance` from `o` to the plane of the triangle found, and its `facing`: 1 front, 0 back; both are left
    as they are where there is no hit."""
    for i in range(len(found)):
        f = found[i]
        if f < 0:
            continue
        nx, ny, nz = normal[f, 0], normal[f, 1], normal[f, 2]
        along = nx * d[i, 0] + ny * d[i, 1] + nz * d[i, 2]
        coarse = travelled[i] + tfar[i]
        facing[i] = 1 if along < 0 else 0
        distance[i] = coarse
        if along != 0:
            offset = (
                nx * (corner[f, 0] - o[i, 0]) + ny * (corner[f, 1] - o[i, 1]) + nz * (corner[f, 2] - o[i, 2])
            ) / along
            # Slivers have no reliable plane: there Embree's own distance stays.
            if abs(offset - coarse) < 0.01 + 1e-4 * coarse:
                distance[i] = max(offset, 0.0)

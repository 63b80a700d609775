"""A piece of mesh in its own frame, before it is placed in a world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array

#: A picture (H, W, 3) uint8 that may still be in work; asking for it waits, or raises what was wrong with it.
Picture = Callable[[], NDArray[np.uint8]]
#: The picture that a mesh file names. Raises WorldError where it is missing or may not be read.
ImageFinder = Callable[[str], Picture]


@dataclass(frozen=True, eq=False)
class Skin:
    """How a part looks: `colour` (3,) linear RGB times `picture`; seen from behind as well where `both_sides`."""

    name: str
    colour: NDArray[np.float32]
    picture: Picture | None = None
    both_sides: bool = False


@dataclass(frozen=True, eq=False)
class MeshPart:
    """Triangles of one skin. Arrays may be views of the file's bytes, of any number type.

    vertices      (V, 3) finite
    faces         (F, 3) rows of `vertices`, counter-clockwise seen from outside before `matrix`
    uv            (T, 2) or None, origin bottom-left
    normals       (N, 3) of any length, or None for flat shading
    name          the node or object that it belongs to, "" where the file names none
    skin          the file's own, None where it has none
    uv_faces      (F, 3) rows of `uv`; None: the same as `faces`
    normal_faces  (F, 3) rows of `normals`; None: the same as `faces`
    matrix        (4, 4) takes vertices to the visual's frame, metres; it may stretch, skew and mirror
    """

    vertices: NDArray[Any]
    faces: NDArray[Any]
    uv: NDArray[Any] | None = None
    normals: NDArray[Any] | None = None
    name: str = ""
    skin: Skin | None = None
    uv_faces: NDArray[Any] | None = None
    normal_faces: NDArray[Any] | None = None
    matrix: Array = field(default_factory=lambda: np.eye(4))

    @property
    def nbytes(self) -> int:
        """Memory of its arrays, pictures left out."""
        arrays = (self.vertices, self.faces, self.uv, self.normals, self.uv_faces, self.normal_faces)
        return sum(a.nbytes for a in arrays if a is not None)

    def moved(self, matrix: Array) -> MeshPart:
        """The same part with `matrix` (4, 4) applied after its own."""
        return replace(self, matrix=matrix @ self.matrix)

    def bounds(self) -> Array:
        """(2, 3) lowest and highest corner after `matrix`, of all vertices that a face uses."""
        used = self.vertices[np.unique(self.faces)].astype(np.float64) @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        return np.stack([used.min(axis=0), used.max(axis=0)])

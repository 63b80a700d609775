"""A piece of mesh in its own frame, before it is placed in a world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_core.world.scene import Material


@dataclass(frozen=True, eq=False)
class MeshPart:
    """Triangles of one material.

    vertices  (V, 3) float64 metres
    faces     (F, 3) int, counter-clockwise seen from outside
    uv        (F, 3, 2) or None, origin bottom-left
    normals   (F, 3, 3) unit, per corner, or None for flat shading
    name      the node or object that it belongs to, "" where the file names none
    material  the file's own material, None where it has none
    """

    vertices: Array
    faces: NDArray[np.int64]
    uv: Array | None = None
    normals: Array | None = None
    name: str = ""
    material: Material | None = None

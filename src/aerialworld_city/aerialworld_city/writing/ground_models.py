"""The ground beyond single squares: one heightmap for all, and the triangles of a square that has too many."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_city.geometry.heightmap import Heightmap
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.terrain import Terrain
from aerialworld_city.options import ConversionOptions
from aerialworld_city.writing.folder import sync_tree
from aerialworld_city.writing.kept import fingerprints, group_key
from aerialworld_city.writing.models import write_heightmap_model
from aerialworld_core.frames import Array


def write_heightmap(world: Path, heightmap: Heightmap, terrain: Terrain, maker: str) -> dict[str, Any]:
    """The one model `terrain` of a whole world's ground; returns its record. `terrain` is the heightmap's surface."""
    png = heightmap.png()
    info = write_heightmap_model(world, "terrain", png, heightmap.size, heightmap.position)
    sync_tree(world / "models" / "terrain")
    corners = terrain.triangles.reshape(-1, 3)
    return {
        "key": group_key([hashlib.sha256(png).hexdigest(), heightmap.size, heightmap.position], maker),
        "files": fingerprints(world / "models", ["terrain"]),
        "triangles": info.triangles,
        "bounds": [corners.min(axis=0).tolist(), corners.max(axis=0).tolist()],
    }


@dataclass(frozen=True, eq=False)
class GroundJob:
    """Terrain triangles (T, 3, 3) of one square, too many for one model."""

    triangles: Array
    options: ConversionOptions


def simplify_square(job: GroundJob) -> tuple[Array, float]:
    """The square's terrain with fewer triangles, its border bit for bit, and how far it moved."""
    from aerialworld_city.geometry.simplify import simplify_ground  # its compiler takes a while to load

    n = len(job.triangles)
    mesh = Mesh(job.triangles, np.zeros(n, np.int32), np.zeros(n, np.int8), np.zeros(n, bool), np.full(n, -1, np.int32))
    mesh, done = simplify_ground(mesh, job.options.target_faces, job.options.max_deviation)
    return mesh.triangles, done.worst

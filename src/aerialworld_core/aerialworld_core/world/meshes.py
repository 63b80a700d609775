"""Mesh files by their extension, with size limits and checks that hold for all formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aerialworld_core.errors import UnsafeInputError, WorldError
from aerialworld_core.safexml import MIB, CountedFile
from aerialworld_core.world.glb import read_glb
from aerialworld_core.world.mesh import MeshPart
from aerialworld_core.world.obj import read_obj
from aerialworld_core.world.sdf import Notes
from aerialworld_core.world.stl import read_stl

MAX_BYTES = 1024 * MIB


def load_mesh(path: Path, context: str, notes: Notes, *, max_bytes: int = MAX_BYTES) -> list[MeshPart]:
    """The parts of a GLB, OBJ or STL file, in the file's own axes and units.

    Raises WorldError (another kind, broken, coordinates that are not finite) or UnsafeInputError (too large,
    compressed, COLLADA, which takes an XML-driven converter), naming the file.
    """
    suffix = path.suffix.lower()
    context = f"{context}: {path.name}"
    if suffix == ".dae":
        raise UnsafeInputError(f"{context}: COLLADA meshes are not read; convert it to .glb")
    if suffix not in (".glb", ".obj", ".stl"):
        raise WorldError(f"{context}: {suffix or 'no extension'}: meshes are .glb, .obj or .stl")
    with CountedFile(path, max_bytes=max_bytes, what="mesh file") as handle:
        data = handle.read()
    if suffix == ".glb":
        parts = read_glb(data, context, notes)
    elif suffix == ".obj":
        parts = read_obj(data, context, notes)
    else:
        parts = read_stl(data, context)
    for part in parts:
        label = f"{context}: {part.name}" if part.name else context
        if not np.isfinite(part.vertices).all():
            bad = int((~np.isfinite(part.vertices).all(axis=1)).sum())
            raise WorldError(f"{label}: {bad} of {len(part.vertices)} vertices are not finite numbers")
        if part.uv is not None and not np.isfinite(part.uv).all():
            raise WorldError(f"{label}: a texture coordinate is not a finite number")
    if not any(len(part.faces) for part in parts):
        notes.add(f"{context}: holds no triangles")
    return parts

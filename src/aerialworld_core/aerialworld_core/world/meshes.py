"""Mesh files by their extension, with size limits and checks that hold for all formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aerialworld_core.errors import UnsafeInputError, WorldError
from aerialworld_core.safexml import MIB, CountedFile
from aerialworld_core.world.glb import read_glb
from aerialworld_core.world.mesh import ImageFinder, MeshPart
from aerialworld_core.world.obj import read_obj
from aerialworld_core.world.sdf import Notes
from aerialworld_core.world.stl import read_stl
from aerialworld_core.world.textures import Pictures

MAX_BYTES = 1024 * MIB


def load_mesh(
    path: Path,
    context: str,
    notes: Notes,
    pictures: Pictures | None = None,
    *,
    trust_collada: bool = False,
    find_image: ImageFinder | None = None,
    max_bytes: int = MAX_BYTES,
) -> list[MeshPart]:
    """The parts of a GLB, OBJ, STL or COLLADA file, in the file's own axes; `pictures` decodes its textures.

    COLLADA is XML with references, so it is read only where `trust_collada` says that the file's origin is trusted;
    `find_image` finds the pictures that it names. Raises WorldError (another kind, broken, coordinates that are not
    finite) or UnsafeInputError (too large, compressed, COLLADA that is not trusted), naming the file.
    """
    suffix = path.suffix.lower()
    context = f"{context}: {path.name}"
    pictures = pictures or Pictures(threaded=False)
    if suffix == ".dae":
        if not trust_collada:
            raise UnsafeInputError(
                f"{context}: COLLADA is read only from models that are shipped or trusted: convert it to .glb, or, if "
                "you trust its origin, allow it (--trust-collada, load_world(…, trust_collada=True))"
            )
        from aerialworld_core.world.collada import read_collada

        parts = read_collada(path, context, notes, find_image)
    elif suffix not in (".glb", ".obj", ".stl"):
        raise WorldError(f"{context}: {suffix or 'no extension'}: meshes are .glb, .obj, .stl or (trusted) .dae")
    else:
        with CountedFile(path, max_bytes=max_bytes, what="mesh file") as handle:
            data = handle.read()
        if suffix == ".glb":
            parts = read_glb(data, context, notes, pictures)
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

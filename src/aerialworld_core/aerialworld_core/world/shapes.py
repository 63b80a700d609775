"""The `<geometry>` of visuals as mesh parts: primitives, mesh files, heightmaps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.safexml import MIB, CountedFile
from aerialworld_core.world import primitives
from aerialworld_core.world.heightmap import read_heightmap
from aerialworld_core.world.mesh import MeshPart, Skin
from aerialworld_core.world.meshes import load_mesh
from aerialworld_core.world.sdf import Document, Notes, boolean, number, numbers, text_of
from aerialworld_core.world.skins import Skins
from aerialworld_core.world.textures import decode
from aerialworld_core.world.unhonoured import tell_unread
from aerialworld_core.world.uris import Files

#: Meshes are kept for the next visual that shows them, until they are this large together.
_KEPT_BYTES = 128 * MIB


class Shapes:
    """Reads the shapes of a world; a mesh file that several visuals show is read once, unless it is very large."""

    def __init__(self, files: Files, notes: Notes, skins: Skins, trust_collada: bool) -> None:
        self.files, self.notes, self.skins = files, notes, skins
        self.trust_collada = trust_collada
        self._meshes: dict[Path, list[MeshPart]] = {}
        self._kept = 0
        self._readers: dict[str, Callable[[Document, Any, str], list[MeshPart]]] = {
            "box": lambda d, e, c: [primitives.box(_positive(numbers(d, e, "size", 3), c))],
            "sphere": lambda d, e, c: [primitives.ellipsoid(np.full(3, _radius(d, e, c)))],
            "ellipsoid": lambda d, e, c: [primitives.ellipsoid(_positive(numbers(d, e, "radii", 3), c))],
            "cylinder": lambda d, e, c: [primitives.cylinder(_radius(d, e, c), _length(d, e, c))],
            "cone": lambda d, e, c: [primitives.cone(_radius(d, e, c), _length(d, e, c))],
            "capsule": lambda d, e, c: [primitives.capsule(_radius(d, e, c), _length(d, e, c))],
            "plane": _plane,
            "mesh": self._mesh,
            "heightmap": self._heightmap,
            "empty": lambda d, e, c: [],
        }

    def parts(self, document: Document, visual: Any, context: str) -> list[MeshPart]:
        """The parts of a visual, in its own frame; none, and a note, where it is not read. Raises WorldError."""
        geometry = visual.find("geometry")
        if geometry is None or len(geometry) == 0:
            raise WorldError(f"{context}: has no <geometry>")
        shape = geometry[0]
        if shape.tag not in self._readers:
            self.notes.add(f"model geometry <{shape.tag}> is not read; its visuals are missing")
            return []
        tell_unread(shape, self.notes)
        return self._readers[shape.tag](document, shape, context)

    def _mesh(self, document: Document, shape: Any, context: str) -> list[MeshPart]:
        resolved = self.files.resolve(document, text_of(shape, "uri") or "", context)
        self.files.use(resolved)
        parts = self._meshes.get(resolved.path)
        if parts is None:
            parts = load_mesh(
                resolved.path,
                context,
                self.notes,
                self.skins.pictures,
                find_image=self.skins.collada(resolved, context),
                trust_collada=self._trusts(resolved.path),
            )
            size = sum(part.nbytes for part in parts)
            if self._kept + size <= _KEPT_BYTES:
                self._kept += size
                self._meshes[resolved.path] = parts
        if shape.find("submesh") is not None:
            parts = _submesh(document, shape.find("submesh"), parts, f"{context}: {resolved.path.name}")
        scale = numbers(document, shape, "scale", 3, (1.0, 1.0, 1.0))
        if (scale == 0).any():
            raise WorldError(f"{context}: a scale of 0 leaves nothing of the mesh")
        return parts if (scale == 1).all() else [part.moved(np.diag([*scale, 1.0])) for part in parts]

    def _trusts(self, path: Path) -> bool:
        return path.suffix.lower() == ".dae" and (self.trust_collada or self.files.shipped(path))

    def _heightmap(self, document: Document, shape: Any, context: str) -> list[MeshPart]:
        resolved = self.files.resolve(document, text_of(shape, "uri") or "", context)
        self.files.use(resolved)
        if resolved.path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            self.notes.add(f"{resolved.name}: heightmaps are read from PNG and JPEG; this ground is missing")
            return []
        if number(document, shape, "sampling", 1.0) != 1:
            self.notes.add(f"{resolved.name}: <sampling> is read as 1; the ground is the same")
        textures = shape.findall("texture")
        if len(textures) > 1:
            self.notes.add(f"{resolved.name}: of several textures the first is shown")
        skin, repeat = None, 1.0
        if textures:
            tell_unread(textures[0], self.notes)
            repeat = float(_positive(numbers(document, textures[0], "size", 1, (10.0,)), context)[0])
            uri = text_of(textures[0], "diffuse")
            if uri:
                skin = Skin(resolved.name, np.ones(3, np.float32), self.skins.picture(document, uri, context))
            self._tell_relief(document, text_of(textures[0], "normal"), context)
        with CountedFile(resolved.path, max_bytes=256 * MIB, what="heightmap") as handle:
            data = handle.read()
        size = numbers(document, shape, "size", 3, (1.0, 1.0, 1.0))
        position = numbers(document, shape, "pos", 3, (0.0, 0.0, 0.0))
        return [read_heightmap(data, f"{context}: {resolved.path.name}", size, position, skin, repeat)]

    def _tell_relief(self, document: Document, uri: str | None, context: str) -> None:
        """Gazebo asks for a heightmap's normal map; one that is flat, of a single colour, changes nothing."""
        if not uri:
            return
        path = self.files.resolve(document, uri, context).path
        with CountedFile(path, max_bytes=256 * MIB, what="normal map") as handle:
            picture = decode(handle.read(), f"{context}: {path.name}")
        if (picture != picture[0, 0]).any():
            self.notes.add("<texture>: <normal> maps are not honoured")


def _plane(document: Document, shape: Any, context: str) -> list[MeshPart]:
    size = _positive(numbers(document, shape, "size", 2, (1.0, 1.0)), context)
    normal = numbers(document, shape, "normal", 3, (0.0, 0.0, 1.0))
    if not np.linalg.norm(normal) > 0:
        raise WorldError(f"{context}: the plane's normal has no length")
    return [primitives.plane(size, normal)]


def _submesh(document: Document, element: Any, parts: list[MeshPart], context: str) -> list[MeshPart]:
    """The parts of that name; with <center> the middle of their common box lies in the visual's origin."""
    name = text_of(element, "name") or ""
    chosen = [part for part in parts if part.name == name]
    if not chosen:
        there = sorted({part.name for part in parts})
        listed = ", ".join(map(repr, there[:10])) + (f" and {len(there) - 10} more" if len(there) > 10 else "")
        raise WorldError(f"{context}: has no submesh {name!r}; it has {listed or 'none'}")
    if boolean(document, element, "center", False):
        boxes = np.array([part.bounds() for part in chosen if len(part.faces)])
        if len(boxes):
            middle = np.eye(4)
            middle[:3, 3] = -(boxes[:, 0].min(axis=0) + boxes[:, 1].max(axis=0)) / 2
            chosen = [part.moved(middle) for part in chosen]
    return chosen


def _radius(document: Document, shape: Any, context: str) -> float:
    return float(_positive(numbers(document, shape, "radius", 1), context)[0])


def _length(document: Document, shape: Any, context: str) -> float:
    return float(_positive(numbers(document, shape, "length", 1), context)[0])


def _positive(values: Array, context: str) -> Array:
    if (values <= 0).any():
        raise WorldError(f"{context}: sizes must be positive, not {values.tolist()}")
    return values

"""How visuals look: colour and texture of SDF's `<material>`, and the pictures that meshes and heightmaps ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.safexml import MIB, CountedFile
from aerialworld_core.world.mesh import ImageFinder, Picture, Skin
from aerialworld_core.world.sdf import Document, Notes, boolean, colour, text_of
from aerialworld_core.world.textures import Pictures
from aerialworld_core.world.unhonoured import tell_unread
from aerialworld_core.world.uris import Files, Resolved


class Skins:
    """Reads materials; a texture file that several of them name is read once."""

    def __init__(self, files: Files, notes: Notes, pictures: Pictures) -> None:
        self.files, self.notes, self.pictures = files, notes, pictures
        self._read: dict[Path, Picture] = {}

    def skin(self, document: Document, visual: Any, context: str) -> Skin | None:
        """A visual's own material, which replaces the mesh's; None where it has none, or only a script."""
        element = visual.find("material")
        if element is None:
            return None
        tell_unread(element, self.notes)
        uri = text_of(element, "pbr/metal/albedo_map") or text_of(element, "pbr/specular/albedo_map")
        if element.find("script") is not None and element.find("diffuse") is None and not uri:
            return None
        # Without <diffuse> a material is black in SDF and in Gazebo.
        diffuse = colour(document, element, "diffuse", (0.0, 0.0, 0.0)).astype(np.float32)
        picture = self.picture(document, uri, context) if uri else None
        # Gazebo Harmonic heeds <double_sided> only beside an albedo map; here it means what SDF says.
        both_sides = boolean(document, element, "double_sided", False)
        return Skin(visual.get("name", ""), diffuse, picture, both_sides)

    def picture(self, document: Document, uri: str, context: str) -> Picture:
        """The texture that `uri` means in `document`. Raises WorldError where there is none."""
        return self._opened(self.files.resolve(document, uri, context), context)

    def collada(self, mesh: Resolved, context: str) -> ImageFinder:
        """Where Gazebo looks for a COLLADA file's pictures: beside it, then in ../materials/textures."""

        def find(name: str) -> Picture:
            for folder in (mesh.path.parent, mesh.path.parent.parent / "materials" / "textures"):
                found = self.files.beside(mesh, folder, name)
                if found is not None:
                    return self._opened(found, context)
            raise WorldError(
                f"{context}: {mesh.path.name}: its image {name!r} is neither beside it nor in ../materials/textures "
                "(within the model's folder)"
            )

        return find

    def _opened(self, resolved: Resolved, context: str) -> Picture:
        self.files.use(resolved)
        if resolved.path not in self._read:
            with CountedFile(resolved.path, max_bytes=256 * MIB, what="texture") as handle:
                data = handle.read()
            self._read[resolved.path] = self.pictures.decoded(data, f"{context}: {resolved.path.name}")
        return self._read[resolved.path]

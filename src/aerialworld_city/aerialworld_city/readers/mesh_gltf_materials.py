"""The materials of a glTF file as the city knows them: base colour, opacity and where the photograph lies."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Material, Skipped
from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.frames import Array

if TYPE_CHECKING:
    from aerialworld_city.readers.mesh_gltf import Gltf

_REPEAT = 10497


@dataclass(frozen=True)
class _Entry:
    """`texcoord` is the set of the base colour's texture, None without one; `matrix` and `offset` of its transform:
    uv' = matrix uv + offset."""

    material: Material
    texcoord: int | None = None
    offset: tuple[float, float] = (0.0, 0.0)
    matrix: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))


class GltfMaterials:
    """Read when they are first asked for; `Gltf.parts` turns what is broken in them into an InputError."""

    def __init__(self, gltf: Gltf) -> None:
        self._gltf = gltf
        self._entries: dict[int, _Entry] = {}
        self._reported: set[int] = set()

    def material(self, index: int) -> Material:
        return self._entry(index).material

    def texcoord(self, index: int) -> int | None:
        """Which of a mesh's texture coordinates the material's photograph uses."""
        return self._entry(index).texcoord

    def turned(self, index: int, uv: NDArray[Any]) -> Array:
        """Texture coordinates (V, 2) as glTF has them (v runs down), moved as the material says, origin bottom-left."""
        entry = self._entry(index)
        moved = uv.astype(np.float64) @ np.array(entry.matrix).T + entry.offset
        return np.column_stack([moved[:, 0], 1.0 - moved[:, 1]])

    def _entry(self, index: int) -> _Entry:
        if index not in self._entries:
            self._entries[index] = self._read(index)
        return self._entries[index]

    def _read(self, index: int) -> _Entry:
        gltf = self._gltf
        material = gltf.json["materials"][index]
        surface = material.get("pbrMetallicRoughness", {})
        if "pbrMetallicRoughness" not in material and "KHR_materials_pbrSpecularGlossiness" in material.get(
            "extensions", {}
        ):
            old = material["extensions"]["KHR_materials_pbrSpecularGlossiness"]
            surface = {"baseColorFactor": old.get("diffuseFactor", [1, 1, 1, 1])}
            surface |= {"baseColorTexture": old["diffuseTexture"]} if "diffuseTexture" in old else {}
        factor = np.array(surface.get("baseColorFactor", [1, 1, 1, 1]), np.float64)
        if factor.shape != (4,) or not np.isfinite(factor).all() or (factor < 0).any():
            raise InputError(f"{gltf.path}: material {index}: baseColorFactor {factor} is no colour")
        red, green, blue = (round(float(c), 6) for c in _srgb(np.clip(factor[:3], 0, 1)))
        opacity = min(float(factor[3]), 1.0) if material.get("alphaMode") == "BLEND" else 1.0
        if opacity == 0.0:
            gltf.remarks.note(f"{gltf.name}: materials that are wholly transparent are drawn opaque")
            opacity = 1.0
        plain = Material(None, (red, green, blue), opacity)
        texture = surface.get("baseColorTexture")
        if texture is None:
            return _Entry(plain)
        try:
            image, span = self._image(gltf.json["textures"][texture["index"]])
        except InputError as error:
            reason = str(error).replace(f"{gltf.path}: ", "")
            name = str(material.get("name", index))[:80]
            gltf.remarks.skipped.append(Skipped(gltf.name, f"material {name}", reason))
            return _Entry(plain)
        if (np.abs(factor[:3] - 1) > 0.01).any():
            gltf.remarks.note(f"{gltf.name}: colours that tint a photograph are not applied")
        change = texture.get("extensions", {}).get("KHR_texture_transform", {})
        offset, scale = change.get("offset", [0, 0]), change.get("scale", [1, 1])
        # KHR_texture_transform: scaled, turned counter-clockwise as seen on the image (v runs down), moved.
        cos, sin = math.cos(change.get("rotation", 0)), math.sin(change.get("rotation", 0))
        return _Entry(
            Material(image, plain.colour, opacity, span),
            int(change.get("texCoord", texture.get("texCoord", 0))),
            (float(offset[0]), float(offset[1])),
            ((cos * scale[0], sin * scale[1]), (-sin * scale[0], cos * scale[1])),
        )

    def _image(self, texture: dict[str, Any]) -> tuple[str, tuple[int, int] | None]:
        """The picture's file, relative to the mesh file's folder, and the part of it. Raises InputError."""
        gltf = self._gltf
        sampler = gltf.json["samplers"][texture["sampler"]] if "sampler" in texture else {}
        if sampler.get("wrapS", _REPEAT) != _REPEAT or sampler.get("wrapT", _REPEAT) != _REPEAT:
            gltf.remarks.note(f"{gltf.name}: textures that end at their border are repeated")
        if "source" not in texture:
            raise InputError("its texture is in a format that is not read; export it with PNG or JPEG")
        image = gltf.json["images"][texture["source"]]
        if "bufferView" in image:
            start, size, buffer, _ = gltf.view_place(int(image["bufferView"]))
            place = gltf.buffer_file(buffer)
            if place is None:
                raise InputError("its picture lies in a base64 buffer, which is not read; export it as .glb")
            path, begin = place
            return self._relative(path), (begin + start, size)
        uri = str(image["uri"])
        if not uri.startswith("data:"):
            return self._relative(gltf.beside(uri)), None
        if not uri[5:40].startswith(("image/png;base64,", "image/jpeg;base64,")):
            raise UnsafeInputError(f"its picture is {uri[:30]!r}…, not PNG or JPEG as base64")
        for text in (uri, uri.replace("/", "\\/")):
            at = gltf.data.find(text.encode())
            if at >= 0:
                return gltf.path.name, (at, len(text))
        raise InputError("its picture's text is escaped in a way that is not read; export it as .glb")

    def _relative(self, path: Path) -> str:
        folder = os.path.abspath(self._gltf.path.parent)
        return os.path.relpath(os.path.abspath(path), folder).replace(os.sep, "/")


def _srgb(linear: Array) -> Array:
    """IEC 61966-2-1; glTF's factors are linear."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

"""Binary glTF 2.0 as Gazebo shows it: coordinates as they stand (z up is not turned), triangles, base colour.

Follows the Khronos glTF 2.0 specification, sections 3 and 4. Nothing outside the file is read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import UnsafeInputError, WorldError
from aerialworld_core.frames import Array, rotation_from_quaternion
from aerialworld_core.world.mesh import MeshPart, Picture, Skin
from aerialworld_core.world.sdf import Notes
from aerialworld_core.world.textures import Pictures

_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_COUNTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_HARMLESS = {"KHR_materials_unlit", "KHR_materials_specular", "KHR_materials_ior"}
_MAX_DEPTH = 64


def read_glb(data: bytes, context: str, notes: Notes, pictures: Pictures) -> list[MeshPart]:
    """The parts of a GLB file, one per primitive, in the file's own axes; their arrays are views of `data`.

    Raises WorldError (not GLB, broken, an extension it requires) or UnsafeInputError (it refers to other files).
    """
    try:
        return list(_Glb(data, context, notes, pictures).parts())
    except (KeyError, IndexError, TypeError, ValueError, struct.error) as error:
        raise WorldError(f"{context}: broken glTF: {type(error).__name__}: {error}") from error


class _Glb:
    def __init__(self, data: bytes, context: str, notes: Notes, pictures: Pictures) -> None:
        self.context, self.notes, self.pictures = context, notes, pictures
        if data[:4] != b"glTF":
            raise WorldError(f"{context}: is not a binary glTF file (.glb)")
        version, length = struct.unpack_from("<II", data, 4)
        if version != 2 or length > len(data):
            raise WorldError(
                f"{context}: glTF version {version}, {length} of {len(data)} bytes: cut off or not version 2"
            )
        chunks: dict[int, memoryview] = {}
        offset = 12
        while offset + 8 <= length:
            size, kind = struct.unpack_from("<II", data, offset)
            if offset + 8 + size > length:
                raise WorldError(f"{context}: a chunk reaches beyond the file's end")
            chunks.setdefault(kind, memoryview(data)[offset + 8 : offset + 8 + size])
            offset += 8 + size + (-size % 4)
        if 0x4E4F534A not in chunks:
            raise WorldError(f"{context}: has no JSON chunk")
        self.json: dict[str, Any] = json.loads(bytes(chunks[0x4E4F534A]))
        self.binary = chunks.get(0x004E4942, memoryview(b""))
        for extension in self.json.get("extensionsRequired", []):
            if extension not in _HARMLESS:
                raise WorldError(
                    f"{context}: needs the glTF extension {extension}, which is not read; export without it"
                )
        self._visited: set[int] = set()
        self._materials: dict[int, Skin] = {}
        self._images: dict[int, Picture] = {}

    def parts(self) -> Iterator[MeshPart]:
        scenes = self.json.get("scenes", [])
        roots = scenes[self.json.get("scene", 0)].get("nodes", []) if scenes else range(len(self.json.get("nodes", [])))
        for root in roots:
            yield from self._node(root, np.eye(4), 0)

    def _node(self, index: int, above: Array, depth: int) -> Iterator[MeshPart]:
        if depth > _MAX_DEPTH:
            raise WorldError(f"{self.context}: nodes are nested more than {_MAX_DEPTH} deep")
        if index in self._visited:  # glTF's nodes are trees; shared children would multiply without bound
            raise WorldError(f"{self.context}: node {index} has two parents")
        self._visited.add(index)
        node = self.json["nodes"][index]
        matrix = above @ node_matrix(node)
        if "mesh" in node:
            mesh = self.json["meshes"][node["mesh"]]
            name = str(node.get("name") or mesh.get("name") or "")
            for primitive in mesh["primitives"]:
                yield from self._primitive(primitive, matrix, name)
        for child in node.get("children", []):
            yield from self._node(child, matrix, depth + 1)

    def _primitive(self, primitive: dict[str, Any], matrix: Array, name: str) -> Iterator[MeshPart]:
        if primitive.get("mode", 4) != 4:
            self.notes.add(f"{self.context}: points, lines, strips and fans are not read, only triangles")
            return
        attributes = primitive["attributes"]
        if "POSITION" not in attributes:
            return
        vertices = self._accessor(attributes["POSITION"])
        if "indices" in primitive:
            faces = self._accessor(primitive["indices"]).reshape(-1, 3)
        else:
            faces = np.arange(len(vertices), dtype=np.int32).reshape(-1, 3)
        if vertices.shape[1:] != (3,) or faces.dtype.kind not in "iu":
            raise WorldError(f"{self.context}: {name}: positions are no VEC3 or indices no whole numbers")
        if len(faces) and not 0 <= int(faces.min()) <= int(faces.max()) < len(vertices):
            raise WorldError(f"{self.context}: {name}: a face refers to vertex {faces.max()} of {len(vertices)}")
        if "COLOR_0" in attributes:
            self.notes.add(f"{self.context}: vertex colours are not shown")
        skin, texcoord = None, 0
        if "material" in primitive:
            skin, texcoord = self._material(primitive["material"])
        uv = None
        if f"TEXCOORD_{texcoord}" in attributes:
            uv = self._vectors(attributes[f"TEXCOORD_{texcoord}"], 2, len(vertices)).copy()
            if uv.dtype.kind != "f":
                uv = uv.astype(np.float32)
            np.subtract(1.0, uv[:, 1], out=uv[:, 1])  # glTF's v runs down
        normals = self._vectors(attributes["NORMAL"], 3, len(vertices)) if "NORMAL" in attributes else None
        yield MeshPart(vertices, faces, uv, normals, name, skin, matrix=matrix)

    def _vectors(self, accessor: int, width: int, count: int) -> NDArray[Any]:
        """One vector per vertex."""
        array = self._accessor(accessor)
        if array.shape != (count, width):
            raise WorldError(f"{self.context}: accessor {accessor} is {array.shape}, need {(count, width)}")
        return array

    def _view(self, index: int) -> tuple[memoryview, int]:
        view = self.json["bufferViews"][index]
        buffer = self.json["buffers"][view["buffer"]]
        if view["buffer"] != 0 or "uri" in buffer:
            raise UnsafeInputError(f"{self.context}: refers to a file outside itself; export as one .glb")
        start, size = int(view.get("byteOffset", 0)), int(view["byteLength"])
        if start < 0 or size < 0 or start + size > len(self.binary):
            raise WorldError(f"{self.context}: buffer view {index} reaches beyond the binary chunk")
        return self.binary[start : start + size], int(view.get("byteStride", 0))

    def _accessor(self, index: int) -> NDArray[Any]:
        accessor = self.json["accessors"][index]
        if "sparse" in accessor or "bufferView" not in accessor:
            raise WorldError(f"{self.context}: accessor {index} is sparse, which is not read; export without it")
        dtype = np.dtype(_TYPES[accessor["componentType"]]).newbyteorder("<")
        width, count = _COUNTS[accessor["type"]], int(accessor["count"])
        data, stride = self._view(accessor["bufferView"])
        offset = int(accessor.get("byteOffset", 0))
        step = stride or dtype.itemsize * width
        if step < dtype.itemsize * width:  # overlapping elements would make much of a small file
            raise WorldError(f"{self.context}: accessor {index}: byteStride {step} is less than an element has bytes")
        if count < 0 or offset < 0 or (count and offset + (count - 1) * step + dtype.itemsize * width > len(data)):
            raise WorldError(f"{self.context}: accessor {index} reaches beyond its buffer view")
        array: NDArray[Any] = np.ndarray((count, width), dtype, data, offset, (step, dtype.itemsize))
        if accessor.get("normalized") and dtype.kind in "iu":
            array = np.maximum(array / float(2 ** (8 * dtype.itemsize - (dtype.kind == "i")) - 1), -1.0)
        return array if width > 1 else array[:, 0]

    def _material(self, index: int) -> tuple[Skin, int]:
        material = self.json["materials"][index]
        surface = material.get("pbrMetallicRoughness", {})
        texture = surface.get("baseColorTexture")
        texcoord = int(texture.get("texCoord", 0)) if texture else 0
        if index not in self._materials:
            if material.get("alphaMode", "OPAQUE") != "OPAQUE":
                self.notes.add(f"{self.context}: transparency is shown as opaque")
            if texture and "KHR_texture_transform" in texture.get("extensions", {}):
                self.notes.add(f"{self.context}: KHR_texture_transform is not applied")
            factor = np.array(surface.get("baseColorFactor", [1, 1, 1, 1])[:3], dtype=np.float32)
            if factor.shape != (3,) or not np.isfinite(factor).all() or (factor < 0).any():
                raise WorldError(f"{self.context}: material {index}: baseColorFactor {factor} is no colour")
            self._unread(material, surface)
            image = self._image(self.json["textures"][texture["index"]]["source"]) if texture else None
            name = str(material.get("name", f"material_{index}"))
            self._materials[index] = Skin(name, factor, image)
        return self._materials[index], texcoord

    def _unread(self, material: dict[str, Any], surface: dict[str, Any]) -> None:
        """What a material asks for and does not get, once for the file."""
        for name in ("normalTexture", "occlusionTexture", "emissiveTexture"):
            if name in material:
                self.notes.add(f"{self.context}: {name} is not shown")
        if "metallicRoughnessTexture" in surface:
            self.notes.add(f"{self.context}: metallicRoughnessTexture is not shown")
        if any(material.get("emissiveFactor", ())):
            self.notes.add(f"{self.context}: emissiveFactor is not shown")
        if material.get("doubleSided"):
            self.notes.add(f"{self.context}: doubleSided materials are seen from the front only, as in Gazebo")

    def _image(self, index: int) -> Picture:
        if index not in self._images:
            image = self.json["images"][index]
            if "bufferView" not in image:
                raise UnsafeInputError(f"{self.context}: image {index} lies outside the file; embed it")
            data = self._view(image["bufferView"])[0]
            self._images[index] = self.pictures.decoded(bytes(data), f"{self.context}: image {index}")
        return self._images[index]


def node_matrix(node: dict[str, Any]) -> Array:
    """(4, 4) from a glTF node to its parent (glTF 2.0, 5.25). Raises ValueError: not finite, or flattens space."""
    if "matrix" in node:
        matrix = np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T  # column-major in glTF
    else:
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_from_quaternion(node.get("rotation", [0, 0, 0, 1])) * node.get("scale", [1, 1, 1])
        matrix[:3, 3] = node.get("translation", [0, 0, 0])
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:3, :3])) < 1e-18:
        raise ValueError(f"node {node.get('name', '')!r} has a transform that is not finite or flattens space")
    return matrix

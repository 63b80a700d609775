"""glTF 2.0, as .glb or .gltf: triangles with their nodes' transforms, texture coordinates and materials.

Follows the Khronos glTF 2.0 specification, sections 3 to 5. What a file refers to is read only below the source's
folder. Pictures are not decoded here: materials name the file, or the part of a file, where they lie.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.readers.mesh_gltf_materials import GltfMaterials
from aerialworld_city.readers.mesh_tile import MAX_TRIANGLES, Remarks
from aerialworld_city.readers.mtl import OutsideError, inside
from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.files import parse_json
from aerialworld_core.frames import Array
from aerialworld_core.safexml import MIB, CountedFile
from aerialworld_core.world.glb import node_matrix

MAX_GLB_BYTES = 1024 * MIB
#: The text of a .gltf or of a .glb's first chunk; pictures and buffers inside it take four times their size to read.
MAX_JSON_BYTES = 128 * MIB
#: Commas and brackets in that text: each may become an object in memory.
MAX_JSON_ITEMS = 5_000_000
#: Triangles after all nodes have placed their meshes, beyond those that the file has bytes for (eight each at least).
MAX_COPIES = 2_000_000
_MAX_DEPTH = 64
_TYPES = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
#: Extensions that change nothing in what is read here, or that are read.
_KNOWN = {
    "KHR_materials_unlit", "KHR_materials_specular", "KHR_materials_ior", "KHR_materials_clearcoat",
    "KHR_materials_emissive_strength", "KHR_mesh_quantization", "KHR_texture_transform", "KHR_lights_punctual",
}  # fmt: skip
_TRIANGLES, _STRIP, _FAN = 4, 5, 6


@dataclass(eq=False)
class GltfPart:
    """The triangles of one primitive of one node.

    vertices (V, 3) float64 in the scene; faces (F, 3) int64; uv (V, 2) float64, origin bottom-left, or None;
    material -1 for none; node a number for each node; name the node's; step between 32-bit coordinates, metres
    """

    vertices: Array
    faces: NDArray[np.int64]
    uv: Array | None
    material: int
    node: int
    name: str
    step: float = 0.0


class Gltf:
    """One glTF file. `materials` are those of the whole file; `generator` is what its asset states.

    Raises InputError (missing, broken, an extension it needs, a buffer that is not there) or UnsafeInputError (too
    large, compressed, references that lead out of `root`).
    """

    def __init__(self, path: Path, name: str, root: Path, remarks: Remarks) -> None:
        self.path, self.name, self.root, self.remarks = path, name, root, remarks
        with CountedFile(path, max_bytes=MAX_GLB_BYTES, what="glTF file") as handle:
            head = handle.read(12)
            if head[:4] != b"glTF" and path.stat().st_size > MAX_JSON_BYTES:
                raise UnsafeInputError(f"{path}: a .gltf above {MAX_JSON_BYTES // MIB} MiB; export it as .glb")
            self.data = head + handle.read()
        self.binary: tuple[int, int] | None = None
        text = self._chunks() if head[:4] == b"glTF" else self.data
        if len(text) > MAX_JSON_BYTES or sum(text.count(c) for c in (b",", b"[", b"{")) > MAX_JSON_ITEMS:
            raise UnsafeInputError(f"{path}: its JSON is too large; export it with fewer nodes, as .glb")
        try:
            self.json: dict[str, Any] = parse_json(text)
            self.generator = str(self.json["asset"].get("generator", ""))
            version = str(self.json["asset"]["version"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not a glTF file: {error}") from error
        if not version.startswith("2."):
            raise InputError(f"{path}: glTF version {version[:20]}; only 2 is read, export it again")
        for extension in self.json.get("extensionsRequired", []):
            if extension not in _KNOWN:
                raise InputError(f"{path}: needs the glTF extension {extension}, which is not read; export without it")
        self._buffers: dict[int, bytes | memoryview] = {}
        self._visited: set[int] = set()
        self._left: int | None = None
        self.materials = GltfMaterials(self)

    def parts(self) -> list[GltfPart]:
        """All triangles of the file's scene (all nodes, where it has none)."""
        try:
            scenes = self.json.get("scenes", [])
            nodes = self.json.get("nodes", [])
            roots = scenes[self.json.get("scene", 0)].get("nodes", []) if scenes else self._roots(nodes)
            return [part for root in roots for part in self._node(root, np.eye(4), 0)]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
            raise InputError(f"{self.path}: broken glTF: {type(error).__name__}: {error}") from error

    def _chunks(self) -> bytes:
        """The JSON chunk; notes where the binary chunk lies."""
        if len(self.data) < 12:
            raise InputError(f"{self.path}: cut off: {len(self.data)} bytes are no .glb")
        version, length = struct.unpack_from("<II", self.data, 4)
        if version != 2 or length > len(self.data):
            raise InputError(
                f"{self.path}: glTF version {version}, {length} of {len(self.data)} bytes: cut off or not version 2"
            )
        found: dict[int, tuple[int, int]] = {}
        offset = 12
        while offset + 8 <= length and len(found) < 2:
            size, kind = struct.unpack_from("<II", self.data, offset)
            if offset + 8 + size > length:
                raise InputError(f"{self.path}: a chunk reaches beyond the file's end")
            found.setdefault(kind, (offset + 8, size))
            offset += 8 + size + (-size % 4)
        if 0x4E4F534A not in found:
            raise InputError(f"{self.path}: has no JSON chunk")
        self.binary = found.get(0x004E4942)
        start, size = found[0x4E4F534A]
        return self.data[start : start + size]

    @staticmethod
    def _roots(nodes: list[Any]) -> list[int]:
        children = {c for node in nodes for c in node.get("children", [])}
        return [i for i in range(len(nodes)) if i not in children]

    def _node(self, index: int, above: Array, depth: int) -> Iterator[GltfPart]:
        if depth > _MAX_DEPTH:
            raise UnsafeInputError(f"{self.path}: nodes are nested more than {_MAX_DEPTH} deep")
        if index in self._visited or index < 0:  # nodes are trees; shared children would multiply without bound
            raise UnsafeInputError(f"{self.path}: node {index} has two parents or none that can be")
        self._visited.add(index)
        node = self.json["nodes"][index]
        matrix = above @ node_matrix(node)
        if "EXT_mesh_gpu_instancing" in node.get("extensions", {}):
            self.remarks.note(f"{self.name}: EXT_mesh_gpu_instancing is not read; only the first instance is there")
        if "mesh" in node:
            mesh = self.json["meshes"][node["mesh"]]
            name = str(node.get("name") or mesh.get("name") or "")
            for primitive in mesh["primitives"]:
                yield from self._primitive(primitive, matrix, index, name)
        for child in node.get("children", []):
            yield from self._node(child, matrix, depth + 1)

    def _primitive(self, primitive: dict[str, Any], matrix: Array, node: int, name: str) -> Iterator[GltfPart]:
        mode = primitive.get("mode", _TRIANGLES)
        attributes = primitive["attributes"]
        if mode not in (_TRIANGLES, _STRIP, _FAN) or "POSITION" not in attributes:
            self.remarks.note(f"{self.name}: points and lines are not read, only triangles")
            return
        count = int(self.json["accessors"][primitive.get("indices", attributes["POSITION"])]["count"])
        if self._left is None:
            stored = sum(len(self._buffer(i)) for i in range(len(self.json["buffers"])))
            self._left = min(MAX_COPIES + stored // 8, MAX_TRIANGLES)
        self._left -= count // 3 if mode == _TRIANGLES else max(count - 2, 0)
        if self._left < 0:
            raise UnsafeInputError(
                f"{self.path}: its nodes repeat meshes to more than 10 million triangles, or 2 million beyond what its "
                "bytes can hold; split it"
            )
        vertices = self.accessor(attributes["POSITION"], 3).astype(np.float64)
        step = step_of(vertices) * float(np.cbrt(abs(np.linalg.det(matrix[:3, :3]))))
        if "indices" in primitive:
            order = self.accessor(primitive["indices"], 1).astype(np.int64)
        else:
            order = np.arange(len(vertices))
        faces = _faces(order, mode)
        if len(faces) and faces.max() >= len(vertices):
            raise InputError(f"{self.path}: node {name!r}: a face names vertex {faces.max()} of {len(vertices)}")
        if "COLOR_0" in attributes:
            self.remarks.note(f"{self.name}: vertex colours are not used")
        material = int(primitive.get("material", -1))
        uv = None
        if material >= 0:
            texcoord = self.materials.texcoord(material)
            if texcoord is not None and f"TEXCOORD_{texcoord}" in attributes:
                uv = self.materials.turned(material, self.accessor(attributes[f"TEXCOORD_{texcoord}"], 2))
                if len(uv) != len(vertices):
                    raise InputError(f"{self.path}: node {name!r}: {len(uv)} texture coordinates, not {len(vertices)}")
        if np.linalg.det(matrix[:3, :3]) < 0:  # a mirror turns faces inside out
            faces = faces[:, ::-1]
        with np.errstate(invalid="ignore", over="ignore"):
            vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
        yield GltfPart(vertices, faces, uv, material, node, name, step)

    def accessor(self, index: int, width: int) -> NDArray[Any]:
        """(N, width), or (N,) for width 1; normalised integers as fractions."""
        accessor = self.json["accessors"][index]
        if "sparse" in accessor or "bufferView" not in accessor:
            raise InputError(f"{self.path}: accessor {index} is sparse, which is not read; export without it")
        if _WIDTHS.get(accessor["type"]) != width:
            raise InputError(f"{self.path}: accessor {index} is of type {accessor['type']}, not one of {width} numbers")
        dtype = np.dtype(_TYPES[accessor["componentType"]]).newbyteorder("<")
        count, offset = int(accessor["count"]), int(accessor.get("byteOffset", 0))
        data, stride = self._view(int(accessor["bufferView"]))
        step = stride or dtype.itemsize * width
        end = offset + (count - 1) * step + dtype.itemsize * width if count else 0
        if count < 0 or offset < 0 or step < dtype.itemsize * width or end > len(data):
            raise InputError(f"{self.path}: accessor {index} reaches beyond its buffer view")
        array: NDArray[Any] = np.ndarray((count, width), dtype, data, offset, (step, dtype.itemsize))
        if accessor.get("normalized") and dtype.kind in "iu":
            array = np.maximum(array / float(2 ** (8 * dtype.itemsize - (dtype.kind == "i")) - 1), -1.0)
        return array if width > 1 else array[:, 0]

    def _view(self, index: int) -> tuple[memoryview, int]:
        start, size, buffer, stride = self.view_place(index)
        return memoryview(self._buffer(buffer))[start : start + size], stride

    def view_place(self, index: int) -> tuple[int, int, int, int]:
        """Offset and size of a buffer view in its buffer, the buffer and the stride; checked against the buffer."""
        view = self.json["bufferViews"][index]
        if "EXT_meshopt_compression" in view.get("extensions", {}):
            raise InputError(f"{self.path}: is compressed (EXT_meshopt_compression); export without compression")
        buffer, start, size = int(view["buffer"]), int(view.get("byteOffset", 0)), int(view["byteLength"])
        if buffer < 0 or start < 0 or size < 0 or start + size > len(self._buffer(buffer)):
            raise InputError(f"{self.path}: buffer view {index} reaches beyond its buffer")
        return start, size, buffer, int(view.get("byteStride", 0))

    def _buffer(self, index: int) -> bytes | memoryview:
        if index not in self._buffers:
            uri = self.json["buffers"][index].get("uri")
            if uri is None:
                if index != 0 or self.binary is None:
                    raise InputError(f"{self.path}: buffer {index} is nowhere: no uri and no binary chunk")
                start, size = self.binary
                self._buffers[index] = memoryview(self.data)[start : start + size]
            elif str(uri).startswith("data:"):
                try:
                    self._buffers[index] = base64.b64decode(str(uri).partition(",")[2], validate=True)
                except (binascii.Error, ValueError) as error:
                    raise InputError(f"{self.path}: buffer {index} is broken base64: {error}") from error
            else:
                with CountedFile(self.beside(str(uri)), max_bytes=MAX_GLB_BYTES, what="glTF buffer") as handle:
                    self._buffers[index] = handle.read()
                if sum(len(b) for b in self._buffers.values()) > MAX_GLB_BYTES:
                    raise UnsafeInputError(f"{self.path}: its buffers hold more than {MAX_GLB_BYTES // MIB} MiB")
        return self._buffers[index]

    def beside(self, uri: str) -> Path:
        """The file that a URI names. Raises UnsafeInputError where it leads out of the source."""
        try:
            return inside(unquote(uri), self.path.parent, self.root)
        except OutsideError as error:
            raise UnsafeInputError(f"{self.path}: {uri[:80]!r}: {error}") from error

    def buffer_file(self, index: int) -> tuple[Path, int] | None:
        """The file in which a buffer's bytes lie as they are, and where it begins; None for base64."""
        uri = self.json["buffers"][index].get("uri")
        if uri is None:
            return (self.path, self.binary[0]) if self.binary else None
        return None if str(uri).startswith("data:") else (self.beside(str(uri)), 0)


def step_of(values: Array) -> float:
    """The distance between neighbouring 32-bit numbers at the largest of these."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.spacing(np.float32(min(float(finite.max()), 1e30)))) if len(finite) else 0.0


def _faces(order: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    """(F, 3) of a list, a strip (every second triangle is wound the other way) or a fan."""
    if mode == _TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == _FAN:
        return np.column_stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]])
    faces = np.column_stack([order[:-2], order[1:-1], order[2:]])
    faces[1::2] = faces[1::2][:, [1, 0, 2]]
    return faces

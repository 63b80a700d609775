"""Writing binary glTF 2.0 with embedded textures, in z-up coordinates: Gazebo loads a GLB as it is, unturned.

Everything is written opaque. A building is a shell: through a transparent pane nothing would be seen but culled back
faces, and Gazebo's sensors would disagree about it (LiDAR and segmentation replace materials, the camera blends). The
depth of a window is the depth of its glass for all of them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.writing.looks import Look, png
from aerialworld_city.writing.textures import Photo

_FLOAT, _UNSIGNED = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
#: Texture coordinates beyond this many repeats are moved back by whole ones, so that float32 keeps their fractions
#: (to a hundredth of a pixel of 2048 here; nearer ones stay, so that triangles share their corners).
_FAR_UV = 64.0
#: Where faces meet at more than about 45° the edge stays sharp.
_CREASE = 0.7


@dataclass(frozen=True)
class Plain:
    """One colour, sRGB 0-1. Equal names are equal colours."""

    name: str
    colour: tuple[float, float, float]


Skin = Look | Photo | Plain


@dataclass(eq=False)
class Part:
    """One skin's triangles: `positions`, `normals` (V, 3), `uv` (V, 2) with origin bottom-left (None: no texture),
    `indices` (T, 3). A part without skin is white."""

    skin: Skin | None
    positions: NDArray[Any]
    normals: NDArray[Any]
    uv: NDArray[Any] | None
    indices: NDArray[Any]


class _Buffer:
    """The binary chunk and what describes it."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        self.views.append({"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)})
        if target is not None:
            self.views[-1]["target"] = target
        self.blob.extend(data)
        return len(self.views) - 1

    def accessor(self, data: NDArray[Any], kind: str, target: int, **extra: Any) -> int:
        component = _UNSIGNED if data.dtype == np.uint32 else _FLOAT
        index = self.view(data.tobytes(), target)
        count = data.size if kind == "SCALAR" else len(data)
        self.accessors.append({"bufferView": index, "componentType": component, "count": count, "type": kind, **extra})
        return len(self.accessors) - 1

    def primitive(self, part: Part) -> dict[str, Any]:
        position = np.ascontiguousarray(part.positions, np.float32)
        bounds = {"min": position.min(axis=0).tolist(), "max": position.max(axis=0).tolist()}
        attributes = {
            "POSITION": self.accessor(position, "VEC3", _VERTICES, **bounds),
            "NORMAL": self.accessor(np.ascontiguousarray(part.normals, np.float32), "VEC3", _VERTICES),
        }
        if part.uv is not None:
            # glTF counts v from the top.
            uv = np.column_stack([part.uv[:, 0], 1.0 - part.uv[:, 1]]).astype(np.float32)
            attributes["TEXCOORD_0"] = self.accessor(uv, "VEC2", _VERTICES)
        indices = self.accessor(np.ascontiguousarray(part.indices, np.uint32), "SCALAR", _INDICES)
        return {"attributes": attributes, "indices": indices}


def write_glb(parts: Sequence[Part], name: str = "mesh") -> bytes:
    """The file's bytes; equal parts give equal bytes. Parts without triangles are left out.

    `name` should differ between files: older releases of Gazebo's loader name textures by scene and material.
    """
    buffer = _Buffer()
    primitives: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    for part in parts:
        if len(part.indices) == 0:
            continue
        primitive = buffer.primitive(part)
        if part.skin is not None:
            key = f"{type(part.skin).__name__} {part.skin.name}"
            if key not in numbers:
                numbers[key] = len(materials)
                materials.append(_material(part.skin, buffer, images))
            primitive["material"] = numbers[key]
        primitives.append(primitive)
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "AerialWorld"},
        "scene": 0,
        "scenes": [{"name": name, "nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "meshes": [{"name": name, "primitives": primitives}],
        "materials": materials,
        "textures": [{"source": i, "sampler": 0} for i in range(len(images))],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}] if images else [],
        "images": images,
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.blob) + -len(buffer.blob) % 4}],
    }
    # glTF allows no empty lists.
    return _packed({key: value for key, value in document.items() if value != []}, buffer.blob)


def _packed(document: dict[str, Any], blob: bytearray) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    blob.extend(b"\0" * (-len(blob) % 4))
    total = 12 + 8 + len(text) + 8 + len(blob)
    header = struct.pack("<III", 0x46546C67, 2, total)
    json_chunk = struct.pack("<II", len(text), 0x4E4F534A) + text
    return header + json_chunk + struct.pack("<II", len(blob), 0x004E4942) + bytes(blob)


def _material(skin: Skin, buffer: _Buffer, images: list[dict[str, Any]]) -> dict[str, Any]:
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.95}
    if isinstance(skin, Plain):
        surface["baseColorFactor"] = [*(round(float(v), 6) for v in linear(skin.colour)), 1.0]
    else:
        mime, data = (skin.mime, skin.data) if isinstance(skin, Photo) else ("image/png", png(skin.texture))
        surface["baseColorTexture"] = {"index": len(images)}
        images.append({"bufferView": buffer.view(data), "mimeType": mime, "name": skin.name})
    return {"name": skin.name, "pbrMetallicRoughness": surface}


def linear(colour: Sequence[float]) -> NDArray[np.float64]:
    """Linear light of an sRGB colour 0-1 (IEC 61966-2-1), as glTF's and Gazebo's colour factors are."""
    c = np.clip(np.asarray(colour, np.float64), 0.0, 1.0)
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def flat_part(skin: Skin | None, triangles: NDArray[Any], normals: NDArray[Any], uv: NDArray[Any] | None) -> Part:
    """A part with each face's own normal: triangles (T, 3, 3), normals (T, 3), uv (T, 3, 2).

    Corners of one face that share position, normal and texture place are written once.
    """
    return _joined(skin, triangles, np.repeat(normals, 3, axis=0), uv)


def smooth_part(skin: Skin | None, triangles: NDArray[Any], uv: NDArray[Any] | None = None) -> Part:
    """A part of one rolling surface: normals are the area-weighted mean of the faces around a corner; steep faces (a
    kerb) and level ones do not round each other, and a face that is bent from the mean by over 45° keeps its own.

    `triangles` (T, 3, 3); `uv` (T, 3, 2), by default the look laid in plan.
    """
    face = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    steep = np.abs(_unit(face)[:, 2]) < _CREASE
    points = np.column_stack([triangles.reshape(-1, 3), np.repeat(steep, 3)]).astype(np.float32) + np.float32(0.0)
    corner, count = grouped(points)
    normals = np.empty((count, 3))
    for axis in range(3):
        normals[:, axis] = np.bincount(corner, np.repeat(face[:, axis], 3), count)
    each = np.repeat(_unit(face), 3, axis=0)
    mean = _unit(normals)[corner]
    mean = np.where((mean * each).sum(axis=1, keepdims=True) > _CREASE, mean, each)
    if uv is None and isinstance(skin, Look):
        uv = triangles[:, :, :2] / skin.metres
    return _joined(skin, triangles, mean, uv)


def welded_part(triangles: NDArray[Any]) -> Part:
    """A part for collisions: (T, 3, 3), corners at one place are one vertex, faces without area left out; no skin."""
    points = triangles.reshape(-1, 3).astype(np.float32) + np.float32(0.0)
    corner, count = grouped(points)
    first = np.zeros(count, np.int64)
    first[corner[::-1]] = np.arange(len(corner))[::-1]
    indices = corner.reshape(-1, 3)
    solid = (indices[:, 0] != indices[:, 1]) & (indices[:, 1] != indices[:, 2]) & (indices[:, 2] != indices[:, 0])
    indices = indices[solid]
    used, indices = np.unique(indices, return_inverse=True)
    indices = indices.reshape(-1, 3)
    vertices = points[first[used]]
    corners = vertices[indices].astype(np.float64)
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.empty((len(vertices), 3))
    for axis in range(3):
        normals[:, axis] = np.bincount(indices.reshape(-1), np.repeat(face[:, axis], 3), len(vertices))
    return Part(None, vertices, _unit(normals), None, indices)


def near_uv(uv: NDArray[Any]) -> NDArray[np.float64]:
    """(T, 3, 2) texture coordinates; those of triangles that lie far out are moved back by whole repeats."""
    uv = np.asarray(uv, np.float64)
    far = np.abs(uv).max(axis=1) > _FAR_UV
    return uv - np.where(far, np.floor(uv.min(axis=1)), 0.0)[:, None]


def grouped(rows: NDArray[np.float32]) -> tuple[NDArray[np.int64], int]:
    """The number (N,) of each row's value among the different ones, in order of first appearance, and how many."""
    width = rows.shape[1] + rows.shape[1] % 2
    padded = np.zeros((len(rows), width), np.float32)
    padded[:, : rows.shape[1]] = rows
    words = padded.view(np.uint64)
    key = np.zeros(len(rows), np.uint64)
    for column in range(words.shape[1]):  # splitmix64's steps; the result is compared below
        key = (key ^ words[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
        key *= np.uint64(0xBF58476D1CE4E5B9)
        key ^= key >> np.uint64(32)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    if not np.array_equal(words[first[inverse]], words):  # two values with one key: once in 10^8 cities
        _, first, inverse = np.unique(words, axis=0, return_index=True, return_inverse=True)
        inverse = inverse.reshape(-1)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse], len(first)


def _joined(skin: Skin | None, triangles: NDArray[Any], normals: NDArray[Any], uv: NDArray[Any] | None) -> Part:
    """Corners (3 T) with normals (3 T, 3); equal ones become one vertex."""
    columns = [triangles.reshape(-1, 3), normals]
    if isinstance(skin, Plain):
        uv = None
    if uv is not None:
        columns.append(near_uv(uv).reshape(-1, 2))
    rows = np.concatenate(columns, axis=1, dtype=np.float32) + np.float32(0.0)  # −0 and +0 are one value
    number, count = grouped(rows)
    first = np.zeros(count, np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]
    kept = rows[first]
    return Part(skin, kept[:, :3], kept[:, 3:6], kept[:, 6:] if uv is not None else None, number.reshape(-1, 3))


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """Unit vectors; up where there is no length."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])

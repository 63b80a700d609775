"""Writing binary glTF 2.0 with embedded textures, in z-up coordinates: Gazebo loads a GLB as it is, unturned."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.writing.looks import Look, png

_FLOAT, _UNSIGNED = 5126, 5125
_VERTICES, _INDICES = 34962, 34963


@dataclass(eq=False)
class Part:
    """One look's triangles: `positions`, `normals` (V, 3), `uv` (V, 2) with origin bottom-left, `indices` (T, 3)."""

    look: Look
    positions: NDArray[Any]
    normals: NDArray[Any]
    uv: NDArray[Any]
    indices: NDArray[Any]


def write_glb(parts: list[Part]) -> bytes:
    """The file's bytes; equal parts give equal bytes. Parts without triangles are left out."""
    blob = bytearray()
    views: list[dict[str, int]] = []
    accessors: list[dict[str, Any]] = []

    def view(data: bytes, target: int | None = None) -> int:
        blob.extend(b"\0" * (-len(blob) % 4))
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(data)})
        if target is not None:
            views[-1]["target"] = target
        blob.extend(data)
        return len(views) - 1

    def accessor(data: NDArray[Any], kind: str, target: int, **extra: Any) -> int:
        component = _UNSIGNED if data.dtype == np.uint32 else _FLOAT
        index = view(data.tobytes(), target)
        count = data.size if kind == "SCALAR" else len(data)
        accessors.append({"bufferView": index, "componentType": component, "count": count, "type": kind, **extra})
        return len(accessors) - 1

    primitives: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for part in parts:
        if len(part.indices) == 0:
            continue
        position = np.ascontiguousarray(part.positions, np.float32)
        # glTF counts v from the top.
        uv = np.column_stack([part.uv[:, 0], 1.0 - part.uv[:, 1]]).astype(np.float32)
        bounds = {"min": position.min(axis=0).tolist(), "max": position.max(axis=0).tolist()}
        primitives.append(
            {
                "attributes": {
                    "POSITION": accessor(position, "VEC3", _VERTICES, **bounds),
                    "NORMAL": accessor(np.ascontiguousarray(part.normals, np.float32), "VEC3", _VERTICES),
                    "TEXCOORD_0": accessor(uv, "VEC2", _VERTICES),
                },
                "indices": accessor(np.ascontiguousarray(part.indices, np.uint32), "SCALAR", _INDICES),
                "material": len(materials),
            }
        )
        images.append({"bufferView": view(png(part.look.texture)), "mimeType": "image/png", "name": part.look.name})
        materials.append(
            {
                "name": part.look.name,
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": len(materials)},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.95,
                },
            }
        )
    document = {
        "asset": {"version": "2.0", "generator": "AerialWorld"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "materials": materials,
        "textures": [{"source": i, "sampler": 0} for i in range(len(images))],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}],
        "images": images,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(blob) + -len(blob) % 4}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    blob.extend(b"\0" * (-len(blob) % 4))
    total = 12 + 8 + len(text) + 8 + len(blob)
    header = struct.pack("<III", 0x46546C67, 2, total)
    json_chunk = struct.pack("<II", len(text), 0x4E4F534A) + text
    return header + json_chunk + struct.pack("<II", len(blob), 0x004E4942) + bytes(blob)


def flat_part(look: Look, triangles: NDArray[Any], normals: NDArray[Any], uv: NDArray[Any]) -> Part:
    """A part with each face's own normal: triangles (T, 3, 3), normals (T, 3), uv (T, 3, 2).

    Corners of one face that share position, normal and texture place are written once.
    """
    rows = np.concatenate(
        [triangles.reshape(-1, 3), np.repeat(normals, 3, axis=0), uv.reshape(-1, 2)], axis=1, dtype=np.float32
    )
    rows += np.float32(0.0)  # −0 and +0 are one value
    packed = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).reshape(-1)
    _, first, inverse = np.unique(packed, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    kept = rows[first[order]]
    return Part(look, kept[:, :3], kept[:, 3:6], kept[:, 6:], rank[inverse.reshape(-1)].reshape(-1, 3))


def smooth_part(look: Look, triangles: NDArray[Any]) -> Part:
    """A part of one rolling surface: corners are shared, normals are the area-weighted mean of the faces around, and
    the texture lies in plan. `triangles` (T, 3, 3)."""
    points = triangles.reshape(-1, 3).astype(np.float32) + np.float32(0.0)
    unique, inverse = np.unique(points, axis=0, return_inverse=True)
    indices = inverse.reshape(-1, 3)
    face = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals = np.zeros((len(unique), 3))
    for corner in range(3):
        np.add.at(normals, indices[:, corner], face)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 0, normals / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])
    return Part(look, unique, normals, unique[:, :2] / look.metres, indices)

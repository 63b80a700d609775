"""Wavefront OBJ: vertices, texture coordinates, normals, polygons (as fans), objects, groups. No other file is read."""

from __future__ import annotations

import io
from array import array

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.world.mesh import MeshPart
from aerialworld_core.world.sdf import Notes


def read_obj(data: bytes, context: str, notes: Notes) -> list[MeshPart]:
    """One part per named object or group. Raises WorldError with the line at fault."""
    vertices, uvs, normals = array("d"), array("d"), array("d")
    groups: dict[str, array[int]] = {}  # 9 per triangle: v, vt, vn of each corner; −1 where absent
    group = groups.setdefault("", array("q"))
    for count, raw in enumerate(io.BytesIO(data), 1):
        words = raw.split()
        if not words:
            continue
        key = words[0]
        try:
            if key == b"v":
                vertices.extend((float(words[1]), float(words[2]), float(words[3])))
            elif key == b"f":
                counts = len(vertices) // 3, len(uvs) // 2, len(normals) // 3
                corners = [_corner(w, *counts) for w in words[1:]]
                if len(corners) < 3:
                    raise ValueError(f"a face of {len(corners)} corners")
                for i in range(1, len(corners) - 1):
                    group.extend((*corners[0], *corners[i], *corners[i + 1]))
            elif key == b"vt":
                uvs.extend((float(words[1]), float(words[2]) if len(words) > 2 else 0.0))
            elif key == b"vn":
                normals.extend((float(words[1]), float(words[2]), float(words[3])))
            elif key in (b"o", b"g"):
                group = groups.setdefault(b" ".join(words[1:]).decode("utf-8", "replace"), array("q"))
            elif key == b"mtllib":
                notes.add(f"{context}: its material library is not read; give the visual a <material>")
        except (ValueError, IndexError) as error:
            raise WorldError(f"{context}: line {count}: {raw[:60].decode('utf-8', 'replace')!r}: {error}") from error
    v = np.frombuffer(vertices, np.float64).reshape(-1, 3)
    vt = np.frombuffer(uvs, np.float64).reshape(-1, 2)
    vn = np.frombuffer(normals, np.float64).reshape(-1, 3)
    return [_part(v, vt, vn, g, name) for name, g in groups.items() if g]


def _corner(word: bytes, v: int, vt: int, vn: int) -> tuple[int, int, int]:
    """0-based indices of `v`, `v/vt`, `v//vn` or `v/vt/vn`; negative ones count from the end."""
    result = []
    for i, (text, size) in enumerate(zip((*word.split(b"/"), b"", b"")[:3], (v, vt, vn), strict=True)):
        if not text and i:
            result.append(-1)
            continue
        index = int(text)
        index = index - 1 if index > 0 else size + index
        if not 0 <= index < size:
            raise ValueError(f"index {int(text)} of {size} defined so far")
        result.append(index)
    return result[0], result[1], result[2]


def _part(v: Array, vt: Array, vn: Array, group: array[int], name: str) -> MeshPart:
    corners = np.frombuffer(group, np.int64).reshape(-1, 3, 3)
    used, faces = np.unique(corners[:, :, 0], return_inverse=True)
    with_uv, with_normal = (corners[:, :, 1] >= 0).all(), (corners[:, :, 2] >= 0).all()
    return MeshPart(
        v[used],
        faces.reshape(-1, 3),
        vt if with_uv else None,
        vn if with_normal else None,
        name,
        uv_faces=corners[:, :, 1] if with_uv else None,
        normal_faces=corners[:, :, 2] if with_normal else None,
    )

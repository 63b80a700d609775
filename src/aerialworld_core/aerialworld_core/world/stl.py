"""STL, binary and ASCII: a triangle soup."""

from __future__ import annotations

import io
from array import array

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.world.mesh import MeshPart

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(data: bytes, context: str) -> list[MeshPart]:
    """One part; the winding counts, the stored normals do not. Raises WorldError."""
    count = int.from_bytes(data[80:84], "little") if len(data) >= 84 else -1
    if count >= 0 and len(data) == 84 + count * _RECORD.itemsize:
        vertices = np.frombuffer(data, _RECORD, count, 84)["corners"].reshape(-1, 3)
    elif data[:512].lstrip()[:5].lower() == b"solid":
        values = array("d")
        for line in io.BytesIO(data):
            words = line.split()
            if words[:1] == [b"vertex"]:
                try:
                    values.extend((float(words[1]), float(words[2]), float(words[3])))
                except (ValueError, IndexError) as error:
                    raise WorldError(f"{context}: a vertex line is broken: {error}") from error
        vertices = np.frombuffer(values, np.float64).reshape(-1, 3)
        if len(vertices) % 3:
            raise WorldError(f"{context}: {len(vertices)} vertices do not make triangles; the file is cut off")
    else:
        raise WorldError(f"{context}: is neither binary nor ASCII STL, or is cut off")
    return [MeshPart(vertices, np.arange(len(vertices), dtype=np.int32).reshape(-1, 3))]

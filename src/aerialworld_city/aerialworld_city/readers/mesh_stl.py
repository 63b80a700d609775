"""STL, binary and text: triangles that share nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aerialworld_city.readers.text_lines import TextLines
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.safexml import MIB, CountedFile

MAX_STL_BYTES = 1024 * MIB
_BLOCK = 8 * MIB
_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(path: Path) -> Array:
    """(T, 3, 3) as written; the winding counts, the stored normals do not. Raises InputError (UnsafeInputError):
    missing, compressed, above 1 GiB, cut off, a vertex that is no three numbers."""
    size = path.stat().st_size if path.is_file() else 0
    with CountedFile(path, max_bytes=MAX_STL_BYTES, what="STL file") as handle:
        head = handle.read(84)
        count = int.from_bytes(head[80:84], "little") if len(head) == 84 else -1
        if count >= 0 and size == 84 + count * _RECORD.itemsize:  # text files have another length
            records = np.frombuffer(handle.read(), _RECORD)
            return records["corners"].astype(np.float64)
        if head.lstrip()[:5].lower() != b"solid":
            raise InputError(f"{path}: is neither binary nor text STL, or is cut off")
        parts, rest, lines = [], head, 0
        while True:
            chunk = handle.read(_BLOCK)
            block = rest + chunk
            cut = block.rfind(b"\n") + 1 if chunk else len(block)
            block, rest = block[:cut] + (b"" if chunk else b"\n"), block[cut:]
            if len(rest) > _BLOCK:
                raise InputError(f"{path}: a line longer than {_BLOCK // MIB} MiB; this is no text STL")
            parts.append(_vertices(block, path, lines))
            lines += block.count(b"\n")
            if not chunk:
                break
    vertices = np.concatenate(parts)
    if len(vertices) % 3:
        raise InputError(f"{path}: {len(vertices)} vertices do not make triangles; the file is cut off")
    return vertices.reshape(-1, 3, 3)


def _vertices(block: bytes, path: Path, before: int) -> Array:
    text = TextLines(block)
    lines = text.lines_of(b"vertex")
    if len(lines) == 0:
        return np.zeros((0, 3))
    values = text.numbers(lines, np.float64, keyword=len(b"vertex"))
    wrong = text.words[lines] != 4
    if values is None or wrong.any():
        where = f"line {before + text.number(int(lines[np.argmax(wrong)]))}: " if wrong.any() else ""
        raise InputError(f"{path}: {where}a vertex needs three numbers")
    return values.reshape(-1, 3)

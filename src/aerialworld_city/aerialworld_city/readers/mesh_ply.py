"""PLY, the Polygon File Format of Stanford, text and binary: vertices, then faces of any number of corners."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.safexml import MIB, CountedFile

MAX_PLY_BYTES = 1024 * MIB
#: Every number of a text becomes eight bytes, and is read as a whole.
MAX_TEXT_BYTES = 256 * MIB
#: Rows of lists of different lengths are read one by one.
MAX_UNEVEN_ROWS = 5_000_000
_MAX_HEADER = 64 * 1024
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip


@dataclass
class _Property:
    name: str
    dtype: str
    count: str | None = None  # the type of a list's length


@dataclass
class _Element:
    name: str
    rows: int
    properties: list[_Property] = field(default_factory=list)


def read_ply(path: Path) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Vertices (V, 3), the faces' corners (C,) and where each face begins in them (F + 1,).

    Colours, normals and texture coordinates are passed over.

    Raises InputError (UnsafeInputError): missing, compressed, above 1 GiB (text: 256 MiB), a malformed header, cut off,
    no faces, a face that names a vertex that is not there.
    """
    with CountedFile(path, max_bytes=MAX_PLY_BYTES, what="PLY file") as handle:
        data = handle.read()
    form, elements, begin = _header(data, path)
    if form == "ascii":
        if len(data) > MAX_TEXT_BYTES:
            raise InputError(f"{path}: a text PLY above {MAX_TEXT_BYTES // MIB} MiB; save it as binary")
        reader: _Text | _Binary = _Text(data[begin:], path)
    else:
        reader = _Binary(data, begin, "<" if form == "binary_little_endian" else ">", path)
    vertices: Array | None = None
    for element in elements:
        columns = reader.rows(element)
        if element.name == "vertex":
            if not {"x", "y", "z"} <= set(columns):
                raise InputError(f"{path}: its vertices have no x, y, z")
            vertices = np.column_stack([columns[axis][0] for axis in "xyz"]).astype(np.float64)
        if element.name == "face":
            found = columns.get("vertex_indices") or columns.get("vertex_index")
            if found is None or vertices is None:
                raise InputError(f"{path}: its faces name no vertices (vertex_indices)")
            return _checked(vertices, *found, path)
    raise InputError(f"{path}: holds no faces")


def _checked(
    vertices: Array, corner: NDArray[np.generic], start: NDArray[np.int64], path: Path
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    sizes = np.diff(start)
    if not len(sizes):
        raise InputError(f"{path}: holds no faces")
    if sizes.min() < 3:
        raise InputError(f"{path}: face {int(np.argmin(sizes)) + 1} has {sizes.min()} corners (at least 3)")
    index = np.asarray(corner, np.float64)
    if not ((index >= 0) & (index < len(vertices)) & (index == np.floor(index))).all():
        raise InputError(f"{path}: a face names a vertex that is not one of {len(vertices)}")
    return vertices, np.asarray(corner, np.int64), start


def _header(data: bytes, path: Path) -> tuple[str, list[_Element], int]:
    """The form ("ascii", …), the elements, and where the data begin."""
    end = data.find(b"end_header", 0, _MAX_HEADER)
    line_end = data.find(b"\n", end)
    if not data.startswith(b"ply") or end < 0 or line_end < 0:
        raise InputError(f"{path}: not a PLY file: no header")
    form, elements = "", list[_Element]()
    try:
        for line in data[:end].decode("ascii", "replace").splitlines():
            words = line.split()
            if words[:1] == ["format"]:
                form = words[1]
            elif words[:1] == ["element"]:
                elements.append(_Element(words[1], int(words[2])))
                # A row has at least one byte; what a header claims beyond the file is not reserved.
                if not 0 <= elements[-1].rows <= len(data):
                    raise ValueError(f"{words[2]} rows in {len(data)} bytes")
            elif words[:2] == ["property", "list"]:
                elements[-1].properties.append(_Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
            elif words[:1] == ["property"]:
                elements[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
    except (IndexError, KeyError, ValueError) as error:
        raise InputError(f"{path}: the PLY header is malformed: {error}") from error
    if form not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise InputError(f"{path}: PLY format {form[:40]!r} is not known")
    if len(elements) > 100 or any(len(e.properties) > 1000 for e in elements):
        raise InputError(f"{path}: the PLY header names too many properties")
    return form, elements, line_end + 1


#: A column: its values, and where each row begins in them.
_Column = tuple[NDArray[np.generic], NDArray[np.int64]]


class _Binary:
    """Rows of an element after the other, from the header's end."""

    def __init__(self, data: bytes, begin: int, order: str, path: Path) -> None:
        self.data, self.at, self.order, self.path = data, begin, order, path

    def rows(self, element: _Element) -> dict[str, _Column]:
        if not element.rows or not element.properties:
            return {p.name: (np.zeros(0), np.zeros(1, np.int64)) for p in element.properties}
        lengths = self._first_lengths(element)
        fields = []
        for i, (p, length) in enumerate(zip(element.properties, lengths, strict=True)):
            if p.count:
                fields.append((f"n{i}", self.order + p.count))
            fields.append((f"d{i}", self.order + p.dtype, (length,)) if p.count else (f"d{i}", self.order + p.dtype))  # type: ignore[arg-type]
        dtype = np.dtype(fields)
        if self.at + element.rows * dtype.itemsize <= len(self.data):
            table = np.frombuffer(self.data, dtype, element.rows, self.at)
            counts = [i for i, p in enumerate(element.properties) if p.count]
            if all((table[f"n{i}"] == lengths[i]).all() for i in counts):
                self.at += element.rows * dtype.itemsize
                return {
                    p.name: (table[f"d{i}"].reshape(-1), np.arange(element.rows + 1) * lengths[i])
                    for i, p in enumerate(element.properties)
                }
        return self._uneven(element)

    def _first_lengths(self, element: _Element) -> list[int]:
        """The lengths of the first row's lists, 1 for single numbers."""
        at, lengths = self.at, []
        for p in element.properties:
            length = 1
            if p.count:
                length = self._one(self.order + p.count, at)
                at += np.dtype(p.count).itemsize
            lengths.append(length)
            at += length * np.dtype(p.dtype).itemsize
        return lengths

    def _one(self, dtype: str, at: int) -> int:
        size = np.dtype(dtype).itemsize
        if at + size > len(self.data):
            raise InputError(f"{self.path}: the data end before the header's rows do; cut off")
        number = np.frombuffer(self.data, dtype, 1, at)[0]
        if not 0 <= number <= len(self.data):
            raise InputError(f"{self.path}: a list of {number} numbers is longer than the file")
        return int(number)

    def _uneven(self, element: _Element) -> dict[str, _Column]:
        if not any(p.count for p in element.properties):
            raise InputError(
                f"{self.path}: the data end before the header's {element.rows} {element.name} rows; cut off"
            )
        _limit(element, self.path)
        parts: list[list[NDArray[np.generic]]] = [[] for _ in element.properties]
        for _ in range(element.rows):
            for part, p in zip(parts, element.properties, strict=True):
                length = 1
                if p.count:
                    length = self._one(self.order + p.count, self.at)
                    self.at += np.dtype(p.count).itemsize
                size = length * np.dtype(p.dtype).itemsize
                if self.at + size > len(self.data):
                    raise InputError(f"{self.path}: the data end before the header's rows do; cut off")
                part.append(np.frombuffer(self.data, self.order + p.dtype, length, self.at))
                self.at += size
        return {p.name: _joined(part) for p, part in zip(element.properties, parts, strict=True)}


class _Text:
    """The same from a text, whose numbers are all read first; line breaks count as blanks."""

    def __init__(self, data: bytes, path: Path) -> None:
        self.path, self.at = path, 0
        try:
            self.values = np.fromstring(data, np.float64, sep=" ") if data.strip() else np.zeros(0)
        except ValueError as error:
            raise InputError(f"{path}: a word behind the header is no number") from error

    def rows(self, element: _Element) -> dict[str, _Column]:
        left = self.values[self.at :]
        lengths, width = [], 0
        for p in element.properties:
            length = 1
            if p.count:
                if width >= len(left) or not 0 <= left[width] <= len(left):
                    length = -1
                    break
                length = int(left[width])
                width += 1
            lengths.append(length)
            width += length
        if len(lengths) == len(element.properties) and element.rows * width <= len(left):
            table = left[: element.rows * width].reshape(element.rows, width)
            columns: dict[str, _Column] = {}
            place, even = 0, True
            for p, length in zip(element.properties, lengths, strict=True):
                if p.count:
                    even &= bool((table[:, place] == length).all())
                    place += 1
                columns[p.name] = (table[:, place : place + length].reshape(-1), np.arange(element.rows + 1) * length)
                place += length
            if even:
                self.at += element.rows * width
                return columns
        return self._uneven(element)

    def _uneven(self, element: _Element) -> dict[str, _Column]:
        _limit(element, self.path)
        parts: list[list[NDArray[np.generic]]] = [[] for _ in element.properties]
        for _ in range(element.rows):
            for part, p in zip(parts, element.properties, strict=True):
                length = 1.0
                if p.count:
                    length = float(self.values[self.at]) if self.at < len(self.values) else np.nan
                    self.at += 1
                if not 0 <= length <= len(self.values) - self.at or length != int(length):
                    raise InputError(
                        f"{self.path}: the numbers end before the header's {element.name} rows do; cut off"
                    )
                part.append(self.values[self.at : self.at + int(length)])
                self.at += int(length)
        return {p.name: _joined(part) for p, part in zip(element.properties, parts, strict=True)}


def _limit(element: _Element, path: Path) -> None:
    if element.rows > MAX_UNEVEN_ROWS:
        raise InputError(f"{path}: {element.rows} {element.name} rows of different lengths; triangulate the mesh first")


def _joined(parts: list[NDArray[np.generic]]) -> _Column:
    start = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    return (np.concatenate(parts) if parts else np.zeros(0)), start

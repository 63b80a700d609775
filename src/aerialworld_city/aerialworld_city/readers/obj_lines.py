"""The lines of a Wavefront OBJ file as arrays, block by block: no line becomes a Python object, so that memory stays
near that of the arrays.

Read are v, vt, f, o, g, usemtl and mtllib; normals (the faces have their own), smoothing groups, curves, points and
lines are passed over. Every number is checked; errors name the line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.packing import ranges
from aerialworld_city.readers.text_lines import (
    FORM_MIXED,
    FORM_V,
    FORM_V_VN,
    FORM_V_VT,
    FORM_V_VT_VN,
    TextLines,
)
from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.frames import Array
from aerialworld_core.safexml import MIB, CountedFile

MAX_OBJ_BYTES = 1024 * MIB
#: A face with more corners is no face of a building.
MAX_CORNERS = 1024
#: o, g, usemtl and mtllib lines; a real tile has a few thousand.
MAX_STATEMENTS = 1_000_000
#: The header's comments, in which the plane zone stands.
HEADER_BYTES = 64 * 1024
MAX_LINE = 8 * MIB
_BLOCK = 2 * MIB
#: Faces whose corners are not all of one form are read one by one, at most so many.
_MAX_ODD_LINES = 1_000_000


@dataclass(eq=False)
class ObjLines:
    """What an OBJ file states.

    vertices   (V, 3) float64 as written; uv (U, 2) float64 as written
    corner     (C,) int32 vertex of each face corner, from 0; corner_uv (C,) int32 its uv, -1 for none
    face_start (F + 1,) int64 into the corners
    object, group, material  (F,) int32 into `names`, -1 for none
    libraries  the mtllib lines' text, in order; header the first comments
    """

    vertices: Array
    uv: Array
    corner: NDArray[np.int32]
    corner_uv: NDArray[np.int32]
    face_start: NDArray[np.int64]
    object: NDArray[np.int32]
    group: NDArray[np.int32]
    material: NDArray[np.int32]
    names: list[str]
    libraries: list[str]
    header: bytes


def read_lines(path: Path) -> ObjLines:
    """Read a whole file. Raises InputError (missing, malformed, with the line; no faces) or UnsafeInputError (larger
    than 1 GiB, compressed, more than a million group lines)."""
    parser = _Parser(path)
    with CountedFile(path, max_bytes=MAX_OBJ_BYTES, what="OBJ file") as handle:
        rest = b""
        while chunk := handle.read(_BLOCK):
            block = rest + chunk
            cut = _last_line_end(block)
            rest = block[cut:]
            if len(rest) > MAX_LINE:
                raise UnsafeInputError(f"{path}: a line longer than {MAX_LINE // MIB} MiB; this is no OBJ file")
            if cut:
                parser.read(block[:cut])
        if rest:
            parser.read(rest + b"\n")
    return parser.result()


def _last_line_end(block: bytes) -> int:
    """The place behind the last line that is whole (a line that ends in a backslash goes on)."""
    cut = block.rfind(b"\n") + 1
    while cut and block[:cut].endswith((b"\\\n", b"\\\r\n")):
        cut = block.rfind(b"\n", 0, cut - 1) + 1
    return cut


@dataclass(eq=False)
class _Parser:
    path: Path
    header: bytes = b""
    lines_before: int = 0
    vertices: list[Array] = field(default_factory=list)
    uv: list[Array] = field(default_factory=list)
    vertex_count: int = 0
    uv_count: int = 0
    corner: list[NDArray[np.int32]] = field(default_factory=list)
    corner_uv: list[NDArray[np.int32]] = field(default_factory=list)
    sizes: list[NDArray[np.int32]] = field(default_factory=list)
    states: dict[bytes, list[NDArray[np.int32]]] = field(default_factory=lambda: {b"o": [], b"g": [], b"usemtl": []})
    current: dict[bytes, int] = field(default_factory=lambda: {b"o": -1, b"g": -1, b"usemtl": -1})
    names: dict[str, int] = field(default_factory=dict)
    libraries: list[str] = field(default_factory=list)
    statements: int = 0
    odd_lines: int = 0
    #: Faces may name vertices that come later in the file: (line, number) of the highest, checked at the end.
    highest: tuple[int, int] = (0, 0)
    highest_uv: tuple[int, int] = (0, 0)

    def read(self, block: bytes) -> None:
        """One block of whole lines."""
        if len(self.header) < HEADER_BYTES:
            self.header += block[: HEADER_BYTES - len(self.header)]
        newlines = block.count(b"\n")
        text = TextLines(block)
        v, vt, f = text.lines_of(b"v"), text.lines_of(b"vt"), text.lines_of(b"f")
        self._read_numbers(text, v, 3, self.vertices, "a vertex needs three numbers")
        self._read_numbers(text, vt, 1, self.uv, "a texture coordinate needs a number")
        self._read_faces(text, v, vt, f)
        self._read_states(text, f)
        self.vertex_count += len(v)
        self.uv_count += len(vt)
        self.lines_before += newlines

    def _fail(self, text: TextLines, line: int, need: str) -> InputError:
        """An error about the line with that index in the block."""
        words = text.line(line)[:60].decode("utf-8", "replace")
        return InputError(f"{self.path}: line {self.lines_before + text.number(line)}: {words!r}: {need}")

    def _read_numbers(self, text: TextLines, lines: NDArray[np.int64], least: int, out: list[Array], need: str) -> None:
        """The first `least` (vt: up to two) numbers of each line."""
        if len(lines) == 0:
            return
        count = text.words[lines] - 1
        if count.min() < least:
            raise self._fail(text, int(lines[np.argmin(count)]), need)
        values = text.numbers(lines, np.float64, keyword=1 if least == 3 else 2)
        if values is None or len(values) != count.sum():
            raise self._fail(text, _first_bad(text, lines, _is_number), need)
        start = np.cumsum(count) - count
        if least == 3:
            out.append(values[start[:, None] + np.arange(3)])
        else:
            second = np.where(count > 1, values[np.minimum(start + 1, len(values) - 1)], 0.0)
            out.append(np.column_stack([values[start], second]))

    def _read_faces(self, text: TextLines, v: NDArray[np.int64], vt: NDArray[np.int64], f: NDArray[np.int64]) -> None:
        if len(f) == 0:
            return
        count = text.words[f] - 1
        bad = (count < 3) | (count > MAX_CORNERS)
        if bad.any():
            raise self._fail(text, int(f[np.argmax(bad)]), f"a face needs 3 to {MAX_CORNERS} corners")
        corner, corner_uv = self._corners(text, f, count)
        for which, lines, before in (("vertex", v, self.vertex_count), ("texture coordinate", vt, self.uv_count)):
            index = corner if which == "vertex" else corner_uv
            if index.min() < 0:  # negative numbers count back from what was read so far
                known = before + np.repeat(np.searchsorted(lines, f), count)
                wrong = (index < 0) & (index + known < 0)
                if wrong.any():
                    row = int(np.argmax(wrong))
                    line = int(np.repeat(f, count)[row])
                    raise self._fail(text, line, f"{which} {index[row]}, but there are {known[row]} so far")
                index[index < 0] += known[index < 0] + 1
            top = int(index.max())
            if top > (self.highest if which == "vertex" else self.highest_uv)[1]:
                line = self.lines_before + text.number(int(np.repeat(f, count)[int(np.argmax(index))]))
                if which == "vertex":
                    self.highest = (line, top)
                else:
                    self.highest_uv = (line, top)
        if corner.min() < 1:
            row = int(np.argmin(corner))
            raise self._fail(text, int(np.repeat(f, count)[row]), f"vertex {corner[row]}; they are counted from 1")
        limit = np.iinfo(np.int32).max
        self.corner.append((np.minimum(corner, limit) - 1).astype(np.int32))
        self.corner_uv.append((np.minimum(corner_uv, limit) - 1).astype(np.int32))
        self.sizes.append(count.astype(np.int32))

    def _corners(
        self, text: TextLines, f: NDArray[np.int64], count: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Vertex and uv number of every corner as written; 0 where a corner has no uv."""
        need = "a face needs whole vertex numbers (v, v/vt, v//vn or v/vt/vn)"
        corner = np.zeros(int(count.sum()), np.int64)
        corner_uv = np.zeros(len(corner), np.int64)
        place = np.cumsum(count) - count
        form = text.corner_forms(f, place)
        # Lines whose corners are all of one form are parsed together.
        for kind, width in ((FORM_V, 1), (FORM_V_VT, 2), (FORM_V_VN, 2), (FORM_V_VT_VN, 3)):
            rows = np.flatnonzero(form == kind)
            if len(rows) == 0:
                continue
            flat = text.numbers(f[rows], np.int64, keyword=1, slash=True)
            many = count[rows]
            if flat is None or len(flat) != width * many.sum():
                form[rows] = FORM_MIXED
                continue
            numbers = flat.reshape(-1, width)
            into = ranges(place[rows], many)
            corner[into] = numbers[:, 0]
            if kind in (FORM_V_VT, FORM_V_VT_VN):
                corner_uv[into] = numbers[:, 1]
        for row in np.flatnonzero(form == FORM_MIXED):
            self.odd_lines += 1
            if self.odd_lines > _MAX_ODD_LINES:
                raise self._fail(text, int(f[row]), f"the {_MAX_ODD_LINES:,}th face that mixes forms; write v/vt/vn")
            own = slice(place[row], place[row] + count[row])
            try:
                if b"_" in text.line(int(f[row])):
                    raise ValueError
                words = [w.split(b"/") for w in text.line(int(f[row])).split()[1:]]
                corner[own] = [int(w[0]) for w in words]
                corner_uv[own] = [int(w[1]) if len(w) > 1 and w[1] else 0 for w in words]
            except (ValueError, OverflowError):
                raise self._fail(text, int(f[row]), need) from None
        return corner, corner_uv

    def _read_states(self, text: TextLines, f: NDArray[np.int64]) -> None:
        """Object, group and material of each face: the last that was named before it."""
        for line in text.lines_of(b"mtllib"):
            self._count_statement()
            self.libraries.append(_words(text.line(int(line))))
        for key, parts in self.states.items():
            lines = text.lines_of(key)
            numbers = np.empty(len(lines) + 1, np.int32)
            numbers[0] = self.current[key]
            for i, line in enumerate(lines):
                self._count_statement()
                numbers[i + 1] = self.names.setdefault(_words(text.line(int(line))), len(self.names))
            parts.append(numbers[np.searchsorted(lines, f)])
            self.current[key] = int(numbers[-1])

    def _count_statement(self) -> None:
        self.statements += 1
        if self.statements > MAX_STATEMENTS:
            raise UnsafeInputError(f"{self.path}: more than {MAX_STATEMENTS:,} o, g, usemtl and mtllib lines; split it")

    def result(self) -> ObjLines:
        if not self.vertex_count or not self.corner:
            raise InputError(f"{self.path}: no city model: an OBJ file needs vertices (v) and faces (f)")
        for (line, number), count, what in (
            (self.highest, self.vertex_count, "vertex"),
            (self.highest_uv, self.uv_count, "texture coordinate"),
        ):
            if number > count:
                raise InputError(f"{self.path}: line {line}: a face names {what} {number}, but there are {count}")
        sizes = _joined(self.sizes)
        return ObjLines(
            _joined(self.vertices),
            _joined(self.uv) if self.uv else np.zeros((0, 2)),
            _joined(self.corner),
            _joined(self.corner_uv),
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            _joined(self.states[b"o"]),
            _joined(self.states[b"g"]),
            _joined(self.states[b"usemtl"]),
            list(self.names),
            self.libraries,
            self.header,
        )


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """One array; the parts are given back."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def _words(line: bytes) -> str:
    """What stands behind the keyword."""
    words = line.split(None, 1)
    return words[1].decode("utf-8", "replace").strip() if len(words) > 1 else ""


def _first_bad(text: TextLines, lines: NDArray[np.int64], good: object) -> int:
    for line in lines:
        if not all(good(word) for word in text.line(int(line)).split()[1:]):  # type: ignore[operator]
            return int(line)
    return int(lines[0])


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return b"_" not in word

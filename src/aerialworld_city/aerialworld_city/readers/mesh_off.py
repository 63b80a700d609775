"""OFF, the Object File Format of Geomview, as text: vertices, then faces of any number of corners."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.readers.text_lines import TextLines
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.safexml import MIB, CountedFile

MAX_OFF_BYTES = 128 * MIB


def read_off(path: Path) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Vertices (V, 3), the faces' corners (C,) and where each face begins in them (F + 1,).

    Colours, normals and texture coordinates behind a vertex or face are passed over.

    Raises InputError (UnsafeInputError): missing, compressed, above 128 MiB, binary, cut off, a malformed line.
    """
    with CountedFile(path, max_bytes=MAX_OFF_BYTES, what="OFF file") as handle:
        block = handle.read()
    match = re.match(rb"\s*(?:#[^\n]*\n\s*)*((?:ST|C|N|4)*OFF)\b[ \t]*", block[: 64 * 1024])
    if match is None or match[1].startswith(b"4") or b"BINARY" in block[match.end() : match.end() + 10]:
        raise InputError(f"{path}: not a text OFF file of three dimensions")
    # The head is blanked in place, so that line numbers stay.
    block = re.sub(rb"#[^\n]*", b"", block[: match.start(1)] + block[match.end(1) :] + b"\n")
    text = TextLines(block)
    lines = np.flatnonzero(text.words > 0)
    counts = text.numbers(lines[:1], np.int64, keyword=0) if len(lines) else None
    if counts is None or len(counts) < 2 or counts.min() < 0:
        raise InputError(f"{path}: the line with the numbers of vertices and faces is missing or malformed")
    vertex_count, face_count = int(counts[0]), int(counts[1])
    if vertex_count + face_count > len(lines) - 1:
        raise InputError(
            f"{path}: announces {vertex_count} vertices and {face_count} faces, but has {len(lines) - 1} lines; cut off"
        )
    v, f = lines[1 : 1 + vertex_count], lines[1 + vertex_count : 1 + vertex_count + face_count]
    if not len(v) or not len(f):
        raise InputError(f"{path}: has no vertices or no faces")
    words, values = _numbers(text, v, path, 3, "a vertex needs three numbers")
    start = np.cumsum(words) - words
    vertices = values[start[:, None] + np.arange(3)]
    words, values = _numbers(text, f, path, 4, "a face needs a count and at least three vertex numbers")
    start = np.cumsum(words) - words
    size = values[start]
    bad = ~((size >= 3) & (size < words) & (size == np.floor(size)))
    if bad.any():
        line = int(f[np.argmax(bad)])
        raise InputError(f"{path}: line {text.number(line)}: a face's count and its vertex numbers do not fit")
    size = size.astype(np.int64)
    face_start = np.concatenate([[0], np.cumsum(size)])
    corner = values[np.repeat(start + 1 - face_start[:-1], size) + np.arange(int(size.sum()))]
    wrong = ~((corner >= 0) & (corner < vertex_count) & (corner == np.floor(corner)))
    if wrong.any():
        line = int(np.repeat(f, size)[np.argmax(wrong)])
        raise InputError(f"{path}: line {text.number(line)}: a face names a vertex that is not one of {vertex_count}")
    return vertices, corner.astype(np.int64), face_start


def _numbers(
    text: TextLines, lines: NDArray[np.int64], path: Path, least: int, need: str
) -> tuple[NDArray[np.int64], Array]:
    """How many words each line has, and all numbers."""
    words = text.words[lines]
    values = text.numbers(lines, np.float64, keyword=0)
    if values is None or len(values) != words.sum() or words.min() < least:
        line = int(lines[np.argmin(words)]) if words.min() < least else int(lines[0])
        raise InputError(f"{path}: from line {text.number(line)} on: {need}")
    return words.astype(np.int64), values

"""Reading the OBJ release: plain triangles in plane coordinates, no groups, one building per connected piece.

Only `v` and `f` count (texture coordinates and materials are passed over; `mtllib` is never followed). x is east, y
north, z the height above T.P.; the plane zone stands in a comment of the header. Numbers are checked; a face may have
any number of corners.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aerialworld_city.features import CityContent, Skipped
from aerialworld_city.geodesy import plane_of
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.safexml import CountedFile

MAX_OBJ_BYTES = 1024 * 1024 * 1024
_MAX_CORNERS = 64
#: Coordinates beyond this are no plane coordinates of Japan, metres.
_MAX_COORDINATE = 1e6


def read_obj(path: Path, name: str, *, crs: int | None = None) -> tuple[CityContent, Array, NDArray[np.int64]]:
    """The triangles of one OBJ file: content (without buildings), corners (T, 3, 3) east, north, height, and the
    connected piece (T,) of each triangle, numbered by first appearance; pieces are joined where vertices are equal.

    Raises InputError: missing, no faces, a malformed line (with its number), no plane zone in the header and no `crs`.
    """
    with CountedFile(path, max_bytes=MAX_OBJ_BYTES, what="OBJ file") as handle:
        lines = handle.read().splitlines()
    content = CityContent(name, _zone(lines, path, crs))
    vertices, faces = _parse(lines, path)
    content.count("vertices", len(vertices))
    content.count("triangles", len(faces))
    usable = np.asarray((np.abs(vertices) < _MAX_COORDINATE).all(axis=1))  # False for NaN too
    # Unusable vertices are equal to none, so that they join no pieces.
    apart = np.column_stack([np.arange(len(vertices)) + 2 * _MAX_COORDINATE, np.zeros((len(vertices), 2))])
    places = np.round(np.where(usable[:, None], vertices, apart), 6)
    _, merged = np.unique(places, axis=0, return_inverse=True)
    merged = merged.reshape(-1)
    corner = merged[faces]
    flat = (corner[:, 0] == corner[:, 1]) | (corner[:, 1] == corner[:, 2]) | (corner[:, 2] == corner[:, 0])
    if flat.any():
        content.count("collapsed triangles dropped", int(flat.sum()))
    faces, corner = faces[~flat], corner[~flat]
    piece = _pieces(corner, int(merged.max()) + 1)
    broken = np.unique(piece[~usable[faces].all(axis=1)])
    for number in broken:
        content.skipped.append(
            Skipped(name, f"piece {number + 1}", "a vertex that is not a place (not finite or > 1e6)")
        )
    keep = ~np.isin(piece, broken)
    if not keep.any():
        raise InputError(f"{path}: holds no usable face")
    return content, vertices[faces[keep]], piece[keep]


def _zone(lines: list[bytes], path: Path, crs: int | None) -> int:
    try:
        code = crs or _stated_zone(lines, path)
        return plane_of(code)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _stated_zone(lines: list[bytes], path: Path) -> int:
    """The EPSG code in the header's WKT, else in the file's name."""
    for line in lines[:64]:
        if line.startswith(b"#") and b"PROJCS" in line:
            codes = re.findall(rb'AUTHORITY\["EPSG","(\d+)"\]', line)
            if codes:
                return int(codes[-1])
    match = re.search(r"_(66[678]\d)\b", path.stem)
    if match:
        return int(match[1])
    raise InputError("its header names no plane zone; give one with --crs, for example --crs 6677 for Tokyo")


def _parse(lines: list[bytes], path: Path) -> tuple[Array, NDArray[np.int64]]:
    """Vertices (V, 3) and triangles (T, 3) of indices from 0."""
    v_lines = [line for line in lines if line.startswith((b"v ", b"v\t"))]
    f_lines = [line for line in lines if line.startswith((b"f ", b"f\t"))]
    if not v_lines or not f_lines:
        raise InputError(f"{path}: no city model: an OBJ file needs vertices (v) and faces (f)")
    words = [line.split() for line in v_lines]
    try:
        vertices = np.array([w[1:4] for w in words]).astype(np.float64)
        if vertices.shape != (len(v_lines), 3):
            raise ValueError
    except ValueError:
        raise _malformed(lines, path, b"v", "a vertex needs three numbers", _vertex_ok) from None
    corners = [line.split()[1:] for line in f_lines]
    counts = np.array([len(c) for c in corners])
    if counts.min() < 3 or counts.max() > _MAX_CORNERS:
        raise _malformed(lines, path, b"f", f"a face needs 3 to {_MAX_CORNERS} corners", _face_count_ok)
    try:
        flat = np.array([int(word.partition(b"/")[0]) for c in corners for word in c], np.int64)
    except (ValueError, OverflowError):
        raise _malformed(lines, path, b"f", "a face needs whole vertex numbers", _face_ok) from None
    if (flat < 0).any():
        flat = _absolute(lines, flat, counts)
    if flat.min() < 1 or flat.max() > len(vertices):
        raise InputError(
            f"{path}: a face names vertex {flat.min() if flat.min() < 1 else flat.max()}, but there are {len(vertices)}"
        )
    flat -= 1
    starts = np.cumsum(counts) - counts
    if (counts == 3).all():
        return vertices, flat.reshape(-1, 3)
    parts = []
    for k in range(1, int(counts.max()) - 1):
        s = starts[counts > k + 1]
        parts.append(np.column_stack([flat[s], flat[s + k], flat[s + k + 1], s]))
    fans = np.concatenate(parts)
    return vertices, fans[np.argsort(fans[:, 3], kind="stable"), :3]


def _absolute(lines: list[bytes], flat: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Negative numbers count back from the vertices read so far."""
    known, before = 0, []
    for line in lines:
        if line.startswith((b"v ", b"v\t")):
            known += 1
        elif line.startswith((b"f ", b"f\t")):
            before.append(known)
    return np.where(flat < 0, flat + np.repeat(before, counts) + 1, flat)


def _malformed(lines: list[bytes], path: Path, key: bytes, need: str, good: object) -> InputError:
    for number, line in enumerate(lines, 1):
        if line.startswith((key + b" ", key + b"\t")) and not good(line):  # type: ignore[operator]
            return InputError(f"{path}: line {number}: {line[:60].decode('utf-8', 'replace')!r}: {need}")
    return InputError(f"{path}: {need}")


def _vertex_ok(line: bytes) -> bool:
    try:
        return len([float(w) for w in line.split()[1:4]]) == 3
    except ValueError:
        return False


def _face_count_ok(line: bytes) -> bool:
    return 3 <= len(line.split()) - 1 <= _MAX_CORNERS


def _face_ok(line: bytes) -> bool:
    try:
        return all(abs(int(w.partition(b"/")[0])) < 2**40 for w in line.split()[1:])
    except ValueError:
        return False


def _pieces(faces: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Connected piece of every face (T,), numbered in the order of first appearance."""
    a = np.concatenate([faces[:, 0], faces[:, 1]])
    b = np.concatenate([faces[:, 1], faces[:, 2]])
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    own = label[faces[:, 0]]
    _, first, inverse = np.unique(own, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse.reshape(-1)]

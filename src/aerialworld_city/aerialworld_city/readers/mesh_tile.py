"""From faces to a tile: which faces are usable, which way they look, what they wear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Feature, Material, Skipped, Tile
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.solids import orient
from aerialworld_city.kinds import KINDS
from aerialworld_city.readers.mesh_faces import Faces
from aerialworld_city.readers.mesh_features import MAX_FEATURES, Names, TooManyError, find_features
from aerialworld_city.readers.mesh_seams import with_seams
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.frames import Array

#: Vertices are equal when their sixth decimals are (the files have four to six).
_MERGE = 1e-6
#: Corners whose shells are turned at a time.
_BLOCK = 200_000
_KIND_OF_MODULE = {kind.module: name for name, kind in reversed(KINDS.items())}
#: A file with more is refused: a triangle takes about 350 bytes while its shells are found.
MAX_TRIANGLES = 10_000_000
_NO_PLACE = "a vertex that is not a place (not finite, beyond 1,000 km or above 9 km)"


@dataclass(eq=False)
class Coats:
    """What the triangles wear: `material` (T,) int32 into `materials`, -1 for none; `uv` (T, 3, 2) float32 or None."""

    materials: list[Material]
    material: NDArray[np.int32]
    uv: NDArray[np.float32] | None = None


@dataclass(eq=False)
class Remarks:
    """What a reader has to say about a file."""

    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Once, however often it is met."""
        if text not in self.notes:
            self.notes.append(text)


def check_count(file: SourceFile, corners: int, faces: int) -> None:
    """Raises UnsafeInputError for more triangles than MAX_TRIANGLES, before they are made."""
    if corners - 2 * faces > MAX_TRIANGLES:
        raise UnsafeInputError(
            f"{file.path}: {corners - 2 * faces:,} triangles (at most {MAX_TRIANGLES:,}); split it into tiles"
        )


def is_terrain(file: SourceFile) -> bool:
    """Whether a mesh file's name or folder says that it is the ground."""
    return file.module == "dem" or "_dem_" in f"_{file.path.stem.lower()}_"


def terrain_tile(file: SourceFile, epsg: int, triangles: Array, remarks: Remarks) -> Tile:
    """Ground triangles (K, 3, 3), as they are."""
    remarks.counts["Triangle"] = len(triangles)
    if not np.isfinite(triangles).all(axis=(1, 2)).any():
        raise InputError(f"{file.path}: holds no usable face: {_NO_PLACE}")
    empty = Mesh.empty()
    return Tile(file.name, epsg, [], [], empty, triangles, remarks.skipped, remarks.counts, {}, remarks.notes)


def make_tile(
    file: SourceFile,
    epsg: int,
    faces: Faces,
    names: Sequence[Names],
    coats: Coats,
    remarks: Remarks,
) -> Tile:
    """Features, sorted triangles that face outward, and what was left out. `faces.points` are in the plane system
    `epsg`, NaN where a vertex is no place.

    Raises InputError: nothing usable.
    """
    kind = _KIND_OF_MODULE.get(file.module, "building")
    usable = np.asarray(np.isfinite(faces.points).all(axis=1))
    merged = _merge(faces.points, usable)
    corner = merged[faces.corner]
    a, b, c = (corner[faces.triangles[:, i]] for i in range(3))
    flat = (a == b) | (b == c) | (c == a)
    if flat.any():
        remarks.counts["collapsed triangles dropped"] = int(flat.sum())
    try:
        owner, ids = find_features(faces, corner, ~flat, names, file.path.stem)
    except TooManyError as error:
        raise UnsafeInputError(
            f"{file.path}: falls into {error.args[0]:,} pieces that share no vertex (at most {MAX_FEATURES:,}); "
            "this is no city, or its neighbouring faces' vertices differ: merge them by distance and export it again"
        ) from error
    bad = np.zeros(len(ids), np.bool_)
    of_corner = np.repeat(owner, np.diff(faces.start))
    lost = of_corner[~usable[faces.corner]]
    bad[lost[lost >= 0]] = True
    for gone in np.flatnonzero(bad).tolist():
        remarks.skipped.append(Skipped(file.name, ids[gone], _NO_PLACE))
    if bad.all():
        raise InputError(f"{file.path}: holds no usable face" + (f": {_NO_PLACE}" if len(ids) else ""))
    number = np.where(bad, -1, np.cumsum(~bad) - 1)
    owner = np.where(owner >= 0, number[owner], -1)
    mesh, kept = _mesh(faces, owner, ~flat, coats)
    features = [Feature(id_, kind, file.name, file.lod or 1) for id_, lost_ in zip(ids, bad, strict=True) if not lost_]
    mesh, changed = _orient(mesh, kept, faces, owner, features)
    counted = _COUNTED.get(kind, kind)
    remarks.counts[counted] = remarks.counts[f"{counted} LOD{file.lod or 1}"] = len(ids)
    materials, mesh.material = _used(coats.materials, mesh.material)
    if not any(m.image for m in materials):
        mesh.uv = None
    none = np.zeros((0, 3, 3))
    return Tile(
        file.name, epsg, features, materials, mesh, none, remarks.skipped, remarks.counts, changed, remarks.notes
    )


#: How the features of a kind are counted, as in CityGML files.
_COUNTED = {"building": "Building", "bridge": "Bridge", "furniture": "CityFurniture", "road": "Road"}


def _merge(points: Array, usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(V,) ids, equal where points are; a point that is no place equals none."""
    steps = np.zeros((len(points), 3), np.int64)
    good = points[usable]
    if len(good):
        steps[usable] = np.round((good - good.min(axis=0)) / _MERGE).astype(np.int64)
    steps[~usable, 0] = -1 - np.flatnonzero(~usable)
    order = np.lexsort(steps.T)
    steps = steps[order]
    new = np.r_[True, (steps[1:] != steps[:-1]).any(axis=1)]
    ids = np.empty(len(points), np.int64)
    ids[order] = np.cumsum(new) - 1
    return ids


def _mesh(
    faces: Faces, owner: NDArray[np.int64], solid: NDArray[np.bool_], coats: Coats
) -> tuple[Mesh, NDArray[np.int64]]:
    """Triangles of features, sorted by feature, and their rows among the faces' triangles."""
    feature = owner[faces.face]
    kept = np.flatnonzero(solid & (feature >= 0))
    kept = kept[np.argsort(feature[kept], kind="stable")]
    mesh = Mesh(
        faces.points[faces.corner[faces.triangles[kept]]],
        feature[kept].astype(np.int32),
        np.zeros(len(kept), np.int8),
        np.zeros(len(kept), np.bool_),
        coats.material[kept],
        None if coats.uv is None else coats.uv[kept],
    )
    return mesh, kept


def _orient(
    mesh: Mesh, kept: NDArray[np.int64], faces: Faces, owner: NDArray[np.int64], features: list[Feature]
) -> tuple[Mesh, dict[str, int]]:
    """Turn shells outward by the edges of the faces that are kept; fills in the features' volumes. Some whole features
    at a time, which bounds the memory beside the mesh."""
    polygons = None if (np.diff(faces.start) == 3).all() else _Polygons.of(faces, owner, kept)
    bounds = np.arange(len(features) + 1)
    triangle_start = np.searchsorted(mesh.feature, bounds)
    changed: dict[str, int] = {}
    for low, high in _blocks(3 * triangle_start):
        part = slice(triangle_start[low], triangle_start[high])
        piece = mesh.take(part)
        piece.feature = piece.feature - np.int32(low)
        lies = np.array([KINDS[f.kind].lies for f in features[low:high]])
        space = polygons.part(low, high, part) if polygons else _triangle_edges(piece)
        turned, shells = orient(piece, high - low, lies=lies, **space)
        open_ = np.zeros(high - low, np.bool_)
        open_[turned.feature[turned.double]] = True
        if (open_ & ~lies).any():
            seams = with_seams(space["corners"], space["corner_owner"], space["follow"], open_ & ~lies)
            if len(seams[0]) > len(space["corners"]):
                space["corners"], space["corner_owner"], space["follow"] = seams
                turned, shells = orient(piece, high - low, lies=lies, **space)
        piece = turned
        mesh.triangles[part], mesh.surface[part], mesh.double[part] = piece.triangles, piece.surface, piece.double
        if mesh.uv is not None and piece.uv is not None:
            mesh.uv[part] = piece.uv
        for feature, volume, closed in zip(
            features[low:high], shells.volume.tolist(), shells.closed.tolist(), strict=True
        ):
            feature.volume, feature.closed = volume, closed
        for name, count in shells.changes().items():
            changed[name] = changed.get(name, 0) + count
    return mesh, changed


@dataclass(eq=False)
class _Polygons:
    """The corners of faces of more than three corners, by feature: `rows` of the faces' corners, the `owner` of each,
    the rows of their followers and of the mesh's triangles (T, 3)."""

    faces: Faces
    rows: NDArray[np.int32]
    owner: NDArray[np.int32]
    follow: NDArray[np.int32]
    triangles: NDArray[np.int32]

    @classmethod
    def of(cls, faces: Faces, owner: NDArray[np.int64], kept: NDArray[np.int64]) -> _Polygons:
        of_corner = np.repeat(owner.astype(np.int32), np.diff(faces.start))
        rows = np.argsort(of_corner, kind="stable").astype(np.int32)
        rows = rows[np.searchsorted(of_corner[rows], 0) :]
        new = np.full(len(of_corner), -1, np.int32)
        new[rows] = np.arange(len(rows), dtype=np.int32)
        return cls(faces, rows, of_corner[rows], new[faces.follow()[rows]], new[faces.triangles[kept]])

    def part(self, low: int, high: int, triangles: slice) -> dict[str, Any]:
        """What `orient` wants of the features `low` … `high` - 1."""
        first, end = np.searchsorted(self.owner, [low, high])
        return {
            "corners": self.faces.points[self.faces.corner[self.rows[first:end]]],
            "corner_owner": self.owner[first:end].astype(np.int64) - low,
            "triangle_corners": self.triangles[triangles].astype(np.int64) - first,
            "follow": self.follow[first:end].astype(np.int64) - first,
        }


def _triangle_edges(mesh: Mesh) -> dict[str, Any]:
    """The same of triangles."""
    corners = np.arange(3 * len(mesh)).reshape(-1, 3)
    return {
        "corners": mesh.triangles.reshape(-1, 3),
        "corner_owner": np.repeat(mesh.feature, 3).astype(np.int64),
        "triangle_corners": corners,
        "follow": np.roll(corners, -1, axis=1).reshape(-1),
    }


def _blocks(start: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Runs of whole features, (first, one past the last), of about _BLOCK corners each."""
    cut = np.flatnonzero(np.diff(start[:-1] // _BLOCK)) + 1
    edges = [0, *cut.tolist(), len(start) - 1]
    return list(pairwise(edges))


def _used(materials: list[Material], material: NDArray[np.int32]) -> tuple[list[Material], NDArray[np.int32]]:
    """Only the materials that a triangle has, equal ones once; a material that says nothing is none."""
    number: dict[Material, int] = {}
    new = np.full(len(materials) + 1, -1, np.int32)
    for old in np.unique(material[material >= 0]).tolist():
        if materials[old] != Material():
            new[old] = number.setdefault(materials[old], len(number))
    return list(number), new[material]

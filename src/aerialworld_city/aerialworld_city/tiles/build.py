"""One source file as a tile: read, projected, triangulated, its shells turned outward."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Content, Feature, Polygons, Skipped, Tile
from aerialworld_city.geodesy import Projection, to_plane
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.packing import ranges
from aerialworld_city.geometry.solids import Shells, orient
from aerialworld_city.geometry.triangulate import Faces, triangulate_polygons
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.discover import SourceFile
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

#: Points that are projected and triangulated at a time, which bounds the memory beside the tile itself.
_BLOCK = 200_000
_NO_PLACE = "has a coordinate that is no place on earth"
_NO_UV = "triangles without texture coordinates, drawn by class"


def build_tile(file: SourceFile, projection: Projection, options: ConversionOptions) -> Tile:
    """The tile of one source file, in the projection's plane.

    Raises InputError (UnsafeInputError) that names the file when it cannot be read; with `options.strict` also at the
    first broken object.
    """
    if file.format == "obj":
        from aerialworld_city.readers.obj import read_obj

        tile = read_obj(file, projection, options)
    elif file.format == "mesh":
        from aerialworld_city.readers.mesh import read_mesh

        tile = read_mesh(file, projection, options)
    else:
        from aerialworld_city.readers.citygml import read_citygml  # lxml is imported only for CityGML

        tile = place(read_citygml(file, options), projection)
    stop_if_strict(file, tile.skipped, options)
    return tile


def stop_if_strict(file: SourceFile, skipped: list[Skipped], options: ConversionOptions) -> None:
    """Raises InputError that names the first thing left out, where `options.strict` asks for it."""
    if options.strict and skipped:
        first = skipped[0]
        raise InputError(f"{file.path}: {first.id}: {first.reason} (--strict stops here)")


def place(content: Content, projection: Projection) -> Tile:
    """Polygons in a file's coordinates as a tile.

    A body with a corner that is no place on earth is left out whole; other polygons that give no triangle are left out
    alone. Both stand in `skipped`. The order of features stays.
    """
    tile = Tile(
        content.source,
        projection.epsg,
        [],
        content.materials,
        Mesh.empty(),
        to_plane(content.terrain.reshape(-1, 3), content.epsg, projection).reshape(-1, 3, 3),
        list(content.skipped),
        dict(content.counts),
        {},
        list(content.notes),
        content.generated,
    )
    space = _Space.of(content.polygons)
    for block in _blocks(content.polygons):
        mesh = _place_block(content, block, projection, tile)
        space.add(mesh)
    tile.mesh = space.mesh()
    return tile


@dataclass(eq=False)
class _Block:
    """Whole features: polygons `chosen` (N,), with `low` ≤ their features < `high`."""

    chosen: NDArray[np.int64]
    low: int
    high: int


def _blocks(polygons: Polygons) -> list[_Block]:
    order = np.argsort(polygons.feature, kind="stable")
    feature = polygons.feature[order]
    size = np.diff(polygons.ring_start[polygons.polygon_start])[order]
    if not len(order):
        return []
    starts = np.flatnonzero(np.r_[True, feature[1:] != feature[:-1]])
    before = (np.cumsum(size) - size)[starts]
    cut = np.r_[0, 1 + np.flatnonzero(before[1:] // _BLOCK != before[:-1] // _BLOCK)]
    edges = [*starts[cut].tolist(), len(order)]
    return [_Block(order[b:e], int(feature[b]), int(feature[e - 1]) + 1) for b, e in pairwise(edges)]


def _place_block(content: Content, block: _Block, projection: Projection, tile: Tile) -> Mesh:
    """The block's triangles; features that have any are appended to the tile."""
    polygons, chosen = content.polygons, block.chosen
    features = content.features[block.low : block.high]
    own = polygons.feature[chosen].astype(np.int64) - block.low
    held = np.diff(polygons.polygon_start)[chosen]
    rings = ranges(polygons.polygon_start[chosen], held)
    polygon_start = np.r_[0, np.cumsum(held)]
    long = np.diff(polygons.ring_start)[rings]
    rows = ranges(polygons.ring_start[rings], long)
    ring_start = np.r_[0, np.cumsum(long)]
    points = to_plane(polygons.points[rows], content.epsg, projection)
    uv = None if polygons.uv is None else polygons.uv[rows]
    faces = triangulate_polygons(points, ring_start, polygon_start, uv)
    lies = np.array([KINDS[f.kind].lies for f in features])
    left_out = _tell_problems(faces, features, own, lies, points, ring_start[polygon_start], tile)
    keep = ~left_out[own[faces.polygon]]
    corners, polygon = faces.corners[keep], faces.polygon[keep]
    mesh, shells = _oriented(faces, corners, polygon, own, polygons, chosen, lies, content, tile)
    for name, number in shells.changes().items():
        tile.changed[name] = tile.changed.get(name, 0) + number
    has = np.bincount(mesh.feature, minlength=len(features)) > 0
    for number in np.flatnonzero(~has & ~left_out).tolist():
        tile.skipped.append(Skipped(content.source, features[number].id, "no usable polygon"))
    rank = np.cumsum(has) - 1 + len(tile.features)
    for number in np.flatnonzero(has).tolist():
        feature = features[number]
        feature.volume, feature.closed = float(shells.volume[number]), bool(shells.closed[number])
        tile.features.append(feature)
    mesh.feature = rank[mesh.feature].astype(np.int32)
    return mesh


def _tell_problems(
    faces: Faces,
    features: list[Feature],
    own: NDArray[np.int64],
    lies: NDArray[np.bool_],
    points: Array,
    polygon_points: NDArray[np.int64],
    tile: Tile,
) -> NDArray[np.bool_]:
    """Report polygons that gave no triangle; returns which features are left out whole."""
    left_out = np.zeros(len(features), bool)
    if not faces.problems:
        return left_out
    first = np.searchsorted(own, np.arange(len(features)))
    for number, reason in faces.problems:
        feature = int(own[number])
        if left_out[feature]:
            continue
        name = f"polygon {number - first[feature] + 1}"
        low, high = polygon_points[number], polygon_points[number + 1]
        if not lies[feature] and not np.isfinite(points[low:high]).all():
            left_out[feature] = True
            tile.skipped.append(Skipped(tile.source, features[feature].id, f"{name} {_NO_PLACE}"))
            continue
        tile.skipped.append(Skipped(tile.source, f"{features[feature].id} {name}", reason))
    return left_out


def _oriented(
    faces: Faces,
    corners: NDArray[np.int64],
    polygon: NDArray[np.int64],
    own: NDArray[np.int64],
    polygons: Polygons,
    chosen: NDArray[np.int64],
    lies: NDArray[np.bool_],
    content: Content,
    tile: Tile,
) -> tuple[Mesh, Shells]:
    material = polygons.material[chosen][polygon]
    uv = None
    if faces.uv is not None:
        uv = faces.uv[corners]
    pictured = np.array([m.image is not None for m in content.materials] + [False])
    missing = np.isnan(uv).any(axis=(1, 2)) if uv is not None else np.ones(len(corners), bool)
    bare = pictured[material] & missing
    if bare.any():
        material = np.where(bare, -1, material)
        tile.changed[_NO_UV] = tile.changed.get(_NO_UV, 0) + int(bare.sum())
    if uv is not None:
        uv[missing] = 0.0
    mesh = Mesh(
        faces.points[corners],
        own[polygon].astype(np.int32),
        polygons.surface[chosen][polygon].astype(np.int8),
        np.zeros(len(corners), bool),
        material.astype(np.int32),
        uv,
    )
    owner = own[faces.owner]
    return orient(
        mesh,
        len(lies),
        lies=lies,
        corners=faces.points,
        corner_owner=owner,
        triangle_corners=corners,
        follow=faces.follow,
    )


class _Space:
    """Room for all triangles of a file; pages that are not used are never touched."""

    def __init__(self, bound: int, uv: bool) -> None:
        self.whole = Mesh(
            np.empty((bound, 3, 3)),
            np.empty(bound, np.int32),
            np.empty(bound, np.int8),
            np.empty(bound, np.bool_),
            np.empty(bound, np.int32),
            np.empty((bound, 3, 2), np.float32) if uv else None,
        )
        self.used = 0

    @classmethod
    def of(cls, polygons: Polygons) -> _Space:
        """A polygon of n points and h holes has at most n + 2h - 2 triangles."""
        rings = np.diff(polygons.polygon_start)
        points = np.diff(polygons.ring_start[polygons.polygon_start])
        bound = int(np.maximum(points + 2 * (rings - 1) - 2, 0).sum())
        return cls(bound, polygons.uv is not None)

    def add(self, mesh: Mesh) -> None:
        part = slice(self.used, self.used + len(mesh))
        self.whole.triangles[part] = mesh.triangles
        self.whole.feature[part] = mesh.feature
        self.whole.surface[part] = mesh.surface
        self.whole.double[part] = mesh.double
        self.whole.material[part] = mesh.material
        if self.whole.uv is not None and mesh.uv is not None:
            self.whole.uv[part] = mesh.uv
        self.used += len(mesh)

    def mesh(self) -> Mesh:
        return self.whole.take(slice(0, self.used))

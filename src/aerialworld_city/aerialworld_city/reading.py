"""All files of a source as one city: triangles in one plane system, with what belongs to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Building, CityContent, Polygon, RoadArea, Skipped
from aerialworld_city.geodesy import GEOGRAPHIC, Projection, find_zone, plane_of, to_plane
from aerialworld_city.geometry.old_solids import Mesh
from aerialworld_city.geometry.triangulate import PolygonError, triangulate
from aerialworld_city.report import ConversionReport
from aerialworld_city.sources.discover import SourceFile
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

Progress = Callable[[str, float], None]


@dataclass(eq=False)
class City:
    """Everything in one plane system (then in map): the buildings' triangles and what goes with them."""

    buildings: list[Building]
    mesh: Mesh
    roads: list[RoadArea]
    terrain: Array
    edges: Array
    edge_owner: NDArray[np.int64]


def read_city(
    source: Path, files: list[SourceFile], crs: int | None, strict: bool, report: ConversionReport, tell: Progress
) -> tuple[City, Projection, bool]:
    """Read every file; the result's coordinates are east, north, height of the projection."""
    if files[0].module.startswith("obj"):
        return _read_obj(source, files, crs, strict, report, tell)
    from aerialworld_city.readers.old_citygml import read_citygml  # lxml is imported only for CityGML

    contents = []
    for number, file in enumerate(files):
        contents.append(read_citygml(file.path, file.name, crs=crs, strict=strict))
        tell("read", 0.35 * (number + 1) / len(files))
    _count(contents, report)
    if not any(c.buildings for c in contents):
        raise InputError(_no_building(source, contents))
    projection = _projection(contents, crs)
    buildings: list[Building] = []
    roads: list[RoadArea] = []
    solids: list[_Solid] = []
    for content in contents:
        _to_plane(content, projection)
        solids += _solids(content, buildings, report)
        roads += content.roads
    stop_if_strict(report, strict, source)
    if not solids:
        raise InputError(_no_building(source, contents) + " that is usable: " + report.skipped[0].reason)
    numbers = np.arange(len(solids))
    owner = np.repeat(numbers, [len(s.triangles) for s in solids])
    mesh = Mesh(
        np.concatenate([s.triangles for s in solids]),
        owner,
        np.concatenate([s.surface for s in solids]),
        np.zeros(len(owner), bool),
    )
    terrain = [c.terrain for c in contents if c.terrain is not None]
    city = City(
        buildings,
        mesh,
        roads,
        np.concatenate(terrain) if terrain else np.zeros((0, 3, 3)),
        np.concatenate([s.edges for s in solids]),
        np.repeat(numbers, [len(s.edges) for s in solids]),
    )
    return city, projection, all(c.generated for c in contents)


def _read_obj(
    source: Path, files: list[SourceFile], crs: int | None, strict: bool, report: ConversionReport, tell: Progress
) -> tuple[City, Projection, bool]:
    from aerialworld_city.readers.old_obj import read_obj

    buildings: list[Building] = []
    contents, parts, owners, terrain = [], [], [], []
    projection: Projection | None = None
    for number, file in enumerate(files):
        content, triangles, piece = read_obj(file.path, file.name, crs=crs)
        contents.append(content)
        zone = Projection(content.epsg)
        projection = projection or zone
        if zone.epsg != projection.epsg:
            corners = triangles.reshape(-1, 3)
            east, north = projection.forward(*zone.inverse(corners[:, 0], corners[:, 1]))
            triangles = np.column_stack([east, north, corners[:, 2]]).reshape(-1, 3, 3)
        if file.module == "obj-dem":
            terrain.append(triangles)
            content.count("Triangle", len(triangles))
        else:
            pieces, index = np.unique(piece, return_inverse=True)
            parts.append(triangles)
            owners.append(index.reshape(-1) + len(buildings))
            buildings += [Building(f"{Path(file.name).stem}_{p + 1:05d}", file.name, 1, []) for p in pieces]
            content.count("Building", len(pieces))
        tell("read", 0.35 * (number + 1) / len(files))
    _count(contents, report)
    stop_if_strict(report, strict, source)
    if not parts or projection is None:
        raise InputError(_no_building(source, contents))
    triangles, owner = np.concatenate(parts), np.concatenate(owners)
    mesh = Mesh(triangles, owner, np.zeros(len(owner), np.int8), np.zeros(len(owner), bool))
    edges = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2, 3)
    ground = np.concatenate(terrain) if terrain else np.zeros((0, 3, 3))
    return City(buildings, mesh, [], ground, edges, np.repeat(owner, 3)), projection, False


def _count(contents: list[CityContent], report: ConversionReport) -> None:
    report.read["files"] = len(contents)
    for content in contents:
        report.skipped += content.skipped
        for key, value in content.counts.items():
            report.read[key] = report.read.get(key, 0) + value
    if report.read.get("appearances"):
        report.notes.append("the source's textures are not used; façades and roofs are drawn")


def _no_building(source: Path, contents: list[CityContent]) -> str:
    found = {k: v for c in contents for k, v in c.counts.items()}
    what = ", ".join(f"{v} {k}" for k, v in sorted(found.items())) or "nothing else"
    reasons = [s.reason for c in contents for s in c.skipped][:1]
    return f"{source}: no building in it ({what})" + "".join(f"; {r}" for r in reasons)


def _projection(contents: list[CityContent], crs: int | None) -> Projection:
    """The plane zone: as asked for, else the source's own, else by the middle of the buildings."""
    if crs is not None and crs not in GEOGRAPHIC:
        return Projection(crs)
    first = next(c for c in contents if c.buildings)
    if first.epsg not in GEOGRAPHIC:
        return Projection(plane_of(first.epsg))
    rings = [
        p.rings[0][0]
        for c in contents
        if c.epsg in GEOGRAPHIC
        for b in c.buildings
        for p in b.polygons[:1]
        if len(p.rings[0])
    ]
    if not rings:
        raise InputError(f"{first.source}: no building has a coordinate")
    corners = np.array(rings)[:, :2]
    corners = corners[np.isfinite(corners).all(axis=1)]
    if not len(corners):
        raise InputError(f"{first.source}: the buildings' coordinates are no finite numbers; export the file again")
    latitude, longitude = np.median(corners, axis=0)
    try:
        return Projection(find_zone(float(latitude), float(longitude)))
    except InputError as error:
        raise InputError(f"{first.source}: the buildings' {error}") from error


def _to_plane(content: CityContent, projection: Projection) -> None:
    """Project all of a file's coordinates at once."""
    polygons = [p for group in (content.buildings, content.roads) for item in group for p in item.polygons]
    rings = [r for p in polygons for r in p.rings]
    if rings:
        plane = to_plane(np.concatenate(rings), content.epsg, projection)
        ends = np.cumsum([len(r) for r in rings])[:-1]
        moved = iter(np.split(plane, ends))
        for polygon in polygons:
            polygon.rings = [next(moved) for _ in polygon.rings]
    if content.terrain is not None:
        content.terrain = to_plane(content.terrain.reshape(-1, 3), content.epsg, projection).reshape(-1, 3, 3)


@dataclass(eq=False)
class _Solid:
    """One building: triangles (T, 3, 3), surface (T,), edges (E, 2, 3)."""

    triangles: Array
    surface: NDArray[np.int8]
    edges: Array


def _solids(content: CityContent, kept: list[Building], report: ConversionReport) -> list[_Solid]:
    """The usable buildings of a file; `kept` grows by them in the same order."""
    result = []
    for building in content.buildings:
        faces, kinds = [], []
        broken = _unplaced(building.polygons)
        for number, polygon in enumerate([] if broken else building.polygons, 1):
            try:
                face = triangulate(polygon.rings)
            except PolygonError as error:
                report.skipped.append(Skipped(building.source, f"{building.id} polygon {number}", str(error)))
                continue
            faces.append(face)
            kinds.append(np.full(len(face.triangles), polygon.surface, np.int8))
        building.polygons = []
        if not faces:
            report.skipped.append(Skipped(building.source, building.id, broken or "no usable polygon"))
            continue
        kept.append(building)
        triangles = np.concatenate([f.triangles for f in faces])
        result.append(_Solid(triangles, np.concatenate(kinds), np.concatenate([f.edges for f in faces])))
    return result


def _unplaced(polygons: list[Polygon]) -> str | None:
    for number, polygon in enumerate(polygons, 1):
        if not all(np.isfinite(r).all() for r in polygon.rings):
            return f"polygon {number} has a coordinate that is no place on earth"
    return None


def stop_if_strict(report: ConversionReport, strict: bool, source: Path) -> None:
    if strict and report.skipped:
        first = report.skipped[0]
        raise InputError(f"{source}: {first.file}: {first.id}: {first.reason} (--strict stops here)")

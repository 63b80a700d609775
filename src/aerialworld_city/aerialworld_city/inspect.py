"""What a city source holds, without converting it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Content, Feature, Material, Skipped, Tile
from aerialworld_city.geodesy import GEOGRAPHIC, Projection, plane_of
from aerialworld_city.kinds import KINDS
from aerialworld_city.options import ConversionOptions
from aerialworld_city.plane_system import choose_zone
from aerialworld_city.sources.discover import Each, each_source
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

#: Version of PLATEAU's product specification by that of the i-UR schema (its namespace); the last is test data.
SPECIFICATIONS = {"1.4": "v1", "2.0": "v2", "3.0": "v3", "3.1": "v4", "3.2": "v5", "4.0": "CityGML 3.0"}


@dataclass
class _Seen:
    """What one file gave, in the form that all readers share; `box` latitude, longitude, height, lowest and highest."""

    epsg: int
    features: list[Feature]
    materials: list[Material]
    skipped: list[Skipped]
    counts: dict[str, int]
    notes: list[str]
    terrain: int
    box: Array | None
    rises: bool
    namespaces: list[str] = field(default_factory=list)
    generated: bool = False


def city_info(
    paths: Path | Sequence[Path],
    options: ConversionOptions | None = None,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """What is in files, folders or zip archives, as `convert` with the same options would read it.

    Keys: `sources`, `files` (each with its module, mesh, counts, images, error), `modules` and `coverage` (files and
    mesh codes by module), `kinds` (objects by kind and level of detail), `counts` (elements by name),
    `terrain_triangles`, `epsg`, `zone` (the plane zone that `convert` would choose; None with a `zone_problem` where
    there is none), `uro`, `specification`, `textures` (images named, present, missing), `bounds` (latitude, longitude
    in degrees and height in metres above T.P., lowest and highest; None where nothing has a place), `skipped`,
    `passed_over`, `generated`.

    A file that cannot be read is listed with its `error`; where none can, that error is raised (InputError), as are a
    missing source and one without a city file.
    """
    options = options or ConversionOptions()
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    result: dict[str, Any] = {"sources": [Path(p).name or str(p) for p in given], "files": []}
    total = _Total()
    first_error: InputError | None = None
    with TemporaryDirectory(prefix="aerialworld-") as work, each_source(given, options, Path(work)) as sources:
        zone, problem = _zone(sources, options)
        for number, (file, images) in enumerate(sources):
            if progress is not None:
                progress(file.name, number / len(sources))
            entry: dict[str, Any] = {
                "name": file.name,
                "bytes": file.path.stat().st_size,
                "module": file.module or "unknown",
                "format": file.format,
                "mesh": file.mesh,
            }
            result["files"].append(entry)
            try:
                with file.speaking():
                    seen = _read(file, options, zone)
            except InputError as error:
                first_error = first_error or error
                entry["error"] = str(error).removeprefix(f"{file.shown}: ").replace(file.shown, file.name)
                continue
            seen.skipped = [replace(s, reason=file.said(s.reason)) for s in seen.skipped]
            seen.notes = [file.said(note) for note in seen.notes]
            entry |= _describe(seen, images)
            total.add(file, seen, entry)
        result["passed_over"] = sources.passed_over
    if first_error is not None and all("error" in entry for entry in result["files"]):
        raise first_error
    return result | total.to_dict() | {"zone": None if zone is None else zone.epsg, "zone_problem": problem}


def _zone(sources: Each, options: ConversionOptions) -> tuple[Projection | None, str]:
    try:
        return choose_zone(sources.peek(), sources.city_code, options), ""
    except InputError as error:
        return None, str(error)


# -- one file -----------------------------------------------------------------------------------------------------


def _read(file: SourceFile, options: ConversionOptions, zone: Projection | None) -> _Seen:
    if file.format == "citygml":
        from aerialworld_city.readers.citygml import read_citygml

        return _of_content(read_citygml(file, options))
    if zone is None:
        zone = choose_zone([file], None, options)
    if file.format == "obj":
        from aerialworld_city.readers.obj import read_obj

        return _of_tile(read_obj(file, zone, options), zone)
    from aerialworld_city.readers.mesh import read_mesh

    return _of_tile(read_mesh(file, zone, options), zone)


def _of_content(content: Content) -> _Seen:
    polygons = content.polygons
    lies = np.array([KINDS[f.kind].lies for f in content.features], bool)
    sizes = np.diff(polygons.ring_start[polygons.polygon_start])
    flat = np.repeat(lies[polygons.feature], sizes) if len(lies) else np.zeros(len(polygons.points), bool)
    points = np.concatenate([polygons.points.reshape(-1, 3), content.terrain.reshape(-1, 3)])
    # Roads stand at z = 0 in most releases: heights are those of the bodies and the terrain, where there are any.
    rises = np.concatenate([~flat, np.ones(len(points) - len(flat), bool)])
    if content.epsg in GEOGRAPHIC:
        near = (np.abs(points[:, 0]) <= 90) & (np.abs(points[:, 1]) <= 180)
        box = _box(points[near], rises[near])
    else:
        box = _on_earth(_box(points[:, [1, 0, 2]], rises), Projection(plane_of(content.epsg)))
    return _Seen(
        content.epsg,
        content.features,
        content.materials,
        content.skipped,
        content.counts,
        content.notes,
        len(content.terrain),
        box,
        bool(rises.any()),
        content.namespaces,
        content.generated,
    )


def _of_tile(tile: Tile, zone: Projection) -> _Seen:
    points = np.concatenate([tile.mesh.triangles.reshape(-1, 3), tile.terrain.reshape(-1, 3)])
    box = _on_earth(_box(points, np.ones(len(points), bool)), zone)
    return _Seen(
        tile.epsg,
        tile.features,
        tile.materials,
        tile.skipped,
        tile.counts,
        tile.notes,
        len(tile.terrain),
        box,
        True,
        generated=tile.generated,
    )


def _box(points: Array, rises: NDArray[np.bool_]) -> Array | None:
    """(2, 3) lowest and highest of the finite rows; heights of those that rise, where there are any."""
    finite = np.isfinite(points).all(axis=1)
    points, rises = points[finite], rises[finite]
    if len(points) == 0:
        return None
    heights = points[rises, 2] if rises.any() else points[:, 2]
    low, high = points.min(axis=0), points.max(axis=0)
    return np.array([[low[0], low[1], heights.min()], [high[0], high[1], heights.max()]])


def _on_earth(box: Array | None, projection: Projection) -> Array | None:
    """A box of east, north, height as latitude, longitude, height, by its four corners."""
    if box is None:
        return None
    (west, south, low), (east, north, high) = box
    corners = np.array([west, east, west, east]), np.array([south, south, north, north])
    latitude, longitude = projection.inverse(*corners)
    return np.array([[latitude.min(), longitude.min(), low], [latitude.max(), longitude.max(), high]])


def _describe(seen: _Seen, images: Any) -> dict[str, Any]:
    named = sorted({m.image for m in seen.materials if m.image})
    return {
        "epsg": seen.epsg,
        "kinds": _kinds(seen.features),
        "counts": dict(sorted(seen.counts.items())),
        "terrain_triangles": seen.terrain,
        "images": {"named": len(named), "missing": sum(not images(name) for name in named)},
        "skipped": len(seen.skipped),
        "notes": seen.notes,
    }


def _kinds(features: Sequence[Feature]) -> dict[str, dict[str, int]]:
    """Objects by kind and level of detail."""
    kinds: dict[str, dict[str, int]] = {}
    for feature in features:
        levels = kinds.setdefault(feature.kind, {})
        levels[f"LOD{feature.lod}"] = levels.get(f"LOD{feature.lod}", 0) + 1
    return {kind: dict(sorted(levels.items())) for kind, levels in sorted(kinds.items())}


# -- all files ----------------------------------------------------------------------------------------------------


class _Total:
    """The sum over the files that could be read."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[str, int]] = {}
        self.modules: dict[str, int] = {}
        self.coverage: dict[str, set[str]] = {}
        self.counts: dict[str, int] = {}
        self.epsg: set[int] = set()
        self.spaces: set[str] = set()
        self.boxes: list[Array] = []
        self.rises: list[bool] = []
        self.generated: list[bool] = []
        self.named = self.missing = self.terrain = 0
        self.skipped: list[Skipped] = []

    def add(self, file: SourceFile, seen: _Seen, entry: dict[str, Any]) -> None:
        module = entry["module"]
        for kind, levels in entry["kinds"].items():
            mine = self.kinds.setdefault(kind, {})
            for level, count in levels.items():
                mine[level] = mine.get(level, 0) + count
        self.modules[module] = self.modules.get(module, 0) + 1
        if file.mesh:
            self.coverage.setdefault(module, set()).add(file.mesh)
        for key, value in seen.counts.items():
            self.counts[key] = self.counts.get(key, 0) + value
        self.epsg.add(seen.epsg)
        self.spaces.update(space for space in seen.namespaces if "/uro/" in space)
        if seen.box is not None:
            self.boxes.append(seen.box)
            self.rises.append(seen.rises)
        self.generated.append(seen.generated)
        self.named += entry["images"]["named"]
        self.missing += entry["images"]["missing"]
        self.terrain += seen.terrain
        self.skipped += seen.skipped

    def to_dict(self) -> dict[str, Any]:
        return {
            "modules": self.modules,
            "coverage": {module: sorted(meshes) for module, meshes in self.coverage.items()},
            "kinds": {kind: dict(sorted(levels.items())) for kind, levels in sorted(self.kinds.items())},
            "counts": dict(sorted(self.counts.items())),
            "terrain_triangles": self.terrain,
            "epsg": sorted(self.epsg),
            "uro": sorted(self.spaces),
            "specification": sorted({_specification(space) for space in self.spaces}),
            "textures": {"named": self.named, "present": self.named - self.missing, "missing": self.missing},
            "bounds": self._bounds(),
            "skipped": [{"file": s.file, "id": s.id, "reason": s.reason} for s in self.skipped],
            "generated": bool(self.generated) and all(self.generated),
        }

    def _bounds(self) -> list[list[float]] | None:
        if not self.boxes:
            return None
        boxes = np.array(self.boxes)
        rising = boxes[self.rises] if any(self.rises) else boxes
        low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
        low[2], high[2] = rising[:, 0, 2].min(), rising[:, 1, 2].max()
        return [low.tolist(), high.tolist()]


def _specification(space: str) -> str:
    version = space.rstrip("/").rpartition("/")[2]
    return f"{SPECIFICATIONS.get(version, 'unknown')} (i-UR {version})"

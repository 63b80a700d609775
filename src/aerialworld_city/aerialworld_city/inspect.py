"""What a city source holds, without converting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_city.features import CityContent
from aerialworld_city.geodesy import GEOGRAPHIC, Projection, plane_of
from aerialworld_city.sources.discover import SourceFile, find_sources
from aerialworld_core.frames import Array


def city_info(source: Path, *, crs: int | None = None) -> dict[str, Any]:
    """Files, modules, counts by kind and level of detail, reference systems, bounds, i-UR version.

    `bounds` are latitude, longitude (degrees) and height (m above T.P.) of LOD1 and LOD2 geometry and terrain, lowest
    and highest, None where nothing has a place. Raises InputError as `convert` does for files that cannot be read; a
    source without buildings is no error here.
    """
    source = Path(source)
    files, passed = find_sources(source)
    modules: dict[str, int] = {}
    counts: dict[str, int] = {}
    crs_codes: set[int] = set()
    spaces: set[str] = set()
    entries: list[dict[str, Any]] = []
    places: list[Array] = []
    generated = []
    for file in files:
        content, corners = _read(file, crs)
        module = file.module or "unknown"
        modules[module] = modules.get(module, 0) + 1
        for key, value in content.counts.items():
            counts[key] = counts.get(key, 0) + value
        crs_codes.add(content.epsg)
        spaces.update(s for s in content.namespaces if "/uro/" in s)
        generated.append(content.generated)
        bounds = _bounds(corners, content.epsg)
        places += [bounds] if bounds is not None else []
        skipped = len(content.skipped)
        entries.append({**file.fingerprint(), "module": module, "counts": content.counts, "skipped": skipped})
    whole = np.concatenate(places) if places else None
    return {
        "source": source.name,
        "files": entries,
        "passed_over": passed,
        "modules": modules,
        "counts": counts,
        "epsg": sorted(crs_codes),
        "uro": sorted(spaces),
        "generated": all(generated),
        "bounds": None if whole is None else [whole.min(axis=0).tolist(), whole.max(axis=0).tolist()],
    }


def _read(file: SourceFile, crs: int | None) -> tuple[CityContent, Array]:
    """A file's content and the corners (N, 3) of its geometry, in its own coordinates (OBJ: east, north, height)."""
    if file.module.startswith("obj"):
        from aerialworld_city.readers.old_obj import read_obj

        content, triangles, piece = read_obj(file.path, file.name, crs=crs)
        if file.module == "obj":
            content.count("Building", len(np.unique(piece)))
            content.count("Building LOD1", len(np.unique(piece)))
        return content, triangles.reshape(-1, 3)
    from aerialworld_city.readers.citygml import read_citygml

    content = read_citygml(file.path, file.name, crs=crs)
    rings = [r for b in content.buildings for p in b.polygons for r in p.rings]
    if content.terrain is not None:
        rings.append(content.terrain.reshape(-1, 3))
    corners = np.concatenate(rings) if rings else np.zeros((0, 3))
    if content.epsg not in GEOGRAPHIC:
        corners = corners[:, [1, 0, 2]]
    return content, corners


def _bounds(corners: Array, epsg: int) -> Array | None:
    """(2, 3) latitude, longitude, height; for plane systems by way of the four corners of the box."""
    usable = np.isfinite(corners).all(axis=1)
    if epsg in GEOGRAPHIC:
        usable &= (np.abs(corners[:, 0]) <= 90) & (np.abs(corners[:, 1]) <= 180)
    corners = corners[usable]
    if len(corners) == 0:
        return None
    low, high = corners.min(axis=0), corners.max(axis=0)
    if epsg in GEOGRAPHIC:
        return np.array([low, high])
    east, north = np.array([low[0], high[0], low[0], high[0]]), np.array([low[1], low[1], high[1], high[1]])
    latitude, longitude = Projection(plane_of(epsg)).inverse(east, north)
    return np.array([[latitude.min(), longitude.min(), low[2]], [latitude.max(), longitude.max(), high[2]]])

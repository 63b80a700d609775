"""The city cut into squares: one model per square and class, each with one mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_city.geometry.old_solids import Mesh, bounding_boxes, double_sided, normals
from aerialworld_city.geometry.terrain import Terrain
from aerialworld_city.reading import City, Progress
from aerialworld_city.report import ConversionReport
from aerialworld_city.writing import looks
from aerialworld_city.writing.dress import dress
from aerialworld_city.writing.glb import Part, flat_part, smooth_part, write_glb
from aerialworld_city.writing.world_writer import KIND_OF_LABEL, write_model
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

#: More models than this are no world that a simulator loads.
MAX_SQUARES = 5000


def write_models(
    folder: Path,
    city: City,
    mesh: Mesh,
    bases: Array,
    tops: Array,
    terrain: Terrain,
    roads: dict[int, Array],
    chunk: float,
    report: ConversionReport,
    tell: Progress,
) -> tuple[list[str], list[str]]:
    """Write every chunk's models. Returns their names, and for each building the model that holds it."""
    _refuse_too_many(terrain.triangles, chunk)
    models: list[str] = []
    both = double_sided(mesh)
    which, names, uv = dress(both, bases, tops, [b.id for b in city.buildings], [b.usage for b in city.buildings])
    n = normals(both.triangles)
    boxes = bounding_boxes(mesh, len(city.buildings))
    place = np.floor(boxes[:, :, :2].mean(axis=1) / chunk).astype(np.int64)
    owners = [_model_name(cell, "building") for cell in place]
    report.written.update({"buildings": len(city.buildings), "building triangles": len(both.triangles)})
    for cell, rows in _cells(place[both.building]):
        parts = []
        for look in np.unique(which[rows]):
            part = rows[which[rows] == look]
            parts.append(flat_part(looks.look(names[look]), both.triangles[part], n[part], uv[part]))
        _add_model(folder, cell, "building", parts, models)
    tell("write", 0.8)
    surfaces = {"terrain": terrain.triangles, **{KIND_OF_LABEL[k]: t for k, t in roads.items()}}
    for kind, triangles in surfaces.items():
        report.written[f"{kind} triangles"] = len(triangles)
        centre = np.floor(triangles[:, :, :2].mean(axis=1) / chunk).astype(np.int64)
        for cell, rows in _cells(centre):
            _add_model(folder, cell, kind, [smooth_part(looks.look(kind), triangles[rows])], models)
    report.written["models"] = len(models)
    low = np.minimum(both.triangles.min(axis=(0, 1)), terrain.triangles.min(axis=(0, 1)))
    high = np.maximum(both.triangles.max(axis=(0, 1)), terrain.triangles.max(axis=(0, 1)))
    report.bounds = {
        "buildings": _rounded([both.triangles.min(axis=(0, 1)), both.triangles.max(axis=(0, 1))]),
        "world": _rounded([low, high]),
    }
    return sorted(models), owners


def _refuse_too_many(triangles: Array, chunk: float) -> None:
    squares = len(np.unique(np.floor(triangles[:, :, :2].mean(axis=1) / chunk), axis=0))
    if squares > MAX_SQUARES:
        raise InputError(
            f"the city covers {squares} squares of {chunk:g} m (at most {MAX_SQUARES}): choose a larger --chunk or "
            "fewer files; a few coordinates far off the city do this too"
        )


def _rounded(corners: list[Array]) -> list[list[float]]:
    return [[round(float(v), 4) for v in corner] for corner in corners]


def _model_name(cell: Any, kind: str) -> str:
    return f"x{cell[0]}y{cell[1]}_{kind}"


def _cells(place: Any) -> list[tuple[Any, Any]]:
    """(cell, rows) for every chunk that occurs, in order."""
    cells, inverse = np.unique(place, axis=0, return_inverse=True)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(inverse.reshape(-1)))[:-1]
    return list(zip(cells, np.split(order, ends), strict=True))


def _add_model(folder: Path, cell: Any, kind: str, parts: list[Part], models: list[str]) -> None:
    name = _model_name(cell, kind)
    write_model(folder, name, kind, write_glb(parts))
    models.append(name)

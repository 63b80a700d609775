"""The old way to the ground, which goes with the old conversion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import RoadArea, Skipped
from aerialworld_city.geometry.old_solids import Mesh, normals
from aerialworld_city.geometry.overlay import fans, subdivide
from aerialworld_city.geometry.terrain import Terrain
from aerialworld_city.geometry.triangulate import PolygonError, triangulate
from aerialworld_core.frames import Array

#: Roads lie this far above the terrain, so that they win over it in every sensor, metres.
ROAD_OFFSET = 0.05
#: A base higher than this above the lowest ground under it floats, metres.
_FLOAT = 0.05
#: Corners within this of a building's lowest one form its base, metres.
_BASE = 0.01
#: A road at its own heights belongs on the ground when its middle is this near to it, metres; else it is a bridge.
_NEAR_GROUND = 1.5
#: Triangles are cut to this size before the overlay, which keeps the candidate pairs few, metres.
_PIECE = 40.0


def lowest_ground(mesh: Mesh, bases: Array, terrain: Terrain, buildings: int) -> Array:
    """(B,) lowest terrain under each building's base polygon; NaN where it has none or there is no terrain.

    Exact: the base's triangles are cut along the terrain's, and the lowest corner of the pieces is taken.
    """
    down = normals(mesh.triangles)[:, 2] < -0.5
    low = (mesh.triangles[:, :, 2] <= bases[mesh.building, None] + _BASE).all(axis=1)
    chosen = np.flatnonzero(down & low)
    result = np.full(buildings, np.inf)
    for begin in range(0, len(chosen), 20_000):
        part = chosen[begin : begin + 20_000]
        pieces, origin = subdivide(mesh.triangles[part][:, :, :2], _PIECE)
        polygon, count, query, _ = terrain.index.overlay(pieces)
        valid = np.arange(polygon.shape[1]) < count[:, None]
        height = np.where(valid, polygon[..., 2], np.inf).min(axis=1, initial=np.inf)
        np.minimum.at(result, mesh.building[part][origin[query]], height)
    result[~np.isfinite(result)] = np.nan
    return result


def reach_down(mesh: Mesh, terrain: Terrain, buildings: int) -> tuple[Mesh, Array, NDArray[np.int64]]:
    """Lower the bases of floating buildings to the lowest ground under them, and only those.

    Returns the mesh, each building's original base height (B,) (inf where it has no triangle), and which were lowered.
    """
    bases = np.full(buildings, np.inf)
    np.minimum.at(bases, mesh.building, mesh.triangles[:, :, 2].min(axis=1))
    ground = lowest_ground(mesh, bases, terrain, buildings)
    floats = np.nan_to_num(bases - ground, nan=0.0, posinf=0.0) > _FLOAT
    if not floats.any():
        return mesh, bases, np.zeros(0, np.int64)
    triangles = mesh.triangles.copy()
    move = floats[mesh.building][:, None] & (triangles[:, :, 2] <= bases[mesh.building][:, None] + _BASE)
    triangles[..., 2] = np.where(move, ground[mesh.building][:, None], triangles[..., 2])
    return Mesh(triangles, mesh.building, mesh.surface, mesh.double), bases, np.flatnonzero(floats)


def lay_roads(roads: list[RoadArea], terrain: Terrain) -> tuple[dict[int, Array], dict[str, int], list[Skipped]]:
    """Road triangles (T, 3, 3) in map by class, facing up.

    Roads without heights (z = 0, as most LOD1 and LOD2 roads are published) and roads whose heights are near the ground
    are cut along the terrain's triangles and lie exactly `ROAD_OFFSET` above them; what reaches beyond the terrain is
    cut off. Other roads keep their heights and are written from both sides.
    """
    flat: dict[int, list[Array]] = {}
    high: dict[int, list[Array]] = {}
    counts = {"roads draped": 0, "roads at their own height": 0, "roads outside the ground": 0}
    skipped = []
    for road in roads:
        parts = []
        for number, polygon in enumerate(road.polygons, 1):
            try:
                parts.append(triangulate(polygon.rings).triangles)
            except PolygonError as error:
                skipped.append(Skipped(road.source, f"{road.id} polygon {number}", str(error)))
        if not parts:
            continue
        triangles = np.concatenate(parts)
        gap = triangles[:, :, 2] - terrain.index.height(triangles[:, :, :2].reshape(-1, 2)).reshape(-1, 3)
        inside = np.isfinite(gap)
        if not inside.any() and not _touches(triangles, terrain):
            counts["roads outside the ground"] += 1
            continue
        middle = abs(float(np.median(gap[inside]))) if inside.any() else 0.0
        draped = bool((np.abs(triangles[:, :, 2]) < 1e-6).all()) or middle < _NEAR_GROUND
        counts["roads draped" if draped else "roads at their own height"] += 1
        (flat if draped else high).setdefault(road.label, []).append(triangles)
    result = {}
    for label in sorted({*flat, *high}):
        pieces = [_drape(np.concatenate(flat[label]), terrain)] if label in flat else []
        for triangles in high.get(label, []):
            pieces += [triangles, triangles[:, ::-1]]
        triangles = np.concatenate(pieces)
        if len(triangles):
            result[label] = triangles
    return result, {k: v for k, v in counts.items() if v}, skipped


def _touches(triangles: Array, terrain: Terrain) -> bool:
    xy = triangles[:, :, :2]
    return len(terrain.index.pairs(xy.min(axis=1), xy.max(axis=1))[0]) > 0


def _drape(triangles: Array, terrain: Terrain) -> Array:
    """The triangles' plan, laid on the terrain and raised by `ROAD_OFFSET`."""
    xy = triangles[:, :, :2]
    a, b = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
    xy = xy[np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) > 2e-4]
    done = []
    for begin in range(0, len(xy), 20_000):
        pieces, _ = subdivide(xy[begin : begin + 20_000], _PIECE)
        polygon, count, _, _ = terrain.index.overlay(pieces)
        done.append(fans(polygon, count)[0])
    draped = np.concatenate(done) if done else np.zeros((0, 3, 3))
    draped[..., 2] += ROAD_OFFSET
    return draped

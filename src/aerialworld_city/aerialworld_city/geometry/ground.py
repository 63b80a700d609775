"""Bodies and surfaces meet the ground: floating bodies reach down to it, surfaces that lie are laid on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.overlay import TriangleIndex, barycentric, cut, fans, subdivide
from aerialworld_core.frames import Array

Index = NDArray[np.int64]

#: Roads lie this far above the terrain, so that they win over it in every sensor, metres.
ROAD_OFFSET = 0.05
#: The same for every kind that lies: where a road runs on under a sidewalk, the sidewalk wins everywhere.
OFFSETS = {"water": 0.04, "road": ROAD_OFFSET, "flat": 0.06, "sidewalk": 0.07, "planting": 0.08}
#: How far a floating body of a kind is stretched down to the ground, metres; one that floats higher stands on something
#: else (a crown without its trunk, a sign on a bridge) and stays. Bridges span: they are never stretched.
REACH = {"building": np.inf, "bridge": 0.0, "furniture": 1.0, "vegetation": 1.0}
#: A base higher than this above the lowest ground under it floats, metres.
_FLOAT = 0.05
#: Corners within this of a body's lowest one form its base, metres.
_BASE = 0.01
#: A surface with its own heights belongs on the ground when half of its area is this near to it, metres; else it is
#: a bridge, a deck or an underpass.
_NEAR_GROUND = 1.5
#: A surface whose normal is flatter than this (its z) stands: a kerb.
_STANDS = 0.1
#: Surfaces without any height in the source have this at most, metres.
NO_HEIGHT = 1e-6
#: Triangles are cut to this size before the overlay, which keeps the candidate pairs few, metres.
_PIECE = 40.0
#: Triangles that are overlaid at once, which bounds the memory.
_AT_ONCE = 20_000


@dataclass
class LayCounts:
    """How many features were `draped` (they have no heights), lie `near` the ground with heights of their own, stay at
    their `own` height (bridges, underpasses), or lie `beyond` the terrain and were left out; `cut` counts the
    triangles of which something was cut off because it reaches beyond the terrain."""

    draped: int = 0
    near: int = 0
    own: int = 0
    beyond: int = 0
    cut: int = 0


def lowest_ground(mesh: Mesh, bases: Array, index: TriangleIndex, count: int) -> Array:
    """(count,) lowest terrain under each body's base polygon; NaN where it has none or there is no terrain.

    Exact: the base's triangles are cut along the terrain's, and the lowest corner of the pieces is taken. A body
    without a downward face at its base (a trunk, an open model) is measured at its lowest corners.
    """
    corners = mesh.triangles
    low = corners[:, :, 2] <= bases[mesh.feature, None] + _BASE
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    n = np.cross(u, v)
    down = n[:, 2] < -0.5 * np.linalg.norm(n, axis=1)
    chosen = np.flatnonzero(down & low.all(axis=1))
    result = np.full(count, np.inf)
    for begin in range(0, len(chosen), _AT_ONCE):
        part = chosen[begin : begin + _AT_ONCE]
        pieces, origin = subdivide(corners[part][:, :, :2], _PIECE)
        polygon, number, query, _ = index.overlay(pieces)
        valid = np.arange(polygon.shape[1]) < number[:, None]
        height = np.where(valid, polygon[..., 2], np.inf).min(axis=1, initial=np.inf)
        np.minimum.at(result, mesh.feature[part][origin[query]], height)
    based = np.zeros(count, np.bool_)
    based[mesh.feature[chosen]] = True
    row, corner = np.nonzero(low & ~based[mesh.feature][:, None])
    height = index.height(corners[row, corner, :2])
    np.fmin.at(result, mesh.feature[row], height)
    result[~np.isfinite(result)] = np.nan
    return result


def reach_down(
    mesh: Mesh, count: int, index: TriangleIndex, *, limit: float | Array = np.inf
) -> tuple[Mesh, Array, NDArray[np.int64]]:
    """Lower the bases of floating bodies to the lowest ground under them, and only those.

    `mesh` of features 0 to count − 1 in map, `index` of the terrain under them, `limit` (scalar or (count,)) the
    height in metres from which a floating body stays (`REACH` of its kind). Only a body's lowest corners move: parts
    that stand on a podium stay where they are.

    Returns the mesh, each body's original base height (count,) (inf where it has no triangle), and which were lowered.
    """
    bases = np.full(count, np.inf)
    np.minimum.at(bases, mesh.feature, mesh.triangles[:, :, 2].min(axis=1))
    if not np.any(np.asarray(limit) > _FLOAT):
        return mesh, bases, np.zeros(0, np.int64)
    ground = lowest_ground(mesh, bases, index, count)
    gap = np.where(np.isfinite(bases) & np.isfinite(ground), bases - ground, 0.0)
    floats = (gap > _FLOAT) & (gap <= limit)
    if not floats.any():
        return mesh, bases, np.zeros(0, np.int64)
    triangles = mesh.triangles.copy()
    move = floats[mesh.feature][:, None] & (triangles[:, :, 2] <= bases[mesh.feature][:, None] + _BASE)
    triangles[..., 2] = np.where(move, ground[mesh.feature][:, None], triangles[..., 2])
    lowered = Mesh(triangles, mesh.feature, mesh.surface, mesh.double, mesh.material, mesh.uv)
    return lowered, bases, np.flatnonzero(floats)


def lay(mesh: Mesh, count: int, index: TriangleIndex, *, offset: float | Array = ROAD_OFFSET) -> tuple[Mesh, LayCounts]:
    """Surfaces that lie, laid on the terrain; the result is sorted by feature, faces up, uv and material go along.

    `mesh` whole features 0 to count − 1 in map, `index` of all terrain that touches them, `offset` (scalar or (count,))
    metres above the terrain (`OFFSETS` of its kind). Each feature as a whole is one of these:

    - all heights are 0 (most LOD1 and LOD2 roads): draped, exactly `offset` above the terrain everywhere;
    - half of its area lies within 1.5 m of the ground: it keeps its heights, but is nowhere lower than `offset` above
      the terrain; its standing faces (kerbs) stay and are double-sided;
    - else it keeps its heights and is double-sided.

    Of the first two, what reaches beyond the terrain is cut off; features without any ground are left out.
    """
    if not len(mesh):
        return mesh, LayCounts()
    offsets = np.broadcast_to(np.asarray(offset, np.float64), (count,))
    u, v = mesh.triangles[:, 1] - mesh.triangles[:, 0], mesh.triangles[:, 2] - mesh.triangles[:, 0]
    n = np.cross(u, v)
    stands = (np.abs(n[:, 2]) < _STANDS * np.linalg.norm(n, axis=1)) | (np.abs(n[:, 2]) <= 2e-4)
    lying = np.flatnonzero(~stands)
    over = _overlay(mesh, lying, index)
    highest = np.zeros(count)
    np.maximum.at(highest, mesh.feature, np.abs(mesh.triangles[:, :, 2]).max(axis=1))
    present = np.zeros(count, np.bool_)
    present[mesh.feature] = True
    flat = present & (highest < NO_HEIGHT)
    touches = _touches(mesh, index, count)
    gap = _middle_gap(over, mesh, count)
    beyond = present & np.where(flat, ~_has(over.row, mesh, count), ~touches)
    near = present & ~flat & ~beyond & (gap < _NEAR_GROUND)
    own = present & ~flat & ~beyond & ~near
    flat &= ~beyond
    parts = [_whole(mesh, np.flatnonzero(own[mesh.feature]), double=True)]
    parts.append(_draped(over.take(flat[mesh.feature[over.row]]), mesh, offsets))
    raised, clipped = _raised(over.take(near[mesh.feature[over.row]]), mesh, offsets, lying[near[mesh.feature[lying]]])
    parts.append(raised)
    parts.append(_kerbs(mesh, np.flatnonzero(stands & near[mesh.feature]), index))
    clipped += _cut_off(over, mesh, lying[flat[mesh.feature[lying]]])
    clipped += int(beyond[mesh.feature].sum())
    result = Mesh.joined(parts)
    result = result.take(np.argsort(result.feature, kind="stable"))
    if result.uv is None and mesh.uv is not None:
        result.uv = np.zeros((len(result), 3, 2), np.float32)
    counts = LayCounts(int(flat.sum()), int(near.sum()), int(own.sum()), int(beyond.sum()), clipped)
    return result, counts


@dataclass(eq=False)
class _Overlay:
    """Pieces of triangles, each on one terrain triangle: corners (M, K, 3) on the terrain, counter-clockwise, their
    number (M,), the row (M,) of the mesh that each is of, and the height of the mesh at the corners (M, K)."""

    polygon: Array
    count: Index
    row: Index
    own: Array

    def take(self, mask: NDArray[np.bool_]) -> _Overlay:
        return _Overlay(self.polygon[mask], self.count[mask], self.row[mask], self.own[mask])

    @property
    def valid(self) -> NDArray[np.bool_]:
        return np.asarray(np.arange(self.polygon.shape[1]) < self.count[:, None])

    def area(self) -> Array:
        """(M,) in plan."""
        p = np.where(self.valid[..., None], self.polygon[..., :2], self.polygon[:, :1, :2]) - self.polygon[:, :1, :2]
        return np.asarray((p[:, :-1, 0] * p[:, 1:, 1] - p[:, :-1, 1] * p[:, 1:, 0]).sum(axis=1) / 2)


def _overlay(mesh: Mesh, rows: Index, index: TriangleIndex) -> _Overlay:
    polygons, counts, origins = [], [], []
    for begin in range(0, len(rows), _AT_ONCE):
        part = rows[begin : begin + _AT_ONCE]
        pieces, origin = subdivide(mesh.triangles[part][:, :, :2], _PIECE)
        polygon, count, query, _ = index.overlay(pieces)
        polygons.append(polygon)
        counts.append(count)
        origins.append(part[origin[query]])
    width = max((p.shape[1] for p in polygons), default=3)
    polygons = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0))) for p in polygons]
    polygon = np.concatenate(polygons) if polygons else np.zeros((0, width, 3))
    count = np.concatenate(counts) if counts else np.zeros(0, np.int64)
    row = np.concatenate(origins) if origins else np.zeros(0, np.int64)
    return _Overlay(polygon, count, row, _own_height(polygon, row, mesh))


def _own_height(polygon: Array, row: Index, mesh: Mesh) -> Array:
    weights = barycentric(polygon[..., :2], mesh.triangles[row])
    return np.asarray((weights * mesh.triangles[row][:, None, :, 2]).sum(axis=-1))


def _touches(mesh: Mesh, index: TriangleIndex, count: int) -> NDArray[np.bool_]:
    """(count,) whether the bounds of a feature's triangles meet terrain."""
    box, _ = index.pairs(mesh.triangles[:, :, :2].min(axis=1), mesh.triangles[:, :, :2].max(axis=1))
    return _has(box, mesh, count)


def _has(rows: Index, mesh: Mesh, count: int) -> NDArray[np.bool_]:
    result = np.zeros(count, np.bool_)
    result[mesh.feature[rows]] = True
    return result


def _middle_gap(over: _Overlay, mesh: Mesh, count: int) -> Array:
    """(count,) the distance from the ground that half of a feature's area stays within; inf where none lies on it."""
    result = np.full(count, np.inf)
    if not len(over.row):
        return result
    number = np.maximum(over.count, 1)
    gap = np.abs(np.where(over.valid, over.own - over.polygon[..., 2], 0.0).sum(axis=1) / number)
    feature, area = mesh.feature[over.row], over.area()
    order = np.lexsort((gap, feature))
    total = np.bincount(feature, area, minlength=count)
    running = np.cumsum(area[order])
    before = np.cumsum(total) - total
    reached = running - before[feature[order]] >= total[feature[order]] / 2 - 1e-9
    np.minimum.at(result, feature[order][reached], gap[order][reached])
    return result


def _whole(mesh: Mesh, rows: Index, *, double: bool) -> Mesh:
    part = mesh.take(rows)
    part.double = np.full(len(part), double)
    return part


def _from_polygons(polygon: Array, count: Index, row: Index, mesh: Mesh) -> Mesh:
    """Triangles of pieces, with what belongs to the triangles that they were cut from."""
    triangles, piece = fans(polygon, count)
    rows = row[piece]
    part = mesh.take(rows)
    if mesh.uv is not None:
        weights = barycentric(triangles[..., :2], mesh.triangles[rows])
        part.uv = (weights @ mesh.uv[rows].astype(np.float64)).astype(np.float32)
    part.triangles = triangles
    part.double = np.zeros(len(part), np.bool_)
    return part


def _draped(over: _Overlay, mesh: Mesh, offsets: Array) -> Mesh:
    polygon = over.polygon.copy()
    polygon[..., 2] += offsets[mesh.feature[over.row]][:, None]
    return _from_polygons(polygon, over.count, over.row, mesh)


def _raised(over: _Overlay, mesh: Mesh, offsets: Array, rows: Index) -> tuple[Mesh, int]:
    """Triangles `rows` at the higher of their own height and the terrain's plus offset, and how many were clipped.

    Those that lie above everywhere stay whole; the rest are cut where the two surfaces cross.
    """
    polygon = over.polygon.copy()
    polygon[..., 2] += offsets[mesh.feature[over.row]][:, None]
    above = np.where(over.valid, over.own - polygon[..., 2], 0.0)
    sinks = np.zeros(len(mesh), np.bool_)
    sinks[over.row[(above < -1e-9).any(axis=1)]] = True
    short = _short(over, mesh)
    whole = _facing_up(_whole(mesh, rows[~sinks[rows] & ~short[rows]], double=False))
    work = (sinks | short)[over.row]
    points = np.concatenate([polygon, over.own[..., None]], axis=-1)[work]
    count, row, above = over.count[work], over.row[work], above[work]
    parts = [whole]
    for sign, height in ((1.0, 3), (-1.0, 2)):
        # What only touches the other surface is a part of one side alone.
        side = above * sign
        has = (side > 1e-9).any(axis=1) | ((sign > 0) & (side >= -1e-9).all(axis=1))
        piece, number = cut(points[has], count[has], side[has])
        good = number >= 3
        parts.append(_from_polygons(piece[good][:, :, [0, 1, height]], number[good], row[has][good], mesh))
    return Mesh.joined(parts), int(short[rows].sum())


def _facing_up(mesh: Mesh) -> Mesh:
    u, v = mesh.triangles[:, 1, :2] - mesh.triangles[:, 0, :2], mesh.triangles[:, 2, :2] - mesh.triangles[:, 0, :2]
    down = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0
    mesh.triangles[down] = mesh.triangles[down][:, ::-1]
    if mesh.uv is not None:
        mesh.uv[down] = mesh.uv[down][:, ::-1]
    return mesh


def _short(over: _Overlay, mesh: Mesh) -> NDArray[np.bool_]:
    """(T,) which triangles of the mesh reach beyond the terrain."""
    u, v = mesh.triangles[:, 1, :2] - mesh.triangles[:, 0, :2], mesh.triangles[:, 2, :2] - mesh.triangles[:, 0, :2]
    area = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    return np.asarray(np.bincount(over.row, over.area(), minlength=len(mesh)) < area * (1 - 1e-6) - 1e-6)


def _cut_off(over: _Overlay, mesh: Mesh, rows: Index) -> int:
    return int(_short(over, mesh)[rows].sum())


def _kerbs(mesh: Mesh, rows: Index, index: TriangleIndex) -> Mesh:
    """Standing faces of surfaces near the ground that show above it, double-sided."""
    corners = mesh.triangles[rows]
    ground = index.height(corners[:, :, :2].reshape(-1, 2)).reshape(-1, 3)
    shows = np.zeros(len(rows), np.bool_)
    np.logical_or.reduce(corners[:, :, 2] > ground, axis=1, out=shows)
    return _whole(mesh, rows[shows], double=True)

"""Fewer triangles for surfaces that were laid on the terrain, without moving any of them.

Laying cuts every source triangle along every terrain triangle: a road of long thin triangles falls into many times the
pieces that its outline needs. Pieces of one feature on one terrain triangle lie in one plane; their outline is found
and triangulated anew. Where that is not simple (pieces that overlap or touch in a point) they stay as they are.
"""

from __future__ import annotations

import mapbox_earcut
import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.overlay import SLIVER, TriangleIndex
from aerialworld_city.geometry.sheet import groups
from aerialworld_core.frames import Array

Index = NDArray[np.int64]

#: Pieces lie in a plane parallel to the terrain's when their corners' distances from it differ by less, metres.
_PARALLEL = 1e-6
#: Corners of pieces in one square of this size are one corner, metres.
_SAME = 1e-5
#: A corner this near to the line through its neighbours is left out, metres.
_STRAIGHT = 1e-6


def dissolve(mesh: Mesh, index: TriangleIndex) -> Mesh:
    """The mesh with pieces of one feature, surface and terrain triangle joined, sorted by feature.

    `index` of the terrain below. Only one-sided triangles without a material, parallel to the terrain, are joined; the
    surface stays the same to a micrometre, and its edges stay on the terrain's.
    """
    group = _groups(mesh, index)
    rows = np.flatnonzero(group >= 0)
    if not len(rows):
        return mesh
    _, number = groups(group[rows])
    corners = mesh.triangles[rows]
    vertex, place = _vertices(corners, number.astype(np.int64))
    triangles, owner, failed = _joined(vertex, place, number.astype(np.int64))
    first, _ = groups(number.astype(np.int64))
    joined = mesh.take(rows[first[owner]])
    joined.triangles = triangles
    if joined.uv is not None:
        joined.uv = np.zeros_like(joined.uv)
    keep = np.ones(len(mesh), np.bool_)
    keep[rows] = failed[number]
    result = Mesh.joined([mesh.take(keep), joined])
    return result.take(np.argsort(result.feature, kind="stable"))


def _groups(mesh: Mesh, index: TriangleIndex) -> Index:
    """(T,) equal for triangles that may be joined, -1 for those that stay."""
    result = np.full(len(mesh), -1, np.int64)
    rows = np.flatnonzero(~mesh.double & (mesh.material < 0))
    if not len(rows) or not len(index):
        return result
    ground = index.under(mesh.triangles[rows, :, :2].mean(axis=1))
    rows, ground = rows[ground >= 0], ground[ground >= 0]
    above = mesh.triangles[rows, :, 2] - index.plane_height(ground, mesh.triangles[rows, :, :2])
    parallel = np.ptp(above, axis=1) < _PARALLEL
    rows, ground, above = rows[parallel], ground[parallel], above[parallel, 0]
    _, number = groups(np.round(above / (100 * _PARALLEL)).astype(np.int64))
    _, kind = groups(mesh.feature[rows].astype(np.int64) * 256 + mesh.surface[rows])
    key = kind.astype(np.int64) * (int(number.max(initial=0)) + 1) + number
    result[rows] = key * len(index) + ground
    return result


def _vertices(corners: Array, number: Index) -> tuple[Index, Array]:
    """(T, 3) vertices, not shared between groups, and their places (V, 3)."""
    step = np.floor((corners[..., :2] - corners[..., :2].min(axis=(0, 1))) / _SAME).astype(np.int64).reshape(-1, 2)
    _, spot = groups(step[:, 1] * (int(step[:, 0].max()) + 1) + step[:, 0])
    first, vertex = groups(np.repeat(number, 3) * (int(spot.max()) + 1) + spot)
    return vertex.astype(np.int64).reshape(-1, 3), corners.reshape(-1, 3)[first]


def _joined(vertex: Index, place: Array, number: Index) -> tuple[Array, Index, NDArray[np.bool_]]:
    """New triangles (N, 3, 3), the group of each (N,), and which groups could not be joined (G,)."""
    count = int(number.max()) + 1
    a, b, group = _outline(vertex, len(place), number)
    # Every corner of an outline is left once, else the outline touches itself.
    once = np.bincount(a, minlength=len(place))
    failed = np.zeros(count, np.bool_)
    failed[group[once[a] != 1]] = True
    failed[group[np.bincount(b, minlength=len(place))[b] != 1]] = True
    good = ~failed[group]
    a, b, group = a[good], b[good], group[good]
    onward = np.full(len(place), -1, np.int64)
    onward[a] = b
    straight = _straight(place[:, :2], a, b, onward)
    rings: dict[int, list[list[int]]] = {}
    seen = np.zeros(len(place), np.bool_)
    follow, bends = onward.tolist(), (~straight).tolist()
    for start, owner in zip(a.tolist(), group.tolist(), strict=True):
        if seen[start]:
            continue
        ring, at = [], start
        while not seen[at]:
            seen[at] = True
            if bends[at]:
                ring.append(at)
            at = follow[at]
        rings.setdefault(owner, []).append(ring)
    area = np.asarray(np.bincount(number, _twice(place[vertex]), minlength=count), np.float64)
    plain, done = _convex(rings, place, area)
    faces: list[NDArray[np.int64]] = [plain[0]]
    owners: list[int] = plain[1].tolist()
    for owner, found in rings.items():
        if owner in done:
            continue
        new = _triangulated(found, place)
        if new is None or abs(_twice(place[new]).sum() - area[owner]) > 1e-6 * area[owner] + 1e-6:
            failed[owner] = True
            continue
        faces.append(new)
        owners += [owner] * len(new)
    triangles = place[np.concatenate(faces)]
    longest = np.linalg.norm(np.roll(triangles, -1, axis=1) - triangles, axis=2).max(axis=1, initial=0.0)
    wide = _twice(triangles) > SLIVER * longest
    return triangles[wide], np.array(owners, np.int64)[wide], failed


def _convex(rings: dict[int, list[list[int]]], place: Array, area: Array) -> tuple[tuple[Index, Index], set[int]]:
    """Fans (N, 3) of the groups (N,) whose outline is one convex ring, as most are, and which groups these are; all at
    once, because there are thousands."""
    owner = np.array([number for number, found in rings.items() if len(found) == 1 and len(found[0]) >= 3], np.int64)
    none = np.zeros(0, np.int64)
    if not len(owner):
        return (none.reshape(0, 3), none), set()
    parts = [rings[number][0] for number in owner.tolist()]
    size = np.array([len(part) for part in parts])
    ring = np.array([vertex for part in parts for vertex in part], np.int64)
    number, end = np.repeat(np.arange(len(size)), size), np.cumsum(size)
    begin = end - size
    onward = np.arange(1, len(ring) + 1)
    onward[end - 1] = begin
    xy = place[ring, :2]
    edge = xy[onward] - xy
    turn = edge[:, 0] * edge[onward, 1] - edge[:, 1] * edge[onward, 0]
    from_first = xy - xy[begin][number]
    twice = from_first[:, 0] * from_first[onward, 1] - from_first[:, 1] * from_first[onward, 0]
    # A ring that winds twice turns left everywhere as well, but covers more than its pieces did.
    same = np.abs(np.add.reduceat(twice, begin) - area[owner]) <= 1e-6 * area[owner] + 1e-6
    good = (np.minimum.reduceat(turn, begin) > 0) & same
    rows = np.flatnonzero(good[number] & (np.arange(len(ring)) > begin[number]) & (onward > begin[number]))
    fan = np.stack([ring[begin[number[rows]]], ring[rows], ring[onward[rows]]], axis=1)
    return (fan, owner[number[rows]]), set(owner[good].tolist())


def _outline(vertex: Index, places: int, number: Index) -> tuple[Index, Index, Index]:
    """Edges a → b (E,) that only one triangle of a group has, and their groups."""
    a, b = vertex.reshape(-1), np.roll(vertex, -1, axis=1).reshape(-1)
    group = np.repeat(number, 3)
    keep = a != b
    a, b, group = a[keep], b[keep], group[keep]
    low, high = np.minimum(a, b), np.maximum(a, b)
    first, edge = groups(low * places + high)
    balance = np.bincount(edge, np.where(a < b, 1, -1)).astype(np.int64)
    first, balance = np.repeat(first, np.abs(balance)), np.repeat(balance, np.abs(balance))
    forward = balance > 0
    return np.where(forward, low[first], high[first]), np.where(forward, high[first], low[first]), group[first]


def _straight(xy: Array, a: Index, b: Index, onward: Index) -> NDArray[np.bool_]:
    """(V,) which vertices lie between their neighbours of the outline, on the line through them."""
    u, v = xy[b] - xy[a], xy[onward[b]] - xy[b]
    across = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    whole = np.linalg.norm(u + v, axis=1)
    result = np.zeros(len(xy), np.bool_)
    result[b] = (across < _STRAIGHT * whole) & ((u * v).sum(axis=1) > 0)
    return result


def _twice(triangles: Array) -> Array:
    """Twice the signed areas in plan."""
    u, v = triangles[:, 1, :2] - triangles[:, 0, :2], triangles[:, 2, :2] - triangles[:, 0, :2]
    return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])


def _triangulated(rings: list[list[int]], place: Array) -> NDArray[np.int64] | None:
    """(N, 3) vertices of triangles that fill the rings; None where holes cannot be told to one outer ring."""
    rings = [r for r in rings if len(r) >= 3]
    outer = [r for r in rings if _ring_area(place[r, :2]) > 0]
    holes = [r for r in rings if _ring_area(place[r, :2]) <= 0]
    if not outer or (holes and len(outer) > 1):
        return None
    found = []
    for ring in outer:
        if len(ring) == 3:
            found.append(np.array([ring]))
            continue
        order = np.array(ring + [p for hole in holes for p in hole])
        ends = np.cumsum([len(ring), *(len(h) for h in holes)]).astype(np.uint32)
        plane = np.ascontiguousarray(place[order, :2] - place[order[0], :2])
        faces = order[mapbox_earcut.triangulate_float64(plane, ends).reshape(-1, 3).astype(np.int64)]
        down = _twice(place[faces]) < 0
        faces[down] = faces[down][:, ::-1]
        found.append(faces)
    return np.concatenate(found).astype(np.int64)


def _ring_area(p: Array) -> float:
    x, y = p[:, 0] - p[0, 0], p[:, 1] - p[0, 1]
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())

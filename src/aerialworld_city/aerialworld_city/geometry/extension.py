"""Ground between a terrain model's border and the edge of the wanted region, joined to it without a crack.

The border's edges become edges of a Delaunay triangulation of the surroundings; where one is missing there, it gets a
point in its middle, until all are present. A terrain triangle whose border edge got points is split at them in its own
plane, so that every edge inside belongs to exactly two triangles with the same corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay, QhullError, cKDTree

from aerialworld_city.geometry.evidence import Evidence
from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_city.geometry.sheet import SAME_HEIGHT, SAME_PLACE, Sheet, border
from aerialworld_city.geometry.surroundings import surroundings
from aerialworld_core.frames import Array

Index = NDArray[np.int64]

#: Of crumbs one place in every square of this size is kept, metres.
_CRUMBS = 10.0
#: Houses whose middle is this near to a terrain model's edge merely overhang it, metres.
_OVERHANG = 50.0
#: Rounds of splitting, and the shortest edge that is split, metres.
_ROUNDS, _SHORTEST = 40, 0.02
#: Splitting may double the points and add these; a border with more edges than this is no border but crumbs.
_SPARE, _MOST_EDGES = 20_000, 200_000


#: Where a triangle is looked at: its middle, near its corners, near its edges' middles.
_LOOK = np.array(
    [[1 / 3, 1 / 3, 1 / 3]]
    + [np.roll([0.9, 0.05, 0.05], k).tolist() for k in range(3)]
    + [np.roll([0.04, 0.48, 0.48], k).tolist() for k in range(3)]
)


@dataclass(eq=False)
class Extended:
    """`own` is the terrain model with its border's triangles split where needed, `fill` the ground around it, both over
    the same places; `cracks` counts border edges that could not be joined; `fitted` says whether the ground follows
    bases beyond the model."""

    own: Sheet
    fill: Sheet
    cracks: int
    fitted: bool


@dataclass(eq=False)
class _Border:
    """The border as pieces `a` to `b` (N,) of its edges (N,), in places (P, 2) with one height each; `at` and `to`
    (N,) say from which share of the edge to which a piece reaches."""

    places: Array
    heights: Array
    a: Index
    b: Index
    edge: Index
    at: Array
    to: Array

    def split(self, rows: Index, share: Array, point: Index) -> None:
        """Cut pieces `rows` at shares of their edges, at points that exist."""
        a, b, edge, at, to = self.a, self.b, self.edge, self.at, self.to
        self.a, self.b = np.concatenate([a, point]), np.concatenate([b, b[rows]])
        self.edge, self.at = np.concatenate([edge, edge[rows]]), np.concatenate([at, share])
        self.to = np.concatenate([to, to[rows]])
        self.b[rows], self.to[rows] = point, share

    def halve(self, rows: Index) -> None:
        """Cut pieces in their middle, at new points."""
        new = len(self.places) + np.arange(len(rows))
        a, b = self.a[rows], self.b[rows]
        self.places = np.concatenate([self.places, (self.places[a] + self.places[b]) / 2])
        self.heights = np.concatenate([self.heights, (self.heights[a] + self.heights[b]) / 2])
        self.split(rows, (self.at[rows] + self.to[rows]) / 2, new)

    def length(self) -> Array:
        return np.asarray(np.linalg.norm(self.places[self.b] - self.places[self.a], axis=1))


def extend(sheet: Sheet, index: TriangleIndex, region: Array, evidence: Evidence) -> Extended:
    """Ground around a terrain model, as far as the region (2, 2), and in its holes.

    `index` is of the sheet's triangles. Where the evidence's bases stand more than 50 m beyond the model, the
    ground turns to the surface fitted to them within 100 m; without any it levels out to the mean of the border nearby.
    """
    low = np.minimum(region[0], index.low.min(axis=0))
    high = np.maximum(region[1], index.high.max(axis=0))
    face, side = border(sheet)
    line, number = _border_of(sheet, face, side)
    loose = len(face) > _MOST_EDGES
    if loose:
        line, number = _thinned(line, number)
    _split_at_places(line)
    fitted = _beyond(evidence.bases, index, line.places)
    around = surroundings(line.places, line.heights, index, low, high, evidence if fitted else None)
    simplices, points, heights = _conforming(line, around)
    outside, cracks = _outside(simplices, points, line, index)
    fill = simplices[outside]
    # The line's places come first among the points; give them the sheet's numbers where they are the sheet's.
    into = np.concatenate([number, len(sheet.places) + np.arange(len(points) - len(number))])
    places = np.concatenate([sheet.places, points[len(number) :]])
    own = _split_faces(Sheet(places, sheet.faces, sheet.heights), line, face, side, into)
    return Extended(
        own, Sheet(places, into[fill].astype(np.int32), heights[fill]), len(face) if loose else cracks, fitted
    )


def _beyond(bases: Array, index: TriangleIndex, edge: Array) -> bool:
    """Whether bases stand farther beyond the terrain model than houses overhang the edge of a tile; `edge` (N, 2)."""
    outside = bases[np.isnan(index.height(bases[:, :2])), :2]
    return bool(len(outside)) and float(cKDTree(edge).query(outside)[0].max()) > _OVERHANG


def _border_of(sheet: Sheet, face: Index, side: NDArray[np.int8]) -> tuple[_Border, Index]:
    """The border's edges, uncut, and the sheet's number of each of their places."""
    start, end = sheet.faces[face, side], sheet.faces[face, (side + 1) % 3]
    number, local = np.unique(np.concatenate([start, end]), return_inverse=True)
    z = np.concatenate([sheet.heights[face, side], sheet.heights[face, (side + 1) % 3]])
    heights = np.full(len(number), np.inf)
    np.minimum.at(heights, local, z)
    count = len(face)
    line = _Border(
        sheet.places[number],
        heights,
        local[:count].astype(np.int64),
        local[count:].astype(np.int64),
        np.arange(count),
        np.zeros(count),
        np.ones(count),
    )
    return line, number.astype(np.int64)


def _thinned(line: _Border, number: Index) -> tuple[_Border, Index]:
    """A place in every square of 10 m and no edges: triangles that hang together nowhere have no border to join."""
    _, rows = np.unique(np.floor(line.places / _CRUMBS), axis=0, return_index=True)
    rows = np.sort(rows)
    none = np.zeros(0, np.int64)
    empty = _Border(line.places[rows], line.heights[rows], none, none, none, np.zeros(0), np.zeros(0))
    return empty, number[rows]


def _split_at_places(line: _Border) -> None:
    """Cut edges at the border's own places that lie on them: neighbouring terrain of another resolution."""
    tree = cKDTree(line.places)
    a, b = line.places[line.a], line.places[line.b]
    found = tree.query_ball_point((a + b) / 2, line.length() / 2 + SAME_PLACE)
    number = np.array([len(f) for f in found])
    many = np.flatnonzero(number > 2)
    if not len(many):
        return
    edge = np.repeat(many, number[many])
    place = np.concatenate([found[k] for k in many]).astype(np.int64)
    direction = b[edge] - a[edge]
    offset = line.places[place] - a[edge]
    length = np.linalg.norm(direction, axis=1)
    share = (offset * direction).sum(axis=1) / length**2
    away = np.abs(direction[:, 0] * offset[:, 1] - direction[:, 1] * offset[:, 0]) / length
    on = (away < SAME_PLACE) & (share * length > SAME_PLACE) & ((1 - share) * length > SAME_PLACE)
    edge, place, share = edge[on], place[on], share[on]
    order = np.lexsort((share, edge))[::-1]  # from each edge's end on, so that the piece to cut keeps its row
    edge, place, share = edge[order], place[order], share[order]
    again = np.zeros(len(edge), np.int64)
    for k in range(1, len(edge)):
        again[k] = again[k - 1] + 1 if edge[k] == edge[k - 1] else 0
    for turn in range(int(again.max(initial=-1)) + 1):
        rows = again == turn
        line.split(edge[rows], share[rows], place[rows])


def _conforming(line: _Border, around: Array) -> tuple[Index, Array, Array]:
    """A Delaunay triangulation (S, 3), counter-clockwise, that has all of the line's pieces as edges as far as that can
    be; its points (P, 2), the line's places first, and their heights."""
    most = 2 * (len(line.places) + len(around)) + _SPARE
    for turn in range(_ROUNDS):
        points = np.concatenate([line.places, around[:, :2]])
        heights = np.concatenate([line.heights, around[:, 2]])
        try:
            simplices = Delaunay(points - points[0]).simplices.astype(np.int64)
        except QhullError:
            return np.zeros((0, 3), np.int64), points, heights
        missing = np.flatnonzero(~_are_edges(line, simplices, len(points)) & (line.length() > _SHORTEST))
        if not len(missing) or turn == _ROUNDS - 1 or len(points) > most:
            break
        line.halve(missing)
    a, b, c = (points[simplices[:, k]] for k in range(3))
    u, v = b - a, c - a
    down = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0
    simplices[down] = simplices[down][:, ::-1]
    return simplices, points, heights


def _edge_keys(simplices: Index, count: int) -> Index:
    """(3 S,) keys of the edges of triangles as they go round."""
    return (simplices * count + np.roll(simplices, -1, axis=1)).reshape(-1)


def _are_edges(line: _Border, simplices: Index, count: int) -> NDArray[np.bool_]:
    keys = _edge_keys(simplices, count)
    forward, backward = line.a * count + line.b, line.b * count + line.a
    return np.asarray(np.isin(forward, keys) | np.isin(backward, keys))


def _outside(simplices: Index, points: Array, line: _Border, index: TriangleIndex) -> tuple[NDArray[np.bool_], int]:
    """Which triangles lie outside the terrain model: those that are reached from the right of the border without
    crossing it; and how many pieces of the border are no edges of triangles."""
    if not len(simplices):
        return np.zeros(0, np.bool_), len(line.a)
    count = len(points)
    keys = _edge_keys(simplices, count)
    order = np.argsort(keys, kind="stable")
    forward, backward = line.a * count + line.b, line.b * count + line.a

    def owner(wanted: Index) -> Index:
        slot = np.minimum(np.searchsorted(keys[order], wanted), len(order) - 1)
        return np.where(keys[order][slot] == wanted, order[slot] // 3, -1)

    start, end = simplices.reshape(-1), np.roll(simplices, -1, axis=1).reshape(-1)
    neighbour = owner(end * count + start)
    is_border = np.isin(keys, np.concatenate([forward, backward]))
    links = np.flatnonzero((neighbour >= 0) & ~is_border)
    graph = coo_array(
        (np.ones(len(links), np.int8), (links // 3, neighbour[links])), shape=(len(simplices), len(simplices))
    )
    _, part = connected_components(graph, directed=False)
    parts = int(part.max(initial=0)) + 1
    right, left = owner(backward), owner(forward)
    votes_out = np.bincount(part[right[right >= 0]], minlength=parts)
    votes_in = np.bincount(part[left[left >= 0]], minlength=parts)
    outside = (votes_out > 0)[part]
    # An edge that could not be made part of the triangulation leaves a part that is both: look where its triangles are.
    # One that reaches beyond the model is ground, for an overlap is better than a gap.
    unclear = ((votes_out > 0) == (votes_in > 0))[part]
    inside = np.einsum("ki,tij->tkj", _LOOK, points[simplices[unclear]])
    outside[unclear] = np.isnan(index.height(inside.reshape(-1, 2)).reshape(-1, len(_LOOK))).any(axis=1)
    return outside, int(((right < 0) & (left < 0)).sum())


def _split_faces(sheet: Sheet, line: _Border, face: Index, side: NDArray[np.int8], into: Index) -> Sheet:
    """The sheet with the triangles of split border edges in pieces; new corners lie in the triangles' planes."""
    cut = np.bincount(line.edge, minlength=len(face)) > 1
    if not cut.any():
        return sheet
    order = np.lexsort((line.at, line.edge))
    order = order[cut[line.edge[order]]]
    inner = order[line.at[order] > 0]
    edge, point = line.edge[inner], line.a[inner]
    start = sheet.heights[face[edge], side[edge]]
    z = start + line.at[inner] * (sheet.heights[face[edge], (side[edge] + 1) % 3] - start)
    level = line.heights[point]
    z = np.where(np.abs(z - level) < SAME_HEIGHT, level, z)  # equal to the fill's to the last bit; a step stays
    added: dict[int, list[tuple[int, float]]] = {}
    for number, place, height in zip(edge.tolist(), into[point].tolist(), z.tolist(), strict=True):
        added.setdefault(number, []).append((place, height))
    by_face: dict[int, dict[int, list[tuple[int, float]]]] = {}
    for number, points in added.items():
        by_face.setdefault(int(face[number]), {})[int(side[number])] = points
    faces, heights = [], []
    for row, edges in by_face.items():
        pieces = _split_one(sheet.faces[row].tolist(), sheet.heights[row].tolist(), edges)
        faces += [p[0] for p in pieces]
        heights += [p[1] for p in pieces]
    kept = np.ones(len(sheet), np.bool_)
    kept[list(by_face)] = False
    return Sheet(
        sheet.places,
        np.concatenate([sheet.faces[kept], np.array(faces, np.int32)]),
        np.concatenate([sheet.heights[kept], np.array(heights)]),
    )


def _split_one(
    corners: list[int], z: list[float], edges: dict[int, list[tuple[int, float]]]
) -> list[tuple[list[int], list[float]]]:
    """A triangle cut at points on its edges (by edge: place and height, in the edge's order)."""
    side = min(edges)
    ring = [(corners[(side + k) % 3], z[(side + k) % 3]) for k in range(3)]
    (a, za), (b, zb), (c, zc) = ring
    chain = [(a, za), *edges[side], (b, zb)]
    done = []
    for k in range(len(chain) - 1):
        (p, zp), (q, zq) = chain[k], chain[k + 1]
        rest: dict[int, list[tuple[int, float]]] = {}
        if k == len(chain) - 2 and (side + 1) % 3 in edges:
            rest[1] = edges[(side + 1) % 3]
        if k == 0 and (side + 2) % 3 in edges:
            rest[2] = edges[(side + 2) % 3]
        triangle = ([p, q, c], [zp, zq, zc])
        done += _split_one(*triangle, rest) if rest else [triangle]
    return done

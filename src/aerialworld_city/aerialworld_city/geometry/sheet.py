"""A terrain model as faces over shared corners: cleaned, each place covered once, its border known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from aerialworld_city.geometry.overlay import TriangleIndex, bounds_in_plan, cut, left_of
from aerialworld_core.frames import Array

Index = NDArray[np.int64]

#: Corners nearer than this in plan are one corner, metres.
SAME_PLACE = 1e-3
#: Corners of one place whose heights differ by less have one height, metres; more is a step.
SAME_HEIGHT = 1e-2
#: Triangles smaller than this in plan are left out, m².
_MIN_AREA = 1e-4
#: No terrain triangle has a longer edge, metres.
_MAX_EDGE = 10_000.0
#: Triangles of two sheets that share more than this overlap, m².
_OVERLAP = 1e-6
#: Triangles that are compared at once, which bounds the memory.
_AT_ONCE = 20_000


T = TypeVar("T", Array, "Sheet")


@dataclass(eq=False)
class Sheet:
    """`places` (V, 2) in plan, `faces` (T, 3) int32 into them, counter-clockwise, and the `heights` (T, 3) of the
    faces' corners: corners of one place mostly have one height, at a step they differ."""

    places: Array
    faces: NDArray[np.int32]
    heights: Array

    def __len__(self) -> int:
        return len(self.faces)

    def triangles(self, out: Array | None = None) -> Array:
        """(T, 3, 3), into `out` where it is given."""
        result = np.empty((len(self.faces), 3, 3)) if out is None else out
        result[..., :2] = self.places[self.faces]
        result[..., 2] = self.heights
        return result

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int32] | Index) -> Sheet:
        return Sheet(self.places, self.faces[rows], self.heights[rows])

    def joined(self, other: Sheet) -> Sheet:
        """With the faces of another over the same places."""
        return Sheet(
            other.places if len(other.places) > len(self.places) else self.places,
            np.concatenate([self.faces, other.faces]),
            np.concatenate([self.heights, other.heights]),
        )


def clean(source: Array, region: Array, dropped: dict[str, int]) -> Sheet:
    """The usable triangles of a source (T, 3, 3) that touch the region (2, 2), each once and facing up.

    Corners within a millimetre become one. `dropped` counts what was left out or mended.
    """
    triangles = np.asarray(source, np.float64).reshape(-1, 3, 3)
    triangles = _keep(
        triangles, np.asarray(np.isfinite(triangles).all(axis=(1, 2))), "coordinates that are no place", dropped
    )
    low, high = bounds_in_plan(triangles)
    near = np.asarray((high >= region[0]).all(axis=1) & (low <= region[1]).all(axis=1))
    short = np.asarray((high - low <= _MAX_EDGE).all(axis=1))
    triangles = _keep(triangles, near, "outside the city", dropped)
    triangles = _keep(triangles, short[near], f"longer than {_MAX_EDGE / 1000:g} km", dropped)
    if not len(triangles):
        return Sheet(np.zeros((0, 2)), np.zeros((0, 3), np.int32), np.zeros((0, 3)))
    places, corner = _merge(triangles[:, :, :2].reshape(-1, 2))
    heights = _level(triangles[:, :, 2].reshape(-1), corner, len(places)).reshape(-1, 3)
    sheet = Sheet(places, corner.reshape(-1, 3), heights)
    doubled = _doubled(sheet)
    sheet = _keep(sheet, np.abs(doubled) > 2 * _MIN_AREA, "no area in plan", dropped)
    down = doubled[np.abs(doubled) > 2 * _MIN_AREA] < 0
    if down.any():
        sheet.faces[down] = sheet.faces[down][:, ::-1]
        sheet.heights[down] = sheet.heights[down][:, ::-1]
        dropped["turned to face up (kept)"] = int(down.sum())
    return _keep(sheet, _first_of_each(sheet.faces, len(places)), "the same triangle twice", dropped)


def _keep(items: T, mask: NDArray[np.bool_], reason: str, dropped: dict[str, int]) -> T:
    if mask.all():
        return items
    dropped[reason] = int((~mask).sum())
    return items.take(mask) if isinstance(items, Sheet) else items[mask]


def groups(key: Index) -> tuple[Index, NDArray[np.int32]]:
    """The first row of each different value, and for every row the number of its value; in order of the values."""
    if not len(key):
        return np.zeros(0, np.int64), np.zeros(0, np.int32)
    order = np.argsort(key)  # not stable, which takes twice as long; nothing below depends on the order of equals
    starts = np.ones(len(key), np.bool_)
    ordered = key[order]
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    del ordered
    number = np.empty(len(key), np.int32)
    number[order] = np.cumsum(starts, dtype=np.int32) - 1
    return np.minimum.reduceat(order, np.flatnonzero(starts)), number


def _merge(xy: Array) -> tuple[Array, NDArray[np.int32]]:
    """Different places (V, 2), each as it first occurs, and the place of every corner (N,), three a triangle."""
    step = np.floor((xy - xy.min(axis=0)) / SAME_PLACE).astype(np.int64)
    first, corner = groups(step[:, 1] * (int(step[:, 0].max()) + 1) + step[:, 0])
    places = xy[first]
    # Equal corners that fell into two squares leave an edge that seems to be the border's.
    faces = corner.reshape(-1, 3)
    loose = np.flatnonzero(_alone(faces, len(places)))
    ends = np.unique(np.concatenate([corner[loose], np.roll(faces, -1, axis=1).reshape(-1)[loose]]))
    pairs = cKDTree(places[ends]).query_pairs(SAME_PLACE, output_type="ndarray")
    if not len(pairs):
        return places, corner
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(ends), len(ends)))
    _, cluster = connected_components(links, directed=False)
    leader, number = groups(cluster.astype(np.int64))
    into = np.arange(len(places), dtype=np.int32)
    into[ends] = ends[leader[number]]
    return places, into[corner]


def _edge_keys(faces: NDArray[np.int32], places: int) -> Index:
    """(3 T,) one number per edge, three edges a face, the same in both directions."""
    end = np.roll(faces, -1, axis=1)
    key = np.minimum(faces, end).astype(np.int64)
    key *= places
    key += np.maximum(faces, end)
    return key.reshape(-1)


def _alone(faces: NDArray[np.int32], places: int) -> NDArray[np.bool_]:
    """(3 T,) which edges, three a face, no other face has in either direction."""
    _, number = groups(_edge_keys(faces, places))
    return np.asarray(np.bincount(number)[number] == 1)


def _level(z: Array, corner: NDArray[np.int32], places: int) -> Array:
    """Heights of corners, one for all corners of a place that differ by less than a centimetre."""
    low, high = np.full(places, np.inf), np.full(places, -np.inf)
    np.minimum.at(low, corner, z)
    np.maximum.at(high, corner, z)
    differs = (high > low) & (high - low < SAME_HEIGHT)
    return np.where(differs[corner], low[corner], z) if differs.any() else z.copy()


def _doubled(sheet: Sheet) -> Array:
    a, b, c = (sheet.places[sheet.faces[:, k]] for k in range(3))
    u, v = b - a, c - a
    return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])


def _first_of_each(faces: NDArray[np.int32], places: int) -> NDArray[np.bool_]:
    ordered = np.sort(faces, axis=1).astype(np.int64)
    _, pair = groups(ordered[:, 0] * places + ordered[:, 1])
    first, _ = groups(pair.astype(np.int64) * places + ordered[:, 2])
    once = np.zeros(len(faces), np.bool_)
    once[first] = True
    return once


def without_overlaps(sheet: Sheet, index: TriangleIndex, dropped: dict[str, int]) -> Sheet:
    """Where several connected sheets cover one place (files that overlap), the largest keeps it.

    `index` is of the sheet's triangles. The gap that a left-out triangle leaves is closed by the extension.
    """
    own = _parts(sheet)
    size = np.bincount(own)
    if len(size) < 2:
        return sheet
    rank = np.empty(len(size), np.int64)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    rank = rank[own]
    candidates = _in_mixed_cells(index, rank)
    covered = np.zeros(len(sheet), np.bool_)
    for begin in range(0, len(candidates), _AT_ONCE):
        part = candidates[begin : begin + _AT_ONCE]
        mine, other = index.pairs(index.low[part], index.high[part])
        mine = part[mine]
        lower = rank[other] < rank[mine]
        mine, other = mine[lower], other[lower]
        covered[mine[_shared_area(index.triangles, mine, other) > _OVERLAP]] = True
    return _keep(sheet, ~covered, "covered by a larger part of the terrain", dropped)


def _parts(sheet: Sheet) -> NDArray[np.int32]:
    """(T,) the connected part of each face: faces that run along an edge in opposite directions hang together."""
    key = _edge_keys(sheet.faces, len(sheet.places))
    order = np.argsort(key)
    key = key[order]
    same = key[1:] == key[:-1]
    del key
    a, b = order[:-1][same].astype(np.int32), order[1:][same].astype(np.int32)
    del order
    across = sheet.faces.reshape(-1)[a] == np.roll(sheet.faces, -1, axis=1).reshape(-1)[b]
    a, b = a[across] // 3, b[across] // 3
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(sheet), len(sheet)))
    return np.asarray(connected_components(graph, directed=False)[1])


def _in_mixed_cells(index: TriangleIndex, rank: Index) -> Index:
    """Triangles of all but the largest sheet in cells that several sheets touch."""
    filled = np.flatnonzero(np.diff(index.start))
    starts = index.start[filled]
    ranks = rank[index.members]
    mixed = np.minimum.reduceat(ranks, starts) != np.maximum.reduceat(ranks, starts)
    rows = index.members[np.repeat(mixed, np.diff(index.start)[filled])]
    rows = rows[rank[rows] > 0]
    return np.unique(rows).astype(np.int64)


def _shared_area(triangles: Array, a: Index, b: Index) -> Array:
    """(N,) area in plan that triangles a and b share."""
    origin = triangles[a, :1, :2]
    polygon, count = triangles[a, :, :2] - origin, np.full(len(a), 3, np.int64)
    window = triangles[b, :, :2] - origin
    for k in range(3):
        polygon, count = cut(polygon, count, left_of(polygon, window[:, k], window[:, (k + 1) % 3]))
    valid = np.arange(polygon.shape[1]) < count[:, None]
    p = np.where(valid[..., None], polygon, polygon[:, :1])
    p = p - p[:, :1]
    area = (p[:, :-1, 0] * p[:, 1:, 1] - p[:, :-1, 1] * p[:, 1:, 0]).sum(axis=1) / 2
    return np.where(count >= 3, area, 0.0)


def border(sheet: Sheet) -> tuple[Index, NDArray[np.int8]]:
    """The edges that only one face has: the face (E,) and which of its edges (E,), k from corner k to the next."""
    edge = np.flatnonzero(_alone(sheet.faces, len(sheet.places)))
    return edge // 3, (edge % 3).astype(np.int8)


def steps(sheet: Sheet) -> Array:
    """Upright triangles (N, 3, 3) that close the steps where two faces share an edge in plan at different heights;
    they are seen from the lower side."""
    low, high = np.full(len(sheet.places), np.inf), np.full(len(sheet.places), -np.inf)
    np.minimum.at(low, sheet.faces, sheet.heights)
    np.maximum.at(high, sheet.faces, sheet.heights)
    touched = np.flatnonzero((high[sheet.faces] - low[sheet.faces] > 0).any(axis=1))
    if not len(touched):
        return np.zeros((0, 3, 3))
    faces, heights = sheet.faces[touched], sheet.heights[touched]
    a, b = faces.reshape(-1).astype(np.int64), np.roll(faces, -1, axis=1).reshape(-1).astype(np.int64)
    za, zb = heights.reshape(-1), np.roll(heights, -1, axis=1).reshape(-1)
    forward, backward = a * len(sheet.places) + b, b * len(sheet.places) + a
    order = np.argsort(forward, kind="stable")
    slot = np.minimum(np.searchsorted(forward[order], backward), len(order) - 1)
    twin = order[slot]
    matched = (forward[twin] == backward) & (a < b)
    left = np.flatnonzero(matched)
    right = twin[left]

    def corner(place: Index, z: Array) -> Array:
        return np.column_stack([sheet.places[place[left]], z])

    a_left, b_left = corner(a, za[left]), corner(b, zb[left])
    a_right, b_right = corner(a, zb[right]), corner(b, za[right])
    # Wound against the faces on both sides, such a wall faces the lower one, whichever that is.
    first = np.stack([a_left, a_right, b_right], axis=1)[a_left[:, 2] != a_right[:, 2]]
    return np.concatenate([first, np.stack([a_left, b_right, b_left], axis=1)[b_left[:, 2] != b_right[:, 2]]])

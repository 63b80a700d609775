"""Corners that lie on a neighbour's edge.

Exporters that cut polygons into triangles by ear clipping leave out corners on straight lines, so that one long edge of
a triangle meets two short ones of its neighbours: the surface has no gap, but no edge has its counterpart, and the
shell would count as open. Here the long edges get the corners that lie on them; triangles stay as they are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.solids import corner_ids
from aerialworld_core.frames import Array

#: A corner this near to an edge lies on it, metres; `solids` takes corners this near for one.
_ON = 1e-3
#: Edge and corner pairs that are looked at in one feature, and in one call; beyond, features stay open.
_MOST_PAIRS, _ALL_PAIRS = 20_000_000, 200_000_000
_CHUNK = 1_000_000


def with_seams(
    corners: Array, owner: NDArray[np.int64], follow: NDArray[np.int64], open_: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """The polygons' corners (M, 3), their features and followers (see `solids.orient`), with more corners behind them:
    those that lie on edges without a counterpart, in the features that are `open_`."""
    rows = np.flatnonzero(open_[owner])
    local = np.full(len(owner), -1)
    local[rows] = np.arange(len(rows))
    ids = corner_ids(corners[rows], owner[rows])
    a, b = ids, ids[local[follow[rows]]]
    vertices = int(ids.max()) + 1 if len(ids) else 0
    _, edge = np.unique(np.minimum(a, b) * vertices + np.maximum(a, b), return_inverse=True)
    balance = np.bincount(edge.reshape(-1), np.sign(b - a))
    loose = rows[balance[edge.reshape(-1)] != 0]
    loose = loose[np.argsort(owner[loose], kind="stable")]
    edges, points = [], []
    budget = _ALL_PAIRS
    starts = np.flatnonzero(np.diff(owner[loose], prepend=-1))
    for own in np.split(loose, starts[1:]):
        ends = np.concatenate([own, follow[own]])
        _, first = np.unique(ids[local[ends]], return_index=True)
        ends = ends[first]
        pairs = len(own) * len(ends)
        budget -= pairs
        if pairs > _MOST_PAIRS or budget < 0:
            continue
        e, p = _on_edges(corners, own, follow, ends)
        edges.append(e)
        points.append(p)
    if not edges or not sum(map(len, edges)):
        return corners, owner, follow
    edge_, point = np.concatenate(edges), np.concatenate(points)
    new = len(owner) + np.arange(len(edge_))
    follow = np.concatenate([follow, follow[edge_]])
    # Each new corner leads to the next on the same edge, the last to the edge's end.
    next_same = np.flatnonzero(edge_[:-1] == edge_[1:])
    follow[new[next_same]] = new[next_same + 1]
    begin = np.flatnonzero(np.diff(edge_, prepend=-1))
    follow[edge_[begin]] = new[begin]
    return np.concatenate([corners, corners[point]]), np.concatenate([owner, owner[edge_]]), follow


def _on_edges(
    corners: Array, edges: NDArray[np.int64], follow: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(N,) edges by their first corner and (N,) corners that lie on them, in order along each edge."""
    found_edge, found_point = [], []
    place = corners[ends]
    step = max(1, _CHUNK // max(len(ends), 1))
    for low in range(0, len(edges), step):
        part = edges[low : low + step]
        begin = corners[part]
        along = corners[follow[part]] - begin
        length = np.linalg.norm(along, axis=1)
        unit = along / np.where(length > 0, length, 1.0)[:, None]
        away = place[None] - begin[:, None]
        t = np.einsum("epk,ek->ep", away, unit)
        inner = (t > _ON) & (t < length[:, None] - _ON)
        e, p = np.nonzero(inner)
        off = away[e, p] - t[e, p, None] * unit[e]
        near = np.einsum("nk,nk->n", off, off) < _ON**2
        e, p = e[near], p[near]
        order = np.lexsort((t[e, p], e))
        found_edge.append(part[e[order]])
        found_point.append(ends[p[order]])
    return np.concatenate(found_edge), np.concatenate(found_point)

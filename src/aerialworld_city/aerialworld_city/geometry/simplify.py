"""Fewer triangles where nobody could measure the difference: per shell, proven afterwards, given up where it fails.

`simplify` is for bodies (buildings, bridges, furniture, trees), `simplify_ground` for a piece of a surface that is one
height per place. Edges are collapsed (`collapse`), which already keeps a bound of its own; then every connected shell
that changed is compared with what it was (`deviation`), its volume too. Where that fails the bound of the corners
there is halved and all is done again; a shell that goes on failing is reduced losslessly, or in the end left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count as count_up
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aerialworld_city.geometry import collapse as kernel
from aerialworld_city.geometry.box_tree import nearest
from aerialworld_city.geometry.collapse_rules import LOSSLESS
from aerialworld_city.geometry.deviation import one_sided
from aerialworld_city.geometry.height_deviation import height_deviation
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_core.frames import Array

#: A closed shell's volume keeps within this of what it was; the collapse itself within the second.
MAX_VOLUME_CHANGE, _VOLUME_ROOM = 0.01, 0.008
#: Corners nearer than this are one corner, as in `solids`, metres.
_MERGE = 1e-3
#: A photograph shifts by no more than this, image sizes; where it is looked at: weights of a triangle's corners.
_MAX_UV_SHIFT = 2e-3
_UV_SAMPLES = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9], [1, 1, 1]]) / [[1], [1], [1], [3]]
#: How often failing places are repaired before their shells are only merged losslessly.
_REPAIRS = 6


class Simplified(NamedTuple):
    """Triangles `before` and `after`; `worst` metres that any measured point moved; `kept` shells that were left whole
    because what was tried failed the final check; `worst_uv` the largest measured shift of a photograph on its surface,
    in sizes of the image."""

    before: int
    after: int
    worst: float
    kept: int = 0
    worst_uv: float = 0.0


def simplify(
    mesh: Mesh, target_faces: int, max_deviation: float, *, closed: NDArray[np.bool_]
) -> tuple[Mesh, Simplified]:
    """Bring a model of many features down to `target_faces` triangles as far as that is harmless.

    `closed` (F,) bool says of each feature (as `mesh.feature` counts) whether its shells are closed; triangles are in
    map. The result's triangles are in the order they had; their corners are corners of the source.

    Kept: no point of the old surface is farther than `max_deviation` metres from the new one, nor the other way round
    (proven, see `deviation`); closed shells stay closed and their volumes within 1 %; shells of 12 triangles and fewer
    (a box is a box); outlines between materials and kinds of surface within `max_deviation`. Triangles with an image
    are merged only along one affine texture map, and no photograph shifts on its surface by more than 0.2 % of its size
    (measured). A mesh that has no more than `target_faces` is returned as it is. Equal input gives equal output.
    """
    if len(mesh) <= target_faces:
        return mesh, Simplified(len(mesh), len(mesh), 0.0)
    shells = _shells(mesh)
    whole = np.asarray(closed, np.bool_)[shells.feature] | _balanced(shells)
    return _reduce(mesh, shells, whole, target_faces, max_deviation, ground=False)


def simplify_ground(mesh: Mesh, target_faces: int, max_deviation: float) -> tuple[Mesh, Simplified]:
    """Bring a piece of ground (one height per place, facing up) down to `target_faces` triangles.

    All corners on open edges stay bit for bit, so that pieces cut from one ground still meet. No height changes by more
    than `max_deviation` metres, which bounds the distance of the surfaces as well; triangles keep facing up; lines
    between materials stay within `max_deviation`. What else lies on the ground has to be laid on the result, not on the
    source.
    """
    if len(mesh) <= target_faces:
        return mesh, Simplified(len(mesh), len(mesh), 0.0)
    shells = _shells(mesh)
    return _reduce(mesh, shells, np.zeros(len(shells.feature), np.bool_), target_faces, max_deviation, ground=True)


@dataclass(eq=False)
class _Shells:
    """Triangles with shared corners, sorted by connected shell.

    order     (T,) the mesh's triangles in this order
    position  (V, 3) corners about the middle of their shell; middle (S, 3)
    face      (T, 3) into position; group (T,) what must not be mixed; uv (T, 3, 2); textured (T,)
    owner     (V,) the shell of each corner; start (S + 1,) of each shell's triangles
    feature   (S,) the feature of each shell
    """

    order: NDArray[np.int64]
    position: Array
    middle: Array
    face: NDArray[np.int64]
    group: NDArray[np.int64]
    uv: Array
    textured: NDArray[np.bool_]
    owner: NDArray[np.int64]
    start: NDArray[np.int64]
    feature: NDArray[np.int64]


def _shells(mesh: Mesh) -> _Shells:
    """Corners of one feature within a millimetre are one corner: the first of them."""
    points = mesh.triangles.reshape(-1, 3)
    owner = np.repeat(mesh.feature.astype(np.int64), 3)
    steps = np.round((points - np.round(points.mean(axis=0))) / _MERGE).astype(np.int64)
    key = np.column_stack([owner, steps])
    by_key = np.lexsort(key.T[::-1])  # stable: the first of equal corners comes first
    new = np.concatenate([[True], (np.diff(key[by_key], axis=0) != 0).any(axis=1)])
    ids = np.empty(len(points), np.int64)
    ids[by_key] = np.cumsum(new) - 1
    which = by_key[new]
    face = ids.reshape(-1, 3)
    links = np.concatenate([face[:, :2], face[:, 1:]])
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(len(which), len(which)))
    count, label = connected_components(graph, directed=False)
    shell = label[face[:, 0]].astype(np.int64)
    order = np.argsort(shell, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(shell, minlength=count))])
    first = start[:-1]
    triangles = mesh.triangles[order]
    middle = (np.minimum.reduceat(triangles.min(axis=1), first) + np.maximum.reduceat(triangles.max(axis=1), first)) / 2
    middle = np.round(middle)
    kinds = np.column_stack([mesh.surface, mesh.double, mesh.material]).astype(np.int64)[order]
    group = np.unique(kinds, axis=0, return_inverse=True)[1].reshape(-1)
    uv = np.zeros((len(mesh), 3, 2)) if mesh.uv is None else mesh.uv[order].astype(np.float64)
    textured = (mesh.material[order] >= 0) & np.isfinite(uv).all(axis=(1, 2)) & (np.ptp(uv, axis=1).max(axis=1) > 0)
    return _Shells(
        order, points[which] - middle[label], middle, face[order], group, np.nan_to_num(uv), textured,
        label.astype(np.int64), start, mesh.feature[order[first]].astype(np.int64),
    )  # fmt: skip


def _reduce(
    mesh: Mesh, shells: _Shells, closed: NDArray[np.bool_], target: int, limit: float, *, ground: bool
) -> tuple[Mesh, Simplified]:
    """Collapse, measure, and try failing shells again with less."""
    count = len(shells.feature)
    before = shells.position[shells.face]
    sizes = np.diff(shells.start)
    shell = np.repeat(np.arange(count), sizes)
    room = np.where(closed, _VOLUME_ROOM * np.abs(_volumes(before, shell, count)), np.inf)
    frozen = _open_corners(shells) if ground else np.zeros(len(shells.position), np.bool_)
    lossless = min(LOSSLESS, limit)
    bound = np.full(len(shells.position), limit)
    given_up = np.zeros(count, np.bool_)
    for attempt in count_up():
        face, uv = shells.face.copy(), shells.uv.copy()
        alive, touched = kernel.collapse(
            shells.position, face, shells.group, uv, shells.textured, shells.owner, frozen, closed, bound, room,
            np.where(given_up, 0, sizes), target, ground,
        )  # fmt: skip
        after = shells.position[face]
        worst, worst_uv, failed = 0.0, 0.0, []
        for s in np.unique(shell[touched | ~alive]):
            rows = slice(shells.start[s], shells.start[s + 1])
            pieces = before[rows], after[rows], alive[rows], touched[rows]
            moved, places = _heights(*pieces, limit) if ground else _bodies(*pieces, limit, bool(closed[s]))
            worst = max(worst, moved)
            photo = shells.textured[rows]
            if (photo & pieces[2] & pieces[3]).any():
                shift, slipped = _photographs(*pieces, photo, shells.group[rows], shells.uv[rows], uv[rows])
                worst_uv, places = max(worst_uv, shift), np.union1d(places, slipped)
            if len(places):
                failed.append(s)
                corners = np.unique(shells.face[rows][places])
                bound[corners] = np.maximum(bound[corners] / 2, lossless)
        if not failed:
            break
        if attempt >= _REPAIRS:
            bound[np.isin(shells.owner, failed)] = lossless
            given_up[failed] = attempt > _REPAIRS
    told = Simplified(len(mesh), int(alive.sum()), worst, int(given_up.sum()), worst_uv)
    return _rewritten(mesh, shells, shell, alive, touched, after, uv), told


def _rewritten(
    mesh: Mesh,
    shells: _Shells,
    shell: NDArray[np.int64],
    alive: NDArray[np.bool_],
    touched: NDArray[np.bool_],
    after: Array,
    uv: Array,
) -> Mesh:
    """The mesh with its new triangles, in the order it had; those that nobody touched bit for bit."""
    touched = touched & alive
    rows = shells.order[touched]
    result = mesh.take(slice(None))
    result.triangles = mesh.triangles.copy()
    result.triangles[rows] = after[touched] + shells.middle[shell[touched]][:, None]
    if mesh.uv is not None:
        result.uv = mesh.uv.copy()
        photo = touched & shells.textured
        result.uv[shells.order[photo]] = uv[photo]
    keep = np.zeros(len(mesh), np.bool_)
    keep[shells.order] = alive
    return result.take(keep)


def _bodies(
    before: Array, after: Array, alive: NDArray[np.bool_], touched: NDArray[np.bool_], limit: float, closed: bool
) -> tuple[float, NDArray[np.int64]]:
    """How far a shell's surface moved at most, and the old triangles where it moved too far; all of them when its
    volume changed too much.

    Triangles that both surfaces have are at no distance, so only the others are looked at.
    """
    surface, old = after[alive], np.flatnonzero(~alive | touched)
    gone = one_sided(before[old], surface, limit)
    come = one_sided(after[alive & touched], before, limit)
    places = np.union1d(old[gone.beyond], come.at)
    if closed and abs(_volume(surface) - _volume(before)) > MAX_VOLUME_CHANGE * abs(_volume(before)):
        places = np.arange(len(before))
    return max(gone.worst, come.worst), places


def _heights(
    before: Array, after: Array, alive: NDArray[np.bool_], touched: NDArray[np.bool_], limit: float
) -> tuple[float, NDArray[np.int64]]:
    """How far a ground's height moved at most, and the old triangles where that is beyond the limit.

    Where the ground lies above itself (steps, two terrain models that overlap) heights say nothing; there distances do.
    """
    old = np.flatnonzero(~alive | touched)
    gap = height_deviation(before[old], after[alive & touched])
    far = np.flatnonzero(gap > limit)
    if len(far):
        double = far[height_deviation(before[old[far]], before) > LOSSLESS]
        moved = one_sided(before[old[double]], after[alive], limit)
        gap[double] = np.minimum(moved.worst, limit)
        gap[double[moved.beyond]] = np.inf
    places = old[gap > limit]
    return float(gap[np.isfinite(gap)].max(initial=0.0)), places


def _photographs(
    before: Array,
    after: Array,
    alive: NDArray[np.bool_],
    touched: NDArray[np.bool_],
    photo: NDArray[np.bool_],
    group: NDArray[np.int64],
    old_uv: Array,
    new_uv: Array,
) -> tuple[float, NDArray[np.int64]]:
    """How far photographs shifted at most (image sizes), and the old triangles where that is too far: the new
    triangles' texture places against those of the old triangle that is nearest there and of the same material."""
    worst, slipped = 0.0, [np.zeros(0, np.int64)]
    for number in np.unique(group[photo & alive & touched]):
        new = np.flatnonzero((group == number) & photo & alive & touched)
        old = np.flatnonzero((group == number) & photo)
        points = np.einsum("sk,tkc->tsc", _UV_SAMPLES, after[new]).reshape(-1, 3)
        found = np.einsum("sk,tkc->tsc", _UV_SAMPLES, new_uv[new]).reshape(-1, 2)
        _, at = nearest(points, before[old])
        weights = _weights(points, before[old][at])
        shift = np.abs(np.einsum("nk,nkc->nc", weights, old_uv[old][at]) - found).max(axis=1)
        worst = max(worst, float(shift.max()))
        slipped.append(np.unique(old[at[shift > _MAX_UV_SHIFT]]))
    return worst, np.concatenate(slipped)


def _weights(points: Array, triangles: Array) -> Array:
    """(N, 3) barycentric coordinates of points (N, 3) in the planes of triangles (N, 3, 3)."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    n, p = np.cross(a, b), points - triangles[:, 0]
    square = np.maximum((n * n).sum(axis=1), 1e-12)
    v, w = (np.cross(p, b) * n).sum(axis=1) / square, (np.cross(a, p) * n).sum(axis=1) / square
    return np.stack([1.0 - v - w, v, w], axis=1)


def _open_corners(shells: _Shells) -> NDArray[np.bool_]:
    """Corners (V,) of edges that only one triangle has, or more than two."""
    edges = np.sort(shells.face[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, inverse, count = np.unique(
        edges[:, 0] * len(shells.position) + edges[:, 1], return_inverse=True, return_counts=True
    )
    result = np.zeros(len(shells.position), np.bool_)
    result[edges[count[inverse.reshape(-1)] != 2].reshape(-1)] = True
    return result


def _balanced(shells: _Shells) -> NDArray[np.bool_]:
    """Shells (S,) in which every edge is used as often one way as the other: closed as triangles."""
    edges = shells.face[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    low, high = edges.min(axis=1), edges.max(axis=1)
    _, inverse = np.unique(low * len(shells.position) + high, return_inverse=True)
    balance = np.bincount(inverse.reshape(-1), np.sign(edges[:, 1] - edges[:, 0]))
    odd = balance[inverse.reshape(-1)] != 0
    result: NDArray[np.bool_] = np.bincount(shells.owner[edges[:, 0]], odd, len(shells.feature)) == 0
    return result


def _volume(triangles: Array) -> float:
    return float(_volumes(triangles, np.zeros(len(triangles), np.int64), 1)[0])


def _volumes(triangles: Array, shell: NDArray[np.int64], count: int) -> Array:
    """(S,) signed volumes about the origin."""
    six = np.einsum("ij,ij->i", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2]))
    return np.asarray(np.bincount(shell, six, count) / 6.0)

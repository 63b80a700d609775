"""Are bodies closed, and do their faces look outward? Do surfaces that lie look up? All features at once.

Polygons that share corners form a shell. A shell in which every polygon edge is used as often one way as the other is
closed and consistently wound; its signed volume says whether it faces outward. Such shells stay one-sided (turned round
where they face inward); all other triangles are written from both sides, because renderers cull back faces for every
sensor. Surfaces that lie on the ground (roads, water) are turned to face up; their vertical pieces (kerbs) are written
from both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.features import Surface
from aerialworld_city.geometry import mesh as packed
from aerialworld_core.frames import Array

#: Corners nearer than this are one corner, metres.
_MERGE = 1e-3
#: A surface steeper than this is a wall where the source does not say (cosine of 70°).
_WALL_SLOPE = 0.342


@dataclass(eq=False)
class Shells:
    """What was found, per feature (F,): `volume` m³ of its closed shells, `closed` True where all shells are closed;
    `turned`, `doubled` and `upright` count triangles."""

    volume: Array
    closed: NDArray[np.bool_]
    turned: int
    doubled: int
    upright: int = 0

    def changes(self) -> dict[str, int]:
        """What the report says of it."""
        counts = {
            "triangles turned outward": self.turned,
            "triangles of open or mis-wound shells, written from both sides": self.doubled,
            "upright triangles of roads and the like, written from both sides": self.upright,
        }
        return {name: number for name, number in counts.items() if number}


@dataclass(eq=False)
class _Found:
    """Of triangles: `turn` (T,) bool, `open` (T,) bool; of features: `volume`, `closed`."""

    turn: NDArray[np.bool_]
    open: NDArray[np.bool_]
    volume: Array
    closed: NDArray[np.bool_]


def orient(
    mesh: packed.Mesh,
    count: int,
    *,
    lies: NDArray[np.bool_] | None = None,
    corners: Array | None = None,
    corner_owner: NDArray[np.int64] | None = None,
    triangle_corners: NDArray[np.int64] | None = None,
    follow: NDArray[np.int64] | None = None,
) -> tuple[packed.Mesh, Shells]:
    """Turn closed shells outward and what lies up, mark what needs both sides, and classify unknown surfaces by slope.

    `mesh` holds features 0 … count - 1; `lies` (count,) which of them are surfaces that lie on the ground (None: none).
    The shells' edges are those of the triangles, unless the polygons that they were made of are given as well (ear
    clipping leaves out corners on straight lines): `corners` (M, 3) with `corner_owner` (M,) features,
    `triangle_corners` (T, 3) into them and `follow` (M,) the corner after each (see `triangulate.Faces`).
    Returns a new mesh; `volume` and `closed` of features that lie are 0 and False.
    """
    if lies is None:
        lies = np.zeros(count, bool)
    if not len(mesh):
        return mesh, Shells(np.zeros(count), np.zeros(count, bool), 0, 0)
    if corners is None or corner_owner is None or triangle_corners is None or follow is None:
        corners = mesh.triangles.reshape(-1, 3)
        corner_owner = np.repeat(mesh.feature, 3).astype(np.int64)
        triangle_corners = np.arange(len(corners)).reshape(-1, 3)
        follow = np.roll(triangle_corners, -1, axis=1).reshape(-1)
    found = _find_shells(corners, corner_owner, triangle_corners, follow, count)
    n = normals(mesh.triangles)[:, 2]
    flat = lies[mesh.feature]
    turn = np.where(flat, n < 0, found.turn)
    double = np.where(flat, np.abs(n) < _WALL_SLOPE, found.open)
    triangles = mesh.triangles.copy()
    triangles[turn] = triangles[turn][:, ::-1]
    uv = mesh.uv
    if uv is not None:
        uv = uv.copy()
        uv[turn] = uv[turn][:, ::-1]
    n = np.where(turn, -n, n)
    by_slope = np.where(n > _WALL_SLOPE, Surface.ROOF, np.where(n < -_WALL_SLOPE, Surface.GROUND, Surface.WALL))
    surface = np.where(mesh.surface == Surface.UNKNOWN, by_slope, mesh.surface).astype(np.int8)
    result = packed.Mesh(triangles, mesh.feature, surface, double, mesh.material, uv)
    bodies = ~lies
    shells = Shells(
        np.where(bodies, found.volume, 0.0),
        found.closed & bodies,
        int((turn & ~flat).sum()),
        int((double & ~flat).sum()),
        int((double & flat).sum()),
    )
    return result, shells


def _find_shells(
    corners: Array,
    owner: NDArray[np.int64],
    triangles: NDArray[np.int64],
    follow: NDArray[np.int64],
    count: int,
) -> _Found:
    ids = corner_ids(corners, owner)
    vertices = int(ids.max()) + 1
    a, b = ids, ids[follow]
    corner = ids[triangles]
    shells, label = connected(
        np.concatenate([a, corner[:, 0], corner[:, 1]]), np.concatenate([b, corner[:, 1], corner[:, 2]]), vertices
    )
    shell = label[corner[:, 0]]
    low, high = np.minimum(a, b), np.maximum(a, b)
    _, edge = np.unique(low * vertices + high, return_inverse=True)
    balance = np.bincount(edge.reshape(-1), np.sign(b - a))
    open_shell = np.zeros(shells, bool)
    open_shell[label[low[balance[edge.reshape(-1)] != 0]]] = True
    feature = owner[triangles[:, 0]]
    first = np.zeros((count, 3))
    first[feature[::-1]] = corners[triangles[::-1, 0]]
    volume = np.bincount(shell, signed_volumes(corners[triangles], first[feature]), minlength=shells)
    double = open_shell[shell]
    shell_feature = np.zeros(shells, np.int64)
    shell_feature[shell] = feature
    solid = np.bincount(shell, minlength=shells) > 0
    own = np.bincount(shell_feature[solid], np.where(open_shell, 0.0, np.abs(volume))[solid], minlength=count)
    has = np.bincount(feature, minlength=count) > 0
    closed = has & (np.bincount(feature, double, minlength=count) == 0)
    return _Found((~open_shell & (volume < 0))[shell], double, own.astype(np.float64), closed)


def connected(a: NDArray[np.int64], b: NDArray[np.int64], count: int) -> tuple[int, NDArray[np.int64]]:
    """How many connected pieces the links a[i] - b[i] make of `count` nodes, and each node's piece, numbered from 0 by
    its lowest node. (SciPy's own takes longer to load than a tile takes to build.)"""
    root = np.arange(count)
    a, b = np.minimum(a, b), np.maximum(a, b)
    while True:
        low, high = root[a], root[b]
        differ = low != high
        if not differ.any():
            break
        a, b, low, high = a[differ], b[differ], low[differ], high[differ]
        np.minimum.at(root, np.maximum(low, high), np.minimum(low, high))
        while (root[root] != root).any():
            root = root[root]
    is_root = root == np.arange(count)
    return int(is_root.sum()), (np.cumsum(is_root) - 1)[root]


def normals(triangles: Array) -> Array:
    """Unit normals (T, 3); zeros for triangles without area."""
    n = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    length = np.linalg.norm(n, axis=1, keepdims=True)
    return np.asarray(n / np.where(length > 0, length, 1.0))


def signed_volumes(triangles: Array, origin: Array) -> Array:
    """(T,) volume of each triangle's tetrahedron with `origin` (T, 3); a closed outward shell sums to its volume."""
    p = triangles - origin[:, None]
    return np.asarray((p[:, 0] * np.cross(p[:, 1], p[:, 2])).sum(axis=1) / 6.0)


def corner_ids(points: Array, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) ids of points; equal within a millimetre and of one feature means the same corner.

    Points may lie anywhere within a zone of 1,000 km: two numbers of 63 bits hold feature, x, y and z.
    """
    if not len(points):
        return np.zeros(0, np.int64)
    steps = np.round((points - points.min(axis=0)) / _MERGE).astype(np.int64)
    span = steps.max(axis=0) + 1
    plan, level = steps[:, 0] * span[1] + steps[:, 1], owner * span[2] + steps[:, 2]
    order = np.lexsort((plan, level))
    plan, level = plan[order], level[order]
    new = np.r_[False, (plan[1:] != plan[:-1]) | (level[1:] != level[:-1])]
    ids = np.empty(len(points), np.int64)
    ids[order] = np.cumsum(new)
    return ids


def double_sided(mesh: packed.Mesh) -> packed.Mesh:
    """The triangles to write: those marked double appear a second time, turned round, behind the others."""
    back = mesh.take(mesh.double)
    back.triangles = back.triangles[:, ::-1]
    if back.uv is not None:
        back.uv = back.uv[:, ::-1]
    return packed.Mesh.joined([mesh, back])


def bounding_boxes(mesh: packed.Mesh, count: int) -> Array:
    """(F, 2, 3) lowest and highest corner of each feature; infinite where one has no triangle."""
    boxes = np.stack([np.full((count, 3), np.inf), np.full((count, 3), -np.inf)], axis=1)
    if not len(mesh):
        return boxes
    order = np.argsort(mesh.feature, kind="stable")
    feature = mesh.feature[order]
    begin = np.flatnonzero(np.r_[True, feature[1:] != feature[:-1]])
    boxes[feature[begin], 0] = np.minimum.reduceat(mesh.triangles.min(axis=1)[order], begin)
    boxes[feature[begin], 1] = np.maximum.reduceat(mesh.triangles.max(axis=1)[order], begin)
    return boxes

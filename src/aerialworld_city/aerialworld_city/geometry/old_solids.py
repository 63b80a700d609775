"""The shells of the first converter. Are the buildings closed, and do their faces look outward? All buildings at once.

Polygons that share corners form a shell. A shell in which every polygon edge is used as often one way as the other is
closed and consistently wound; its signed volume says whether it faces outward. Such shells stay one-sided (turned round
where they face inward); all other triangles are written from both sides, because renderers cull back faces for every
sensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from aerialworld_city.features import Surface
from aerialworld_core.frames import Array

#: Corners nearer than this are one corner, metres.
_MERGE = 1e-3
#: A surface steeper than this is a wall where the source does not say (cosine of 70°).
_WALL_SLOPE = 0.342


@dataclass(eq=False)
class Mesh:
    """Triangles of many buildings: corners (T, 3, 3) in map, `building` (T,) its index, `surface` (T,) of Surface,
    `double` (T,) True where the back has to be written too."""

    triangles: Array
    building: NDArray[np.int64]
    surface: NDArray[np.int8]
    double: NDArray[np.bool_]

    def take(self, mask: NDArray[np.bool_]) -> Mesh:
        return Mesh(self.triangles[mask], self.building[mask], self.surface[mask], self.double[mask])


@dataclass(eq=False)
class Shells:
    """What was found, per building (B,): `volume` m³ of its closed shells, `closed` True where all shells are closed;
    `turned` and `doubled` count triangles."""

    volume: Array
    closed: NDArray[np.bool_]
    turned: int
    doubled: int


def normals(triangles: Array) -> Array:
    """Unit normals (T, 3); zeros for triangles without area."""
    n = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    length = np.linalg.norm(n, axis=1, keepdims=True)
    return np.asarray(n / np.where(length > 0, length, 1.0))


def signed_volumes(triangles: Array, origin: Array) -> Array:
    """(T,) volume of each triangle's tetrahedron with `origin` (T, 3); a closed outward shell sums to its volume."""
    p = triangles - origin[:, None]
    return np.asarray((p[:, 0] * np.cross(p[:, 1], p[:, 2])).sum(axis=1) / 6.0)


def orient(mesh: Mesh, edges: Array, owner: NDArray[np.int64], buildings: int) -> tuple[Mesh, Shells]:
    """Turn closed shells outward, mark the rest as double-sided, and classify surfaces of unknown kind by slope.

    `edges` (E, 2, 3) are the directed edges of the buildings' polygons and `owner` (E,) their buildings: polygons, not
    triangles, because ear clipping leaves out corners on straight lines.
    """
    triangles = mesh.triangles.copy()
    count = len(triangles)
    if count == 0:
        return mesh, Shells(np.zeros(buildings), np.zeros(buildings, bool), 0, 0)
    first = np.zeros((buildings, 3))
    first[mesh.building[::-1]] = triangles[::-1, 0]
    points = np.concatenate([triangles.reshape(-1, 3), edges.reshape(-1, 3)])
    ids = _corner_ids(points, np.concatenate([np.repeat(mesh.building, 3), np.repeat(owner, 2)]))
    corner, edge = ids[: 3 * count].reshape(-1, 3), ids[3 * count :].reshape(-1, 2)
    vertices = int(ids.max()) + 1
    links = np.concatenate([corner[:, :2], corner[:, 1:], edge])
    graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(vertices, vertices))
    shells, label = connected_components(graph, directed=False)
    label = label.astype(np.int64)
    shell = label[corner[:, 0]]
    low, high = edge.min(axis=1), edge.max(axis=1)
    _, inverse = np.unique(low * vertices + high, return_inverse=True)
    balance = np.bincount(inverse.reshape(-1), np.sign(edge[:, 1] - edge[:, 0]))
    open_shell = np.zeros(shells, bool)
    open_shell[label[low[balance[inverse.reshape(-1)] != 0]]] = True
    volume = np.bincount(shell, signed_volumes(triangles, first[mesh.building]), minlength=shells)
    inward = ~open_shell & (volume < 0)
    turn = inward[shell]
    triangles[turn] = triangles[turn][:, ::-1]
    double = open_shell[shell]
    n = normals(triangles)[:, 2]
    by_slope = np.where(n > _WALL_SLOPE, Surface.ROOF, np.where(n < -_WALL_SLOPE, Surface.GROUND, Surface.WALL))
    surface = np.where(mesh.surface == Surface.UNKNOWN, by_slope, mesh.surface).astype(np.int8)
    own: Array = np.bincount(
        mesh.building, np.where(open_shell, 0.0, np.abs(volume))[shell] / _sizes(shell), buildings
    ).astype(np.float64)
    closed = np.bincount(mesh.building, double, buildings) == 0
    result = Mesh(triangles, mesh.building, surface, double)
    return result, Shells(own, closed, int(turn.sum()), int(double.sum()))


def _sizes(shell: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many triangles each triangle's shell has."""
    return np.bincount(shell)[shell]


def _corner_ids(points: Array, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) ids of points; equal within a millimetre and of one building means the same corner."""
    steps = np.round(points / _MERGE).astype(np.int64)
    low, high = steps.min(axis=0), steps.max(axis=0)
    span = high - low + 1
    steps -= low
    if _too_wide(span, owner):
        _, inverse = np.unique(np.column_stack([owner, steps]), axis=0, return_inverse=True)
    else:
        key = ((owner * span[2] + steps[:, 2]) * span[1] + steps[:, 1]) * span[0] + steps[:, 0]
        _, inverse = np.unique(key, return_inverse=True)
    return inverse.reshape(-1).astype(np.int64)


def _too_wide(span: NDArray[np.int64], building: NDArray[np.int64]) -> bool:
    """Whether one number of 63 bits cannot hold a building and three coordinates."""
    return float(span.astype(np.float64).prod()) * (int(building.max()) + 1) > 2.0**62


def double_sided(mesh: Mesh) -> Mesh:
    """The triangles to write: those marked double appear a second time, turned round, behind the others."""
    back = mesh.take(mesh.double)
    return Mesh(
        np.concatenate([mesh.triangles, back.triangles[:, ::-1]]),
        np.concatenate([mesh.building, back.building]),
        np.concatenate([mesh.surface, back.surface]),
        np.concatenate([mesh.double, back.double]),
    )


def bounding_boxes(mesh: Mesh, count: int) -> Array:
    """(B, 2, 3) lowest and highest corner of each building."""
    boxes = np.stack([np.full((count, 3), np.inf), np.full((count, 3), -np.inf)], axis=1)
    np.minimum.at(boxes[:, 0], mesh.building, mesh.triangles.min(axis=1))
    np.maximum.at(boxes[:, 1], mesh.building, mesh.triangles.max(axis=1))
    return boxes

"""What a city tells of the ground's height: the feet of what stands on it, and its surfaces that have heights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from aerialworld_city.city import City
from aerialworld_city.geodesy import LocalFrame
from aerialworld_city.geometry.evidence import Evidence
from aerialworld_city.geometry.mesh import Mesh
from aerialworld_city.geometry.overlay import subdivide
from aerialworld_core.frames import Array

#: What stands on the ground, best first; each is asked only where the ones before, and surfaces with heights, are
#: farther than `FAR` metres.
_FEET = (("building",), ("furniture", "vegetation"), ("bridge",))
FAR = 250.0
#: Corners within this of a body's lowest one are its foot's, metres.
_FOOT = 0.01
#: Surfaces are looked at in pieces of this size, metres.
_PIECE = 5.0


def ground_evidence(city: City, boxes: Array, frame: LocalFrame) -> Evidence:
    """Everything that tells the ground's height; `boxes` (F, 2, 3) of the city's features in map."""
    kinds = np.array([f.kind for f in city.features], dtype=object)
    surfaces = _places_of_surfaces(city, city.lies & ~city.without_height, frame)
    taken = np.zeros(len(kinds), np.bool_)
    for number, group in enumerate(_FEET):
        rows = np.flatnonzero(np.isin(kinds, group))
        known = np.concatenate([boxes[taken][:, :, :2].mean(axis=1), surfaces[:, :2] if number else np.zeros((0, 2))])
        if len(known) and len(rows):
            rows = rows[cKDTree(known).query(boxes[rows][:, :, :2].mean(axis=1))[0] > FAR]
        taken[rows] = True
    corners, owner = _feet(city, taken, boxes, frame)
    bases = np.column_stack([boxes[taken][:, :, :2].mean(axis=1), boxes[taken, 0, 2]])
    return Evidence(bases, corners, owner, surfaces)


def _parts(city: City, chosen: NDArray[np.bool_]) -> list[tuple[Mesh, NDArray[np.int64]]]:
    """Of every tile the triangles of chosen features (F,), and which of the city's features (T,) each is of."""
    found = []
    begin = 0
    for tile, mask in zip(city.tiles, city.masks, strict=True):
        rows = np.flatnonzero(mask)
        number = np.full(len(tile.features), -1, np.int64)
        number[rows] = np.where(chosen[begin : begin + len(rows)], begin + np.arange(len(rows)), -1)
        begin += len(rows)
        if (number >= 0).any():
            mesh = tile.mesh()
            of_city = number[mesh.feature]
            found.append((mesh.take(of_city >= 0), of_city[of_city >= 0]))
    return found


def _feet(city: City, chosen: NDArray[np.bool_], boxes: Array, frame: LocalFrame) -> tuple[Array, NDArray[np.int64]]:
    """The lowest corners (M, 2) in map of the features chosen (F,), and which of these (M,) each is of."""
    corners, owners = [np.zeros((0, 2))], [np.zeros(0, np.int64)]
    rank = np.cumsum(chosen) - 1
    for mesh, feature in _parts(city, chosen):
        row, corner = np.nonzero(mesh.triangles[:, :, 2] <= boxes[feature, 0, 2][:, None] + _FOOT)
        found = np.column_stack([rank[feature[row]], mesh.triangles[row, corner, :2] - [frame.east, frame.north]])
        found = np.unique(found, axis=0)
        corners.append(found[:, 1:])
        owners.append(found[:, 0].astype(np.int64))
    return np.concatenate(corners), np.concatenate(owners)


def _places_of_surfaces(city: City, chosen: NDArray[np.bool_], frame: LocalFrame) -> Array:
    """(K, 3) in map: places all over surfaces with heights, their corners among them."""
    found = [np.zeros((0, 3))]
    for mesh, _ in _parts(city, chosen):
        pieces, _ = subdivide(frame.from_plane(mesh.triangles), _PIECE)
        found += [pieces.reshape(-1, 3), pieces.mean(axis=1)]
    return np.unique(np.concatenate(found), axis=0)


def continued(evidence: Evidence, boxes: Array) -> tuple[Evidence, int]:
    """The evidence with more below surfaces without heights (their `boxes`) that lie far from all of it, as high as the
    nearest; and how many such surfaces there are."""
    box, known = boxes[:, :, :2], evidence.places()
    places = np.stack([box.mean(axis=1), *(box[:, [i, j], [0, 1]] for i in (0, 1) for j in (0, 1))], axis=1)
    distance, nearest = cKDTree(known[:, :2]).query(places.reshape(-1, 2))
    far = (distance > FAR).reshape(places.shape[:2])
    found = np.column_stack([places.reshape(-1, 2), known[nearest, 2]])[far.reshape(-1)]
    more = Evidence(
        np.concatenate([evidence.bases, found]),
        np.concatenate([evidence.corners, found[:, :2]]),
        np.concatenate([evidence.owner, len(evidence.bases) + np.arange(len(found))]),
        evidence.surfaces,
    )
    return more, int(far.any(axis=1).sum())

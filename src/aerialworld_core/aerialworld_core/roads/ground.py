"""Where traffic may be: the world's carriageways and sidewalks seen from above, on a raster.

A cell counts as road only where the road is the topmost surface: what lies under a roof, a bridge or a tree is left
out, so that nothing that stays on road cells can enter a building.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, distance_transform_edt

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.labels import DRIVEABLE_SURFACE, GROUND, SIDEWALK
from aerialworld_core.world.scene import Scene
from aerialworld_core.world.seams import BESIDE

#: Edge of a cell, metres.
CELL = 0.5
#: Rasters of more cells than this (their roads' box) are refused: 8 km × 8 km.
MAX_CELLS = 256_000_000
#: Room around the roads, so that no body leaves the raster, metres.
_MARGIN = 20.0


class World(Protocol):
    """What traffic asks of a world; `aerialworld_core.world.World` has it."""

    @property
    def scene(self) -> Scene: ...
    @property
    def bounds(self) -> Array: ...
    def cast(self, origins: NDArray[Any], directions: NDArray[Any]) -> tuple[Array, NDArray[np.int32]]: ...
    def terrain_height(self, xy: NDArray[Any]) -> Array: ...


def topmost(world: World, xy: Array) -> NDArray[np.int32]:
    """(N,) face of the topmost surface at (N, 2), −1 where there is none, or where it is a seam that is hit."""
    origins = np.column_stack([xy, np.full(len(xy), float(world.bounds[1][2]) + 10.0)])
    return world.cast(origins, np.broadcast_to([0.0, 0.0, -1.0], origins.shape))[1]


@dataclass(frozen=True, eq=False)
class Ground:
    """Rasters indexed [row, column], row 0 the southernmost; samples at cell centres.

    low    (2,) south-west corner, map
    cell   metres
    drive  (R, C) bool: carriageway on top
    walk   (R, C) bool: sidewalk on top
    """

    low: Array
    cell: float
    drive: NDArray[np.bool_]
    walk: NDArray[np.bool_]

    def centres(self, row: NDArray[np.int64], column: NDArray[np.int64]) -> Array:
        """(N, 2) map positions of cell centres."""
        return self.low + (np.stack([column, row], axis=1) + 0.5) * self.cell

    def look(self, raster: NDArray[Any], xy: Array) -> Any:
        """The values (…) of a raster at points (…, 2); those outside get the value of the nearest cell."""
        column, row = np.moveaxis(np.floor((xy - self.low) / self.cell).astype(np.int64), -1, 0)
        rows, columns = raster.shape
        return raster[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]

    def room(self, mask: NDArray[np.bool_]) -> Array:
        """(R, C) metres from each cell's centre to the edge of the mask, 0 outside of it."""
        return np.asarray(distance_transform_edt(mask)) * self.cell - 0.5 * self.cell * mask


def see_ground(world: World) -> Ground | None:
    """The raster of a world's roads; None where it has no surface of class driveable or sidewalk.

    Raises InputError for a world whose roads are spread too far.
    """
    scene = world.scene
    faces = np.flatnonzero(np.isin(scene.face_class, (DRIVEABLE_SURFACE, SIDEWALK)))
    if not len(faces):
        return None
    corners = scene.vertices[scene.faces[faces]][..., :2].astype(np.float64)
    low, high = corners.min(axis=(0, 1)) - _MARGIN, corners.max(axis=(0, 1)) + _MARGIN
    ground = _empty(low, high)
    near = _near(ground, corners)
    row, column = np.nonzero(near)
    label = _top_class(world, ground.centres(row, column))
    ground.drive[row, column] = label == DRIVEABLE_SURFACE
    ground.walk[row, column] = label == SIDEWALK
    # Neighbouring road objects leave slivers of terrain between them, which nobody would call an edge.
    open_ground = np.zeros_like(ground.drive)
    open_ground[row, column] = np.isin(label, GROUND)
    closed = binary_closing(ground.drive, iterations=1) & open_ground & ~ground.walk
    ground.drive[closed] = True
    return ground


def strips_ground(low: Array, high: Array, strips: list[Array]) -> Ground:
    """A raster of made-up straight roads: `strips` are rectangles (4, 2), counter-clockwise."""
    ground = _empty(low - _MARGIN, high + _MARGIN)
    for corners in strips:
        first = np.floor((corners.min(axis=0) - ground.low) / ground.cell).astype(int)
        last = np.ceil((corners.max(axis=0) - ground.low) / ground.cell).astype(int)
        box = (slice(max(first[1], 0), last[1]), slice(max(first[0], 0), last[0]))
        row, column = (a.ravel() for a in np.mgrid[box])
        xy = ground.centres(row, column)
        inside = np.ones(len(xy), bool)
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            inside &= (b[0] - a[0]) * (xy[:, 1] - a[1]) - (b[1] - a[1]) * (xy[:, 0] - a[0]) >= 0
        ground.drive[row[inside], column[inside]] = True
    return ground


def _empty(low: Array, high: Array) -> Ground:
    columns, rows = (int(n) for n in np.ceil((high - low) / CELL))
    if rows * columns > MAX_CELLS:
        raise InputError(
            f"the world's roads spread over {(high - low)[0] / 1e3:.0f} × {(high - low)[1] / 1e3:.0f} km; "
            "convert a smaller part of the city (aerialworld city convert --around …)"
        )
    return Ground(low, CELL, np.zeros((rows, columns), bool), np.zeros((rows, columns), bool))


def _near(ground: Ground, corners: Array) -> NDArray[np.bool_]:
    """(R, C) cells that lie in the box of a triangle (F, 3, 2) grown by two cells: only these are looked at."""
    near = np.zeros(ground.drive.shape, bool)
    first = np.floor((corners.min(axis=1) - ground.low) / ground.cell).astype(np.int64) - 2
    last = np.floor((corners.max(axis=1) - ground.low) / ground.cell).astype(np.int64) + 2
    for (c0, r0), (c1, r1) in zip(first, last, strict=True):
        near[max(r0, 0) : r1 + 1, max(c0, 0) : c1 + 1] = True
    return near


def _top_class(world: World, xy: Array) -> NDArray[np.int64]:
    """(N,) class of the topmost surface, −1 where there is nothing."""
    face = np.array(topmost(world, xy))
    missed = np.flatnonzero(face < 0)
    if missed.size:
        face[missed] = topmost(world, xy[missed] + BESIDE)
    label = np.full(len(xy), -1)
    label[face >= 0] = world.scene.face_class[face[face >= 0]]
    return label

"""The world seen from above on a raster: how high the ground and the topmost surface are, and of which class.

Made once per world by casting rays straight down, then shared by every pattern.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.labels import GROUND
from aerialworld_core.world.scene import Scene
from aerialworld_core.world.seams import BESIDE, ground_height

#: Edge of a raster cell, metres; larger only in worlds of more than `MAX_CELLS` square metres.
CELL = 1.0
MAX_CELLS = 6_000_000
_RAYS_AT_ONCE = 262_144


class Geometry(Protocol):
    """What missions ask of a world (`aerialworld_core.world.World` has it)."""

    @property
    def scene(self) -> Scene: ...
    @property
    def bounds(self) -> Array: ...
    def cast(
        self, origins: NDArray[Any], directions: NDArray[Any], *, cull_backfaces: bool = True
    ) -> tuple[Array, NDArray[np.int32]]: ...
    def terrain_height(self, xy: NDArray[Any]) -> Array: ...
    def inside_solid(self, points: NDArray[Any]) -> NDArray[np.bool_]: ...
    def datum(self, x: float, y: float) -> float: ...


@dataclass(frozen=True, eq=False)
class HeightMap:
    """Rasters indexed [row, column]: row 0 is the southernmost, column 0 the westernmost; samples at cell centres.

    low, high    (2,) south-west and north-east corner of the box that it covers, map x, y
    cell         edge of a cell, metres
    surface      (R, C) height of the topmost surface, −inf where there is nothing
    ground       (R, C) height of the ground, NaN where there is none
    face_class   (R, C) class of the topmost surface
    """

    _world: ReferenceType[Geometry]
    low: Array
    high: Array
    cell: float
    surface: Array
    ground: Array
    face_class: NDArray[np.uint8]

    @classmethod
    def of(cls, world: Geometry) -> HeightMap:
        """The raster of a world, cast on first use and kept as long as the world lives.

        Raises PlanError for a world without any surface.
        """
        known = _MAPS.get(world)
        if known is None:
            low, high = np.asarray(world.bounds, dtype=np.float64)[:, :2]
            extent = high - low
            if len(world.scene.faces) == 0 or not (np.isfinite(extent).all() and (extent > 0).all()):
                raise PlanError("this world has no surfaces: there is nothing to fly over")
            cell = max(CELL, math.sqrt(float(extent[0] * extent[1]) / MAX_CELLS))
            known = _MAPS[world] = cls.cast(world, low, high, cell)
        return known

    @classmethod
    def cast(cls, world: Geometry, low: Array, high: Array, cell: float = CELL) -> HeightMap:
        """The raster of the box from `low` to `high` (2,)."""
        extent = high - low
        columns, rows = (max(1, math.ceil(e / cell)) for e in extent)
        x = low[0] + (np.arange(columns) + 0.5) * cell
        y = low[1] + (np.arange(rows) + 0.5) * cell
        xy = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        top = float(world.bounds[1][2]) + 10.0
        surface = np.full(len(xy), -np.inf)
        classes = np.zeros(len(xy), np.uint8)
        ground = np.full(len(xy), np.nan)
        for begin in range(0, len(xy), _RAYS_AT_ONCE):
            part = slice(begin, begin + _RAYS_AT_ONCE)
            origins = np.column_stack([xy[part], np.full(len(xy[part]), top)])
            down = np.broadcast_to([0.0, 0.0, -1.0], origins.shape)
            distance, face = world.cast(origins, down)
            if (missed := np.flatnonzero(face < 0)).size:
                origins[missed, :2] += BESIDE
                distance[missed], face[missed] = world.cast(origins[missed], down[missed])
            hit = face >= 0
            surface[part][hit] = top - distance[hit]
            classes[part][hit] = world.scene.face_class[face[hit]]
            open_ground = hit & np.isin(classes[part], GROUND)
            ground[part][open_ground] = surface[part][open_ground]
            covered = ~open_ground
            if covered.any():
                ground[part][covered] = ground_height(world, xy[part][covered])
        shape = (rows, columns)
        return cls(
            ref(world),
            low.copy(),
            high.copy(),
            cell,
            surface.reshape(shape),
            ground.reshape(shape),
            classes.reshape(shape),
        )

    @property
    def world(self) -> Geometry:
        """The world that this is a map of; it does not live longer for being mapped."""
        world = self._world()
        if world is None:
            raise ReferenceError("the world of this height map is gone: keep it while missions are planned in it")
        return world

    @cached_property
    def building(self) -> NDArray[np.bool_]:
        """(R, C) where something stands more than 2 m above the ground (or where there is no ground under it)."""
        with np.errstate(invalid="ignore"):
            tall = ~(self.surface - self.ground <= 2.0)
        return tall & np.isfinite(self.surface) & ~np.isin(self.face_class, GROUND)

    def index(self, xy: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Row and column of points (N, 2), clipped into the raster, and which lie inside its box."""
        xy = np.asarray(xy, dtype=np.float64)
        inside = np.all((xy >= self.low) & (xy <= self.high), axis=1)
        ij = np.floor((xy - self.low) / self.cell).astype(np.int64)
        rows, columns = self.surface.shape
        return np.clip(ij[:, 1], 0, rows - 1), np.clip(ij[:, 0], 0, columns - 1), inside

    def top_within(self, xy: NDArray[Any], radius: float) -> Array:
        """(N,) height of the highest surface within `radius` metres of points (N, 2), −inf where there is none.

        A cell counts as soon as any part of it may lie within the radius.
        """
        row, column, _ = self.index(xy)
        reach = math.ceil(radius / self.cell + 0.5)
        offsets = np.arange(-reach, reach + 1)
        dy, dx = (a.ravel() for a in np.meshgrid(offsets, offsets, indexing="ij"))
        near = np.hypot(dx, dy) <= radius / self.cell + math.sqrt(2.0)
        rows, columns = self.surface.shape
        r, c = row[:, None] + dy[near], column[:, None] + dx[near]
        inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
        heights = self.surface[np.clip(r, 0, rows - 1), np.clip(c, 0, columns - 1)]
        return np.where(inside, heights, -np.inf).max(axis=1)

    def cells_in(self, low: Array, high: Array) -> tuple[slice, slice]:
        """The rows and columns whose centres lie in the box from `low` to `high` (2,), clipped to the raster."""
        begin = np.ceil((np.asarray(low) - self.low) / self.cell - 0.5).astype(int)
        end = np.floor((np.asarray(high) - self.low) / self.cell - 0.5).astype(int) + 1
        rows, columns = self.surface.shape
        begin, end = np.maximum(begin, 0), np.maximum(end, 0)
        return slice(min(begin[1], rows), min(end[1], rows)), slice(min(begin[0], columns), min(end[0], columns))


_MAPS: WeakKeyDictionary[Geometry, HeightMap] = WeakKeyDictionary()

"""Where cars stand: at the left edge of roads with room for it, and on open ground beside the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_core.labels import GROUND
from aerialworld_core.roads.ground import World, topmost
from aerialworld_core.roads.shapes import Shape, placed
from aerialworld_core.world.seams import ground_height
from aerialworld_sim.traffic.kinds import Kind
from aerialworld_sim.traffic.network import Network, stand

#: Metres between a parked car and whatever is not the ground that it stands on.
CLEAR = 0.35
#: Metres beside a lane at which cars stand off the road; steepest ground, rise over run.
OFF_ROAD, STEEPEST = (4.0, 26.0), 0.15
_TRIES = 60


@dataclass(frozen=True, eq=False)
class Stand:
    """Where a parked car's reference point is, and how it stands: z of the ground there, pitch and roll."""

    x: float
    y: float
    yaw: float
    z: float
    pitch: float
    roll: float


class Parking:
    """Finds places; those found are taken."""

    def __init__(self, world: World, network: Network, random: np.random.Generator) -> None:
        self._world, self._network, self._random = world, network, random
        self._taken: set[int] = set()
        self._lanes = [way.curve for way in network.carriageways.lanes]

    def find(self, kind: Kind) -> Stand | None:
        """A place for a vehicle of this kind; None where none was found."""
        if not self._lanes:
            return None
        lengths = np.array([lane.length for lane in self._lanes])
        for attempt in range(_TRIES):
            lane = self._lanes[int(self._random.choice(len(lengths), p=lengths / lengths.sum()))]
            (xy,), (yaw,) = lane.at(np.array([self._random.uniform(0.0, lane.length)]))
            left = np.array([-np.sin(yaw), np.cos(yaw)])
            if attempt % 2 == 0:
                place = self._roadside(kind.shape, xy, float(yaw), left)
            else:
                aside = self._random.uniform(*OFF_ROAD)
                heading = float(yaw) + np.pi / 2 * float(self._random.choice([-1.0, 1.0]))
                place = self._off_road(kind.shape, xy + aside * left, heading)
            if place is not None and self._free(kind.shape, *place):
                return self._stand(kind.shape, *place)
        return None

    def _roadside(self, shape: Shape, xy: Array, yaw: float, left: Array) -> tuple[Array, float] | None:
        """As far to the left as the carriageway goes."""
        ground = self._network.ground
        for aside in np.arange(9.0, 1.5, -0.2):
            body = placed(shape.outline(0.1), (xy + aside * left)[None], np.array([yaw]))
            if ground.look(ground.drive, body).all():
                return xy + aside * left, yaw
        return None

    def _off_road(self, shape: Shape, xy: Array, yaw: float) -> tuple[Array, float] | None:
        """On open, flat ground that is neither carriageway nor sidewalk."""
        ground = self._network.ground
        (points,) = placed(shape.outline(CLEAR), xy[None], np.array([yaw]))
        if ground.look(ground.drive | ground.walk, points).any():
            return None
        face = topmost(self._world, points)
        if (face < 0).any() or not np.isin(self._world.scene.face_class[face], GROUND).all():
            return None
        z = ground_height(self._world, points)
        if not np.isfinite(z).all() or np.ptp(z) > STEEPEST * shape.length:
            return None
        return xy, yaw

    def _free(self, shape: Shape, xy: Array, yaw: float) -> bool:
        """Whether nobody passes or stands there; then it is taken."""
        cells = self._network.cells
        places: NDArray[np.int64] = cells.touched(shape, xy[None], np.array([yaw]))[1]
        own = set(places.tolist())
        if len(cells.numbers(places)) or own & self._taken:
            return False
        self._taken |= own
        return True

    def _stand(self, shape: Shape, xy: Array, yaw: float) -> Stand:
        way = xy + np.arange(-2, 3)[:, None] * 0.25 * np.array([np.cos(yaw), np.sin(yaw)])
        z, pitch, roll = (float(v[2]) for v in stand(self._world, shape, way, np.full(5, yaw)))
        return Stand(float(xy[0]), float(xy[1]), yaw, z, pitch, roll)

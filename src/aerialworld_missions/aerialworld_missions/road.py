"""Free roaming of a rover: along roads where there are any, over open ground else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_missions.driving import rounded
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.path import Path
from aerialworld_missions.requests import pair, point
from aerialworld_missions.rover import Common, Rover


def road_run(
    world: Geometry, *, centre: Sequence[float], size: float | Sequence[float] = 100.0, **common: Unpack[Common]
) -> Plan:
    """A rover's run within a box, as a `Plan` of the pattern "road"; the seed draws where it starts and where it goes:
    roads first, places not yet passed first.

    centre   (x, y) of the box in map, metres
    size     its edge, or (x, y) edges, metres; the run never leaves it
    common   see `Rover`; `duration` is 60 seconds unless given

    Raises PlanError with its reason: no driveable ground, no room to turn, higher than `ceiling` over the datum.
    """
    rover = Rover(world, "road", **common)
    seconds = rover.duration = 60.0 if rover.duration is None else rover.duration
    name = rover.name
    cx, cy = point(name, "centre", centre)
    edges = pair(name, "size", size, least=5.0, most=2000.0)
    low, high = np.array([cx, cy]) - np.array(edges) / 2, np.array([cx, cy]) + np.array(edges) / 2
    heights = rover.heights_of(low, high)
    length = rover.speed * seconds + 2 * rover.margin + 15.0

    def route(blocked: Array) -> Path:
        lattice = rover.lattice(heights, low, high, blocked)
        row, column = lattice.cells(lattice.states)
        cost = lattice.space.cost[row, column]
        cheap = np.flatnonzero(cost == cost.min())
        start = int(lattice.states[cheap[int(rover.random.integers(len(cheap)))]])
        return rounded(lattice.wander(rover.random, start, length), lattice.space)

    return rover.drive(heights, route, {"centre": [cx, cy], "size": list(edges)}, way_out="move the centre")

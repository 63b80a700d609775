"""Flights through given points: with the heights, speeds, looks and holds that somebody, or a ground station, chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Unpack

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.world.seams import ground_height
from aerialworld_missions.corridor import fly_line
from aerialworld_missions.course import Corner, merged
from aerialworld_missions.drone import Common, Drone, chosen
from aerialworld_missions.flight import LEAST_CLEARANCE
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.requests import FASTEST_DRONE, MOST_POINTS, number

#: A flight that need not stop at a point passes it within so many metres (smoothing adds up to 10 cm to it), with a
#: bend of so many at most.
CUT, RADIUS = 1.85, 25.0
LONGEST_HOLD = 3600.0


@dataclass(frozen=True)
class Stop:
    """A point to fly to.

    x, y      map, metres
    altitude  metres over what `frame` says; None: the mission's altitude in its own frame
    frame     "ground" under the point, "home", or "map" (the altitude is the map's z); None: the mission's
    speed     m/s towards it; None: the mission's
    yaw       where to look on the way here and here, radians; None: ahead
    hold      seconds to stay
    """

    x: float
    y: float
    altitude: float | None = None
    frame: Literal["ground", "home", "map"] | None = None
    speed: float | None = None
    yaw: float | None = None
    hold: float = 0.0


def waypoints(world: Geometry, *, stops: Sequence[Stop | Sequence[float]], **common: Unpack[Common]) -> Plan:
    """A flight through points, from rest to rest, as a `Plan`.

    stops       `Stop`s, or (x, y), or (x, y, altitude); it passes within 2 m of one that it need not stop at, stands
                for holds and to turn by more than 100°, and climbs at the place of points that lie over each other
    duration    seconds: cut there, or going back and forth until then; None = once through all
    common      see `Drone`; `avoid` "bend" leads around buildings at the flight's height. `jitter` turns the direction,
                varies the altitudes and the speeds

    Heights are met exactly (rounded over 4 s where the climb changes) as long as nothing stands in the way. Raises
    PlanError with its reason for what cannot be flown, and for a point that lies below the ground or in a building.
    The same arguments give the same bytes.
    """
    drone = Drone(world, "waypoints", bends=True, **common)
    name, v = drone.name, drone.variation
    if isinstance(stops, str | bytes) or not isinstance(stops, Sequence | np.ndarray):
        raise PlanError(f"{name}: stops takes a list of points")
    if not 2 <= len(stops) <= MOST_POINTS:
        raise PlanError(f"{name}: takes 2 to {MOST_POINTS} points, not {len(stops)}")
    given = [_stop(name, i, stop) for i, stop in enumerate(stops, 1)]
    frame = drone.altitude_frame
    if any((stop.frame or frame) != frame for stop in given):
        frame = "map"
    corners = []
    over, z = _heights(drone, given)
    _require_free(drone, given, z)
    for stop, height in zip(given, z if frame == "map" else over, strict=True):
        speed = drone.speed if stop.speed is None else min(stop.speed * v.speed, FASTEST_DRONE)
        corners.append(Corner(stop.x, stop.y, speed, float(height), yaw=stop.yaw, hold=stop.hold))
    corners = merged(name, corners)
    if v.reverse:
        back = [replace(c, height=c.left, leave=c.height) for c in corners[::-1]]
        corners = [replace(c, speed=b.speed) for c, b in zip(back, [back[0], *back[:-1]], strict=True)]
    return fly_line(
        drone,
        corners,
        {
            "points": [[c.x, c.y, c.height] for c in corners],
            "direction": "backwards" if v.reverse else "forwards",
        },
        cut=CUT,
        radius=RADIUS,
        frame=frame,
    )


def _stop(name: str, i: int, value: Any) -> Stop:
    """Raises PlanError, naming the point by its number, for one that is none."""
    if not isinstance(value, Stop):
        parts = list(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes) else []
        if not 2 <= len(parts) <= 3:
            raise PlanError(f"{name}: point {i} takes two numbers (x, y) or three (x, y, altitude), not {value!r:.60}")
        value = Stop(*parts)
    at = f"point {i}"
    number(name, f"{at}: x", value.x, least=-1e6, most=1e6)
    number(name, f"{at}: y", value.y, least=-1e6, most=1e6)
    if value.frame is not None:
        chosen(name, f"{at}: frame", value.frame, ("ground", "home", "map"))
    if value.altitude is not None:
        number(name, f"{at}: altitude", value.altitude, least=-1e5, most=1e5)
    if value.speed is not None:
        number(name, f"{at}: speed", value.speed, least=0.1, most=FASTEST_DRONE)
    if value.yaw is not None:
        number(name, f"{at}: yaw", value.yaw, least=-1e3, most=1e3)
    number(name, f"{at}: hold", value.hold, least=0.0, most=LONGEST_HOLD)
    return value


def _heights(drone: Drone, stops: Sequence[Stop]) -> tuple[Array, Array]:
    """(N,) the stops' altitudes, varied, each in its own frame, and the map z that they mean. Raises PlanError where a
    point has no ground."""
    xy = np.array([(s.x, s.y) for s in stops], np.float64)
    ground = ground_height(drone.world, xy)
    for i, (s, z) in enumerate(zip(stops, ground, strict=True), 1):
        if np.isnan(z):
            raise PlanError(f"{drone.name}: point {i} at ({s.x:.0f}, {s.y:.0f}) lies outside of the world's ground")
    over, base = np.empty(len(stops)), np.empty(len(stops))
    for i, s in enumerate(stops):
        frame = s.frame or drone.altitude_frame
        base[i] = ground[0] if frame == "home" else ground[i]
        if s.altitude is None:
            over[i] = drone.altitude
        else:  # a height in map varies as far as it lies over the ground
            over[i] = (s.altitude - (base[i] if frame == "map" else 0.0)) * drone.variation.altitude
    return over, base + over


def _require_free(drone: Drone, stops: Sequence[Stop], z: Array) -> None:
    """Raises PlanError for a point below the ground or in a building."""
    xy = np.array([(s.x, s.y) for s in stops], np.float64)
    above = z - ground_height(drone.world, xy)
    inside = drone.world.inside_solid(np.column_stack([xy, z]))
    for i, (s, over) in enumerate(zip(stops, above, strict=True)):
        at = f"{drone.name}: point {i + 1} at ({s.x:.0f}, {s.y:.0f}), z = {z[i]:.1f} m,"
        if over < 0:
            raise PlanError(f"{at} lies {-over:.1f} m below the ground; raise its altitude")
        if inside[i]:
            raise PlanError(f"{at} lies inside a building; move it or raise its altitude")
        if over < LEAST_CLEARANCE:
            raise PlanError(f"{at} lies only {over:.1f} m above the ground; a flight keeps {LEAST_CLEARANCE:g} m")

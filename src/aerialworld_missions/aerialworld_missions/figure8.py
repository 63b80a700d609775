"""The figure of eight: two circles that touch, one flown to the left and one to the right, so that every view and both
ways to bank occur."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Unpack

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.plan import Plan
from aerialworld_missions import motion
from aerialworld_missions.drone import Common, Drone
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.orbit import look_point
from aerialworld_missions.path import Arc, Path
from aerialworld_missions.requests import number, point


def figure8(
    world: Geometry,
    *,
    centre: Sequence[float],
    radius: float = 30.0,
    turns: float = 1.0,
    heading: float = 0.0,
    look: Literal["path"] | Sequence[float] = "path",
    **common: Unpack[Common],
) -> Plan:
    """An eight of two circles that touch in `centre`, as a `Plan`; it begins in the centre (with `jitter`: anywhere),
    moving, and turns left first.

    centre      (x, y) in map, metres
    radius      of each circle, metres; kept to 0.1 m but for the three metres around the centre, where one bank goes
                over into the other
    turns       how many times the whole eight
    heading     of the flight through the centre, radians, 0 = east: the circles lie to the left and right of it
    look        "path": ahead; (x, y): the vehicle's x axis points at that vertical; not the centre, which it passes
    duration    seconds, in place of `turns`
    common      see `Drone`

    Raises PlanError with its reason for what cannot be flown. The same arguments give the same bytes.
    """
    drone = Drone(world, "figure8", **common)
    name, v, limits = drone.name, drone.variation, drone.limits
    cx, cy = point(name, "centre", centre)
    number(name, "radius", radius, least=3.0, most=1e5)
    number(name, "turns", turns, least=0.0, most=1000, above=True)
    number(name, "heading", heading, least=-1e3, most=1e3)
    if look == "centre":
        raise PlanError(f"{name}: an eight passes through its centre and cannot look at it; look is path or a point")
    at = look_point(name, look, (cx, cy))
    extent = drone.extent
    if 4 * radius > float(np.hypot(*extent)) or 2 * radius > float(extent.min()):
        raise PlanError(
            f"{name}: two circles of radius {radius:g} m do not fit the world of {extent[0]:.0f} × {extent[1]:.0f} m"
        )
    drone.speed = min(drone.speed, math.sqrt(limits.lateral * radius), 0.9 * limits.yaw_rate * radius)
    over = drone.margin
    eight = 4 * math.pi * radius
    length = eight * turns if drone.duration is None else drone.speed * drone.duration + 1.0
    begin = eight + v.start * eight
    loops = math.ceil((begin + length + over) / eight)
    path = Path.trace((0.0, 0.0), 0.0, [Arc(radius, a) for _ in range(loops) for a in (2 * math.pi, -2 * math.pi)])
    speeds = np.full(len(path.s), drone.speed)
    xy = motion.travel(path, speeds, begin=begin, end=begin + length, seconds=drone.duration, smooth=limits.turn_window)
    flown_heading = heading + v.heading
    c, s = math.cos(flown_heading), math.sin(flown_heading)
    flip = np.array([-1.0 if v.reverse else 1.0, -1.0 if v.mirror else 1.0])
    xy = np.array([cx, cy]) + (xy * flip) @ np.array([[c, s], [-s, c]])
    return drone.finish(
        xy,
        {
            "centre": [cx, cy],
            "radius": float(radius),
            "turns": None if drone.duration is not None else float(turns),
            "heading": flown_heading,
            "look": look if isinstance(look, str) else list(at if at is not None else ()),
        },
        look_at=at,
    )

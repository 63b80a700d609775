"""The orbit: level circles around a point, looking ahead or at a point; raised where buildings stand in the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Unpack

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_missions import motion
from aerialworld_missions.drone import Common, Drone
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.path import Arc, Path
from aerialworld_missions.requests import number, point


def orbit(
    world: Geometry,
    *,
    centre: Sequence[float],
    radius: float = 40.0,
    turns: float = 1.0,
    look: Literal["path", "centre"] | Sequence[float] = "path",
    start: float = 0.0,
    clockwise: bool = False,
    **common: Unpack[Common],
) -> Plan:
    """A circular flight, counter-clockwise unless asked, as a `Plan`. It begins on the circle, moving.

    centre      (x, y) in map, metres
    radius      metres; kept to 0.1 m (smoothing draws a tight circle in by up to 7 cm)
    altitude    metres above the ground at the centre, level (`altitude_frame` home: above the ground at the start);
                raised smoothly where the clearance needs it
    turns       how many full circles
    look        "path": ahead; "centre": the vehicle's x axis points at the centre's vertical; (x, y): at another one's
    start       where on the circle it begins, radians, 0 = east of the centre, counted the way that it flies
    clockwise   seen from above
    duration    seconds, in place of `turns`
    common      see `Drone`; `jitter` varies the start, direction, altitude and speed

    Raises PlanError with its reason for what cannot be flown. The same arguments give the same bytes.
    """
    drone = Drone(world, "orbit", **common)
    name, v, limits = drone.name, drone.variation, drone.limits
    cx, cy = point(name, "centre", centre)
    number(name, "radius", radius, least=3.0, most=1e5)
    number(name, "turns", turns, least=0.0, most=1000, above=True)
    number(name, "start", start, least=-1e3, most=1e3)
    at = look_point(name, look, (cx, cy))
    extent = drone.extent
    if 2 * radius > float(extent.min()):
        raise PlanError(
            f"{name}: an orbit of radius {radius:g} m does not fit the world of {extent[0]:.0f} × {extent[1]:.0f} m"
        )
    drone.speed = min(drone.speed, math.sqrt(limits.lateral * radius), 0.9 * limits.yaw_rate * radius)
    angle = start + 2 * math.pi * v.start
    over = drone.margin
    length = 2 * math.pi * radius * turns if drone.duration is None else drone.speed * drone.duration + 1.0
    first = angle - over / radius
    side = -1.0 if v.reverse != clockwise else 1.0
    origin = (radius * math.cos(first), radius * math.sin(first))
    path = Path.trace(origin, first + math.pi / 2, [Arc(radius, (length + 2 * over) / radius)])
    speeds = np.full(len(path.s), drone.speed)
    xy = motion.travel(
        path, speeds, begin=over, end=path.length - over, seconds=drone.duration, smooth=limits.turn_window
    )
    xy = np.array([cx, cy]) + xy * np.array([1.0, side])
    level = drone.ground_at("the centre", cx, cy) + drone.altitude
    return drone.finish(
        xy,
        {
            "centre": [cx, cy],
            "radius": float(radius),
            "turns": None if drone.duration is not None else float(turns),
            "direction": "clockwise" if side < 0 else "counter-clockwise",
            "start": side * angle,
            "look": look if isinstance(look, str) else list(at if at is not None else ()),
        },
        height=np.full(len(xy), level) if drone.altitude_frame == "ground" else None,
        look_at=at,
    )


def look_point(name: str, look: str | Sequence[float], centre: tuple[float, float]) -> Array | None:
    """Where a pattern looks: None for ahead. Raises PlanError."""
    if isinstance(look, str):
        if look not in ("path", "centre"):
            raise PlanError(f"{name}: look is path or centre, or two numbers (x, y), not {look!r}")
        return np.array(centre) if look == "centre" else None
    return np.array(point(name, "look", look))

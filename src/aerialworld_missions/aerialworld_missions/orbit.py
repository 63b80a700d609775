"""The orbit: level circles around a point, looking ahead or at the centre; raised where buildings stand in the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.plan import Plan
from aerialworld_missions import flight, motion
from aerialworld_missions.heightmap import Geometry, HeightMap
from aerialworld_missions.path import Arc, Path
from aerialworld_missions.requests import FASTEST_DRONE, Variation, generator, number, point


def orbit(
    world: Geometry,
    *,
    centre: Sequence[float],
    name: str = "orbit",
    place: str = "A",
    radius: float = 40.0,
    altitude: float = 30.0,
    turns: float = 1.0,
    speed: float = 5.0,
    look: Literal["path", "centre"] = "path",
    start: float = 0.0,
    clockwise: bool = False,
    seed: int = 0,
    vehicle: str = "drone_1",
    clearance: float = 5.0,
    duration: float | None = None,
    ceiling: float = flight.CEILING,
    jitter: bool = False,
    limits: flight.DroneLimits = flight.DRONE,
) -> Plan:
    """A circular flight, counter-clockwise unless asked, as a `Plan`. It begins on the circle, moving.

    centre      (x, y) in map, metres
    radius      metres; kept to 0.1 m (smoothing draws a tight circle in by up to 7 cm)
    altitude    metres above the ground at the centre, level; raised smoothly where the clearance needs it
    turns       how many full circles
    speed       m/s; slower on tight circles (≤ 3 m/s² sideways, ≤ 60 °/s)
    look        "path": ahead; "centre": the vehicle's x axis points at the centre's vertical
    start       where on the circle it begins, radians, 0 = east of the centre, counted the way that it flies
    clockwise   seen from above
    duration    seconds (rounded down to 0.1 s), in place of `turns`
    jitter      seeded variation: start anywhere, either direction, altitude ± 10 %, speed ± 15 %

    `clearance`, `ceiling` and errors as in `survey`.
    """
    cx, cy = point(name, "centre", centre)
    number(name, "radius", radius, least=3.0, most=1e5)
    number(name, "altitude", altitude, least=0.0, above=True)
    number(name, "turns", turns, least=0.0, most=1000, above=True)
    number(name, "speed", speed, least=0.5, most=FASTEST_DRONE)
    number(name, "start", start, least=-1e3, most=1e3)
    number(name, "clearance", clearance, least=flight.LEAST_CLEARANCE)
    number(name, "ceiling", ceiling, least=0.0, above=True)
    if duration is not None:
        number(name, "duration", duration, least=3 * motion.KNOT, most=36_000)
    if look not in ("path", "centre"):
        raise PlanError(f"{name}: look is path or centre, not {look!r}")
    heights = HeightMap.of(world)
    extent = heights.high - heights.low
    if 2 * radius > float(extent.min()):
        raise PlanError(
            f"{name}: an orbit of radius {radius:g} m does not fit the world of {extent[0]:.0f} × {extent[1]:.0f} m"
        )

    v = Variation.draw(generator(name, seed, "orbit", place), jitter)
    flown_speed, flown_altitude = speed * v.speed, altitude * v.altitude
    flown_speed = min(flown_speed, math.sqrt(limits.lateral * radius), 0.9 * limits.yaw_rate * radius)
    angle = start + 2 * math.pi * v.start
    over = motion.margin(limits.turn_window, flown_speed)
    length = 2 * math.pi * radius * turns if duration is None else flown_speed * duration + 1.0
    first = angle - over / radius
    side = -1.0 if v.reverse != clockwise else 1.0
    origin = (radius * math.cos(first), radius * math.sin(first))
    path = Path.trace(origin, first + math.pi / 2, [Arc(radius, (length + 2 * over) / radius)])
    speeds = np.full(len(path.s), flown_speed)
    xy = motion.travel(path, speeds, begin=over, end=path.length - over, seconds=duration, smooth=limits.turn_window)
    xy = np.array([cx, cy]) + xy * np.array([1.0, side])
    row, column, inside = heights.index(np.array([[cx, cy]]))
    level = float(heights.ground[row[0], column[0]])
    if not inside[0] or math.isnan(level):
        raise PlanError(f"{name}: there is no ground at the centre ({cx:g}, {cy:g})")
    knots = flight.fly(
        heights,
        xy,
        lambda _, ground: np.full(len(ground), level + flown_altitude),
        clearance=clearance,
        ceiling=ceiling,
        limits=limits,
        name=name,
        look_at=np.array([cx, cy]) if look == "centre" else None,
    )
    return flight.checked_plan(
        heights,
        knots,
        clearance=clearance,
        limits=limits,
        name=name,
        vehicle=vehicle,
        pattern="orbit",
        place=place,
        seed=seed,
        parameters={
            "centre": [cx, cy],
            "radius": float(radius),
            "altitude": flown_altitude,
            "turns": None if duration is not None else float(turns),
            "direction": "clockwise" if side < 0 else "counter-clockwise",
            "start": side * angle,
            "speed": flown_speed,
            "look": look,
            "clearance": float(clearance),
            "ceiling": float(ceiling),
            "duration": None if duration is None else float(duration),
            "jitter": bool(jitter),
        },
    )

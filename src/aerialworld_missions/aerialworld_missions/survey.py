"""The survey: parallel lanes over a box, joined by half circles, at a height over the ground that clears everything."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_missions import flight, motion
from aerialworld_missions.heightmap import Geometry, HeightMap
from aerialworld_missions.path import Arc, Line, Path
from aerialworld_missions.requests import FASTEST_DRONE, Variation, generator, number, point

#: A survey of more lanes than this is refused.
MAX_LANES = 1000


def lanes(size: tuple[float, float], spacing: float, over: float, length: float) -> tuple[Array, Path]:
    """Lane offsets and the path over a box of `size` around the origin, lanes along x, at least `length` metres long.

    Neighbouring lanes are at most `spacing` apart, the outer ones lie on the box's edges. Lanes run `over` metres
    beyond the box before they turn. When the box is done and `length` is not reached, the flight goes on half-way
    between the lanes it has flown, back to where it began, and so on.
    """
    count = max(2, math.ceil(size[1] / spacing - 1e-9) + 1)
    gap = size[1] / (count - 1)
    offsets = np.linspace(-size[1] / 2, size[1] / 2, count)
    one_pass = count * (size[0] + 2 * over) + (count - 1) * math.pi * gap / 2
    order = list(offsets)
    done, forth = one_pass, False
    while done < length:
        between = list((offsets[1:] + offsets[:-1]) / 2)
        order += between[::-1] if not forth else list(offsets) if order[-1] < 0 else list(offsets[::-1])
        forth = not forth
        done += one_pass / 2
    segments: list[Line | Arc] = []
    side = 1.0
    for i, y in enumerate(order):
        segments.append(Line(size[0] + 2 * over))
        if i + 1 < len(order):
            step = order[i + 1] - y
            segments.append(Arc(abs(step) / 2, side * math.copysign(math.pi, step)))
            side = -side
    return offsets, Path.trace((-size[0] / 2 - over, order[0]), 0.0, segments)


def survey(
    world: Geometry,
    *,
    centre: Sequence[float],
    name: str = "survey",
    place: str = "A",
    size: float | Sequence[float] = 100.0,
    spacing: float = 15.0,
    altitude: float = 30.0,
    heading: float = 0.0,
    speed: float = 5.0,
    seed: int = 0,
    vehicle: str = "drone_1",
    clearance: float = 5.0,
    duration: float | None = None,
    ceiling: float = flight.CEILING,
    jitter: bool = False,
    limits: flight.DroneLimits = flight.DRONE,
) -> Plan:
    """A lawn-mower flight over a box, looking ahead, as a `Plan`.

    centre      (x, y) of the box in map, metres
    size        its edge, or (along, across) the lanes, metres
    spacing     greatest distance between neighbouring lanes, metres; turns are half circles between them, so the flight
                leaves the box by spacing / 2 and a few metres of run-out
    altitude    metres above the ground, followed smoothly; raised where buildings need it
    heading     direction of the first lane, radians, 0 = east
    speed       m/s on straight lanes; slower in turns (≤ 3 m/s² sideways, ≤ 60 °/s)
    clearance   metres kept from everything that is not ground, at least 2
    duration    seconds (rounded down to 0.1 s): cut there, or going on between the lanes; None = one pass
    ceiling     metres above the datum that the flight may not rise over; the default is the voxel grid's top
    jitter      seeded variation: start along the pattern, first corner, altitude ± 10 %, speed ± 15 %, heading ± 5°

    Raises PlanError with its reason for what cannot be flown. The same arguments give the same bytes.
    """
    cx, cy = point(name, "centre", centre)
    box = (size, size) if isinstance(size, (int, float)) else point(name, "size", size)
    box = (
        number(name, "size", box[0], least=1.0, most=1e5),
        number(name, "size", box[1], least=1.0, most=1e5),
    )
    number(name, "spacing", spacing, least=0.0, above=True)
    number(name, "altitude", altitude, least=0.0, above=True)
    number(name, "speed", speed, least=0.5, most=FASTEST_DRONE)
    number(name, "clearance", clearance, least=flight.LEAST_CLEARANCE)
    number(name, "ceiling", ceiling, least=0.0, above=True)
    number(name, "heading", heading, least=-1e3, most=1e3)
    if duration is not None:
        number(name, "duration", duration, least=3 * motion.KNOT, most=36_000)
    heights = HeightMap.of(world)
    extent = heights.high - heights.low
    if max(box) > float(np.hypot(*extent)) or min(box) > float(extent.max()):
        raise PlanError(
            f"{name}: a survey of {box[0]:g} × {box[1]:g} m does not fit the world of "
            f"{extent[0]:.0f} × {extent[1]:.0f} m"
        )
    if box[1] / spacing > MAX_LANES:
        raise PlanError(f"{name}: {box[1] / spacing:.0f} lanes are more than {MAX_LANES}; use a wider spacing")

    v = Variation.draw(generator(name, seed, "survey", place), jitter)
    flown_speed, flown_altitude, flown_heading = speed * v.speed, altitude * v.altitude, heading + v.heading
    over = motion.margin(limits.turn_window, flown_speed)
    room = 0.0 if duration is None else flown_speed * duration
    offsets, path = lanes(box, spacing, over, 2 * over + room)
    speeds = path.speeds(
        flown_speed, lateral=limits.lateral, longitudinal=limits.longitudinal, yaw_rate=0.8 * limits.yaw_rate
    )
    begin, end = over, path.length - over
    if duration is not None:
        passed = path.times(speeds)
        slack = float(np.interp(end, path.s, passed) - np.interp(begin, path.s, passed)) - duration
        begin = float(np.interp(np.interp(begin, path.s, passed) + v.start * max(slack, 0.0), passed, path.s))
    xy = motion.travel(path, speeds, begin=begin, end=end, seconds=duration, smooth=limits.turn_window)
    xy = xy * np.array([-1.0 if v.reverse else 1.0, -1.0 if v.mirror else 1.0])
    c, s = math.cos(flown_heading), math.sin(flown_heading)
    xy = np.array([cx, cy]) + xy @ np.array([[c, s], [-s, c]])
    knots = flight.fly(
        heights,
        xy,
        lambda _, ground: ground + flown_altitude,
        clearance=clearance,
        ceiling=ceiling,
        limits=limits,
        name=name,
    )
    return flight.checked_plan(
        heights,
        knots,
        clearance=clearance,
        limits=limits,
        name=name,
        vehicle=vehicle,
        pattern="survey",
        place=place,
        seed=seed,
        parameters={
            "centre": [cx, cy],
            "size": list(box),
            "spacing": float(offsets[1] - offsets[0]),
            "altitude": flown_altitude,
            "heading": flown_heading,
            "speed": flown_speed,
            "clearance": float(clearance),
            "ceiling": float(ceiling),
            "duration": None if duration is None else float(duration),
            "jitter": bool(jitter),
        },
    )

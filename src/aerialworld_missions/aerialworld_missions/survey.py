"""The survey: parallel lanes over a box or polygon, joined by half circles, at a height over the ground that clears
everything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Unpack

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.rig import Rig
from aerialworld_missions import motion
from aerialworld_missions.drone import Common, Drone
from aerialworld_missions.fencing import box
from aerialworld_missions.footprint import lane_spacing
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.path import Arc, Line, Path
from aerialworld_missions.requests import number, pair, point, polygon

#: A survey of more lanes than this is refused.
MAX_LANES = 1000


def strip(corners: Array, low: float, high: float) -> tuple[float, float]:
    """Least and greatest x of the part of a polygon (K, 2) between y = `low` and y = `high`, some of which exists."""
    after = np.roll(corners, -1, axis=0)
    inside = (corners[:, 1] >= low - 1e-9) & (corners[:, 1] <= high + 1e-9)
    x = list(corners[inside, 0])
    for y in (low, high):
        crosses = (corners[:, 1] < y) != (after[:, 1] < y)
        a, b = corners[crosses], after[crosses]
        x += list(a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0]))
    return float(min(x)), float(max(x))


def lanes(corners: Array, spacing: float, over: float, length: float) -> tuple[Array, Path]:
    """Lane offsets and the path over a polygon (K, 2), lanes along x, at least `length` metres long.

    Neighbouring lanes are at most `spacing` apart, the outer ones lie on the polygon's lowest and highest y. A lane is
    as long as all of the polygon that lies nearer to it than to the next one; it runs `over` metres beyond that, and as
    far as the next lane needs, before it turns. When all is done and `length` is not reached, the flight goes on
    half-way between the lanes it has flown, back to where it began, and so on.
    """
    bottom, top = float(corners[:, 1].min()), float(corners[:, 1].max())
    count = max(2, math.ceil((top - bottom) / spacing - 1e-9) + 1)
    gap = (top - bottom) / (count - 1)
    offsets = np.linspace(bottom, top, count)
    extents = {float(y): strip(corners, max(y - gap / 2, bottom), min(y + gap / 2, top)) for y in offsets}
    between = [float(y) for y in (offsets[1:] + offsets[:-1]) / 2]
    extents |= {y: strip(corners, y - gap / 4, y + gap / 4) for y in between}
    order = [float(y) for y in offsets]

    def travelled(some: Sequence[float]) -> float:
        turns = sum(math.pi * abs(b - a) / 2 for a, b in pairwise(some))
        return sum(extents[y][1] - extents[y][0] + 2 * over for y in some) + turns

    middle = (bottom + top) / 2
    done, forth = travelled(order), False
    while done < length:
        if not forth:
            more = between[::-1]
        else:
            more = [float(y) for y in (offsets if order[-1] < middle else offsets[::-1])]
        done += travelled([order[-1], *more]) - travelled(order[-1:])
        order += more
        forth = not forth
    segments: list[Line | Arc] = []
    x = start = extents[order[0]][0] - over
    side = 1.0
    for i, y in enumerate(order):
        ends = [extents[k][1 if side > 0 else 0] for k in order[i : i + 2]]
        end = (max(ends) if side > 0 else min(ends)) + side * over
        segments.append(Line(abs(end - x)))
        if i + 1 < len(order):
            step = order[i + 1] - y
            segments.append(Arc(abs(step) / 2, side * math.copysign(math.pi, step)))
            side = -side
        x = end
    return offsets, Path.trace((start, order[0]), 0.0, segments)


def survey(
    world: Geometry,
    *,
    centre: Sequence[float] | None = None,
    size: float | Sequence[float] = 100.0,
    area: Any = None,
    spacing: float | None = None,
    overlap: float | None = None,
    rig: Rig | None = None,
    heading: float = 0.0,
    **common: Unpack[Common],
) -> Plan:
    """A lawn-mower flight over a box or a polygon, looking ahead, as a `Plan`.

    centre      (x, y) of the box in map, metres
    size        its edge, or (along, across) the lanes, metres
    area        instead of both: corners (K, 2) of a polygon in map. Lanes run straight across its notches
    spacing     greatest distance between neighbouring lanes, metres (15); turns are half circles between them, so the
                flight leaves the area by spacing / 2 and a few metres of run-out
    overlap     instead: the share of what `rig` sees across its lane that it sees from the next lane again, 0 … 0.95
    heading     direction of the first lane, radians, 0 = east
    duration    seconds: cut there, or going on between the lanes; None = one pass
    common      see `Drone`

    Raises PlanError with its reason for what cannot be flown. The same arguments give the same bytes.
    """
    drone = Drone(world, "survey", **common)
    name, v = drone.name, drone.variation
    number(name, "heading", heading, least=-1e3, most=1e3)
    corners, middle = _area(drone, centre, size, area)
    gap = lane_spacing(name, drone.altitude, spacing, overlap, rig)
    flown_heading = heading + v.heading
    c, s = math.cos(flown_heading), math.sin(flown_heading)
    flip = np.array([-1.0 if v.reverse else 1.0, -1.0 if v.mirror else 1.0])
    # A box's corners are given along its lanes, a polygon's in map.
    local = corners if area is None else (corners - middle) @ np.array([[c, -s], [s, c]])
    local = local * flip
    across = float(np.ptp(local[:, 1]))
    if across / gap > MAX_LANES:
        raise PlanError(f"{name}: {across / gap:.0f} lanes are more than {MAX_LANES}; use a wider spacing")
    over, duration, limits = drone.margin, drone.duration, drone.limits
    offsets, path = lanes(local, gap, over, 2 * over + (0.0 if duration is None else drone.speed * duration))
    speeds = path.speeds(
        drone.speed, lateral=limits.lateral, longitudinal=limits.longitudinal, yaw_rate=0.8 * limits.yaw_rate
    )
    begin, end = over, path.length - over
    if duration is not None:
        passed = path.times(speeds)
        slack = float(np.interp(end, path.s, passed) - np.interp(begin, path.s, passed)) - duration
        begin = float(np.interp(np.interp(begin, path.s, passed) + v.start * max(slack, 0.0), passed, path.s))
    xy = motion.travel(path, speeds, begin=begin, end=end, seconds=duration, smooth=limits.turn_window)
    xy = middle + (xy * flip) @ np.array([[c, s], [-s, c]])
    return drone.finish(
        xy,
        {
            "centre": middle.tolist(),
            "size": np.ptp(local, axis=0).tolist(),
            **({} if area is None else {"area": corners.tolist()}),
            "spacing": float(offsets[1] - offsets[0]),
            **({} if overlap is None else {"overlap": float(overlap)}),
            "heading": flown_heading,
        },
    )


def _area(drone: Drone, centre: Any, size: Any, area: Any) -> tuple[Array, Array]:
    """Corners (K, 2), about its centre for a box and in map for a polygon, and the centre (2,) in map. Raises PlanError
    for one that the world does not hold."""
    name, extent = drone.name, drone.extent
    if (area is None) == (centre is None):
        raise PlanError(f"{name}: give either the centre of a box or an area's corners")
    if area is None:
        middle = np.array(point(name, "centre", centre))
        edges = pair(name, "size", size, least=1.0, most=1e5)
        corners = box(-edges[0] / 2, -edges[1] / 2, edges[0] / 2, edges[1] / 2)
        fits = max(edges) <= float(np.hypot(*extent)) and min(edges) <= float(extent.max())
    else:
        corners = polygon(name, "area", area)
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        edges = tuple(float(e) for e in np.ptp(corners, axis=0))  # type: ignore[assignment]
        fits = bool((np.array(edges) <= extent).all())
    if not fits:
        raise PlanError(
            f"{name}: a survey of {edges[0]:g} × {edges[1]:g} m does not fit the world of "
            f"{extent[0]:.0f} × {extent[1]:.0f} m"
        )
    return corners, middle

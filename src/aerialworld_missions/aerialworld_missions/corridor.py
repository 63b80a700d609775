"""The corridor: a flight along a line, over a road or over points that somebody gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_missions.course import Corner, length, merged, there_and_back, travel_course
from aerialworld_missions.detour import SPARE, Obstacles
from aerialworld_missions.drone import Common, Drone
from aerialworld_missions.fencing import fence_of
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.lanemap import LaneMap
from aerialworld_missions.requests import MOST_POINTS, number, point, points

#: How far from a corner of its line a corridor bends, metres (smoothing adds up to 10 cm to it), and with which radius
#: at most.
CUT, RADIUS = 2.8, 40.0


def corridor(
    world: Geometry,
    *,
    line: Any = None,
    road: Sequence[float] | None = None,
    road_length: float = 300.0,
    offset: float = 0.0,
    **common: Unpack[Common],
) -> Plan:
    """A flight along a line, from rest to rest, looking ahead, as a `Plan`.

    line         points (N, 2) in map; the flight passes each within 3 m (it rounds the corners), and stands to turn by
                 more than 100°
    road         instead: (x, y) in map; the flight follows the middle of the lane that passes nearest, and the roads
                 that lie most straight ahead, for `road_length` metres or as far as they go
    offset       metres to the left of the line that it is flown at
    duration     seconds: cut there, or going back and forth until then; None = once along the line
    common       see `Drone`; `avoid` "bend" leads around buildings at the flight's height, and past
                 points of the line at which one stands. `jitter` turns the
                 direction, varies the altitude and the speed, and shifts the line sideways by up to 2 m

    Raises PlanError with its reason for what cannot be flown. The same arguments give the same bytes.
    """
    drone = Drone(world, "corridor", bends=True, **common)
    name, v = drone.name, drone.variation
    number(name, "offset", offset, least=-100.0, most=100.0)
    if (line is None) == (road is None):
        raise PlanError(f"{name}: give either a line's points or the road at a point")
    if road is not None:
        number(name, "road_length", road_length, least=10.0, most=20_000.0)
        given = LaneMap.of(world).along(name, np.array(point(name, "road", road)), road_length)
    else:
        given = points(name, "line", line, least=2, most=MOST_POINTS)
    flown = given[::-1] if v.reverse else given
    shift = (-offset if v.reverse else offset) + (4.0 * v.start - 2.0 if drone.jitter else 0.0)
    if shift:
        flown = beside(flown, shift)
    if drone.avoid == "bend":
        flown = flown[_free(drone, flown)]
    return fly_line(
        drone,
        [Corner(float(x), float(y), drone.speed, drone.altitude) for x, y in flown],
        {
            "line": given.tolist(),
            **({} if road is None else {"road": list(point(name, "road", road))}),
            "offset": shift,
            "direction": "backwards" if v.reverse else "forwards",
        },
        cut=CUT,
        radius=RADIUS,
    )


def _free(drone: Drone, line: Array) -> NDArray[np.bool_]:
    """(N,) which points of a line stay when it bends: its ends, and those at which nothing stands in the way."""
    base = drone.ground_along(line)
    if drone.altitude_frame == "home":
        base = np.full(len(line), base[0])
    top = drone.heights.top_within(line, drone.clearance + SPARE)
    free = top <= base + drone.altitude - drone.clearance
    free[[0, -1]] = True
    return free


def fly_line(
    drone: Drone,
    corners: Sequence[Corner],
    parameters: dict[str, Any],
    *,
    cut: float,
    radius: float,
    frame: Literal["ground", "home", "map"] | None = None,
) -> Plan:
    """The plan along corners whose heights are altitudes in `frame` (the drone's): bent around what stands in the way
    if so asked, back and forth as long as its duration says."""
    name = drone.name
    frame = frame or drone.altitude_frame
    line = merged(name, corners)
    home = drone.ground_at("the start", line[0].x, line[0].y) if frame != "map" else 0.0
    if drone.avoid == "bend":
        line = bent(drone, line, None if frame == "ground" else home)
    if drone.duration is not None:
        line = there_and_back(line, drone.speed * drone.duration)
    course = travel_course(name, line, radius=radius, cut=cut, limits=drone.limits, duration=drone.duration)
    # Ground has steps that no flight follows exactly; other heights are smooth already.
    height = course.height + (drone.ground_along(course.xy) if frame == "ground" else home)
    return drone.finish(
        course.xy,
        {**parameters, "length": length(line)},
        height=height,
        exact=frame != "ground",
        hovers=True,
        yaw=course.yaw,
    )


def bent(drone: Drone, line: Sequence[Corner], base: float | None) -> list[Corner]:
    """The line with more corners, so that no leg comes too near to anything at its lower end's height, which counts
    from `base` in map; None: from the ground."""
    fence = fence_of(drone.name, drone.heights, drone.fence, np.array([line[0].x, line[0].y]), drone.ceiling)
    result = [line[0]]
    for a, b in pairwise(line):
        lower = min(a.left, b.height)

        def level(ground: Array, over: float = lower) -> Array:
            return np.asarray((ground if base is None else np.full(ground.shape, base)) + over)

        ends = np.array([a.x, a.y]), np.array([b.x, b.y])
        way = Obstacles(drone.name, drone.heights, level, drone.clearance, fence).around(*ends)
        whole = [ends[0], *way, ends[1]]
        steps = [math.dist(p, q) for p, q in pairwise(whole)]
        done = np.cumsum(steps) / max(sum(steps), 1e-9)
        for (x, y), share in zip(way, done, strict=False):
            height = a.left + float(share) * (b.height - a.left)
            result.append(Corner(float(x), float(y), b.speed, height, yaw=b.yaw))
        result.append(replace(b))
    return result


def beside(line: Array, offset: float) -> Array:
    """The line (N, 2) moved `offset` metres to its left: each corner along the mean of its legs' directions."""
    leg = np.diff(line, axis=0)
    leg = leg / np.maximum(np.linalg.norm(leg, axis=1, keepdims=True), 1e-9)
    along = np.concatenate([leg[:1], leg[:-1] + leg[1:], leg[-1:]])
    norm = np.linalg.norm(along, axis=1, keepdims=True)
    along = np.where(norm > 0.2, along / np.maximum(norm, 1e-9), np.concatenate([leg, leg[-1:]]))
    return np.asarray(line + offset * np.column_stack([-along[:, 1], along[:, 0]]))

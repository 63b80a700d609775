"""Seeded exploration: a drone flies from one random place to the next, to where it has not been, up and down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.route import Fence
from aerialworld_missions.corridor import fly_line
from aerialworld_missions.course import SHARP, Corner
from aerialworld_missions.detour import SPARE
from aerialworld_missions.drone import Common, Drone
from aerialworld_missions.fencing import box
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.requests import number, pair, point, polygon

#: How far from a goal it may bend, metres, and with which radius at most.
CUT, RADIUS = 6.0, 25.0
#: Goals that are drawn for each that is flown to; the shortest leg, metres.
_DRAWN, _SHORTEST = 24, 15.0
#: Metres inside of the area's border that goals keep, for the bends.
_INSIDE = 2.0


def explore(
    world: Geometry,
    *,
    centre: Sequence[float] | None = None,
    size: float | Sequence[float] = 100.0,
    area: Any = None,
    vary: float = 0.25,
    **common: Unpack[Common],
) -> Plan:
    """A flight through random places of a box or polygon, drawn by the seed, as a `Plan` of the pattern "random". It
    never leaves the area.

    centre      (x, y) of the box in map, metres
    size        its edge, or (east, north) edges, metres
    area        instead of both: corners (K, 2) of a polygon in map
    vary        each place has an altitude of its own, up to this share above or below the one asked for
    duration    seconds (60)
    common      see `Drone`; `avoid` "bend" leads around buildings at the flight's height. Without `jitter` the speed
                and altitude are those asked for; the places are the seed's with and without

    Raises PlanError with its reason for what cannot be flown. The same arguments give the same bytes.
    """
    drone = Drone(world, "random", bends=True, **common)
    seconds = drone.duration = 60.0 if drone.duration is None else drone.duration
    name = drone.name
    number(name, "vary", vary, least=0.0, most=0.9)
    if (area is None) == (centre is None):
        raise PlanError(f"{name}: give either the centre of a box or an area's corners")
    if area is None:
        assert centre is not None
        cx, cy = point(name, "centre", centre)
        w, h = pair(name, "size", size, least=30.0, most=1e5)
        corners = box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    else:
        corners = polygon(name, "area", area)
    extent = drone.extent
    if (np.ptp(corners, axis=0) > extent).any():
        w, h = np.ptp(corners, axis=0)
        raise PlanError(
            f"{name}: an area of {w:g} × {h:g} m does not fit the world of {extent[0]:.0f} × {extent[1]:.0f} m"
        )
    if drone.fence is None:
        drone.fence = corners.tolist()
    lowest = drone.altitude * (1.0 - vary)
    fits = None if drone.avoid == "raise" else partial(_fits, drone, lowest)
    goals = _goals(drone, Fence(corners, 0.0, 1.0), drone.speed * seconds, fits)
    heights = drone.altitude * (1.0 + vary * drone.random.uniform(-1.0, 1.0, len(goals)))
    return fly_line(
        drone,
        [Corner(float(x), float(y), drone.speed, float(z)) for (x, y), z in zip(goals, heights, strict=True)],
        {"area": corners.tolist(), "vary": float(vary), "goals": len(goals)},
        cut=CUT,
        radius=RADIUS,
    )


def _fits(drone: Drone, altitude: float, xy: Array) -> NDArray[np.bool_]:
    """(N,) whether a flight over points (N, 2) keeps its clearance, as `detour` looks at it and a metre more. Home is
    not chosen yet: its ground may be the lowest in the world."""
    heights = drone.heights
    row, column, _ = heights.index(xy)
    ground = heights.ground[row, column]
    base = ground if drone.altitude_frame == "ground" else np.nanmin(heights.ground)
    top = heights.top_within(xy, drone.clearance + SPARE + heights.cell)
    with np.errstate(invalid="ignore"):
        return np.asarray(top <= base + altitude - drone.clearance)


def _goals(drone: Drone, area: Fence, length: float, fits: Callable[[Array], NDArray[np.bool_]] | None) -> Array:
    """(N, 2) places to fly to one after the other, at least `length` metres: each the one, of some drawn, that lies
    farthest from the way so far and needs no sharp turn."""
    route = [_inside(drone, area, 1, fits)[0]]
    passed = [route[0]]
    done = 0.0
    while done < length:
        drawn = _inside(drone, area, _DRAWN, fits)
        leg = drawn - route[-1]
        far = np.hypot(leg[:, 0], leg[:, 1])
        score = np.linalg.norm(drawn[:, None] - np.array(passed)[None], axis=2).min(axis=1)
        score[far < _SHORTEST] -= 1e4
        legs = route[-1] + np.linspace(0.0, 1.0, 12)[:, None, None] * leg
        within = area.contains(np.column_stack([legs.reshape(-1, 2), np.full(12 * len(leg), 0.5)]))
        score[~within.reshape(12, -1).all(axis=0)] -= 1e5
        if len(route) > 1:
            back = route[-1] - route[-2]
            turn = np.arctan2(leg[:, 1], leg[:, 0]) - math.atan2(back[1], back[0])
            score[np.abs(np.remainder(turn + np.pi, 2 * np.pi) - np.pi) > 0.9 * SHARP] -= 1e3
        best = drawn[int(np.argmax(score))]
        step = float(far[int(np.argmax(score))])
        passed += list(np.linspace(route[-1], best, max(2, round(step / 10.0)))[1:])
        route.append(best)
        done += step
    return np.array(route)


def _inside(drone: Drone, area: Fence, count: int, fits: Callable[[Array], NDArray[np.bool_]] | None) -> Array:
    """(count, 2) random points of the area that `fits` accepts, not at its border. Raises PlanError where there are
    none."""
    low, high = area.polygon.min(axis=0), area.polygon.max(axis=0)
    found: list[Array] = []
    around = _INSIDE * np.array([(1, 0), (0.7, 0.7), (0, 1), (-0.7, 0.7), (-1, 0), (-0.7, -0.7), (0, -1), (0.7, -0.7)])
    for _ in range(60):
        drawn = low + drone.random.random((4 * count, 2)) * (high - low)
        if fits is not None:
            drawn = drawn[fits(drawn)]
        near = (drawn[:, None] + around[None]).reshape(-1, 2)
        good = (
            area.contains(np.column_stack([near, np.full(len(near), 0.5)])).reshape(len(drawn), len(around)).all(axis=1)
        )
        found += list(drawn[good])
        if len(found) >= count:
            return np.array(found[:count])
    raise PlanError(
        f"{drone.name}: the area has no room for goals: nothing of it is {2 * _INSIDE:g} m wide"
        + ("" if fits is None else f" and {drone.clearance:g} m from buildings at the height of the flight")
    )

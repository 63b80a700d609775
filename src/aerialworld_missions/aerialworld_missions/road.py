"""Rover runs: along roads where there are any, over open ground else; on the ground, clear of everything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import maximum_filter1d
from scipy.spatial.transform import Rotation

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.world.seams import ground_height
from aerialworld_missions.clearance import obstacle_distance
from aerialworld_missions.flight import CEILING, LEAST_CLEARANCE
from aerialworld_missions.heightmap import CELL, Geometry, HeightMap
from aerialworld_missions.lattice import FreeSpace, Lattice
from aerialworld_missions.motion import KNOT, PER_KNOT, SAMPLE, heading_along, margin, travel, window
from aerialworld_missions.path import STEP, Path
from aerialworld_missions.requests import FASTEST_ROVER, Variation, generator, number, point

#: Half the wheel base and half the track, metres: where the ground is felt.
WHEELS = np.array([(0.5, 0.4), (0.5, -0.4), (-0.5, 0.4), (-0.5, -0.4)])
#: base_link keeps this far above the ground, metres, so that no pose lies under a triangle; and never higher than the
#: second figure (over the middle of a dip, or beside a kerb).
LIFT = 0.02
HIGHEST = 0.35
#: Heights above base_link at which the distance to buildings is checked: wheels, body, mast.
CHECKED = (0.0, 0.75, 1.5)


@dataclass(frozen=True)
class RoverLimits:
    """Accelerations in m/s² (`jolt`: up and down), rates in rad/s, angles in radians; `*_window` in seconds is the
    smoothing time."""

    lateral: float = 2.0
    longitudinal: float = 1.5
    jolt: float = 4.0
    yaw_rate: float = float(np.radians(60.0))
    slope: float = float(np.radians(20.0))
    turn_window: float = 0.8
    ride_window: float = 1.0


ROVER = RoverLimits()


def rounded(route: Array, space: FreeSpace) -> Path:
    """The route (N, 2) of lattice steps as a smooth path: averaged over as many metres as its surroundings allow."""
    dense = Path.through(route)
    for metres in (10.0, 8.0, 6.0, 4.5, 3.0):
        half = round(metres / STEP / 2)
        weights = 0.5 + 0.5 * np.cos(np.pi * np.arange(-half, half + 1) / half)
        weights /= weights.sum()
        xy = np.stack([np.convolve(dense.xy[:, k], weights, mode="valid") for k in range(2)], axis=1)
        if space.fits(xy):
            break
    return Path.through(xy)


def ride(heights: HeightMap, xy: Array, yaw: Array, limits: RoverLimits) -> tuple[Array, Array]:
    """Height of base_link (N,) and orientation (N, 4) of a rover that rolls over the terrain along `xy` (N, 2).

    The body follows the plane through the ground under its wheels, as its suspension smooths it.
    """
    c, s = np.cos(yaw), np.sin(yaw)
    felt = [xy + np.stack([c * u - s * v, s * u + c * v], axis=1) for u, v in WHEELS]
    centre = ground_height(heights.world, xy)
    under = [ground_height(heights.world, p) for p in felt]
    under = [np.where(np.isnan(u), centre, u) for u in under]  # a wheel over a hole
    front_left, front_right, rear_left, rear_right = under
    base, track = 2 * WHEELS[0, 0], 2 * WHEELS[0, 1]
    pitch = -np.arctan((front_left + front_right - rear_left - rear_right) / (2 * base))
    roll = np.arctan((front_left + rear_left - front_right - rear_right) / (2 * track))
    weights = window(limits.ride_window)
    half = len(weights) // 2

    def smooth(signal: Array) -> Array:
        # Odd reflection keeps a constant slope at the ends.
        return np.convolve(np.pad(signal, half, mode="reflect", reflect_type="odd"), weights, mode="valid")

    z = smooth(np.mean(under, axis=0))
    below = np.maximum(centre - z, 0.0)
    z = z + np.convolve(np.pad(maximum_filter1d(below, 2 * half + 1), half, mode="edge"), weights, mode="valid") + LIFT
    orientation = Rotation.from_euler("ZYX", np.stack([yaw, smooth(pitch), smooth(roll)], axis=1)).as_quat()
    return z, np.asarray(orientation)


def problems(plan: Plan, heights: HeightMap, *, clearance: float, limits: RoverLimits) -> tuple[str, Array] | None:
    """What is wrong with the motion as it will be driven, sampled twice per knot: the fault and points (K, 2) where."""
    m = plan.trajectory().sample(SAMPLE * np.arange(int(plan.duration / SAMPLE + 1e-6) + 1))
    p, a = m.position, m.linear_acceleration
    gap = p[:, 2] - ground_height(heights.world, p[:, :2])
    distance = np.min([obstacle_distance(heights, p + np.array([0.0, 0.0, h]), clearance) for h in CHECKED], axis=0)
    forward = m.linear_velocity[:, :2] / np.maximum(
        np.linalg.norm(m.linear_velocity[:, :2], axis=1, keepdims=True), 1e-6
    )
    sideways = np.abs(forward[:, 0] * a[:, 1] - forward[:, 1] * a[:, 0])
    tilt = np.arccos(np.clip(Rotation.from_quat(m.orientation).as_matrix()[:, 2, 2], -1.0, 1.0))
    checks: list[tuple[str, Any]] = [
        ("passes too near a building", distance < clearance),
        ("leaves the ground", ~((gap >= 0.0) & (gap <= HIGHEST))),
        ("is inside a solid", heights.world.inside_solid(p)),
        ("climbs too steep a slope", tilt > limits.slope * 1.1),
        ("turns too hard", sideways > limits.lateral * 1.02),
        ("jolts too hard", np.abs(a[:, 2]) > limits.jolt),
        ("turns too fast", np.abs(m.yaw_rate) > limits.yaw_rate * 1.02),
    ]
    for what, where in checks:
        if where.any():
            return what, p[where, :2]
    return None


def road_run(
    world: Geometry,
    *,
    centre: Sequence[float],
    name: str = "road",
    place: str = "A",
    size: float | Sequence[float] = 100.0,
    speed: float = 3.0,
    duration: float = 60.0,
    seed: int = 0,
    vehicle: str = "rover_1",
    clearance: float = LEAST_CLEARANCE,
    ceiling: float = CEILING,
    jitter: bool = False,
    limits: RoverLimits = ROVER,
) -> Plan:
    """A rover's run within a box, as a `Plan`; base_link lies on the ground between the wheels (2 to 35 cm above it).

    centre      (x, y) of the box in map, metres
    size        its edge, or (x, y) edges, metres; the run never leaves it
    speed       m/s, at most 5; slower in turns (≤ 2 m/s² sideways), and altogether where the ground is rough
                (≤ 4 m/s² up and down)
    duration    seconds (rounded down to 0.1 s)
    seed        draws where it starts and where it goes: roads first, places not yet passed first
    clearance   metres kept from everything that is not ground, at least 2
    jitter      speed ± 15 %

    Raises PlanError with its reason: no driveable ground, no room to turn, higher than `ceiling` over the datum.
    """
    cx, cy = point(name, "centre", centre)
    box = (size, size) if isinstance(size, (int, float)) else point(name, "size", size)
    half = 0.5 * np.array([number(name, "size", edge, least=5.0, most=2000.0) for edge in box])
    number(name, "speed", speed, least=0.5, most=FASTEST_ROVER)
    number(name, "duration", duration, least=3 * KNOT, most=36_000)
    number(name, "clearance", clearance, least=LEAST_CLEARANCE, most=50.0)
    number(name, "ceiling", ceiling, least=0.0, above=True)
    random = generator(name, seed, "road", place)
    v = Variation.draw(random, jitter)
    driven_speed = min(speed * v.speed, FASTEST_ROVER)
    over = margin(limits.turn_window, driven_speed)
    low, high = np.array([cx, cy]) - half, np.array([cx, cy]) + half
    heights = HeightMap.of(world)
    if heights.cell > CELL:
        reach = clearance + 3 * CELL
        heights = HeightMap.cast(world, np.maximum(low - reach, heights.low), np.minimum(high + reach, heights.high))

    blocked = np.zeros((0, 2))
    fault: tuple[str, Array] | None = None
    # Braking into a turn adds to the turn's own acceleration: hypot(0.8 · 2, 0.8 · 1.5) = 2.
    ease = 0.8
    for _ in range(12):
        space = FreeSpace.within(heights, low, high, clearance=clearance, slope=limits.slope, blocked=blocked)
        lattice = Lattice(space)
        if len(lattice.states) == 0:
            raise PlanError(
                f"{name}: no driveable ground around ({cx:.0f}, {cy:.0f}): within {2 * half[0]:.0f} × "
                f"{2 * half[1]:.0f} m nothing is flatter than {math.degrees(limits.slope):.0f}°, {clearance:g} m from "
                "buildings and wide enough to turn; move the centre or enlarge the box"
            )
        row, column = lattice.cells(lattice.states)
        cheap = np.flatnonzero(space.cost[row, column] == space.cost[row, column].min())
        start = int(lattice.states[cheap[int(random.integers(len(cheap)))]])
        route = lattice.wander(random, start, driven_speed * duration + 2 * over + 15.0)
        path = rounded(route, space)
        speeds = path.speeds(
            driven_speed,
            lateral=ease * limits.lateral,
            longitudinal=ease * limits.longitudinal,
            yaw_rate=ease * limits.yaw_rate,
        )
        xy = travel(path, speeds, begin=over, end=path.length - over, seconds=duration, smooth=limits.turn_window)
        yaw = heading_along(xy)
        off_ground = np.isnan(ground_height(heights.world, xy))
        if off_ground.any():
            fault = "leaves the ground", xy[off_ground]
            blocked = np.concatenate([blocked, fault[1]])
            continue
        z, orientation = ride(heights, xy, yaw, limits)
        position: Array = np.column_stack([xy, z])[::PER_KNOT]
        t = KNOT * np.arange(len(position), dtype=np.float64)
        # Between knots the spline may dip by millimetres: raise it by what its densest samples show.
        dense = CubicSpline(t, position, axis=0)(SAMPLE * np.arange(len(xy)))
        dip = np.max(ground_height(heights.world, dense[:, :2]) + LIFT / 2 - dense[:, 2])
        position[:, 2] += max(float(dip), 0.0)
        plan = Plan(
            name=name,
            vehicle=vehicle,
            agent_type="rover",
            pattern="road",
            place=place,
            seed=int(seed),
            t=np.round(t, 6),
            position=np.round(position, 6),
            orientation=np.round(orientation[::PER_KNOT], 9),
            parameters={
                "centre": [cx, cy],
                "size": [float(2 * half[0]), float(2 * half[1])],
                "speed": driven_speed,
                "duration": float(duration),
                "clearance": float(clearance),
                "ceiling": float(ceiling),
                "jitter": bool(jitter),
            },
        )
        fault = problems(plan, heights, clearance=clearance, limits=limits)
        if fault is None:
            break
        if fault[0].startswith("turns"):
            ease *= 0.85
        elif fault[0].startswith("jolts"):
            driven_speed *= 0.85
        else:
            blocked = np.concatenate([blocked, fault[1]])
    if fault is not None:
        x, y = fault[1][0]
        raise PlanError(f"{name}: every route tried {fault[0]}, the last near ({x:.0f}, {y:.0f}); move the centre")
    datum = float(world.datum(float(position[0, 0]), float(position[0, 1])))
    if position[:, 2].max() > datum + ceiling:
        raise PlanError(
            f"{name}: the ground is {position[:, 2].max() - datum:.0f} m above the datum, over the ceiling of "
            f"{ceiling:.0f} m"
        )
    return plan

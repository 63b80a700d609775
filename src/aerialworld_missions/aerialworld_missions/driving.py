"""From a route on the map to a rover's drive: speed, height, attitude on the ground, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.spatial.transform import Rotation

from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.world.seams import ground_height
from aerialworld_missions.clearance import obstacle_distance
from aerialworld_missions.heightmap import HeightMap
from aerialworld_missions.lattice import FreeSpace
from aerialworld_missions.motion import SAMPLE, window
from aerialworld_missions.path import STEP, Path

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
    body = (p[:, None] + np.array([(0.0, 0.0, h) for h in CHECKED])).reshape(-1, 3)
    distance = obstacle_distance(heights, body, clearance).reshape(len(p), -1).min(axis=1)
    forward = m.linear_velocity[:, :2] / np.maximum(
        np.linalg.norm(m.linear_velocity[:, :2], axis=1, keepdims=True), 1e-6
    )
    sideways = np.abs(forward[:, 0] * a[:, 1] - forward[:, 1] * a[:, 0])
    tilt = np.arccos(np.clip(Rotation.from_quat(m.orientation).as_matrix()[:, 2, 2], -1.0, 1.0))
    checks: list[tuple[str, Any]] = [
        ("leaves its fence", np.zeros(len(p), bool) if plan.fence is None else ~plan.fence.contains(p)),
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

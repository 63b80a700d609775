"""From a line on the map to a flight: speed, height, attitude; proved clear before it is returned.

Height is the lowest that keeps clear of everything within the clearance, climbs no faster than allowed, and is smooth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import maximum_filter1d, minimum_filter1d
from scipy.spatial.transform import Rotation

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.sensing import GRAVITY
from aerialworld_core.world.seams import ground_height
from aerialworld_missions.clearance import obstacle_distance, obstacle_top
from aerialworld_missions.heightmap import HeightMap
from aerialworld_missions.motion import KNOT, PER_KNOT, SAMPLE, heading_along, window

#: Height of the default voxel grid's top above the datum, metres: above it a drone could not be seen in its own grid.
CEILING = 149.0
#: No plan passes nearer to a building than this, metres.
LEAST_CLEARANCE = 2.0
#: How often a path is raised over what the raster missed, and how often by no more than the distance asks for.
_RAISES, _SMALL_RAISES = 8, 3


@dataclass(frozen=True)
class DroneLimits:
    """Accelerations in m/s², rates in m/s and rad/s, angles in radians; `*_window` in seconds is the smoothing time.

    The tilt limit is checked; it follows from the others: atan(√(3² + 2²) / (9.8 − 3)) = 27.9°. A `climb_angle` of 90°
    allows climbing on the spot.
    """

    lateral: float = 3.0
    longitudinal: float = 2.0
    climb: float = 3.0
    climb_angle: float = float(np.radians(25.0))
    tilt: float = float(np.radians(30.0))
    yaw_rate: float = float(np.radians(60.0))
    turn_window: float = 1.2
    climb_window: float = 4.0


DRONE = DroneLimits()


def climb_envelope(required: Array, rate: Array) -> Array:
    """The lowest height ≥ `required` (N,) that changes by no more than `rate` (N,) m/s."""
    reach = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * SAMPLE)])
    forward = np.maximum.accumulate(required + reach) - reach
    backward = np.maximum.accumulate((required - reach)[::-1])[::-1] + reach
    return np.maximum(forward, backward)


def smooth_height(required: Array, xy: Array, limits: DroneLimits) -> Array:
    """The smooth height (N,) over `required` along `xy` (N, 2): never below, within climb rate and climb angle."""
    weights = window(limits.climb_window)
    half = len(weights) // 2
    speed = np.linalg.norm(np.gradient(xy, SAMPLE, axis=0), axis=1)
    speed = minimum_filter1d(speed, 2 * half + 1, mode="nearest")
    rate = np.minimum(limits.climb, speed * np.tan(limits.climb_angle))
    if limits.climb_angle >= np.pi / 2:
        rate = np.full(len(xy), limits.climb)
    lifted = maximum_filter1d(required, 2 * half + 1, mode="nearest")
    padded = np.pad(climb_envelope(lifted, rate), half, mode="edge")
    return np.convolve(padded, weights, mode="valid")


def attitude(t: Array, position: Array, yaw: Array) -> Array:
    """(N, 4) orientation of a multicopter: its z axis along the thrust (acceleration of the spline + gravity), its
    heading `yaw` (N,)."""
    thrust = CubicSpline(t, position, axis=0)(t, 2) + np.array([0.0, 0.0, GRAVITY])
    up = thrust / np.linalg.norm(thrust, axis=1, keepdims=True)
    c, s = np.cos(yaw), np.sin(yaw)
    forward, left = c * up[:, 0] + s * up[:, 1], c * up[:, 1] - s * up[:, 0]
    roll, pitch = np.arcsin(-left), np.arctan2(forward, up[:, 2])
    return np.asarray(Rotation.from_euler("ZYX", np.stack([yaw, pitch, roll], axis=1)).as_quat())


@dataclass(frozen=True)
class Rules:
    """What a flight keeps to its surroundings.

    clearance  metres kept in every direction from whatever is not ground
    ceiling    metres above the datum that it may not rise over
    refuse     refuse where something stands in the way, rather than rise over it
    exact      where nothing stands in the way, fly the wanted heights as they are: they are smooth already
    """

    clearance: float
    ceiling: float
    limits: DroneLimits = DRONE
    refuse: bool = False
    exact: bool = False


def ground_under(heights: HeightMap, xy: Array, name: str) -> Array:
    """(N,) ground under a path (N, 2). Raises PlanError where the path leaves the world's ground."""
    row, column, inside = heights.index(xy)
    ground = heights.ground[row, column]
    if not inside.all() or np.isnan(ground).any():
        x, y = xy[int(np.argmax(~inside | np.isnan(ground)))]
        (x0, y0), (x1, y1) = heights.low, heights.high
        raise PlanError(
            f"{name}: the path leaves the world's ground at ({x:.0f}, {y:.0f}); the world spans x {x0:.0f} … {x1:.0f}, "
            f"y {y0:.0f} … {y1:.0f}: move the centre or make the pattern smaller"
        )
    return ground


def fly(
    heights: HeightMap,
    xy: Array,
    wanted: Array,
    rules: Rules,
    *,
    name: str,
    look_at: Array | None = None,
    yaw: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Knots (t, position, orientation) of a flight along `xy` (N, 2), samples `SAMPLE` seconds apart.

    `wanted` (N,) is the height in map at which to fly where nothing stands in the way. `rules.clearance` is kept in
    every direction from whatever is not ground; where the raster missed something thin, the path is raised until the
    exact distance to the triangles proves it. It looks at `look_at` (2,), along `yaw` (N,), or ahead.
    Raises PlanError where the path leaves the world, would have to rise above the ceiling, or to rise at all although
    the rules say not to.
    """
    ground_under(heights, xy, name)
    top = heights.top_within(xy, rules.clearance)
    required = np.maximum(wanted, top + rules.clearance)
    if rules.refuse and (required > wanted + 0.01).any():
        k = int(np.argmax(required - wanted))
        raise in_the_way(name, (*xy[k], wanted[k]), rules.clearance)
    datum = float(heights.world.datum(float(xy[0, 0]), float(xy[0, 1])))
    for attempt in range(_RAISES):
        free = rules.exact and not (required > wanted).any()
        z = wanted if free else smooth_height(required, xy, rules.limits)
        if z.max() > datum + rules.ceiling:
            k = int(np.argmax(required))
            raise PlanError(
                f"{name}: the path would have to rise to {z.max() - datum:.0f} m above the datum, over the ceiling of "
                f"{rules.ceiling:.0f} m: at ({xy[k, 0]:.0f}, {xy[k, 1]:.0f}) the surface is {top[k] - datum:.0f} m "
                f"high and the clearance {rules.clearance:g} m; move the pattern or lower its altitude"
            )
        position = np.column_stack([xy, z])[::PER_KNOT]
        t = KNOT * np.arange(len(position), dtype=np.float64)
        flown = CubicSpline(t, position, axis=0)(SAMPLE * np.arange(len(xy)))
        distance = obstacle_distance(heights, flown, rules.clearance)
        close = distance < rules.clearance - 0.01
        if not close.any():
            break
        if rules.refuse:
            raise in_the_way(name, flown[int(np.argmin(distance))], rules.clearance)
        # A little higher first; where that does not do, over the top of whatever stands there.
        raised = flown[close, 2] + rules.clearance - distance[close] + 0.5
        if attempt >= _SMALL_RAISES:
            raised = np.maximum(raised, obstacle_top(heights, flown[close, :2], rules.clearance) + rules.clearance)
        required[close] = np.maximum(required[close], raised)
    else:
        x, y, z_close = flown[int(np.argmin(distance))]
        raise PlanError(f"{name}: no way around what stands near ({x:.0f}, {y:.0f}, {z_close:.0f})")
    if yaw is not None:
        looks = yaw[::PER_KNOT]
    elif look_at is not None:
        looks = np.unwrap(np.arctan2(look_at[1] - position[:, 1], look_at[0] - position[:, 0]))
    else:
        looks = heading_along(xy)[::PER_KNOT]
    return t, position, attitude(t, position, looks)


def in_the_way(name: str, at: Any, clearance: float) -> PlanError:
    """The refusal of a path that would come too near something at `at` (3,)."""
    x, y, z = at
    return PlanError(
        f"{name}: at ({x:.0f}, {y:.0f}) the flight at z = {z:.0f} m would come nearer than {clearance:g} m to what "
        "stands there; fly higher, move the pattern, or let it rise or bend (avoid: raise, bend)"
    )


def check_flight(plan: Plan, heights: HeightMap, rules: Rules) -> None:
    """Sample the motion as it will be flown, twice per knot, and raise PlanError unless it is outside of solids, above
    ground, within its fence, clear of everything else and within the limits (2 % for the spline's ripple)."""
    clearance, limits = rules.clearance, rules.limits
    motion = plan.trajectory().sample(SAMPLE * np.arange(int(plan.duration / SAMPLE + 1e-6) + 1))
    p, a = motion.position, motion.linear_acceleration
    flat_speed = np.linalg.norm(motion.linear_velocity[:, :2], axis=1)
    climb = np.abs(motion.linear_velocity[:, 2])
    tilt = np.arccos(np.clip(Rotation.from_quat(motion.orientation).as_matrix()[:, 2, 2], -1.0, 1.0))
    failures: list[tuple[str, Any]] = [
        ("is inside a solid", heights.world.inside_solid(p)),
        ("is below the ground", ~(p[:, 2] - ground_height(heights.world, p[:, :2]) >= LEAST_CLEARANCE)),
        ("passes too near a building", obstacle_distance(heights, p, clearance) < clearance - 0.05),
        ("climbs too fast", climb > limits.climb * 1.02),
        (
            "climbs too steeply",
            (limits.climb_angle < np.pi / 2) & (climb > flat_speed * np.tan(limits.climb_angle) * 1.02 + 0.02),
        ),
        (
            "accelerates too hard",
            np.linalg.norm(a[:, :2], axis=1) > 1.02 * np.hypot(limits.lateral, limits.longitudinal),
        ),
        ("tilts too far", tilt > limits.tilt),
        ("turns too fast", np.abs(motion.yaw_rate) > limits.yaw_rate * 1.02),
    ]
    if plan.fence is not None:
        failures.insert(0, ("leaves its fence", ~plan.fence.contains(p)))
    for what, where in failures:
        if where.any():
            k = int(np.argmax(where))
            x, y, z = p[k]
            raise PlanError(f"{plan.name}: the planned path {what} at {k * SAMPLE:.2f} s, ({x:.1f}, {y:.1f}, {z:.1f})")

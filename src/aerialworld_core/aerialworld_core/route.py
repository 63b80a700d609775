"""A plan as an autopilot flies it: few waypoints with straight legs between them, and the fence it stays in.

A plan's truth is its timed poses; the waypoints are drawn from them, so that every plan has them, an old file's too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.entries import shown
from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array

if TYPE_CHECKING:
    from aerialworld_core.plan import Plan

#: A vehicle slower than this, m/s, for at least this long, seconds, holds its place.
STANDING, LEAST_HOLD = 0.05, 1.0
#: A plan whose vehicle looks so near to where it goes, radians, in nearly all of its time, looks ahead.
AHEAD, NEARLY_ALL = np.radians(10.0), 0.95
#: How far the yaw may be from that of the straight change between two waypoints, radians.
YAW_TOLERANCE = np.radians(15.0)
MAX_CORNERS = 1000


@dataclass(frozen=True)
class Waypoint:
    """A point to go to, straight from the one before.

    position  (x, y, z) of base_link in map, metres
    speed     of the leg that leads here, m/s, its mean (0 at the first waypoint)
    yaw       where to look here (at the end of the hold), radians in map; None: ahead, along the legs
    hold      seconds to stay here before going on
    """

    position: tuple[float, float, float]
    speed: float
    yaw: float | None = None
    hold: float = 0.0


@dataclass(frozen=True, eq=False)
class Fence:
    """What a plan never leaves: `polygon` (K, 2) in map, metres, K ≥ 3, and heights from `floor` to `ceiling`, map z.

    Raises PlanError for anything else.
    """

    polygon: Array
    floor: float
    ceiling: float

    def __post_init__(self) -> None:
        try:
            polygon = np.asarray(self.polygon)
        except (ValueError, OverflowError):  # ragged, or a number beyond any type
            polygon = np.zeros(0)
        if (
            polygon.dtype.kind not in "iuf"
            or polygon.ndim != 2
            or polygon.shape[1] != 2
            or not 3 <= len(polygon) <= MAX_CORNERS
        ):
            raise PlanError(f"plan: fence: polygon takes 3 to {MAX_CORNERS} points (x, y)")
        heights = (self.floor, self.ceiling)
        if any(isinstance(v, bool) or not isinstance(v, int | float) for v in heights):
            raise PlanError("plan: fence: floor and ceiling must be numbers")
        if not (np.isfinite(polygon).all() and np.isfinite(heights).all() and self.floor < self.ceiling):
            raise PlanError("plan: fence: must be finite numbers, with the floor below the ceiling")
        object.__setattr__(self, "polygon", polygon.astype(np.float64))
        object.__setattr__(self, "floor", float(self.floor))
        object.__setattr__(self, "ceiling", float(self.ceiling))

    def contains(self, points: Array) -> NDArray[np.bool_]:
        """(N,) bool: which points (N, 3) lie inside or on the border (to 1 mm)."""
        p, a = np.asarray(points, np.float64), self.polygon
        b = np.roll(a, -1, axis=0)
        inside = np.zeros(len(p), bool)
        border = np.zeros(len(p), bool)
        for (x0, y0), (x1, y1) in zip(a, b, strict=True):
            crosses = (y0 > p[:, 1]) != (y1 > p[:, 1])
            with np.errstate(divide="ignore", invalid="ignore"):
                inside ^= crosses & (p[:, 0] < x0 + (p[:, 1] - y0) / (y1 - y0) * (x1 - x0))
            border |= _segment_distance(p[:, :2], np.array([x0, y0]), np.array([x1, y1])) <= 1e-3
        return (inside | border) & (p[:, 2] >= self.floor - 1e-3) & (p[:, 2] <= self.ceiling + 1e-3)

    def to_dict(self) -> dict[str, Any]:
        return {"polygon": np.round(self.polygon, 6).tolist(), "floor": self.floor, "ceiling": self.ceiling}

    @classmethod
    def from_dict(cls, data: Any) -> Fence:
        """Raises PlanError for missing, unknown or malformed entries."""
        if not isinstance(data, Mapping) or set(data) != {"polygon", "floor", "ceiling"}:
            raise PlanError(f"plan: fence must be an object of polygon, floor and ceiling, not {shown(data)}")
        return cls(data["polygon"], data["floor"], data["ceiling"])


def route(plan: Plan, tolerance: float = 0.5) -> tuple[Waypoint, ...]:
    """The fewest waypoints (nearly: Douglas and Peucker, 1973) whose straight legs stay within `tolerance` metres of
    the plan's knots, and whose yaw within 15° of theirs. Standing still for a second or longer becomes a hold."""
    if not tolerance > 0:
        raise PlanError(f"plan {plan.name}: a route's tolerance must be above 0, not {tolerance}")
    p, t = plan.position, plan.t
    qx, qy, qz, qw = plan.orientation.T
    yaw = np.unwrap(np.arctan2(2 * (qx * qy + qw * qz), 1 - 2 * (qy**2 + qz**2)))
    holds = _holds(p, t)
    ahead = _looks_ahead(p, t, yaw)
    scaled = p if ahead else np.column_stack([p, yaw * (tolerance / YAW_TOLERANCE)])
    kept = {0, len(t) - 1}
    for first, last in holds:
        kept.update((first, last))
    ends = sorted(kept)
    for first, last in pairwise(ends):
        kept.update(_simplified(scaled, first, last, tolerance))
    until = dict(holds)
    skipped = set(until.values()) - set(until)
    waypoints: list[Waypoint] = []
    leave = 0.0
    before = 0
    for k in sorted(kept - skipped):
        along = float(np.linalg.norm(np.diff(p[before : k + 1], axis=0), axis=1).sum())
        seconds = float(t[k]) - leave
        last = until.get(k, k)
        leave = float(t[last])
        x, y, z = (float(v) for v in p[k])
        speed = along / seconds if seconds > 0 else 0.0
        waypoints.append(Waypoint((x, y, z), speed, None if ahead else float(yaw[last]), leave - float(t[k])))
        before = last
    return tuple(waypoints)


def _holds(p: Array, t: Array) -> list[tuple[int, int]]:
    """First and last knot of each time that the vehicle stands still."""
    still = np.linalg.norm(np.diff(p, axis=0), axis=1) < STANDING * np.diff(t)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], still, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if t[b] - t[a] >= LEAST_HOLD]


def _looks_ahead(p: Array, t: Array, yaw: Array) -> bool:
    """Whether the vehicle looks where it goes."""
    step = np.diff(p[:, :2], axis=0)
    moving = np.linalg.norm(step, axis=1) > 4 * STANDING * np.diff(t)
    if not moving.any():
        return False
    off = (yaw[:-1] + yaw[1:]) / 2 - np.arctan2(step[:, 1], step[:, 0])
    off = np.abs((off + np.pi) % (2 * np.pi) - np.pi)
    return bool(np.mean(off[moving] < AHEAD) >= NEARLY_ALL)


def _segment_distance(points: Array, a: Array, b: Array) -> Array:
    """(N,) distance of points (N, D) to the segment from `a` to `b` (D,)."""
    along = b - a
    length = float(along @ along)
    u = np.clip((points - a) @ along / length, 0.0, 1.0) if length > 0 else np.zeros(len(points))
    return np.asarray(np.linalg.norm(points - a - u[:, None] * along, axis=1))


def _simplified(points: Array, first: int, last: int, tolerance: float) -> list[int]:
    """The knots between `first` and `last` that a line through them needs."""
    kept, todo = [], [(first, last)]
    while todo:
        a, b = todo.pop()
        if b - a < 2:
            continue
        off = _segment_distance(points[a + 1 : b], points[a], points[b])
        k = int(np.argmax(off))
        if off[k] > tolerance:
            middle = a + 1 + k
            kept.append(middle)
            todo += [(a, middle), (middle, b)]
    return kept

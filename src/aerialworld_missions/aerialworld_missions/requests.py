"""What patterns are asked: checks of their numbers and shapes, and the seeded variation that makes a thousand missions
differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from aerialworld_core.entries import shown
from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array

#: With `jitter`, altitude and speed differ from what was asked by at most this share, the heading by this angle.
ALTITUDE_JITTER = 0.1
SPEED_JITTER = 0.15
HEADING_JITTER = math.radians(5.0)
#: No flight is planned faster than this, m/s: the clearance checks sample every quarter of a metre at 5 m/s.
FASTEST_DRONE = 20.0
FASTEST_ROVER = 5.0
#: Farther from map's origin, metres, lies no world; no area that is asked for has more corners.
FAR, MOST_CORNERS = 1e6, 1000
#: A line of more points than this is refused.
MOST_POINTS = 5000


def number(name: str, what: str, value: Any, *, least: float, most: float = math.inf, above: bool = False) -> float:
    """`value` as a float within [least, most] ((least, most] if `above`). Raises PlanError in the mission's `name`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise PlanError(f"{name}: {what} must be a number, not {value!r}")
    result = float(value)
    if result < least or result > most or (above and result <= least):
        bounds = f"{'above' if above else 'at least'} {least:g}" + (f" and at most {most:g}" if most < math.inf else "")
        raise PlanError(f"{name}: {what} must be {bounds}, not {result:g}")
    return result


def point(name: str, what: str, value: Sequence[float]) -> tuple[float, float]:
    """Two finite numbers. Raises PlanError."""
    try:
        x, y = value
    except (TypeError, ValueError):
        raise PlanError(f"{name}: {what} takes two numbers (x, y), not {value!r}") from None
    return number(name, f"{what} x", x, least=-FAR, most=FAR), number(name, f"{what} y", y, least=-FAR, most=FAR)


def pair(name: str, what: str, value: float | Sequence[float], *, least: float, most: float) -> tuple[float, float]:
    """Two edges from one number or two. Raises PlanError."""
    a, b = (value, value) if isinstance(value, Real) else point(name, what, value)  # type: ignore[arg-type]
    return number(name, what, a, least=least, most=most), number(name, what, b, least=least, most=most)


def points(name: str, what: str, value: Any, *, least: int, most: int, columns: int = 2) -> Array:
    """(N, columns) finite numbers, N from `least` to `most`. Raises PlanError."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # ragged, or a number beyond any type
        array = np.zeros(0)
    if array.dtype.kind not in "iuf" or array.ndim != 2 or array.shape[1] != columns:
        raise PlanError(f"{name}: {what} takes points of {columns} numbers, not {shown(value)}")
    if not least <= len(array) <= most:
        raise PlanError(f"{name}: {what} takes {least} to {most} points, not {len(array)}")
    if not (np.isfinite(array).all() and np.abs(array).max() <= FAR):
        raise PlanError(f"{name}: {what} has a point that is not finite or farther than {FAR:.0f} m")
    return array.astype(np.float64)


def polygon(name: str, what: str, value: Any) -> Array:
    """(K, 2) corners of a simple polygon, counter-clockwise, not closed. Raises PlanError for one that crosses itself
    or has no area."""
    corners = points(name, what, value, least=3, most=MOST_CORNERS + 1)
    if np.array_equal(corners[0], corners[-1]):
        corners = corners[:-1]
    corners = corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]
    if len(corners) < 3 or len(corners) > MOST_CORNERS:
        raise PlanError(f"{name}: {what} takes 3 to {MOST_CORNERS} different corners, not {len(corners)}")
    after = np.roll(corners, -1, axis=0)
    if _crosses_itself(corners, after):
        raise PlanError(f"{name}: {what} crosses itself")
    area = float(np.sum(_cross(corners, after)) / 2)
    if abs(area) < 1.0:
        raise PlanError(f"{name}: {what} has an area of {abs(area):.2f} m²")
    return corners if area > 0 else corners[::-1]


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])


def _crosses_itself(a: Array, b: Array) -> bool:
    """Whether any two edges from `a` (K, 2) to `b` (K, 2) that are no neighbours meet."""
    along = b - a
    apart = a[None] - a[:, None]
    across = _cross(along[:, None], along[None])
    with np.errstate(divide="ignore", invalid="ignore"):
        u = _cross(apart, along[None]) / across
        v = _cross(apart, along[:, None]) / across
    meets = (across != 0) & (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)
    k = np.arange(len(a))
    gap = np.abs(k[:, None] - k[None])
    neighbours = (gap <= 1) | (gap == len(a) - 1)
    return bool((meets & ~neighbours).any())


def generator(name: str, seed: Any, *salt: str) -> np.random.Generator:
    """The random numbers of one mission: of its seed and of `salt`, so that two patterns of one seed differ."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise PlanError(f"{name}: the seed must be a whole number ≥ 0, not {seed!r}")
    return np.random.default_rng([int(seed), *(b for word in salt for b in word.encode())])


@dataclass(frozen=True)
class Variation:
    """One draw of the seeded variation; `start` is a share of the room there is for the start along the pattern."""

    start: float
    reverse: bool
    mirror: bool
    altitude: float
    speed: float
    heading: float

    @classmethod
    def draw(cls, random: np.random.Generator, jitter: bool) -> Variation:
        if not jitter:
            return cls(0.0, False, False, 1.0, 1.0, 0.0)
        start, altitude, speed, heading = random.random(4)
        return cls(
            start=float(start),
            reverse=bool(random.random() < 0.5),
            mirror=bool(random.random() < 0.5),
            altitude=1.0 + ALTITUDE_JITTER * (2.0 * float(altitude) - 1.0),
            speed=1.0 + SPEED_JITTER * (2.0 * float(speed) - 1.0),
            heading=HEADING_JITTER * (2.0 * float(heading) - 1.0),
        )

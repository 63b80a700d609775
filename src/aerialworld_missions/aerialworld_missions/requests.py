"""What patterns are asked: checks of their numbers, and the seeded variation that makes a thousand missions differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from aerialworld_core.errors import PlanError

#: With `jitter`, altitude and speed differ from what was asked by at most this share, the heading by this angle.
ALTITUDE_JITTER = 0.1
SPEED_JITTER = 0.15
HEADING_JITTER = math.radians(5.0)
#: No flight is planned faster than this, m/s: the clearance checks sample every quarter of a metre at 5 m/s.
FASTEST_DRONE = 20.0
FASTEST_ROVER = 5.0


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
    far = 1e6
    return (
        number(name, f"{what} x", x, least=-far, most=far),
        number(name, f"{what} y", y, least=-far, most=far),
    )


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

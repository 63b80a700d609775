"""When two goals are the same: commands are repeated every step, and only a changed one may restart anything."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np

from aerialworld_core.errors import InputError
from aerialworld_sim.vehicles.interface import Goal, GoTo, Leg


def same_goal(a: Goal | None, b: Goal | None) -> bool:
    """Whether two goals ask for the same."""
    if a is b:
        return True
    if a is None or b is None or type(a) is not type(b):
        return False
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))


def check_goal(goal: Goal) -> None:
    """Raise InputError for a goal whose numbers are not finite, whose positions are no three numbers, or whose speed is
    none."""
    for field in fields(goal):
        value = getattr(goal, field.name)
        if value is None:
            continue
        numbers = np.asarray(value, dtype=np.float64)
        if numbers.shape not in ((), (3,)) or not np.isfinite(numbers).all():
            raise InputError(f"{type(goal).__name__}.{field.name}: {value!r} is no finite number or three of them")
    if isinstance(goal, GoTo | Leg) and goal.speed <= 0:
        raise InputError(f"{type(goal).__name__}.speed must be positive, not {goal.speed!r}")


def vector(values: object) -> tuple[float, float, float]:
    x, y, z = np.asarray(values, dtype=np.float64).tolist()
    return x, y, z


def wrap(angle: float) -> float:
    """An angle in (−π, π]."""
    return math.remainder(angle, 2.0 * math.pi)

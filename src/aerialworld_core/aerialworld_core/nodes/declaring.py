"""Parameters of a node from tables: a default and a description each, ranges and choices for some."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import InputError

_NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")


def declare(
    node: Node,
    name: str,
    default: Any,
    description: str,
    bounds: tuple[float, float] | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """Declare a read-only parameter and return its value; None for a list that was given empty. `bounds` are those of
    its type. Raises InputError, with the description, for a value of another type or out of bounds."""
    descriptor = ParameterDescriptor(description=description, read_only=True)
    if bounds and isinstance(default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=bounds[0], to_value=bounds[1], step=0.0)]
    elif bounds:
        low, high = map(int, bounds)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    if choices:
        descriptor.additional_constraints = f"one of {', '.join(choices)}"
    try:
        value = node.declare_parameter(name, default, descriptor).value
    except ParameterException as error:
        hint = "; write its numbers with a point, like 2.0" if "DOUBLE" in str(error) else ""
        raise InputError(f"parameter {name}: {error}{hint} ({description})") from error
    several = value or () if isinstance(default, list) else [value]
    if any(isinstance(v, float) and not math.isfinite(v) for v in several):
        raise InputError(f"parameter {name}: {value} is not finite ({description})")
    if choices and value not in choices:
        raise InputError(f"parameter {name}: {value!r} is none of {', '.join(choices)}")
    return value


def names(parameter: str, values: Any) -> tuple[str, ...]:
    """The names of a list, which must differ and fit into topic names; empty ones do not count."""
    found = tuple(n for n in values or () if n)
    for name in found:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"parameter {parameter}: {name!r} cannot be part of a topic name; use letters, digits and single _"
            )
    twice = sorted({n for n in found if found.count(n) > 1})
    if twice:
        raise InputError(f"parameter {parameter}: {', '.join(twice)} is there twice")
    return found


def conditions(text: str) -> Conditions:
    """A parameter `conditions`: `local_time=07:30,weather=rain`, or nothing."""
    try:
        return Conditions.parse(text)
    except InputError as error:
        raise InputError(f"parameter {error}") from error


def refuse_unknown(node: Node, declared: Sequence[str], of_each: Sequence[str]) -> None:
    """A parameter that nobody reads is a mistake to report: ROS itself drops it in silence. `declared` are the node's
    own, `of_each` those that every vehicle has."""
    for name in node._parameter_overrides:
        if node.has_parameter(name) or name.startswith("qos_overrides."):
            continue
        near = difflib.get_close_matches(name, [n for n in node._parameters if "." not in n], 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(declared)}"
        if "." in name:
            hint = f"{name.split('.')[0]} is none of `vehicles`, or has no such parameter ({', '.join(of_each)})"
        raise InputError(f"parameter {name}: it is unknown; {hint}")

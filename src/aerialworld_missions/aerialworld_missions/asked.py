"""Patterns by name, with what each is asked: for commands and nodes, whose options are words and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aerialworld_core.entries import instead_of
from aerialworld_core.errors import PlanError
from aerialworld_core.plan import Plan
from aerialworld_missions.corridor import corridor
from aerialworld_missions.explore import explore
from aerialworld_missions.figure8 import figure8
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.orbit import orbit
from aerialworld_missions.patrol import patrol
from aerialworld_missions.roads import roads
from aerialworld_missions.survey import survey
from aerialworld_missions.waypoints import waypoints

COMMON = ("name", "place", "seed", "vehicle", "speed", "clearance", "duration", "jitter", "fence")
DRONE = ("altitude", "altitude_frame", "avoid")
#: Each pattern: what makes it, drone or rover, and what it takes beside what all of its kind take.
PATTERNS: Mapping[str, tuple[Callable[..., Plan], str, tuple[str, ...]]] = {
    "survey": (survey, "drone", ("centre", "size", "spacing", "overlap", "heading")),
    "orbit": (orbit, "drone", ("centre", "radius", "turns", "look", "clockwise")),
    "figure8": (figure8, "drone", ("centre", "radius", "turns", "heading", "look")),
    "corridor": (corridor, "drone", ("line", "road", "road_length", "offset")),
    "random": (explore, "drone", ("centre", "size", "vary")),
    "waypoints": (waypoints, "drone", ("stops",)),
    "patrol": (patrol, "rover", ("posts", "centre", "size", "turns", "closed")),
    "roads": (roads, "rover", ("centre", "size")),
}
#: Patterns that need a centre where nothing else says where they are; the world's middle is taken.
CENTRED = {"survey": (), "orbit": (), "figure8": (), "random": (), "patrol": ("posts",)}


def takes(pattern: str) -> tuple[str, ...]:
    """What a pattern may be asked. Raises PlanError for one that there is not."""
    if pattern not in PATTERNS:
        raise PlanError(f"pattern {pattern!r}: {instead_of(pattern, PATTERNS)}")
    _, kind, own = PATTERNS[pattern]
    return (*own, *COMMON, *(DRONE if kind == "drone" else ()))


def plan_of(world: Geometry, pattern: str, asked: Mapping[str, Any]) -> Plan:
    """The plan of a pattern with what it was asked; what was not is as the pattern has it. Raises PlanError for what
    cannot be flown, and for what the pattern does not take."""
    known = takes(pattern)
    given = dict(asked)
    for name in given:
        if name not in known:
            raise PlanError(f"{pattern}: it takes no {name}; {instead_of(name, known)}")
    if pattern in CENTRED and "centre" not in given and not set(CENTRED[pattern]) & set(given):
        low, high = world.bounds[:, :2]
        given["centre"] = tuple(float(v) for v in (low + high) / 2)
    make, _, _ = PATTERNS[pattern]
    return make(world, **given)

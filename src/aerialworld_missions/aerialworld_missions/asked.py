"""Patterns by name, with what each is asked: for commands and nodes, whose options are words and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aerialworld_core.entries import instead_of, shown
from aerialworld_core.errors import PlanError
from aerialworld_core.plan import Plan
from aerialworld_missions.corridor import corridor
from aerialworld_missions.explore import explore
from aerialworld_missions.figure8 import figure8
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.mission_files import fence_corners, read_stops
from aerialworld_missions.orbit import orbit
from aerialworld_missions.patrol import patrol
from aerialworld_missions.road import road_run
from aerialworld_missions.roads import roads
from aerialworld_missions.survey import survey
from aerialworld_missions.waypoints import waypoints

COMMON = ("name", "place", "seed", "vehicle", "speed", "clearance", "ceiling", "duration", "jitter", "fence")
DRONE = ("altitude", "altitude_frame", "avoid")
#: Each pattern: what makes it, drone or rover, and what it takes beside what all of its kind take.
PATTERNS: Mapping[str, tuple[Callable[..., Plan], str, tuple[str, ...]]] = {
    "survey": (survey, "drone", ("centre", "size", "area", "spacing", "overlap", "rig", "heading")),
    "orbit": (orbit, "drone", ("centre", "radius", "turns", "look", "start", "clockwise")),
    "figure8": (figure8, "drone", ("centre", "radius", "turns", "heading", "look")),
    "corridor": (corridor, "drone", ("line", "road", "road_length", "offset")),
    "random": (explore, "drone", ("centre", "size", "area", "vary")),
    "waypoints": (waypoints, "drone", ("stops",)),
    "road": (road_run, "rover", ("centre", "size")),
    "roads": (roads, "rover", ("centre", "size")),
    "patrol": (patrol, "rover", ("posts", "centre", "size", "turns", "closed")),
}
#: Patterns that need a centre where nothing else says where they are; the world's middle is taken.
CENTRED = {
    "survey": ("area",), "orbit": (), "figure8": (), "random": ("area",), "road": (), "patrol": ("posts",)
}  # fmt: skip
_VEHICLE = re.compile(r"(drone|rover)(_[1-9][0-9]{0,2})?")


def takes(pattern: str) -> tuple[str, ...]:
    """What a pattern may be asked. Raises PlanError for one that there is not."""
    if pattern not in PATTERNS:
        raise PlanError(f"pattern {pattern!r}: {instead_of(pattern, PATTERNS)}")
    _, kind, own = PATTERNS[pattern]
    return (*own, *COMMON, *(DRONE if kind == "drone" else ()))


def vehicle_named(text: str, kind: str) -> str:
    """The name of a vehicle of a `kind`: as given, or drone_1 for "drone". Raises PlanError for an unknown vehicle, and
    for one of another kind."""
    match = _VEHICLE.fullmatch(text)
    if match is None:
        raise PlanError(f"unknown vehicle {shown(text)}; there are drone, drone_1, drone_2 … and rover, rover_1 …")
    if match.group(1) != kind:
        raise PlanError(f"vehicle {text}: this pattern is for a {kind}")
    return text if match.group(2) else f"{text}_1"


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


def plan_of_file(world: Geometry, path: Path, asked: Mapping[str, Any]) -> tuple[Plan, list[str]]:
    """The plan of a mission file (.plan, .waypoints, .geojson), and notes on what of it a path cannot show. A rover's
    file, or `asked["vehicle"]` a rover, gives a drive past its points.

    `asked` goes before what the file says: its speed, its fence. Raises PlanError, naming the file.
    """
    stops, mission, notes = read_stops(path, world)
    given = dict(asked)
    vehicle = given.get("vehicle") or ("rover" if mission is not None and mission.vehicle == "rover" else "drone")
    rover = vehicle.startswith("rover")
    given["vehicle"] = vehicle_named(vehicle, "rover" if rover else "drone")
    if mission is not None:
        if mission.speed is not None and mission.speed > 0:
            given.setdefault("speed", mission.speed)
        if (corners := fence_corners(mission, world)) is not None:
            given.setdefault("fence", corners)
    try:
        if not rover:
            return plan_of(world, "waypoints", {"stops": stops, **given}), notes
        if any(s.hold or s.yaw is not None or s.speed is not None for s in stops):
            notes.append("a rover passes the points: their holds, looks and speeds are left out")
        posts = [(s.x, s.y) for s in stops]
        return plan_of(world, "patrol", {"posts": posts, "closed": False, **given}), notes
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error

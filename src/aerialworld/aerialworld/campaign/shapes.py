"""What each pattern of a campaign draws, and how much room its path needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aerialworld.campaign.missions import (
    Corridor,
    Drive,
    Figure8,
    Flight,
    Mission,
    Orbit,
    Random,
    Survey,
    Waypoints,
)
from aerialworld.lazy import stage

_FINE = 1e-3
#: Metres beyond what a path's corners span: bends and smoothing.
_AROUND = 1.0
#: A bent line's legs are at least so long, metres.
_LEG = 30.0

#: The record, the planner's arguments (a line or stops about the place's centre), and half the edge of the box that the
#: path needs.
Draw = tuple[dict[str, Any], dict[str, Any], float]


def fine(value: float) -> float:
    """To the millimetre."""
    return round(round(float(value) / _FINE) * _FINE, 3)


def least_edge(mission: Mission) -> float:
    """Edge, metres, of the smallest place that certainly holds the smallest form of a mission."""
    if isinstance(mission, Survey):
        reach = mission.size[0] / 2 + _run_out(mission.speed[0]) + mission.spacing[0] / 2
        return 2 * math.sqrt(2) * reach + 1.0
    if isinstance(mission, Orbit):
        return 2 * mission.radius[0] + 2.0
    if isinstance(mission, Figure8):
        return 4 * mission.radius[0] + 2.0
    if isinstance(mission, Corridor):
        return mission.length[0] + 2 * _AROUND + 1.0
    if isinstance(mission, Waypoints):
        shape = _shape(mission)
        return float(2 * np.hypot(shape[:, 0], shape[:, 1]).max()) + 2 * _AROUND + 1.0
    assert isinstance(mission, Random | Drive)
    return float(mission.size[0]) + 1.0  # type: ignore[union-attr]


def one_draw(mission: Mission, random: np.random.Generator, room: float) -> Draw:
    """One draw. Sizes are drawn from what of their range fits into `room`, half an edge, if anything does."""

    def within(limits: tuple[float, float], most: float = math.inf) -> float:
        low, high = limits[0], max(limits[0], min(limits[1], most))
        return fine(random.uniform(low, high)) if low < high else low

    return _DRAWS[type(mission).__name__](mission, random, room, within)


def placed(centre: tuple[float, float], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments at a place: a line or stops moved there, all else around it."""
    moved = dict(arguments)
    if "line" in moved:
        moved["line"] = [(fine(x + centre[0]), fine(y + centre[1])) for x, y in moved["line"]]
    elif "stops" in moved:
        moved["stops"] = [(fine(x + centre[0]), fine(y + centre[1]), *rest) for x, y, *rest in moved["stops"]]
    else:
        moved["centre"] = centre
    return moved


Within = Callable[..., float]


def _flight(mission: Flight, within: Within) -> tuple[dict[str, Any], dict[str, Any]]:
    """What every flight draws: for the record, and words that the planner takes besides."""
    numbers = {k: within(getattr(mission, k)) for k in ("altitude", "speed", "clearance")}
    words = {"altitude_frame": mission.altitude_frame, "avoid": mission.avoid}  # type: ignore[attr-defined]
    return numbers, words


def _survey(mission: Survey, random: np.random.Generator, room: float, within: Within) -> Draw:
    record = {k: within(getattr(mission, k)) for k in ("spacing", "altitude", "speed", "heading", "clearance")}
    words = {"altitude_frame": mission.altitude_frame, "avoid": mission.avoid}
    heading = math.radians(record["heading"])
    beyond = _run_out(record["speed"]) + record["spacing"] / 2
    turned = abs(math.cos(heading)) + abs(math.sin(heading))
    size = within(mission.size, math.floor(20 * (room / turned - beyond)) / 10)
    arguments = {"size": size, **record, "heading": heading, **words}
    return {"size": size, **record}, arguments, (size / 2 + beyond) * turned


def _orbit(mission: Orbit, random: np.random.Generator, room: float, within: Within) -> Draw:
    radius = within(mission.radius, math.floor(10 * (room - 0.5)) / 10)
    numbers, words = _flight(mission, within)
    record = {"radius": radius, **numbers}
    start = within((0.0, 360.0))
    look = _one_of(mission.look, ("path", "centre"), random)
    direction = _one_of(mission.direction, ("left", "right"), random)
    return (
        {**record, "start": start, "look": look, "direction": direction},
        {**record, **words, "start": math.radians(start), "look": look, "clockwise": direction == "right"},
        radius + 0.5,
    )


def _figure8(mission: Figure8, random: np.random.Generator, room: float, within: Within) -> Draw:
    radius = within(mission.radius, math.floor(5 * (room - 0.5)) / 10)
    numbers, words = _flight(mission, within)
    record = {"radius": radius, **numbers, "heading": (heading := within(mission.heading))}
    return record, {**record, **words, "heading": math.radians(heading)}, 2 * radius + 0.5


def _corridor(mission: Corridor, random: np.random.Generator, room: float, within: Within) -> Draw:
    length = within(mission.length, 2 * (room - _AROUND))
    numbers, words = _flight(mission, within)
    legs = max(1, min(6, int(length / _LEG)))
    course = random.uniform(0.0, 2 * math.pi)
    at, bends = [np.zeros(2)], []
    for k in range(legs):
        if k:
            bends.append(within(mission.bend) * (1.0 if random.random() < 0.5 else -1.0))
            course += math.radians(bends[-1])
        at.append(at[-1] + length / legs * np.array([math.cos(course), math.sin(course)]))
    line = _about(np.array(at))
    record = {"length": length, **numbers, "bends": bends}
    arguments = {**numbers, **words, "line": line.tolist()}
    return record, arguments, float(np.abs(line).max()) + _AROUND


def _random(mission: Random, random: np.random.Generator, room: float, within: Within) -> Draw:
    size = within(mission.size, math.floor(20 * room) / 10)
    numbers, words = _flight(mission, within)
    record = {"size": size, **numbers, "vary": within(mission.vary)}
    return record, {**record, **words}, size / 2


def _waypoints(mission: Waypoints, random: np.random.Generator, room: float, within: Within) -> Draw:
    numbers, words = _flight(mission, within)
    heading = within(mission.heading)
    c, s = math.cos(math.radians(heading)), math.sin(math.radians(heading))
    shape = _shape(mission) @ np.array([[c, s], [-s, c]])
    stops = [(*xy, *p[2:]) for xy, p in zip(shape.tolist(), mission.points, strict=True)]
    return {**numbers, "heading": heading}, {**numbers, **words, "stops": stops}, float(np.abs(shape).max()) + _AROUND


def _drive(mission: Any, random: np.random.Generator, room: float, within: Within) -> Draw:
    size = within(mission.size, math.floor(20 * room) / 10)
    record = {"size": size, "speed": within(mission.speed), "clearance": within(mission.clearance)}
    return dict(record), dict(record), size / 2


_DRAWS: dict[str, Callable[..., Draw]] = {
    "Survey": _survey,
    "Orbit": _orbit,
    "Figure8": _figure8,
    "Corridor": _corridor,
    "Random": _random,
    "Waypoints": _waypoints,
    "Road": _drive,
    "Roads": _drive,
    "Patrol": _drive,
}


def _one_of(word: str, words: tuple[str, str], random: np.random.Generator) -> str:
    return word if word != "either" else words[int(random.integers(2))]


def _shape(mission: Waypoints) -> np.ndarray:
    return _about(np.array([p[:2] for p in mission.points], np.float64))


def _about(points: np.ndarray) -> np.ndarray:
    """The points about the middle of their box."""
    return np.asarray(points - (points.min(axis=0) + points.max(axis=0)) / 2)


def _run_out(speed: float) -> float:
    """How far beyond its box a survey's lanes run."""
    limits = stage("aerialworld_missions.flight", "DRONE")
    return float(stage("aerialworld_missions.motion", "margin")(limits.turn_window, speed))

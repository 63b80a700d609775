"""The mission nodes' parameters: what all of them take, and what each pattern does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.node import Node

from aerialworld_core.errors import InputError
from aerialworld_core.nodes.declaring import declare, names, refuse_unknown
from aerialworld_core.piloting import MAVLINK_PORT
from aerialworld_missions.asked import PATTERNS
from aerialworld_missions.flying.fleet import Us
from aerialworld_missions.flying.guard import Limits
from aerialworld_missions.flying.items import ENDS
from aerialworld_missions.flying.options import METHODS

#: Default and description; all are read-only once the node runs. An empty text and a duration of 0.0 are not given.
COMMON: dict[str, tuple[Any, str]] = {
    "vehicle": ("drone_1", "Name of the vehicle, as in its topics."),
    "connect": (
        f"tcp:127.0.0.1:{MAVLINK_PORT}",
        "Where it is reached: tcp:HOST:PORT, udpin:HOST:PORT, udpout:HOST:PORT, serial:/dev/ttyACM0:115200.",
    ),
    "target_system": (0, "MAVLink system id of the vehicle; 0: the first that is heard."),
    "world": ("", "World folder or SDF file; without: flat open ground around the vehicle's home."),
    "plan": ("", "Plan file (JSON) to fly, instead of the pattern's own parameters."),
    "speed": (5.0, "m/s."),
    "clearance": (5.0, "Metres kept from everything that is not ground."),
    "duration": (0.0, "Cut the plan to this many seconds; 0.0: all of it."),
    "seed": (0, "Seed of what is drawn."),
    "jitter": (False, "Vary start, direction, altitude and speed by the seed."),
    "method": ("", "auto (uploaded) or guided (setpoints); empty: auto unless the plan looks elsewhere than ahead."),
    "end": ("", "After the plan: rtl, land or hold; empty: rtl, a rover holds."),
    "record": (False, "Start the recorder at the first waypoint, and stop it at the last."),
    "recorder": ("recorder", "The recorder's node."),
    "rate": (10.0, "Setpoints for each second of the vehicle's time (guided)."),
    "link_patience": (30.0, "Wall seconds of silence after which the link is lost; not while simulation time stands."),
    "battery": (15, "Percent left at which it turns back."),
    "stuck": (60.0, "Seconds of the vehicle's time without progress at which it gives up."),
    "wait": (30.0, "Wall seconds that the vehicle's first heartbeat may take."),
    "ready": (120.0, "Seconds of the vehicle's time that it has to become ready to arm."),
    "system": (255, "Our own MAVLink system id."),
    "key": ("", "File of 32 secret bytes: sign, and take only what is signed."),
    "allow_remote": (False, "Allow addresses beyond loopback; needs a key."),
}
ALTITUDE: dict[str, tuple[Any, str]] = {
    "altitude": (30.0, "Metres over ground or home."),
    "altitude_frame": ("ground", "What the altitude is over: ground (followed) or home (level)."),
    "avoid": ("raise", "Buildings in the way: raise the altitude, bend the path (lines only), or refuse."),
}
_CENTRE = ("", "x,y in map, metres; without: the world's middle.")
OWN: dict[str, dict[str, tuple[Any, str]]] = {
    "survey": {
        "centre": _CENTRE,
        "size": (100.0, "Edge of the square, metres."),
        "spacing": (15.0, "Between neighbouring lines, metres."),
        "heading": (0.0, "Of the lines, radians, 0 = east."),
    },
    "orbit": {
        "centre": _CENTRE,
        "radius": (40.0, "Metres."),
        "turns": (1.0, "Full circles."),
        "look": ("centre", "Where it looks: centre or path."),
        "clockwise": (False, "Seen from above."),
    },
    "corridor": {
        "line": ("", "Points x,y;x,y;… in map to fly along."),
        "road": ("", "Instead: x,y near a road to follow."),
        "road_length": (300.0, "Metres of road."),
        "offset": (0.0, "Metres to the left of the line."),
    },
    "random": {
        "centre": _CENTRE,
        "size": (100.0, "Edge of the square, metres."),
        "vary": (0.25, "Share of the altitude by which places differ."),
    },
    "waypoints": {
        "stops": ("", "Points x,y,altitude;… in map."),
        "file": ("", "Instead: a mission file (.plan, .waypoints, .geojson); a rover's is driven."),
    },
    "patrol": {
        "posts": ("", "Points x,y;x,y;… in map to pass; without: four around `centre`."),
        "centre": _CENTRE,
        "size": (100.0, "Edge of the square, metres."),
        "turns": (1.0, "Rounds."),
        "closed": (True, "From the last post on to the first."),
    },
}
#: Texts that are points, and how many numbers each has; one point, or several apart by semicolons.
_POINT, _POINTS = {"centre": 2, "road": 2}, {"line": (2,), "posts": (2,), "stops": (2, 3)}
_BOUNDS: dict[str, tuple[float, float]] = {
    "target_system": (0, 255),
    "system": (1, 255),
    "seed": (0, 2**63 - 1),
    "duration": (0.0, 36_000.0),
    "rate": (0.5, 50.0),
    "link_patience": (1.0, 86_400.0),
    "battery": (0, 99),
    "stuck": (1.0, 86_400.0),
    "wait": (1.0, 86_400.0),
    "ready": (1.0, 86_400.0),
}
_CHOICES = {"method": ("", *METHODS), "end": ("", *ENDS), "look": ("centre", "path")}


@dataclass(frozen=True)
class Parameters:
    """What a mission node was asked. `asked` is for the pattern, as `asked.plan_of` takes it."""

    pattern: str
    vehicle: str
    connect: str
    target_system: int | None
    world: Path | None
    plan: Path | None
    asked: dict[str, Any]
    file: Path | None
    method: str | None
    end: str | None
    recorder: str | None
    rate: float
    limits: Limits
    wait: float
    ready: float
    us: Us


def declared(pattern: str) -> dict[str, tuple[Any, str]]:
    """All parameters of a pattern's node."""
    drone = PATTERNS[pattern][1] == "drone"
    table = {**COMMON, **OWN[pattern], **(ALTITUDE if drone else {})}
    return table if drone else {**table, "vehicle": ("rover_1", COMMON["vehicle"][1])}


def read_parameters(node: Node, pattern: str) -> Parameters:
    """Declare and check all parameters. Raises InputError, naming the parameter and what it may be."""
    table = declared(pattern)
    v = {
        k: declare(node, k, default, text, _BOUNDS.get(k), _CHOICES.get(k, ())) for k, (default, text) in table.items()
    }
    refuse_unknown(node, list(table), ())
    if len(names("vehicle", [v["vehicle"]])) != 1:
        raise InputError("parameter vehicle: give a name, e.g. drone_1")
    file = v.get("file", "")
    if pattern == "waypoints" and not v["plan"] and bool(file) == bool(v["stops"]):
        raise InputError("parameter stops: give stops, or a file, or a plan")
    own = [
        k
        for k in table
        if (k != "file" and k in OWN[pattern]) or k in ALTITUDE or k in ("speed", "clearance", "seed", "jitter")
    ]
    if v["plan"] and (given := [k for k in (*own, "duration") if k in node._parameter_overrides]):
        raise InputError(f"parameter {given[0]}: the plan file says all of that; give one of them")
    if v["allow_remote"] and not v["key"]:
        raise InputError("parameter allow_remote: needs a key, so that only messages signed with it count")
    asked = {k: value for k in own if (value := _value(k, v[k])) is not None}
    asked |= {"vehicle": v["vehicle"]} | ({"duration": v["duration"]} if v["duration"] else {})
    return Parameters(
        pattern=pattern,
        vehicle=v["vehicle"],
        connect=v["connect"],
        target_system=v["target_system"] or None,
        world=Path(v["world"]) if v["world"] else None,
        plan=Path(v["plan"]) if v["plan"] else None,
        asked=asked,
        file=Path(file) if file else None,
        method=v["method"] or None,
        end=v["end"] or None,
        recorder=v["recorder"] if v["record"] else None,
        rate=v["rate"],
        limits=Limits(v["link_patience"], v["battery"], v["stuck"]),
        wait=v["wait"],
        ready=v["ready"],
        us=Us(v["system"], key=Path(v["key"]) if v["key"] else None, allow_remote=v["allow_remote"]),
    )


def _value(name: str, value: Any) -> Any:
    """As the pattern takes it; None for what was not given."""
    if name in _POINT:
        return _numbers(name, value, (_POINT[name],)) if value else None
    if name in _POINTS:
        return [_numbers(name, p, _POINTS[name]) for p in value.split(";") if p.strip()] if value else None
    return value


def _numbers(name: str, text: str, counts: tuple[int, ...]) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in counts or not all(abs(v) < 1e7 for v in values):
        wanted = " or ".join(map(str, counts))
        raise InputError(f"parameter {name}: {text!r} is not {wanted} numbers apart by commas")
    return values

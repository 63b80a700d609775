"""Moving objects as markers (visualization_msgs/MarkerArray), and back: the one account of what `topics.actors`
carries, for the engine's node, the recorder and bags.

An array begins with a marker that clears the last one; its header's stamp is the array's. Then each object has two, in
map: a box (its pose and size; `ns` its class, `text` its id) and, under the same `id` in `ns` VELOCITY, an arrow from
its middle as long as it goes in one second. rviz and Foxglove show both; nothing is lost on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.labels import COLOURS, NAMES

TYPE = "visualization_msgs/msg/MarkerArray"
FRAME = "map"
ARROW, BOX = 0, 1
ADD, CLEAR = 0, 3
VELOCITY = "velocity"
#: Thickness of an arrow's shaft and head, and its head's length, metres.
_ARROW_SIZE = (0.15, 0.35, 0.4)
_NOWHERE, _UPRIGHT = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)

Three = tuple[float, float, float]
Four = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Marker:
    """The fields of visualization_msgs/Marker that are used; `colour` is red, green, blue, alpha, 0 to 1."""

    ns: str
    id: int
    type: int = BOX
    action: int = ADD
    position: Three = _NOWHERE
    orientation: Four = _UPRIGHT
    scale: Three = _NOWHERE
    colour: Four = (0.0, 0.0, 0.0, 0.0)
    points: tuple[Three, ...] = ()
    text: str = ""


def actor_markers(actors: Sequence[dict[str, Any]]) -> list[Marker]:
    """Markers of a frame's actors (`SensorFrame.actors`: id, class, position, orientation, size, velocity in map)."""
    markers = [Marker("", 0, action=CLEAR)]
    for number, actor in enumerate(actors):
        kind = int(actor["class"])
        red, green, blue = (float(c) / 255.0 for c in COLOURS[kind])
        x, y, z, w = (float(v) for v in actor["orientation"])
        box = Marker(
            NAMES[kind], number, BOX, ADD, _three(actor["position"]), (x, y, z, w), _three(actor["size"]),
            (red, green, blue, 0.6), (), str(actor["id"]),
        )  # fmt: skip
        way = Marker(
            VELOCITY, number, ARROW, ADD, box.position, _UPRIGHT, _ARROW_SIZE,
            (red, green, blue, 1.0), (_NOWHERE, _three(actor["velocity"])),
        )  # fmt: skip
        markers += [box, way]
    return markers


def marked_actors(markers: Iterable[Marker]) -> list[dict[str, Any]]:
    """The actors that `actor_markers` made these of. An id of digits alone is a number again. Raises InputError for
    markers that are none of these."""
    boxes: dict[int, Marker] = {}
    velocities: dict[int, Three] = {}
    for marker in markers:
        if marker.action == CLEAR:
            continue
        if marker.type == BOX and marker.action == ADD and marker.ns in NAMES and marker.id not in boxes:
            boxes[marker.id] = marker
        elif marker.type == ARROW and marker.ns == VELOCITY and len(marker.points) == 2:
            (x, y, z), (u, v, w) = marker.points
            velocities[marker.id] = u - x, v - y, w - z
        else:
            raise InputError(f"marker {marker.ns!r} {marker.id} of type {marker.type} is no actor's box or velocity")
    if boxes.keys() != velocities.keys():
        odd = min(boxes.keys() ^ velocities.keys())
        raise InputError(f"marker {odd} has {'no velocity' if odd in boxes else 'no box'}")
    return [_actor(box, velocities[number]) for number, box in boxes.items()]


def _actor(box: Marker, velocity: Three) -> dict[str, Any]:
    numbers = (*box.position, *box.orientation, *box.scale, *velocity)
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"marker {box.ns!r} {box.id} has numbers that are not finite")
    return {
        "id": int(box.text) if box.text.isdecimal() else box.text,
        "class": NAMES.index(box.ns),
        "position": list(box.position),
        "orientation": list(box.orientation),
        "size": list(box.scale),
        "velocity": list(velocity),
    }


def _three(values: Any) -> Three:
    x, y, z = (float(v) for v in values)
    return x, y, z

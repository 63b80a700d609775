"""Moving objects as markers: nothing is lost on the way and back, and what is no such marker is refused."""

from __future__ import annotations

import dataclasses
import math

import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.labels import BUS, CAR, NAMES, PEDESTRIAN
from aerialworld_core.markers import ADD, ARROW, BOX, CLEAR, VELOCITY, Marker, actor_markers, marked_actors

ACTORS = [
    {
        "id": "car_1", "class": CAR, "position": [1.1, -2.3, 0.73],
        "orientation": [0.0, 0.0, math.sin(0.2), math.cos(0.2)],
        "size": [4.5, 1.72, 1.46], "velocity": [0.1 + 0.2, -7.3, 1e-9],
    },
    {
        "id": 17, "class": PEDESTRIAN, "position": [1e5, 2e5, 3.0], "orientation": [0.0, 0.0, 0.0, 1.0],
        "size": [0.42, 0.52, 1.7], "velocity": [0.0, 0.0, 0.0],
    },
]  # fmt: skip


def test_actors_come_back_to_the_bit() -> None:
    assert marked_actors(actor_markers(ACTORS)) == ACTORS
    assert marked_actors(actor_markers([])) == []


def test_an_array_clears_the_last_and_shows_boxes_and_ways() -> None:
    clear, box, way, *rest = actor_markers(ACTORS)
    assert clear.action == CLEAR and len(rest) == 2
    assert (box.ns, box.type, box.action, box.text) == (NAMES[CAR], BOX, ADD, "car_1")
    assert (way.ns, way.type, way.id) == (VELOCITY, ARROW, box.id)
    # The arrow begins in the box's middle and is as long as the car goes in one second.
    assert way.position == box.position and way.points == ((0.0, 0.0, 0.0), tuple(ACTORS[0]["velocity"]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m[:2], "no velocity"),
        (lambda m: [m[0], m[2]], "no box"),
        (lambda m: [*m, dataclasses.replace(m[1], ns="ufo")], "no actor's box"),
        (lambda m: [*m, m[1]], "no actor's box"),
        (lambda m: [m[0], dataclasses.replace(m[1], position=(math.nan, 0.0, 0.0)), m[2]], "not finite"),
        (lambda m: [m[0], m[1], dataclasses.replace(m[2], points=((0.0, 0.0, 0.0),))], "no actor's box"),
        (lambda m: [Marker(NAMES[BUS], 1, type=3)], "of type 3"),
    ],
)
def test_other_markers_are_refused(change, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        marked_actors(change(actor_markers(ACTORS[:1])))

"""A radio that loses, doubles, delays, reorders and damages frames, and falls silent for seconds: missions that come
through whole or not at all, and no command that acts twice. In made-up time, each seed the same run."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from aerialworld_missions.flying.items import Item
from aerialworld_missions.flying.options import FlightOptions
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.upload import upload
from aerialworld_missions.flying.vehicle import Vehicle

sys.path.insert(0, str(Path(__file__).parent))
import flying_air as air_
import flying_rig as rig

LOSSES = (0.0, 0.01, 0.05, 0.10, 0.20, 0.30)
LAT, LON = round(rig.HOME.latitude * 1e7), round(rig.HOME.longitude * 1e7)
#: Wall seconds within which an upload is done or refused.
DEADLINE = 120.0


def items(count: int, step: int) -> list[Item]:
    return [Item(16, 6 if k else 0, x=LAT + step * k, y=LON + 500 * k, z=10.0) for k in range(count)]


def stored(bench: air_.Bench) -> list[tuple[int, int]]:
    return [(i.x, i.y) for i in bench.autopilot.missions.items]


def uploaded(loss: float, seed: int) -> bool:
    """An upload over one that is there; whether it came through. Whatever is stored then is the new mission, the old
    one or none, never something of both."""
    bench = air_.Bench("rover")
    bench.run(2.5)
    old, new = items(9, 700), items(12, 1000)
    with air_.made_up_time(calm := air_.Air([bench])):
        upload(Vehicle(calm.station, "rover", 1), old)
    air = air_.Air([bench], replace(air_.BAD, loss=loss), seed)
    with air_.made_up_time(air):
        vehicle = Vehicle(air.station, "rover", 1)
        vehicle.connect(60.0)
        begin, came = air.now, True
        try:
            upload(vehicle, new)
        except MissionEnded as ended:
            assert ended.outcome is Outcome.REFUSED, ended
            came = False
        assert air.now - begin < DEADLINE
    whole = [[(i.x, i.y) for i in mission[1:]] for mission in (new, old)]
    assert stored(bench) == whole[0] if came else stored(bench) in (*whole, []), (loss, seed)
    return came


def uploads(seeds: int) -> None:
    came = {loss: sum(uploaded(loss, seed) for seed in range(seeds)) / seeds for loss in LOSSES}
    print(came)
    assert all(share == 1.0 for loss, share in came.items() if loss <= 0.10)
    assert came[0.20] >= 0.99 and came[0.30] >= 0.95


def test_a_mission_comes_through_whole_or_not_at_all() -> None:
    uploads(3)


@pytest.mark.long
def test_two_hundred_missions_come_through_whole() -> None:
    uploads(34)


@pytest.mark.soak
def test_two_thousand_missions_come_through_whole() -> None:
    uploads(int(os.environ.get("AERIALWORLD_SOAK_UPLOADS", "334")))


PLAN = rig.line_plan([(0.0, 5.0, 12.0), (0.0, 30.0, 12.0), (25.0, 30.0, 12.0)])
DRIVE = rig.line_plan([(0.0, 3.0, 0.0), (0.0, 18.0, 0.0), (12.0, 18.0, 0.0)], vehicle="rover_1", speed=3.0)


def flown(kind: str, method: str, loss: float, seed: int) -> Outcome:
    """A mission through a bad radio. Each command acts once: it arms once, enters each mode of the mission once, and
    the mission never begins anew."""
    bench = air_.Bench(kind).ready()
    air = air_.Air([bench], replace(air_.BAD, loss=loss), seed)
    modes, armed, legs, step = [], [], [], air.step

    def watched() -> bool:
        came, pilot = step(), bench.autopilot
        at = pilot.runner.current if pilot.armed else None  # disarmed, it goes back to the first by itself
        for history, value in ((modes, pilot.mode.name), (armed, pilot.armed), (legs, at)):
            if value is not None and (not history or history[-1] != value):
                history.append(value)
        return came

    air.step = watched  # type: ignore[method-assign]
    plan = PLAN if kind == "drone" else DRIVE
    options = FlightOptions(method=method, georeference=rig.HOME)  # type: ignore[arg-type]
    result, _ = air_.fly(air, kind, plan, options, system=1)  # type: ignore[arg-type]
    if result.outcome is Outcome.COMPLETE:
        assert armed == [False, True, False] and not result.armed, (armed, seed)
        assert max(Counter(modes).values()) == 1, (modes, seed)
        assert legs == sorted(legs), (legs, seed)
    return result.outcome


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("drone", "auto"),
        pytest.param("drone", "guided", marks=pytest.mark.long),
        pytest.param("rover", "auto", marks=pytest.mark.long),
        ("rover", "guided"),
    ],
)
def test_a_fifth_of_all_frames_lost_and_each_command_acts_once(kind: str, method: str) -> None:
    assert flown(kind, method, 0.20, 1) is Outcome.COMPLETE


def flights(loss: float, seeds: int) -> None:
    ways = [(kind, method) for kind in ("drone", "rover") for method in ("auto", "guided")]
    came = Counter(flown(kind, method, loss, seed) for kind, method in ways for seed in range(seeds))
    print(loss, came)
    least = 1.0 if loss <= 0.10 else 0.99 if loss <= 0.20 else 0.9
    assert came[Outcome.COMPLETE] >= least * sum(came.values()), came


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("loss", LOSSES)
def test_missions_are_flown_through_bad_radios(loss: float) -> None:
    flights(loss, 2)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("loss", LOSSES)
def test_hundreds_of_missions_are_flown_through_bad_radios(loss: float) -> None:
    flights(loss, 84)


def test_an_answer_to_the_command_before_is_none_to_this() -> None:
    """A rover sent on from place to place by a radio that doubles and delays went nowhere when an answer to the last
    place was taken for one to the next, which had been lost."""
    assert flown("rover", "guided", 0.0, 2) is Outcome.COMPLETE

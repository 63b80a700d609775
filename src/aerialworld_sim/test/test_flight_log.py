"""Logs of runs: flown again they give the same bits; what was changed, cut or forged is noticed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.files import StorageError
from aerialworld_core.frames import Pose
from aerialworld_sim.vehicles.flight_log import LoggedVehicle, goal_of, goal_record
from aerialworld_sim.vehicles.flight_replay import replay
from aerialworld_sim.vehicles.goals import same_goal
from aerialworld_sim.vehicles.interface import (
    Brake,
    Circle,
    Contact,
    Drive,
    GoTo,
    Idle,
    Land,
    Leg,
    Off,
    TakeOff,
    Track,
    Velocity,
)
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.parameters import MultirotorParameters, Wind
from aerialworld_sim.vehicles.rover import Rover
from aerialworld_sim.vehicles.surroundings import MovingBox, Surroundings

sys.path.insert(0, str(Path(__file__).parent))
from flight_runs import MS, real


def flown(path: Path) -> LoggedVehicle:
    """A gusty flight, steps of uneven length, with a reset on the way."""
    vehicle = Multirotor(
        Pose.from_rpy(1 / 3, 2, 0, 0, 0, 0.1), parameters=MultirotorParameters(mass=2.0), wind=Wind((1.0, 0.5, 0), 1.0),
        seed=11,
    )  # fmt: skip
    with LoggedVehicle(vehicle, path) as logged:
        for goal, seconds in (
            (TakeOff(6.0), 9),
            (Leg(np.array([0.0, 2, 6]), np.array([30.0, 2, 6]), np.array([30.0, 20, 6]), 7.0, 2.0), 6),
            (Circle(np.array([30.0, 10, 6]), 8.0, 0.4), 3),
        ):
            logged.command(goal)
            for k in range(seconds * 40):
                logged.command(goal)
                logged.step((13 if k % 2 else 37) * MS)
        logged.reset()
        logged.command(TakeOff(3.0))
        for _ in range(300):
            logged.step(20 * MS)
    return logged


def test_a_flight_is_flown_again_bit_for_bit(tmp_path):
    flown(tmp_path / "a.jsonl")
    found = replay(tmp_path / "a.jsonl")
    assert found.exact and found.complete and found.farthest == 0.0 and found.first == "" and not found.notes
    assert found.commands == 4 and found.states > 150 and found.seconds > 17


def test_a_drive_into_a_wall_is_driven_again(tmp_path, world):
    world.ground_plane()
    world.box([20.0, 0, 1.0], [2.0, 20.0, 2.0])
    walled = real(world, "f" * 64)

    def cars(stamp_ns: int) -> list[MovingBox]:
        return [MovingBox("car_1", Pose.from_rpy(0, 50 - 1e-9 * stamp_ns, 1), np.array([4.0, 2, 2]))]

    with LoggedVehicle(
        Rover(surroundings=Surroundings(walled, cars)), tmp_path / "r.jsonl", world=walled.sha256
    ) as logged:
        for goal in (GoTo(np.array([50.0, 0, 0]), 5.0), Drive(-0.1, 0.0), Brake()):
            logged.command(goal)
            for _ in range(400):
                logged.step(20 * MS)
            assert logged.incident.startswith("stopped") == isinstance(goal, GoTo)
    log = tmp_path / "r.jsonl"
    assert replay(log, world=walled, world_sha256="f" * 64, obstacles=cars).exact
    with pytest.raises(InputError, match="flown in a world: give it"):
        replay(log)
    with pytest.raises(InputError, match="another world"):
        replay(log, world=walled, world_sha256="0" * 64, obstacles=cars)
    with pytest.raises(InputError, match="other things moved"):
        replay(log, world=walled)


def test_a_log_says_what_happened(tmp_path):
    with LoggedVehicle(Multirotor(Pose.from_rpy(0, 0, 20), on_ground=False), tmp_path / "c.jsonl") as logged:
        logged.command(Off())
        for _ in range(200):
            logged.step(20 * MS)
        assert logged.contact is Contact.CRASHED and logged.throttle == 0.0 and not logged.arrived()
    records = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert records[-2]["contact"] == "CRASHED" and records[-2]["incident"].startswith("hit the ground")
    assert records[-1] == {"t": 4_000 * MS, "end": True, "states": 41} and replay(tmp_path / "c.jsonl").exact


def test_a_changed_command_or_state_is_found(tmp_path):
    flown(tmp_path / "a.jsonl")
    lines = (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)
    where = next(i for i, line in enumerate(lines) if '"Leg"' in line)
    record = json.loads(lines[where])
    record["goal"]["end"][1] += 1e-9
    (tmp_path / "b.jsonl").write_text("".join([*lines[:where], json.dumps(record) + "\n", *lines[where + 1 :]]))
    found = replay(tmp_path / "b.jsonl")
    assert not found.exact and 0 < found.farthest < 1e-6 and "b.jsonl: line" in found.first
    k = next(i for i in range(5, len(lines)) if '"state"' in lines[i])
    record = json.loads(lines[k])
    record["state"][0] = np.nextafter(record["state"][0], np.inf)
    (tmp_path / "c.jsonl").write_text("".join([*lines[:k], json.dumps(record) + "\n", *lines[k + 1 :]]))
    assert replay(tmp_path / "c.jsonl").differing == 1


def test_a_log_that_was_cut_is_good_up_to_its_last_whole_line(tmp_path):
    flown(tmp_path / "a.jsonl")
    data = (tmp_path / "a.jsonl").read_bytes()
    for cut in (len(data) // 2, len(data) - 3, len(data) - 60):
        (tmp_path / "b.jsonl").write_bytes(data[:cut])
        found = replay(tmp_path / "b.jsonl")
        assert found.exact and not found.complete and "cut short" in found.notes[0]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (0, "{}"),
        (0, '{"format": "aerialworld flight log", "version": 9}'),
        (1, "not json"),
        (1, "[1]"),
        (1, '{"t": -1, "goal": null}'),
        (1, '{"t": 1e3, "end": true}'),
        (1, '{"t": 5000000000000000000, "end": true}'),
        (1, '{"t": 0, "goal": {"kind": "Fly"}}'),
        (1, '{"t": 0, "goal": {"kind": "TakeOff"}}'),
        (1, '{"t": 0, "goal": {"kind": "TakeOff", "altitude": "high"}}'),
        (1, '{"t": 0, "goal": {"kind": "TakeOff", "altitude": 1, "more": 2}}'),
        (1, '{"t": 0, "goal": {"kind": "GoTo", "position": [1, 2], "speed": 3}}'),
        (1, '{"t": 0, "goal": {"kind": "TakeOff", "altitude": NaN}}'),
        (1, '{"t": 0, "state": [1, 2]}'),
        (1, '{"t": 0, "what": 1}'),
        (1, '{"t": 0, "end": true, "states": 0}'),
        (1, "[" * 30_000),
        (1, '"' + "x" * 70_000 + '"'),
    ],
)
def test_what_is_no_log_is_refused_by_its_line(tmp_path, line, text):
    with LoggedVehicle(Multirotor(), tmp_path / "a.jsonl") as logged:
        logged.step(100 * MS)
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    lines[line] = text
    (tmp_path / "b.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"b\.jsonl"):
        replay(tmp_path / "b.jsonl")


def test_a_header_that_makes_no_vehicle_is_refused(tmp_path):
    with LoggedVehicle(Multirotor(), tmp_path / "a.jsonl"):
        pass
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    for key, value in (("parameters", {"wings": 2}), ("start", 5), ("wind", {}), ("parameters", {"mass": -1})):
        header = json.loads(lines[0]) | {key: value}
        (tmp_path / "b.jsonl").write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
        with pytest.raises(InputError):
            replay(tmp_path / "b.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        replay(tmp_path / "nothing.jsonl")
    with pytest.raises(StorageError):
        LoggedVehicle(Multirotor(), tmp_path / "no folder" / "a.jsonl")


def test_every_goal_survives_its_record():
    p = np.array([1 / 3, -2.0, 5e-324])
    for goal in (
        Off(), Idle(), TakeOff(0.1), GoTo(p, 3.0), GoTo(p, 3.0, 0.5, 1.0, 2.0), Leg(p, p + 1, None, 2.0, 1.0),
        Leg(p, p + 1, p + 2, 2.0, 1.0, 0.3), Circle(p, 4.0, -0.1), Velocity(p), Velocity(p, yaw_rate=0.2),
        Track(p, p, 0.1), Brake(), Land(1.5, 0.5), Drive(0.5, -1.0),
    ):  # fmt: skip
        assert same_goal(goal_of(json.loads(json.dumps(goal_record(goal)))), goal)

"""`aerialworld replay` on logs of real runs: the same, changed, cut, in a world, and none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from aerialworld.cli import app
from aerialworld_core.frames import Pose
from aerialworld_core.world import load_world
from aerialworld_sim.vehicles.flight_log import LoggedVehicle
from aerialworld_sim.vehicles.interface import GoTo
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.surroundings import Surroundings

WORLD = Path(__file__).parents[1] / "worlds" / "small_city"


def flown(path: Path, around: Surroundings | None = None, world: str | None = None) -> Path:
    vehicle = Multirotor(Pose.from_rpy(0, 0, 30), on_ground=False, surroundings=around)
    with LoggedVehicle(vehicle, path, world=world) as logged:
        logged.command(GoTo(np.array([10.0, 5.0, 32.0]), 4.0))
        for _ in range(100):
            logged.step(50_000_000)
    return path


def run(*words):
    return CliRunner().invoke(app, ["replay", *(str(w) for w in words)])


def test_a_run_is_flown_again(tmp_path):
    log = flown(tmp_path / "a.jsonl")
    told = run(log)
    assert told.exit_code == 0 and "all the same" in told.output
    assert json.loads(run(log, "--json").stdout)["exact"] is True


def test_a_changed_run_ends_with_code_1(tmp_path):
    log = flown(tmp_path / "a.jsonl")
    log.write_text(log.read_text().replace("[10.0, 5.0, 32.0]", "[10.0, 5.5, 32.0]"))
    told = run(log)
    assert told.exit_code == 1 and "differ, by 0" in told.output and "a.jsonl: line" in told.output


def test_no_log_is_a_bad_input(tmp_path):
    (tmp_path / "b.jsonl").write_text("{}\n")
    assert run(tmp_path / "b.jsonl").exit_code == 2 and run(tmp_path / "none.jsonl").exit_code == 2


def test_a_run_in_a_world_needs_that_world(tmp_path):
    world = load_world(WORLD)
    log = flown(tmp_path / "w.jsonl", Surroundings(world), world.sha256)
    assert run(log, "--world", WORLD).exit_code == 0
    assert run(log).exit_code == 2

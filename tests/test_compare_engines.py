"""Two engines beside each other: equal ones agree wholly, and a difference is found where it is."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from aerialworld.cli import app
from aerialworld.comparing import compare_engines, evenly, iou
from aerialworld.recording import RecordingOptions
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.resources import share
from aerialworld_core.world import load_rig, load_world
from aerialworld_sim.engine import Engine
from aerialworld_sim.motion import Static, Vehicle

GRID = VoxelGrid.from_range((-40, -40, -2, 40, 40, 80), (0.8, 0.8, 2.0))


@pytest.fixture(scope="module")
def world():
    return load_world(share("aerialworld_worlds") / "small_city")


def engine(world, higher=0.0):
    return Engine(
        world, {"d": Vehicle(load_rig("rig_small"), Static(Pose.from_rpy(0.0, 0.0, 40.0 + higher)))}, threads=1
    )


def test_iou_by_hand():
    a, b = np.zeros(10, bool), np.zeros(10, bool)
    assert iou(a, b) == 1.0
    a[:4], b[2:6] = True, True
    assert iou(a, b) == pytest.approx(2 / 6)


def test_equal_engines_agree_and_unequal_ones_do_not(world):
    rig, stamps = load_rig("rig_small"), np.array([0, 10**9])
    same = compare_engines(engine(world), engine(world), "d", stamps, rig, GRID, 0.0)
    for frame, stamp in zip(same, (0.0, 1.0), strict=True):
        assert (frame.stamp, frame.occupancy_iou, frame.depth_median) == (stamp, 1.0, 0.0)
        assert (frame.depth_agree, frame.depth_missing, frame.class_agree) == (1.0, 0.0, 1.0)
    # Seen from 4 m higher and laid at the first one's pose, the ground lies two voxels below where it is.
    (moved,) = compare_engines(engine(world), engine(world, 4.0), "d", stamps[:1], rig, GRID, 0.0)
    assert moved.occupancy_iou < 0.3 and moved.depth_median > 1.0 and moved.depth_agree < 0.3


def test_stamps_are_spread_over_the_plan():
    assert evenly(10.0, 3, 500_000_000).tolist() == [0, 5_000_000_000, 10_000_000_000]
    assert evenly(1.0, 50, 500_000_000).tolist() == [0, 500_000_000, 1_000_000_000]
    assert evenly(10.0, 1, 500_000_000).tolist() == [0]
    with pytest.raises(InputError, match="--frames"):
        evenly(10.0, 0, 500_000_000)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"engine": "unity"}, "'unity' is neither embedded nor gazebo"),
        ({"engine": "gazebo", "keep": ("depth",)}, "takes no --keep"),
        ({"engine": "gazebo", "backend": "warp"}, "takes no --backend"),
    ],
)
def test_what_only_the_embedded_engine_has_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        RecordingOptions(GRID, **given)


def test_without_gazebo_the_commands_say_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    world = str(share("aerialworld_worlds") / "small_city")
    plan = tmp_path / "plan.json"
    run = CliRunner().invoke
    planned = run(app, ["mission", "plan", world, "--pattern", "orbit", "--altitude", "30", "--out", str(plan)])
    assert planned.exit_code == 0, planned.output
    for words in (
        ["compare-engines", world, str(plan), "--rig", "rig_small"],
        ["simulate", world, str(plan), "--out", str(tmp_path / "s"), "--rig", "rig_small", "--engine", "gazebo"],
    ):
        result = run(app, words)
        assert result.exit_code == 1 and "the program gz is not found" in result.output, result.output
    assert json.loads(plan.read_text())["agent_type"] == "drone"

"""What several tests share: the shipped city, a flight over it, and its session of five frames with every sensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.plan import Plan
from aerialworld_core.resources import share


@pytest.fixture(scope="session")
def small_city() -> Path:
    return share("aerialworld_worlds") / "small_city"


@pytest.fixture(scope="session")
def turn_plan(small_city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A climbing turn of two seconds above the roofs."""
    from aerialworld_core.world import load_world

    top = float(load_world(small_city).bounds[1, 2])
    t = np.arange(6) * 0.4
    position = np.column_stack([4 * t, 3 * np.sin(t), np.full(6, top + 4.0) + 0.5 * t])
    yaw = 0.3 + 0.2 * t
    orientation = np.column_stack([np.zeros(6), np.zeros(6), np.sin(yaw / 2), np.cos(yaw / 2)])
    path = tmp_path_factory.mktemp("plan") / "turn.json"
    Plan("turn", "drone_1", "drone", "survey", "A", 3, t, position, orientation).write(path)
    return path


@pytest.fixture(scope="session")
def turn_session(small_city: Path, turn_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The turn, seen by the small rig; every image kept."""
    from typer.testing import CliRunner

    from aerialworld.cli import app

    words = [
        "simulate", small_city, turn_plan, "--out", tmp_path_factory.mktemp("turn"), "--rig", "rig_small",
        "--grid-range", "-24,-24,-2,24,24,78", "--voxel-size", "1.2,1.2,2.5", "--seed", "7",
        "--keep", "depth,semantic,instance",
    ]  # fmt: skip
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exit_code == 0, result.stdout + result.stderr
    return Path(result.stdout.strip().splitlines()[-1])

"""`session occupancy`, `merge`, `split`, `pack`, `repair`, `stats` as commands, on a recording of the engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aerialworld.cli import app
from aerialworld_core.session import Session, validate
from aerialworld_core.session.pack import packed_session

SCRIPTS = Path(__file__).parents[1] / "scripts"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def made(*words: str | Path) -> list[Session]:
    result = run(*words)
    assert result.exit_code == 0, result.stdout + result.stderr
    return [Session.open(Path(line)) for line in result.stdout.split()]


def overlap(a: Session, b: Session) -> float:
    scores = []
    for index in a.frame_indices:
        x, y = a.occupancy(index).occupancy, b.occupancy(index).occupancy
        scores.append((x & y).sum() / (x | y).sum())
    return min(scores)


@pytest.fixture(scope="module")
def original(turn_session: Path) -> Session:
    return Session.open(turn_session)


def test_stored_depth_gives_the_voxels_again(original: Session, tmp_path: Path) -> None:
    """Depth is stored to a centimetre: a voxel in fifty may differ."""
    (again,) = made("session", "occupancy", original.path, "--out", tmp_path)
    assert overlap(again, original) > 0.98
    assert again.meta.engine["occupancy"] == "depth"
    for index in original.frame_indices:
        assert again.image_bytes(index, "CAM_FRONT") == original.image_bytes(index, "CAM_FRONT")
        assert np.array_equal(again.pose_13d(index), original.pose_13d(index))
        assert np.array_equal(again.depth(index, "down"), original.depth(index, "down"))
    assert validate(again.path).errors == validate(original.path).errors


def test_another_grid_and_a_window(original: Session, tmp_path: Path) -> None:
    coarse = ("--voxel-size", "2.4,2.4,2.5", "--grid-range", "-24,-24,-2,24,24,78")
    (single,) = made("session", "occupancy", original.path, "--out", tmp_path / "a", *coarse)
    (fused,) = made("session", "occupancy", original.path, "--out", tmp_path / "b", "--occupancy-window", "3", *coarse)
    assert single.meta.grid.shape == (20, 20, 32)
    for index in original.frame_indices:
        fine, plain, more = original.occupancy(index), single.occupancy(index), fused.occupancy(index)
        pooled = fine.occupancy.reshape(20, 2, 20, 2, 32).max(axis=(1, 3))
        assert (pooled & plain.occupancy).sum() / (pooled | plain.occupancy).sum() > 0.97
        assert (more.occupancy >= plain.occupancy).all() and (more.observed >= plain.observed).all()
    assert fused.meta.engine["occupancy"] == "depth, window 3"


def test_the_script_of_the_guides_does_the_same(original: Session, tmp_path: Path) -> None:
    words = [sys.executable, SCRIPTS / "generate_occupancy_gt.py", "--input", original.path, "--output", tmp_path]
    result = subprocess.run([*map(str, words), "--from", "lidar"], capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stderr
    assert Session.open(Path(result.stdout.strip())).meta.engine["occupancy"] == "lidar"


def test_parts_come_together_again(original: Session, tmp_path: Path) -> None:
    parts = made("session", "split", original.path, "--every", "2", "--out", tmp_path / "parts")
    assert [len(p) for p in parts] == [2, 2, 1]
    (merged,) = made("session", "merge", tmp_path / "parts", "--out", tmp_path / "whole")
    assert merged.frame_indices == original.frame_indices
    assert overlap(merged, original) == 1.0
    result = run("session", "split", original.path, "--out", tmp_path / "none")
    assert result.exit_code == 2 and "--every" in result.stderr


def test_a_pack_lies_beside_its_sessions(original: Session, tmp_path: Path) -> None:
    made("session", "split", original.path, "--at", "3", "--out", tmp_path)
    result = run("session", "pack", tmp_path)
    assert result.exit_code == 0, result.stderr
    for folder in tmp_path.glob("drone_*"):
        packed, session = packed_session(folder), Session.open(folder)
        assert packed is not None
        assert np.array_equal(packed.occupancy(1).semantics, session.occupancy(1).semantics)
    assert run("session", "info", tmp_path).exit_code == 0  # a pack is no session, and does not disturb


def test_stats_and_repair_speak(original: Session, tmp_path: Path) -> None:
    result = run("session", "stats", original.path, "--json", tmp_path / "stats.json")
    assert result.exit_code == 0 and (tmp_path / "stats.json").exists() and "class voxels" in result.stdout
    result = run("session", "repair", original.path, "--dry-run")
    assert result.exit_code == 0 and result.stdout.strip().endswith("whole")

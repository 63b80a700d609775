"""The guide's command line is the campaign of one world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "plateau_to_occworld.py"


def script(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    wide = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=wide)


def test_its_options_become_a_campaign(tmp_path: Path) -> None:
    """A world folder will do as well; nothing is written when only looking."""
    world = ROOT / "worlds" / "small_city"
    words = ("--input", world, "--output", tmp_path / "out", "--frames", 50, "--sessions", 4, "--rig", "rig_small")
    result = script(*words, "--voxel-size", "2.4,2.4,5", "--seed", "9", "--workers", "1", "--dry-run")
    assert result.returncode == 0, result.stdout + result.stderr
    rows = [line for line in result.stdout.splitlines() if "_2024" in line]
    assert len(rows) == 4 and all("rig_small" in row and " 50 " in row for row in rows)
    assert "4 sessions, 200 frames" in result.stdout and not (tmp_path / "out").exists()


@pytest.mark.long
def test_city_models_go_in_and_sessions_come_out(tmp_path: Path) -> None:
    """A small city's CityGML goes in; the sessions that were asked for come out."""
    from aerialworld_city.synthetic.generate import generate_city

    city = generate_city(tmp_path / "city", 3)
    words = ("--input", city, "--output", tmp_path / "out", "--frames", 4, "--sessions", 2, "--rig", "rig_small")
    result = script(*words, "--voxel-size", "2.4,2.4,5", "--seed", "9", "--workers", "2")
    assert result.returncode == 0, result.stdout + result.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    asked = manifest["campaign"]
    assert (asked["sessions"], asked["frames"], asked["seeds"], asked["rig"]) == (2, 4, [9], "rig_small")
    assert asked["grid"]["voxel_size"] == [2.4, 2.4, 5.0]
    assert [j["frames"] for j in manifest["jobs"]] == [4, 4]
    assert (tmp_path / "out" / "worlds" / "city" / "world.sdf").is_file()
    assert sorted(p.name for p in (tmp_path / "out" / "sessions").iterdir()) == [j["name"] for j in manifest["jobs"]]
    world = tmp_path / "out" / "worlds" / "city" / "world.sdf"
    before = world.stat().st_mtime_ns
    again = script(*words, "--voxel-size", "2.4,2.4,5", "--seed", "9", "--workers", "2")
    assert again.returncode == 0 and world.stat().st_mtime_ns == before, "an unchanged source is not converted again"


@pytest.mark.parametrize(
    ("words", "says"),
    [(("--frames", "2"), "frames"), (("--sessions", "0"), "sessions"), (("--rig", "rig_none"), "rig_none")],
)
def test_bad_options_are_refused(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    result = script("--input", ROOT / "worlds" / "small_city", "--output", tmp_path / "out", *words)
    assert result.returncode == 2 and says in result.stderr
    assert "Traceback" not in result.stderr


def test_help_says_what_frames_are() -> None:
    result = script("--help")
    assert result.returncode == 0 and "Frames per session." in result.stdout

"""Rerun reads what we write: recordings of `session view`, and the MCAP of `session export`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aerialworld.cli import app
from aerialworld_core.labels import NAMES
from aerialworld_core.session import Session

pytest.importorskip("rerun", reason="rerun-sdk is not installed (aerialworld[view])")


@pytest.fixture(scope="module")
def rerun(tmp_path_factory: pytest.TempPathFactory):
    """Rerun's own command, with a home of its own and without its usage statistics."""
    environment = {**os.environ, "HOME": str(tmp_path_factory.mktemp("home"))}

    def run(*words: str | Path) -> str:
        command = [sys.executable, "-m", "rerun", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("analytics", "disable")
    return run


def test_a_recording_is_verified_and_holds_every_sensor(turn_session: Path, tmp_path: Path, rerun) -> None:
    file = tmp_path / "turn.rrd"
    result = CliRunner().invoke(app, ["session", "view", str(turn_session), "--save", str(file), "--frames", "1:4"])
    assert result.exit_code == 0, result.stderr
    assert "verified without error" in rerun("rrd", "verify", file)
    text = rerun("rrd", "print", "-vv", file)
    session = Session.open(turn_session)
    name = turn_session.name
    entities = set(re.findall(rf"/{name}[\w/]*", text))
    expected = {f"/{name}/path", f"/{name}/drone_1", f"/{name}/drone_1/lidar", f"/{name}/occupancy", f"/{name}/speed"}
    expected |= {f"/{name}/drone_1/{camera}" for camera in session.cameras}
    expected |= {f"/{name}/occupancy/{label}" for label in NAMES[:-1]}
    assert expected <= entities
    for component in ("Boxes3D", "Points3D", "EncodedImage", "Pinhole", "LineStrips3D"):
        assert component in text


def test_rerun_reads_the_exported_mcap(turn_session: Path, tmp_path: Path, rerun) -> None:
    pytest.importorskip("mcap", reason="mcap is not installed (aerialworld_recorder[bags])")
    bag, out = tmp_path / "turn.mcap", tmp_path / "turn.rrd"
    result = CliRunner().invoke(app, ["session", "export", "mcap", str(turn_session), "--out", str(bag)])
    assert result.exit_code == 0, result.stderr
    rerun("mcap", "check", bag)
    rerun("mcap", "convert", bag, "-o", out)
    text = rerun("rrd", "print", "-vv", out)
    for component in ("Points3D", "EncodedImage", "Pinhole", "Transform3D"):
        assert component in text, component


def test_a_wrong_ending_and_no_frame_are_told(turn_session: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["session", "view", str(turn_session), "--save", str(tmp_path / "a.mp4")])
    assert result.exit_code == 2 and ".rrd" in result.stderr
    words = ["session", "view", str(turn_session), "--save", str(tmp_path / "a.rrd"), "--frames", "77:"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and "77" in result.stderr


def test_without_rerun_the_pip_line_is_told(
    turn_session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    result = CliRunner().invoke(app, ["session", "view", str(turn_session), "--save", str(tmp_path / "a.rrd")])
    assert result.exit_code == 1 and "pip install 'aerialworld[view]'" in result.stderr

"""The demo from end to end on a tiny configuration: it runs, does nothing twice, repairs what is deleted, survives
Ctrl-C, and gives the same bytes for the same seed."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from aerialworld.cli import app
from aerialworld_training.runconfig import read_resolved

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # a minute of work, on machines that may be busy

TINY = (
    "--rig", "rig_small", "--duration", "5", "--config", "fast", "--seed", "5",
    "--set", "evaluation.samples=1", "--set", "stages.0.codebook.start=9",
    "--grid-range", "-38.4,-38.4,-2,38.4,38.4,148", "--voxel-size", "1.2,1.2,2.5",
)  # fmt: skip
STEPS = [
    "city", "missions", "simulate_1", "simulate_2", "simulate_3", "simulate_4", "simulate_5", "validate", "train",
    "evaluate", "report",
]  # fmt: skip


def demo(out: Path) -> str:
    result = CliRunner().invoke(app, ["demo", "--out", str(out), *TINY])
    assert result.exit_code == 0, result.stdout + result.stderr
    assert result.stdout.strip().splitlines()[-1] == str(out / "report.html")
    return result.stderr


def started(stderr: str) -> list[str]:
    """Titles of the steps that ran."""
    return re.findall(r"^▸ (.*)$", stderr, re.MULTILINE)


def content(out: Path) -> dict[str, bytes]:
    """Every file that must be equal between runs of one seed; where training's name the run's folder, without it."""
    told_apart = {"provenance.json", "timings.json", "report.html", "run.json", ".lock"}
    return {
        re.sub(r"-[0-9a-f]{8}\.v0\.", ".v0.", str(p.relative_to(out))): without_folder(p, out)
        for p in sorted(out.rglob("*"))
        if p.is_file()
        and p.name not in told_apart
        and not {"stages", "logs", "cache"}.intersection(p.relative_to(out).parts)
    }


def without_folder(path: Path, out: Path) -> bytes:
    if path.suffix == ".pth":
        data = torch.load(path, weights_only=True)
        buffer = io.BytesIO()
        torch.save({**data, "run_config": data["run_config"].replace(str(out), "OUT")}, buffer)
        return buffer.getvalue()
    return path.read_bytes().replace(str(out).encode(), b"OUT") if path.suffix == ".yaml" else path.read_bytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "run"
    assert len(started(demo(out))) == len(STEPS)
    return out


def test_every_step_leaves_its_record_and_results(finished: Path) -> None:
    records = {p.stem: json.loads(p.read_text()) for p in (finished / "stages").glob("*.json")}
    assert sorted(records) == sorted(STEPS)
    assert all(r["seconds"] > 0 and r["outputs"] for r in records.values())
    split = json.loads((finished / "split.json").read_text())
    assert [len(split[part]) for part in ("train", "val", "test")] == [3, 1, 1]
    assert sorted(p.name for p in (finished / "sessions").iterdir()) == sorted(
        n for part in split.values() for n in part
    )
    validation = json.loads((finished / "validation.json").read_text())
    for name, report in validation.items():
        assert report["figures"]["frames"] == 11, name
        assert report["figures"]["poses_inside_solids"] == 0, name
        assert report["figures"]["precision"] > 0.9, name
    evaluation = json.loads((finished / "evaluation" / "evaluation.json").read_text())
    assert {"constant", "copy", "ego_warp", "occworld"} <= set(evaluation["rows"])
    assert evaluation["sessions"] == split["test"]
    assert not [p for p in finished.rglob("*") if p.name.endswith((".partial", ".tmp"))]
    stages = [read_resolved(finished / "training" / f / "config.yaml") for f in ("1_adapt", "2_occworld")]
    assert [(s.stage, s.evaluation.samples, s.runtime.seed) for s in stages] == [("adapt", 1, 5), ("occworld", 1, 5)]
    assert evaluation["counts"]["windows_evaluated"] == 2  # of 11 frames, ten at a time
    page = (finished / "report.html").read_text()
    assert str(finished) not in page and "/root" not in page


def test_a_finished_demo_does_nothing_again(finished: Path) -> None:
    before = {
        p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file() and p.name not in ("run.json", ".lock")
    }
    assert started(demo(finished)) == []
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_a_deleted_output_is_made_again_and_only_that(finished: Path) -> None:
    victim = sorted((finished / "sessions").glob("rover_*/occupancy/*.npz"))[3]
    before = content(finished)
    victim.unlink()
    ran = started(demo(finished))
    assert [t.split(":")[0] for t in ran] == ["simulate 4/5", "report"], "equal bytes leave the later steps done"
    assert content(finished) == before


def test_simulate_resume_keeps_what_is_finished_and_refuses_other_options(finished: Path, tmp_path: Path) -> None:
    """A finished session is not touched; another seed is another session."""
    options = (*TINY[:2], *TINY[-4:])
    plan = sorted((finished / "plans").iterdir())[3]

    def simulate(*extra: str) -> Result:
        words = ["simulate", finished / "world", plan, "--out", tmp_path, "--modalities", "depth,imu", *options, *extra]
        return CliRunner().invoke(app, [str(w) for w in words])

    first = simulate("--seed", "5")
    assert first.exit_code == 0, first.stderr
    session = Path(first.stdout.strip())
    before = content(session)
    kept = simulate("--seed", "5", "--resume")
    assert (kept.exit_code, "finished before, kept" in kept.stderr) == (0, True), kept.stderr
    refused = simulate("--seed", "6", "--resume")
    assert (refused.exit_code, "another seed" in refused.stderr) == (2, True), refused.stderr
    assert content(session) == before


def interrupted_when(out: Path, reached: Callable[[], bool]) -> str:
    """Start the demo, send Ctrl-C as soon as `reached`, and return what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "aerialworld", "demo", "--out", str(out), *TINY], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 200
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline, "the demo never came there"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "go on with the same command" in stderr and "Traceback" not in stderr
    return stderr


def test_ctrl_c_while_simulating_keeps_frames_and_resumes_to_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def frames(step: str) -> list[Path]:
        return list(out.glob(f".{step}.partial/*/occupancy/*.npz"))

    interrupted_when(out, lambda: len(frames("simulate_1")) >= 3)
    assert not (out / "sessions").exists(), "an unfinished session has no final name"
    assert not (out / "stages" / "simulate_1.json").exists()
    assert 3 <= len(frames("simulate_1")) < 11
    ran = started(interrupted_when(out, lambda: len(frames("simulate_2")) >= 1))
    assert ran[0].startswith("simulate 1/5"), "city and missions were done before"
    assert json.loads((out / "stages" / "simulate_1.json").read_text())["resumed"]
    session = sorted((out / "sessions").iterdir())
    assert len(session) == 1
    assert content(session[0]) == content(finished / "sessions" / session[0].name)


@pytest.mark.long
def test_two_demos_with_one_seed_are_equal_byte_for_byte(finished: Path, tmp_path: Path) -> None:
    demo(tmp_path / "run")
    mine, theirs = content(tmp_path / "run"), content(finished)
    assert sorted(mine) == sorted(theirs)
    assert [name for name in mine if mine[name] != theirs[name]] == []

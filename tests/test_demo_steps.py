"""The demo's book-keeping: what makes a step run again, what an interruption leaves, who may work in a folder."""

from __future__ import annotations

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aerialworld.cli import app
from aerialworld.demo import fingerprint
from aerialworld.demo.steps import RunFolder, Work, clear, locked
from aerialworld.judging import content_errors
from aerialworld_core.errors import InputError


class Counted:
    """A step that writes its text to a file and counts how often it ran."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text, self.runs = name, text, 0
        self.resumed: list[bool] = []

    def __call__(self, work: Work) -> None:
        self.runs += 1
        self.resumed.append(work.resumed)
        (work.partial / "made").write_text(self.text)
        work.publish(work.partial / "made", self.name)


def test_a_finished_step_runs_again_only_when_something_changed(tmp_path: Path) -> None:
    folder, step = RunFolder(tmp_path), Counted("a.txt", "one")
    folder.run("a", {"seed": 1}, step, "a")
    folder.run("a", {"seed": 1}, step, "a")
    assert step.runs == 1, "same inputs, same output: nothing to do"
    folder.run("a", {"seed": 2}, step, "a")
    assert step.runs == 2, "another input"
    (tmp_path / "a.txt").write_text("touched by someone")
    folder.run("a", {"seed": 2}, step, "a")
    assert (step.runs, (tmp_path / "a.txt").read_text()) == (3, "one"), "a changed output is made again"
    (tmp_path / "a.txt").unlink()
    folder.run("a", {"seed": 2}, step, "a")
    assert step.runs == 4, "a deleted output is made again"
    (tmp_path / "stages" / "a.json").write_text('{"inputs_sha')
    folder.run("a", {"seed": 2}, step, "a")
    assert step.runs == 5, "a damaged record is no record"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "stages"]


def test_an_interrupted_step_leaves_no_final_name_and_goes_on_with_the_same_inputs(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    def interrupted(work: Work) -> None:
        (work.partial / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.run("a", {"seed": 1}, interrupted, "a")
    assert folder.record("a") is None
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["stages"]

    def goes_on(work: Work) -> None:
        assert work.resumed and (work.partial / "half").read_text() == "half"
        work.publish(work.partial / "half", "whole.txt")

    folder.run("a", {"seed": 1}, goes_on, "a")
    assert (tmp_path / "whole.txt").read_text() == "half"
    with pytest.raises(KeyboardInterrupt):
        folder.run("a", {"seed": 2}, interrupted, "a")
    other = Counted("whole.txt", "new")
    folder.run("a", {"seed": 3}, other, "a")
    assert other.resumed == [False], "what other inputs left is thrown away"


def test_a_folder_replaces_its_predecessor_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for names in (["old", "both"], ["new", "both"]):

        def fill(work: Work, names: list[str] = names) -> None:
            made = work.partial / "made"
            made.mkdir()
            for name in names:
                (made / name).write_text(name)
            work.publish(made, "result")

        folder.run("a", {"names": names}, fill, "a")
        assert sorted(p.name for p in (tmp_path / "result").iterdir()) == sorted(names)


def test_fingerprints_follow_content_names_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x.bin").write_bytes(b"\x00\x01")
        (tmp_path / name / "provenance.json").write_text(name)
        (tmp_path / name / "logs").mkdir()
        (tmp_path / name / "logs" / "events").write_text(name)
    assert fingerprint.of_tree(tmp_path / "a") == fingerprint.of_tree(tmp_path / "b")
    os.utime(tmp_path / "b" / "sub" / "x.bin", (0, 0))
    assert fingerprint.of_tree(tmp_path / "a") == fingerprint.of_tree(tmp_path / "b")
    (tmp_path / "b" / "sub" / "x.bin").write_bytes(b"\x00\x02")
    assert fingerprint.of_tree(tmp_path / "a") != fingerprint.of_tree(tmp_path / "b")
    (tmp_path / "b" / "sub" / "x.bin").write_bytes(b"\x00\x01")
    (tmp_path / "b" / "sub" / "x.bin").rename(tmp_path / "b" / "sub" / "y.bin")
    assert fingerprint.of_tree(tmp_path / "a") != fingerprint.of_tree(tmp_path / "b")
    with pytest.raises(FileNotFoundError):
        fingerprint.of_tree(tmp_path / "c")


def test_two_demos_in_one_folder_are_refused_at_once(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert str(os.getpid()) in result.stderr and "another demo" in result.stderr
    with locked(tmp_path / "run"):
        pass  # free again


def test_fresh_removes_a_demo_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "sessions" / "drone_20240115_120000").mkdir(parents=True)
    (tmp_path / "report.html").write_text("old")
    (tmp_path / ".train.partial").mkdir()
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "sessions").mkdir()
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        clear(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sessions", "thesis.tex"]
    (tmp_path / "thesis.tex").unlink()
    (tmp_path / "sessions" / "drone_20250401_093000").mkdir()
    with pytest.raises(InputError, match="drone_20250401_093000"):
        clear(tmp_path)
    assert (tmp_path / "sessions" / "drone_20250401_093000").exists()


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
@pytest.mark.parametrize("run_json", [None, "{}", '{"command": "x"}', "not json"])
def test_a_folder_that_is_no_demo_s_is_never_worked_in(
    tmp_path: Path, run_json: str | None, fresh: tuple[str, ...]
) -> None:
    """`world` and `training` in a folder of one's own bear names that the demo would replace."""
    for name in ("world", "training"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("years of work")
    if run_json is not None:
        (tmp_path / "run.json").write_text(run_json)
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path), *fresh])
    assert result.exit_code == 2
    assert "is no demo's folder" in " ".join(result.stderr.split())
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "world" / "mine.txt"), *fresh])
    assert (result.exit_code, "is a file" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "damage", ["", "[]", '{"a": NaN}', '{"outputs": 3}', '{"outputs": {}}', "\x00\xff", "[" * 200_000]
)
def test_a_damaged_record_means_the_step_runs_again(tmp_path: Path, damage: str) -> None:
    folder = RunFolder(tmp_path)
    folder.record_path("a").parent.mkdir()
    folder.record_path("a").write_text(damage)
    assert folder.record("a") is None
    assert not folder.is_done("a", {})


def test_too_little_disk_is_refused_before_anything_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aerialworld.recording import DiskSpaceError, require_space

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 9 * 10**8, 10**8))
    require_space(tmp_path / "not" / "yet", 90_000_000, "recording")
    with pytest.raises(DiskSpaceError, match=r"0\.1 GB are free") as caught:
        require_space(tmp_path / "not" / "yet", 96_000_000, "recording")
    assert caught.value.exit_code == 28
    assert list(tmp_path.iterdir()) == []


def test_the_disk_estimate_covers_what_a_frame_takes() -> None:
    """The full rig's frames take 2 to 6 MB on real cities; an estimate far off would refuse or fill a disk."""
    from aerialworld.recording import frame_bytes
    from aerialworld_core.grid import DEFAULT_GRID
    from aerialworld_core.world import load_rig

    assert 3e6 < frame_bytes(load_rig("rig_drone"), DEFAULT_GRID) < 8e6


def test_low_recall_is_told_but_stops_no_demo() -> None:
    report = {"errors": ["recall of the surface is 0.7 over 2 frames (lowest 0.6)", "no frame has an occupied voxel"]}
    assert content_errors(report) == ["no frame has an occupied voxel"]
    assert content_errors({"errors": ["precision of the surface is 0.8"]}) == []


def test_missions_keep_the_grids_of_two_places_apart() -> None:
    """Corners of both grids, turned to face each other, must not meet; a drone at the ceiling is inside its grid."""
    from aerialworld.demo.pipeline import mission_limits
    from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
    from aerialworld_missions import plan_demo

    assert mission_limits(DEFAULT_GRID) == {"separation": 115.0, "ceiling": 149.0}
    defaults = plan_demo.__kwdefaults__
    assert mission_limits(DEFAULT_GRID) == {k: defaults[k] for k in ("separation", "ceiling")}
    for bounds in ((-80, -80, -2, 80, 80, 60), (-10, -30, -2, 50, 20, 41)):
        grid = VoxelGrid.from_range(bounds, (0.5, 0.5, 1.25))
        limits = mission_limits(grid)
        corner = max((x * x + y * y) ** 0.5 for x in grid.range[0::3] for y in grid.range[1::3])
        assert 2 * corner < limits["separation"] <= 2 * corner + 2
        assert grid.minimum[2] < limits["ceiling"] <= grid.maximum[2]


def test_split_is_by_place() -> None:
    import numpy as np

    from aerialworld.demo.pipeline import split_by_place
    from aerialworld_core.plan import Plan

    def plan(agent: str, place: str) -> Plan:
        t = np.arange(4.0)
        return Plan("p", f"{agent}_1", agent, "x", place, 0, t, np.zeros((4, 3)), np.tile([0.0, 0, 0, 1], (4, 1)))

    runs = [("drone", "A"), ("drone", "B"), ("drone", "A"), ("rover", "A"), ("rover", "B")]
    split = split_by_place([plan(*run) for run in runs])
    assert split == {
        "train": ["drone_20240115_120000", "drone_20240115_122000", "rover_20240115_123000"],
        "val": ["rover_20240115_124000"],
        "test": ["drone_20240115_121000"],
    }
    json.dumps(split)

"""A campaign from end to end: the same bytes from any number of workers and after any interruption, no voxel shared
between splits, and an honest end."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parent))
from campaign_tasks import gone

from aerialworld.cli import app
from aerialworld_core.files import canonical_json
from aerialworld_core.session import Session

ROOT = Path(__file__).resolve().parents[1]
WORLD = ROOT / "worlds" / "small_city"
pytestmark = pytest.mark.timeout(900)  # half a minute of work, on machines that may be busy

#: Five sessions of five frames: enough for every mission, and for train and test.
TINY = {
    "worlds": [str(WORLD)],
    "sessions": 5,
    "frames": 5,
    "rig": "rig_small",
    "grid": {"range": [-38.4, -38.4, -2, 38.4, 38.4, 118], "voxel_size": [2.4, 2.4, 5.0]},
    "split": {"train": 0.6, "val": 0.0, "test": 0.4},
    "validate": False,
}
#: What may differ between two makings of one data set.
TOLD_APART = {"provenance.json", "campaign.json"}


def write(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump({**TINY, **changes}))
    return path


def generate(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["generate", *map(str, words)])


def made(*words: str | Path) -> str:
    result = generate(*words)
    assert result.exit_code == 0, result.stdout + result.stderr + repr(result.exception)
    return result.stdout


def content(out: Path) -> dict[str, bytes]:
    """Every file that must be equal between equal campaigns."""
    return {
        str(p.relative_to(out)): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file() and p.name not in TOLD_APART and ".campaign" not in p.parts
    }


def told(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("campaign") / "tiny.yaml")


@pytest.fixture(scope="module")
def whole(campaign: Path) -> Path:
    """The data set, made without interruption by two workers."""
    out = campaign.parent / "whole"
    made(campaign, "--out", out, "--workers", "2")
    return out


@pytest.fixture
def planned(whole: Path, tmp_path: Path) -> Path:
    """A folder in which all is planned and nothing recorded."""
    out = tmp_path / "out"
    shutil.copytree(whole / "plans", out / "plans")
    shutil.copy(whole / "manifest.json", out)
    return out


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_data_set_is_what_was_asked_for(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    split = json.loads((whole / "split.json").read_text())
    names = [j["name"] for j in manifest["jobs"]]
    assert len(names) == 5 == len(set(names))
    assert sorted(p.name for p in (whole / "sessions").iterdir()) == sorted(names)
    assert {s: sorted(v) for s, v in split.items()} == {
        s: sorted(j["name"] for j in manifest["jobs"] if j["split"] == s) for s in ("train", "val", "test")
    }
    assert len(split["train"]) == 3 and len(split["test"]) == 2
    for job in manifest["jobs"]:
        session = Session.open(whole / "sessions" / job["name"])
        assert (session.meta.frames, session.frame_indices) == (5, list(range(5)))
        assert (session.meta.seed, session.meta.start_time) == (job["seed"], job["start_time"])
        assert session.meta.world["sha256"] == job["world_sha256"] == manifest["worlds"][0]["sha256"]
        assert not any(session.damage(i) for i in session.frame_indices)
        low, high = job["drawn"]["speed"], job["drawn"]["speed"]
        assert low == high and session.mission["place"] == job["place"]
    assert len({j["seed"] for j in manifest["jobs"]}) == 5
    assert {j["mission"] for j in manifest["jobs"]} == {"survey", "orbit", "road"}
    text = (whole / "manifest.json").read_text() + (whole / "README.md").read_text()
    assert str(ROOT) not in text and str(whole.parent) not in text
    assert not re.search(rf"\b{re.escape(os.uname().nodename)}\b", text)  # as a word: hosts may be called "vm"


def test_no_voxel_of_a_test_session_lies_where_a_train_session_swept(whole: Path) -> None:
    """By the true poses, not the plan: each swept area is the path's box grown by the grid's half diagonal."""
    split = json.loads((whole / "split.json").read_text())
    swept: dict[str, list[np.ndarray]] = {}
    for name in ("train", "test"):
        for session_name in split[name]:
            session = Session.open(whole / "sessions" / session_name)
            xy = np.array([session.pose(i).pose.position[:2] for i in session.frame_indices])
            x0, y0, _, x1, y1, _ = session.meta.grid.range
            half = np.hypot(max(-x0, x1), max(-y0, y1))
            swept.setdefault(name, []).append(np.array([xy.min(axis=0) - half, xy.max(axis=0) + half]))
    assert all(
        (test[0] > train[1]).any() or (test[1] < train[0]).any() for test in swept["test"] for train in swept["train"]
    )


def test_one_worker_and_two_give_the_same_bytes_and_so_does_a_job_alone(campaign: Path, whole: Path) -> None:
    alone = campaign.parent / "alone"
    name = json.loads((whole / "manifest.json").read_text())["jobs"][3]["name"]
    made(campaign, "--out", alone, "--workers", "1", "--only", name)
    assert [p.name for p in (alone / "sessions").iterdir()] == [name]
    expected = content(whole)
    for file, data in content(alone / "sessions").items():
        assert data == expected[f"sessions/{file}"], file
    assert json.loads((alone / "campaign.json").read_text())["counts"] == {"made": 1, "failed": 0, "not made yet": 4}
    made(campaign, "--out", alone, "--workers", "1")
    assert content(alone) == expected


def test_a_finished_campaign_is_left_as_it_is(campaign: Path, copy: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (copy / "sessions").rglob("*")}
    made(campaign, "--out", copy, "--workers", "1")
    assert {p: p.stat().st_mtime_ns for p in (copy / "sessions").rglob("*")} == before
    jobs = json.loads((copy / "campaign.json").read_text())["jobs"]
    assert [(j["outcome"], j["made"]) for j in jobs] == [("made", False)] * 5


def test_what_is_missing_is_made_and_what_is_unfinished_goes_on(campaign: Path, copy: Path, whole: Path) -> None:
    names = sorted(p.name for p in (copy / "sessions").iterdir())
    shutil.rmtree(copy / "sessions" / names[0])
    unfinished = copy / "sessions" / names[1]
    for file in [*unfinished.glob("occupancy/000003*"), *unfinished.glob("occupancy/000004*")]:
        file.unlink()
    document = json.loads((unfinished / "session.json").read_text())
    document["frames"] = None
    document.pop("sha256")
    import hashlib

    document["sha256"] = hashlib.sha256(canonical_json(document)).hexdigest()
    (unfinished / "session.json").write_text(json.dumps(document))
    kept = (unfinished / "occupancy" / "000000_occupancy.npz").stat().st_mtime_ns
    made(campaign, "--out", copy, "--workers", "2")
    assert content(copy) == content(whole)
    assert (unfinished / "occupancy" / "000000_occupancy.npz").stat().st_mtime_ns == kept


def test_a_changed_campaign_is_refused_with_what_differs(copy: Path, tmp_path: Path) -> None:
    changed = write(tmp_path / "more.yaml", sessions=6)
    before = content(copy)
    result = generate(changed, "--out", copy)
    assert result.exit_code == 2
    assert "sessions: 5 → 6" in told(result) and "--replan" in told(result)
    assert content(copy) == before


@pytest.mark.long
def test_a_longer_campaign_keeps_what_the_shorter_one_made(copy: Path, tmp_path: Path) -> None:
    changed = write(tmp_path / "more.yaml", sessions=6)
    times = {p: p.stat().st_mtime_ns for p in (copy / "sessions").rglob("*")}
    made(changed, "--out", copy, "--replan", "--workers", "2")
    after = {p: p.stat().st_mtime_ns for p in (copy / "sessions").rglob("*")}
    assert all(after[p] == time_before for p, time_before in times.items() if p.is_file())
    assert len(list((copy / "sessions").iterdir())) == 6


@pytest.mark.long
def test_planning_anew_deletes_what_the_campaign_has_no_more(copy: Path, tmp_path: Path) -> None:
    (copy / "sessions" / "drone_20250401_093000").mkdir()  # not of this campaign
    shorter = write(tmp_path / "fewer.yaml", sessions=2, seeds=[7])
    made(shorter, "--out", copy, "--replan", "--workers", "2")
    manifest = json.loads((copy / "manifest.json").read_text())
    names = {j["name"] for j in manifest["jobs"]}
    assert {p.name for p in (copy / "sessions").iterdir()} == names | {"drone_20250401_093000"}
    assert {p.stem for p in (copy / "plans").iterdir()} == names
    for job in manifest["jobs"]:
        assert Session.open(copy / "sessions" / job["name"]).meta.seed == job["seed"]


def test_another_world_or_plan_is_never_mixed_in(campaign: Path, copy: Path) -> None:
    plan = next((copy / "plans").iterdir())
    plan.write_text(plan.read_text().replace('"seed"', '"seed" ', 1))
    shutil.rmtree(copy / "sessions" / plan.stem)
    result = generate(campaign, "--out", copy, "--workers", "1")
    assert result.exit_code == 1 and "is not the plan of the manifest any more" in told(result)
    assert json.loads((copy / "campaign.json").read_text())["counts"] == {"made": 4, "failed": 1, "not made yet": 0}
    split = json.loads((copy / "split.json").read_text())
    assert all(plan.stem not in names for names in split.values())


def test_a_session_of_too_few_frames_is_not_taken_for_data(campaign: Path, copy: Path, whole: Path) -> None:
    """Closed with a gap, as after a sensor that gave nothing: it goes to quarantine and is made anew."""
    name = json.loads((copy / "manifest.json").read_text())["jobs"][0]["name"]
    folder = copy / "sessions" / name
    from aerialworld_core.session import SessionWriter

    (folder / "occupancy" / "000004_occupancy.npz").unlink()
    SessionWriter.resume(folder).close()
    assert Session.open(folder).meta.frames == 4
    made(campaign, "--out", copy, "--workers", "1")
    assert (copy / "quarantine" / name).is_dir()
    shutil.rmtree(copy / "quarantine")
    assert content(copy) == content(whole)


def test_a_mission_that_cannot_be_planned_is_named_with_its_reasons(tmp_path: Path) -> None:
    file = write(
        tmp_path / "c.yaml", redraws=2,
        missions=[{"pattern": "orbit", "name": "too_low", "clearance": 50, "radius": 20}],
        grid={"range": [-38.4, -38.4, -2, 38.4, 38.4, 40], "voxel_size": [2.4, 2.4, 5.0]},
    )  # fmt: skip
    result = generate(file, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "mission too_low" in told(result) and "in 3 attempts" in told(result) and "ceiling" in told(result)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_dry_run_tells_and_writes_nothing(campaign: Path, whole: Path, tmp_path: Path) -> None:
    text = made(campaign, "--out", tmp_path / "out", "--dry-run")
    assert not (tmp_path / "out").exists()
    manifest = json.loads((whole / "manifest.json").read_text())
    for job in manifest["jobs"]:
        line = next(x for x in text.splitlines() if job["name"] in x)
        cells = [cell.strip().removesuffix("…") for cell in line.split("│")[1:-1]]  # cut where the page is narrow
        expected = (job["name"], job["world"], job["mission"], job["place"], job["split"])
        assert all(cell and full.startswith(cell) for cell, full in zip(cells, expected, strict=False)), line
    assert "5 sessions, 25 frames, about" in text


def test_too_little_room_is_refused_before_anything_is_recorded(
    campaign: Path, planned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 100_000))
    result = generate(campaign, "--out", planned, "--workers", "1")
    assert result.exit_code == 28 and "recording 5 session(s) needs about" in told(result)
    assert not (planned / "sessions").exists()
    assert "it does not fit" in made(campaign, "--out", planned, "--dry-run")


def test_two_in_one_folder_and_other_people_s_folders_are_refused(campaign: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with open(out / "in-progress.json", "w") as handle:
        handle.write(json.dumps({"pid": 4711, "host": os.uname().nodename}))
        handle.flush()
        fcntl.flock(handle, fcntl.LOCK_EX)
        result = generate(campaign, "--out", out)
    assert result.exit_code == 2 and "process 4711" in told(result) and "aerialworld generate" in told(result)
    (out / "thesis.tex").write_text("years of work")
    result = generate(campaign, "--out", out)
    assert result.exit_code == 2 and "thesis.tex" in told(result)
    result = generate(campaign, "--out", out / "thesis.tex")
    assert result.exit_code == 2 and "is a file" in told(result)


def test_a_name_that_is_not_of_the_campaign_is_refused(campaign: Path, copy: Path) -> None:
    result = generate(campaign, "--out", copy, "--only", "drone_19990101_000000")
    assert result.exit_code == 2 and "there is no session drone_19990101_000000" in told(result)


def test_the_card_s_header_is_read_and_credits_are_passed_on(whole: Path) -> None:
    text = (whole / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    data = yaml.safe_load(header)
    assert data["license"] == "other" and data["license_name"] == "generated"
    assert data["size_categories"] == ["n<1K"] and "robotics" in data["task_categories"]
    assert "Generated by AerialWorld; no real place." in body and "| train | 3 | 15 |" in body
    for job in json.loads((whole / "manifest.json").read_text())["worlds"]:
        assert job["sha256"][:16] in body
    recipe = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert recipe["sessions"] == 5 and recipe["worlds"] == [{"path": "worlds/small_city", "name": "small_city"}]


def test_plateau_data_is_cc_by_and_names_are_shown_as_they_are(whole: Path) -> None:
    from dataclasses import replace

    from aerialworld.campaign.card import card
    from aerialworld.campaign.manifest import Manifest
    from aerialworld_city.sources.credit import PLATEAU_CREDIT

    manifest = Manifest.read(whole)
    assert manifest is not None
    world = replace(manifest.worlds[0], attribution=PLATEAU_CREDIT, name="a|b *c*\n<script>")
    text = card(replace(manifest, worlds=[world]), {}, 10**9)
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "cc-by-4.0"
    assert "出典：国土交通省 Project PLATEAU" in text and "T.P." in text
    body = text.split("---\n", 2)[2]
    assert r"a\|b \*c\* \<script\>" in body
    assert "<script>" not in body.split("```yaml")[0], "shown as it is, never as markup"
    unknown = replace(manifest.worlds[0], attribution="")
    assert yaml.safe_load(card(replace(manifest, worlds=[unknown]), {}, 1).split("---\n")[1])["license"] == "other"


def _run(campaign: Path, out: Path, workers: int) -> subprocess.Popen[str]:
    words = ["generate", str(campaign), "--out", str(out), "--workers", str(workers)]
    return subprocess.Popen(
        [sys.executable, "-m", "aerialworld", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _children(pid: int) -> list[int]:
    """Processes below `pid`, the nearest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == pid:
                found += [int(entry.name), *_children(int(entry.name))]
    return found


def _wait_until(process: subprocess.Popen[str], seconds: float, out: Path, begun: bool) -> None:
    """Until `seconds` after the start, or after the first committed frame if `begun`."""
    deadline = time.monotonic() + 120
    while begun and process.poll() is None and time.monotonic() < deadline:
        if any(out.glob("sessions/*/occupancy/*.npz")):
            break
        time.sleep(0.01)
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def _interrupt_and_finish(campaign: Path, whole: Path, out: Path, kills: int, seed: int, most: float) -> None:
    """Kill the owner, or any process below it, `kills` times at random instants; then finish and compare."""
    instants = random.Random(seed)  # noqa: S311
    for number in range(kills):
        process = _run(campaign, out, instants.choice((1, 2)))
        _wait_until(process, instants.uniform(0.0, most), out, begun=number > 0 or instants.random() < 0.5)
        targets = [process.pid, *_children(process.pid)]
        victim = process.pid if instants.random() < 0.5 else instants.choice(targets)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it had just ended
        if victim != process.pid:
            text, _ = process.communicate(timeout=300)  # one death costs one try, no more
            assert process.returncode == 0, text
        else:
            process.communicate(timeout=60)
    made(campaign, "--out", out, "--workers", "2")
    assert content(out) == content(whole)


def test_killed_and_run_again_it_equals_an_uninterrupted_one(campaign: Path, whole: Path, planned: Path) -> None:
    _interrupt_and_finish(campaign, whole, planned, kills=2, seed=1, most=2.0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 22))
def test_killed_at_many_instants(campaign: Path, whole: Path, tmp_path: Path, seed: int) -> None:
    _interrupt_and_finish(campaign, whole, tmp_path / "out", kills=4, seed=seed, most=6.0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order(campaign: Path, planned: Path, number: int, code: int) -> None:
    out = planned
    process = _run(campaign, out, 2)
    _wait_until(process, 0.2, out, begun=True)
    below = _children(process.pid)
    process.send_signal(number)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == code, text
    assert "the same command goes on there" in " ".join(text.split())
    assert all(gone(pid) for pid in below)
    for folder in (out / "sessions").iterdir():
        if not folder.name.startswith("."):
            session = Session.open(folder)
            assert not any(session.damage(i) for i in session.frame_indices)
            assert not (folder / "in-progress.json").exists()
    assert not (out / "in-progress.json").exists()

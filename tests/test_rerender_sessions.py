"""Old sessions rendered again: the same bytes for the same inputs, other sensors on the same motion, refusals."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aerialworld.cli import app
from aerialworld_core.errors import SessionError
from aerialworld_core.plan import Plan
from aerialworld_core.resources import model_path
from aerialworld_core.session import Session, SessionWriter, validate
from aerialworld_core.world import load_world

sys.path.insert(0, str(Path(__file__).parent))
from session_files import content

GRID = ("--grid-range", "-24,-24,-2,24,24,78", "--voxel-size", "1.2,1.2,2.5")
KINDS = ("depth", "semantic", "instance")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def text_of(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def made(*words: str | Path) -> Path:
    result = run(*words)
    assert result.exit_code == 0, text_of(result)
    return Path(result.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def original(small_city: Path, turn_plan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames with everything kept, at half past seven."""
    out = tmp_path_factory.mktemp("original")
    return made(
        "simulate", small_city, turn_plan, "--out", out, "--rig", "rig_small", *GRID, "--seed", "7",
        "--keep", ",".join(KINDS), "--conditions", "local_time=07:30,date=2024-04-01",
    )  # fmt: skip


@pytest.fixture
def again(small_city: Path, original: Path, tmp_path: Path):
    """Render the original again with the given options."""

    def make(*options: str | Path, source: Path = original, out: str = "again") -> Result:
        return run("rerender", source, "--world", small_city, "--out", tmp_path / out, *options)

    return make


def session_of(result: Result) -> Session:
    assert result.exit_code == 0, text_of(result)
    return Session.open(Path(result.stdout.strip().splitlines()[-1]))


def test_the_same_inputs_give_the_same_bytes(original: Path, again) -> None:
    new = session_of(again("--rig", "rig_small", "--keep", ",".join(KINDS)))
    old, fresh = content(original), content(new.path)
    assert {n for n in old if old[n] != fresh.get(n)} == {"mission.json"} and set(old) == set(fresh)
    assert any(n.startswith("instance/000004_CAM_BACK") for n in old) and any(n.startswith("depth/") for n in old)
    assert validate(new.path).errors == validate(original).errors == []


def test_mission_keeps_the_plan_and_names_its_origin(original: Path, again) -> None:
    new = session_of(again("--modalities", "depth,lidar"))
    old = Session.open(original)
    mission = new.mission
    origin = mission.pop("rerendered_from")
    assert mission == old.mission and Plan.from_dict(mission).name == "turn"
    assert origin == {"session": original.name, "sha256": json.loads((original / "session.json").read_text())["sha256"]}
    further = session_of(again("--modalities", "depth", source=new.path, out="further"))
    assert further.mission["rerendered_from"]["rerendered_from"] == origin
    assert further.mission["rerendered_from"]["session"] == new.path.name


def test_another_rig_sees_from_the_same_poses(original: Path, again, tmp_path: Path) -> None:
    """A camera turned to look straight down: other pictures, of the size that was asked for; poses to the last bit."""
    text = Path(model_path("rig_small")).read_text().replace("<width>320</width>", "<width>200</width>")
    rig = tmp_path / "mine.sdf"
    rig.write_text(text)
    new, old = session_of(again("--rig", rig, "--keep", "depth")), Session.open(original)
    assert {c.width for c in new.meta.rig.cameras} == {200}
    assert new.frame_indices == old.frame_indices
    for index in old.frame_indices:
        assert (new.path / f"poses/{index:06d}.json").read_bytes() == (
            original / f"poses/{index:06d}.json"
        ).read_bytes()
        depth = new.depth(index, "CAM_FRONT")
        assert depth is not None and depth.shape == (180, 200)
        assert new.imu(index).tobytes() == old.imu(index).tobytes()
        assert (new.occupancy(index).occupancy == old.occupancy(index).occupancy).all()


def test_another_grid_time_and_seed(original: Path, again) -> None:
    new, old = (
        session_of(again("--voxel-size", "2.4,2.4,5", "--conditions", "local_time=12:00", "--seed", "8")),
        (Session.open(original)),
    )
    assert new.meta.grid.voxel_size == (2.4, 2.4, 5.0) and new.meta.grid.range[:3] == old.meta.grid.range[:3]
    assert new.meta.conditions["local_time"] == "12:00" and new.meta.conditions["date"] == "2024-01-15"
    assert new.meta.conditions["utc_offset_h"] == 9.0 and old.meta.conditions["date"] == "2024-04-01"
    assert new.meta.seed == 8
    coarse, fine = new.occupancy(2).occupancy, old.occupancy(2).occupancy
    pooled = fine[:40, :40, :32].reshape(20, 2, 20, 2, 16, 2).max(axis=(1, 3, 5))
    both, either = (coarse & pooled).sum(), (coarse | pooled).sum()
    assert both / either > 0.9  # the surfaces of one world, whichever way it is divided
    assert new.image_bytes(1, "CAM_FRONT") != old.image_bytes(1, "CAM_FRONT")
    # Another seed's IMU is simulated along the plan: the same motion under another noise.
    a, b = new.imu(3), old.imu(3)
    assert np.array_equal(a[:, 0], b[:, 0]) and not np.array_equal(a, b)
    assert np.abs(a[:, 1:4] - b[:, 1:4]).max() < 0.1 and np.abs(a[:, 4:] - b[:, 4:]).max() < 1.0


def test_an_imu_that_the_old_rig_had_not_follows_the_plan(
    small_city: Path, turn_plan: Path, tmp_path: Path, again
) -> None:
    bare = made(
        "simulate", small_city, turn_plan, "--out", tmp_path / "bare", "--rig", "rig_small", *GRID, "--seed", "7",
        "--modalities", "depth",
    )  # fmt: skip
    whole = made(
        "simulate", small_city, turn_plan, "--out", tmp_path / "whole", "--rig", "rig_small", *GRID, "--seed", "7",
        "--modalities", "depth,imu",
    )  # fmt: skip
    assert Session.open(bare).imu(2) is None
    new = session_of(again("--rig", "rig_small", "--modalities", "depth,imu", source=bare))
    old = Session.open(whole)
    assert all(new.imu(i).tobytes() == old.imu(i).tobytes() for i in old.frame_indices)
    part = session_of(
        again("--rig", "rig_small", "--modalities", "depth,imu", "--frames", "2:4", source=bare, out="part")
    )
    assert part.frame_indices == [2, 3]
    assert all(part.imu(i).tobytes() == old.imu(i).tobytes() for i in (2, 3))


def test_gaps_and_moving_objects_are_carried_over(original: Path, again, tmp_path: Path) -> None:
    """A session that dropped a frame, with a car beside it."""
    old = Session.open(original)
    ahead = old.pose(2).pose.transform([9.0, 0.0, 0.0])
    car = {
        "id": "car_1", "class": 4, "position": [float(v) for v in ahead], "orientation": [0.0, 0.0, 0.0, 1.0],
        "size": [4.0, 1.8, 1.5], "velocity": [2.0, 0.0, 0.0],
    }  # fmt: skip
    source = rewritten(old, tmp_path / "gappy", skip={1, 3}, actors=[car])
    result = again("--rig", "rig_small", source=source)
    new = session_of(result)
    assert new.frame_indices == [0, 2, 4] and "2 ticks have no frame" in text_of(result)
    assert new.actors(2) == [car]
    # It stands before the vehicle: seen in front, in the voxels of its box, and not behind.
    assert new.image_bytes(2, "CAM_FRONT") != old.image_bytes(2, "CAM_FRONT")
    assert new.image_bytes(2, "CAM_BACK") == old.image_bytes(2, "CAM_BACK")
    cars = np.argwhere(new.occupancy(2).semantics == 4)
    assert len(cars) and not (old.occupancy(2).semantics == 4).any()
    centres = new.meta.grid.centers(cars)
    assert np.abs(centres[:, :2] - [9.0, 0.0]).max() < 2.0 + max(new.meta.grid.voxel_size)


def rewritten(old: Session, out: Path, *, skip=frozenset(), actors=(), mission=None, images=True) -> Path:
    """The frames of a session written anew, some left out, with other moving objects or another mission."""
    from dataclasses import replace

    from aerialworld_core.sensing import SensorFrame, VehicleState

    meta = replace(old.meta.closed(None), kept=())
    with SessionWriter(out, meta, old.mission if mission is None else mission, {}, sync=False) as writer:
        for index in old.frame_indices:
            if index in skip:
                continue
            record = old.pose(index)
            state = VehicleState(record.stamp_ns, record.pose, record.linear_velocity, record.angular_velocity)
            frame = SensorFrame(state, float(record.ground_z), lidar=old.lidar(index), imu=old.imu(index))
            frame.actors = list(actors)
            jpegs = {c: old.image_bytes(index, c) for c in old.cameras} if images else {}
            writer.write_frame(index, frame, old.occupancy(index), jpegs)
    return writer.path


def test_a_killed_run_goes_on_and_gives_the_same_bytes(original: Path, again, tmp_path: Path, small_city: Path) -> None:
    from aerialworld.rerender import Rerendering, RerenderOptions, render_again
    from aerialworld_core.world import load_rig

    whole = session_of(again("--rig", "rig_small", "--keep", "depth", "--seed", "9"))
    options = RerenderOptions(keep=("depth",), rig=load_rig("rig_small"), seed=9)
    job = Rerendering(Session.open(original), load_world(small_city), options)

    def stop(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_again(job, tmp_path / "stopped", provenance={}, on_frame=stop)
    refused = again("--rig", "rig_small", "--keep", "depth", "--seed", "10", "--resume", out="stopped")
    assert (refused.exit_code, "another seed" in text_of(refused)) == (2, True), text_of(refused)
    resumed = session_of(again("--rig", "rig_small", "--keep", "depth", "--seed", "9", "--resume", out="stopped"))
    assert len(list((tmp_path / "stopped").iterdir())) == 1
    assert content(resumed.path) == content(whole.path)
    kept = again("--rig", "rig_small", "--keep", "depth", "--seed", "9", "--resume", out="stopped")
    assert kept.exit_code == 0 and "finished before, kept" in text_of(kept)


def test_the_renderer_is_named_and_an_unfinished_session_of_another_is_not_continued(
    original: Path, again, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aerialworld_sim import Engine

    named = Session.open(original).meta.engine
    assert named["name"] == "embedded" and re.match(r"embree 4\.\d+\.\d+", named["renderer"])
    new = session_of(again("--modalities", "depth", "--rig", "rig_small"))
    assert new.meta.engine == named
    with SessionWriter.resume(new.path):  # open again, one frame short
        pass
    (new.path / "occupancy/000004_occupancy.npz").unlink()
    reopened = SessionWriter.resume(new.path, sync=False)
    reopened.release()
    monkeypatch.setattr(Engine, "renderer", property(lambda self: "another 1.0"))
    result = again("--modalities", "depth", "--rig", "rig_small", "--resume")
    assert result.exit_code == 2 and f"was begun with {named['renderer']}" in text_of(result)


def test_a_sensor_without_data_fails_and_leaves_the_session_unclosed(
    again, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine whose LiDAR falls silent at the third frame."""
    from aerialworld_sim import Engine

    whole = Engine.render

    def silent(self, vehicle, **options):
        frame = whole(self, vehicle, **options)
        if self.stamp_ns >= 1_000_000_000:
            frame.lidar = None
        return frame

    monkeypatch.setattr(Engine, "render", silent)
    result = again("--rig", "rig_small")
    assert result.exit_code == 1
    assert "frame 2: no data from lidar" in text_of(result) and "unclosed" in text_of(result)
    (path,) = (tmp_path / "again").iterdir()
    session = Session.open(path)
    assert session.meta.frames is None and session.frame_indices == [0, 1]


def test_what_cannot_be_is_refused_before_anything_is_written(
    original: Path, small_city: Path, again, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(small_city, other)
    sdf = (other / "world.sdf").read_text()
    (other / "world.sdf").write_text(sdf.replace("<cast_shadows>true", "<cast_shadows>false"))
    result = run("rerender", original, "--world", other, "--out", tmp_path / "again")
    assert result.exit_code == 2 and "--another-world" in text_of(result)
    refusals = {
        ("--rig", "rig_nowhere"): "rig_nowhere",
        ("--rig", tmp_path / "none.sdf"): "none.sdf",
        ("--conditions", "local_tme=12:00"): "did you mean local_time?",
        ("--conditions", "local_time=12:00,weather=snow"): "snow",
        ("--conditions", tmp_path / "none.yaml"): "none.yaml",
        ("--frames", "3"): "A:B",
        ("--frames", "3:3"): "holds no frame",
        ("--frames", "0:50"): "the last is 4",
        ("--frames", "7:"): "none of the frames",
        ("--keep", "colour"): "known: depth, semantic, instance",
        ("--modalities", "images"): "depth is needed",
        ("--voxel-size", "1"): "--voxel-size",
    }
    for options, words in refusals.items():
        result = again(*options)
        assert result.exit_code == 2 and words in text_of(result), (options, text_of(result))
        assert "Traceback" not in text_of(result)
    result = run("rerender", tmp_path, "--world", small_city, "--out", tmp_path / "again")
    assert result.exit_code == 2 and "holds no session" in text_of(result)
    assert not (tmp_path / "again").exists()


def test_an_imu_without_a_known_motion_is_refused_with_the_way_out(original: Path, again, tmp_path: Path) -> None:
    """Neither samples of this seed nor a plan that leads to the poses."""
    old = Session.open(original)
    plan = old.mission
    plan["position"] = [[x + 1.0, y, z] for x, y, z in plan["position"]]
    for name, mission in (("described", {"name": "by hand"}), ("off", plan)):
        source = rewritten(old, tmp_path / name, mission=mission)
        refused = again("--rig", "rig_small", "--seed", "1", source=source)
        assert refused.exit_code == 2 and "--modalities images,depth,lidar" in text_of(refused), text_of(refused)
        kept = session_of(again("--rig", "rig_small", source=source, out=f"{name}_kept"))
        assert kept.imu(2).tobytes() == old.imu(2).tobytes()
        without = session_of(again("--rig", "rig_small", "--seed", "1", "--modalities", "depth", source=source,
                                   out=f"{name}_without"))  # fmt: skip
        assert without.imu(2) is None and without.meta.rig.imu is None


def test_damaged_poses_are_not_rendered_from(original: Path, again, tmp_path: Path) -> None:
    source = tmp_path / "damaged" / original.name
    shutil.copytree(original, source)
    pose = source / "poses/000002.json"
    pose.write_text(pose.read_text().replace('"z"', '"z" '))
    result = again("--rig", "rig_small", source=source)
    assert result.exit_code == 2 and "poses/000002.json" in text_of(result)
    with pytest.raises(SessionError):
        Session.open(source).pose(2)


def test_another_world_may_be_asked_for(original: Path, small_city: Path, tmp_path: Path) -> None:
    """The same city without shadows: other bytes, the same surfaces, and the new world's name and hash."""
    other = tmp_path / "other"
    shutil.copytree(small_city, other)
    sdf = (other / "world.sdf").read_text()
    (other / "world.sdf").write_text(sdf.replace("<cast_shadows>true", "<cast_shadows>false"))
    path = made(
        "rerender", original, "--world", other, "--out", tmp_path / "new", "--another-world", "--rig", "rig_small"
    )
    new, old = Session.open(path), Session.open(original)
    assert new.meta.world["sha256"] == load_world(other).sha256 != old.meta.world["sha256"]
    assert (new.occupancy(1).semantics == old.occupancy(1).semantics).all()
    assert new.meta.datum == pytest.approx(old.meta.datum)

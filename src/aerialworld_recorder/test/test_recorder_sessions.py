"""The recorder against real session folders: what goes in is what can be read back, and nothing is made up."""

from __future__ import annotations

import functools
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.labels import FREE, OTHERS, TERRAIN
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.session import Session, SessionMeta, validate
from aerialworld_core.stopwatch import Stopwatch
from aerialworld_core.world import load_rig
from aerialworld_recorder import Recorder, RecordingError
from aerialworld_recorder.fusion import SessionSights
from aerialworld_recorder.occupancy import OccupancyProjector

sys.path.insert(0, str(Path(__file__).parent))
import recorder_stream_messages
from recorder_stream_messages import GRID, HEIGHT

small_rig = functools.partial(recorder_stream_messages.small_rig, face=80)


def meta(datum: float = 0.0, **changes) -> SessionMeta:
    values = {
        "vehicle": "drone_1",
        "agent_type": "drone",
        "engine": {"name": "embedded", "version": "0"},
        "world": {"name": "plane", "sha256": "0" * 64},
        "georeference": Georeference(35.0, 139.0, 0.0),
        "grid": GRID,
        "datum": datum,
        "rig": small_rig(),
        "frame_period_ns": 500_000_000,
        "seed": 1,
        "mission": "hover",
        "conditions": {},
        "start_time": "2024-01-15T12:00:00Z",
        "attribution": "",
    }
    return SessionMeta(**{**values, **changes})


def frame_over_plane(index: int, height: float = HEIGHT) -> SensorFrame:
    """Level over the plane z = 0: the down face measures `height`, the side faces height / tan(depression)."""
    rig = small_rig()
    rng = np.random.default_rng(index)
    n = 80
    v = (np.arange(n) + 0.5 - n / 2) / (n / 2)
    side = np.full((n, n), np.inf, np.float32)
    side[v > 0] = (height / v[v > 0])[:, None]
    side[side * np.sqrt(1 + v[:, None] ** 2 + v[None] ** 2) > 200.0] = np.inf
    depth = {name: side.copy() for name in ("front", "left", "back", "right")}
    depth["up"] = np.full((n, n), np.inf, np.float32)
    depth["down"] = np.full((n, n), height, np.float32)
    state = VehicleState(index * 500_000_000, Pose.from_rpy(index, 0, height), np.array([2.0, 0, 0]), np.zeros(3))
    return SensorFrame(
        state=state,
        ground_z=0.0,
        images={c.name: np.cumsum(rng.integers(0, 3, (48, 64, 3)), axis=1).astype(np.uint8) for c in rig.cameras},
        depth=depth,
        semantic={k: np.full((n, n), TERRAIN, np.uint8) for k in depth},
        lidar=rng.uniform(-5, 5, (50, 4)).astype(np.float32),
        lidar_ring=np.zeros(50, np.uint16),
        imu=rng.normal(size=(50, 7)),
        actors=[],
    )


def test_what_is_recorded_is_what_is_read(tmp_path: Path):
    with Recorder(tmp_path, meta(), {"name": "hover"}, {"host": "x"}) as recorder:
        stats = [recorder.record(i, frame_over_plane(i)) for i in range(4)]
    session = Session.open(recorder.path)
    assert session.meta.frames == 4 and session.frame_indices == [0, 1, 2, 3]
    stored_rig = Rig.from_dict(small_rig().to_dict())
    for i in range(4):
        frame = frame_over_plane(i)
        stored = session.occupancy(i)
        expected = OccupancyProjector(stored_rig, GRID, 0.0).project(frame.state.pose, frame.depth, frame.semantic)
        assert (stored.occupancy == expected.occupancy).all()
        assert (stored.semantics == expected.semantics).all()
        assert (stored.observed == expected.observed).all()
        # Ground z = 0 lies in level 1 (−0.75 … 0.5), everywhere, and nowhere else is anything occupied.
        assert (stored.occupancy[:, :, 1] == 1).all() and stored.occupancy.sum() == 40 * 40
        assert (stored.semantics[:, :, 1] == TERRAIN).all() and (stored.semantics[:, :, 2:] == FREE).all()
        assert stats[i].recorded and stats[i].occupied == 40 * 40 and stats[i].clipped_share == 0.0
        assert (np.load(recorder.path / "lidar" / f"{i:06d}_LIDAR.npy") == frame.lidar).all()
        assert (np.load(recorder.path / "imu" / f"{i:06d}_IMU.npy") == frame.imu).all()
        for camera in ("cam_front", "cam_back"):
            data = (recorder.path / "images" / f"{i:06d}_{camera.upper()}.jpg").read_bytes()
            picture = Image.open(io.BytesIO(data))
            assert picture.mode == "RGB" and picture.size == (64, 48)
            assert picture.layer[0][1:3] == (2, 2) and picture.layer[1][1:3] == (1, 1)  # 4:2:0
            # Smooth pictures survive quality 95 within a few grey levels; swapped channels would not.
            assert np.abs(np.asarray(picture).astype(int) - frame.images[camera]).mean() < 4
    summary = session.provenance["recorder"]
    assert summary["frames_asked"] == summary["frames_written"] == 4 and summary["frames_dropped"] == 0
    assert session.provenance["host"] == "x"


def test_voxels_of_the_lidar_are_those_that_are_made_of_the_session_later(tmp_path: Path):
    """Also with other frames' classes and faces absent; what lies below the grid is told as with depth."""
    engine = {"name": "embedded", "version": "0", "occupancy": "lidar"}
    with Recorder(tmp_path, meta(engine=engine, rig=replace(small_rig(), depth=())), {}, {}) as recorder:
        stats = [recorder.record(i, replace(frame_over_plane(i), depth={}, semantic={})) for i in range(2)]
    session = Session.open(recorder.path)
    sights = SessionSights(session, GRID, 0.0, source="lidar")
    for i in range(2):
        stored, again = session.occupancy(i), sights.occupancy(i)
        assert np.array_equal(stored.semantics, again.semantics) and np.array_equal(stored.observed, again.observed)
        assert stats[i].occupied == stored.occupancy.sum() > 20 and stats[i].observed == stored.observed.sum()
        assert (stored.semantics[stored.occupancy == 1] == OTHERS).all()
    low = frame_over_plane(2)
    low.lidar = np.array([[0.0, 3.0, -HEIGHT - 5.0, 1.0]] * 20, np.float32)
    with Recorder(tmp_path, meta(engine=engine), {}, {}) as recorder:
        with pytest.raises(RecordingError, match="of the seen surface lies below the grid"):
            recorder.record(0, low)
    with pytest.raises(RecordingError, match="has no LiDAR"):
        Recorder(tmp_path, meta(engine=engine, rig=replace(small_rig(), lidar=None)), {}, {})


@pytest.mark.parametrize("lost", ["camera cam_back", "depth down", "semantic left", "lidar", "imu"])
def test_a_frame_without_a_promised_sensor_is_dropped_and_counted(tmp_path: Path, lost: str):
    frame = frame_over_plane(1)
    kind, _, name = lost.partition(" ")
    if kind in ("lidar", "imu"):
        setattr(frame, kind, None)
    else:
        del {"camera": frame.images, "depth": frame.depth, "semantic": frame.semantic}[kind][name]
    with Recorder(tmp_path, meta(), {}, {}) as recorder:
        assert recorder.record(0, frame_over_plane(0)).recorded
        stats = recorder.record(1, frame)
        assert not stats.recorded and stats.missing == (lost,)
        assert recorder.record(2, frame_over_plane(2)).recorded
    assert Session.open(recorder.path).frame_indices == [0, 2]
    summary = recorder.summary()
    assert (summary["frames_asked"], summary["frames_written"], summary["frames_dropped"]) == (3, 2, 1)
    assert summary["dropped"] == {"1": [lost]}


def test_images_that_are_kept_are_those_of_the_frame_and_asked_for(tmp_path: Path):
    """Depth and instance of cameras and faces; a frame that lacks one of them is dropped and says which."""

    def whole(index: int) -> SensorFrame:
        frame, rng = frame_over_plane(index), np.random.default_rng(index)
        frame.camera_depth = {c: rng.uniform(1, 90, (48, 64)).astype(np.float32) for c in ("cam_front", "cam_back")}
        frame.camera_instance = {c: rng.integers(1, 9, (48, 64)).astype(np.uint16) for c in frame.camera_depth}
        frame.instance = {f: np.isfinite(d).astype(np.uint16) * 7 for f, d in frame.depth.items()}
        return frame

    lacking = whole(1)
    del lacking.camera_instance["cam_back"], lacking.instance["up"]
    with Recorder(tmp_path, meta(kept=("depth", "instance")), {}, {}) as recorder:
        assert recorder.record(0, whole(0)).recorded
        assert recorder.record(1, lacking).missing == ("instance CAM_BACK", "instance up")
    session, frame = Session.open(recorder.path), whole(0)
    for name, depth in {"CAM_BACK": frame.camera_depth["cam_back"], "down": frame.depth["down"]}.items():
        assert np.abs(session.depth(0, name) - depth).max() <= 0.0051
    assert (np.isinf(session.depth(0, "front")) == np.isinf(frame.depth["front"])).all()
    assert (session.instance(0, "CAM_FRONT") == frame.camera_instance["cam_front"]).all()
    assert (session.instance(0, "left") == frame.instance["left"]).all()
    assert session.semantic(0, "left") is None


def test_boxes_without_instance_images_are_projections_and_nothing_is_asked_for(tmp_path: Path):
    """As with topics: a car 12 m before the front camera, which looks 0.5 rad down, and one behind it."""
    cars = [
        {"id": f"car_{k}", "class": 4, "position": [x, 0.0, 0.75], "orientation": [0.0, 0.0, 0.0, 1.0],
         "size": [4.0, 1.8, 1.5], "velocity": [0.0, 0.0, 0.0]}
        for k, x in enumerate((12.0, -12.0))
    ]  # fmt: skip
    frame = frame_over_plane(0)
    frame.actors = cars
    with Recorder(tmp_path, meta(kept=("boxes",)), {}, {}) as recorder:
        assert recorder.record(0, frame).recorded
    session = Session.open(recorder.path)
    (front,), (back,) = (session.boxes(0)[name] for name in ("CAM_FRONT", "CAM_BACK"))
    assert (front.id, back.id) == ("car_0", "car_1") and {front.source, back.source} == {"projection"}
    camera = small_rig().cameras[0]
    corners = np.array([[x, y, z] for x in (10, 14) for y in (-0.9, 0.9) for z in (0.0, 1.5)])
    x, y, z = ((frame.state.pose @ camera.optical_pose).inverse().transform(corners)).T
    k = camera.intrinsics
    u, v = k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2]
    assert np.allclose(front.rectangle, (u.min(), max(v.min(), 0), u.max(), v.max()), atol=1e-9)
    assert not [e for e in validate(session.path).errors if "box" in e]


def test_sensors_the_rig_does_not_promise_are_not_asked_for(tmp_path: Path):
    rig = small_rig()
    frame = frame_over_plane(0)
    frame.images, frame.lidar = {}, None
    with Recorder(tmp_path, meta(rig=Rig("depth only", (), rig.depth, None, rig.imu)), {}, {}) as recorder:
        assert recorder.record(0, frame).recorded
    assert not list((recorder.path / "images").iterdir())


def test_a_datum_that_is_too_high_stops_the_recording(tmp_path: Path):
    with pytest.raises(RecordingError, match=r"100\.00 % .*datum 3\.00 m.*lowest terrain"):
        with Recorder(tmp_path, meta(datum=3.0), {}, {}) as recorder:
            recorder.record(0, frame_over_plane(0))
    session = Session.open(recorder.path)
    assert session.meta.frames is None and session.frame_indices == []


def test_a_vehicle_above_the_grid_is_counted(tmp_path: Path, caplog):
    with Recorder(tmp_path, meta(), {}, {}) as recorder:
        assert recorder.record(0, frame_over_plane(0, height=30.0)).outside
        assert not recorder.record(1, frame_over_plane(1)).outside
    assert recorder.summary()["vehicle_outside_grid"] == 1
    assert any("30.0 m above the datum" in m for m in caplog.messages)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_recording_keeps_its_frames_and_resumes_to_the_same_bytes(tmp_path: Path, error):
    with pytest.raises(error):
        with Recorder(tmp_path / "a", meta(), {}, {}) as broken:
            for i in range(3):
                broken.record(i, frame_over_plane(i))
            raise error
    assert Session.open(broken.path).frame_indices == [0, 1, 2]
    assert Session.open(broken.path).meta.frames is None
    with Recorder.resume(broken.path) as again:
        assert again.next_index == 3
        for i in range(3, 5):
            again.record(i, frame_over_plane(i))
    with Recorder(tmp_path / "b", meta(), {}, {}) as whole:
        for i in range(5):
            whole.record(i, frame_over_plane(i))

    def content(path: Path) -> dict[str, bytes]:
        files = (p for p in path.rglob("*") if p.is_file() and p.name != "provenance.json")
        return {str(p.relative_to(path)): p.read_bytes() for p in files}

    resumed, uninterrupted = content(again.path), content(whole.path)
    metas = [json.loads(c.pop("session.json")) for c in (resumed, uninterrupted)]
    assert resumed == uninterrupted
    for m in metas:  # poses of the rig may differ in the last bit after a round trip through its objects
        del m["rig"], m["sha256"]
    assert metas[0] == metas[1]


def test_a_failing_disk_is_reported_and_nothing_follows_a_lost_frame(tmp_path: Path, monkeypatch):
    import aerialworld_core.files as files

    real, calls = files.os.replace, []

    def full(source, target, **kwargs):
        calls.append(target)
        if "000001" in str(target):
            raise OSError(28, "No space left on device", str(target))
        return real(source, target, **kwargs)

    recorder = Recorder(tmp_path, meta(), {}, {})
    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(Exception, match="No space left"):
        with recorder:
            for i in range(8):
                recorder.record(i, frame_over_plane(i))
    monkeypatch.undo()
    assert Session.open(recorder.path).frame_indices == [0]
    assert Session.open(recorder.path).meta.frames is None


def test_images_that_do_not_fit_the_rig_are_refused(tmp_path: Path):
    frame = frame_over_plane(0)
    frame.images["cam_front"] = frame.images["cam_front"][:, :-1]
    with pytest.raises(RecordingError, match=r"camera cam_front is uint8 \(48, 63, 3\)"):
        with Recorder(tmp_path, meta(), {}, {}) as recorder:
            recorder.record(0, frame)


def test_frame_numbers_increase(tmp_path: Path):
    with Recorder(tmp_path, meta(), {}, {}) as recorder:
        recorder.record(3, frame_over_plane(3))
        with pytest.raises(RecordingError, match="must increase"):
            recorder.record(3, replace(frame_over_plane(3)))


@pytest.mark.parametrize("name", ["rig_small", "rig_drone", "rig_rover"])
def test_a_resumed_recording_projects_through_the_very_same_rig(tmp_path: Path, name: str):
    """Focal lengths and angles lose a last bit on each trip through JSON: enough to move a voxel's face."""

    def optics(recorder: Recorder) -> list[tuple[str, float, bytes]]:
        rig = recorder._projector.rig
        return [(c.name, c.hfov, c.pose.matrix.tobytes()) for c in (*rig.cameras, *rig.depth)]

    recorder = Recorder(tmp_path, replace(meta(), rig=load_rig(name)), {}, {})
    fresh = optics(recorder)
    recorder.abort()
    for _ in range(2):
        again = Recorder.resume(recorder.path)
        assert optics(again) == fresh
        again.abort()


def test_a_stopwatch_hears_of_every_stage_and_changes_nothing(tmp_path: Path):
    watch, stages = Stopwatch(), "place join vote carve settle jpeg check encode write"
    for name, options in (("plain", {}), ("timed", {"stopwatch": watch})):
        with Recorder(tmp_path / name, meta(), {}, {}, **options) as recorder:
            for i in range(2):
                stats = recorder.record(i, frame_over_plane(i))
    seconds = watch.read()
    assert set(seconds) == set(stages.split()) and min(seconds.values()) >= 0.0 < seconds["carve"]
    stored = Session.open(recorder.path).occupancy(1)
    assert (stats.occupied, stats.observed) == (stored.occupancy.sum(), stored.observed.sum())
    files = [sorted((tmp_path / name).glob("*/*/00*")) for name in ("plain", "timed")]
    assert len(files[0]) == 2 * 8
    for plain, timed in zip(*files, strict=True):
        assert plain.name == timed.name and plain.read_bytes() == timed.read_bytes()

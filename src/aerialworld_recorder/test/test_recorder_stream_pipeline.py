"""One vehicle's pipeline into real sessions: what comes in is what can be read back; what cannot be is told."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.files import StorageError
from aerialworld_core.session import Session, list_sessions, validate
from aerialworld_recorder import Recorder
from aerialworld_recorder.stream.arrivals import Arrivals
from aerialworld_recorder.stream.assembly import Assembler
from aerialworld_recorder.stream.messages import CompressedImage, Message, PointCloud, PointField, RawImage
from aerialworld_recorder.stream.pipeline import Limits, Pipeline
from aerialworld_recorder.stream.synchroniser import Timing

sys.path.insert(0, str(Path(__file__).parent))
from recorder_stream_messages import (
    GRID,
    HEIGHT,
    MS,
    SPEED,
    VEHICLE,
    Log,
    Plane,
    channels,
    cloud,
    depth_of,
    flight,
    picture,
    raw,
    small_rig,
)

TIMING = Timing(500 * MS, 50 * MS)


def pipeline(root: Path, sessions=None, **options) -> tuple[Pipeline, Log]:
    log, sessions = Log(), sessions or Plane(root)
    assembler = Assembler(small_rig(), sessions.ground)
    return Pipeline(VEHICLE, channels(), TIMING, assembler, sessions, log, **options), log


def record(root: Path, messages: list[Message], **options) -> tuple[Pipeline, Log]:
    """All messages, with room for every frame."""
    p, log = pipeline(root, queue_frames=len(messages), **options)
    for message in messages:
        p.put(message)
    p.close()
    return p, log


def only(root: Path) -> Session:
    (path,) = list_sessions(root)
    return Session.open(path)


def test_a_flight_becomes_a_session_that_holds_what_was_sent(tmp_path):
    p, log = record(tmp_path, flight(2000 * MS))
    session = only(tmp_path)
    assert session.frame_indices == [0, 1, 2, 3, 4] and session.meta.frames == 5
    for index in session.frame_indices:
        stamp = index * 500 * MS
        pose = session.pose(index)
        assert pose.stamp_ns == stamp and pose.ground_z == 0.0
        along = np.array([np.cos(0.5), np.sin(0.5), 0])
        assert np.allclose(pose.pose.position, SPEED * stamp * 1e-9 * along + [0, 0, HEIGHT], atol=1e-9)
        assert np.allclose(pose.linear_velocity, SPEED * along, atol=1e-9)
        assert (session.path / f"images/{index:06d}_CAM_FRONT.jpg").read_bytes() == picture("cam_front", stamp)
        assert np.array_equal(session.lidar(index), np.frombuffer(cloud(stamp).data, "<f4").reshape(-1, 4))
        assert len(session.imu(index)) == (1 if index == 0 else 50)
        ground = session.occupancy(index).occupancy[:, :, 1]  # z from −0.75 to 0.5 m
        assert ground.mean() > 0.95
    assert (p.tally.recorded, p.tally.dropped, p.tally.overrun, p.tally.sessions) == (5, 0, 0, 1)
    assert f"{session.path} is closed: 5 frames, 0 dropped" in log.text


def test_depth_and_classes_of_the_faces_are_kept_on_request(tmp_path):
    sessions = Plane(tmp_path, kept=("depth", "semantic"), faces_only=True)
    record(tmp_path, flight(500 * MS), sessions=sessions)
    session = only(tmp_path)
    front = next(f for f in small_rig().depth if f.name == "front")
    kept, sent = session.depth(1, "front"), depth_of(front)
    near = np.isfinite(sent)
    assert np.allclose(kept[near], sent[near], atol=0.0051) and np.isinf(kept[~near]).all()
    assert (session.semantic(1, "down") == 14).all()
    report = validate(session.path)
    assert not [e for e in report.errors if "missing" in e or "kept" in e], report.errors
    assert session.meta.faces_only and session.document["kept_of"] == "faces"


BAD = {
    "a wrong encoding": ("/drone_1/depth/front/image", raw(np.zeros((40, 40), np.float32), "64FC1"), "depth front"),
    "a wrong step": (
        "/drone_1/semantic/down/image", RawImage(40, 40, "mono8", False, 39, bytes(1600)), "semantic down"),
    "a wrong length": (
        "/drone_1/depth/up/image", RawImage(40, 40, "32FC1", False, 160, bytes(6399)), "depth up"),
    "no size": ("/drone_1/depth/left/image", RawImage(0, 0, "32FC1", False, 0, b""), "depth left"),
    "an absurd width": (
        "/drone_1/depth/back/image", RawImage(40, 2**32 - 1, "32FC1", False, 160, bytes(6400)), "depth back"),
    "a cloud without x": (
        "/drone_1/lidar/points", PointCloud(1, 1, (PointField("y", 0, 7),), False, 4, 4, bytes(4)), "lidar"),
    "a picture that is none": (
        "/drone_1/camera/cam_back/image/compressed", CompressedImage("jpeg", b"\xff\xd8\xff\xd9"), "camera cam_back"),
    "another type": ("/drone_1/lidar/points", CompressedImage("jpeg", b""), "lidar"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_bad_message_costs_its_frame_and_is_told(tmp_path, what):
    topic, content, sensor = BAD[what]
    messages = [
        Message.of(topic, m.stamp_ns, content) if (m.topic, m.stamp_ns) == (topic, 1000 * MS) else m
        for m in flight(2000 * MS)
    ]
    p, log = record(tmp_path, messages)
    assert only(tmp_path).frame_indices == [0, 1, 3, 4]
    assert f"message not used: {topic} at 1.000000000 s: " in log.text
    assert f"frame 2 at 1.000 s dropped: no {sensor}" in log.text
    assert (p.tally.bad_messages, p.tally.dropped, p.failure) == (1, 1, None)


def test_a_message_without_a_readable_stamp_is_counted_for_its_topic(tmp_path):
    p, log = pipeline(tmp_path)
    p.unreadable("/drone_1/lidar/points", "it ends after 3 bytes")
    for message in flight(500 * MS):
        p.put(message)
    p.close()
    counts = p.synchroniser.counts["/drone_1/lidar/points"]
    assert (counts.received, counts.bad, p.tally.bad_messages, p.tally.recorded) == (7, 1, 1, 2)
    assert "message not used: /drone_1/lidar/points: it ends after 3 bytes" in log.text


def test_a_reset_closes_the_session_and_begins_another(tmp_path):
    p, log = record(tmp_path, [*flight(1700 * MS), *flight(1000 * MS)])
    first, second = (Session.open(s) for s in sorted(list_sessions(tmp_path)))
    assert (first.meta.frames, second.meta.frames) == (4, 3)
    assert [second.pose(i).stamp_ns for i in range(3)] == [0, 500 * MS, 1000 * MS]
    assert "time jumped back from 1.700 s to 0.000 s" in log.text and p.tally.sessions == 2


def test_a_session_can_end_and_another_begin_in_the_same_run_of_time(tmp_path):
    p, _ = pipeline(tmp_path)
    for message in flight(700 * MS):
        p.put(message)
    p.end_session()
    until = time.monotonic() + 60
    while p.last_session is None and time.monotonic() < until:
        time.sleep(0.01)
    assert p.last_session is not None and p.session is None
    for message in flight(2000 * MS, 1200 * MS):
        p.put(message)
    p.close()
    first, second = (Session.open(s) for s in sorted(list_sessions(tmp_path)))
    assert (first.meta.frames, second.frame_indices, second.meta.frames) == (2, [0, 1], 2)
    assert [second.pose(i).stamp_ns for i in (0, 1)] == [1500 * MS, 2000 * MS]
    assert p.synchroniser.counts["/drone_1/odom"].received == 36 + 41


class Held(Plane):
    """Begins the session when it is let go: a disk that hangs."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go = threading.Event()

    def begin(self, first) -> Recorder:
        assert self.go.wait(60)
        return super().begin(first)


def test_a_slow_disk_costs_whole_frames_never_time_or_memory(tmp_path):
    """While nothing is written, `put` returns at once; frames beyond the queue are dropped and told."""
    sessions = Held(tmp_path)
    p, log = pipeline(tmp_path, sessions, queue_frames=3)
    for message in flight(5000 * MS):
        p.put(message)
        assert p.queued <= 3
    sessions.go.set()
    p.close()
    session = only(tmp_path)
    assert session.frame_indices == [0, 1, 2] and p.tally.overrun == 8
    assert "frame 3 at 1.500 s dropped: the recorder was too slow" in log.text
    assert session.provenance["recorder"]["frames_dropped"] == 8


def test_frames_stop_at_max_frames_and_before_the_disk_is_full(tmp_path):
    p, log = record(tmp_path / "a", flight(2000 * MS), limits=Limits(max_frames=2))
    assert only(tmp_path / "a").meta.frames == 2 and "as max_frames asks" in log.text
    p, log = record(tmp_path / "b", flight(1000 * MS), limits=Limits(min_free_disk=2**62))
    assert isinstance(p.failure, StorageError) and "min_free_disk" in str(p.failure)
    assert only(tmp_path / "b").meta.frames == 0


def test_a_disk_that_fails_keeps_the_frames_until_then(tmp_path, monkeypatch):
    """The third frame cannot be written: a clear error, two frames stay, nothing more is tried."""
    from aerialworld_core.session import writer

    real, calls = writer.write_group, []

    def failing(steps, *, sync=True):
        calls.append(1)
        if len(calls) >= 3:
            raise StorageError("disk: not written: No space left on device (0 bytes free on that disk)")
        real(steps, sync=sync)

    monkeypatch.setattr(writer, "write_group", failing)
    p, log = record(tmp_path, flight(4000 * MS))
    assert isinstance(p.failure, StorageError) and p.failure.exit_code == 28
    assert "recording stopped: disk: not written: No space left" in log.text
    session = only(tmp_path)
    assert session.frame_indices == [0, 1] and all(not session.damage(i) for i in (0, 1)) and len(calls) == 3


def test_a_grid_that_cuts_off_the_ground_ends_the_recording_with_an_error(tmp_path):
    sessions = Plane(tmp_path, datum=20.0)
    p, _ = record(tmp_path, flight(1000 * MS), sessions=sessions)
    assert isinstance(p.failure, AerialWorldError) and "below the grid" in str(p.failure)


def test_what_is_recorded_is_shown(tmp_path):
    shown = []
    record(tmp_path, flight(500 * MS), on_frame=lambda frame, voxels, stats: shown.append((frame, voxels, stats)))
    assert [f.stamp_ns for f, _, _ in shown] == [0, 500 * MS]
    session = only(tmp_path)
    for index, (_, voxels, stats) in enumerate(shown):
        assert np.array_equal(voxels.occupancy, session.occupancy(index).occupancy)
        assert stats.recorded and stats.occupied == voxels.occupancy.sum()


def test_voxels_are_shown_where_they_are_in_map(tmp_path):
    """The occupied voxels' centres lie on the plane, around the vehicle, whatever its heading."""
    from aerialworld_recorder.voxel_cloud import voxel_points

    shown = []
    record(tmp_path, flight(500 * MS), on_frame=lambda frame, voxels, stats: shown.append((frame, voxels)))
    frame, voxels = shown[1]
    points = voxel_points(voxels, GRID, frame.state.pose, 0.0)
    at = frame.state.pose.position
    assert len(points) == voxels.occupancy.sum() and (points["class"] == 14).all()
    assert np.allclose(points["z"], -0.125)  # the level from −0.75 to 0.5 m
    forward = (points["x"] - at[0]) * np.cos(0.5) + (points["y"] - at[1]) * np.sin(0.5)
    left = -(points["x"] - at[0]) * np.sin(0.5) + (points["y"] - at[1]) * np.cos(0.5)
    steps = np.arange(-7.8, 8, 0.4)
    for value in (forward, left):
        assert np.abs(value[:, None] - steps).min(axis=1).max() < 1e-4


def test_a_stamp_is_whole_when_every_topic_has_brought_it():
    arrivals = Arrivals(["/a", "/b"])
    arrivals.add("/a", 0)
    assert arrivals.whole() is None and arrivals.missing() == {"/b"}
    assert arrivals.whole(gone={"/b"}) == 0
    arrivals.add("/b", 0)
    assert arrivals.whole() == 0
    arrivals.taken(0)
    assert arrivals.whole() is None and not arrivals.missing()
    arrivals.add("/a", 0)  # who sends it again has not heard
    assert arrivals.whole() == 0 and not arrivals.missing()
    arrivals.taken(0)
    for stamp in (100, 200):
        arrivals.add("/a", stamp)
    arrivals.add("/b", 200)
    assert arrivals.whole() == 200
    arrivals.taken(200)
    assert not arrivals.missing()

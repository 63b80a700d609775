"""What is written is what is read, to the bit; equal recordings are equal bytes; nonsense is refused."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from aerialworld_core.errors import SessionError
from aerialworld_core.labels import FREE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.session import Session, SessionWriter, list_sessions, validate


def test_everything_comes_back(good_session, synthetic, recorded):
    session = Session.open(good_session)
    assert session.frame_indices == list(range(8)) and len(session) == 8
    assert session.mission == synthetic.MISSION and session.provenance == synthetic.PROVENANCE
    for index, (frame, occupancy, encoded) in enumerate(recorded[:8]):
        record = session.pose(index)
        state = frame.state
        np.testing.assert_allclose(record.pose.orientation, state.pose.orientation, rtol=0, atol=1e-15)
        for read, written in (
            (record.pose.position, state.pose.position),
            (record.linear_velocity, state.linear_velocity),
            (record.angular_velocity, state.angular_velocity),
            (session.lidar(index), frame.lidar),
            (session.imu(index), frame.imu),
            (session.occupancy(index).occupancy, occupancy.occupancy),
            (session.occupancy(index).semantics, occupancy.semantics),
            (session.occupancy(index).observed, occupancy.observed),
        ):
            assert read.dtype == written.dtype
            np.testing.assert_array_equal(read, written)
        assert record.stamp_ns == state.stamp_ns and record.ground_z == frame.ground_z
        np.testing.assert_allclose(session.pose_13d(index), state.pose_13d(), rtol=0, atol=1e-15)
        for camera, data in encoded.items():
            assert session.image_bytes(index, camera) == data
            assert session.image_path(index, camera).read_bytes() == data
        actor = session.actors(index)[0]
        assert actor["position"] == [1.0 + index, 2.0, 0.5] and actor["size"] == [4.0, 1.8, 1.5]


def test_meta_comes_back(good_session, synthetic):
    written, read = synthetic.meta().closed(8), Session.open(good_session).meta
    assert read.to_dict().keys() == written.to_dict().keys()
    for key in (
        "vehicle",
        "agent_type",
        "engine",
        "world",
        "georeference",
        "grid",
        "datum",
        "frames",
        "mission",
        "seed",
    ):
        assert getattr(read, key) == getattr(written, key), key
    for a, b in zip(read.rig.cameras, written.rig.cameras, strict=True):
        np.testing.assert_allclose(a.pose.matrix, b.pose.matrix, atol=1e-12)
        assert (a.width, a.height, a.near, a.far) == (b.width, b.height, b.near, b.far)
        assert a.hfov == pytest.approx(b.hfov, abs=1e-14)
    np.testing.assert_allclose(read.rig.lidar.azimuths, written.rig.lidar.azimuths, atol=0)


def test_files_are_as_the_format_says(good_session, synthetic, recorded):
    names = {str(p.relative_to(good_session)) for p in good_session.rglob("*") if p.is_file()}
    frame_3 = {n for n in names if "000003" in n}
    assert frame_3 == {
        "images/000003_CAM_FRONT.jpg",
        "images/000003_CAM_BACK.jpg",
        "lidar/000003_LIDAR.npy",
        "poses/000003.json",
        "imu/000003_IMU.npy",
        "occupancy/000003_occupancy.npz",
        "actors/000003.json",
        "hashes/000003.json",
    }
    assert {n for n in names if "/" not in n} == {"session.json", "mission.json", "provenance.json"}
    pose = json.loads((good_session / "poses/000003.json").read_text())
    assert set(pose) == {"ground_z", "position", "orientation", "velocity", "timestamp", "frame_id", "agent_type"}
    assert pose["timestamp"] == 1_500_000_000 and pose["frame_id"] == "map" and pose["agent_type"] == "drone"
    assert set(pose["velocity"]) == {"linear", "angular"} and list(pose["orientation"]) == ["x", "y", "z", "w"]
    with np.load(good_session / "occupancy/000003_occupancy.npz", allow_pickle=False) as npz:
        occupancy = recorded[3][1]
        np.testing.assert_array_equal(npz["observed"], np.packbits(occupancy.observed.ravel()))
        assert npz["occupancy"].dtype == npz["semantics"].dtype == np.uint8
        assert npz["occupancy"].shape == synthetic.GRID.shape
    with zipfile.ZipFile(good_session / "occupancy/000003_occupancy.npz") as archive:
        assert {m.date_time for m in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    lidar = np.load(good_session / "lidar/000003_LIDAR.npy", allow_pickle=False)
    assert lidar.dtype == np.float32 and lidar.shape[1] == 4
    top = json.loads((good_session / "session.json").read_text())
    assert top["grid"]["datum"] == synthetic.DATUM and top["frames"] == 8 and len(top["sha256"]) == 64
    assert set(top["rig"]) == {"name", "cameras", "depth", "lidar", "imu"}
    assert {"width", "height", "K", "position", "orientation"} <= set(top["rig"]["cameras"]["CAM_FRONT"])


def test_hashes_are_sha256_of_the_files(good_session):
    import hashlib

    manifest = json.loads((good_session / "hashes/000005.json").read_text())
    assert len(manifest["files"]) == 7
    for name, record in manifest["files"].items():
        data = (good_session / name).read_bytes()
        assert record == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_two_equal_recordings_are_equal_bytes(tmp_path, synthetic, recorded):
    one, two = (synthetic.write(tmp_path / n, recorded[:4], sync=s) for n, s in (("a", True), ("b", False)))
    assert synthetic.contents(one) == synthetic.contents(two)
    assert one.name == two.name == "drone_20240115_120000"


def test_no_path_or_host_in_what_must_be_equal(good_session):
    import socket

    for name, data in {
        p.name: p.read_bytes() for p in good_session.rglob("*.json") if p.name != "provenance.json"
    }.items():
        assert str(good_session.parent).encode() not in data, name
        assert len(socket.gethostname()) < 4 or socket.gethostname().encode() not in data, name


def test_next_free_number_and_listing(tmp_path, synthetic, recorded):
    names = [synthetic.write(tmp_path, recorded[:1]).name for _ in range(3)]
    assert names == ["drone_20240115_120000", "drone_20240115_120000_01", "drone_20240115_120000_02"]
    synthetic.write(tmp_path, recorded[:1], agent_type="rover", start_time="2024-01-15T21:30:05+09:00")
    (tmp_path / "notes").mkdir()
    found = list_sessions(tmp_path)
    assert [p.name for p in found] == [*names, "rover_20240115_123005"]
    assert list_sessions(found[0]) == [found[0]]
    with pytest.raises(SessionError, match="no such folder"):
        list_sessions(tmp_path / "nowhere")


def test_what_a_rig_lacks_is_absent_not_zero(tmp_path, synthetic, recorded):
    frame, occupancy, _ = recorded[0]
    with SessionWriter(tmp_path, synthetic.meta(), {}, {}, sync=False) as writer:
        writer.write_frame(0, replace(frame, lidar=None, imu=None, ground_z=float("nan")), occupancy)
    session = Session.open(writer.path)
    assert session.lidar(0) is None and session.imu(0) is None and session.pose(0).ground_z is None
    assert session.image_path(0, "CAM_FRONT") is None and session.image_bytes(0, "CAM_FRONT") is None


def refused(writer, frame, occupancy, encoded, match, index=0):
    before = sorted(p for p in writer.path.rglob("*"))
    with pytest.raises(SessionError, match=match):
        writer.write_frame(index, frame, occupancy, encoded)
    assert sorted(p for p in writer.path.rglob("*")) == before


def test_writer_refuses_nonsense_and_writes_nothing(tmp_path, synthetic, recorded):
    frame, good, encoded = recorded[1]
    o, s, seen = good.occupancy, good.semantics, good.observed
    with SessionWriter(tmp_path, synthetic.meta(), {}, {}, sync=False) as writer:
        refused(writer, frame, Occupancy(o[:-1], s, seen), encoded, "occupancy is uint8")
        refused(writer, frame, Occupancy(o.astype(np.int64), s, seen), encoded, "needs uint8")
        refused(writer, frame, Occupancy(o * 2, s, seen), encoded, "occupancy holds 2")
        refused(writer, frame, Occupancy(o, np.full_like(s, FREE), seen), encoded, "free.* exactly where")
        refused(writer, frame, Occupancy(o, np.where(o, np.uint8(44), s), seen), encoded, "semantics holds 44")
        refused(writer, frame, Occupancy(o, s, seen & False), encoded, "never observed")
        refused(writer, frame, good, {"CAM_TOP": encoded["CAM_FRONT"]}, "CAM_TOP, which the rig has not")
        refused(writer, frame, good, {"CAM_FRONT": b"\x89PNG"}, "no JPEG")
        refused(writer, replace(frame, lidar=frame.lidar[:, :3]), good, encoded, "lidar of shape")
        refused(writer, replace(frame, lidar=frame.lidar * np.nan), good, encoded, "finite")
        refused(writer, replace(frame, imu=frame.imu[:, :6]), good, encoded, "imu of shape")
        infinite = replace(frame.state, linear_velocity=np.array([np.inf, 0, 0]))
        refused(writer, replace(frame, state=infinite), good, encoded, "not finite")
        refused(writer, replace(frame, actors=[{"id": "x", "class": 4}]), good, encoded, "actor 'x'")
        refused(writer, frame, good, encoded, "at least 0", index=-1)
        writer.write_frame(3, frame, good, encoded)
        refused(writer, replace(frame, state=recorded[5][0].state), good, encoded, "at least 4", index=3)
        refused(writer, frame, good, encoded, "does not follow", index=4)
    with pytest.raises(SessionError, match="is closed"):
        writer.write_frame(9, recorded[9][0], good, encoded)
    writer.close()


@pytest.mark.parametrize(
    "changes",
    [{"agent_type": "boat"}, {"start_time": "noon"}, {"frame_period_ns": 0}, {"datum": float("nan")}, {"engine": {}}],
)
def test_meta_refuses_nonsense(synthetic, changes):
    with pytest.raises(SessionError):
        synthetic.meta(**changes)


def test_json_that_cannot_be_leaves_no_folder(tmp_path, synthetic):
    for mission, provenance in (
        ({"a": float("nan")}, {}),
        ({"a": object()}, {}),
        ({"sha256": ""}, {}),
        ({}, {"a": {1j}}),
    ):
        with pytest.raises(SessionError):
            SessionWriter(tmp_path / "root", synthetic.meta(), mission, provenance)
    assert not (tmp_path / "root").exists() or list((tmp_path / "root").iterdir()) == []


def test_a_newer_format_is_refused_clearly(good_session):
    from aerialworld_core.session.seal import seal, unseal

    file = good_session / "session.json"
    data = unseal(json.loads(file.read_text()), "x")
    for change, match in (({"schema_version": 2}, "schema_version 2"), ({"colour": 1}, "unknown keys")):
        file.write_text(json.dumps(seal({**data, **change}, "x")))
        with pytest.raises(SessionError, match=match):
            Session.open(good_session)
        assert not validate(good_session).ok


def test_exception_leaves_the_session_open_and_resume_finishes_it(tmp_path, synthetic, recorded):
    reference = synthetic.write(tmp_path / "whole", recorded[:5])
    with (
        pytest.raises(KeyboardInterrupt),
        SessionWriter(
            tmp_path / "cut", synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE, sync=False
        ) as writer,
    ):
        for i in range(3):
            writer.write_frame(i, *recorded[i])
        raise KeyboardInterrupt
    assert Session.open(writer.path).meta.frames is None
    report = validate(writer.path)
    assert report.ok and "was never closed: its writer stopped early" in report.warnings
    with SessionWriter.resume(writer.path, provenance={"host": "there"}, sync=False) as again:
        assert (again.next_index, again.frames, again.discarded) == (3, 3, [])
        for i in range(3, 5):
            again.write_frame(i, *recorded[i])
    assert synthetic.contents(again.path) == synthetic.contents(reference)
    provenance = Session.open(again.path).provenance
    assert provenance["resumed"] == [{"host": "there", "after_frames": 3}]
    with SessionWriter.resume(again.path, sync=False) as third:  # a closed one may be opened and closed again
        assert Session.open(third.path).meta.frames is None and third.next_index == 5
    assert synthetic.contents(again.path) == synthetic.contents(reference)


def test_reader_names_what_is_not_there(good_session):
    session = Session.open(good_session)
    with pytest.raises(SessionError, match="no complete frame 8"):
        session.pose(8)
    with pytest.raises(SessionError, match="upper-case camera"):
        session.image_path(0, "../../x")
    with pytest.raises(SessionError, match="no such session"):
        Session.open(good_session / "nope")

"""Bit rot and truncation: no damaged byte is read as data, and the whole frames beside it still are."""

from __future__ import annotations

import io
import random
import zipfile

import numpy as np
import pytest

from aerialworld_core.errors import AerialWorldError, SessionError
from aerialworld_core.session import Session, SessionWriter, validate


def read_all(session: Session, index: int) -> None:
    """Everything a reader can ask of one frame, verified."""
    session.pose(index), session.occupancy(index), session.lidar(index), session.imu(index), session.actors(index)
    for camera in session.cameras:
        session.image_bytes(index, camera)


def frame_files(path, index):
    return sorted(p for p in path.rglob(f"{index:06d}*") if p.is_file())


def test_every_sampled_flipped_bit_is_detected(good_session):
    rng = random.Random(5)  # noqa: S311
    session = Session.open(good_session)
    files = frame_files(good_session, 2)
    assert len(files) == 8
    for file in files:
        sound = file.read_bytes()
        places = {0, len(sound) - 1, *(rng.randrange(len(sound)) for _ in range(40))}
        for at in places:
            damaged = bytearray(sound)
            damaged[at] ^= 1 << rng.randrange(8)
            file.write_bytes(damaged)
            assert session.damage(2), (file.name, at)
            with pytest.raises(SessionError):
                read_all(session, 2)
        file.write_bytes(sound)
    assert session.damage(2) == []
    read_all(session, 2)


READERS = {
    "poses": Session.pose,
    "occupancy": Session.occupancy,
    "lidar": Session.lidar,
    "imu": Session.imu,
    "actors": Session.actors,
    "images": lambda session, index: [session.image_bytes(index, c) for c in session.cameras],
    "hashes": Session.manifest,
}


def file_of(path, index, kind):
    return next(p for p in frame_files(path, index) if p.parent.name == kind)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", READERS)
def test_ten_thousand_flipped_bits_of_each_kind_are_detected(good_session, kind):
    rng = random.Random(f"bits {kind}")  # noqa: S311
    session, file = Session.open(good_session), file_of(good_session, 2, kind)
    sound = file.read_bytes()
    for _ in range(10_000):
        at, damaged = rng.randrange(len(sound)), bytearray(sound)
        damaged[at] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        with pytest.raises(SessionError):
            READERS[kind](session, 2)
    file.write_bytes(sound)
    READERS[kind](session, 2)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", READERS)
def test_a_thousand_truncations_of_each_kind_are_detected(good_session, kind):
    """At random places, and at every record's boundary of the voxels' zip, and one byte beside it."""
    rng = random.Random(f"cuts {kind}")  # noqa: S311
    session, file = Session.open(good_session), file_of(good_session, 4, kind)
    sound = file.read_bytes()
    cuts = {rng.randrange(len(sound)) for _ in range(1000)} | {0, 1, len(sound) - 1}
    if kind == "occupancy":
        with zipfile.ZipFile(io.BytesIO(sound)) as archive:
            edges = [info.header_offset for info in archive.infolist()] + [archive.start_dir]
        cuts |= {edge + step for edge in edges for step in (-1, 0, 1) if 0 <= edge + step < len(sound)}
    for cut in sorted(cuts):
        file.write_bytes(sound[:cut])
        with pytest.raises(SessionError):
            READERS[kind](session, 4)
        for index in (3, 5):
            READERS[kind](session, index)


def test_the_bytes_of_a_hash_file_count(good_session):
    file = good_session / "hashes/000001.json"
    session, sound = Session.open(good_session), file.read_bytes()
    for at in range(0, len(sound), 3):
        for value in {sound[at] ^ 1, sound[at] ^ 0x20, 0x20, 0x30} - {sound[at]}:
            file.write_bytes(sound[:at] + bytes([value]) + sound[at + 1 :])
            with pytest.raises(SessionError):
                session.manifest(1)


@pytest.mark.parametrize("name", ["session.json", "mission.json"])
def test_flipped_bits_in_sealed_json_are_detected(good_session, name):
    rng = random.Random(11)  # noqa: S311
    file = good_session / name
    sound = file.read_bytes()
    for at in (rng.randrange(len(sound)) for _ in range(120)):
        damaged = bytearray(sound)
        damaged[at] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            session = Session.open(good_session)
            same = session.mission, session.meta.to_dict()
        except SessionError:
            continue
        file.write_bytes(sound)  # only a digit beyond a float's precision may pass: then nothing has changed
        session = Session.open(good_session)
        assert same == (session.mission, session.meta.to_dict())


@pytest.mark.parametrize("kind", ["occupancy", "lidar", "imu", "poses", "actors", "hashes", "images"])
def test_truncation_is_detected_and_other_frames_survive(good_session, kind):
    rng = random.Random(kind)  # noqa: S311
    session = Session.open(good_session)
    file = next(p for p in frame_files(good_session, 4) if p.parent.name == kind)
    sound = file.read_bytes()
    for length in {0, 1, len(sound) // 2, len(sound) - 1, *(rng.randrange(len(sound)) for _ in range(15))}:
        file.write_bytes(sound[:length])
        with pytest.raises(SessionError):
            read_all(session, 4)
    file.write_bytes(sound + b"\0")
    with pytest.raises(SessionError):
        read_all(session, 4)
    report = validate(good_session)
    assert not report.ok and report.figures["frames_damaged"] == 1
    assert any(f"{kind}/000004" in e for e in report.errors)
    for index in (0, 3, 5, 7):
        read_all(session, index)


@pytest.mark.parametrize("kind", ["lidar", "imu", "poses", "actors", "hashes", "images"])
def test_a_missing_file_is_an_error_not_an_absence(good_session, kind):
    session = Session.open(good_session)
    next(p for p in frame_files(good_session, 4) if p.parent.name == kind).unlink()
    with pytest.raises(SessionError, match="missing"):
        read_all(session, 4)
    assert any("missing" in e for e in validate(good_session).errors)


def test_a_file_that_was_never_written_is_refused(tmp_path, synthetic, recorded):
    path = synthetic.write(tmp_path, [(f, o, {}) for f, o, _ in recorded[:2]])
    (path / "images/000001_CAM_FRONT.jpg").write_bytes(recorded[0][2]["CAM_FRONT"])
    with pytest.raises(SessionError, match="not among the files"):
        Session.open(path).image_bytes(1, "CAM_FRONT")
    assert any("not among the files" in e for e in validate(path).errors)


def test_frames_swapped_with_each_other_are_detected(good_session):
    for a, b in zip(frame_files(good_session, 1), frame_files(good_session, 2), strict=True):
        x, y = a.read_bytes(), b.read_bytes()
        a.write_bytes(y)
        b.write_bytes(x)
    session = Session.open(good_session)
    for index in (1, 2):
        with pytest.raises(SessionError, match="belongs to frame"):
            session.occupancy(index)


def test_hashes_cannot_point_outside(good_session):
    from aerialworld_core.session.seal import dump_manifest

    for name in ("../../etc/passwd", "/etc/passwd", "images/../../x", "images/a/b"):
        (good_session / "hashes/000001.json").write_bytes(dump_manifest(1, {name: b""}))
        with pytest.raises(SessionError, match="outside"):
            Session.open(good_session).manifest(1)


def test_unverified_reading_still_raises_only_our_errors(good_session):
    rng = random.Random(3)  # noqa: S311
    session = Session.open(good_session, verify=False)
    for file in frame_files(good_session, 6):
        sound = file.read_bytes()
        for _ in range(25):
            damaged = bytearray(sound)
            for _ in range(rng.randrange(1, 5)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            file.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
            try:
                read_all(session, 6)
            except AerialWorldError:
                pass
        file.write_bytes(sound)


def test_resume_rewrites_a_torn_last_frame(tmp_path, synthetic, recorded):
    reference = synthetic.write(tmp_path / "whole", recorded[:6])
    path = synthetic.write(tmp_path / "torn", recorded[:6])
    for kind in ("images/000005_CAM_BACK.jpg", "occupancy/000004_occupancy.npz"):
        (path / kind).write_bytes((path / kind).read_bytes()[:100])
    with SessionWriter.resume(path, sync=False) as writer:
        assert writer.discarded == [4, 5] and writer.next_index == 4
        for i in (4, 5):
            writer.write_frame(i, *recorded[i])
    assert synthetic.contents(path) == synthetic.contents(reference)


def test_wrong_content_under_right_hashes_is_reported_not_raised(good_session):
    """Another tool's session: the hashes are right, the content is not."""
    from aerialworld_core.session.arrays import dump_npy
    from aerialworld_core.session.layout import FOLDERS
    from aerialworld_core.session.seal import dump_manifest

    wrong = {
        "imu/000001_IMU.npy": dump_npy(np.zeros((50, 6))),
        "lidar/000002_LIDAR.npy": b"not an array",
        "poses/000003.json": b"[]",
        "actors/000004.json": b'{"a": 1}',
        "occupancy/000005_occupancy.npz": b"PK",
        "images/000006_CAM_FRONT.jpg": b"not a picture",
    }
    for name, content in wrong.items():
        index = int(name.split("/")[1][:6])
        (good_session / name).write_bytes(content)
        files = {
            str(p.relative_to(good_session)): p.read_bytes()
            for folder in FOLDERS
            for p in (good_session / folder).glob(f"{index:06d}*")
            if folder != "hashes"
        }
        (good_session / f"hashes/{index:06d}.json").write_bytes(dump_manifest(index, files))
    report = validate(good_session)
    assert report.figures["frames_damaged"] == 0
    for name in wrong:
        assert any(name in e for e in report.errors), name

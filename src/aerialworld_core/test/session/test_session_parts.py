"""Merging, splitting and repairing: frames stay as they were, time stays true, nothing sound is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError, SessionError
from aerialworld_core.labels import NAMES
from aerialworld_core.session import Session, SessionWriter, validate
from aerialworld_core.session.merge import merge_sessions, split_session
from aerialworld_core.session.repair import repair_session
from aerialworld_core.session.stats import added, session_stats


def frames_of(session: Session) -> list[tuple]:
    """All that frames hold, by stamp, comparable."""
    found = []
    for i in session.frame_indices:
        record, voxels = session.pose(i), session.occupancy(i)
        images = [session.image_bytes(i, c) for c in session.cameras]
        pose = (record.stamp_ns, record.pose_13d().tolist(), record.ground_z)
        seen = (voxels.semantics.tobytes(), voxels.observed.tobytes(), session.lidar(i).tobytes())
        found.append((*pose, *seen, session.actors(i), images))
    return found


def test_parts_put_together_are_the_whole(good_session: Path, tmp_path: Path) -> None:
    whole = Session.open(good_session)
    parts = [Session.open(p) for p in split_session(whole, tmp_path / "parts", [3, 6], provenance={})]
    assert [len(p) for p in parts] == [3, 3, 2] and [p.frame_indices[0] for p in parts] == [0, 0, 0]
    assert [p.pose(0).stamp_ns for p in parts] == [whole.pose(i).stamp_ns for i in (0, 3, 6)]
    for part in parts:
        report = validate(part.path)
        assert not [e for e in report.errors if "hash" in e or "damaged" in e or "stamp" in e]
    merged = Session.open(merge_sessions(parts[::-1], tmp_path / "merged", provenance={}))
    assert frames_of(merged) == frames_of(whole) and merged.frame_indices == whole.frame_indices
    assert all(np.array_equal(merged.imu(i), whole.imu(i)) for i in whole.frame_indices)
    report = validate(merged.path)
    assert report.ok, report.errors
    assert report.figures["lidar_agreement"] == validate(good_session).figures["lidar_agreement"]


def test_a_later_start_moves_the_stamps_and_leaves_a_gap(tmp_path: Path, synthetic, recorded) -> None:
    """Two recordings whose stamps both count from their own start, 10 s apart."""
    first = synthetic.write(tmp_path, recorded[:3], start_time="2024-01-15T12:00:00Z")
    second = synthetic.write(tmp_path, recorded[:4], start_time="2024-01-15T12:00:10Z")
    merged = Session.open(merge_sessions([Session.open(first), Session.open(second)], tmp_path / "m", provenance={}))
    assert merged.frame_indices == [0, 1, 2, 20, 21, 22, 23]
    assert [merged.pose(i).stamp_ns for i in (2, 20, 23)] == [10**9, 10 * 10**9, 11_500_000_000]
    assert merged.imu(21)[-1, 0] == pytest.approx(10.5, abs=1e-9)
    assert merged.meta.start_time == "2024-01-15T12:00:00Z"


def test_what_is_not_one_recording_is_not_merged(tmp_path: Path, synthetic, recorded) -> None:
    a = synthetic.write(tmp_path, recorded[:3])
    overlapping = synthetic.write(tmp_path, recorded[2:5])
    other = synthetic.write(tmp_path, recorded[4:6], datum=-1.5)
    beside = synthetic.write(tmp_path, recorded[4:6], start_time="2024-01-15T12:00:00.123Z")
    opened = {p: Session.open(p) for p in (a, overlapping, other, beside)}
    for wrong, reason in ((overlapping, "overlap"), (other, "grid"), (beside, "another clock")):
        with pytest.raises(InputError, match=reason):
            merge_sessions([opened[a], opened[wrong]], tmp_path / "out", provenance={})
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="cannot begin at frame 9"):
        split_session(opened[a], tmp_path / "out", [9], provenance={})


def test_a_damaged_frame_is_moved_aside_and_the_rest_stays(good_session: Path) -> None:
    before = Session.open(good_session)
    sound = [f for f, i in zip(frames_of(before), before.frame_indices, strict=True) if i != 4]
    file = good_session / "lidar" / "000004_LIDAR.npy"
    file.write_bytes(file.read_bytes()[:-4])
    (good_session / "poses" / "000008.json").write_text("{")  # a frame that was begun
    assert repair_session(good_session, dry_run=True).damaged.keys() == {4}
    assert len(Session.open(good_session)) == 8
    done = repair_session(good_session)
    assert list(done.damaged) == [4] and done.unfinished == [8] and done.closed
    after = Session.open(good_session)
    assert frames_of(after) == sound and after.meta.frames == 7
    assert (done.aside / "lidar" / "000004_LIDAR.npy").exists() and (done.aside / "images").is_dir()
    report = validate(good_session)
    assert report.ok and report.figures["frames_missing"] == 1
    again = repair_session(good_session)
    assert not again.needed


def test_an_unclosed_session_is_closed(tmp_path: Path, synthetic, recorded) -> None:
    writer = SessionWriter(tmp_path, synthetic.meta(), {}, {}, sync=False)
    for index, (frame, occupancy, encoded) in enumerate(recorded[:2]):
        writer.write_frame(index, frame, occupancy, encoded)
    with pytest.raises(SessionError, match="being written"):
        repair_session(writer.path)
    writer.release()
    (writer.path / "images" / ".000002_CAM_FRONT.jpg.1.2.tmp").write_bytes(b"half")
    done = repair_session(writer.path)
    assert done.closed and done.temporary == 1
    assert Session.open(writer.path).meta.frames == 2 and not list(writer.path.rglob("*.tmp"))


def test_session_json_cannot_be_guessed(good_session: Path) -> None:
    text = (good_session / "session.json").read_text()
    (good_session / "session.json").write_text(text.replace('"datum": -1.0', '"datum": -2.0'))
    with pytest.raises(SessionError, match="sha256"):
        repair_session(good_session)


def test_stats_count_what_is_there(good_session: Path, tmp_path: Path, synthetic, recorded) -> None:
    stats = session_stats(good_session)
    session = Session.open(good_session)
    semantics = np.concatenate([session.occupancy(i).semantics.ravel() for i in session.frame_indices])
    assert stats["class_voxels"] == {NAMES[c]: int((semantics == c).sum()) for c in np.unique(semantics) if c != 17}
    assert stats["speed_m_s"]["mean"] == pytest.approx(4.0) and stats["height_m"]["max"] == pytest.approx(8.0)
    chord = 2 * 16 * np.sin(4.0 * 0.5 / 16 / 2)
    assert stats["distance_m"] == pytest.approx(7 * chord) and stats["seconds"] == pytest.approx(3.5)
    assert sum(stats["bytes"].values()) == sum(p.stat().st_size for p in good_session.rglob("*") if p.is_file())
    other = session_stats(synthetic.write(tmp_path / "other", recorded[:3]))
    total = added([stats, other])
    assert total["frames"] == 11 and total["sessions"] == 2
    points = [len(session.lidar(i)) for i in session.frame_indices]
    points += points[:3]
    assert total["lidar_points"]["mean"] == pytest.approx(np.mean(points))
    assert total["lidar_points"]["max"] == max(points)

"""Killing the writer at any instant: what was committed stays; a resumed run equals one that was never killed."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from aerialworld_core.session import Session, SessionWriter, list_sessions, validate
from aerialworld_core.session.lease import is_held

FRAMES = 16


def run_in_child(work) -> int:
    """Fork; the child runs `work` and exits without Python's clean-up. Returns its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return pid


def record(root, synthetic, recorded, sync):
    def work():
        found = list_sessions(root) if root.exists() else []
        if found:
            writer = SessionWriter.resume(found[0], sync=sync)
        else:
            writer = SessionWriter(root, synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE, sync=sync)
        with writer:
            for i in range(writer.next_index, FRAMES):
                writer.write_frame(i, *recorded[i])

    return work


def check_survivors(root, recorded) -> int:
    """After a kill: every session opens, its frames are whole and first to last without a hole; returns how many."""
    sessions = list_sessions(root) if root.exists() else []
    assert len(sessions) <= 1
    if not sessions:
        return 0
    session = Session.open(sessions[0])
    assert session.frame_indices == list(range(len(session)))
    for index in session.frame_indices:
        assert session.damage(index) == []
        frame, occupancy, _ = recorded[index]
        assert session.pose(index).stamp_ns == frame.stamp_ns
        assert (session.occupancy(index).occupancy == occupancy.occupancy).all()
    assert is_held(sessions[0]) is None
    return len(session)


def kill_and_resume(tmp_path, synthetic, recorded, kills, sync, seed):
    rng = random.Random(seed)  # noqa: S311
    reference = synthetic.contents(synthetic.write(tmp_path / "reference", recorded))
    start = time.monotonic()
    os.waitpid(run_in_child(record(tmp_path / "timed", synthetic, recorded, sync)), 0)
    duration = time.monotonic() - start
    done, runs, counts = 0, 0, []
    while done < kills:
        root = tmp_path / f"run_{runs}"
        runs += 1
        before = 0
        while True:
            pid = run_in_child(record(root, synthetic, recorded, sync))
            time.sleep(rng.uniform(0, duration if before == 0 else duration * 0.7))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            committed = check_survivors(root, recorded)
            assert committed >= before, "a committed frame was lost"
            before = committed
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0
                break
            done += 1
            counts.append(committed)
            if done >= kills:
                record(root, synthetic, recorded, sync)()
                break
        (path,) = list_sessions(root)
        assert synthetic.contents(path) == reference
        assert not [p for p in root.iterdir() if p != path], "leftovers beside the session"
    return counts


@pytest.mark.long
def test_fifteen_random_kills(tmp_path, synthetic, recorded):
    counts = kill_and_resume(tmp_path, synthetic, recorded, kills=15, sync=True, seed=1)
    assert len(set(counts)) >= 3  # the kills fell into different places


@pytest.mark.long
@pytest.mark.parametrize("sync", [True, False])
def test_fifty_random_kills(tmp_path, synthetic, recorded, sync):
    kill_and_resume(tmp_path, synthetic, recorded, kills=50, sync=sync, seed=2)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thousand_random_kills(tmp_path, synthetic, recorded):
    kill_and_resume(tmp_path, synthetic, recorded, kills=1000, sync=True, seed=3)


def test_killed_session_validates_with_what_it_has(tmp_path, synthetic, recorded):
    ready, tell = os.pipe()

    def work():
        writer = SessionWriter(tmp_path, synthetic.meta(), synthetic.MISSION, synthetic.PROVENANCE)
        for i in range(6):
            writer.write_frame(i, *recorded[i])
        # As if in the middle of frame 6: data in place, hashes and voxels not.
        (writer.path / "poses/000006.json").write_bytes(b"{")
        (writer.path / "images/.000006_CAM_FRONT.jpg.1.2.tmp").write_bytes(b"half")
        os.write(tell, b"x")
        signal.pause()

    pid = run_in_child(work)
    assert os.read(ready, 1) == b"x"
    (path,) = list_sessions(tmp_path)
    assert is_held(path) == f"process {pid} on host {os.uname().nodename}"
    assert any(f"being written by process {pid}" in w for w in validate(path).warnings)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    report = validate(path)
    assert report.ok and report.figures["frames"] == 6
    assert "was never closed: its writer stopped early" in report.warnings
    assert "1 frames were begun and not finished; they do not count" in report.warnings
    assert any("1 temporary files" in w for w in report.warnings)
    with SessionWriter.resume(path) as writer:
        assert writer.next_index == 6
    assert not list(path.rglob("*.tmp")) and not (path / "poses/000006.json").exists()


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_reader_beside_writers_for_a_minute(tmp_path, synthetic, recorded):
    end, rounds = time.monotonic() + 60.0, 0
    while time.monotonic() < end:
        (tmp_path / f"{rounds}").mkdir()
        watch_a_writer(tmp_path / f"{rounds}", synthetic, recorded)
        rounds += 1


def test_a_reader_beside_a_writer_sees_only_whole_frames(tmp_path, synthetic, recorded):
    watch_a_writer(tmp_path, synthetic, recorded)


def watch_a_writer(tmp_path, synthetic, recorded):
    pid = run_in_child(record(tmp_path / "live", synthetic, recorded, True))
    seen, finished = 0, False
    while not finished:
        finished = os.waitpid(pid, os.WNOHANG)[0] == pid
        for path in list_sessions(tmp_path / "live") if (tmp_path / "live").exists() else []:
            session = Session.open(path)
            for index in session.frame_indices[-3:]:
                assert session.damage(index) == []
                session.occupancy(index), session.pose(index), session.lidar(index)
            assert len(session) >= seen
            seen = len(session)
    assert seen == FRAMES

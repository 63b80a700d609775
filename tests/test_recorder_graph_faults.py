"""The recorder's node when its sources misbehave: a publisher in this process sends what an engine would not."""

from __future__ import annotations

import importlib.util
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.session import Session, list_sessions, validate

sys.path.insert(0, str(Path(__file__).parent))
from recorder_graph import MS, Player, engine, finish, network, recorder

pytestmark = [
    pytest.mark.long,  # each starts processes that wait for each other
    pytest.mark.timeout(900),  # on a loaded machine, with kernels that are compiled on the way
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed"),
]
TENTH = 100 * MS
#: Frames are lost only where a test means it: not because the machine is busy with something else.
ROOM = "queue_frames:=1000"


@pytest.fixture
def graph(tmp_path, monkeypatch):
    """A world, a domain and a publisher of all topics."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    world, domain = network.write_world(tmp_path), network.random_domain()
    client = network.Client(domain)
    yield Player(client, tmp_path), domain, [f"world:={world}", "rig:=rig_small", "frame_rate:=5.0"]
    client.close()


def frames(folder: Path) -> list[list[int]]:
    return [Session.open(p).frame_indices for p in sorted(list_sessions(folder / "data"))]


def test_a_camera_that_stops_drops_frames_until_it_is_back(graph, tmp_path):
    player, domain, parameters = graph
    with recorder(tmp_path, domain, *parameters, ROOM, "patience:=0.3") as node:
        player.connect(node)
        gone = range(7 * TENTH, 15 * TENTH)
        player.fly(
            range(0, 25 * TENTH, TENTH), lambda kind, name, s: (kind, name) == ("compressed", "cam_back") and s in gone
        )
        log = finish(node)
    assert frames(tmp_path) == [[0, 1, 2, 3, 8, 9, 10, 11, 12]], log
    assert "frame 4 at 0.800 s dropped: no camera cam_back" in log
    assert "/drone_1/camera/cam_back/image/compressed: of 17 messages 4 missing" in log
    session = Session.open(list_sessions(tmp_path / "data")[0])
    assert session.provenance["recorder"]["dropped"]["4"] == ["camera cam_back"]


def test_disorder_and_repetition_lose_nothing_and_a_reset_begins_a_session(graph, tmp_path):
    player, domain, parameters = graph
    rng = random.Random(5)  # noqa: S311
    with recorder(tmp_path, domain, *parameters, ROOM) as node:
        player.connect(node)
        items = [item for s in range(0, 11 * TENTH, TENTH) for item in player.due(s)]
        items += rng.sample(items, 60)
        for item in sorted(items, key=lambda i: i[2] + rng.randrange(90 * MS)):
            player.send(*item)
            player.client._executor.spin_once(timeout_sec=0.002)
        player.settle()
        player.fly(range(0, 5 * TENTH, TENTH))  # back to time 0
        log = finish(node)
    assert frames(tmp_path) == [[0, 1, 2, 3, 4, 5], [0, 1, 2]], log
    assert "time jumped back from 1.000 s to 0.000 s" in log and "duplicates" in log


def test_a_recorder_that_was_stopped_tells_what_it_lost(graph, tmp_path):
    """A stalled subscriber: the middleware keeps one second, the rest is lost, counted and told."""
    player, domain, parameters = graph
    with recorder(tmp_path, domain, *parameters, ROOM) as node:
        player.connect(node)
        player.fly(range(0, 5 * TENTH, TENTH))
        node.process.send_signal(signal.SIGSTOP)
        player.fly(range(5 * TENTH, 60 * TENTH, TENTH), settle=False)
        node.process.send_signal(signal.SIGCONT)
        player.settle()
        player.fly(range(60 * TENTH, 80 * TENTH, TENTH))
        log = finish(node)
    (indices,) = frames(tmp_path)
    assert indices[:3] == [0, 1, 2] and indices[-3:] == [37, 38, 39] and len(indices) < 35, log
    session = Session.open(list_sessions(tmp_path / "data")[0])
    assert session.provenance["recorder"]["frames_dropped"] == 40 - len(indices)
    for index in indices:
        assert session.pose(index).stamp_ns == index * 200 * MS


def test_bad_messages_are_told_and_the_node_stays_up(graph, tmp_path):
    player, domain, parameters = graph
    bad = {
        2: ("depth", "front", {"encoding": "yuv422"}, "encoding 'yuv422'"),
        4: ("semantic", "down", {"step": 1}, "a step of 1 bytes"),
        6: ("depth", "up", {"height": 0, "width": 0}, "0×0 pixels"),
        8: ("depth", "left", {"width": 2**31}, "2147483648×"),
        10: ("lidar", "lidar", {"fields": []}, "a cloud without x, y, z"),
        12: ("compressed", "cam_front", {"data": b"GIF89a"}, "no JPEG"),
        14: ("semantic", "up", {"data": b"123"}, "3 bytes of data"),
    }
    with recorder(tmp_path, domain, *parameters, ROOM) as node:
        player.connect(node)
        for tenth in range(20):
            if tenth not in bad:
                player.fly([tenth * TENTH])
                continue
            kind, sensor, changes, _ = bad[tenth]
            sensor = player.rig.lidar.name if kind == "lidar" else sensor
            message = player.message(kind, sensor, tenth * TENTH)
            for name, value in changes.items():
                setattr(message, name, value)
            player.send(kind, sensor, tenth * TENTH, message)
            player.fly([tenth * TENTH], lambda k, n, s, here=(kind, sensor): (k, n) == here)
        log = finish(node)
    assert frames(tmp_path) == [[0, 8, 9]], log
    for tenth, (kind, sensor, _, told) in bad.items():
        topic = {"depth": f"depth/{sensor}/image", "semantic": f"semantic/{sensor}/image", "lidar": "lidar/points"}.get(
            kind, f"camera/{sensor}/image/compressed"
        )
        line = next(x for x in log.splitlines() if f"message not used: /drone_1/{topic} at {tenth / 10:.9f} s" in x)
        assert told in line


def test_a_camera_that_is_not_the_rigs_ends_the_recording(graph, tmp_path):
    player, domain, parameters = graph
    with recorder(tmp_path, domain, *parameters) as node:
        player.connect(node)
        message = player.message("camera_info", "cam_front", 0)
        message.k[0] *= 1.1
        player.send("camera_info", "cam_front", 0, message)
        assert node.process.wait(network.PATIENCE) == 2
        assert "recorder: /drone_1/camera/cam_front/camera_info: it is not the rig's cam_front: fx" in node.log


def test_recording_stops_before_the_disk_is_full(graph, tmp_path):
    """min_free_disk of more than there is: an error before anything is written."""
    player, domain, parameters = graph
    with recorder(tmp_path, domain, *parameters, f"min_free_disk:={2**62}") as node:
        player.connect(node)
        player.fly(range(0, 5 * TENTH, TENTH))
        assert node.process.wait(network.PATIENCE) == 28
        assert "min_free_disk" in node.log.splitlines()[-1]
    (session,) = list_sessions(tmp_path / "data")
    assert Session.open(session).meta.frames == 0


def small_disk(folder: Path) -> list[str]:
    """A command's beginning that gives it 12 MiB of disk at folder/data; skips where that is not allowed."""
    (folder / "data").mkdir()
    mount = f'mount -t tmpfs -o size=12M tmpfs {folder / "data"} && exec "$@"'
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", mount, "sh"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk needs unshare and the right to mount")
    return command


def test_a_disk_that_is_really_full_keeps_the_frames(graph, tmp_path):
    """12 MiB: some frames fit, then a clear error; those that were committed are whole."""
    player, domain, parameters = graph
    saved = tmp_path / "saved"
    keep = ["sh", "-c", f'"$@"; code=$?; cp -a {tmp_path}/data {saved}; exit $code', "sh"]
    prefix = [*small_disk(tmp_path), *keep]
    with recorder(tmp_path, domain, *parameters, "min_free_disk:=0", "keep_depth:=true", prefix=prefix) as node:
        player.connect(node)
        deadline, stamp = time.monotonic() + network.PATIENCE, 0
        while node.process.poll() is None and time.monotonic() < deadline:
            player.fly([stamp], settle=False)  # an acknowledgement may take seconds
            stamp += TENTH
        assert node.process.wait(network.PATIENCE) == 28, node.log
        assert "not written: No space left on device" in node.log
    (path,) = list_sessions(saved)
    session = Session.open(path)
    assert len(session.frame_indices) > 2 and all(session.damage(i) == [] for i in session.frame_indices)


def cpu_seconds(pid: int) -> float:
    """Of a process, until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reaped_seconds() -> float:
    """CPU seconds of all processes that this one has seen the end of."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_and_kill(
    folder: Path, domain: int, world: Path, wait: float, *numbers: signal.Signals, took: list[float] | None = None
) -> str:
    """Record in lockstep with an engine that waits for nobody else, and send signals from `wait` seconds after the
    first frame on, 50 ms apart; the recorder's log. `took` gets the CPU seconds that it works from the first signal to
    its end, which do not count what a busy machine does beside."""
    shared = [f"world:={world}", "rig:=rig_small"]
    with (
        recorder(folder, domain, *shared, "lockstep:=true", "frame_rate:=10.0") as node,
        engine(folder, domain, *shared, "rate:=0.0", "lockstep:=[recorder]"),
    ):
        deadline = time.monotonic() + network.PATIENCE
        while "recording " + str(folder) not in node.log:
            assert time.monotonic() < deadline and node.process.poll() is None, node.log
            time.sleep(0.02)
        time.sleep(wait)
        before, reaped = cpu_seconds(node.process.pid), reaped_seconds()
        for number in numbers:
            node.process.send_signal(number)
            time.sleep(0.05)
        code = node.process.wait(network.PATIENCE)
        if took is not None:
            took.append(reaped_seconds() - reaped - before)
        assert code == (-9 if numbers[-1] == signal.SIGKILL else 0), node.log
        return node.log


def assert_sound(path: Path, frames_at_least: int) -> None:
    session = Session.open(path)
    assert len(session.frame_indices) >= frames_at_least
    assert session.frame_indices == list(range(len(session.frame_indices)))
    errors = [e for e in validate(path).errors if "the data holds no world" not in e]
    if not session.frame_indices:  # killed before the first frame was committed: that is all there is to say
        errors = [e for e in errors if e != "no complete frame"]
    assert not errors, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_queue_and_closes(tmp_path, number):
    log = run_and_kill(tmp_path, network.random_domain(), network.write_world(tmp_path), 1.0, number)
    (path,) = list_sessions(tmp_path / "data")
    session = Session.open(path)
    assert session.meta.frames == len(session.frame_indices) > 1
    assert f"{session.meta.frames} frames in 1 sessions; dropped 0, too slow for 0" in log
    assert_sound(path, 2)


def test_a_second_signal_does_not_wait_and_leaves_a_sound_session(tmp_path):
    world = network.write_world(tmp_path)
    run_and_kill(tmp_path, network.random_domain(), world, 1.0, signal.SIGTERM, signal.SIGINT)
    (path,) = list_sessions(tmp_path / "data")
    assert_sound(path, 1)


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(20, marks=(pytest.mark.long, pytest.mark.timeout(1800))),
        pytest.param(200, marks=(pytest.mark.soak, pytest.mark.timeout(7200))),
    ],
)
def test_signals_at_random_moments_end_the_recording_in_two_seconds(tmp_path, rounds):
    """SIGINT, SIGTERM, or one after the other: whole sessions, closed after a single one, at the 99th percentile within
    two seconds of work."""
    rng, took = random.Random(rounds), []  # noqa: S311
    world = network.write_world(tmp_path)
    choices = [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)]
    for done in range(1, rounds + 1):
        numbers = choices[done % len(choices)]
        run_and_kill(tmp_path, network.random_domain(), world, rng.uniform(0.0, 1.5), *numbers, took=took)
        sessions = sorted(list_sessions(tmp_path / "data"))
        assert len(sessions) == done
        assert_sound(sessions[-1], 0)
        session = Session.open(sessions[-1])
        assert len(numbers) > 1 or session.meta.frames == len(session.frame_indices)
    assert float(np.percentile(took, 99)) < 2.0, sorted(took)[-5:]


@pytest.mark.parametrize("round_", range(2))
def test_sigkill_leaves_a_sound_session(tmp_path, round_):
    wait = random.Random(round_).uniform(0.0, 1.5)  # noqa: S311
    run_and_kill(tmp_path, network.random_domain(), network.write_world(tmp_path), wait, signal.SIGKILL)
    (path,) = list_sessions(tmp_path / "data")
    assert_sound(path, 0)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_sigkill_at_fifty_random_moments_leaves_sound_sessions(tmp_path):
    """The session can be opened without repair, what is committed is whole, and the next recording begins beside it."""
    rounds = int(os.environ.get("AERIALWORLD_KILLS", "50"))
    rng = random.Random(1)  # noqa: S311
    world = network.write_world(tmp_path)
    for done in range(1, rounds + 1):
        run_and_kill(tmp_path, network.random_domain(), world, rng.uniform(0.0, 1.5), signal.SIGKILL)
        sessions = list_sessions(tmp_path / "data")
        assert len(sessions) == done
        assert_sound(sorted(sessions)[-1], 0)
    assert sum(len(Session.open(p).frame_indices) for p in list_sessions(tmp_path / "data")) > rounds

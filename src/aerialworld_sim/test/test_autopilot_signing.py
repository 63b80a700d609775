"""Signed links: pymavlink with the key flies over real sockets; whoever has none, or an old frame, changes nothing."""

import hashlib
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

os.environ.setdefault("MAVLINK20", "1")
sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import HOME, Served20
from pymavlink import mavutil

from aerialworld_core.errors import MavlinkError
from aerialworld_core.mavlink.signing import AHEAD, BEHIND, EPOCH, LIMIT, STREAMS, TICKS, Signer, signer_of
from aerialworld_core.mavlink.wire import Encoder, Message, dialect
from aerialworld_sim.autopilot import Autopilot, Settings, links
from aerialworld_sim.autopilot.channel import Channel
from aerialworld_sim.autopilot.links import TcpServer
from aerialworld_sim.vehicles.multirotor import Multirotor

WORDS = dialect()
SECRET = hashlib.sha256(b"the key of these tests").digest()
WALL = 1_800_000_000.0
NOW = round((WALL - EPOCH) * TICKS)


class Clock:
    """Unix seconds that stand until they are moved."""

    def __init__(self, now: float = WALL) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Station:
    """A client with pymavlink's own signing, whose frames are bytes."""

    def __init__(self, key: bytes | None = SECRET, moment: int = NOW, system: int = 255, link: int = 9) -> None:
        self.mav = WORDS.MAVLink(None, srcSystem=system, srcComponent=190)
        self.mav.signing.secret_key, self.mav.signing.sign_outgoing = key, key is not None
        self.mav.signing.timestamp, self.mav.signing.link_id = moment, link

    def beat(self, moment: int | None = None, old: bool = False) -> bytes:
        if moment is not None:
            self.mav.signing.timestamp = moment
        return bytes(WORDS.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3).pack(self.mav, force_mavlink1=old))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(tmp_path: Path, clock: Clock) -> Iterator[Signer]:
    made = Signer(SECRET, tmp_path / "times.json", clock)
    yield made
    made.close()


@pytest.fixture
def channel(signer: Signer) -> Channel:
    return Channel("a", 1, signer)


def taken(channel: Channel, *frames: bytes) -> int:
    """How many of the frames become messages."""
    before = channel.received
    for frame in frames:
        if channel.room() < len(frame):
            channel.messages(1 << 20)
        channel.receive(frame)
    channel.messages(1 << 20)
    return channel.received - before


def killed(state: Path, clock: Clock, name: str = "after") -> Signer:
    """A signer that finds what a killed process has left: the state, and no lock."""
    return Signer(SECRET, Path(shutil.copy(state, state.with_name(name))), clock)


# What is signed


def test_a_frame_is_signed_as_the_specification_says(signer: Signer) -> None:
    """signature = first 48 bits of SHA-256(key + header + payload + CRC + link id + time), time from 2015-01-01."""
    frame = Encoder(7, signer=signer, link=3).frame(Message("statustext", {"severity": 6, "text": b"hello"}))
    assert frame[2] == 1 and frame[-13] == 3
    moment = int.from_bytes(frame[-12:-6], "little")
    assert moment / 100_000 + 1_420_070_400 == pytest.approx(WALL, abs=1e-4)
    assert frame[-6:] == hashlib.sha256(SECRET + frame[:-6]).digest()[:6]


@pytest.mark.parametrize(("key", "good", "bad"), [(SECRET, 300, 0), (b"\1" * 32, 0, 300)])
def test_the_library_believes_what_is_sent_by_its_key(signer: Signer, key: bytes, good: int, bad: int) -> None:
    encoder, library = Encoder(7, signer=signer, link=2), Station(key).mav
    library.robust_parsing = True
    frames = [encoder.frame(Message("system_time", {"time_unix_usec": i, "time_boot_ms": i})) for i in range(300)]
    library.parse_buffer(b"".join(frames))
    assert (library.signing.goodsig_count, library.signing.badsig_count) == (good, bad)


# What is taken


def test_only_what_is_signed_with_the_key_is_taken_and_the_rest_is_counted(channel: Channel) -> None:
    assert taken(channel, Station().beat()) == 1
    assert taken(channel, Station(None).beat(), Station(None).beat()) == 0
    assert taken(channel, Station(None).beat(old=True)) == 0
    assert taken(channel, Station(b"\7" * 32).beat(NOW + 5)) == 0
    assert taken(channel, Station().beat()) == 0
    assert taken(channel, Station(link=8).beat(NOW - BEHIND - 1)) == 0
    assert taken(channel, Station(link=8).beat(NOW - BEHIND)) == 1
    assert channel.refused == {
        "unsigned": 2, "of MAVLink 1": 1, "wrongly signed": 1, "replayed": 1, "too old": 1
    }  # fmt: skip
    assert channel.bad_frames == 0


def test_any_changed_bit_makes_a_frame_worthless(channel: Channel) -> None:
    frame = Station().beat()
    for bit in range(len(frame) * 8):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        assert taken(channel, bytes(changed)) == 0
        channel.drop_input()
    assert taken(channel, frame) == 1


def test_the_message_after_refused_ones_and_noise_is_taken(channel: Channel) -> None:
    assert taken(channel, Station(None).beat() + b"\xfd\x01noise\xfe" + Station(b"\7" * 32).beat() + Station().beat())


def test_a_datagram_is_judged_when_it_comes(channel: Channel) -> None:
    """So that its copy, from wherever, is a replay even before the autopilot's next step."""
    station = Station()
    pair, next_one = station.beat() + station.beat(), station.beat()
    assert channel.datagram(pair) and channel.datagram(next_one)
    assert not any(channel.datagram(data) for data in (pair, next_one, b"", b"\xfd", b"noise", Station(None).beat()))
    assert channel.pending() and [m.get_type() for m in channel.messages(2)[0]] == ["HEARTBEAT"] * 2
    assert len(channel.messages(100)[0]) == 1 and not channel.pending()
    assert channel.refused == {"replayed": 3, "unsigned": 1}
    # A frame that there is no room for is not used up.
    while channel.datagram(frame := station.beat()):
        pass
    channel.messages(1 << 20)
    assert channel.datagram(frame)


def test_streams_count_their_times_apart(channel: Channel) -> None:
    """Link id, system and component make a stream, as the specification has it."""
    stations = [Station(moment=NOW + 100 - i, system=200 + i, link=i) for i in range(20)]
    assert taken(channel, *(s.beat() for s in stations)) == 20
    assert taken(channel, *(s.beat(NOW + 50) for s in stations)) == 0


def test_100_000_recorded_frames_are_never_taken_again(signer: Signer, clock: Clock, tmp_path: Path) -> None:
    """An exchange of 200 frames, sent again in any order to any link, later, and after the process was killed."""
    channels = [Channel("a", 1, signer, 0), Channel("b", 1, signer, 1)]
    station, rng = Station(), random.Random(5)  # noqa: S311
    recorded = [station.beat() for _ in range(200)]
    assert taken(channels[0], *recorded) == 200
    for part in range(10):
        clock.now += 20.0 * part
        for link in channels:
            assert taken(link, *rng.choices(recorded, k=4_000)) == 0
    fresh = killed(tmp_path / "times.json", clock)
    again = Channel("c", 1, fresh)
    clock.now = WALL  # the computer's clock was set back meanwhile
    assert taken(again, *rng.choices(recorded, k=20_000)) == 0
    assert channels[0].refused + channels[1].refused + again.refused == {"replayed": 100_000}
    assert taken(again, station.beat(fresh.now() + 1)) == 1
    fresh.close()


def test_a_time_far_ahead_locks_nobody_out(channel: Channel, signer: Signer, clock: Clock) -> None:
    """Neither forged, from the stream of the station itself, nor by a holder of the key whose clock is wrong."""
    station = Station()
    assert taken(channel, station.beat()) == 1
    assert taken(channel, Station(b"\7" * 32).beat(LIMIT - 1)) == 0
    assert taken(channel, Station().beat(LIMIT - 1), Station(link=3).beat(NOW + AHEAD + 1)) == 0
    assert channel.refused == {"wrongly signed": 1, "from the future": 2}
    assert taken(channel, station.beat(), Station(link=4).beat(NOW)) == 2
    # A day ahead is believed, but not a day ahead of that.
    assert taken(channel, Station(link=5).beat(NOW + AHEAD)) == 1
    assert taken(channel, Station(link=5).beat(NOW + AHEAD + TICKS)) == 0
    assert taken(channel, station.beat()) == 1
    assert signer.stamp() == NOW + AHEAD + 1


def test_as_many_senders_as_are_remembered(channel: Channel, clock: Clock) -> None:
    """One more is refused, until one has been silent so long that its frames are too old for a new stream."""
    beats = [Station(system=1 + i % 128, link=i // 128, moment=NOW + i).beat() for i in range(STREAMS)]
    assert taken(channel, *beats) == STREAMS
    late = Station(link=77).beat()
    assert taken(channel, late) == 0 and channel.refused == {"of too many senders": 1}
    clock.now += 61.0
    assert taken(channel, Station(link=77).beat(NOW + 61 * TICKS)) == 1
    assert taken(channel, *beats) == 0
    clock.now = WALL  # a clock that is set back does not let the forgotten one's frames in again
    assert taken(channel, *beats) == 0


# What is stored


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("skrh"), st.floats(-1e5, 1e5)), max_size=25))
def test_times_never_go_back(turns: list[tuple[str, float]]) -> None:
    """Whatever the clock does: stamps, kills, restarts and frames heard, in any order."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        state = Path(folder) / "times"
        signer, last, heard = Signer(SECRET, state, clock), -1, b""
        for i, (turn, seconds) in enumerate(turns):
            clock.now += seconds
            if turn == "h":
                frame = Station().beat(signer.now() + 1)
                assert signer.take(frame) in (None, "from the future")
                heard = heard or (frame if signer.refusal(frame) == "replayed" else b"")
            elif turn != "s":
                if turn == "r":
                    signer.close()
                if state.exists():
                    signer = killed(state, clock, f"times{i}")
                    state = state.with_name(f"times{i}")
                elif turn == "r":
                    signer = Signer(SECRET, state, clock)
            stamp = signer.stamp()
            assert stamp > last
            last = stamp
            assert not heard or signer.refusal(heard) == "replayed"


def test_a_killed_process_has_stored_what_it_took(tmp_path: Path) -> None:
    """A real kill: the frame that it took last is replayed to its successor at once."""
    script = (
        "import os, signal, sys, pathlib\n"
        "from aerialworld_core.mavlink.signing import Signer\n"
        "signer = Signer(bytes.fromhex(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "assert signer.take(bytes.fromhex(sys.argv[3])) is None\n"
        "print(signer.stamp(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    state, frame = tmp_path / "times", Station().beat(round((time.time() - EPOCH) * TICKS) + 1000)
    arguments = [sys.executable, "-c", script, SECRET.hex(), str(state), frame.hex()]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == -9, done.stderr
    after = Signer(SECRET, state)
    assert after.refusal(frame) == "replayed"
    assert after.stamp() > int(done.stdout)
    after.close()


def test_a_state_is_one_processes_and_is_believed_or_refused(tmp_path: Path) -> None:
    state = tmp_path / "times"
    first = Signer(SECRET, state)
    with pytest.raises(MavlinkError, match=r"times: in use by another program.*--sysid"):
        Signer(SECRET, state)
    first.stamp()
    first.close()
    assert set(os.listdir(tmp_path)) == {"times", "times.lock"}
    whole = state.read_text()
    for broken in (
        "", "{", "[]", "{}", "null", whole[:-4], '{"time": -1, "streams": []}', '{"time": true, "streams": []}',
        '{"time": 281474976710656, "streams": []}', '{"time": 1, "streams": [[1, 2, 3]]}',
        '{"time": 1, "streams": [[1, 2, 256, 4]]}', '{"time": 1, "streams": [[[], 2, 3, 4]]}',
    ):  # fmt: skip
        state.write_text(broken)
        with pytest.raises(MavlinkError, match=r"times: holds no times.*make a new key"):
            Signer(SECRET, state)
    state.write_text(whole)
    Signer(SECRET, state).close()


# The key


def test_a_key_file_is_the_users_alone_and_whole_or_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "my key"
    with pytest.raises(MavlinkError, match="my key: No such file") as caught:
        signer_of(path, 1)
    way_out = re.search(r"make a key: (\(.*\))$", str(caught.value))
    assert way_out is not None
    subprocess.run(["sh", "-c", way_out[1]], check=True)
    signer_of(path, 1).close()
    both = signer_of(path, 1), signer_of(path, 2)  # each vehicle has its own times
    for one in both:
        one.close()
    path.chmod(0o640)
    with pytest.raises(MavlinkError, match=r"mode 0640.*chmod 600 '.*my key'") as caught:
        signer_of(path, 1)
    assert "my key.new" in str(caught.value)  # what is there is not overwritten
    path.chmod(0o600)
    for content, words in ((b"k" * 31, "31 bytes"), (b"k" * 99, "more than 32 bytes"), (bytes(32), "zeros")):
        path.write_bytes(content)
        with pytest.raises(MavlinkError, match=rf"my key holds {words}.*umask 077"):
            signer_of(path, 1)
    with pytest.raises(MavlinkError, match=r"--key: .*not a regular file"):
        signer_of(tmp_path, 1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MavlinkError, match="pipe: not a regular file"):
        signer_of(tmp_path / "pipe", 1)


def test_another_users_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(MavlinkError, match="belongs to another user"):
        signer_of(path, 1)


# Over sockets


def signed(address: str, key: bytes | None = SECRET, **options: Any) -> Any:
    client = mavutil.mavlink_connection(address, source_system=255, **options)
    if key is not None:
        client.setup_signing(key)
    return client


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fly(client: Any, running: Served20) -> None:
    """Ask for a parameter, arm, take off to 10 m; all that the client hears is signed, or the library drops it."""
    assert client.wait_heartbeat(timeout=20) is not None
    client.param_fetch_one("RTL_ALT")
    wanted = "PARAM_VALUE.param_id == 'RTL_ALT'"
    assert client.recv_match(condition=wanted, blocking=True, timeout=20).param_value == 1500.0
    running.until(43.0)
    client.set_mode("GUIDED")
    client.arducopter_arm()
    client.motors_armed_wait()
    client.mav.command_long_send(1, 1, 22, 0, 0, 0, 0, 0, 0, 0, 10)
    ack = client.recv_match(condition="COMMAND_ACK.command == 22", blocking=True, timeout=20)
    assert ack.result == 0 and ack.get_signed()
    deadline = time.monotonic() + 30.0
    while running.autopilot.estimator.relative_altitude() < 9.5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.mav.signing.badsig_count == 0


@pytest.mark.parametrize("transport", ["tcp", "udp", "udp server"])
def test_pymavlink_flies_it_signed(transport: str, tmp_path: Path) -> None:
    port, signer = free_udp_port(), Signer(SECRET, tmp_path / "times")
    udp = transport != "tcp"
    client = signed(f"udpin:127.0.0.1:{port}") if transport == "udp" else None
    with Served20(
        tcp=not udp, udp=port if udp else None, udp_server=transport == "udp server", signer=signer
    ) as running:
        if client is None:
            place = f"tcp:127.0.0.1:{running.port}" if transport == "tcp" else f"udpout:127.0.0.1:{port}"
            client = signed(place)
            client.mav.heartbeat_send(6, 8, 0, 0, 4)  # a server learns from it where to send
        fly(client, running)
        assert not running.links[0].channel.refused
        client.close()


def test_a_stranger_neither_flies_nor_draws_the_telemetry_to_him(tmp_path: Path) -> None:
    port, signer = free_udp_port(), Signer(SECRET, tmp_path / "times")
    with Served20(tcp=False, udp=port, udp_server=True, signer=signer) as running:
        client = signed(f"udpout:127.0.0.1:{port}")
        client.mav.heartbeat_send(6, 8, 0, 0, 4)
        fly(client, running)
        recorded = [Station(moment=signer.now() + 1).beat()]
        client.write(recorded[0])
        strangers = [signed(f"udpout:127.0.0.1:{port}", key) for key in (None, b"\7" * 32)]
        for stranger in strangers:
            for _ in range(20):
                stranger.mav.command_long_send(1, 1, 400, 0, 0, 21196, 0, 0, 0, 0, 0)  # disarm, by force
                stranger.write(recorded[0])
                stranger.write(Station(b"\7" * 32).beat(LIMIT - 1) + b"\xfd\xff\x01")
        refused = running.links[0].channel.refused
        deadline = time.monotonic() + 20.0
        while sum(refused.values()) < 120:
            assert time.monotonic() < deadline, refused
            time.sleep(0.02)
        assert refused == {"unsigned": 20, "replayed": 40, "wrongly signed": 60}
        for stranger in strangers:
            assert stranger.recv_match(blocking=True, timeout=0.3) is None
        client.param_fetch_one("RTL_ALT")
        wanted = "PARAM_VALUE.param_id == 'RTL_ALT'"
        assert client.recv_match(condition=wanted, blocking=True, timeout=20) is not None
        assert running.autopilot.armed and running.autopilot.estimator.relative_altitude() > 9.0
        for each in (client, *strangers):
            each.close()


def test_a_silent_or_unsigned_client_does_not_keep_the_tcp_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "PROOF", 0.5)
    with Served20(signer=Signer(SECRET, tmp_path / "times")) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as stranger:
            stranger.sendall(Station(None).beat() * 10)
            time.sleep(0.2)
            client = signed(f"tcp:127.0.0.1:{running.port}", autoreconnect=False)
            assert client.wait_heartbeat(timeout=20) is not None
        assert running.links[0].channel.refused == {"unsigned": 10}
        # Who has proved himself stays, whoever waits.
        client.mav.heartbeat_send(6, 8, 0, 0, 4)
        client.param_fetch_one("RTL_ALT")
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as second:
            second.settimeout(1.5)
            with pytest.raises(TimeoutError):
                second.recv(1)
        assert client.recv_match(type="PARAM_VALUE", blocking=True, timeout=5) is not None
        client.close()


def test_an_unsigned_link_stays_on_loopback(tmp_path: Path, signer: Signer) -> None:
    autopilot = Autopilot(Multirotor(), Settings("drone", HOME))
    with pytest.raises(MavlinkError, match="--allow-remote with --key FILE"):
        TcpServer(autopilot.open_channel("a"), "0.0.0.0", 0, allow_remote=True)  # noqa: S104
    TcpServer(autopilot.open_channel("b", signer), "0.0.0.0", 0, allow_remote=True).close()  # noqa: S104


def test_a_client_that_comes_back_after_a_kill_is_heard(tmp_path: Path) -> None:
    """Times are stored ahead of their use: the client's next frame would be too early, but it takes our time over."""
    state = tmp_path / "times"
    with Served20(signer=Signer(SECRET, state)) as running:
        client = signed(f"tcp:127.0.0.1:{running.port}", autoreconnect=False)
        assert client.wait_heartbeat(timeout=20) is not None
        client.mav.heartbeat_send(6, 8, 0, 0, 4)
        deadline = time.monotonic() + 10.0
        while not running.links[0].channel.received:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        left = Path(shutil.copy(state, tmp_path / "left"))
        client.close()
    with Served20(signer=Signer(SECRET, left)) as running:
        again = mavutil.mavlink_connection(f"tcp:127.0.0.1:{running.port}", source_system=255, autoreconnect=False)
        again.setup_signing(SECRET, link_id=client.mav.signing.link_id)
        assert again.wait_heartbeat(timeout=20) is not None
        again.param_fetch_one("RTL_ALT")
        assert again.recv_match(type="PARAM_VALUE", blocking=True, timeout=20) is not None
        assert not running.links[0].channel.refused
        again.close()

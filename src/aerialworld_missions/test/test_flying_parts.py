"""The parts of flying that need no vehicle: clocks, what is heard, links, items, the words of the nodes."""

from __future__ import annotations

import math
import os
import pty
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.earth import Earth
from aerialworld_core.errors import MavlinkError, PlanError
from aerialworld_core.frames import Georeference
from aerialworld_core.mavlink.signing import signer_of
from aerialworld_core.mavlink.wire import Decoder, Encoder, Message, dialect
from aerialworld_core.plan import Plan
from aerialworld_missions.flying.clock import Step, VehicleClock
from aerialworld_missions.flying.follow import SAMPLE, Track, send_setpoint
from aerialworld_missions.flying.guard import GRACE_WALL, Guard, Limits, StationFailsafe
from aerialworld_missions.flying.items import check_reach, mission_of
from aerialworld_missions.flying.links import open_link
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.site import Site
from aerialworld_missions.flying.station import Station
from aerialworld_missions.flying.telemetry import Telemetry
from aerialworld_missions.flying.vehicle import Vehicle

HOME = Georeference(35.681236, 139.767125, 10.0)


class Wall:
    """A wall clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class NoLink:
    """A link on which nothing comes."""

    many, where = False, "nowhere"

    def send(self, data: bytes, address: Any) -> None: ...


# The guard


class Flown:
    """A copter that flies in AUTO, watched: the test says what it hears."""

    def __init__(self) -> None:
        self.words, self.vehicle = dialect(), Vehicle(Station(NoLink()), "drone")  # type: ignore[arg-type]
        self.guard = Guard(self.vehicle, Limits(), lambda: False)

    def hear(self, at: float, *messages: Any) -> None:
        for m in (self.words.MAVLink_system_time_message(0, round(at * 1000)), *messages):
            self.vehicle.state.take(m)

    def beat(self, mode: int, status: int = 4) -> Any:
        return self.words.MAVLink_heartbeat_message(2, 3, 217, mode, status, 3)

    def text(self, words: bytes, severity: int = 4) -> Any:
        return self.words.MAVLink_statustext_message(severity, words, 0, 0)


def test_a_failsafe_told_in_one_burst_with_the_first_waypoint_is_not_taken_for_somebody_else() -> None:
    """As ArduCopter sent it to a client that had been stopped for 9 s: the waypoint, the failsafe and RTL at once."""
    copter = Flown()
    copter.hear(72.8, copter.text(b"PreArm: Battery failsafe"), copter.beat(3))
    copter.guard.watch({"AUTO"}, flying=True)
    copter.guard()
    reached = copter.words.MAVLink_mission_item_reached_message(3)
    copter.hear(84.5, reached, copter.text(b"GCS Failsafe"), copter.beat(6, 5))
    copter.guard.watch({"AUTO"}, flying=True)  # the first waypoint was reached
    copter.guard()
    copter.hear(91.9, copter.text(b"GCS Failsafe Cleared"), copter.beat(6))
    time.sleep(GRACE_WALL + 0.01)
    with pytest.raises(StationFailsafe, match="GCS Failsafe"):
        copter.guard()


def test_a_restart_is_known_by_the_heartbeats_of_the_boot() -> None:
    """ArduCopter tells no time after a reboot until it is asked for streams anew."""
    copter = Flown()
    copter.hear(60.0, copter.beat(3))
    copter.guard.watch({"AUTO"}, flying=True)
    copter.guard()
    copter.vehicle.state.take(copter.words.MAVLink_heartbeat_message(2, 3, 81, 0, 1, 3))
    with pytest.raises(MissionEnded) as ended:
        copter.guard()
    assert ended.value.outcome is Outcome.RESTARTED


@pytest.mark.parametrize("acts", [True, False])
def test_an_autopilot_is_given_time_to_act_upon_its_fence(acts: bool) -> None:
    """ArduCopter tells the breach with FENCE_STATUS before the heartbeat with RTL."""
    copter = Flown()
    copter.hear(72.8, copter.beat(3))
    copter.guard.watch({"AUTO"}, flying=True)
    copter.guard()
    copter.hear(86.2, copter.words.MAVLink_fence_status_message(1, 1, 3, 0))
    copter.guard()
    copter.hear(86.3, copter.beat(6 if acts else 3), copter.text(b"Circle fence breached", 5))
    copter.guard()
    copter.hear(88.0)
    time.sleep(GRACE_WALL + 0.01)
    said = "fence breached; the autopilot " + ("went from AUTO to RTL by itself" if acts else "itself stays in AUTO")
    with pytest.raises(MissionEnded, match=said) as ended:
        copter.guard()
    assert ended.value.outcome is Outcome.FENCE


# The clock


def test_time_passes_as_the_vehicle_says() -> None:
    wall = Wall()
    clock = VehicleClock(wall)
    for k in range(200):
        wall.now = k * 0.01
        assert clock.note(5_000 + 200 * k) is Step.ON
    assert clock.now == pytest.approx(39.8) and clock.pace == pytest.approx(20.0, rel=0.02)


def test_neither_disorder_nor_jumps_nor_restarts_are_time() -> None:
    wall = Wall()
    clock = VehicleClock(wall)
    steps = []
    for at, boot in [(0, 60_000), (1, 61_000), (1.1, 60_900), (2, 62_000), (2.1, 3_662_100), (3, 3_663_000), (4, 500)]:
        wall.now = at
        steps.append(clock.note(boot))
    assert steps == [Step.ON, Step.ON, Step.OLD, Step.ON, Step.JUMP, Step.ON, Step.RESTART]
    assert clock.now == pytest.approx(2.9) and (clock.jumps, clock.restarts) == (1, 1)


def test_a_long_silence_is_time() -> None:
    wall = Wall()
    clock = VehicleClock(wall)
    clock.note(10_000)
    wall.now = 10.0
    assert clock.note(210_000) is Step.ON and clock.now == pytest.approx(200.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(0, 2**32 - 1)), max_size=60))
def test_no_clock_goes_back_or_fails(steps: list[tuple[float, int]]) -> None:
    wall = Wall()
    clock = VehicleClock(wall)
    before = 0.0
    for passed, boot in steps:
        wall.now += passed
        clock.note(boot)
        assert clock.now >= before and math.isfinite(clock.pace)
        before = clock.now


# What is heard


def test_texts_lose_what_a_terminal_would_obey_and_long_ones_are_joined() -> None:
    words, state = dialect(), Telemetry(Wall())
    state.take(words.MAVLink_statustext_message(4, b"\x1b[2Jred\x07 alert\x00rest", 0, 0))
    assert state.texts[-1].text == " [2Jred  alert"
    long = "PreArm: " + "x" * 80
    state.take(words.MAVLink_statustext_message(2, long[:50].encode(), 7, 0))
    assert state.said == 1
    state.take(words.MAVLink_statustext_message(2, long[50:].encode(), 7, 1))
    assert state.texts[-1].text == long and state.complaints() == [" [2Jred  alert", long]


def test_what_is_heard_is_bounded_and_nothing_of_it_raises() -> None:
    """Every message of the dialect, filled with noise."""
    words, state, random = dialect(), Telemetry(Wall()), np.random.default_rng(3)
    decoder, mavlink = Decoder(), dialect().MAVLink(None)
    for number, kind in words.mavlink_map.items():
        for _ in range(3):
            payload = random.integers(0, 256, kind.unpacker.size, dtype=np.uint8).tobytes()
            head = bytes([len(payload), 0, 0, 0, 1, 1, *int(number).to_bytes(3, "little")])
            crc = words.x25crc(head + payload + bytes([kind.crc_extra])).crc
            message = mavlink.decode(bytearray(b"\xfd" + head + payload + crc.to_bytes(2, "little")))
            state.take(message)
    for n in range(2000):
        state.take(words.MAVLink_statustext_message(6, str(n).encode(), n % 40, n % 7))
        state.take(words.MAVLink_mission_item_reached_message(n % 65536))
    assert len(state.texts) <= 400 and len(state.replies) <= 400 and len(state.reached) <= 10_000
    assert decoder.room() > 0


# Links


class Replies:
    """What a station's peer hears, in a thread."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read, self._write, self.decoder, self.heard = read, write, Decoder(), []  # type: ignore[var-annotated]
        self.encoder = Encoder(1)

    def beat(self) -> None:
        fields = {"type": 2, "autopilot": 3, "base_mode": 89, "custom_mode": 4, "system_status": 3}
        self._write(self.encoder.frame(Message("heartbeat", {**fields, "mavlink_version": 3})))

    def listen(self) -> None:
        try:
            self.decoder.feed(self._read())
        except (BlockingIOError, OSError):
            return
        self.heard += self.decoder.take(100)[0]


def meet(station: Station, replies: Replies) -> None:
    """Until each has heard the other."""
    peer = station.expect(1)
    with station:
        until = time.monotonic() + 20.0
        while peer.telemetry.kind is None or not replies.heard:
            assert time.monotonic() < until, (peer.telemetry.kind, replies.heard, station.ignored)
            replies.beat()
            replies.listen()
            time.sleep(0.01)
    assert peer.telemetry.mode == 4 and replies.heard[0].get_srcSystem() == 255


def test_a_serial_line() -> None:
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    name = os.ttyname(slave)
    meet(Station.open(f"serial:{name}:57600"), Replies(lambda: os.read(master, 4096), lambda d: os.write(master, d)))
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("kind", ["tcp", "udpin", "udpout"])
def test_sockets_of_each_kind(kind: str) -> None:
    if kind == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as server:
            station = Station.open(f"tcp:127.0.0.1:{server.getsockname()[1]}")
            accepted: list[socket.socket] = []
            threading.Thread(target=lambda: accepted.append(server.accept()[0]), daemon=True).start()

            def read() -> bytes:
                if not accepted:
                    raise BlockingIOError
                accepted[0].setblocking(False)
                return accepted[0].recv(4096)

            meet(station, Replies(read, lambda d: accepted[0].send(d) if accepted else None))
            accepted[0].close()
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as vehicle:
        vehicle.bind(("127.0.0.1", 0))
        vehicle.setblocking(False)
        if kind == "udpout":
            station = Station.open(f"udpout:127.0.0.1:{vehicle.getsockname()[1]}")
            to: list[Any] = []

            def hear() -> bytes:
                data, sender = vehicle.recvfrom(4096)
                to[:] = [sender]
                return data

            meet(station, Replies(hear, lambda d: vehicle.sendto(d, to[0]) if to else None))
        else:
            station = Station(open_link("udpin:45871"))
            meet(station, Replies(lambda: vehicle.recv(4096), lambda d: vehicle.sendto(d, ("127.0.0.1", 45871))))


def test_another_address_and_another_system_do_not_count() -> None:
    station = Station(open_link("udpin:45873"))
    peer = station.expect(1)
    true, false = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    beat = {"type": 2, "autopilot": 3, "base_mode": 0, "system_status": 3, "mavlink_version": 3}
    one, two, other = Encoder(1), Encoder(1), Encoder(9)
    with station, true, false:
        until = time.monotonic() + 20
        while station.ignored["from another address"] < 3 or station.ignored["of others"] < 3:
            assert time.monotonic() < until, station.ignored
            true.sendto(one.frame(Message("heartbeat", {**beat, "custom_mode": 4})), ("127.0.0.1", 45873))
            time.sleep(0.02)
            false.sendto(two.frame(Message("heartbeat", {**beat, "custom_mode": 9})), ("127.0.0.1", 45873))
            false.sendto(other.frame(Message("heartbeat", {**beat, "custom_mode": 9})), ("127.0.0.1", 45873))
    assert peer.telemetry.mode == 4


def test_a_signed_station_takes_only_what_is_signed(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as vehicle:
        vehicle.bind(("127.0.0.1", 0))
        vehicle.setblocking(False)
        station = Station.open(f"udpout:127.0.0.1:{vehicle.getsockname()[1]}", key=key)
        peer, signer = station.expect(1), signer_of(key, 1)
        plain, signed = Encoder(1), Encoder(1, signer=signer)
        fields = {"type": 2, "autopilot": 3, "base_mode": 0, "system_status": 3, "mavlink_version": 3}
        try:
            with station:
                until, sender = time.monotonic() + 20, None
                while peer.telemetry.heartbeats < 3:
                    assert time.monotonic() < until
                    time.sleep(0.01)
                    try:
                        data, sender = vehicle.recvfrom(4096)
                        assert data[2] & 1  # signed
                    except BlockingIOError:
                        pass
                    if sender is not None:
                        vehicle.sendto(plain.frame(Message("heartbeat", {**fields, "custom_mode": 9})), sender)
                        vehicle.sendto(signed.frame(Message("heartbeat", {**fields, "custom_mode": 4})), sender)
                        assert peer.telemetry.mode in (None, 4)
        finally:
            signer.close()


@pytest.mark.parametrize(
    ("address", "words"),
    [("tcp:0.0.0.0:5760", "loopback"), ("udpin:0.0.0.0:14550", "loopback"), ("udpin:127.0.0.1:99999", "1 to 65535"),
     ("http://x", "is none of"), ("serial:ttyUSB0", "is none of"), ("/dev/nothing_there", "No such file")],
)  # fmt: skip
def test_addresses_that_are_none_or_not_safe(address: str, words: str) -> None:
    with pytest.raises(MavlinkError, match=words):
        open_link(address)


# Plans as missions


def circle(radius: float = 30.0, speed: float = 5.0) -> Plan:
    t = np.arange(0.0, 30.0, 0.1)
    angle = speed / radius * t
    position = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(len(t), 40.0)])
    yaw = angle + math.pi
    orientation = np.column_stack([np.zeros(len(t)), np.zeros(len(t)), np.sin(yaw / 2), np.cos(yaw / 2)])
    return Plan("circle", "drone_1", "drone", "orbit", "A", 0, t, position, orientation)


def test_items_are_the_plans_waypoints_on_earth() -> None:
    plan, earth = circle(), Earth(HOME)
    site = Site(earth, 0.0)
    home = (*earth.e7_of(np.zeros(3)), 10.0)
    mission = mission_of(plan, site, home, "drone", "rtl", 55.0)
    waypoints = [i for i in mission.items[mission.first : mission.last + 1] if i.command == 16]
    assert len(waypoints) == len(plan.route())
    for item, waypoint in zip(waypoints, plan.route(), strict=True):
        assert [*earth.map_of(item.x, item.y), item.z] == pytest.approx(list(waypoint.position), abs=0.02)
    commands = [i.command for i in mission.items]
    assert commands[:3] == [16, 22, 16] and commands[-2:] == [16, 20]  # over the roofs to the start, and from the end
    assert mission.items[1].z == mission.items[2].z == mission.items[-2].z == 55.0
    looks = [i.params[0] for i in mission.items if i.command == 115]
    assert looks[0] == pytest.approx(270.0, abs=0.1)  # from the east of the centre to the west


def test_plans_out_of_reach_are_refused() -> None:
    plan, earth = circle(), Earth(HOME)
    with pytest.raises(PlanError, match=r"11\.1 km from the vehicle's home"):
        check_reach(plan, Site(earth, 0.0), earth.e7_of(np.array([0.0, 11_100.0, 0.0])), "drone")
    with pytest.raises(PlanError, match=r"lowest point is -5\.0 m above"):
        check_reach(plan, Site(earth, 45.0), earth.e7_of(np.zeros(3)), "drone")
    check_reach(plan, Site(earth, 45.0), earth.e7_of(np.zeros(3)), "rover")


def test_a_track_knows_its_sides_and_how_hard_it_turns() -> None:
    track = Track.of(circle(radius=30.0, speed=9.0))
    position, velocity, acceleration, yaw = track.at(3.0)
    assert np.linalg.norm(velocity) == pytest.approx(9.0, rel=1e-3)
    assert np.linalg.norm(acceleration) == pytest.approx(81 / 30, rel=1e-3)
    assert math.remainder(yaw - math.atan2(-position[1], -position[0]), 2 * math.pi) == pytest.approx(0, abs=1e-3)
    inside = position * np.array([28 / 30, 28 / 30, 1.0])
    assert track.off(3.0, inside) == pytest.approx(2.0, abs=0.01)  # counter-clockwise: the centre is on the left
    assert track.pace_allowed(3.0) == pytest.approx(math.sqrt(1.5 / (81 / 30)), rel=0.02)
    assert track.duration == pytest.approx(29.9, abs=2 * SAMPLE)


def test_a_setpoint_is_given_in_the_vehicles_own_plane_from_where_it_is_in_both() -> None:
    """ArduCopter takes accelerations with the local message alone; its plane has another origin than map."""
    copter, sent = Flown(), []
    copter.vehicle.send = lambda name, **fields: sent.append((name, fields))  # type: ignore[method-assign]
    earth = Earth(HOME)
    site = Site(earth, 2.0)
    lat, lon = earth.e7_of(np.array([10.0, 20.0, 0.0]))
    place = (lat, lon, 0, 30_000, 0, 0, 0, 0)
    copter.hear(49.8, copter.words.MAVLink_global_position_int_message(49_800, *place))
    move = {"velocity": np.array([1.0, 2.0, 0.0]), "acceleration": np.array([0.5, 0.0, 0.25])}
    send_setpoint(copter.vehicle, site, np.array([11.0, 23.0, 33.0]), 0.0, **move)
    # 0.1 s earlier it was, by its own plane, at 200 north, 100 east, 30 up, going north at 5 m/s.
    copter.vehicle.state.take(copter.words.MAVLink_local_position_ned_message(49_900, 200, 100, -30, 5, 0, 0))
    copter.vehicle.state.take(copter.words.MAVLink_global_position_int_message(50_000, *place))
    send_setpoint(copter.vehicle, site, np.array([11.0, 23.0, 33.0]), 0.0, **move)
    (old, on_earth), (name, local) = sent
    assert (old, name) == ("set_position_target_global_int", "set_position_target_local_ned")
    assert (on_earth["coordinate_frame"], on_earth["alt"]) == (6, 31.0)
    assert (local["coordinate_frame"], local["type_mask"]) == (1, 0x800)
    assert [local[k] for k in "xyz"] == pytest.approx([200 + 0.5 + 3, 101, -31], abs=0.01)
    assert [local[k] for k in ("vx", "vy", "vz", "afx", "afy", "afz")] == [2.0, 1.0, 0.0, 0.0, 0.5, -0.25]
    assert local["yaw"] == pytest.approx(math.pi / 2)


def test_a_plan_that_ends_in_full_flight_is_brought_to_rest_at_its_end() -> None:
    """Otherwise ArduCopter flew on for 7 m and came back: beyond what the plan keeps clear of."""
    track = Track.of(circle(radius=30.0, speed=5.0))
    t, speeds, step = 0.0, [], 0.1
    while t < track.duration:
        assert len(speeds) < 1000
        pace = track.pace_allowed(t)
        speeds.append(pace * float(np.linalg.norm(track.at(t)[1])))
        t += pace * step
    assert max(speeds) == pytest.approx(5.0, rel=1e-3) and 0.0 < speeds[-1] < 0.8
    assert np.diff(speeds).min() / step > -1.5


@pytest.mark.parametrize("ours", [None, "ours"])
def test_a_vehicle_with_another_key_or_one_while_we_have_none_is_named(ours: str | None, tmp_path: Path) -> None:
    """An ArduPilot with a key signs what it sends."""
    keys = {}
    for number, name in enumerate(("theirs", "ours"), start=1):
        keys[name] = tmp_path / name
        keys[name].write_bytes(bytes([number]) * 32)
        keys[name].chmod(0o600)
    link = open_link("udpin:127.0.0.1:45874")
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    theirs = signer_of(keys["theirs"], 1)
    station = Station(link, signer=signer_of(keys[ours], 255) if ours else None)
    vehicle, frames = Vehicle(station, "drone"), Encoder(1, signer=theirs)
    with station, sender:
        until = time.monotonic() + 20
        while not (vehicle.state.signed or station.refused):
            assert time.monotonic() < until
            beat = {"type": 2, "autopilot": 3, "base_mode": 0, "custom_mode": 4, "system_status": 3}
            sender.sendto(frames.frame(Message("heartbeat", {**beat, "mavlink_version": 3})), ("127.0.0.1", 45874))
            time.sleep(0.02)
        with pytest.raises(MissionEnded, match="wrongly signed" if ours else "give its key"):
            vehicle.connect(0.1)
    theirs.close()

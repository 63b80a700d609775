"""The JSON physics peer against a client that speaks as SITL does, the recorded exchange, and what else may come."""

from __future__ import annotations

import json
import math
import socket
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, rotation_from_quaternion
from aerialworld_core.sensing import GRAVITY
from aerialworld_sim.vehicles.interface import Brake, Contact
from aerialworld_sim.vehicles.moments import Moment
from aerialworld_sim.vehicles.parameters import RoverParameters
from aerialworld_sim.vehicles.physics.car import CarBody
from aerialworld_sim.vehicles.physics.json_protocol import Servos, encode_state, pack_servos, parse_servos
from aerialworld_sim.vehicles.physics.quad import QuadBody, QuadParameters
from aerialworld_sim.vehicles.physics.sitl import SilentAutopilot, SitlVehicle
from aerialworld_sim.vehicles.rover import Rover

sys.path.insert(0, str(Path(__file__).parent))
from flight_reference import FOLDER, needs_recordings

MS = 1_000_000
OFF = (1000,) * 16


class Client:
    """The autopilot's side: sends servos, waits for the state, as SITL's parser finds it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5.0)
        self.address, self.count = address, 0

    def send(self, pwm=OFF, count: int | None = None, rate: int = 1001) -> None:
        if count is None:
            count, self.count = self.count, self.count + 1
        self.socket.sendto(pack_servos(Servos(rate, count, tuple(pwm))), self.address)

    def receive(self) -> dict:
        line = self.socket.recv(4096)
        assert line.startswith(b"\n{") and line.endswith(b"}\n") and b": " not in line and b", " not in line
        return json.loads(line)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def peer():
    vehicle = SitlVehicle(QuadBody(), address=("127.0.0.1", 0), timeout=5.0)
    client = Client(vehicle.address)
    yield vehicle, client
    client.close()
    vehicle.close()


def run(vehicle: SitlVehicle, milliseconds: int) -> threading.Thread:
    thread = threading.Thread(target=vehicle.step, args=(milliseconds * MS,))
    thread.start()
    return thread


def body_rotation(state: dict) -> np.ndarray:
    w, x, y, z = state["quaternion"]
    return rotation_from_quaternion([x, y, z, w])


def test_at_rest_the_state_is_what_sitl_expects(peer):
    """NED, forward-right-down, specific force (0, 0, −g), one step a packet."""
    vehicle, client = peer
    stepping = run(vehicle, 3)
    for k in range(3):
        client.send(rate=1200 if k == 0 else 1001)
        state = client.receive()
        assert state["timestamp"] == pytest.approx(0.001 * (k + 1))
        assert state["imu"]["accel_body"] == pytest.approx([0, 0, -GRAVITY], abs=1e-6)
        assert np.abs(state["imu"]["gyro"]).max() == 0
        assert np.abs(state["position"] + state["velocity"]).max() < 1e-6
        assert "no_time_sync" not in state  # SITL keeps to its own --speedup, which it would not care for otherwise
        east, down = body_rotation(state)[:, 0], body_rotation(state)[:, 2]
        assert east == pytest.approx([0, 1, 0], abs=1e-12) and down == pytest.approx([0, 0, 1], abs=1e-12)
    stepping.join()
    assert vehicle.state.stamp_ns == 3 * MS and vehicle.counts.steps == 3 and vehicle.contact is Contact.GROUND


@pytest.mark.parametrize(("yaw", "heading"), [(0.0, 90.0), (90.0, 0.0), (45.0, 45.0), (180.0, -90.0)])
def test_frames_turn_as_they_should(yaw, heading):
    """Nose east is heading 90°; moving along it and rolling right is forward and positive roll in NED."""
    r = math.radians(yaw)
    pose = Pose.from_rpy(10, 20, 5, math.radians(10), math.radians(5), r)
    x, y, z, w = pose.orientation
    velocity = (3 * math.cos(r), 3 * math.sin(r), 1.0)
    moment = Moment(0, (10.0, 20.0, 5.0), velocity, (0.0, 0.0, 0.0), (x, y, z, w), (0.1, 0.2, 0.3))
    state = json.loads(encode_state(1.0, moment, (9.0, 18.0, 4.0)))
    assert state["position"] == pytest.approx([2, 1, -1]) and state["imu"]["gyro"] == pytest.approx([0.1, -0.2, -0.3])
    m = body_rotation(state)
    assert math.degrees(math.atan2(m[1, 0], m[0, 0])) == pytest.approx(heading)
    assert math.degrees(math.asin(-m[2, 0])) == pytest.approx(-5.0)
    assert math.degrees(math.atan2(m[2, 1], m[2, 2])) == pytest.approx(10.0)
    assert state["velocity"] == pytest.approx(
        [3 * math.cos(math.radians(heading)), 3 * math.sin(math.radians(heading)), -1.0]
    )
    force = m @ state["imu"]["accel_body"]
    assert force == pytest.approx([0, 0, -GRAVITY], abs=1e-9)


def test_the_same_count_gets_the_same_answer_and_no_step(peer):
    vehicle, client = peer
    stepping = run(vehicle, 2)
    client.send(count=0)
    first = client.receive()
    client.send(count=0)
    assert client.receive() == first
    client.send(count=1)
    assert client.receive()["timestamp"] == pytest.approx(0.002)
    stepping.join()
    assert vehicle.counts.steps == 2 and vehicle.counts.resent == 1


def test_a_pause_is_waited_out_and_a_reset_takes_time_back(peer):
    """While nobody steps nothing is answered; after it the waiting packet is, once."""
    vehicle, client = peer
    run(vehicle, 1).join(0)
    client.send()
    client.receive()
    client.send()
    client.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.receive()
    client.socket.settimeout(5.0)
    vehicle.step(1 * MS)
    assert client.receive()["timestamp"] == pytest.approx(0.002)
    vehicle.reset()
    client.send()
    vehicle.step(1 * MS)
    assert client.receive()["timestamp"] == pytest.approx(0.001)


def test_a_restarted_autopilot_begins_anew_while_simulation_time_goes_on(peer):
    vehicle, client = peer
    stepping = run(vehicle, 60)
    for _ in range(50):
        client.send([1600] * 16)
        client.receive()
    client.count = 0
    client.send()
    again = client.receive()
    for _ in range(9):
        client.send()
        client.receive()
    stepping.join()
    assert again["timestamp"] == pytest.approx(0.001) and vehicle.counts.restarts == 1
    assert vehicle.state.stamp_ns == 60 * MS


def test_an_autopilot_that_is_not_there_is_named():
    vehicle = SitlVehicle(QuadBody(), address=("127.0.0.1", 0), timeout=0.1)
    with pytest.raises(SilentAutopilot, match="--model JSON"):
        vehicle.step(1 * MS)
    vehicle.close()


def test_hostile_packets_are_counted_and_ignored(peer):
    """Short, long, wrong magic, random, from another port, ten thousand of them: the flight goes on."""
    vehicle, client = peer
    stepping = run(vehicle, 200)
    client.send()
    client.receive()
    stranger = Client(vehicle.address)
    random = np.random.default_rng(0)
    good = pack_servos(Servos(1000, 5, OFF))
    bad = [b"", good[:-1], good + b"x", struct.pack("<HHI16H", 1, 1, 1, *OFF), b"\xff" * 40, good * 50]
    sent = 0
    for k in range(199):
        for _ in range(25):
            packet = bad[sent % len(bad)] if sent % 2 else random.bytes(int(random.integers(0, 200)))
            (client if sent % 3 else stranger).socket.sendto(packet, vehicle.address)
            sent += 1
        stranger.send(count=k)
        client.send()
        assert client.receive()["timestamp"] == pytest.approx(0.001 * (k + 2))
    stepping.join()
    stranger.close()
    assert vehicle.counts.steps == 200 and vehicle.counts.foreign == 199 and vehicle.counts.malformed == sent


def test_only_loopback_is_bound_and_a_taken_port_is_named():
    with pytest.raises(InputError, match="loopback only"):
        SitlVehicle(QuadBody(), address=("192.0.2.1", 0))
    first = SitlVehicle(QuadBody(), address=("127.0.0.1", 0))
    with pytest.raises(InputError, match="cannot be opened"):
        SitlVehicle(QuadBody(), address=first.address)
    with pytest.raises(InputError, match="multiple of"):
        first.step(1)
    with pytest.raises(InputError, match="over MAVLink"):
        first.command(Brake())
    first.close()


def test_packets_of_both_sizes_round_trip():
    for channels in (16, 32):
        servos = Servos(1001, 70_000, tuple(range(1000, 1000 + channels)))
        assert parse_servos(pack_servos(servos)) == servos
    assert len(pack_servos(Servos(0, 0, OFF))) == 40 and parse_servos(b"") is None


def mix(throttle: float, roll: float, pitch: float, yaw: float) -> list[int]:
    """ArduPilot's quad X: roll right, pitch up and yaw right positive, motors front right, rear left, front left, rear
    right; the first two turn counter-clockwise."""
    shares = [
        throttle - roll + pitch + yaw, throttle + roll - pitch + yaw,
        throttle + roll + pitch - yaw, throttle - roll - pitch - yaw,
    ]  # fmt: skip
    return [int(1000 + 1000 * min(max(s, 0.0), 1.0)) for s in shares] + [1000] * 12


def test_a_simple_autopilot_flies_it_up_across_and_down(peer):
    """Ten metres up, ten north, turned to 90°: signs of motors, attitude and position all matter to this."""
    vehicle, client = peer
    stepping = run(vehicle, 13_000)
    wanted = np.array([10.0, 0.0, -10.0])
    client.send()
    state = client.receive()
    for _ in range(12_999):
        m = body_rotation(state)
        roll, pitch = math.atan2(m[2, 1], m[2, 2]), math.asin(-m[2, 0])
        yaw = math.atan2(m[1, 0], m[0, 0])
        p, q, r = state["imu"]["gyro"]
        position, velocity = np.array(state["position"]), np.array(state["velocity"])
        target = wanted if state["timestamp"] > 3 else np.array([0, 0, -10.0])
        ask = np.clip(0.6 * (target - position), -2, 2) - velocity
        north, east = 1.2 * ask[0] / GRAVITY, 1.2 * ask[1] / GRAVITY
        forward = north * math.cos(yaw) + east * math.sin(yaw)
        right = -north * math.sin(yaw) + east * math.cos(yaw)
        error = math.remainder(math.pi / 2 - yaw, 2 * math.pi)
        client.send(
            mix(
                0.389 - 0.1 * ask[2],
                0.25 * (4.5 * (right - roll) - p) * 0.4,
                0.25 * (4.5 * (-forward - pitch) - q) * 0.4,
                0.2 * (2.0 * error - r),
            )
        )
        state = client.receive()
    stepping.join()
    assert np.array(state["position"]) == pytest.approx(wanted, abs=0.3) and not vehicle.incident
    assert np.abs(state["velocity"]).max() < 0.2 and yaw == pytest.approx(math.pi / 2, abs=0.05)
    assert vehicle.state.pose.position == pytest.approx([0, 10, 10 + vehicle.body.parameters.stand], abs=0.3)


def test_hover_takes_the_declared_share_and_falling_breaks_it():
    body = QuadBody(parameters=QuadParameters(hover=0.4))
    for _ in range(1000):
        body.step([1390] * 4)
    assert body.on_ground and abs(body.moment.velocity[2]) < 1e-6
    for _ in range(4000):
        body.step([1500] * 4)
    assert not body.on_ground and body.moment.position[2] > 5
    for _ in range(300):
        body.step([1400] * 4)
    climb = body.moment.velocity[2]
    assert body.moment.acceleration[2] == pytest.approx(-body.parameters.drag[2] * climb, abs=1e-3) and climb > 3
    for _ in range(6000):
        body.step([1000] * 4)
    assert body.incident.startswith("hit the ground at") and np.abs(body.moment.velocity).max() < 1e-9
    with pytest.raises(InputError, match=r"below 0\.9"):
        QuadParameters(hover=0.95)


def test_a_rover_is_driven_by_steering_and_throttle_or_by_its_sides():
    """Steering 2000 µs turns right; a skid rover turns left when its right side is faster."""
    for steering, pwm, sign in (("ackermann", (1700, 0, 1600), -1), ("skid", (1500, 0, 1600), 1)):
        vehicle = SitlVehicle(
            CarBody(Rover(parameters=RoverParameters(steering=steering))), "rover", address=("127.0.0.1", 0)
        )
        client = Client(vehicle.address)
        stepping = run(vehicle, 1000)
        for _ in range(100):
            client.send([*pwm, *[0] * 13])
            state = client.receive()
        stepping.join()
        assert vehicle.state.pose.yaw * sign > 0.1 and state["timestamp"] == pytest.approx(1.0)
        assert vehicle.contact is Contact.GROUND and state["velocity"][1] > 0.3
        client.close()
        vehicle.close()


@needs_recordings
def test_the_recorded_exchange_is_reproduced(peer):
    """The recording holds the first packets, the counts, motor outputs and states at 5 Hz (not all 79,036 packets).

    Its packets are answered one by one; its motor outputs, interpolated and sent through the socket, lift our body as
    they lifted the recorded one: off the ground at the same moment, and within 0.5 m and 0.2 m/s during the whole
    climb to 10 m, although nothing steers the height.
    """
    mavutil = pytest.importorskip("pymavlink.mavutil")
    recorded = json.loads((FOLDER / "copter_json_I1.phys.json").read_text())
    vehicle, client = peer
    stepping = run(vehicle, 3)
    for rate, count, pwm in recorded["first"]:
        packet = struct.pack("<HHI16H", 18458, rate, count, *pwm, *[0] * 8)
        assert len(packet) == int(next(iter(recorded["sizes"])))
        client.socket.sendto(packet, vehicle.address)
        assert client.receive()["timestamp"] == pytest.approx(0.001 * (count + 1))
    stepping.join()
    log = mavutil.mavlink_connection(str(FOLDER / "copter_json_I1.tlog"))
    servos, states = [], []
    while (message := log.recv_match(type=["SERVO_OUTPUT_RAW", "LOCAL_POSITION_NED"])) is not None:
        if message.get_type() == "SERVO_OUTPUT_RAW":
            servos.append([message.time_usec * 1e-6, *(getattr(message, f"servo{k}_raw") for k in range(1, 5))])
        else:
            states.append([message.time_boot_ms * 1e-3, -message.z, -message.vz])
    servos, states = np.array(servos), np.array(states)
    begin, end = 45.0, 53.0
    times = np.arange(begin, end, 0.001)
    pwm = np.stack([np.interp(times, servos[:, 0], servos[:, k]) for k in range(1, 5)], axis=1)
    client.count = 3
    stepping = run(vehicle, len(times))
    ours = []
    for row in pwm:
        client.send([*np.rint(row).astype(int), *[0] * 12])
        state = client.receive()
        ours.append([-state["position"][2], -state["velocity"][2]])
    stepping.join()
    ours = np.array(ours)
    rows = states[(states[:, 0] > begin) & (states[:, 0] < end)]
    height, climb = (np.interp(rows[:, 0], times, column) for column in ours.T)
    assert np.abs(height - rows[:, 1]).max() < 0.5 and np.abs(climb - rows[:, 2]).max() < 0.2
    lifted = [t[np.argmax(h > 0.015)] for t, h in ((times, ours[:, 0]), (rows[:, 0], rows[:, 1]))]
    assert lifted[0] == pytest.approx(lifted[1], abs=0.21)

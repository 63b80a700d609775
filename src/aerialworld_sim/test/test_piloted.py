"""Vehicles in the engine that an autopilot flies, reached by a real MAVLink client over TCP while time is stepped."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import Rig
from aerialworld_core.world import load_rig, load_world
from aerialworld_sim import Engine, Vehicle
from aerialworld_sim.piloted import Piloting, piloted
from aerialworld_sim.vehicles.physics.json_protocol import Servos, pack_servos

os.environ.setdefault("MAVLINK20", "1")
mavutil = pytest.importorskip("pymavlink.mavutil", reason="MAVLink needs pymavlink (extra autopilot)")

WORLD = Path(__file__).parents[3] / "worlds" / "small_city"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def world():
    return load_world(WORLD)


class Flight:
    """An engine with one drone under the embedded autopilot, and its client."""

    def __init__(self, world):
        self.port = free_port()
        self.motion = piloted("drone", Pose.identity(), world, Piloting("embedded", (f"tcp:{self.port}",)))
        rig = load_rig("rig_small")
        self.engine = Engine(world, {"drone_1": Vehicle(Rig("bare", (), (), None, rig.imu), self.motion)})
        self.client = mavutil.mavlink_connection(f"tcp:127.0.0.1:{self.port}", autoreconnect=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.motion.close()

    def until(self, seen, seconds):
        """Step the engine until `seen(message)` is true; the message, or None after so many simulated seconds."""
        for _ in range(round(seconds * 100)):
            self.engine.step(10_000_000)
            while (message := self.client.recv_match(blocking=False)) is not None:
                if seen(message):
                    return message
        return None

    def acknowledged(self, command):
        message = self.until(lambda m: m.get_type() == "COMMAND_ACK" and m.command == command, 2.0)
        return None if message is None else message.result

    def command(self, number, *params):
        self.client.mav.command_long_send(1, 1, number, 0, *params, *[0] * (7 - len(params)))
        return self.acknowledged(number)

    def take_off(self, height):
        assert self.until(lambda m: m.get_type() == "HEARTBEAT" and m.system_status >= 3, 10.0)
        self.until(lambda m: False, 45.0)  # the estimator settles
        assert self.command(176, 1, 4) == 0, "GUIDED"
        self.until(lambda m: False, 2.0)
        assert self.command(400, 1) == 0, "armed"
        self.until(lambda m: m.get_type() == "HEARTBEAT" and m.base_mode & 128, 2.0)
        assert self.command(22, 0, 0, 0, 0, 0, 0, height) == 0, "take-off"


def test_a_client_flies_a_vehicle_in_the_engine_and_sensors_feel_it(world):
    with Flight(world) as flight:
        start = flight.engine.state("drone_1").pose.position
        flight.engine.step(10_000_000)
        flight.take_off(12.0)
        flight.engine.imu_samples("drone_1")
        flight.until(lambda m: False, 9.0)
        samples = flight.engine.imu_samples("drone_1")
        lift = (samples[:, 6] - 9.80665).sum() * 0.01  # what the accelerometer's z adds up to while it climbs upright
        state = flight.engine.state("drone_1")
        assert lift == pytest.approx(state.linear_velocity[2], abs=0.3)
        flight.until(lambda m: False, 12.0)
        rise = flight.engine.state("drone_1").pose.position - start
        assert rise[2] == pytest.approx(12.0, abs=0.3)
        assert np.hypot(*rise[:2]) < 1.0


def test_a_reset_puts_vehicle_and_autopilot_back_and_the_client_stays(world):
    with Flight(world) as flight:
        start = flight.engine.state("drone_1").pose.position
        flight.take_off(8.0)
        flight.until(lambda m: False, 10.0)
        assert flight.engine.state("drone_1").pose.position[2] > start[2] + 4.0
        flight.engine.reset()
        assert flight.engine.stamp_ns == 0
        assert np.allclose(flight.engine.state("drone_1").pose.position, start, atol=1e-6)
        booted = flight.until(lambda m: m.get_type() == "HEARTBEAT", 5.0)
        assert booted is not None and not booted.base_mode & 128, "it boots anew, disarmed"
        flight.take_off(5.0)


def test_two_vehicles_have_ports_of_their_own(world):
    one = piloted("drone", Pose.identity(), world, Piloting("embedded", (f"tcp:{free_port()}",)))
    other = piloted(
        "rover", Pose.from_rpy(5.0, 0.0, 0.0), world, Piloting("embedded", (f"tcp:{free_port()}",), sysid=2, number=1)
    )
    try:
        assert one.where() != other.where()
        with pytest.raises(InputError, match=str(one.served.links[0].address[1])):
            piloted("drone", Pose.identity(), world, Piloting("embedded", (f"tcp:{one.served.links[0].address[1]}",)))
    finally:
        one.close()
        other.close()


def test_ardupilots_motor_outputs_move_a_vehicle_in_the_engine(world):
    """Ten servo packets are ten steps of 1 ms; after a restart the physics begins at time 0, and the port is let go."""
    how = Piloting("sitl", number=1007)
    address, sent = ("127.0.0.1", 9002 + 10 * 1007), 0
    for _ in range(2):
        motion = piloted("drone", Pose.identity(), world, how)
        try:
            assert motion.where().endswith("UDP 127.0.0.1:19072")
            with pytest.raises(InputError, match="19072"):
                piloted("drone", Pose.identity(), world, how)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sitl:
                sitl.settimeout(5.0)
                for _ in range(2):
                    for count in range(sent, sent + 10):
                        sitl.sendto(pack_servos(Servos(1000, count, (1000,) * 16)), address)
                    sent += 10
                    motion.listen()
                    state = motion.state(10_000_000)
                    answers = [json.loads(sitl.recv(4096)) for _ in range(10)]
                    assert [a["timestamp"] for a in answers] == pytest.approx([k / 1000 for k in range(1, 11)])
                    ground = world.terrain_height(state.pose.position[None, :2])[0]
                    assert 0.0 < state.pose.position[2] - ground < 0.5
                    assert answers[-1]["imu"]["accel_body"] == pytest.approx([0.0, 0.0, -9.8], abs=0.05)
                    motion.restart()
        finally:
            motion.close()


def test_mistakes_are_named(world):
    with pytest.raises(InputError, match="embedded or sitl"):
        Piloting("px4")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="SITL"):
        Piloting("sitl", ("tcp:5760",))
    with pytest.raises(InputError, match="tcp:PORT"):
        piloted("drone", Pose.identity(), world, Piloting("embedded", ("serial:/dev/tty",)))
    with pytest.raises(InputError, match="no ground"):
        piloted("drone", Pose.from_rpy(1e6, 0.0, 0.0), world, Piloting("embedded"))

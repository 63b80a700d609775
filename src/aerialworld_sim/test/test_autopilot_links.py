"""Real sockets on loopback: pymavlink's helpers fly it; clients that crowd, vanish, sleep or shout do not stop it."""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("MAVLINK20", "1")
sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import HOME, Bench, Served20
from pymavlink import mavparm, mavutil, mavwp

from aerialworld_core.errors import MavlinkError
from aerialworld_core.mavlink.places import checked_host, parse_address
from aerialworld_sim.autopilot import Autopilot, AutopilotError, Settings
from aerialworld_sim.autopilot.channel import OUTBOX
from aerialworld_sim.autopilot.links import TcpServer, Udp
from aerialworld_sim.vehicles.multirotor import Multirotor


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tcp_client(running: Served20, system: int = 255) -> Any:
    client = mavutil.mavlink_connection(f"tcp:127.0.0.1:{running.port}", source_system=system, autoreconnect=False)
    assert client.wait_heartbeat(timeout=20) is not None
    return client


def upload_with_mavwp(client: Any) -> mavwp.MAVWPLoader:
    """A mission of pymavlink's loader, sent as its documentation shows it."""
    loader = mavwp.MAVWPLoader(target_system=client.target_system, target_component=client.target_component)
    points = [(16, 0.0, 0.0, 0.0), (22, 0.0, 0.0, 10.0), (16, 35.6814, 139.7672, 10.0), (20, 0.0, 0.0, 0.0)]
    for command, latitude, longitude, altitude in points:
        loader.add(
            mavutil.mavlink.MAVLink_mission_item_message(
                client.target_system, client.target_component, loader.count(), 3, command, 0, 1, 0, 0, 0, 0,
                latitude, longitude, altitude,
            )
        )  # fmt: skip
    client.waypoint_clear_all_send()
    assert client.recv_match(type="MISSION_ACK", blocking=True, timeout=10).type == 0
    client.waypoint_count_send(loader.count())
    for _ in range(loader.count()):
        asked = client.recv_match(type=["MISSION_REQUEST", "WAYPOINT_REQUEST"], blocking=True, timeout=10)
        client.mav.send(loader.wp(asked.seq))
    assert client.recv_match(type="MISSION_ACK", blocking=True, timeout=10).type == 0
    return loader


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pymavlinks_mission_parameter_and_arming_helpers_work(transport: str) -> None:
    port = free_udp_port()
    udp = None
    if transport == "udp":
        udp = mavutil.mavlink_connection(f"udpin:127.0.0.1:{port}", source_system=255)
    with Served20(tcp=udp is None, udp=port if udp else None, wait=udp is None) as running:
        client = udp or tcp_client(running)
        assert client.wait_heartbeat(timeout=20) is not None
        # Parameters: the whole list, one read, one set with mavparm's confirmation.
        client.param_fetch_all()
        total = len(running.autopilot.parameters)
        while len(client.params) < total:
            assert client.recv_match(type="PARAM_VALUE", blocking=True, timeout=10) is not None
        assert client.params["WPNAV_SPEED"] == 1000.0
        assert mavparm.MAVParmDict().mavset(client, "WPNAV_SPEED", 500.0, retries=3)
        client.param_fetch_one("RTL_ALT")
        wanted = "PARAM_VALUE.param_id == 'RTL_ALT'"
        assert client.recv_match(condition=wanted, blocking=True, timeout=10).param_value == 1500.0
        # Missions.
        loader = upload_with_mavwp(client)
        client.waypoint_request_list_send()
        assert client.recv_match(type="MISSION_COUNT", blocking=True, timeout=10).count == loader.count()
        client.waypoint_request_send(2)
        stored = client.recv_match(type="MISSION_ITEM", blocking=True, timeout=10)
        assert (stored.command, round(stored.x, 4), round(stored.y, 4)) == (16, 35.6814, 139.7672)
        # Modes, arming, flying.
        running.until(43.0)
        client.set_mode("GUIDED")
        client.arducopter_arm()
        client.motors_armed_wait()
        client.mav.command_long_send(1, 1, 300, 0, 0, 0, 0, 0, 0, 0, 0)
        reached = client.recv_match(type="MISSION_ITEM_REACHED", blocking=True, timeout=20)
        assert reached is not None and running.autopilot.mode.name == "AUTO"
        client.motors_disarmed_wait()
        client.close()
        assert running.autopilot.runner.current == 0
        assert running.autopilot.estimator.relative_altitude() == pytest.approx(0.0, abs=0.1)


def test_two_vehicles_send_to_one_udp_port_and_are_told_apart() -> None:
    port = free_udp_port()
    client = mavutil.mavlink_connection(f"udpin:127.0.0.1:{port}", source_system=255)
    with Served20("drone", tcp=False, udp=port, sysid=1), Served20("rover", tcp=False, udp=port, sysid=2) as rover:
        kinds: dict[int, int] = {}
        deadline = time.monotonic() + 20
        while len(kinds) < 2 and time.monotonic() < deadline:
            beat = client.recv_match(type="HEARTBEAT", blocking=True, timeout=5)
            kinds[beat.get_srcSystem()] = beat.type
        assert kinds == {1: 2, 2: 10}
        rover.until(3.0)
        # pymavlink answers the last sender; a command to the other vehicle does nothing here.
        beat = None
        while beat is None or beat.get_srcSystem() != 2:
            beat = client.recv_match(type="HEARTBEAT", blocking=True, timeout=5)
        client.mav.command_long_send(2, 1, 176, 0, 1, 4, 0, 0, 0, 0, 0)
        ack = client.recv_match(type="COMMAND_ACK", blocking=True, timeout=10)
        assert (ack.get_srcSystem(), ack.result) == (2, 0)
        assert rover.autopilot.mode.name == "HOLD"
    client.close()


def test_a_udp_server_answers_whoever_sent_last() -> None:
    vehicle = Multirotor()
    autopilot = Autopilot(vehicle, Settings("drone", HOME))
    link = Udp(autopilot.open_channel("udp"), "127.0.0.1", 0, server=True)
    client = mavutil.mavlink_connection(f"udpout:127.0.0.1:{link.address[1]}", source_system=255)
    client.mav.heartbeat_send(6, 8, 0, 0, 4)
    for _ in range(100):
        link.receive()
        autopilot.advance(10_000_000)
        link.send()
    assert client.recv_match(type="HEARTBEAT", blocking=True, timeout=5) is not None
    client.close()
    link.close()


def test_a_second_client_gets_no_byte_until_the_first_has_gone_and_streams_stay() -> None:
    with Served20() as running:
        first = tcp_client(running)
        first.mav.command_long_send(1, 1, 511, 0, 30, 100000, 0, 0, 0, 0, 0)
        assert first.recv_match(type="ATTITUDE", blocking=True, timeout=20) is not None
        with socket.create_connection(("127.0.0.1", running.port), timeout=5) as second:
            second.settimeout(0.3)
            with pytest.raises(TimeoutError):
                second.recv(1)
            first.close()
            second.settimeout(10)
            decoder = mavutil.mavlink.MAVLink(None)
            seen: set[str] = set()
            while "ATTITUDE" not in seen:
                seen |= {m.get_type() for m in decoder.parse_buffer(second.recv(4096)) or []}
        before = running.autopilot.now
        running.until(before + 2.0)  # nobody is there, and the vehicle flies on
        again = tcp_client(running)
        assert again.recv_match(type="ATTITUDE", blocking=True, timeout=20) is not None
        again.close()


def test_a_client_that_does_not_read_neither_stops_the_simulation_nor_grows_memory() -> None:
    with Served20(speedup=100.0) as running, socket.create_connection(("127.0.0.1", running.port)) as sleeper:
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        channel = running.links[0].channel
        for number in (30, 33, 74, 1, 24, 193, 32):
            words = mavutil.mavlink
            link = words.MAVLink(None, srcSystem=255)
            message = words.MAVLink_command_long_message(1, 1, 511, 0, number, 10000, 0, 0, 0, 0, 0)
            sleeper.sendall(message.pack(link))
        running.until(3.0)
        deadline = time.monotonic() + 60
        while channel.dropped == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert channel._waiting <= OUTBOX + 300
        before = running.autopilot.now
        running.until(before + 5.0)


def test_a_flood_is_bounded_and_the_vehicle_answers_afterwards() -> None:
    """Some 10,000 messages and as much noise at once: each step costs a bounded number of tries."""
    with Served20() as running:
        client = tcp_client(running)
        words = mavutil.mavlink
        link = words.MAVLink(None, srcSystem=255)
        beat = words.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3).pack(link)
        noise = bytes(range(256)) * 4
        client.port.setblocking(True)
        client.port.settimeout(30)
        for _ in range(100):
            client.port.sendall(beat * 100 + noise)
        client.port.setblocking(False)
        client.mav.command_long_send(1, 1, 512, 0, 148, 0, 0, 0, 0, 0, 0)
        ack = client.recv_match(type="COMMAND_ACK", blocking=True, timeout=30)
        assert ack is not None and ack.result == 0
        before = running.autopilot.now
        running.until(before + 1.0)
        client.close()


def test_a_step_spends_no_more_than_its_tries() -> None:
    bench = Bench()
    link = bench.words.MAVLink(None, srcSystem=255)
    beat = bench.words.MAVLink_heartbeat_message(6, 8, 0, 0, 4, 3).pack(link)
    while bench.channel.room() > len(beat):
        bench.channel.receive(beat)
    before = bench.channel.received
    bench.step()
    assert bench.channel.received - before == 100
    bench.channel.receive(b"\xfd" * 100_000)  # what does not fit is dropped, as a serial buffer drops it
    assert bench.channel.room() == 0
    bench.step()
    assert bench.channel.room() > 0


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "example.org", "::", ""])  # noqa: S104
def test_only_loopback_without_leave_and_a_key(host: str) -> None:
    with pytest.raises(MavlinkError, match="loopback"):
        checked_host(host, allow_remote=False, signed=True)
    with pytest.raises(MavlinkError, match="--key FILE"):
        checked_host(host, allow_remote=True, signed=False)
    assert checked_host(host, allow_remote=True, signed=True) == host


def test_sockets_are_bound_to_loopback_and_a_taken_port_is_named() -> None:
    autopilot = Autopilot(Multirotor(), Settings("drone", HOME))
    link = TcpServer(autopilot.open_channel("a"), port=0)
    assert link.address[0] == "127.0.0.1"
    with pytest.raises(AutopilotError, match=f"TCP 127.0.0.1:{link.address[1]}.*--port"):
        TcpServer(autopilot.open_channel("b"), port=link.address[1])
    link.close()


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:", ":14550", "127.0.0.1:0", "127.0.0.1:70000", "a:b"])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(MavlinkError, match="--udp"):
        parse_address(text, "--udp")

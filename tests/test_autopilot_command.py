"""`aerialworld autopilot` as a user runs it: a process, a port, a client, Ctrl-C; and what it refuses."""

import json
import os
import re
import shlex
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("MAVLINK20", "1")
from pymavlink import mavutil

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, "-m", "aerialworld.cli", "autopilot"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[str], int]]:
    port = free_port()
    arguments = ["--vehicle", "drone", "--port", str(port), "--speedup", "20", "--sysid", "7"]
    arguments += ["--home", "35.5,139.5,40,90", "--param", "WPNAV_SPEED=700"]
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == f"drone, system 7: tcp 127.0.0.1:{port}\n"
    yield process, port
    process.kill()
    process.wait(10)


def test_a_client_boots_it_and_ctrl_c_ends_it(running: tuple[subprocess.Popen[str], int]) -> None:
    process, port = running
    client = mavutil.mavlink_connection(f"tcp:127.0.0.1:{port}", source_system=255)
    beat = client.wait_heartbeat(timeout=30)
    assert (beat.get_srcSystem(), beat.type, beat.autopilot) == (7, 2, 3)
    client.param_fetch_one("WPNAV_SPEED")
    wanted = "PARAM_VALUE.param_id == 'WPNAV_SPEED'"
    assert client.recv_match(condition=wanted, blocking=True, timeout=20).param_value == 700.0
    home = client.recv_match(type="HOME_POSITION", blocking=True, timeout=30)
    assert (home.latitude, home.longitude) == (355000000, 1395000000)
    assert home.altitude == pytest.approx(40_000, abs=10)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr is not None
    said = process.stderr.read()
    assert "waiting for a client" in said and "stopped:" in said and "Traceback" not in said
    client.close()


def test_with_a_key_only_its_holders_are_heard(tmp_path: Path) -> None:
    key, port = tmp_path / "mavlink.key", free_port()
    subprocess.run(["sh", "-c", f"(umask 077; head -c 32 /dev/urandom > {key})"], check=True)
    command = [*COMMAND, "--host", "0.0.0.0", "--allow-remote", "--key", str(key)]  # noqa: S104
    command += ["--port", str(port), "--no-wait", "--speedup", "20"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"drone, system 1: tcp 0.0.0.0:{port}, signed\n"
        for secret, heard in ((b"\1" * 32, False), (key.read_bytes(), True)):
            client = mavutil.mavlink_connection(f"tcp:127.0.0.1:{port}", source_system=255, autoreconnect=False)
            client.setup_signing(secret)
            assert (client.recv_match(type="HEARTBEAT", blocking=True, timeout=20 if heard else 1) is None) != heard
            client.param_fetch_one("RTL_ALT")
            answer = client.recv_match(type="PARAM_VALUE", blocking=True, timeout=20 if heard else 1)
            assert (answer is not None) == heard
            client.close()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 130 and "Traceback" not in said
        assert key.read_bytes().hex() not in said
    finally:
        process.kill()
        process.wait(10)
    streams = json.loads((tmp_path / "mavlink.key.system1.json").read_text())["streams"]
    assert [stream[1:3] for stream in streams] == [[255, 0]]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120)


def test_it_runs_for_a_duration_in_a_world() -> None:
    world = ROOT / "worlds" / "small_city"
    done = run(
        "--vehicle",
        "rover",
        "--world",
        str(world),
        "--port",
        str(free_port()),
        "--no-wait",
        "--duration",
        "30",
        "--speedup",
        "100",
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"rover, system 1: tcp 127\.0\.0\.1:\d+\n$", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--vehicle", "boat"], "--vehicle"),
        (["--autopilot", "px4"], "--autopilot"),
        (["--autopilot", "sitl"], "--wait"),  # the runs here are given --no-wait
        (["--host", "0.0.0.0"], "loopback"),  # noqa: S104
        (["--host", "0.0.0.0", "--allow-remote"], "--key FILE"),  # noqa: S104
        (["--allow-remote"], "head -c 32 /dev/urandom"),
        (["--key", "nowhere.key"], "nowhere.key: No such file"),
        (["--autopilot", "sitl", "--wait", "--key", "nowhere.key"], "--key is for the built-in autopilot"),
        (["--udp", "10.1.2.3:14550", "--port", "0"], "loopback"),
        (["--udp", "localhost"], "--udp"),
        (["--port", "70000"], "--port"),
        (["--port", "65534", "--serials"], "--port"),
        (["--port", "0"], "no way to reach"),
        (["--instance", "-1"], "--instance"),
        (["--home", "35,139"], "--home"),
        (["--home", "95,139,0,0"], "--home"),
        (["--sysid", "0"], "system id"),
        (["--speedup", "-2"], "speed-up"),
        (["--param", "WPNAV_SPEED"], "--param"),
        (["--param", "NOT_ONE=1"], "NOT_ONE"),
        (["--duration", "0"], "--duration"),
        (["--world", "nowhere"], "nowhere"),
    ],
)
def test_bad_options_are_named_and_end_with_2(arguments: list[str], word: str) -> None:
    from typer.testing import CliRunner

    from aerialworld.cli import app

    done = CliRunner().invoke(app, ["autopilot", "--duration", "0.05", "--no-wait", *arguments])
    assert done.exit_code == 2, done.output
    assert word in done.output


def test_the_second_and_third_serial_port_are_served_as_the_first() -> None:
    """A program on each of SERIAL0, SERIAL1 and SERIAL2: all hear the same vehicle, each its own answers."""
    port = free_port()
    command = [*COMMAND, "--vehicle", "rover", "--port", str(port), "--serials", "--speedup", "20", "--duration", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            banner = process.stdout.readline()
            assert all(f"127.0.0.1:{port + further}" in banner for further in (0, 2, 3)), banner
            links = [mavutil.mavlink_connection(f"tcp:127.0.0.1:{port + n}", source_system=200 + n) for n in (0, 2, 3)]
            assert all(link.wait_heartbeat(timeout=60) is not None for link in links)
            links[2].mav.command_long_send(1, 1, 512, 0, 148, 0, 0, 0, 0, 0, 0)  # REQUEST_MESSAGE AUTOPILOT_VERSION
            assert links[2].recv_match(type="AUTOPILOT_VERSION", blocking=True, timeout=60) is not None
            assert links[1].recv_match(type="COMMAND_ACK", blocking=False) is None
            for link in links:
                link.close()
        finally:
            process.terminate()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("--port", str(port), "--no-wait", "--duration", "1")
    assert done.returncode == 2
    assert f"TCP 127.0.0.1:{port}" in done.stderr and "--instance" in done.stderr


def test_a_real_ardupilots_side_is_served_as_physics() -> None:
    """A servo packet of the JSON protocol is one step of 1 ms; the state comes back to its sender."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
    command = [*COMMAND, "--autopilot", "sitl", "--port", str(port), "--home", "35.5,139.5,40,90", "--duration", "0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"drone, physics for ArduPilot: udp 127.0.0.1:{port}\n"
        line = process.stdout.readline()
        assert "arducopter --model JSON:127.0.0.1" in line
        assert "--home 35.5000000,139.5000000,40.00,90" in line
        parameters = Path(shlex.split(line)[-1]).read_text().split("\n")
        assert "--defaults" in line and {"FRAME_CLASS 1", "FRAME_TYPE 1"} <= set(parameters)  # it never arms without
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sitl:
            sitl.settimeout(20)
            for count in range(100):
                sitl.sendto(struct.pack("<HHI16H", 18458, 1000, count, *[1000] * 16), ("127.0.0.1", port))
                state = json.loads(sitl.recv(4096))
        assert state["timestamp"] == pytest.approx(0.1)
        assert state["imu"]["accel_body"] == pytest.approx([0.0, 0.0, -9.8], abs=0.05)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(10)

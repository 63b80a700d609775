"""Two recorders, one for each vehicle, as `simulation.launch.py` starts them, in lockstep with one engine."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aerialworld.bringup.arguments import Simulation
from aerialworld.bringup.process import Place, Process
from aerialworld.bringup.simulation import simulation
from aerialworld_core.session import Session, list_sessions, validate
from aerialworld_core.world import load_rig

sys.path.insert(0, str(Path(__file__).parent))
from recorder_graph import network

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")

SECONDS, RATE = 10.0, 2.0


@contextlib.contextmanager
def node(process: Process, folder: Path, domain: int, **more):
    """A node of a run under its own name, with the parameters that the launch file gives it."""
    parameters = {**process.parameters, **more}
    flags = [word for k, v in parameters.items() for word in ("-p", f"{k}:={json.dumps(v)}")]
    module = f"{process.package}.nodes.{process.executable}"
    command = [sys.executable, "-m", module, "--ros-args", "-r", f"__node:={process.name}", *flags]
    log = folder / f"{process.name}.log"
    with log.open("w") as out:
        started = subprocess.Popen(command, env=network.environment(domain), stdout=out, stderr=out, text=True)
    try:
        yield network.Running(started, log)
    finally:
        if started.poll() is None:
            started.kill()
        started.wait()


def nodes(folder: Path) -> dict[str, Process]:
    given = {
        "world": str(network.write_world(folder)), "engine": "embedded", "fast": "true", "rig": "rig_small",
        "mission": "none", "rover_mission": "none", "data_root": str(folder / "data"), "frame_rate": str(RATE),
    }  # fmt: skip
    return {p.name: p for p in simulation(Simulation.from_arguments(given), Place(folder)).processes}


@pytest.mark.long
def test_two_recorders_lose_nothing_and_wait_for_each_other(tmp_path):
    """A recorder that stands still for five seconds holds time for both; then every frame of either is there."""
    run, domain = nodes(tmp_path), network.random_domain()
    assert run["engine"].parameters["lockstep"] == ["drone_1_recorder", "rover_1_recorder"]
    with (
        node(run["drone_1_recorder"], tmp_path, domain) as drone,
        node(run["rover_1_recorder"], tmp_path, domain) as rover,
        node(run["engine"], tmp_path, domain, duration=SECONDS) as engine,
    ):
        until = time.monotonic() + network.PATIENCE
        while not list((tmp_path / "data").glob("*drone*/*")) and time.monotonic() < until:
            time.sleep(0.1)
        drone.process.send_signal(signal.SIGSTOP)
        time.sleep(5.0)
        drone.process.send_signal(signal.SIGCONT)
        assert engine.process.wait(network.PATIENCE) == 0, engine.log + drone.log + rover.log
        for recorder in (drone, rover):
            assert recorder.end(signal.SIGINT) == 0, recorder.log
            assert "dropped 0, too slow for 0, 0 messages not used" in recorder.log
    sessions = {s.meta.vehicle: s for s in map(Session.open, list_sessions(tmp_path / "data"))}
    assert set(sessions) == {"drone_1", "rover_1"}
    for session in sessions.values():
        assert session.frame_indices == list(range(round(SECONDS * RATE) + 1))
        assert session.meta.frames == len(session.frame_indices)
        for index in session.frame_indices:
            assert session.damage(index) == [] and session.pose(index).stamp_ns == round(index * 1e9 / RATE)
            images = list(session.path.glob(f"images/{index:06d}_*.jpg"))
            assert len(images) == len(load_rig("rig_small").cameras)
        assert not [e for e in validate(session.path).errors if "the data holds no world" not in e]


@pytest.mark.long
def test_a_recorder_that_is_killed_holds_time_and_the_other_keeps_its_session(tmp_path):
    """Under `launch` its end ends the run; without, the engine says whom it waits for, and SIGINT ends all well."""
    run, domain = nodes(tmp_path), network.random_domain()
    with (
        node(run["drone_1_recorder"], tmp_path, domain) as drone,
        node(run["rover_1_recorder"], tmp_path, domain) as rover,
        node(run["engine"], tmp_path, domain, lockstep_timeout=3.0) as engine,
    ):
        until = time.monotonic() + network.PATIENCE
        while len(list((tmp_path / "data").glob("*rover*/poses/*"))) < 4 and time.monotonic() < until:
            time.sleep(0.1)
        drone.process.kill()
        while "drone_1_recorder has not acknowledged" not in engine.log and time.monotonic() < until:
            time.sleep(0.1)
        assert "drone_1_recorder has not acknowledged for 3 s" in engine.log, engine.log
        for other in (engine, rover):
            assert other.end(signal.SIGINT) == 0, other.log
    kept = {s.meta.vehicle: s for s in map(Session.open, list_sessions(tmp_path / "data"))}
    session = kept["rover_1"]
    assert session.meta.frames == len(session.frame_indices) >= 4
    assert not [e for e in validate(session.path).errors if "the data holds no world" not in e]

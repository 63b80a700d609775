"""The whole graph over ROS 2: an engine whose vehicles fly on embedded autopilots, a recorder, and missions."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.session import list_sessions, validate
from aerialworld_core.world import load_world
from aerialworld_missions.asked import plan_of

sys.path.insert(0, str(Path(__file__).parent))
import flying_rig as rig
from recorder_graph import engine, network, recorder

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed"),
    pytest.mark.timeout(450),
]
ROOT = Path(__file__).resolve().parents[1]


def mission(pattern: str, *parameters: str) -> list[str]:
    flags = [word for p in parameters for word in ("-p", p)]
    return [sys.executable, "-m", "aerialworld_missions.nodes.mission", pattern, "--ros-args", *flags]


def run(words: list[str], domain: int = 0, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=network.environment(domain), capture_output=True, text=True, timeout=timeout)


@pytest.mark.parametrize(
    ("pattern", "parameters", "words"),
    [
        ("survey", ["spacing:=0.0"], "spacing"),
        pytest.param("survey", ["altitude:=-3.0"], "altitude", marks=pytest.mark.long),
        pytest.param("survey", ["size:=9000.0"], "does not fit the world", marks=pytest.mark.long),
        ("orbit", ["raduis:=3.0"], "did you mean radius?"),
    ],
)
def test_what_cannot_be_flown_is_one_line_and_exit_code_2(pattern: str, parameters: list[str], words: str) -> None:
    done = run(mission(pattern, *parameters), network.random_domain())
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


@pytest.mark.long
def test_without_a_vehicle_the_exit_code_says_so(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    rig.line_plan([(0, 0, 20), (30, 0, 20)]).write(plan)
    words = mission("waypoints", f"plan:={plan}", f"connect:=tcp:{rig.free_port()}", "wait:=2.0")
    done = run(words, network.random_domain())
    assert done.returncode == 11 and "no vehicle: tcp 127.0.0.1:" in done.stderr and "refused" in done.stderr


@pytest.mark.long
def test_a_mission_is_recorded_from_its_first_waypoint_to_its_last(tmp_path: Path) -> None:
    domain, port = network.random_domain(), rig.free_port()
    world = ROOT / "worlds" / "small_city"
    asked = {"size": 40.0, "spacing": 20.0, "altitude": 40.0, "duration": 15.0}
    plan = plan_of(load_world(world), "survey", {**asked, "centre": (-80.0, 50.0)})
    shared = (f"world:={world}", "rig:=rig_small")
    grid = "grid:=[-24.0, -24.0, -2.0, 24.0, 24.0, 78.0, 1.2, 1.2, 2.5]"
    flown = ("autopilot:=embedded", f'mavlink:=["tcp:{port}"]', "pose:=[0.0, 0.0, 0.0, 0.0]", "rate:=4.0")
    client = network.Client(domain)
    try:
        with (
            engine(
                tmp_path, domain, *shared, *flown, "vehicle:=drone_1", "sensor_rate:=2.0", "lockstep:=[recorder]"
            ) as simulator,
            recorder(
                tmp_path, domain, *shared, grid, "autostart:=false", "patience:=5.0", "lockstep:=true"
            ) as recording,
        ):
            from rclpy.qos import DurabilityPolicy, QoSProfile
            from std_msgs.msg import String

            said: list[dict] = []
            latched = QoSProfile(depth=50, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            client.node.create_subscription(
                String, "/survey/status", lambda m: said.append(json.loads(m.data)), latched
            )
            words = mission(
                "survey", f"world:={world}", *(f"{k}:={v}" for k, v in asked.items()), f"connect:=tcp:{port}",
                "centre:=-80.0,50.0",
                "record:=true", "use_sim_time:=true", "wait:=120.0",
            )  # fmt: skip
            log = tmp_path / "mission.log"
            with log.open("w") as out:
                process = subprocess.Popen(words, env=network.environment(domain), stdout=out, stderr=out, text=True)
            flying = network.Running(process, log)
            until = time.monotonic() + 380.0
            while process.poll() is None and time.monotonic() < until:
                client.spin(0.1)
            assert process.returncode == 0, log.read_text() + simulator.log
            client.until(lambda: said and said[-1]["outcome"] == "complete", "its last status", flying)
            assert recording.end(signal.SIGINT) == 0, recording.log
    finally:
        client.close()
    phases = list(dict.fromkeys(s["phase"] for s in said))
    assert phases[-1] == "done" and "flying" in phases and said[-1]["share"] == 1.0
    assert said[-1]["stamp"] > 60e9 and said[-1]["vehicle"] == "drone_1"
    sessions = list_sessions(tmp_path / "data")
    assert len(sessions) == 1
    report = validate(sessions[0])
    assert report.ok, report
    poses = [json.loads(p.read_text())["position"] for p in sorted((sessions[0] / "poses").glob("*.json"))]
    # From the first waypoint to the last, and not on the ground or on the way home.
    flown = np.array([[p["x"], p["y"], p["z"]] for p in poses])
    off = [np.linalg.norm(plan.position - p, axis=1).min() for p in flown]
    assert len(flown) > 20 and max(off) < 3.0
    for end, pose in ((plan.position[0], flown[0]), (plan.position[-1], flown[-1])):
        assert np.linalg.norm(end - pose) < 10.0

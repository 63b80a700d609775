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

from aerialworld_core.session import Session, list_sessions, validate
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
SIZE, SPACING = 50.0, 15.0


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


@pytest.mark.long
@pytest.mark.timeout(580)
def test_two_drones_and_a_rover_fly_and_are_recorded_by_one_command(tmp_path: Path) -> None:
    """A survey in AUTO over TCP, an orbit by setpoints and a rover in AUTO over one UDP port, all in one engine that
    waits for its recorder; what is judged is what was recorded."""
    domain, tcp, udp = network.random_domain(), rig.free_port(), rig.free_port(rig.socket.SOCK_DGRAM)
    world = load_world(ROOT / "worlds" / "small_city")
    centre = tuple(float(v) for v in world.bounds[:, :2].mean(axis=0))
    asked = {
        "drone_1": ("survey", {"size": SIZE, "spacing": SPACING, "altitude": 40.0}),
        "drone_2": ("orbit", {"radius": 30.0, "altitude": 50.0, "look": "centre"}),
        "rover_1": ("patrol", {"size": SIZE, "duration": 40.0}),
    }
    plans = {v: plan_of(world, p, {**a, "centre": centre, "vehicle": v}) for v, (p, a) in asked.items()}
    for name, plan in plans.items():
        plan.write(tmp_path / f"{name}.json")
    x, y, z = plans["rover_1"].position[0]
    ahead = plans["rover_1"].position[10, :2] - plans["rover_1"].position[0, :2]
    shared = (f"world:={ROOT / 'worlds' / 'small_city'}", "rig:=rig_small", f"vehicles:=[{', '.join(plans)}]")
    flown = (
        "autopilot:=embedded", f'drone_1.mavlink:=["tcp:{tcp}"]', f'drone_2.mavlink:=["udp:127.0.0.1:{udp}"]',
        f'rover_1.mavlink:=["udp:127.0.0.1:{udp}"]', "drone_1.pose:=[0.0, 0.0, 0.0, 0.0]",
        "drone_2.pose:=[6.0, 0.0, 0.0, 0.0]", f"rover_1.pose:=[{x}, {y}, {z}, {np.arctan2(*ahead[::-1])}]",
        "rate:=5.0", "sensor_rate:=2.0", "lockstep:=[recorder]",
    )  # fmt: skip
    grid = "grid:=[-24.0, -24.0, -2.0, 24.0, 24.0, 78.0, 1.2, 1.2, 2.5]"
    words = [sys.executable, "-m", "aerialworld", "mission", "fly", *(str(tmp_path / f"{v}.json") for v in plans)]
    words += ["--world", str(ROOT / "worlds" / "small_city"), "--record", "recorder", "--wait", "120"]
    for address in (f"tcp:127.0.0.1:{tcp}@1", f"udpin:127.0.0.1:{udp}@2", f"udpin:127.0.0.1:{udp}@3"):
        words += ["--connect", address]
    with (
        engine(tmp_path, domain, *shared, *flown) as simulator,
        recorder(tmp_path, domain, *shared, grid, "autostart:=false", "patience:=5.0", "lockstep:=true") as recording,
    ):
        done = run(words, domain, timeout=520)
        assert done.returncode == 0, done.stdout + done.stderr + simulator.log + recording.log
        assert recording.end(signal.SIGINT) == 0, recording.log
    assert done.stdout.count("complete: the whole plan was flown") == 3
    sessions = {Session.open(p).meta.vehicle: Session.open(p) for p in list_sessions(tmp_path / "data")}
    assert set(sessions) == set(plans)
    for session in sessions.values():
        report = validate(session.path)
        assert report.ok and not report.figures["frames_missing"], (session.meta.vehicle, report)
        places = positions_of(session)
        assert not world.inside_solid(places + np.array([0.0, 0.0, 0.3])).any()
    tracks = {v: between(positions_of(s), plans[v].position) for v, s in sessions.items()}

    covered = rig.share_covered(tracks["drone_1"], centre, SIZE, SPACING / 2 + 0.5)
    planned = plans["drone_1"].position
    heights = [planned[np.hypot(*(planned[:, :2] - p[:2]).T).argmin(), 2] for p in tracks["drone_1"]]
    level = np.abs(tracks["drone_1"][:, 2] - np.array(heights)).max()
    circled = tracks["drone_2"]
    radius = np.abs(np.hypot(circled[:, 0] - centre[0], circled[:, 1] - centre[1]) - 30.0).max()
    height = np.abs(circled[:, 2] - plans["drone_2"].position[0, 2]).max()
    way = plans["rover_1"].position
    off = max(np.hypot(*(tracks["rover_1"][:, :2] - p[:2]).T).min() for p in way)
    print(
        f"covered {covered:.1%}, altitude off by {level:.2f} m; orbit: radius off by {radius:.2f} m, altitude by "
        f"{height:.2f} m; rover within {off:.2f} m of all its way; frames {[s.meta.frames for s in sessions.values()]}"
    )
    assert covered >= 0.98 and level <= 1.0
    assert radius <= 1.0 and height <= 1.0
    assert off <= 3.0
    angle = np.unwrap(np.arctan2(circled[:, 1] - centre[1], circled[:, 0] - centre[0]))
    assert np.ptp(angle) >= 2 * np.pi - 0.3


def positions_of(session: Session) -> np.ndarray:
    """(N, 3) where the vehicle was at the recorded frames, in map."""
    return np.array([session.pose(i).pose.position for i in session.frame_indices])


def between(places: np.ndarray, planned: np.ndarray) -> np.ndarray:
    """Of the places (N, 3) those from where it has come to the plan's first point, to where it leaves the last."""
    first = _nearest(places, planned[0])
    last = len(places) - 1 - _nearest(places[::-1], planned[-1])
    assert first < last
    return places[first : last + 1]


def _nearest(places: np.ndarray, point: np.ndarray) -> int:
    """The nearest place of those at which it is near a point for the first time."""
    off = np.linalg.norm(places - point, axis=1)
    begin = int(np.argmax(off < 3.0))
    assert off[begin] < 3.0
    end = begin + int(np.argmax(np.append(off[begin:] >= 3.0, True)))
    return begin + int(np.argmin(off[begin:end]))

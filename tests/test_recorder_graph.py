"""The engine's node and the recorder's as processes over Fast DDS: every frame is there, true to stamp and pose."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.plan import Plan
from aerialworld_core.session import Session, list_sessions, validate
from aerialworld_core.traffic import TrafficOptions
from aerialworld_core.world import load_rig, load_world
from aerialworld_recorder.lidar_occupancy import LidarProjector
from aerialworld_sim import Engine, Static, Vehicle
from aerialworld_sim.traffic import Traffic

sys.path.insert(0, str(Path(__file__).parent))
from recorder_graph import MS, engine, finish, network, recorder

TRAFFIC = "cars=2,pedestrians=2,parked=0,seed=1"
pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")


def curve(folder: Path, seconds: float) -> Path:
    """A curved climb with turning, pitch and roll."""
    t = np.linspace(0.0, seconds, 40)
    position = np.stack([6 * np.sin(0.3 * t), 4 * t, 20 + 0.4 * t], axis=1)
    orientation = np.array([Pose.from_rpy(0, 0, 0, 0.1 * np.sin(s), -0.1, 0.3 * s).orientation for s in t])
    path = folder / "curve.json"
    Plan("curve", "drone_1", "drone", "orbit", "place A", 0, t, position, orientation).write(path)
    return path


def degrees_between(a: Pose, b: Pose) -> float:
    turn = a.rotation.T @ b.rotation
    sine = np.linalg.norm([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
    return float(np.degrees(np.arctan2(sine, (np.trace(turn) - 1) / 2)))


def flown(folder: Path, seconds: float, rate: float, *more: str) -> tuple[Path, Path, str]:
    """World, plan and the recorder's log of a run of two vehicles in lockstep."""
    world, plan, domain = network.write_world(folder), curve(folder, seconds), network.random_domain()
    shared = [f"world:={world}", "vehicles:=[drone_1, rover_1]", "rig:=rig_small", f"drone_1.plan:={plan}"]
    with recorder(folder, domain, *shared, "lockstep:=true", f"frame_rate:={rate}", *more) as writer:
        with engine(
            folder, domain, *shared, "rover_1.pose:=[5.0, -3.0, 0.4, 0.6]", "rate:=0.0", "lockstep:=[recorder]",
            f"duration:={seconds}", f"traffic:={TRAFFIC}",
        ) as simulated:  # fmt: skip
            assert simulated.process.wait(280) == 0, simulated.log + writer.log
        assert not network.foreign_sockets(writer.process.pid)
        return world, plan, finish(writer)


def assert_nothing_lost(folder: Path, seconds: float, rate: float) -> None:
    world, plan, log = flown(folder, seconds, rate)
    rig, frames = load_rig("rig_small"), round(seconds * rate) + 1
    motions = {"drone_1": Plan.read(plan).trajectory(), "rover_1": Static(Pose.from_rpy(5.0, -3.0, 0.4, 0, 0, 0.6))}
    plot = load_world(world)
    actors = Traffic(plot, TrafficOptions.parse(TRAFFIC)).actors
    engine = Engine(plot, {n: Vehicle(rig, m) for n, m in motions.items()}, actors=actors)
    sessions = {Session.open(p).meta.vehicle: Session.open(p) for p in list_sessions(folder / "data")}
    assert set(sessions) == set(motions)
    for name, session in sessions.items():
        assert session.frame_indices == list(range(frames)) and session.meta.frames == frames, log
        assert session.meta.agent_type == name.split("_")[0] and session.meta.engine["name"] == "embedded"
        for index in session.frame_indices:
            stamp = round(index * 1e9 / rate)
            pose, truth = session.pose(index), motions[name].state(stamp)
            assert pose.stamp_ns == stamp
            assert np.linalg.norm(pose.pose.position - truth.pose.position) < 1e-3
            assert degrees_between(pose.pose, truth.pose) < 0.01
            assert np.allclose(pose.linear_velocity, truth.linear_velocity, atol=1e-6)
            assert np.allclose(pose.angular_velocity, truth.angular_velocity, atol=1e-6)
            assert session.damage(index) == []
            samples = session.imu(index)[:, 0]
            expected = np.arange(max(stamp - round(1e9 / rate), -1) // (10 * MS) + 1, stamp // (10 * MS) + 1) * 0.01
            assert np.allclose(samples, expected, atol=1e-9)
            assert len(list(session.path.glob(f"images/{index:06d}_*.jpg"))) == 6
        assert not [e for e in validate(session.path).errors if "the data holds no world" not in e]
    last = frames - 1
    for index in range(frames):
        if index:
            engine.step(round(index * 1e9 / rate) - engine.stamp_ns)
        for name, session in sessions.items():
            moving = engine.render(name, modalities=()).actors
            assert (len(moving) == 4) if index == 0 else moving  # later one may be out of the vehicle's neighbourhood
            assert any(np.any(a["velocity"]) for a in moving)
            assert session.actors(index) == moving, (name, index)
    for name, session in sessions.items():
        assert np.array_equal(session.lidar(last), engine.render(name).lidar), name
    assert "dropped 0, too slow for 0, 0 messages not used" in log


def test_two_vehicles_in_lockstep_lose_nothing(tmp_path):
    assert_nothing_lost(tmp_path, 1.2, 5.0)


@pytest.mark.long
def test_two_vehicles_lose_nothing_in_twenty_seconds(tmp_path):
    assert_nothing_lost(tmp_path, 20.0, 2.0)


@pytest.mark.long
def test_occupancy_of_the_lidar_alone(tmp_path):
    """`occupancy_mode:=lidar`: the faces are not listened to, and the voxels are those of each scan's returns."""
    world, plan, log = flown(tmp_path, 0.6, 5.0, "occupancy_mode:=lidar")
    rig = load_rig("rig_small")
    engine = Engine(load_world(world), {"drone_1": Vehicle(rig, Plan.read(plan).trajectory())})
    for path in list_sessions(tmp_path / "data"):
        session = Session.open(path)
        meta = session.meta
        assert session.frame_indices == [0, 1, 2, 3] and meta.frames == 4, log
        assert meta.rig.depth == () and meta.engine["occupancy"] == "lidar" and meta.rig.lidar is not None
        projector = LidarProjector(rig.lidar, meta.grid, meta.datum)
        for index in session.frame_indices:
            expected, voxels = (
                projector.project(session.pose(index).pose, session.lidar(index)),
                session.occupancy(index),
            )
            assert np.array_equal(voxels.occupancy, expected.occupancy) and voxels.occupancy.sum() > 100
            assert np.array_equal(voxels.observed, expected.observed)
            assert set(np.unique(voxels.semantics)) == {0, 17}
        assert not [e for e in validate(path).errors if "the data holds no world" not in e and "class 0" not in e]
        if meta.vehicle == "drone_1":  # nothing else moves near enough to be in its last scan without being there here
            engine.step(600 * MS)
            still = np.isin(session.lidar(3)[:, :3], engine.render("drone_1", modalities=["lidar"]).lidar[:, :3])
            assert still.all(axis=1).mean() > 0.95
    assert "dropped 0, too slow for 0, 0 messages not used" in log


def test_start_stop_status_occupancy_and_a_reset(tmp_path, monkeypatch):
    """The services, the latched status, diagnostics, voxels for watching, and a reset that begins a new session."""
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import String
    from std_srvs.srv import SetBool, Trigger

    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    world, domain = network.write_world(tmp_path), network.random_domain()
    shared = [f"world:={world}", "rig:=rig_small"]
    client = network.Client(domain)
    try:
        with (
            recorder(tmp_path, domain, *shared, "lockstep:=true", "autostart:=false", "frame_rate:=10.0") as writer,
            engine(
                tmp_path, domain, *shared, "rate:=0.0", "lockstep:=[recorder]", "start_paused:=true",
                "pose:=[3.0, 4.0, 20.0, 0.5]",
            ) as simulated,
        ):  # fmt: skip
            status: list = []
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            client.node.create_subscription(
                String, "/recorder/status", lambda m: status.append(json.loads(m.data)), latched
            )
            voxels = client.listen(PointCloud2, "/drone_1/occupancy")
            reports = client.listen(DiagnosticArray, "/diagnostics")
            client.until(lambda: status and not status[-1]["recording"], "a status", writer)
            client.until(lambda: voxels_wanted(client, "/drone_1/occupancy"), "the recorder's publisher", writer)
            assert client.call(Trigger, "/recorder/start").message == "recording"
            assert client.call(Trigger, "/recorder/start").message == "recording already"
            for _ in range(5):  # while the recorder is waited for a step does not end
                answer = client.call(Trigger, "/engine/step")
                assert answer.success, (answer.message, status[-1], writer.log, simulated.log)
            client.until(lambda: status[-1]["vehicles"]["drone_1"]["recorded"] >= 5, "five frames", writer)
            client.until(lambda: voxels, "voxels", writer)
            assert voxels[-1].header.frame_id == "map" and voxels[-1].width > 1000
            points = np.frombuffer(voxels[-1].data, np.uint8).reshape(-1, 16)
            assert np.abs(points[:, 8:12].copy().view("<f4")).max() <= 1.25 and (points[:, 12] == 14).all()
            client.until(lambda: reports and received(reports[-1]) >= 5, "diagnostics", writer)
            assert reports[-1].status[0].message == "recording" and reports[-1].status[0].level == b"\0"
            client.call(SetBool, "/engine/pause", data=True)
            assert client.call(Trigger, "/engine/reset").success
            client.until(lambda: status[-1]["vehicles"]["drone_1"]["sessions"] == 2, "a second session", writer)
            for _ in range(2):
                assert client.call(Trigger, "/engine/step").success
            assert client.call(Trigger, "/recorder/stop").success
            client.until(lambda: status[-1]["vehicles"]["drone_1"]["session"] is None, "closed sessions", writer)
            for _ in range(2):  # acknowledged, and not recorded
                assert client.call(Trigger, "/engine/step").success
            log = finish(writer)
            finish(simulated)
    finally:
        client.close()
    assert "time jumped back" in log
    first, second = (Session.open(p) for p in sorted(list_sessions(tmp_path / "data")))
    assert first.meta.frames >= 5 and second.frame_indices == [0, 1, 2] and second.meta.frames == 3
    assert [second.pose(i).stamp_ns for i in range(3)] == [0, 100 * MS, 200 * MS]


def received(report) -> int:
    """Scans that a diagnostic report says have come."""
    return int({v.key: v.value for v in report.status[0].values}.get("/drone_1/lidar/points received", 0))


def voxels_wanted(client, topic: str) -> bool:
    return client.node.count_publishers(topic) > 0

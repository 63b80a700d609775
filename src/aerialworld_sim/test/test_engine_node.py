"""The node over a real ROS 2 network: this process subscribes, calls services, and compares with the engine itself."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.plan import Plan
from aerialworld_core.world import load_rig, load_world
from aerialworld_sim import Engine, Static, Vehicle

sys.path.insert(0, str(Path(__file__).parent))
from engine_node_network import (
    PATIENCE,
    Client,
    command,
    environment,
    foreign_sockets,
    nanoseconds,
    random_domain,
    running_node,
    write_world,
)

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")


@pytest.fixture
def domain() -> int:
    return random_domain()


@pytest.fixture
def client(domain, monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    client = Client(domain)
    yield client
    client.close()


def climb(folder: Path) -> Path:
    """Half a second of a curved climb, with turning."""
    t = np.linspace(0.0, 0.5, 6)
    position = np.stack([20 * t, 5 * t**2, 20 + 4 * t], axis=1)
    orientation = np.array([Pose.from_rpy(0, 0, 0, 0.1 * s, -0.2 * s, 0.8 * s).orientation for s in t])
    path = folder / "climb.json"
    Plan("climb", "drone_1", "drone", "orbit", "place A", 0, t, position, orientation).write(path)
    return path


class Recorder:
    """A listener in lockstep: acknowledges a stamp when every topic has brought it."""

    def __init__(self, client: Client, topics: dict[str, type], name: str = "recorder") -> None:
        from std_msgs.msg import Header

        self.topics, self.name, self._header = topics, name, Header
        self.taken: dict[int, dict[str, object]] = {}
        self._to_engine = client.node.create_publisher(Header, "/lockstep", 10)
        for topic, kind in topics.items():
            client.listen(kind, topic, lambda message, topic=topic: self._take(topic, message))

    def _take(self, topic: str, message) -> None:
        self.taken.setdefault(nanoseconds(message.header.stamp), {})[topic] = message

    def whole(self) -> list[int]:
        """Stamps that every topic has brought."""
        return sorted(stamp for stamp, by_topic in self.taken.items() if set(by_topic) == set(self.topics))

    def acknowledge(self, stamp_ns: int) -> None:
        header = self._header(frame_id=self.name)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        self._to_engine.publish(header)


def pixels(message) -> np.ndarray:
    kind, channels = {"rgb8": (np.uint8, 3), "32FC1": (np.float32, 1), "mono8": (np.uint8, 1)}[message.encoding]
    array = np.frombuffer(message.data, kind).reshape(message.height, message.width, channels)
    return array if channels > 1 else array[..., 0]


def test_two_vehicles_publish_what_the_engine_computes(tmp_path, domain, client):
    """Every value of every stamp equals the engine's in this process; nothing is lost although the listener comes late
    and is slow; the node is reachable from this machine only; it ends by itself, with 0."""
    import simplejpeg
    from nav_msgs.msg import Odometry
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2
    from std_srvs.srv import SetBool

    world, plan = write_world(tmp_path), climb(tmp_path)
    parameters = [
        f"world:={world}", "vehicles:=[drone_1, rover_1]", "rig:=rig_small", f"drone_1.plan:={plan}",
        "rover_1.pose:=[5.0, -3.0, 0.0, 0.6]", "seed:=7", "rate:=0.0", "sensor_rate:=5.0", "lockstep:=[recorder]",
        "stop_at_end:=true",
    ]  # fmt: skip
    with running_node(tmp_path, domain, *parameters) as node:
        recorder = Recorder(
            client,
            {
                "/drone_1/camera/cam_front/image": Image,
                "/drone_1/camera/cam_front/image/compressed": CompressedImage,
                "/drone_1/camera/cam_back/camera_info": CameraInfo,
                "/drone_1/depth/down/image": Image,
                "/drone_1/semantic/down/image": Image,
                "/drone_1/odom": Odometry,
                "/rover_1/depth/front/image": Image,
                "/rover_1/depth/front/camera_info": CameraInfo,
                "/rover_1/lidar/points": PointCloud2,
                "/rover_1/navsat": NavSatFix,
            },
        )
        imu, odometry, clock = (
            client.listen(kind, topic)
            for kind, topic in ((Imu, "/drone_1/imu"), (Odometry, "/rover_1/odom"), (Clock, "/clock"))
        )
        client.until(lambda: imu and odometry and clock, "the values of time 0", node)
        assert not foreign_sockets(node.process.pid)
        for stamp in (0, 200_000_000, 400_000_000):
            client.until(lambda stamp=stamp: stamp in recorder.whole(), f"a whole frame at {stamp}", node)
            where = client.call(SetBool, "/engine/pause", data=False).message
            assert where == f"running at {stamp * 1e-9:.3f} s, waiting for recorder", "time stands meanwhile"
            client.until(lambda stamp=stamp: nanoseconds(clock[-1].clock) == stamp, f"/clock at {stamp}", node)
            assert max(recorder.taken) == stamp
            recorder.acknowledge(stamp)
        assert node.end() == 0, node.log
    assert "finished at 0.500 s: 3 frames" in node.log
    client.until(lambda: nanoseconds(clock[-1].clock) == 500_000_000, "the last tick", node)
    client.until(lambda: nanoseconds(imu[-1].header.stamp) == 500_000_000, "the last sample", node)
    client.until(lambda: nanoseconds(odometry[-1].header.stamp) == 500_000_000, "the last state", node)
    assert sorted({nanoseconds(c.clock) for c in clock}) == [i * 10_000_000 for i in range(51)]

    rig = load_rig("rig_small")
    vehicles = {
        "drone_1": Vehicle(rig, Plan.read(plan).trajectory()),
        "rover_1": Vehicle(rig, Static(Pose.from_rpy(5.0, -3.0, 0.0, 0.0, 0.0, 0.6))),
    }
    engine = Engine(load_world(world), vehicles, seed=7)
    samples = []
    for stamp in recorder.whole():
        if stamp:
            engine.step(200_000_000)
        drone, rover, got = engine.render("drone_1"), engine.render("rover_1"), recorder.taken[stamp]
        samples.append(drone.imu)
        assert np.array_equal(pixels(got["/drone_1/camera/cam_front/image"]), drone.images["cam_front"])
        jpeg = got["/drone_1/camera/cam_front/image/compressed"]
        assert jpeg.format == "rgb8; jpeg compressed bgr8"
        decoded = simplejpeg.decode_jpeg(bytes(jpeg.data)).astype(int)
        assert np.abs(decoded - drone.images["cam_front"]).mean() < 3.0
        assert np.array_equal(pixels(got["/drone_1/depth/down/image"]), drone.depth["down"])
        assert np.array_equal(pixels(got["/drone_1/semantic/down/image"]), drone.semantic["down"])
        assert np.array_equal(pixels(got["/rover_1/depth/front/image"]), rover.depth["front"])
        cloud = got["/rover_1/lidar/points"]
        assert [(f.name, f.offset) for f in cloud.fields] == [
            ("x", 0), ("y", 4), ("z", 8), ("intensity", 12), ("ring", 16),
        ]  # fmt: skip
        rows = np.frombuffer(cloud.data, np.uint8).reshape(cloud.width, cloud.point_step)
        assert np.array_equal(rows[:, :16].copy().view(np.float32), rover.lidar) and cloud.width > 100
        assert np.array_equal(rows[:, 16:18].copy().view(np.uint16)[:, 0], rover.lidar_ring)
        pose = got["/drone_1/odom"].pose.pose
        assert np.allclose([pose.position.x, pose.position.y, pose.position.z], drone.state.pose.position, atol=1e-12)
        fix = got["/rover_1/navsat"]
        assert np.isclose(fix.latitude, 35.66 - 3.0 / 110_949.0, atol=1e-7)  # metres per degree at this latitude
        assert np.isclose(fix.longitude, 139.74 + 5.0 / 90_540.0, atol=1e-7) and np.isclose(fix.altitude, 10, atol=1e-3)
        info, front = got["/rover_1/depth/front/camera_info"], next(f for f in rig.depth if f.name == "front")
        assert np.allclose(info.k, front.intrinsics.ravel()) and (info.width, info.height) == (
            front.width,
            front.height,
        )
        assert got["/drone_1/camera/cam_back/camera_info"].header.frame_id == "drone_1/cam_back_optical_frame"
        assert {m.header.frame_id for t, m in got.items() if t.startswith("/rover_1")} == {
            "rover_1/front_optical_frame", "rover_1/lidar", "rover_1/base_link",
        }  # fmt: skip
    by_stamp = {nanoseconds(m.header.stamp): m for m in imu}  # a topic with a new subscriber is sent again
    assert sorted(by_stamp) == [i * 10_000_000 for i in range(51)]
    for sample in np.concatenate(samples):
        message = by_stamp[round(sample[0] * 1e9)]
        rate, force = message.angular_velocity, message.linear_acceleration
        assert np.array_equal([rate.x, rate.y, rate.z, force.x, force.y, force.z], sample[1:])
    assert {nanoseconds(m.header.stamp) for m in odometry} == {i * 20_000_000 for i in range(26)}


def test_services_while_time_waits_for_a_listener(tmp_path, domain, client):
    """Pause, step and reset answer with the time; a step waits for the listener, and gives up when it stays silent."""
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import PointCloud2
    from std_srvs.srv import SetBool, Trigger

    lidar = "/drone_1/lidar/points"
    with running_node(
        tmp_path, domain, f"world:={write_world(tmp_path)}", "rig:=rig_small", "rate:=0.0", "lockstep:=[recorder]",
        "lockstep_timeout:=1.0",
    ) as node:  # fmt: skip
        recorder = Recorder(client, {lidar: PointCloud2})
        clock = client.listen(Clock, "/clock")
        client.until(lambda: "recorder has not been heard for 1 s (at 0.000 s)" in node.log, "a word on silence", node)
        client.until(lambda: recorder.whole() == [0] and clock, "the frame at 0", node)
        for _ in range(2):
            answer = client.call(SetBool, "/engine/pause", data=True)
            assert (answer.success, answer.message) == (True, "paused at 0.000 s")
        answer = client.call(Trigger, "/engine/step")
        assert not answer.success and answer.message == "still at 0.000 s: waiting for recorder"
        recorder.acknowledge(0)
        answer = client.call(Trigger, "/engine/step")
        assert (answer.success, answer.message) == (True, "at 0.100 s")
        client.until(lambda: recorder.whole() == [0, 100_000_000], "the frame stepped to", node)

        answer = client.call(SetBool, "/engine/pause", data=False)
        assert (answer.success, answer.message) == (True, "running at 0.100 s, waiting for recorder")
        answer = client.call(Trigger, "/engine/step")
        assert not answer.success and "pause it before stepping" in answer.message and "0.100 s" in answer.message
        recorder.taken.clear()
        recorder.acknowledge(100_000_000)
        client.until(lambda: recorder.whole() == [200_000_000], "the next frame", node)

        recorder.taken.clear()
        answer = client.call(Trigger, "/engine/reset")
        assert (answer.success, answer.message) == (True, "at 0.000 s, back from 0.200 s")
        client.until(lambda: recorder.whole() == [0] and nanoseconds(clock[-1].clock) == 0, "time 0 again", node)
        recorder.acknowledge(200_000_000)  # from before the reset: it must not let time run
        answer = client.call(SetBool, "/engine/pause", data=False)
        assert answer.message == "running at 0.000 s, waiting for recorder"
        recorder.acknowledge(0)
        client.until(lambda: 100_000_000 in recorder.taken, "the first frame after the reset", node)
        assert node.end(signal.SIGTERM) == 0, node.log
    assert node.log.count("recorder has not been heard for 1 s (at 0.000 s); waiting on") == 1
    assert "reset: /clock jumps back from 0.200 s to 0.000 s" in node.log and "stopped at 0.100 s" in node.log


def test_services_while_time_runs_and_late_listeners(tmp_path, domain, client):
    """Without lockstep, at the wall's pace: who comes late gets the next frame, or the present one while time stands;
    SIGINT ends with 0, as ros2 launch expects."""
    from rclpy.qos import ReliabilityPolicy
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import Image, PointCloud2
    from std_srvs.srv import SetBool, Trigger

    with running_node(
        tmp_path, domain, f"world:={write_world(tmp_path)}", "rig:=rig_small", "vehicle:=drone_7", "sensor_rate:=5.0",
        "start_paused:=true",
    ) as node:  # fmt: skip
        clock = client.listen(Clock, "/clock")
        clouds = client.listen(PointCloud2, "/drone_7/lidar/points")
        client.until(lambda: clock and clouds, "time 0 for those who come while it stands", node)
        assert nanoseconds(clock[-1].clock) == nanoseconds(clouds[-1].header.stamp) == 0
        answer = client.call(Trigger, "/engine/step")
        assert (answer.success, answer.message) == (True, "at 0.200 s")
        client.until(lambda: nanoseconds(clouds[-1].header.stamp) == 200_000_000, "the frame stepped to", node)
        assert {nanoseconds(c.header.stamp) for c in clouds} == {0, 200_000_000}

        assert client.call(SetBool, "/engine/pause", data=False).message == "running at 0.200 s"
        client.until(lambda: len({nanoseconds(c.header.stamp) for c in clouds}) >= 4, "time runs", node)
        pictures = client.listen(Image, "/drone_7/camera/cam_front/image")
        client.until(lambda: len(pictures) >= 2, "frames for a late listener", node)
        stamps = [nanoseconds(p.header.stamp) for p in pictures]
        assert set(np.diff(stamps)) == {200_000_000} and not any(s % 200_000_000 for s in stamps)

        answer = client.call(SetBool, "/engine/pause", data=True)
        assert answer.success
        labels = client.listen(Image, "/drone_7/semantic/down/image")
        answer = client.call(Trigger, "/engine/step")
        stamp = round(float(answer.message.removeprefix("at ").removesuffix(" s")) * 1e9)
        client.until(lambda: labels and nanoseconds(labels[-1].header.stamp) == stamp, "the frame stepped to", node)
        assert stamp % 200_000_000 == 0 and set(labels[-1].data) == {14}

        before = nanoseconds(clock[-1].clock)
        assert client.call(Trigger, "/engine/reset").success
        client.until(lambda: nanoseconds(clock[-1].clock) == 0 < before, "/clock jumps back", node)
        times = sorted({nanoseconds(c.clock) for c in clock})
        assert times == [i * 10_000_000 for i in range(len(times))], "no tick is left out"
        (info,) = client.node.get_publishers_info_by_topic("/drone_7/lidar/points")
        assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        client.node.create_publisher(Clock, "/clock", 10)
        client.until(lambda: f"another node publishes /clock on ROS domain {domain}" in node.log, "a warning", node)
        assert node.end(signal.SIGINT) == 0, node.log
    assert "Traceback" not in node.log


def test_a_listener_that_starts_anew_gets_the_frame_that_time_stands_at(tmp_path, domain, client):
    """It went away without a word about the frame, and the other's subscription to that topic stays."""
    from sensor_msgs.msg import PointCloud2

    lidar = "/drone_1/lidar/points"
    with running_node(
        tmp_path, domain, f"world:={write_world(tmp_path)}", "rig:=rig_small", "rate:=0.0", "lockstep:=[recorder]",
        "duration:=0.1",
    ) as node:  # fmt: skip
        watched = client.listen(PointCloud2, lidar)
        client.until(lambda: watched, "the frame at 0", node)
        first = Client(domain)
        recorder = Recorder(first, {lidar: PointCloud2})
        first.until(lambda: recorder.whole() == [0], "the frame at 0", node)
        first.close()
        second = Client(domain)
        recorder = Recorder(second, {lidar: PointCloud2})
        for stamp in (0, 100_000_000):
            second.until(lambda stamp=stamp: stamp in recorder.whole(), f"the frame at {stamp}", node)
            recorder.acknowledge(stamp)
        assert node.end() == 0, node.log
        second.close()


@pytest.mark.parametrize(
    ("lost", "code", "words"),
    [
        ("continue", 0, "recorder has not been heard for 0.2 s (at 0.000 s); going on without it"),
        ("stop", 1, "engine: lockstep: recorder has not been heard for 0.2 s (at 0.000 s); the run stops"),
    ],
)
def test_a_listener_that_never_comes(tmp_path, domain, lost, code, words):
    with running_node(
        tmp_path, domain, f"world:={write_world(tmp_path)}", "rig:=rig_small", "rate:=0.0", "lockstep:=[recorder]",
        "lockstep_timeout:=0.2", f"lockstep_lost:={lost}", "duration:=0.3",
    ) as node:  # fmt: skip
        assert node.end() == code, node.log
    assert words in node.log and "Traceback" not in node.log
    assert ("finished at 0.300 s: 4 frames" in node.log) == (code == 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (command("world:=/missing/place"), "/missing/place"),
        (command("world:=.", "rate:=-1.0"), "parameter rate"),
        (command("world:=.", "pose:=[1.0, 2]"), "pose"),  # ROS itself cannot read this list
        ([*command("world:=."), "--", "tokyo"], "tokyo"),
    ],
)
def test_bad_parameters_are_one_line_and_an_exit_code(domain, tmp_path, arguments, complaint):
    result = subprocess.run(
        arguments, env=environment(domain), cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    lines = [line for line in result.stderr.splitlines() if line.startswith("engine: ")]
    assert result.returncode == 2 and len(lines) == 1 and complaint in lines[0], result.stderr
    assert "Traceback" not in result.stderr

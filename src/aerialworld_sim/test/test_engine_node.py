"""The node over a real ROS 2 network: another process subscribes, calls services, and checks what it hears."""

import importlib.util
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from aerialworld_core.frames import Georeference, Pose, quaternion_from_rotation, rotation_from_rpy
from aerialworld_core.sensing import VehicleState

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")

WORLD = """<?xml version="1.0"?>
<sdf version="1.10"><world name="plot">
  <spherical_coordinates><surface_model>EARTH_WGS84</surface_model><latitude_deg>35.66</latitude_deg>
    <longitude_deg>139.74</longitude_deg><elevation>10</elevation><heading_deg>0</heading_deg></spherical_coordinates>
  <scene><ambient>0.4 0.4 0.4 1</ambient><background>0.6 0.7 0.9 1</background><shadows>false</shadows></scene>
  <light type="directional" name="sun"><cast_shadows>false</cast_shadows><diffuse>0.8 0.8 0.8 1</diffuse>
    <direction>-0.5 0.2 -0.9</direction></light>
  <model name="ground"><plugin filename="gz-sim-label-system" name="gz::sim::systems::Label"><label>14</label></plugin>
    <static>true</static><link name="link"><visual name="v"><geometry><box><size>200 200 1</size></box></geometry>
    <material><diffuse>0.5 0.5 0.5 1</diffuse></material></visual></link><pose>0 0 -0.5 0 0 0</pose></model>
</world></sdf>
"""

CLIENT = """
import json, sys, time, rclpy
from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, PointCloud2
from std_srvs.srv import SetBool, Trigger
rclpy.init()
node = rclpy.create_node("listener")
heard = {}
def listen(kind, topic):
    heard[topic] = []
    node.create_subscription(kind, topic, heard[topic].append, 200)
listen(Clock, "/clock"); listen(Odometry, "/drone_7/odom"); listen(Imu, "/drone_7/imu")
listen(NavSatFix, "/drone_7/navsat"); listen(PointCloud2, "/drone_7/lidar/points")
listen(Image, "/drone_7/depth/down/image"); listen(Image, "/drone_7/semantic/down/image")
listen(CameraInfo, "/drone_7/depth/down/camera_info")
listen(Image, "/drone_7/camera/cam_front/image"); listen(CompressedImage, "/drone_7/camera/cam_front/image/compressed")
deadline = time.monotonic() + 60
while min(map(len, heard.values())) < 3 and time.monotonic() < deadline:
    rclpy.spin_once(node, timeout_sec=0.1)
def call(kind, name, request):
    client = node.create_client(kind, name)
    assert client.wait_for_service(20), name
    future = client.call_async(request)
    rclpy.spin_until_future_complete(node, future, timeout_sec=20)
    return future.result()
def quiet(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.05)
refused = call(Trigger, "/engine/step", Trigger.Request())
paused = call(SetBool, "/engine/pause", SetBool.Request(data=True))
quiet(0.5)
def ns(stamp): return stamp.sec * 10**9 + stamp.nanosec
before = ns(heard["/clock"][-1].clock)
clouds = len(heard["/drone_7/lidar/points"])
quiet(0.5)
still = ns(heard["/clock"][-1].clock)
stepped = call(Trigger, "/engine/step", Trigger.Request())
quiet(0.5)
after = ns(heard["/clock"][-1].clock)
new_clouds = heard["/drone_7/lidar/points"][clouds:]
reset = call(Trigger, "/engine/reset", Trigger.Request())
quiet(0.5)
depth, label = heard["/drone_7/depth/down/image"][0], heard["/drone_7/semantic/down/image"][0]
info, odom, imu = heard["/drone_7/depth/down/camera_info"][0], heard["/drone_7/odom"][0], heard["/drone_7/imu"][1]
cloud, fix = heard["/drone_7/lidar/points"][0], heard["/drone_7/navsat"][0]
picture, jpeg = heard["/drone_7/camera/cam_front/image"][0], heard["/drone_7/camera/cam_front/image/compressed"][0]
import numpy as np, simplejpeg
d = np.frombuffer(depth.data, np.float32).reshape(depth.height, depth.width)
c = np.frombuffer(cloud.data, np.uint8).reshape(-1, cloud.point_step)
xyz = c[:, :12].copy().view(np.float32)
rgb = np.frombuffer(picture.data, np.uint8).reshape(picture.height, picture.width, 3)
print(json.dumps({
  "counts": {k: len(v) for k, v in heard.items()}, "refused": refused.success, "paused": paused.success,
  "stepped": stepped.success, "reset": reset.success, "before": before, "still": still, "after": after,
  "at_reset": ns(heard["/clock"][-1].clock), "new_clouds": [ns(m.header.stamp) for m in new_clouds],
  "clock": [ns(m.clock) for m in heard["/clock"]][:20], "imu": [ns(m.header.stamp) for m in heard["/drone_7/imu"]][:20],
  "encodings": [depth.encoding, label.encoding, picture.encoding],
  "frames": [depth.header.frame_id, imu.header.frame_id, cloud.header.frame_id, odom.header.frame_id,
  odom.child_frame_id, jpeg.header.frame_id],
  "depth": [float(d.min()), float(d.max())], "label": sorted(set(label.data)), "k": list(info.k),
  "size": [info.width, info.height],
  "ground": float(np.abs(xyz[:, 2] + 20.0).max()) if len(xyz) else -1, "points": len(xyz),
  "fields": [[f.name, f.offset, f.datatype] for f in cloud.fields],
  "imu_z": imu.linear_acceleration.z, "yaw_w": odom.pose.pose.orientation.w, "z": odom.pose.pose.position.z,
  "fix": [fix.latitude, fix.longitude, fix.altitude],
  "jpeg": float(np.abs(simplejpeg.decode_jpeg(bytes(jpeg.data)).astype(int) - rgb).mean())}))
"""


@pytest.fixture
def network():
    domain = str(random.randint(1, 100))  # noqa: S311
    return {**os.environ, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_DOMAIN_ID": domain}


def node_command(*parameters: str) -> list[str]:
    flags = [word for p in parameters for word in ("-p", p)]
    return [sys.executable, "-m", "aerialworld_sim.nodes.engine", "--ros-args", *flags]


def test_node_publishes_true_values_and_obeys_its_services(tmp_path, network):
    import json

    (tmp_path / "world.sdf").write_text(WORLD)
    node = subprocess.Popen(
        node_command(
            f"world:={tmp_path}",
            "rig:=rig_small",
            "vehicle:=drone_7",
            "pose:=[5.0, -3.0, 20.0, 0.6]",
            "sensor_rate:=5.0",
        ),
        env=network,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        client = subprocess.run(
            [sys.executable, "-c", CLIENT], env=network, capture_output=True, text=True, timeout=120, check=False
        )
        assert client.returncode == 0, client.stderr
        heard = json.loads(client.stdout)
    finally:
        node.terminate()
        deadline = time.monotonic() + 15
        while node.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if node.poll() is None:
            node.kill()
        output = node.communicate()[0]
    assert node.returncode == 0, output
    assert heard["refused"] is False and heard["paused"] and heard["stepped"] and heard["reset"]
    assert heard["still"] == heard["before"], "time stands while paused"
    assert heard["after"] > heard["before"] and heard["after"] % 200_000_000 == 0, "a step ends at a sensor frame"
    assert heard["new_clouds"] == [heard["after"]]
    assert heard["at_reset"] == 0
    assert set(np.diff(heard["clock"])) == {10_000_000} and set(np.diff(heard["imu"])) == {10_000_000}
    assert heard["encodings"] == ["32FC1", "mono8", "rgb8"]
    assert heard["frames"] == [
        "drone_7/down_optical_frame", "drone_7/imu", "drone_7/lidar", "map", "drone_7/base_link",
        "drone_7/cam_front_optical_frame",
    ]  # fmt: skip
    from aerialworld_core.world import load_rig

    rig = load_rig("rig_small")
    down = next(c for c in rig.depth if c.name == "down")
    height = 20.0 + down.pose.position[2]
    assert np.allclose(heard["depth"], height, atol=1e-3) and heard["label"] == [14]
    assert np.allclose(heard["k"], down.intrinsics.ravel()) and heard["size"] == [down.width, down.height]
    assert heard["points"] > 100 and heard["ground"] < 0.5
    assert [f[0] for f in heard["fields"]] == ["x", "y", "z", "intensity", "ring"]
    assert abs(heard["imu_z"] - 9.8) < 0.3 and heard["z"] == 20.0 and np.isclose(heard["yaw_w"], np.cos(0.3))
    latitude, longitude, altitude = heard["fix"]
    assert np.isclose(latitude, 35.66 - 3.0 / 110_949.0, atol=1e-7)  # metres per degree at this latitude
    assert np.isclose(longitude, 139.74 + 5.0 / 90_540.0, atol=1e-7) and np.isclose(altitude, 30.0, atol=1e-3)
    assert heard["jpeg"] < 3.0


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ([], "parameter world"),
        (["world:=/missing/place"], "/missing/place"),
        (["world:=.", "rate:=-1.0"], "parameter rate"),
        (["world:=.", "modalities:=[radar]"], "radar"),
        (["world:=.", "pose:=[1.0, 2.0]"], "parameter pose"),
        (["world:=.", "vehicle:=a/b"], "parameter vehicle"),
    ],
)
def test_bad_parameters_are_one_line_and_an_exit_code(network, tmp_path, parameters, complaint):
    result = subprocess.run(
        node_command(*parameters), env=network, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2 and complaint in result.stderr and "Traceback" not in result.stderr


def test_odometry_twist_is_in_the_child_frame():
    """nav_msgs/Odometry: pose in header.frame_id, twist in child_frame_id."""
    from aerialworld_sim.nodes.messages import navsat, odometry

    turn = rotation_from_rpy(0.0, 0.0, np.pi / 2)
    pose = Pose(np.array([1.0, 2.0, 3.0]), quaternion_from_rotation(turn))
    state = VehicleState(1_500_000_000, pose, np.array([0.0, 4.0, 1.0]), np.array([0.1, 0.2, 0.3]))
    message = odometry(state, "drone_1")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_000)
    linear = message.twist.twist.linear
    assert np.allclose([linear.x, linear.y, linear.z], [4.0, 0.0, 1.0]), "moving north while heading north is forward"
    assert message.twist.twist.angular.z == 0.3 and message.header.frame_id == "map"
    fix = navsat(VehicleState(0, Pose.identity(), np.zeros(3), np.zeros(3)), "drone_1", Georeference(35.0, 139.0, 7.0))
    assert np.allclose([fix.latitude, fix.longitude, fix.altitude], [35.0, 139.0, 7.0])

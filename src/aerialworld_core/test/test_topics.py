"""Topic names as the architecture lists them, unique over vehicles, complete for a rig."""

from __future__ import annotations

import re

import numpy as np
import pytest

from aerialworld_core import topics
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CUBE_FACES, CameraSpec, ImuSpec, LidarSpec, NavSatSpec, Rig

RIG = Rig(
    "r",
    tuple(CameraSpec(n, Pose.identity(), 8, 6, 1.0, 0.1, 10, 10.0) for n in ("cam_front", "cam_back_left")),
    tuple(CameraSpec(f, Pose.identity(), 8, 8, np.pi / 2, 0.1, 200, 5.0) for f in CUBE_FACES),
    LidarSpec("lidar", Pose.identity(), 4, -3, 3, 2, -1, 1, 0.5, 100, 10.0),
    ImuSpec("imu", Pose.identity(), 100.0),
)


def test_names_are_the_published_ones():
    assert topics.odometry("drone_1") == "/drone_1/odom"
    assert topics.imu("drone_1") == "/drone_1/imu"
    assert topics.navsat("rover_2") == "/rover_2/navsat"
    assert (
        topics.camera("drone_1", "CAM_FRONT")
        == topics.camera("drone_1", "cam_front")
        == "/drone_1/camera/cam_front/image"
    )
    assert topics.depth("drone_1", "down") == "/drone_1/depth/down/image"
    assert topics.semantic("drone_1", "down") == "/drone_1/semantic/down/image"
    assert topics.lidar("drone_1") == "/drone_1/lidar/points"
    assert topics.occupancy("drone_1") == "/drone_1/occupancy"
    assert topics.camera_info("/drone_1/camera/cam_front/image") == "/drone_1/camera/cam_front/camera_info"
    assert topics.base_frame("drone_1") == "drone_1/base_link"
    assert topics.optical_frame("drone_1", "CAM_FRONT") == "drone_1/cam_front_optical_frame"
    assert topics.CLOCK == "/clock"


def test_a_rig_gives_every_topic_once_with_its_rate():
    found = {t.name: t for t in topics.vehicle_topics("drone_1", RIG)}
    assert len(found) == len(topics.vehicle_topics("drone_1", RIG)) == 3 + 2 * 3 + 6 * 3 + 1
    assert found["/drone_1/camera/cam_front/image/compressed"].type == "sensor_msgs/msg/CompressedImage"
    assert found["/drone_1/depth/up/camera_info"].rate == 5.0
    assert (found["/drone_1/imu"].rate, found["/drone_1/imu"].sensor) == (100.0, "imu")
    assert found["/drone_1/odom"].rate == 50.0 and found["/drone_1/navsat"].rate == 10.0
    assert found["/drone_1/lidar/points"].type == "sensor_msgs/msg/PointCloud2"
    valid = re.compile(r"^(/[A-Za-z_][A-Za-z0-9_]*)+$")  # ROS 2 name rules
    assert all(valid.match(n) for n in found)
    assert all(re.match(r"^[a-z_]+/msg/[A-Z][A-Za-z0-9]+$", t.type) for t in found.values())


def test_two_vehicles_share_no_topic():
    one, two = ({t.name for t in topics.vehicle_topics(v, RIG)} for v in ("drone_1", "drone_2"))
    assert not one & two


@pytest.mark.parametrize("missing", ["lidar", "imu"])
def test_a_sensor_that_is_not_there_has_no_topic(missing):
    from dataclasses import replace

    names = [t.kind for t in topics.vehicle_topics("v", replace(RIG, **{missing: None}))]
    assert missing not in names and len(names) == len(topics.vehicle_topics("v", RIG)) - 1


def test_rig_without_sensors_still_has_odometry():
    assert [t.kind for t in topics.vehicle_topics("v", Rig("none", (), ()))] == ["odom", "navsat"]


def test_a_rig_with_a_receiver_publishes_at_its_rate():
    from dataclasses import replace

    one = {t.kind: t for t in topics.vehicle_topics("v", replace(RIG, navsat=NavSatSpec("gps", Pose.identity(), 5.0)))}
    assert (one["navsat"].name, one["navsat"].rate, one["navsat"].sensor) == ("/v/navsat", 5.0, "gps")

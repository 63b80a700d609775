"""Messages as sensor_msgs, nav_msgs and tf2 define them, from values known on paper."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from aerialworld_core.frames import Georeference, Pose, quaternion_from_rotation, rotation_from_rpy
from aerialworld_core.rig import CameraSpec, ImuSpec, LidarSpec, NavSatSpec, Rig
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.navsat import fix

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")

STATE = VehicleState(1_500_000_000, Pose.identity(), np.zeros(3), np.zeros(3))


def test_odometry_twist_is_in_the_child_frame():
    """nav_msgs/Odometry: pose in header.frame_id, twist in child_frame_id."""
    from aerialworld_sim.nodes.messages import odometry

    turn = rotation_from_rpy(0.0, 0.0, np.pi / 2)
    pose = Pose(np.array([1.0, 2.0, 3.0]), quaternion_from_rotation(turn))
    message = odometry(
        replace(STATE, pose=pose, linear_velocity=[0, 4, 1], angular_velocity=[0.1, 0.2, 0.3]), "drone_1"
    )
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_000)
    linear = message.twist.twist.linear
    assert np.allclose([linear.x, linear.y, linear.z], [4.0, 0.0, 1.0]), "moving north while heading north is forward"
    assert message.twist.twist.angular.z == 0.3 and message.header.frame_id == "map"


def test_a_fix_says_how_good_it_is():
    from aerialworld_sim.nodes.messages import navsat

    origin = Georeference(35.0, 139.0, 7.0)
    exact = navsat(STATE, "drone_1", fix(None, STATE, origin, 0, "drone_1"), None)
    assert np.allclose([exact.latitude, exact.longitude, exact.altitude], [35.0, 139.0, 7.0])
    assert exact.header.frame_id == "drone_1/base_link" and exact.position_covariance_type == 0
    spec = NavSatSpec("navsat", Pose.identity(), 5.0, 1.5, 3.0)
    noisy = navsat(STATE, "drone_1", fix(spec, STATE, origin, 0, "drone_1"), spec)
    assert noisy.header.frame_id == "drone_1/navsat"
    assert noisy.position_covariance.tolist() == [2.25, 0, 0, 0, 2.25, 0, 0, 0, 9.0]
    assert noisy.position_covariance_type == noisy.COVARIANCE_TYPE_DIAGONAL_KNOWN


def test_an_imu_says_how_noisy_each_axis_is():
    """sensor_msgs/Imu: row-major covariances; all zeros would mean unknown, and the orientation is known exactly."""
    from aerialworld_sim.nodes.messages import imu

    mount = Pose.from_rpy(0, 0, 0, 0, 0, np.pi / 2)
    spec = ImuSpec("imu", mount, 100.0, gyro_noise_stddev=(0.1, 0.2, 0.3), accel_noise_stddev=0.5)
    message = imu(0, "drone_1/imu", np.arange(7.0), STATE, spec)
    assert np.allclose(message.angular_velocity_covariance, np.diag([0.01, 0.04, 0.09]).ravel())
    assert np.allclose(message.linear_acceleration_covariance, np.diag([0.25] * 3).ravel())
    assert all(0 < v < 1e-9 for v in message.orientation_covariance[::4])
    assert np.isclose(message.orientation.z, np.sin(np.pi / 4)), "of the IMU, not of base_link"
    assert (message.angular_velocity.x, message.linear_acceleration.z) == (1.0, 6.0)


def test_camera_info_has_the_rigs_distortion():
    """plumb_bob: D = k1, k2, p1, p2, k3; P is K of the same image, without distortion."""
    from aerialworld_sim.nodes.messages import camera_info

    camera = CameraSpec("cam_front", Pose.identity(), 640, 480, np.pi / 2, 0.1, 100.0, 10.0)
    plain = camera_info(0, "f", camera)
    assert plain.distortion_model == "plumb_bob" and plain.d.tolist() == [0.0] * 5
    assert plain.k.tolist() == [320, 0, 320, 0, 320, 240, 0, 0, 1] or np.allclose(plain.k, camera.intrinsics.ravel())
    lens = camera_info(
        0, "f", replace(camera, distortion=(-0.1, 0.02, 0.001, -0.002, 0.003), principal_point=(310, 250))
    )
    assert lens.d.tolist() == [-0.1, 0.02, 0.001, -0.002, 0.003]
    assert np.allclose(lens.k, [320, 0, 310, 0, 320, 250, 0, 0, 1])
    assert np.allclose(lens.p, [320, 0, 310, 0, 0, 320, 250, 0, 0, 0, 1, 0])


def test_large_messages_are_filled_again():
    """What is published next is in the same memory, and nothing of the last message is left in it."""
    from aerialworld_sim.nodes.messages import image, point_cloud

    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    message = image(1, "a", first)
    array = message.data
    assert bytes(message.data) == first.tobytes() and (message.width, message.height, message.step) == (6, 4, 18)
    assert image(2, "b", second, message) is message and message.data is array
    assert bytes(message.data) == second.tobytes() and message.header.frame_id == "b"
    depth = rng.random((5, 3)).astype(np.float32)
    image(3, "c", depth, message)
    assert bytes(message.data) == depth.tobytes() and (message.encoding, message.step) == ("32FC1", 12)
    mirrored = first[:, ::-1]  # not contiguous
    assert bytes(image(4, "d", mirrored).data) == mirrored.tobytes()

    cloud = None
    for count in (3, 5, 0, 5):
        points, ring = rng.random((count, 4)).astype(np.float32), rng.integers(0, 32, count).astype(np.uint16)
        cloud = point_cloud(count, "lidar", points, ring, cloud)
        rows = np.frombuffer(cloud.data, np.uint8).reshape(count, cloud.point_step)
        assert np.array_equal(rows[:, :16].copy().view(np.float32).reshape(count, 4), points)
        assert np.array_equal(rows[:, 16:18].copy().view(np.uint16).reshape(count), ring)
        assert (cloud.width, cloud.row_step, cloud.height) == (count, count * cloud.point_step, 1)


def test_transforms_place_every_sensor():
    """A point one metre ahead of a left-looking camera lies one metre to the left of the camera in base_link."""
    from aerialworld_sim.nodes.messages import rig_transforms

    left = CameraSpec("cam_left", Pose.from_rpy(0.1, 0.2, 0.3, 0, 0, np.pi / 2), 8, 6, 1.0, 0.1, 10, 10.0)
    lidar = LidarSpec("lidar", Pose.from_rpy(0, 0, 0.5), 4, -3, 3, 2, -1, 1, 0.5, 100, 10.0)
    rig = Rig("r", (left,), (), lidar, ImuSpec("imu", Pose.identity(), 100.0), NavSatSpec("gps", Pose.identity(), 5.0))
    found = {t.child_frame_id: t for t in rig_transforms("drone_1", rig)}
    assert set(found) == {f"drone_1/{n}" for n in ("cam_left_optical_frame", "lidar", "imu", "gps")}
    assert {t.header.frame_id for t in found.values()} == {"drone_1/base_link"}
    t = found["drone_1/cam_left_optical_frame"].transform
    pose = Pose(
        np.array([t.translation.x, t.translation.y, t.translation.z]),
        np.array([t.rotation.x, t.rotation.y, t.rotation.z, t.rotation.w]),
    )
    assert np.allclose(pose.transform(np.array([0.0, 0.0, 1.0])), [0.1, 1.2, 0.3]), "z of an optical frame is ahead"
    assert found["drone_1/lidar"].transform.translation.z == 0.5

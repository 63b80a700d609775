"""The rig's form in session.json: it comes back as it was, and its K and pose are those of the optical frame."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec, ImuSpec, LidarSpec, NavSatSpec, Rig

poses = st.builds(Pose.from_rpy, *[st.floats(-5, 5)] * 3, st.floats(-3, 3), st.floats(-1.5, 1.5), st.floats(-3, 3))


def same_pose(a, b):
    np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(pose=poses, width=st.integers(1, 4000), height=st.integers(1, 4000), hfov=st.floats(0.05, 3.0))
def test_rig_survives_json(pose, width, height, hfov):
    camera = CameraSpec("cam_front", pose, width, height, hfov, 0.1, 200.0, 10.0, 0.01)
    lidar = LidarSpec("lidar", pose, 1024, -np.pi, 3.13, 32, -1.05, 0.17, 0.5, 120.0, 10.0, 0.02)
    rig = Rig("r", (camera,), (CameraSpec("down", pose, 800, 800, np.pi / 2, 0.1, 200, 10.0),), lidar,
              ImuSpec("imu", pose, 100.0, 1e-3, 1e-4, 1e-2, 1e-3))  # fmt: skip
    back = Rig.from_dict(json.loads(json.dumps(rig.to_dict())))
    read = back.cameras[0]
    assert (read.name, read.width, read.height, read.near, read.far, read.rate, read.noise_stddev) == (
        "cam_front", width, height, 0.1, 200.0, 10.0, 0.01,
    )  # fmt: skip
    assert read.hfov == pytest.approx(hfov, rel=1e-9)
    same_pose(read.pose, pose)
    same_pose(back.depth[0].pose, pose)
    assert back.depth[0].name == "down"
    np.testing.assert_array_equal(back.lidar.azimuths, lidar.azimuths)
    np.testing.assert_array_equal(back.lidar.elevations, lidar.elevations)
    same_pose(back.lidar.pose, pose)
    assert {k: v for k, v in back.imu.to_dict().items() if k not in ("position", "orientation")} == {
        k: v for k, v in rig.imu.to_dict().items() if k not in ("position", "orientation")
    }


def test_k_and_optical_pose_project_by_hand():
    """1600 × 900, 90°: f = 800. A point 10 m ahead, 1 m left, 2 m up of the camera lies at u = 720, v = 290."""
    spec = CameraSpec("cam_front", Pose.from_rpy(1, 0, 0.5), 1600, 900, np.pi / 2, 0.1, 200, 10.0)
    data = spec.to_dict()
    optical = Pose(np.array(data["position"]), np.array(data["orientation"]))
    p = optical.inverse().transform(np.array([11.0, 1.0, 2.5]))
    np.testing.assert_allclose(p, [-1, -2, 10], atol=1e-12)
    u, v, w = np.array(data["K"]) @ p
    np.testing.assert_allclose([u / w, v / w], [720, 290], atol=1e-9)
    assert data["frame"] == "cam_front_optical_frame"


def test_sensors_that_are_not_there_stay_absent():
    back = Rig.from_dict(json.loads(json.dumps(Rig("bare", (), ()).to_dict())))
    assert back.cameras == () and back.depth == () and back.lidar is None and back.imu is None


@pytest.mark.parametrize(
    "damage", [{}, {"name": "x"}, {"name": "x", "cameras": {"A": {}}, "depth": {}}, {"cameras": 3}]
)
def test_malformed_rigs_are_world_errors(damage):
    with pytest.raises(WorldError, match="rig"):
        Rig.from_dict(damage)


def through_json(rig: Rig) -> Rig:
    return Rig.from_dict(json.loads(json.dumps(rig.to_dict())))


def test_lenses_noise_and_receiver_survive_json():
    pose = Pose.from_rpy(1, 2, 3, 0.1, 0.2, 0.3)
    camera = CameraSpec(
        "cam_front",
        pose,
        640,
        480,
        1.1,
        0.1,
        200.0,
        10.0,
        0.01,
        0.02,
        500.0,
        (300.5, 250.0),
        (-0.2, 0.05, 1e-3, -2e-3, 0.0),
    )
    lidar = LidarSpec("lidar", pose, 64, -1.0, 1.0, 4, -0.5, 0.5, 0.5, 50.0, 10.0, 0.02, -0.1)
    imu = ImuSpec(
        "imu", pose, 200.0, (1e-3, 2e-3, 3e-3), 0.1, 0.2, gyro_dynamic_bias_stddev=(0.0, 0.0, 1e-4),
        gyro_dynamic_bias_correlation_time=(0.0, 0.0, 300.0), accel_noise_mean=0.5, accel_precision=0.01,
    )  # fmt: skip
    navsat = NavSatSpec("gps", pose, 5.0, 1.5, 3.0)
    rig = Rig("r", (camera,), (), lidar, imu, navsat)
    back = through_json(rig)
    read = back.cameras[0]
    assert (read.distortion, read.principal_point, read.focal_y) == (camera.distortion, (300.5, 250.0), 500.0)
    assert read.noise_mean == 0.02 and not read.ideal and back.lidar.noise_mean == -0.1
    np.testing.assert_allclose(read.intrinsics, [[camera.focal, 0, 300.5], [0, 500, 250], [0, 0, 1]], rtol=1e-12)
    for key in ("mean", "stddev", "bias_mean", "bias_stddev", "drift_stddev", "drift_time", "precision"):
        for quantity in ("gyro", "accel"):
            np.testing.assert_array_equal(
                getattr(back.imu.noise(quantity), key), getattr(imu.noise(quantity), key), err_msg=key
            )
    assert (back.navsat.rate, back.navsat.horizontal_stddev, back.navsat.vertical_stddev) == (5.0, 1.5, 3.0)
    same_pose(back.navsat.pose, pose)
    assert json.dumps(back.to_dict()["imu"]) == json.dumps(rig.to_dict()["imu"])


def test_a_plain_rig_has_the_keys_that_it_always_had():
    """So that the session.json of a rig without lens, drift and receiver keeps its bytes."""
    pose = Pose.identity()
    camera = CameraSpec("cam_front", pose, 8, 6, 1.0, 0.1, 9.0, 10.0, distortion=(0.0,) * 5, principal_point=(4.0, 3.0))
    data = Rig(
        "r", (camera,), (),
        LidarSpec("lidar", pose, 8, -1.0, 1.0, 2, 0.0, 0.1, 0.5, 9.0, 10.0), ImuSpec("imu", pose, 100.0, 1e-3),
    ).to_dict()  # fmt: skip
    assert list(data) == ["name", "cameras", "depth", "lidar", "imu"]
    assert list(data["cameras"]["CAM_FRONT"]) == (
        "width height K position orientation frame near far rate noise_stddev".split()
    )
    assert list(data["imu"]) == (
        "name rate gyro_noise_stddev gyro_bias_stddev accel_noise_stddev accel_bias_stddev position orientation".split()
    )
    assert data["imu"]["gyro_noise_stddev"] == 1e-3 and list(data["lidar"])[-3:] == [
        "noise_stddev",
        "position",
        "orientation",
    ]


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("rate", -1.0, "a rate of -1 Hz"),
        ("rate", 1e9, "at most 10000"),
        ("gyro_noise_stddev", [1.0, 2.0], "one number or three"),
        ("gyro_noise_stddev", [1.0, 2.0, -3.0], "not negative"),
        ("accel_bias_mean", float("nan"), "accel_bias_mean"),
        ("gyro_dynamic_bias_stddev", 1e-4, "needs a dynamic_bias_correlation_time"),
        ("position", [0.0, float("nan"), 0.0], "finite"),
        ("colour", "red", "colour"),
    ],
)
def test_an_imu_of_a_session_that_cannot_be(key, value, match):
    data = Rig("r", (), (), None, ImuSpec("imu", Pose.identity(), 100.0)).to_dict()
    data["imu"][key] = value
    with pytest.raises(WorldError, match=match):
        Rig.from_dict(data)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("K", [[1.0]], "malformed"),
        ("K", [[0, 0, 4], [0, 0, 3], [0, 0, 1]], "malformed"),
        ("width", float("inf"), "malformed"),
        ("K", [[float("nan"), 0, 4], [0, 8, 3], [0, 0, 1]], "field of view"),
        ("K", [[8.0, 0, 4], [0, -8, 3], [0, 0, 1]], "focal length -8"),
        ("K", [[8.0, 0, 1e9], [0, 8, 3], [0, 0, 1]], "far outside 8×6"),
        ("distortion", [0.1, 0.2], "five numbers"),
        ("distortion", [-9.0, 0, 0, 0, 0], "folds over"),
        ("far", float("inf"), "must be below"),
        ("rate", 0.0, "a rate of 0 Hz"),
        ("noise_stddev", -1.0, "cannot be negative"),
    ],
)
def test_a_camera_of_a_session_that_cannot_be(key, value, match):
    data = Rig("r", (CameraSpec("cam_front", Pose.identity(), 8, 6, 1.0, 0.1, 9.0, 10.0),), ()).to_dict()
    data["cameras"]["CAM_FRONT"][key] = value
    with pytest.raises(WorldError, match=match):
        Rig.from_dict(data)


def test_a_depth_face_behind_a_lens_is_refused():
    face = CameraSpec("down", Pose.identity(), 80, 80, np.pi / 2, 0.1, 200.0, 10.0, distortion=(0.01, 0, 0, 0, 0))
    with pytest.raises(WorldError, match="rig r: depth down must be an ideal pinhole"):
        Rig("r", (), (face,))

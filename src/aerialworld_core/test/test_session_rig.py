"""The rig's form in session.json: it comes back as it was, and its K and pose are those of the optical frame."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec, ImuSpec, LidarSpec, Rig

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

"""Poses and frames against hand-computed numbers, scipy and the group laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aerialworld_core.frames import (
    LINK_FROM_OPTICAL,
    Pose,
    grid_from_map,
    quaternion_from_rotation,
    rotation_from_quaternion,
    rotation_from_rpy,
    rpy_from_rotation,
    yaw_of,
)

angle = st.floats(-3.1, 3.1)
metres = st.floats(-1000, 1000)
poses = st.builds(Pose.from_rpy, metres, metres, metres, angle, st.floats(-1.5, 1.5), angle)


def test_hand_computed_rotations():
    x, y, z = np.eye(3)
    np.testing.assert_allclose(rotation_from_rpy(0, 0, np.pi / 2) @ x, y, atol=1e-15)
    np.testing.assert_allclose(rotation_from_rpy(0, np.pi / 2, 0) @ x, -z, atol=1e-15)  # positive pitch looks down
    np.testing.assert_allclose(rotation_from_rpy(np.pi / 2, 0, 0) @ y, z, atol=1e-15)
    # Rz(90°) Ry(90°): first pitched down, then turned: x still looks down.
    np.testing.assert_allclose(rotation_from_rpy(0, np.pi / 2, np.pi / 2) @ x, -z, atol=1e-15)
    np.testing.assert_allclose(rotation_from_rpy(0, np.pi / 2, np.pi / 2) @ z, y, atol=1e-15)


def test_optical_axes():
    """z forward, x right, y down: forward in the link is x, right is −y, down is −z."""
    np.testing.assert_array_equal(LINK_FROM_OPTICAL @ [0, 0, 1], [1, 0, 0])
    np.testing.assert_array_equal(LINK_FROM_OPTICAL @ [1, 0, 0], [0, -1, 0])
    np.testing.assert_array_equal(LINK_FROM_OPTICAL @ [0, 1, 0], [0, 0, -1])
    assert np.linalg.det(LINK_FROM_OPTICAL) == 1.0


@settings(max_examples=150, deadline=None)
@given(roll=angle, pitch=st.floats(-1.55, 1.55), yaw=angle)
def test_rotations_agree_with_scipy(roll, pitch, yaw):
    r = rotation_from_rpy(roll, pitch, yaw)
    reference = Rotation.from_euler("ZYX", [yaw, pitch, roll])
    np.testing.assert_allclose(r, reference.as_matrix(), atol=1e-12)
    q = quaternion_from_rotation(r)
    assert q[3] >= 0 and np.linalg.norm(q) == pytest.approx(1.0, abs=1e-12)
    assert abs(q @ reference.as_quat()) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(rotation_from_quaternion(q), r, atol=1e-12)
    np.testing.assert_allclose(rpy_from_rotation(r), [roll, pitch, yaw], atol=1e-6)


@pytest.mark.parametrize("axis", np.vstack([np.eye(3), [[1, 1, 0], [1, 0, -1], [-1, 1, 1]]]).tolist())
@pytest.mark.parametrize("degrees", [0, 90, 179.9999, 180, 180.0001, 270])
def test_quaternions_at_half_turns(axis, degrees):
    reference = Rotation.from_rotvec(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis))
    q = quaternion_from_rotation(reference.as_matrix())
    assert abs(q @ reference.as_quat()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_straight_up_and_down_keep_their_rotation(pitch):
    r = rotation_from_rpy(0.3, pitch, 1.1)
    roll, p, yaw = rpy_from_rotation(r)
    assert roll == 0.0 and p == pytest.approx(pitch, abs=1e-7)
    np.testing.assert_allclose(rotation_from_rpy(roll, p, yaw), r, atol=1e-7)


@settings(max_examples=80, deadline=None)
@given(a=poses, b=poses, c=poses)
def test_pose_group_laws(a, b, c):
    points = np.array([[1.0, 2, 3], [-4, 5, 0.5]])
    np.testing.assert_allclose((a @ b).transform(points), a.transform(b.transform(points)), atol=1e-8)
    np.testing.assert_allclose((a @ b).matrix, a.matrix @ b.matrix, atol=1e-8)
    np.testing.assert_allclose(a.inverse().transform(a.transform(points)), points, atol=1e-8)
    np.testing.assert_allclose(((a @ b) @ c).matrix, (a @ (b @ c)).matrix, atol=1e-7)
    np.testing.assert_allclose(Pose.from_matrix(a.matrix).matrix, a.matrix, atol=1e-9)


def test_pose_by_hand():
    """Parent sees a frame at (10, 20, 5), turned left by 90°: 2 m ahead of it is 2 m further in y."""
    pose = Pose.from_rpy(10, 20, 5, yaw=np.pi / 2)
    np.testing.assert_allclose(pose.transform(np.array([2, 1, 0])), [9, 22, 5], atol=1e-12)
    np.testing.assert_allclose(pose.inverse().transform(np.array([9, 22, 5])), [2, 1, 0], atol=1e-12)
    assert pose.yaw == yaw_of(pose.orientation) == pytest.approx(np.pi / 2)


@pytest.mark.parametrize(
    ("position", "orientation"),
    [([0, 0], [0, 0, 0, 1]), ([0, 0, 0], [0, 0, 0]), ([np.nan, 0, 0], [0, 0, 0, 1]), ([0, 0, 0], [0, 0, 0, 0])],
)
def test_poses_that_are_none_are_refused(position, orientation):
    with pytest.raises(ValueError):
        Pose(np.array(position, float), np.array(orientation, float))


def test_grid_frame_by_hand():
    """Vehicle at (100, 50, 80) heading north, rolled and pitched, datum 12: yaw alone counts, z is above the datum."""
    m = grid_from_map(Pose.from_rpy(100, 50, 80, 0.2, -0.1, np.pi / 2), 12.0)
    for in_map, in_grid in (
        ([100, 50, 80], [0, 0, 68]),
        ([100, 60, 12], [10, 0, 0]),  # 10 m north is ahead
        ([90, 50, 12], [0, 10, 0]),  # 10 m west is left
        ([103, 46, 42], [-4, -3, 30]),
    ):
        np.testing.assert_allclose(m @ [*in_map, 1], [*in_grid, 1], atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(pose=poses, datum=metres)
def test_grid_frame_is_rigid_and_upright(pose, datum):
    m = grid_from_map(pose, datum)
    np.testing.assert_allclose(m[:3, :3] @ m[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(m[2], [0, 0, 1, -datum])
    np.testing.assert_allclose(m @ [*pose.position, 1], [0, 0, pose.position[2] - datum, 1], atol=1e-9)
    nose = pose.rotation[:, 0]
    assert (m[:3, :3] @ nose)[1] == pytest.approx(0.0, abs=1e-9)  # the nose points along the grid's x, seen from above
    assert (m[:3, :3] @ nose)[0] >= -1e-9

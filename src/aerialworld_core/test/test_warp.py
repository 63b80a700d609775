"""Ego-warp against hand-made grids and against points carried through map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE
from aerialworld_core.warp import column_sources, ego_warp

GRID = VoxelGrid.from_range((-4, -4, -1, 4, 4, 5), (0.5, 0.5, 1.5))  # 16 × 16 × 4
OTHER = VoxelGrid.from_range((-2, -3, 0, 4, 5, 3), (0.4, 0.8, 1.0))  # neither square nor centred

numbers = st.floats(-50, 50, allow_nan=False)
poses = st.builds(Pose.from_rpy, numbers, numbers, numbers, st.floats(-1, 1), st.floats(-1, 1), st.floats(-4, 4))


def random_voxels(grid, seed=0):
    rng = np.random.default_rng(seed)
    o = (rng.random(grid.shape) < 0.3).astype(np.uint8)
    return o, np.where(o, rng.integers(0, 17, grid.shape), FREE).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(pose=poses, grid=st.sampled_from([GRID, OTHER]))
def test_identity_changes_nothing(pose, grid):
    o, s = random_voxels(grid)
    warped, classes = ego_warp(o, s, grid, pose, pose, 3.0)
    np.testing.assert_array_equal(warped, o)
    np.testing.assert_array_equal(classes, s)
    assert warped.dtype == np.uint8 and warped is not o


def test_whole_voxels_forward_and_left_are_exact():
    o, s = random_voxels(GRID)
    past = Pose.from_rpy(10, -7, 30)
    future = Pose.from_rpy(10 + 3 * 0.5, -7 - 2 * 0.5, 35)  # 3 voxels forward, 2 to the right; up changes nothing
    warped, classes = ego_warp(o, s, GRID, past, future, 0.0)
    expected, expected_classes = np.zeros_like(o), np.full_like(s, FREE)
    expected[:-3, 2:] = o[3:, :-2]
    expected_classes[:-3, 2:] = s[3:, :-2]
    np.testing.assert_array_equal(warped, expected)
    np.testing.assert_array_equal(classes, expected_classes)


@pytest.mark.parametrize(("degrees", "turns"), [(90, -1), (180, 2), (-90, 1), (270, 1), (360, 0)])
def test_quarter_turns_are_exact(degrees, turns):
    """The vehicle turns left by 90°: what was ahead (+x) is now to its right (−y)."""
    o, s = random_voxels(GRID, 4)
    past, future = Pose.from_rpy(1, 2, 3, yaw=0.7), Pose.from_rpy(1, 2, 3, yaw=0.7 + np.radians(degrees))
    warped, classes = ego_warp(o, s, GRID, past, future, 0.0)
    np.testing.assert_array_equal(warped, np.rot90(o, turns, axes=(0, 1)))
    np.testing.assert_array_equal(classes, np.rot90(s, turns, axes=(0, 1)))
    if degrees == 90:
        ahead = np.zeros_like(o)
        ahead[15, 8, 0] = 1  # 3.75 m ahead, 0.25 m left
        moved, _ = ego_warp(ahead, None, GRID, past, future, 0.0)
        assert GRID.centers(np.argwhere(moved)).tolist() == [[0.25, -3.75, -0.25]]


@settings(max_examples=80, deadline=None)
@given(past=poses, dx=st.floats(-3, 3), dy=st.floats(-3, 3), future=poses, grid=st.sampled_from([GRID, OTHER]))
def test_every_voxel_is_looked_up_where_its_centre_was(past, dx, dy, future, grid):
    """The definition, through map and without the shortcut by columns."""
    future = Pose(past.position + np.array([dx, dy, 1.0]), future.orientation)
    o, _ = random_voxels(grid, 9)
    warped, none = ego_warp(o, None, grid, past, future, 2.5)
    assert none is None
    ijk = np.indices(grid.shape).reshape(3, -1).T
    in_map = np.linalg.inv(grid_from_map(future, 2.5))
    centres = grid.centers(ijk) @ in_map[:3, :3].T + in_map[:3, 3]
    m = grid_from_map(past, 2.5)
    before = centres @ m[:3, :3].T + m[:3, 3]
    at, inside = grid.indices(before)
    expected = np.where(inside, o[tuple(at.T)], 0)
    # Centres that fall on a face within rounding may go either way.
    position = (before - grid.minimum) / grid.voxel_size
    clear = (np.abs(position - np.round(position))[:, :2] > 1e-6).all(axis=1)
    np.testing.assert_array_equal(warped.ravel()[clear], expected[clear])


def test_roll_and_pitch_do_not_matter():
    o, s = random_voxels(GRID)
    level = ego_warp(o, s, GRID, Pose.from_rpy(0, 0, 9, yaw=0.3), Pose.from_rpy(1, 1, 9, yaw=0.8), 0.0)
    tilted = ego_warp(o, s, GRID, Pose.from_rpy(0, 0, 9, 0.2, 0.3, 0.3), Pose.from_rpy(1, 1, 9, -0.4, 0.1, 0.8), 0.0)
    np.testing.assert_array_equal(level[0], tilted[0])
    np.testing.assert_array_equal(level[1], tilted[1])


def test_far_away_is_free_and_bool_stays_bool():
    o = np.ones(GRID.shape, bool)
    warped, classes = ego_warp(o, np.zeros(GRID.shape, np.uint8), GRID, Pose.identity(), Pose.from_rpy(99, 0, 0), 0.0)
    assert warped.dtype == bool and not warped.any() and (classes == FREE).all()
    _, inside = column_sources(GRID, Pose.identity(), Pose.from_rpy(2, 0, 0))
    assert inside.mean() == 0.75


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="semantics has shape"):
        ego_warp(np.zeros(GRID.shape), np.zeros((1, 2, 3), np.uint8), GRID, Pose.identity(), Pose.identity(), 0.0)

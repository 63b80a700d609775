"""Rolling scans, intensities and range noise of the LiDAR, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, quaternion_from_rotation, rotation_from_rpy
from aerialworld_core.plan import Plan
from aerialworld_core.rig import LidarSpec
from aerialworld_sim import Static, noise
from aerialworld_sim.lidar import (
    beam_directions,
    column_times,
    intensities,
    luminances,
    measured_ranges,
    rolling_poses,
)

SPEED, STAMP = 20.0, 1_000_000_000


def lidar(columns=360, beams=1, pose=None, stddev=0.0, mean=0.0) -> LidarSpec:
    last = np.pi - 2 * np.pi / columns
    low = -0.2 if beams > 1 else 0.0
    place = pose or Pose.identity()
    return LidarSpec("lidar", place, columns, -np.pi, last, beams, low, -low, 0.5, 120.0, 10.0, stddev, mean)


def flight(yaw_rate: float = 0.0):
    """Along +x at SPEED from the origin, turning about the vertical."""
    t = np.linspace(0.0, 2.0, 21)
    position = np.stack([SPEED * t, 0 * t, 0 * t + 10], -1)
    turn = np.array([quaternion_from_rotation(rotation_from_rpy(0, 0, yaw_rate * x)) for x in t])
    return Plan("past", "drone_1", "drone", "line", "block", 0, t, position, turn).trajectory()


def test_columns_fire_in_order_of_azimuth_and_the_sweep_ends_at_the_stamp():
    times = column_times(lidar(columns=4))
    assert np.allclose(times, [-0.075, -0.05, -0.025, 0.0])
    times = column_times(lidar(columns=1024))
    assert np.allclose(np.diff(times), 0.1 / 1024) and times[-1] == 0
    # The next sweep's first column follows one step after this one's last.
    assert times[0] + 0.1 == pytest.approx(0.1 / 1024)


def test_flying_past_a_wall():
    """A wall at y = 15 beside a flight along x. Column i fires at t_i from x = SPEED · t_i: the point lies 15 m to the
    left in that moment's frame, and at SPEED · t_i + 15 / tan(azimuth) along the wall."""
    spec = lidar(pose=Pose.from_rpy(0.5, 0, 0))
    origins, rotations, pose_of = rolling_poses(spec, flight(), STAMP, spec.columns)
    seconds = STAMP * 1e-9 + column_times(spec)
    assert pose_of.tolist() == list(range(spec.columns))
    assert np.allclose(origins, np.stack([SPEED * seconds + 0.5, 0 * seconds, 0 * seconds + 10], -1), atol=1e-7)
    sees = np.sin(spec.azimuths) > 0.2
    distance = (15.0 - origins[sees, 1]) / np.sin(spec.azimuths[sees])
    points = beam_directions(spec)[sees] * distance[:, None]  # as reported: each in the frame of its own moment
    assert np.allclose(points[:, 1], 15.0)
    on_wall = np.einsum("nij,nj->ni", rotations[sees], points) + origins[sees]
    expected = SPEED * seconds[sees] + 0.5 + 15.0 / np.tan(spec.azimuths[sees])
    assert np.allclose(on_wall[:, 0], expected, atol=1e-6) and np.allclose(on_wall[:, 1:], [15.0, 10.0])
    # Taken for a scan of one moment, the same points are off by what was flown since their column fired.
    frozen = points @ rotations[-1].T + origins[-1]
    assert np.allclose(frozen[:, 0] - on_wall[:, 0], -SPEED * column_times(spec)[sees], atol=1e-6)


def test_towards_a_wall_and_turning():
    """A wall at x = 60 ahead: range = (60 − x(t)) / cos(heading(t) + azimuth)."""
    spec = lidar(columns=720)
    origins, rotations, _ = rolling_poses(spec, flight(yaw_rate=0.8), STAMP, 720)
    seconds = STAMP * 1e-9 + column_times(spec)
    direction = np.einsum("nij,nj->ni", rotations, beam_directions(spec))
    ahead = direction[:, 0] > 0.3
    ranges = (60.0 - origins[ahead, 0]) / direction[ahead, 0]
    expected = (60.0 - SPEED * seconds) / np.cos(0.8 * seconds + spec.azimuths)
    assert np.allclose(ranges, expected[ahead], rtol=1e-6)


def test_columns_share_poses_where_fewer_are_asked_for():
    spec = lidar(columns=90)
    origins, rotations, pose_of = rolling_poses(spec, flight(), STAMP, 4)
    assert origins.shape == (4, 3) and rotations.shape == (4, 3, 3)
    assert np.bincount(pose_of).tolist() == [23, 22, 23, 22] and (np.diff(pose_of) >= 0).all()
    exact, _, _ = rolling_poses(spec, flight(), STAMP, 1000)
    assert len(exact) == 90
    for i in range(4):
        assert np.allclose(origins[i], exact[pose_of == i].mean(axis=0), atol=1e-6)
    with pytest.raises(InputError, match="a rolling scan of 0 poses"):
        rolling_poses(spec, flight(), STAMP, 0)


def test_a_vehicle_that_stands_scans_from_one_place():
    spec = lidar(pose=Pose.from_rpy(0.1, 0.2, 0.3, 0, 0.4, 0))
    base = Pose.from_rpy(1, 2, 3, 0.1, 0.2, 0.3)
    origins, rotations, _ = rolling_poses(spec, Static(base), 0, 16)
    place = base @ spec.pose
    assert np.allclose(origins, place.position) and np.allclose(rotations, place.rotation)


def test_intensity_of_a_lambertian_surface_and_of_gazebo():
    retro = np.array([0.0, 500.0, 0.0], np.float32)
    luminance = luminances(np.array([[1, 1, 1], [1, 0, 0], [0, 0.5, 0]], np.float32))
    assert np.allclose(luminance, [1.0, 0.2126, 0.3576])
    material, cosine = np.array([0, 0, 1, 1, 2]), np.array([1.0, -0.5, 1.0, np.cos(1.0), -1.0])
    read = intensities(retro, luminance, material, cosine, "exact")
    assert read.dtype == np.float32
    assert np.allclose(read, [100.0, 50.0, 500.0, 500 * np.cos(1.0), 35.76])
    assert intensities(retro, luminance, material, cosine, "gazebo").tolist() == [0.0, 0.0, 500.0, 500.0, 0.0]


def test_range_noise_of_a_beam_does_not_depend_on_which_others_return():
    spec = lidar(columns=1024, beams=32, stddev=0.02, mean=0.1)
    beams = np.arange(32 * 1024)
    stream = noise.key(1, "v", "lidar", 5)
    ranges = np.full(len(beams), 50.0)
    read = measured_ranges(spec, ranges, beams, stream)
    assert (read - ranges).mean() == pytest.approx(0.1, abs=5e-4) and (read - ranges).std() == pytest.approx(
        0.02, rel=0.02
    )
    some = beams[::7]
    assert measured_ranges(spec, ranges[some], some, stream).tobytes() == read[some].tobytes()
    held = measured_ranges(spec, np.array([0.5, 120.0]), np.array([0, 1]), stream)
    assert 0.5 <= held[0] <= 0.8 and held[1] == 120.0
    assert measured_ranges(lidar(), ranges, beams, stream) is ranges

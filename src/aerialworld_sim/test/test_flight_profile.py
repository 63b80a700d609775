"""Legs' speed profiles and shaped targets against their limits and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from aerialworld_sim.vehicles.legs import LegFollower
from aerialworld_sim.vehicles.parameters import MultirotorParameters
from aerialworld_sim.vehicles.profile import Profile
from aerialworld_sim.vehicles.shaping import Shaped, root_speed

JERK, SNAP, ACCELERATION = 1.0, 5.236, 2.5


def sampled(profile: Profile, n: int = 4001) -> tuple[np.ndarray, np.ndarray]:
    t = np.linspace(0.0, profile.duration, n)
    return t, np.array([profile.at(x) for x in t])


@pytest.mark.parametrize(("length", "top", "speed"), [(100, 8, 0), (15, 8, 0), (0.3, 8, 0), (60, 8, 5), (200, 4, 7)])
def test_a_profile_keeps_every_limit_and_ends_where_it_should(length, top, speed):
    profile = Profile(length, top, ACCELERATION, JERK, SNAP, speed)
    t, (distance, pace, acceleration) = sampled(profile)[0], sampled(profile)[1].T
    assert (distance[0], pace[0]) == (0.0, speed) and np.allclose(profile.at(profile.duration), (length, 0, 0))
    assert distance[-2] == pytest.approx(length, abs=1e-3) and (np.diff(distance) >= -1e-9).all()
    assert pace.max() <= max(top, speed) + 1e-9 and pace.min() >= -1e-9
    assert np.abs(acceleration).max() <= ACCELERATION + 1e-9
    jerk = np.gradient(acceleration, t)
    assert np.abs(jerk).max() <= JERK * 1.001
    assert np.abs(np.gradient(jerk, t)).max() <= SNAP * 1.02
    assert np.abs(np.gradient(distance, t) - pace).max() < 0.01 * max(top, speed)
    assert np.abs(np.gradient(pace, t) - acceleration).max() < 0.01 * ACCELERATION


def test_a_long_leg_takes_the_time_of_its_closed_form():
    """Each change of speed takes v / a plus the rise of acceleration, and moves with the mean of its speeds."""
    profile = Profile(100.0, 8.0, ACCELERATION, JERK, SNAP)
    rise = ACCELERATION / JERK + math.pi * JERK / (2 * SNAP)
    change = 8.0 / ACCELERATION + rise
    assert profile.accelerated == pytest.approx(change) and profile.top == 8.0
    assert profile.duration == pytest.approx(2 * change + (100.0 - 8.0 * change) / 8.0)


def test_a_short_leg_is_as_fast_as_its_length_allows():
    """15 m: speed V = a·T and V·T = 7.5 m with T = a / j + edge, no phase of constant speed."""
    profile = Profile(15.0, 8.0, ACCELERATION, JERK, SNAP)
    edge = math.pi * JERK / (2 * SNAP)
    a = max(np.roots([1.0, 2 * edge, edge * edge, -7.5]).real)
    assert profile.top == pytest.approx(a * (a + edge), rel=1e-6) and profile.duration == pytest.approx(4 * (a + edge))


def test_a_leg_too_short_to_stop_in_is_overrun_by_what_the_stop_takes():
    profile = Profile(1.0, 8.0, ACCELERATION, JERK, SNAP, 8.0)
    assert profile.length == pytest.approx(4.0 * (8.0 / ACCELERATION + 2.5 + 0.3), rel=1e-3)


def test_a_corner_is_cut_within_the_radius_and_a_stop_is_not():
    p = MultirotorParameters()
    corner, end = (50.0, 0.0, 10.0), (50.0, 50.0, 10.0)
    for following, least, most in ((end, 0.3, 2.05), (None, 0.0, 0.01)):
        legs = LegFollower(p.leg_limits, p.radius)
        legs.begin((0.0, 0.0, 10.0), corner, following, 8.0, 2.0)
        nearest = math.inf
        for _ in range(4000):
            where, speed, _ = legs.target()
            legs.advance(0.01, legs.target(), where, speed)
            nearest = min(nearest, math.dist(where, corner))
        assert legs.passed and least <= nearest <= most


def test_a_shaped_point_arrives_within_its_limits_with_an_overshoot_of_a_hundredth():
    point, path = Shaped(), []
    for _ in range(1500):
        point.level_to(20.0, 0.0, 0.0, 0.0, 6.0, 2.5, 5.0, 0.01)
        point.height_to(5.0, 0.0, 2.5, 1.5, 1.0, 5.0, 0.01)
        path.append((point.x, point.vx, point.ax, point.z, point.vz, point.az))
    x, vx, ax, z, vz, az = np.array(path).T
    assert (x[-1], z[-1]) == pytest.approx((20.0, 5.0), abs=0.02)
    assert x.max() < 20.25 and z.max() < 5.05
    assert vx.max() <= 6.01 and abs(ax).max() <= 2.51 and abs(np.diff(ax)).max() <= 0.0501
    assert vz.max() <= 2.51 and abs(az).max() <= 1.01


def test_the_root_law_is_continuous_and_stops_with_its_acceleration():
    assert root_speed(0.5, 1.0, 2.0) == 0.5 and root_speed(2.0, 1.0, 2.0) == 2.0
    far = root_speed(10.0, 1.0, 2.0)
    assert far**2 / (2 * 2.0) == pytest.approx(10.0 - 1.0)

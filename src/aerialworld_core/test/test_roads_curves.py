"""Curves that traffic follows, against geometry computed on paper."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from aerialworld_core.roads.curves import arcs, beside, dubins, eased, fillet, reverse, three_moves, through


def states(count, seed=0):
    rng = np.random.default_rng(seed)
    return [(*rng.uniform(-25, 25, 2), rng.uniform(-4, 4)) for _ in range(count)]


def same_heading(a, b):
    return np.cos(a - b) > 1 - 1e-9


def test_every_candidate_of_dubins_ends_where_it_should_with_the_radius_asked_for():
    for a, b in zip(states(150), states(150, 1), strict=True):
        found = list(dubins(a, b, 4.0))
        assert found
        for curve in found:
            assert np.allclose(curve.start[:2], a[:2]) and same_heading(curve.start[2], a[2])
            assert np.allclose(curve.end[:2], b[:2], atol=1e-3) and same_heading(curve.end[2], b[2])
            assert np.abs(np.diff(curve.yaw)).max() <= curve.step / 4.0 + 1e-9
        lengths = [curve.length for curve in found]
        assert lengths == sorted(lengths)


def test_dubins_shortest_path_is_the_known_one():
    (first, *_) = dubins((0.0, 0.0, 0.0), (10.0, 0.0, 0.0), 3.0)
    assert first.length == pytest.approx(10.0)
    # Facing back on a parallel line two radii to the left: half a circle.
    (first, *_) = dubins((0.0, 0.0, 0.0), (0.0, 6.0, np.pi), 3.0)
    assert first.length == pytest.approx(3.0 * np.pi)
    assert np.allclose(np.hypot(first.xy[:, 0], first.xy[:, 1] - 3.0), 3.0)


def test_a_fillet_is_one_arc_between_two_straights():
    curve = fillet((0.0, 0.0, 0.0), (10.0, 12.0, np.pi / 2), 6.0)
    assert curve is not None
    assert curve.length == pytest.approx(4.0 + 6.0 * np.pi / 2 + 6.0)
    assert np.allclose(curve.end[:2], (10.0, 12.0))
    assert fillet((0.0, 0.0, 0.0), (10.0, 4.0, np.pi / 2), 6.0) is None  # the corner is nearer than the arc needs
    assert fillet((0.0, 0.0, 0.0), (-10.0, 12.0, np.pi / 2), 6.0) is None  # the corner lies behind


def test_a_vehicle_steers_into_a_turn_over_three_metres():
    start, end, radius = (0.0, 0.0, 0.0), (14.0, 15.0, np.pi / 2), 6.0
    (curve,) = eased(start, lambda a, b: [fillet(a, b, radius)], end)
    assert np.allclose(curve.xy[[0, -1]], [start[:2], end[:2]], atol=1e-9)
    assert np.allclose(curve.yaw[[0, -1]], [0.0, np.pi / 2], atol=1e-9)
    bend = np.diff(curve.yaw) / curve.step
    assert abs(bend[0]) < 0.03 and abs(bend[-1]) < 0.03 and bend.max() < 1.05 / radius
    assert np.abs(np.diff(bend)).max() < 1.6 * curve.step / (3.0 * radius)  # a jump would be 1 / radius
    tangent = np.unwrap(np.arctan2(*np.diff(curve.xy, axis=0).T[::-1]))
    assert np.abs(tangent - 0.5 * (curve.yaw[1:] + curve.yaw[:-1])).max() < 0.01


def test_easing_keeps_the_ends_of_any_turn():
    for a, b in zip(states(30, 2), states(30, 3), strict=True):
        for curve in eased(a, partial(lambda p, q: dubins(p, q, 5.0)), b):
            assert np.allclose(curve.start[:2], a[:2], atol=1e-6) and np.allclose(curve.end[:2], b[:2], atol=1e-6)
            assert same_heading(curve.start[2], a[2]) and same_heading(curve.end[2], b[2])


def test_a_turn_in_three_moves_reverses_in_the_middle_and_ends_in_the_other_lane():
    moves = three_moves((3.0, 1.0, 0.4), 3.4, 4.5)
    assert moves is not None and [move.gear for move in moves] == [1, -1, 1]
    for one, two in pairwise(moves):
        assert np.allclose(one.end, two.start)
    across = 3.4 * np.array([np.sin(0.4), -np.cos(0.4)])
    assert np.allclose(moves[2].end[:2], np.array([3.0, 1.0]) + across, atol=1e-9)
    assert same_heading(moves[2].end[2], 0.4 + np.pi)
    # In reverse the body moves against its heading.
    back = moves[1]
    step = np.diff(back.xy, axis=0)
    assert (step @ np.array([np.cos(back.yaw[0]), np.sin(back.yaw[0])]) < 0).all()
    assert three_moves((0.0, 0.0, 0.0), 9.1, 4.5) is None


def test_a_curve_through_points_of_a_circle_is_the_circle():
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    curve = through(10 * np.stack([np.cos(angle), np.sin(angle)], axis=1), closed=True)
    assert curve.length == pytest.approx(20 * np.pi, rel=1e-4)
    assert np.allclose(np.hypot(*curve.xy.T), 10.0, atol=1e-3)
    assert curve.yaw[-1] - curve.yaw[0] == pytest.approx(2 * np.pi, abs=1e-3)
    inner = beside(curve, 3.0)
    assert np.allclose(np.hypot(*inner.xy.T), 7.0, atol=5e-3)
    back = reverse(curve)
    assert np.allclose(back.start[:2], curve.end[:2]) and same_heading(back.start[2], curve.end[2] + np.pi)


def test_parts_and_arcs_keep_their_lengths():
    curve = arcs((0.0, 0.0, 0.0), [(0.0, 5.0), (0.2, 3.0), (-0.1, 4.0)])
    assert curve.length == pytest.approx(12.0)
    assert curve.end[2] == pytest.approx(0.6 - 0.4)
    part = curve.part(2.0, 7.0)
    assert part.length == pytest.approx(5.0) and np.allclose(part.xy[0], [2.0, 0.0])

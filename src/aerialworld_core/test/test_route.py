"""A plan's waypoints follow its path, speeds, looks and holds; its fence knows what lies inside."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aerialworld_core.errors import PlanError
from aerialworld_core.plan import Plan
from aerialworld_core.route import Fence


def make(t: np.ndarray, position: np.ndarray, yaw: np.ndarray, **more: Any) -> Plan:
    q = Rotation.from_euler("z", yaw[:, None]).as_quat()
    return Plan("run", "drone_1", "drone", "survey", "A", 0, t, position, q, **more)


def polyline(corners: list[tuple[float, ...]], speed: float, step: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Times and positions along straight legs, corners hit exactly."""
    points = [np.array(corners[0], float)]
    for a, b in pairwise(corners):
        n = round(math.dist(a, b) / speed / step)
        points += [np.array(a) + (np.array(b) - np.array(a)) * (k + 1) / n for k in range(n)]
    return step * np.arange(len(points)), np.array(points)


def test_corners_become_waypoints_with_the_speed_of_their_legs() -> None:
    corners = [(0.0, 0.0, 10.0), (50.0, 0.0, 10.0), (50.0, 20.0, 15.0), (10.0, 20.0, 15.0)]
    t, p = polyline(corners, 5.0)
    course = np.arctan2(*np.gradient(p[:, :2], axis=0).T[::-1])
    found = make(t, p, course).route(0.1)
    assert np.array([w.position for w in found]) == pytest.approx(np.array(corners))
    assert found[0].speed == 0.0
    assert [w.speed for w in found[1:]] == pytest.approx([5.0, 5.0, 5.0], rel=0.02)
    assert all(w.yaw is None and w.hold == 0.0 for w in found)


@pytest.mark.parametrize("tolerance", [0.05, 0.5, 2.0])
def test_legs_of_a_circle_stay_within_the_tolerance_and_are_as_few_as_geometry_asks(tolerance: float) -> None:
    radius, angle = 40.0, np.linspace(0.0, 2 * np.pi, 503)
    p = np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(503, 30.0)])
    found = make(0.1 * np.arange(503), p, angle + np.pi / 2).route(tolerance)
    legs = np.array([w.position for w in found])
    middles = np.linalg.norm((legs[1:] + legs[:-1])[:, :2] / 2, axis=1)
    assert radius - middles.min() <= tolerance + 1e-3
    least = 2 * np.pi / (2 * math.acos(1 - tolerance / radius))
    assert len(legs) - 1 <= 2.1 * least + 1  # halving by Douglas and Peucker: never more than twice as many
    assert all(w.yaw is None for w in found)


def test_a_look_at_the_centre_is_kept_in_the_waypoints() -> None:
    angle = np.linspace(0.0, 2 * np.pi, 503)
    p = np.column_stack([40 * np.cos(angle), 40 * np.sin(angle), np.full(503, 30.0)])
    found = make(0.1 * np.arange(503), p, angle + np.pi).route()
    for w in found:
        assert w.yaw is not None
        towards = math.atan2(-w.position[1], -w.position[0])
        assert math.cos(w.yaw - towards) == pytest.approx(1.0, abs=1e-9)


def test_turning_on_the_spot_along_a_straight_leg_needs_waypoints() -> None:
    t = 0.1 * np.arange(201)
    p = np.column_stack([t, 0 * t, 20 + 0 * t])
    yaw = np.where(t < 10, 0.0, np.minimum((t - 10) * 0.5, np.pi / 2))
    found = make(t, p, yaw).route()
    turned = [(w.position[0], w.yaw) for w in found]
    assert np.interp([5.0, 11.5, 18.0], *zip(*turned, strict=True)) == pytest.approx(
        [0.0, 0.75, np.pi / 2], abs=math.radians(15.5)
    )


def test_standing_still_becomes_a_hold() -> None:
    _, go = polyline([(0.0, 0.0, 10.0), (20.0, 0.0, 10.0)], 4.0)
    stay = np.repeat(go[-1:], 30, axis=0)
    back = polyline([(20.0, 0.0, 10.0), (20.0, 12.0, 10.0)], 4.0)[1][1:]
    p = np.concatenate([go, stay, back])
    yaw = np.concatenate([np.zeros(len(go)), np.linspace(0, np.pi / 2, 30), np.full(len(back), np.pi / 2)])
    found = make(0.1 * np.arange(len(p)), p, yaw).route()
    assert [w.position[:2] for w in found] == [(0.0, 0.0), (20.0, 0.0), (20.0, 12.0)]
    assert [w.hold for w in found] == pytest.approx([0.0, 3.0, 0.0])
    assert [w.speed for w in found] == pytest.approx([0.0, 4.0, 4.0])


def test_there_and_back_again_keeps_the_far_end() -> None:
    t, p = polyline([(0.0, 0.0, 10.0), (30.0, 0.0, 10.0), (10.0, 0.0, 10.0)], 5.0)
    found = make(t, p, np.zeros(len(t))).route()
    assert max(w.position[0] for w in found) == pytest.approx(30.0)
    with pytest.raises(PlanError, match="tolerance"):
        make(t, p, np.zeros(len(t))).route(0.0)


def test_a_fence_contains_what_its_polygon_and_heights_hold() -> None:
    fence = Fence([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (5.0, 5.0), (0.0, 10.0)], 0.0, 50.0)
    points = [
        (1, 1, 1),
        (5, 4.9, 1),
        (5, 5.1, 1),
        (5, 9, 1),
        (9, 9.5, 1),
        (11, 1, 1),
        (1, 1, -1),
        (1, 1, 51),
        (10, 5, 9),
    ]
    assert fence.contains(np.array(points)).tolist() == [True, True, False, False, False, False, False, False, True]


def test_a_fence_is_written_and_read_with_its_plan_and_old_plans_have_none() -> None:
    t, p = polyline([(0.0, 0.0, 10.0), (20.0, 0.0, 10.0)], 4.0)
    assert "fence" not in make(t, p, 0 * t).to_dict()
    plan = make(t, p, 0 * t, fence=Fence([(-1, -1), (30, -1), (30, 5)], -5, 60))
    again = Plan.from_dict(plan.to_dict())
    assert again.fence is not None and plan.fence is not None
    assert again.fence.to_dict() == plan.fence.to_dict() == {
        "polygon": [[-1.0, -1.0], [30.0, -1.0], [30.0, 5.0]], "floor": -5.0, "ceiling": 60.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fence",
    [
        5, None, [], {}, {"polygon": [[0, 0], [1, 0], [0, 1]]},
        {"polygon": [[0, 0], [1, 0]], "floor": 0, "ceiling": 1},
        {"polygon": [[0, 0], [1, 0], ["0", 1]], "floor": 0, "ceiling": 1},
        {"polygon": [[0, 0], [1, 0], [0, 1, 2]], "floor": 0, "ceiling": 1},
        {"polygon": [[0, 0], [1, 0], [0, 10**400]], "floor": 0, "ceiling": 1},
        {"polygon": [[0, 0]] * 1001, "floor": 0, "ceiling": 1},
        {"polygon": [[0, 0], [1, 0], [0, 1]], "floor": 1, "ceiling": 1},
        {"polygon": [[0, 0], [1, 0], [0, 1]], "floor": True, "ceiling": 5},
        {"polygon": [[0, 0], [1, 0], [0, 1]], "floor": "0", "ceiling": 5},
        {"polygon": [[0, 0], [1, 0], [0, 1]], "floor": float("nan"), "ceiling": 5},
        {"polygon": [[0, 0], [1, 0], [0, 1]], "floor": 0, "ceiling": 1, "more": 1},
    ],
)  # fmt: skip
def test_a_damaged_fence_is_refused(fence: Any) -> None:
    t, p = polyline([(0.0, 0.0, 10.0), (20.0, 0.0, 10.0)], 4.0)
    with pytest.raises(PlanError, match="fence"):
        Plan.from_dict({**make(t, p, 0 * t).to_dict(), "fence": fence})

"""Rover runs: on the ground, clear of walls, within limits, on roads where there are any; against analytic worlds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aerialworld_core.errors import PlanError
from aerialworld_core.files import canonical_json
from aerialworld_core.plan import Motion, Plan
from aerialworld_missions import road_run

BLOCKS = tuple(
    (x, y, x + 32.0, y + 24.0, 10.0 + 5 * ((i + 2 * j) % 4))
    for i, x in enumerate((10.0, 60.0, 110.0, 160.0, 210.0))
    for j, y in enumerate((10.0, 52.0, 94.0, 136.0))
)
ROADS = (
    *((0.0, y, 300.0, y + 8.0) for y in (39.0, 81.0, 123.0)),
    *((x, 0.0, x + 8.0, 200.0) for x in (47.0, 97.0, 147.0)),
)


@pytest.fixture(scope="module")
def blocks(box_world: type):
    return box_world(boxes=BLOCKS, roads=ROADS, ground=lambda x, y: 0.04 * x + 1.5 * np.sin(y / 25.0))


def motion(plan: Plan, step: float = 0.01) -> Motion:
    return plan.trajectory().sample(np.arange(0.0, plan.duration, step))


def assert_drivable(plan: Plan, world, centre, size: float, clearance: float = 2.0) -> Motion:
    """What a rover of ours may never do, sampled ten times per knot."""
    m = motion(plan)
    p, v, a = m.position, m.linear_velocity, m.linear_acceleration
    gap = p[:, 2] - world.terrain_height(p[:, :2])
    assert gap.min() >= 0.0 and gap.max() <= 0.35
    assert not world.inside_solid(p).any()
    assert world.box_distance(p).min() >= clearance - 1e-3
    assert np.abs(p[:, :2] - centre).max() <= size / 2
    speed = np.linalg.norm(v, axis=1)
    assert 0.3 < speed.min() and speed.max() <= 1.1 * plan.parameters["speed"]
    forward = v[:, :2] / np.linalg.norm(v[:, :2], axis=1, keepdims=True)
    assert np.abs(forward[:, 0] * a[:, 1] - forward[:, 1] * a[:, 0]).max() <= 2.0 * 1.03
    assert np.degrees(np.abs(m.yaw_rate)).max() <= 60 * 1.03
    yaw = Rotation.from_quat(m.orientation).as_euler("ZYX")[:, 0]
    slip = np.degrees(np.abs(np.angle(np.exp(1j * (yaw - np.arctan2(v[:, 1], v[:, 0]))))))
    assert slip.max() < 2.0  # wheels roll where they point: no reversing, no turning on the spot
    return m


def test_runs_of_many_seeds_are_drivable_and_stay_on_the_road(blocks) -> None:
    on_road = []
    for seed in range(8):
        plan = road_run(blocks, centre=(120, 90), size=110, duration=25, speed=1.5 + 0.5 * seed, seed=seed)
        assert plan.duration == pytest.approx(25.0) and plan.agent_type == "rover"
        m = assert_drivable(plan, blocks, (120, 90), 110)
        on_road.append(np.mean([any(blocks._inside(p[None, :2], r)[0] for r in ROADS) for p in m.position[::20]]))
    assert np.mean(on_road) > 0.9


def test_a_run_longer_than_the_road_goes_round_and_round(blocks) -> None:
    plan = road_run(blocks, centre=(75, 64), size=70, duration=180, speed=4, seed=2)
    m = assert_drivable(plan, blocks, (75, 64), 70)
    assert plan.duration == pytest.approx(180.0)
    assert np.linalg.norm(np.diff(m.position, axis=0), axis=1).sum() > 180 * 2.0


def test_on_a_tilted_plane_the_rover_is_tilted_like_it(box_world: type) -> None:
    world = box_world(ground=lambda x, y: 0.15 * x - 0.1 * y)
    plan = road_run(world, centre=(150, 100), size=80, duration=20, seed=1)
    m = assert_drivable(plan, world, (150, 100), 80)
    normal = np.array([-0.15, 0.1, 1.0]) / math.hypot(0.15, 0.1, 1.0)
    up = Rotation.from_quat(m.orientation).as_matrix()[:, :, 2]
    assert np.degrees(np.arccos(np.clip(up @ normal, -1, 1))).max() < 2.5  # turning changes pitch and roll: smoothed
    gap = m.position[:, 2] - (0.15 * m.position[:, 0] - 0.1 * m.position[:, 1])
    assert gap.max() < 0.08


def test_equal_seeds_equal_bytes_and_other_seeds_other_runs(blocks) -> None:
    def make(seed: int) -> bytes:
        return canonical_json(road_run(blocks, centre=(120, 90), duration=15, seed=seed, jitter=True).to_dict())

    assert make(4) == make(4)
    assert len({make(seed) for seed in range(6)}) == 6


def test_a_step_in_the_ground_is_not_driven_over(box_world: type) -> None:
    """A 1 m high wall across the box, of a class that is not ground, with one gap of 12 m."""
    wall = ((100.0, 0.0, 101.0, 80.0, 1.0), (100.0, 92.0, 101.0, 200.0, 1.0))
    world = box_world(boxes=wall)
    for seed in range(4):
        plan = road_run(world, centre=(100, 86), size=60, duration=60, speed=4, seed=seed)
        assert_drivable(plan, world, (100, 86), 60)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"centre": (76, 22), "size": 28}, "no driveable ground"),  # inside a block
        ({"centre": (5000, 0)}, "no driveable ground"),
        ({"size": 4}, "size"),
        ({"size": 6}, "no driveable ground"),
        ({"speed": 0}, "speed"),
        ({"speed": 6}, "at most 5"),
        ({"duration": -1}, "duration"),
        ({"clearance": 0.5}, "at least 2"),
        ({"clearance": 15}, "no driveable ground"),
        ({"ceiling": 1}, "ceiling of 1 m"),
        ({"vehicle": "../rover"}, "vehicle"),
    ],
)
def test_a_run_that_cannot_be_driven_is_refused_with_its_reason(blocks, change: dict, says: str) -> None:
    with pytest.raises(PlanError) as caught:
        road_run(blocks, **{"centre": (120, 90), "size": 100, "duration": 10, **change})
    assert says in str(caught.value)


def test_steep_ground_is_refused(box_world: type) -> None:
    world = box_world(ground=lambda x, y: 0.45 * x)  # 24°
    with pytest.raises(PlanError, match="flatter than 20°"):
        road_run(world, centre=(150, 100))

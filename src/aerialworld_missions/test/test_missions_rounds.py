"""Patrols and drives on lanes: posts passed, lanes kept, on driveable ground, clear of everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aerialworld_core.errors import PlanError
from aerialworld_core.labels import DRIVEABLE_SURFACE, GROUND
from aerialworld_core.plan import Plan
from aerialworld_core.world import load_world
from aerialworld_missions import corridor, patrol, roads
from aerialworld_missions.lanemap import LaneMap

CITY = Path(__file__).resolve().parents[3] / "worlds" / "small_city"
TOWN = ((100, 80, 130, 120, 45), (60, 20, 90, 40, 12), (200, 120, 225, 140, 33))


@pytest.fixture(scope="module")
def town(box_world: type):
    return box_world(boxes=TOWN, ground=lambda x, y: 0.02 * x)


@pytest.fixture(scope="module")
def city():
    return load_world(CITY)


def driven(plan: Plan) -> np.ndarray:
    return plan.trajectory().sample(np.arange(0.0, plan.duration, 0.05)).position


def passes(plan: Plan, posts) -> list[float]:
    path = driven(plan)[:, :2]
    return [float(np.hypot(*(path - p).T).min()) for p in posts]


def assert_drivable(plan: Plan, world) -> None:
    p = driven(plan)
    gap = p[:, 2] - world.terrain_height(p[:, :2])
    assert gap.min() >= 0.0 and gap.max() <= 0.36
    assert world.box_distance(p).min() >= 2.0 if hasattr(world, "box_distance") else not world.inside_solid(p).any()
    assert plan.fence is not None and plan.fence.contains(p).all()
    speed = np.linalg.norm(plan.trajectory().sample(np.arange(0, plan.duration, 0.05)).linear_velocity, axis=1)
    assert speed.max() <= plan.parameters["speed"] * 1.02


POSTS = [(40, 60), (180, 40), (260, 170), (60, 160)]


def test_a_patrol_passes_all_posts_and_comes_back(town) -> None:
    plan = patrol(town, posts=POSTS, speed=4)
    assert max(passes(plan, POSTS)) < 4.0
    path = driven(plan)[:, :2]
    first = np.hypot(*(path - POSTS[0]).T)
    assert first[: len(path) // 4].min() < 4.0 and first[-len(path) // 4 :].min() < 4.0
    order = [int(np.argmin(np.hypot(*(path[20:-200] - p).T))) for p in POSTS]
    assert order == sorted(order)
    assert_drivable(plan, town)
    twice = patrol(town, posts=POSTS, speed=4, turns=2)
    assert twice.duration == pytest.approx(2 * plan.duration, rel=0.1)


def test_an_open_way_ends_at_its_last_post(town) -> None:
    plan = patrol(town, posts=POSTS, speed=4, closed=False)
    assert max(passes(plan, POSTS)) < 4.0
    assert np.hypot(*(driven(plan)[-1, :2] - POSTS[-1])) < 8.0


def test_a_patrol_lasts_as_long_as_it_is_asked(town) -> None:
    plan = patrol(town, posts=POSTS, speed=3, duration=42.0)
    assert plan.duration == pytest.approx(42.0)
    assert patrol(town, posts=POSTS, speed=5, duration=300.0).duration == pytest.approx(300.0)


def test_drawn_posts_stay_in_their_box_and_differ_by_seed(town) -> None:
    plans = [patrol(town, centre=(150, 60), size=(200, 100), seed=s, jitter=True, duration=30) for s in range(6)]
    assert len({p.position.tobytes() for p in plans}) == 6
    for plan in plans:
        p = driven(plan)
        assert (p[:, 0] >= 50).all() and (p[:, 0] <= 250).all() and (p[:, 1] >= 10).all() and (p[:, 1] <= 110).all()
        assert_drivable(plan, town)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"posts": [(40, 60)]}, "posts takes 2 to"),
        ({"posts": [(40, 60), (115, 100)]}, r"post 2 at \(115, 100\) lies .* from the nearest ground"),
        ({"posts": [(40, 60), (400, 60)]}, "post 2"),
        ({"posts": [(40.1, 60.1), (40.2, 60.2)]}, "all posts are one place"),
        ({"posts": POSTS, "turns": 0}, "turns"),
        ({"posts": POSTS, "closed": False, "turns": 2}, "driven once"),
        ({"posts": POSTS, "speed": 9}, "speed"),
        ({"posts": POSTS, "fence": (0, 0, 100, 200)}, "post 2"),
        ({}, "either posts or the centre"),
    ],
)
def test_a_patrol_that_cannot_be_driven_is_refused(town, change: dict, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        patrol(town, **change)


def test_a_drive_keeps_to_lanes_on_the_left_and_off_everything(city) -> None:
    lanes = LaneMap.of(city)
    centre_lines = cKDTree(np.concatenate([c.xy for c in lanes.curves]))
    for seed in range(3):
        plan = roads(city, duration=60, speed=4, seed=seed)
        p = driven(plan)
        assert centre_lines.query(p[:, :2])[0].max() < 0.8
        origins = np.column_stack([p[:, :2], np.full(len(p), city.bounds[1][2] + 5)])
        _, face = city.cast(origins, np.broadcast_to([0.0, 0.0, -1.0], origins.shape))
        assert (city.scene.face_class[face[face >= 0]] == DRIVEABLE_SURFACE).mean() > 0.99
        corners = city.scene.vertices[city.scene.faces[~np.isin(city.scene.face_class, GROUND)]]
        assert np.hypot(*(corners[:, :, :2].reshape(-1, 2)[None] - p[::10, None, :2]).transpose(2, 0, 1)).min() >= 2.0
        assert_drivable(plan, city)
    # The kerb on the left is nearer than the one on the right, where the road is straight.
    step = np.diff(p[:, :2], axis=0)
    yaw = np.arctan2(step[:, 1], step[:, 0])

    def road_at(offset: float) -> np.ndarray:
        xy = p[:-1, :2] + offset * np.column_stack([-np.sin(yaw), np.cos(yaw)])
        origins = np.column_stack([xy, np.full(len(xy), city.bounds[1][2] + 5)])
        _, face = city.cast(origins, np.broadcast_to([0.0, 0.0, -1.0], origins.shape))
        return (face >= 0) & (city.scene.face_class[np.maximum(face, 0)] == DRIVEABLE_SURFACE)

    assert road_at(-3.0).mean() > road_at(3.0).mean() + 0.3


def test_drives_differ_by_seed_and_stay_in_their_box(city) -> None:
    plans = [roads(city, duration=20, seed=s, jitter=True) for s in range(8)]
    assert len({p.position.tobytes() for p in plans}) == 8
    near = roads(city, centre=(0.0, 0.0), size=(700, 380), duration=30)
    assert (np.abs(driven(near)[:, :2]) <= (350.0, 190.0)).all()
    with pytest.raises(PlanError, match="no lanes here that lead on"):
        roads(city, centre=(0.0, 0.0), size=60)
    with pytest.raises(PlanError, match="no lanes here that lead on"):
        roads(city, fence=(0, 0, 60, 60))


def test_a_corridor_follows_the_road_that_it_is_asked_for(city) -> None:
    lanes = LaneMap.of(city)
    lines = cKDTree(np.concatenate([c.xy for c in lanes.curves]))
    at = lanes.curves[0].xy[len(lanes.curves[0].xy) // 2]
    plan = corridor(city, road=at, road_length=150, altitude=25)
    assert lines.query(driven(plan)[:, :2])[0].max() < 4.0
    assert plan.parameters["length"] > 60


def test_a_world_without_roads_says_so(town) -> None:
    with pytest.raises(PlanError, match="no road that is wide and long enough"):
        roads(town)
    with pytest.raises(PlanError, match="no road that is wide and long enough"):
        corridor(town, road=(100, 100))

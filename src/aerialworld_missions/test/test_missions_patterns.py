"""Polygons, eights, corridors, exploration and waypoints: shapes, clearances, heights, refusals, in analytic worlds."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from aerialworld_core.errors import PlanError
from aerialworld_core.files import canonical_json
from aerialworld_core.plan import Motion, Plan
from aerialworld_core.sensing import GRAVITY
from aerialworld_core.world import load_rig
from aerialworld_missions import Stop, corridor, explore, figure8, orbit, survey, waypoints

TOWN = ((100, 80, 130, 120, 45), (160, 60, 170, 150, 20), (60, 20, 90, 40, 12), (200, 120, 225, 140, 33))


def hills(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.03 * x + 3.0 * np.sin(y / 40.0)


@pytest.fixture(scope="module")
def town(box_world: type):
    return box_world(boxes=TOWN, ground=hills)


@pytest.fixture(scope="module")
def wall(box_world: type):
    """A wall 60 m high from south to north with 60 m of room at its northern end, on level ground at 5 m."""
    return box_world((300.0, 200.0), boxes=((145, 0, 155, 140, 65.0),), ground=lambda x, y: np.full_like(x, 5.0))


def motion(plan: Plan, step: float = 0.02) -> Motion:
    return plan.trajectory().sample(np.arange(0.0, plan.duration, step))


def yaw_of(m: Motion) -> np.ndarray:
    return Rotation.from_quat(m.orientation).as_euler("ZYX")[:, 0]


def assert_flyable(plan: Plan, world, clearance: float = 5.0) -> None:
    """Clear of everything, within a multicopter's limits, leaning where it accelerates, moving as it says."""
    m = motion(plan)
    assert not world.inside_solid(m.position).any()
    assert world.box_distance(m.position).min() >= clearance - 0.05
    assert (m.position[:, 2] - world.terrain_height(m.position[:, :2])).min() >= 2.0
    assert plan.fence is not None and plan.fence.contains(m.position).all()
    v, a = m.linear_velocity, m.linear_acceleration
    assert np.abs(np.gradient(m.position, 0.02, axis=0)[1:-1] - v[1:-1]).max() < 0.02
    assert np.linalg.norm(a[:, :2], axis=1).max() <= math.hypot(3.0, 2.0) * 1.02
    assert np.abs(v[:, 2]).max() <= 3.0 * 1.02
    up = Rotation.from_quat(m.orientation).as_matrix()[:, :, 2]
    thrust = a + np.array([0.0, 0.0, GRAVITY])
    thrust /= np.linalg.norm(thrust, axis=1, keepdims=True)
    assert np.degrees(np.arccos(np.clip(np.sum(up * thrust, axis=1), -1, 1))).max() < 2.0
    assert np.degrees(np.arccos(np.minimum(up[:, 2], 1.0))).max() <= 30.0
    assert np.degrees(np.abs(m.yaw_rate)).max() <= 60.0 * 1.02


def inside(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which points lie in a polygon: the winding of the angles to its corners, another way than the planner's."""
    arms = corners[None] - points[:, None]
    angle = np.arctan2(arms[..., 1], arms[..., 0])
    turn = np.diff(np.concatenate([angle, angle[:, :1]], axis=1), axis=1)
    turn = np.remainder(turn + np.pi, 2 * np.pi) - np.pi
    return np.abs(turn.sum(axis=1)) > np.pi


AREAS = [
    [(60, 50), (240, 70), (200, 160), (90, 150)],
    [(60, 40), (220, 40), (220, 150), (140, 90), (60, 150)],  # a notch from the north
    [(70, 60), (230, 60), (230, 62), (70, 62)],  # a strip of two metres
    [(150, 50), (250, 150), (60, 130)],
]


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize(("heading", "seed"), [(0.0, 0), (0.9, 1), (2.4, 2)])
def test_a_survey_covers_its_polygon(town, area, heading: float, seed: int) -> None:
    plan = survey(town, area=area, spacing=12, heading=heading, altitude=35, jitter=True, seed=seed)
    corners = np.array(area, float)
    gx, gy = np.meshgrid(np.arange(50, 260, 1.0), np.arange(35, 170, 1.0))
    points = np.stack([gx.ravel(), gy.ravel()], axis=1)
    points = points[inside(corners, points)]
    apart, _ = cKDTree(motion(plan).position[:, :2]).query(points)
    assert (apart <= 0.5 * plan.parameters["spacing"] + 0.1).mean() >= 0.98
    assert plan.parameters["spacing"] <= 12.0 + 1e-9
    assert_flyable(plan, town)


def test_a_box_is_the_polygon_of_its_corners(town) -> None:
    box = survey(town, centre=(150, 100), size=(80, 50), spacing=10)
    area = survey(town, area=[(110, 75), (190, 75), (190, 125), (110, 125)], spacing=10)
    np.testing.assert_allclose(area.position, box.position, atol=1e-6)


def test_overlap_leaves_its_share_of_what_the_rig_sees(box_world: type) -> None:
    """The drone's down face sees 45° to each side: 60 m across from 30 m."""
    world = box_world((400.0, 300.0))
    rig = load_rig("rig_drone")
    plan = survey(world, centre=(200, 150), size=(60, 90), altitude=30, overlap=0.7, rig=rig)
    assert plan.parameters["spacing"] == pytest.approx(18.0)
    wide = survey(world, centre=(200, 150), size=(60, 90), altitude=30, overlap=0.5, rig=rig)
    assert wide.parameters["spacing"] == pytest.approx(30.0)
    for change, says in (
        ({"overlap": 0.7}, "needs a rig"),
        ({"overlap": 0.7, "rig": rig, "spacing": 9.0}, "say the same"),
        ({"overlap": 1.0, "rig": rig}, "overlap"),
        ({"rig": rig}, "only together with an overlap"),
    ):
        with pytest.raises(PlanError, match=says):
            survey(world, centre=(200, 150), **change)


def test_an_eight_is_two_circles_flown_both_ways(town) -> None:
    heading = 0.6
    plan = figure8(town, centre=(160, 100), radius=20, heading=heading, altitude=55, turns=1.0)
    m = motion(plan)
    left = np.array([-math.sin(heading), math.cos(heading)]) * 20
    middle = np.array([160.0, 100.0])
    away = np.stack([np.hypot(*(m.position[:, :2] - middle - s * left).T) for s in (1, -1)])
    far = np.hypot(*(m.position[:, :2] - middle).T) > 5.0
    assert np.abs(away.min(axis=0) - 20)[far].max() <= 0.1
    assert np.abs(away.min(axis=0) - 20).max() <= 0.5
    side = np.sign((m.position[:, :2] - middle) @ left)
    for s in (1, -1):  # counter-clockwise on the left, clockwise on the right
        assert np.sign(np.mean(m.yaw_rate[far & (side == s)])) == s
        assert (far & (side == s)).mean() == pytest.approx(far.mean() / 2, abs=0.05)
    assert_flyable(plan, town)
    assert figure8(town, centre=(160, 100), radius=20, altitude=55, duration=33.0).duration == pytest.approx(33.0)


LINE = [(40, 40), (120, 50), (140, 150), (250, 160), (245, 60)]


def test_a_corridor_passes_its_points_and_ends_at_rest(town) -> None:
    plan = corridor(town, line=LINE, altitude=60, speed=6)
    m = motion(plan)
    for x, y in LINE:
        assert np.hypot(*(m.position[:, :2] - [x, y]).T).min() <= 3.0
    for end in (0, -1):
        assert np.linalg.norm(m.linear_velocity[end]) < 0.2
        np.testing.assert_allclose(m.position[end, :2], LINE[end], atol=0.1)
    legs = np.concatenate([np.linspace(a, b, 400) for a, b in pairwise(LINE)])
    assert cKDTree(legs).query(m.position[:, :2])[0].max() <= 3.05
    assert_flyable(plan, town)


def test_a_corridor_s_offset_lies_to_the_left(box_world: type) -> None:
    world = box_world()
    plan = corridor(world, line=[(50, 100), (250, 100)], offset=20)
    np.testing.assert_allclose(plan.position[:, 1], 120.0, atol=1e-6)


def test_a_sharp_turn_is_made_standing(box_world: type) -> None:
    world = box_world()
    plan = corridor(world, line=[(50, 100), (150, 100), (60, 104)], speed=6)
    m = motion(plan)
    at = np.hypot(*(m.position[:, :2] - [150, 100]).T)
    turning = np.abs(m.yaw_rate) > 0.2
    assert turning.any() and at[turning].max() < 0.6
    assert_flyable(plan, world)


def test_a_corridor_goes_back_and_forth_for_its_duration(town) -> None:
    plan = corridor(town, line=LINE[:2], altitude=60, speed=6, duration=60)
    assert plan.duration == pytest.approx(60.0)
    x = plan.position[:, 0]
    assert (np.diff(np.sign(np.diff(x)[np.abs(np.diff(x)) > 0.05])) != 0).sum() >= 2
    assert_flyable(plan, town)


def test_bending_goes_around_at_the_same_height_and_raising_over(wall) -> None:
    line = [(60, 60), (240, 60)]
    bent = corridor(wall, line=line, altitude=30, avoid="bend")
    over = corridor(wall, line=line, altitude=30, avoid="raise")
    np.testing.assert_allclose(bent.position[:, 2], 35.0, atol=0.3)
    assert bent.position[:, 1].max() > 145 and over.position[:, 1].max() == pytest.approx(60.0, abs=0.01)
    assert over.position[:, 2].max() == pytest.approx(70.0, abs=0.5)
    for plan in (bent, over):
        assert_flyable(plan, wall)
    shortest = 2 * math.hypot(90, 85)
    assert np.linalg.norm(np.diff(bent.position, axis=0), axis=1).sum() < 1.15 * shortest
    with pytest.raises(PlanError, match="would come nearer than 5 m"):
        corridor(wall, line=line, altitude=30, avoid="refuse")
    with pytest.raises(PlanError, match="no way around"):
        corridor(wall, line=line, altitude=30, avoid="bend", fence=(0, 0, 300, 145))
    with pytest.raises(PlanError, match="keeps its shape"):
        survey(wall, centre=(150, 100), avoid="bend")


def test_an_inner_point_in_a_building_is_passed_and_an_end_is_refused(wall) -> None:
    bent = corridor(wall, line=[(60, 100), (150, 100), (240, 100)], altitude=30, avoid="bend")
    assert_flyable(bent, wall)
    with pytest.raises(PlanError, match="within 5 m of a building"):
        corridor(wall, line=[(60, 100), (150, 100)], altitude=30, avoid="bend")


def test_home_altitudes_are_level_and_ground_altitudes_follow(town) -> None:
    level = corridor(town, line=[(20, 180), (280, 180)], altitude=40, altitude_frame="home")
    np.testing.assert_allclose(level.position[:, 2], hills(20.5, 180.5) + 40, atol=0.1)
    follows = corridor(town, line=[(20, 180), (280, 180)], altitude=40)
    np.testing.assert_allclose(follows.position[:, 2], hills(*follows.position[:, :2].T) + 40, atol=0.8)
    lanes = survey(town, centre=(250, 50), size=60, altitude=50, altitude_frame="home")
    assert np.ptp(lanes.position[:, 2]) < 0.05
    circle = orbit(town, centre=(250, 60), radius=30, altitude=50, altitude_frame="home")
    assert np.ptp(circle.position[:, 2]) < 0.05
    assert circle.position[0, 2] == pytest.approx(hills(*circle.position[0, :2]) + 50, abs=0.2)


def test_exploration_stays_in_its_area_and_sees_all_of_it(town) -> None:
    area = [(60, 50), (240, 50), (240, 150), (150, 100), (60, 150)]
    plan = explore(town, area=area, altitude=60, duration=240, speed=8, seed=3)
    m = motion(plan, 0.05)
    assert plan.duration == pytest.approx(240.0) and plan.pattern == "random"
    assert inside(np.array(area, float), m.position[:, :2]).all()
    gx, gy = np.meshgrid(np.arange(60, 240, 4.0), np.arange(50, 150, 4.0))
    points = np.stack([gx.ravel(), gy.ravel()], axis=1)
    points = points[inside(np.array(area, float), points)]
    assert (cKDTree(m.position[:, :2]).query(points)[0] < 30).mean() > 0.95
    over = m.position[:, 2] - hills(*m.position[:, :2].T)
    assert np.ptp(over) > 10 and 60 * 0.75 - 1 <= over.min() and over.max() <= 60 * 1.25 + 5
    assert_flyable(plan, town)


def test_exploration_bends_around_towers_that_it_could_not_rise_over(box_world: type) -> None:
    world = box_world(boxes=((140, 90, 160, 110, 400.0), (80, 40, 95, 60, 300.0)))
    for seed in range(3):
        plan = explore(world, centre=(150, 100), size=(200, 140), altitude=30, avoid="bend", seed=seed)
        assert_flyable(plan, world)
        assert plan.position[:, 2].max() < 30 * 1.25 + 1


def test_waypoints_are_met_at_their_heights_looks_and_holds(box_world: type) -> None:
    world = box_world((400.0, 300.0), ground=lambda x, y: np.full_like(x, 7.0))
    stops = [
        Stop(50, 50, 20),
        Stop(150, 50, 30, speed=8.0, hold=5.0),
        Stop(150, 50, 60),
        Stop(150, 150, 60, yaw=0.0, hold=2.0),
        Stop(50, 150, 25, frame="map"),
    ]
    plan = waypoints(world, stops=stops, speed=4)
    m = motion(plan)
    speed = np.linalg.norm(m.linear_velocity, axis=1)
    for stop in stops:
        z = stop.altitude + (0.0 if stop.frame == "map" else 7.0)
        assert np.linalg.norm(m.position - [stop.x, stop.y, z], axis=1).min() < 0.5, stop
    standing = (speed < 0.02) & (np.hypot(*(m.position[:, :2] - [150, 150]).T) < 0.1)
    assert 2.0 <= 0.02 * standing.sum() <= 7.0
    there = (m.position[:, 0] > 140) & (m.position[:, 1] > 60) & (m.position[:, 1] < 149.9)
    assert np.degrees(np.abs(yaw_of(m)[there])).max() < 1.0  # it looks east while it flies north
    assert speed[(m.position[:, 0] < 120) & (m.position[:, 1] < 51)].max() == pytest.approx(8.0, abs=0.05)
    assert_flyable(plan, world)
    assert [round(w.hold) for w in plan.route() if w.hold > 1.5] != []


@pytest.mark.parametrize(
    ("stops", "says"),
    [
        ([(20, 20, 30), (110, 100, 30)], "point 2 at .* lies inside a building"),
        ([(20, 20, 30), (40, 40, -3)], "point 2 at .* m below the ground"),
        ([(20, 20, 30), (40, 40, 1)], "point 2 at .* only 1.0 m above the ground"),
        ([(20, 20, 30), (900, 40, 30)], "point 2 at .* outside of the world"),
        ([(20, 20, 30)], "takes 2 to"),
        ([(20, 20, 30), (20, 20, 50)], "two points that lie apart"),
        ([(20, 20, 30), (20, math.nan, 50)], "point 2: y must be a number"),
        ([(20, 20, 30), (20, 20, 50, 4, 5)], "point 2 takes two numbers"),
        ([(20, 20, 30), Stop(40, 40, 30, hold=1e6)], "point 2: hold"),
        ([(20, 20, 30), Stop(40, 40, 30, speed=0)], "point 2: speed"),
        ([(20, 20, 30), Stop(40, 40, 30, frame="sea")], "point 2: frame"),  # type: ignore[arg-type]
        ("0,0", "a list of points"),
    ],
)
def test_waypoints_that_cannot_be_flown_are_refused(town, stops, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        waypoints(town, stops=stops)


@pytest.mark.parametrize(
    ("make", "change", "says"),
    [
        (survey, {"area": [(0, 0), (10, 0)]}, "area takes 3 to"),
        (survey, {"area": [(50, 50), (150, 150), (150, 50), (50, 150)]}, "crosses itself"),
        (survey, {"area": [(50, 50), (150, 50), (100, 50)]}, "an area of 0.00"),
        (survey, {"area": [(-400, 50), (700, 50), (100, 150)]}, "does not fit the world"),
        (survey, {"area": [(50, 50), (150, 50), (100, 90)], "centre": (100, 100)}, "either"),
        (survey, {}, "either the centre"),
        (survey, {"centre": (150, 100), "altitude_frame": "sea"}, "altitude_frame is ground or home"),
        (survey, {"centre": (150, 100), "avoid": "hope"}, "avoid is raise or bend or refuse"),
        (survey, {"centre": (150, 100), "fence": (100, 50, 200, 150)}, "leaves its fence"),
        (survey, {"centre": (150, 100), "fence": (200, 50, 100, 150)}, "rising"),
        (survey, {"centre": (150, 100), "fence": [(0, 0), (1, 1)]}, "fence takes 3 to"),
        (survey, {"centre": (150, 100), "fence": 7}, "fence takes points"),
        (figure8, {"centre": (150, 100), "radius": 110}, "do not fit"),
        (figure8, {"centre": (150, 100), "look": "up"}, "look is path or centre"),
        (figure8, {"centre": (150, 100), "look": "centre"}, "cannot look at it"),
        (orbit, {"centre": (150, 100), "look": (1, 2, 3)}, "look takes two numbers"),
        (corridor, {"line": [(10, 10)]}, "line takes 2 to"),
        (corridor, {"line": [(10, 10), (10, 10.01)]}, "two points that lie apart"),
        (corridor, {"line": [(10, 10), (900, 10)]}, "leaves the world"),
        (corridor, {}, "either a line"),
        (explore, {"centre": (150, 100), "size": 900}, "does not fit the world"),
        (explore, {"centre": (150, 100), "vary": 2}, "vary"),
        (explore, {"area": [(50, 50), (200, 50), (200, 52)]}, "no room for goals"),
    ],
)
def test_what_cannot_be_flown_is_refused_with_its_reason(town, make, change: dict, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        make(town, **change)


def test_an_orbit_looks_at_any_point(town) -> None:
    m = motion(orbit(town, centre=(150, 100), altitude=60, look=(170.0, 90.0)))
    towards = np.arctan2(90 - m.position[:, 1], 170 - m.position[:, 0])
    assert np.degrees(np.abs(np.angle(np.exp(1j * (yaw_of(m) - towards))))).max() < 0.5


def seeded(world, seed: int) -> list[Plan]:
    common = {"seed": seed, "jitter": True, "altitude": 60.0, "duration": 3.0}
    return [
        survey(world, centre=(150, 100), size=60, **common),
        orbit(world, centre=(150, 100), **common),
        figure8(world, centre=(150, 100), radius=20, **common),
        corridor(world, line=LINE, **common),
        explore(world, centre=(150, 100), **common),
        waypoints(world, stops=[(x, y) for x, y in LINE], **common),
    ]


def differ(world, count: int) -> None:
    found = [[canonical_json(p.position.tolist()) for p in seeded(world, seed)] for seed in range(count)]
    for plans in zip(*found, strict=True):
        assert len(set(plans)) == count
    assert found[1] == [canonical_json(p.position.tolist()) for p in seeded(world, 1)]


def test_seeded_missions_differ_and_equal_seeds_give_equal_ones(town) -> None:
    differ(town, 12)


@pytest.mark.long
def test_a_thousand_seeded_missions_differ(town) -> None:
    differ(town, 167)

"""Surveys and orbits: coverage, clearance, limits, repeatability and refusals, against analytic worlds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aerialworld_core.errors import PlanError
from aerialworld_core.files import canonical_json
from aerialworld_core.plan import Motion, Plan
from aerialworld_core.sensing import GRAVITY
from aerialworld_missions import orbit, survey

TOWN = ((100, 80, 130, 120, 45), (160, 60, 170, 150, 20), (60, 20, 90, 40, 12), (200, 120, 225, 140, 33))


def hills(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 0.03 * x + 3.0 * np.sin(y / 40.0)


@pytest.fixture(scope="module")
def town(box_world: type):
    return box_world(boxes=TOWN, ground=hills)


def motion(plan: Plan, step: float = 0.01) -> Motion:
    return plan.trajectory().sample(np.arange(0.0, plan.duration, step))


def assert_safe(plan: Plan, world, clearance: float = 5.0) -> None:
    """What a drone of ours may never do, sampled ten times per knot."""
    m = motion(plan)
    assert not world.inside_solid(m.position).any()
    assert world.box_distance(m.position).min() >= clearance - 0.05
    assert (m.position[:, 2] - world.terrain_height(m.position[:, :2])).min() >= 2.0
    v, a = m.linear_velocity, m.linear_acceleration
    along = np.linalg.norm(v[:, :2], axis=1)
    assert np.linalg.norm(a[:, :2], axis=1).max() <= math.hypot(3.0, 2.0) * 1.02
    assert np.abs(v[:, 2]).max() <= 3.0 * 1.02
    assert (np.abs(v[:, 2]) <= along * math.tan(math.radians(25)) * 1.02 + 0.02).all()
    up = Rotation.from_quat(m.orientation).as_matrix()[:, :, 2]
    assert np.degrees(np.arccos(np.minimum(up[:, 2], 1.0))).max() <= 30.0
    assert np.degrees(np.abs(m.yaw_rate)).max() <= 60.0 * 1.02
    thrust = a + np.array([0.0, 0.0, GRAVITY])
    thrust /= np.linalg.norm(thrust, axis=1, keepdims=True)
    between_knots = np.degrees(np.arccos(np.clip(np.sum(up * thrust, axis=1), -1, 1)))
    assert between_knots.max() < 1.5  # a multicopter accelerates where its rotors push


def test_a_survey_flies_every_lane_of_its_box(town) -> None:
    heading = 0.35
    plan = survey(town, centre=(150, 100), size=(90, 60), spacing=14, heading=heading, speed=6)
    c, s = math.cos(heading), math.sin(heading)
    local = (motion(plan).position[:, :2] - [150, 100]) @ np.array([[c, -s], [s, c]])
    offsets = np.linspace(-30, 30, 6)  # 60 / 14 → 5 gaps of 12 m
    assert plan.parameters["spacing"] == pytest.approx(12.0)
    flown = total = 0
    for y in offsets:
        on_lane = local[np.abs(local[:, 1] - y) < 0.1, 0]
        at = np.arange(-45.0, 45.01, 1.0)
        flown += int((np.abs(at[:, None] - on_lane[None]).min(axis=1) < 0.2).sum())
        total += len(at)
    assert flown / total >= 0.98
    assert np.abs(local[:, 0]).max() < 45 + 6 + 10 and np.abs(local[:, 1]).max() < 30.1
    assert_safe(plan, town)


def test_a_survey_over_open_flat_ground_keeps_its_altitude_and_speed(box_world: type) -> None:
    world = box_world((400.0, 300.0), ground=lambda x, y: np.full_like(x, 12.5))
    plan = survey(world, centre=(200, 150), altitude=30, speed=5, heading=math.pi / 2)
    np.testing.assert_allclose(plan.position[:, 2], 42.5, atol=1e-6)
    m = motion(plan, 0.05)
    speed = np.linalg.norm(m.linear_velocity, axis=1)
    assert speed.max() <= 5.0 + 1e-3
    lane = np.abs(m.position[:, 1] - 150) < 30
    np.testing.assert_allclose(speed[lane], 5.0, atol=0.05)
    yaw = Rotation.from_quat(m.orientation).as_euler("ZYX")[:, 0]
    direction = np.arctan2(m.linear_velocity[:, 1], m.linear_velocity[:, 0])
    assert np.degrees(np.abs(np.angle(np.exp(1j * (yaw - direction))))).max() < 1.0


def test_a_survey_follows_the_terrain(town) -> None:
    plan = survey(town, centre=(230, 50), size=40, altitude=40, clearance=2)
    above = plan.position[:, 2] - hills(plan.position[:, 0], plan.position[:, 1])
    assert above.min() >= 40 - 0.05 and above.max() < 43


def test_a_mast_between_the_cells_of_the_raster_is_cleared(box_world: type) -> None:
    """0.3 m thick, 60 m high: no downward ray at a cell's centre meets it; the exact distance does."""
    world = box_world(boxes=((150.85, 99.85, 151.15, 100.15, 60.0),))
    plan = orbit(world, centre=(151.0, 80.0), radius=20, altitude=30, duration=40)
    assert_safe(plan, world)
    assert plan.position[:, 2].max() >= 64.9


def test_duration_cuts_or_goes_on_but_never_speeds_up(town) -> None:
    short = survey(town, centre=(150, 100), duration=20.07)
    whole = survey(town, centre=(150, 100))
    assert short.duration == pytest.approx(20.0)
    np.testing.assert_allclose(short.position[:190, :2], whole.position[:190, :2], atol=1e-4)
    long = survey(town, centre=(150, 100), size=40, duration=400)
    assert long.duration == pytest.approx(400.0)
    assert_safe(long, town)
    assert np.abs(long.position[:, :2] - [150, 100]).max() < 20 + 5 + 7.5
    assert orbit(town, centre=(150, 100), duration=33.3).duration == pytest.approx(33.3)


def test_an_orbit_keeps_its_radius(town) -> None:
    for radius, speed in ((8.0, 5.0), (40.0, 5.0), (60.0, 10.0)):
        plan = orbit(town, centre=(150, 100), radius=radius, turns=1.25, speed=speed, altitude=40)
        m = motion(plan)
        away = np.hypot(*(m.position[:, :2] - [150, 100]).T)
        assert np.abs(away - radius).max() <= 0.1
        swept = np.ptp(np.unwrap(np.arctan2(m.position[:, 1] - 100, m.position[:, 0] - 150)))
        assert swept == pytest.approx(2.5 * math.pi, abs=0.1)
        assert_safe(plan, town)


def test_an_orbit_looks_where_it_is_told(town) -> None:
    at_centre = motion(orbit(town, centre=(150, 100), look="centre"))
    ahead = motion(orbit(town, centre=(150, 100), look="path"))
    for m, expected in (
        (at_centre, np.arctan2(100 - at_centre.position[:, 1], 150 - at_centre.position[:, 0])),
        (ahead, np.arctan2(ahead.linear_velocity[:, 1], ahead.linear_velocity[:, 0])),
    ):
        yaw = Rotation.from_quat(m.orientation).as_euler("ZYX")[:, 0]
        assert np.degrees(np.abs(np.angle(np.exp(1j * (yaw - expected))))).max() < 0.5


def test_an_orbit_is_level_until_a_building_makes_it_rise(town) -> None:
    low = orbit(town, centre=(250, 60), radius=20, altitude=25)
    np.testing.assert_allclose(low.position[:, 2], 25 + hills(250.5, 60.5), atol=0.05)
    over = orbit(town, centre=(115, 60), radius=40, altitude=25, duration=60)
    assert over.position[:, 2].max() == pytest.approx(50.0, abs=0.01)  # roof 45 + clearance 5


def test_equal_seeds_equal_bytes_and_other_seeds_other_plans(town) -> None:
    def bytes_of(seed: int, pattern: str) -> bytes:
        make = {"survey": survey, "orbit": orbit}[pattern]
        return canonical_json(make(town, centre=(150, 100), duration=20, seed=seed, jitter=True).to_dict())

    for pattern in ("survey", "orbit"):
        assert bytes_of(3, pattern) == bytes_of(3, pattern)
        assert len({bytes_of(seed, pattern) for seed in range(8)}) == 8
    plain = survey(town, centre=(150, 100), duration=20, seed=1)
    np.testing.assert_array_equal(plain.position, survey(town, centre=(150, 100), duration=20, seed=2).position)


def test_jitter_stays_within_its_bounds(town) -> None:
    for seed in range(12):
        p = survey(town, centre=(150, 100), duration=10, seed=seed, jitter=True, altitude=40, speed=4).parameters
        assert abs(p["altitude"] - 40) <= 4 and abs(p["speed"] - 4) <= 0.6
        assert abs(p["heading"]) <= math.radians(5)


def test_a_plan_in_memory_is_the_plan_on_disk(town, tmp_path) -> None:
    plan = survey(town, centre=(150, 100), duration=10, jitter=True)
    plan.write(tmp_path / "p.json")
    again = Plan.read(tmp_path / "p.json")
    np.testing.assert_array_equal(again.position, plan.position)
    np.testing.assert_array_equal(again.orientation, plan.orientation)
    np.testing.assert_array_equal(again.t, plan.t)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    x=st.floats(70, 230),
    y=st.floats(60, 140),
    size=st.floats(10, 60),
    spacing=st.floats(2, 30),
    altitude=st.floats(5, 90),
    heading=st.floats(-4, 4),
    speed=st.floats(1, 12),
    clearance=st.floats(2, 9),
    seed=st.integers(0, 2**40),
)
def test_any_survey_is_safe_or_refused(
    town, x: float, y: float, size: float, spacing: float, altitude: float, heading: float, speed: float,
    clearance: float, seed: int,
) -> None:  # fmt: skip
    try:
        plan = survey(
            town, centre=(x, y), size=size, spacing=spacing, altitude=altitude, heading=heading, speed=speed,
            clearance=clearance, seed=seed, jitter=True, duration=15,
        )  # fmt: skip
    except PlanError as error:
        assert "leaves the world" in str(error)
        return
    assert_safe(plan, town, clearance)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 1000}, "does not fit the world"),
        ({"size": (10, -3)}, "size"),
        ({"size": (10, 20, 30)}, "size takes two numbers"),
        ({"spacing": 0}, "spacing must be above 0"),
        ({"spacing": -5}, "spacing"),
        ({"spacing": 0.05}, "lanes"),
        ({"altitude": 0}, "altitude must be above 0"),
        ({"altitude": math.nan}, "altitude must be a number"),
        ({"altitude": "30"}, "altitude must be a number"),
        ({"speed": 0}, "speed"),
        ({"speed": 300}, "at most 20"),
        ({"clearance": 1}, "clearance must be at least 2"),
        ({"duration": 0}, "duration"),
        ({"duration": math.inf}, "duration"),
        ({"centre": (20, 100)}, "leaves the world"),
        ({"centre": (2000, 100)}, "leaves the world"),
        ({"centre": (math.nan, 100)}, "centre"),
        ({"centre": 5}, "centre takes two numbers"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"altitude": 160}, "ceiling of 149 m"),
        ({"ceiling": 40}, "ceiling of 40 m"),
        ({"vehicle": "drone 1"}, "vehicle"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_a_survey_that_cannot_be_flown_is_refused_with_its_reason(town, change: dict, says: str) -> None:
    with pytest.raises(PlanError) as caught:
        survey(town, **{"centre": (150, 100), "size": 60, **change})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"radius": 0}, "radius"),
        ({"radius": 500}, "does not fit"),
        ({"turns": 0}, "turns"),
        ({"look": "up"}, "look is path or centre"),
        ({"centre": (10, 10)}, "leaves the world"),
        ({"centre": (900, 10)}, "no ground at the centre"),
        ({"altitude": -3}, "altitude"),
        ({"altitude": 150}, "ceiling"),
    ],
)
def test_an_orbit_that_cannot_be_flown_is_refused_with_its_reason(town, change: dict, says: str) -> None:
    with pytest.raises(PlanError) as caught:
        orbit(town, **{"centre": (150, 100), **change})
    assert says in str(caught.value)


def test_a_tower_over_the_ceiling_is_named(box_world: type) -> None:
    world = box_world(boxes=((140, 90, 160, 110, 200.0),))
    with pytest.raises(PlanError, match=r"205 m above the datum.*surface is 200 m high"):
        survey(world, centre=(150, 100), size=60)

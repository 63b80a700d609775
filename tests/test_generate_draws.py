"""The numbers of a session: within their ranges, functions of the seed alone, flown as drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from aerialworld.campaign.draws import MissionFailed, PlanTask, draw, make_plan
from aerialworld.campaign.missions import (
    Corridor,
    Figure8,
    Mission,
    Orbit,
    Patrol,
    Random,
    Road,
    Roads,
    Survey,
    Waypoints,
)
from aerialworld.campaign.places import Place
from aerialworld.campaign.shapes import least_edge
from aerialworld.campaign.spec import parse_campaign
from aerialworld.campaign.yaml_text import CampaignError
from aerialworld_core.plan import Plan
from aerialworld_core.world import World, load_world

WORLD = Path(__file__).resolve().parents[1] / "worlds" / "small_city"
BOX = (-250.0, -125.0, 250.0, 125.0)


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(WORLD)


def task(mission: Mission, seed: int = 1, box: tuple[float, float, float, float] = BOX) -> PlanTask:
    place = Place("somewhere", "train", box)
    return PlanTask("run", mission.pattern, mission, "drone_1", place, seed, 10.0, 149.0, redraws=30)


@pytest.mark.parametrize("mission", [Survey(pattern="survey"), Orbit(pattern="orbit"), Road(pattern="road")])
def test_drawn_numbers_keep_to_their_ranges_and_fit_the_place(mission: Mission) -> None:
    edge = least_edge(mission)
    for seed in range(50):
        for box in (BOX, (10.0, 20.0, 10.0 + edge, 20.0 + edge)):
            drawn, arguments = draw(task(mission, seed, box), np.random.default_rng(seed))
            for key in set(drawn) & set(type(mission).model_fields) - {"look", "direction"}:
                low, high = getattr(mission, key)
                assert low <= drawn[key] <= high, key
            x, y = arguments["centre"]
            half = drawn.get("radius", drawn.get("size", 0.0) / 2)
            assert box[0] <= x - half and x + half <= box[2] and box[1] <= y - half and y + half <= box[3]


def test_a_plan_is_a_function_of_its_seed(world: World) -> None:
    mission = Survey(pattern="survey")
    first, again, other = (make_plan(world, task(mission, seed), lambda _: None) for seed in (4, 4, 5))
    assert first == again != other


@pytest.mark.parametrize(("direction", "sign"), [("left", 1.0), ("right", -1.0)])
def test_an_orbit_turns_the_way_it_is_asked_at_the_drawn_speed(world: World, direction: str, sign: float) -> None:
    mission = Orbit.model_validate({"pattern": "orbit", "radius": 30, "speed": 4, "direction": direction})
    result = make_plan(world, task(mission), lambda _: None)
    plan = Plan.from_dict(result["plan"])
    arm = plan.position[:, :2] - np.array(result["drawn"]["centre"])
    angle = np.unwrap(np.arctan2(arm[:, 1], arm[:, 0]))
    assert math.copysign(1.0, angle[-1] - angle[0]) == sign
    assert abs(angle[-1] - angle[0]) * 30 == pytest.approx(4 * plan.duration, rel=0.01)
    assert np.linalg.norm(arm, axis=1) == pytest.approx(30.0, abs=0.1)


def test_no_motion_leaves_its_place_and_buildings_are_near(world: World) -> None:
    for mission in (Survey(pattern="survey"), Road(pattern="road")):
        plan = Plan.from_dict(make_plan(world, task(mission, 7), lambda _: None)["plan"])
        xy = plan.trajectory().sample(np.linspace(0, plan.duration, 500)).position[:, :2]
        assert (xy >= BOX[:2]).all() and (xy <= BOX[2:]).all()
    bare = (-310.0, -190.0, -250.0, 190.0)  # the strip west of all houses
    low = Orbit.model_validate({"pattern": "orbit", "radius": 20, "near_buildings": 1.0})
    with pytest.raises(MissionFailed, match=r"mission orbit \(run\).*buildings are near for only 0%"):
        make_plan(world, task(low, 1, bare), lambda _: None)
    anywhere = low.model_copy(update={"near_buildings": 0.0})
    assert make_plan(world, task(anywhere, 1, bare), lambda _: None)["attempts"] >= 1


def test_a_place_too_small_for_every_draw_is_said_so(world: World) -> None:
    mission = Survey.model_validate({"pattern": "survey", "size": [100, 120]})
    with pytest.raises(MissionFailed, match="no survey within its ranges fits"):
        make_plan(world, task(mission, 1, (0.0, 0.0, 60.0, 60.0)), lambda _: None)


SHAPE = ((0.0, 0.0), (60.0, 0.0), (60.0, 30.0, 55.0))
OTHERS = [
    Figure8(pattern="figure8"),
    Corridor.model_validate({"pattern": "corridor", "avoid": "bend"}),
    Random(pattern="random"),
    Waypoints.model_validate({"pattern": "waypoints", "points": SHAPE}),
    Roads.model_validate({"pattern": "roads", "size": [380, 380]}),
    Patrol(pattern="patrol"),
]


@pytest.mark.parametrize("mission", OTHERS, ids=lambda m: m.pattern)
def test_every_pattern_is_flown_within_its_place_for_its_time(world: World, mission: Mission) -> None:
    mission = mission.model_copy(update={"near_buildings": 0.0})
    box = (-314.0, -194.0, 314.0, 194.0) if mission.pattern == "roads" else BOX
    for seed in (1, 2):
        result = make_plan(world, task(mission, seed, box), lambda _: None)
        plan = Plan.from_dict(result["plan"])
        assert plan.pattern == mission.pattern and plan.agent_type == mission.agent_type
        assert plan.duration == pytest.approx(10.0)
        xy = plan.trajectory().sample(np.linspace(0, plan.duration, 200)).position[:, :2]
        assert (xy >= box[:2]).all() and (xy <= box[2:]).all()
        assert plan.fence is not None and plan.fence.to_dict()["polygon"][0] == [box[0], box[1]]
        for key in set(result["drawn"]) & set(type(mission).model_fields) - {"look", "bend"}:
            low, high = getattr(mission, key)
            assert low <= result["drawn"][key] <= high, key


@pytest.mark.parametrize("mission", OTHERS[:4], ids=lambda m: m.pattern)
def test_a_drawn_path_fits_the_room_that_it_says(mission: Mission) -> None:
    edge = least_edge(mission)
    small = (10.0, 20.0, 10.0 + edge, 20.0 + edge)
    for seed in range(40):
        _, arguments = draw(task(mission, seed, small), np.random.default_rng(seed))
        points = np.array([p[:2] for p in arguments.get("line", arguments.get("stops", [arguments.get("centre")]))])
        assert (points >= small[:2]).all() and (points <= small[2:]).all()


def test_a_shape_is_flown_as_it_was_given_but_for_place_and_heading() -> None:
    mission = Waypoints.model_validate({"pattern": "waypoints", "points": SHAPE})
    drawn, arguments = draw(task(mission, 5), np.random.default_rng(5))
    stops = arguments["stops"]
    a, b, c = (np.array(s[:2]) for s in stops)
    assert np.linalg.norm(b - a) == pytest.approx(60.0, abs=0.01)
    assert np.linalg.norm(c - b) == pytest.approx(30.0, abs=0.01)
    along = (b - a) / 60.0
    assert np.degrees(np.arctan2(along[1], along[0])) % 360 == pytest.approx(drawn["heading"], abs=0.02)
    assert (c - b) @ np.array([-along[1], along[0]]) == pytest.approx(30.0, abs=0.01)  # to the left
    assert stops[2][2] == 55.0 and len(stops[0]) == 2


@pytest.mark.parametrize(
    ("mission", "says"),
    [
        ({"pattern": "corridor", "bend": 120}, "bend"),
        ({"pattern": "survey", "avoid": "bend"}, "avoid"),
        ({"pattern": "waypoints"}, "points"),
        ({"pattern": "waypoints", "points": [[0, 0]]}, "2 to 1000 points"),
        ({"pattern": "waypoints", "points": [[0, 0], [0, 0]]}, "lie apart"),
        ({"pattern": "waypoints", "points": [[0, 0], [9e9, 0]]}, "2 to 1000 points"),
        ({"pattern": "patrol", "altitude": 30}, "unknown key altitude"),
        ({"pattern": "figure9"}, "did you mean figure8"),
    ],
)
def test_a_mission_that_says_something_else_is_refused(mission: dict, says: str) -> None:
    with pytest.raises(CampaignError, match=says):
        parse_campaign({"worlds": ["w"], "missions": [mission]}, "campaign.yaml")

"""The numbers of a session: within their ranges, functions of the seed alone, flown as drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from aerialworld.campaign.draws import MissionFailed, PlanTask, draw, make_plan
from aerialworld.campaign.places import Place
from aerialworld.campaign.shapes import least_edge
from aerialworld.campaign.spec import Orbit, Road, Survey
from aerialworld_core.plan import Plan
from aerialworld_core.world import World, load_world

WORLD = Path(__file__).resolve().parents[1] / "worlds" / "small_city"
BOX = (-250.0, -125.0, 250.0, 125.0)


@pytest.fixture(scope="module")
def world() -> World:
    return load_world(WORLD)


def task(mission: Survey | Orbit | Road, seed: int = 1, box: tuple[float, float, float, float] = BOX) -> PlanTask:
    place = Place("somewhere", "train", box)
    return PlanTask("run", mission.pattern, mission, "drone_1", place, seed, 10.0, 149.0, redraws=30)


@pytest.mark.parametrize("mission", [Survey(pattern="survey"), Orbit(pattern="orbit"), Road(pattern="road")])
def test_drawn_numbers_keep_to_their_ranges_and_fit_the_place(mission: Survey | Orbit | Road) -> None:
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

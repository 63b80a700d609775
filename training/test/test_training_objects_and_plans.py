"""Video panoptic quality and collisions on scenes whose numbers are worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from lxml import etree

from aerialworld_core.frames import Pose
from aerialworld_core.labels import CAR, DRIVEABLE_SURFACE, FREE, MANMADE, PEDESTRIAN
from aerialworld_training.motion_ahead import Path as Way
from aerialworld_training.occupied import Occupied
from aerialworld_training.panoptic import PanopticQuality, forecast_objects, true_objects
from aerialworld_training.planning_scores import BOXES, PlanningScores, hits

sys.path.insert(0, str(Path(__file__).parent))
from training_scenes import GRID, actor, scene

STILL = Pose.from_rpy(0, 0, 1, 0, 0, 0)
SEEN = [np.ones(GRID.shape, bool)] * 2
MODELS = Path(__file__).parents[2] / "models"


def drive(shift: float = 0.0) -> list[list[list[float]]]:
    """A car of 4 × 2 × 2 voxels that moves 2 m a frame, four frames; `shift` metres ahead of where it is."""
    return [[actor(CAR, -4.0 + 2 * n + shift, 1.0, velocity=(4, 0))] for n in range(4)]


def quality(forecasts: list[list[np.ndarray]], seen: list[np.ndarray] = SEEN) -> list[dict]:  # type: ignore[type-arg]
    """Of forecasts for the frames 2 and 3 of `drive()`, one window each."""
    session, total = scene([STILL] * 4, drive()), PanopticQuality(2)
    for forecast in forecasts:
        guesses = forecast_objects(session, [2, 3], [Occupied.of(volume) for volume in forecast])
        total.add(true_objects(session, [2, 3]), guesses, seen)
    return total.result([0.5, 1.0])


def car_at(shift: float = 0.0) -> list[np.ndarray]:
    moved = scene([STILL] * 4, drive(shift))
    return [moved.semantics(2), moved.semantics(3)]


def test_panoptic_quality_by_hand() -> None:
    nothing = np.full(GRID.shape, FREE, np.uint8)
    assert [r["vpq"] for r in quality([car_at()])] == [1.0, 1.0]
    # One voxel ahead: 12 of 20 voxels, at both horizons and over both.
    off = quality([car_at(1.0)])
    assert [r["vpq"] for r in off] == pytest.approx([0.6, 0.6])
    assert off[1]["per_class"]["car"]["matched"] == 1
    # Two voxels ahead: 8 of 24 is no match; a forecast and a true tube stand alone.
    miss = quality([car_at(2.0)])[1]["per_class"]["car"]
    assert miss == {"vpq": 0.0, "matched": 0, "unmatched_forecast": 1, "unmatched_true": 1}
    # Right at first and gone then: 16 of 16, then 16 of 32, which is one half and no match.
    assert [r["vpq"] for r in quality([[car_at()[0], nothing]])] == [1.0, 0.0]
    # A match of 0.6 and a miss in two windows: 0.6 / (1 + ½ + ½).
    assert quality([car_at(1.0), car_at(2.0)])[1]["vpq"] == pytest.approx(0.3)
    # A pedestrian that is not there: the mean of the car's 1 and the pedestrian's 0.
    phantom = car_at()
    phantom[0][0, 0, 0] = PEDESTRIAN
    assert [r["vpq"] for r in quality([phantom])] == [0.5, 0.5]
    # What was not observed counts nowhere, neither the phantom nor the car's rear half.
    seen = np.ones(GRID.shape, bool)
    seen[0, 0, 0] = False
    assert [r["vpq"] for r in quality([phantom], [seen, seen])] == [1.0, 1.0]
    # A car forecast as a pedestrian matches nothing: both classes score 0.
    other = [np.where(v == CAR, np.uint8(PEDESTRIAN), v) for v in car_at()]
    assert [r["vpq"] for r in quality([other])] == [0.0, 0.0]


def test_objects_keep_their_labels_through_a_turn() -> None:
    """The vehicle turns by 90° between two frames; what stands still in map keeps its label, seen elsewhere."""
    turned = [STILL, Pose.from_rpy(0, 0, 1, 0, 0, np.pi / 2)]
    parked = [[actor(CAR, 4.0, 1.0), actor(PEDESTRIAN, -5.5, 0.5, size=(1, 1, 2))]] * 2
    session = scene(turned, parked)
    found = forecast_objects(session, [0, 1], [session.occupied(0), session.occupied(1)])
    assert found[0].classes == found[1].classes and len(found[0].classes) == 2
    label = next(i for i, c in found[0].classes.items() if c == CAR)
    places = [f.cells[f.labels == label] for f in found]
    assert len(places[0]) and not np.array_equal(*places)
    truth = true_objects(session, [0, 1])
    assert truth is not None and truth[0].classes == {1: CAR, 2: PEDESTRIAN}
    total = PanopticQuality(2)
    total.add(truth, found, SEEN)
    assert [r["vpq"] for r in total.result([0.5, 1.0])] == [1.0, 1.0]
    unknown = scene([STILL], [[]])
    assert true_objects(unknown, [0]) == [] or len(true_objects(unknown, [0]) or []) == 1


def way(*positions: tuple[float, float]) -> Way:
    return Way(np.array([[x, y, 1.0] for x, y in positions]), np.tile(STILL.orientation, (len(positions), 1)))


def test_collisions_by_hand() -> None:
    """A drone hovers at z 1 before a wall at x 4 … 5, y −1 … 1. Its box is 0.7 m wide: at x 2 it reaches 2.35, at x 4
    it is in the wall; 3 m to the left nothing stands."""
    wall = [(12, 7, 0), (12, 8, 0)]
    session = scene([STILL] * 3, [[]] * 3, wall)
    scores = PlanningScores(2)
    scores.add(
        session, [1, 2], {"into": way((2, 0), (4, 0)), "past": way((2, 3), (4, 3)), "still": way((0, 0), (0, 0))}
    )
    scores.add(
        session, [1, 2], {"into": way((0, 0), (2, 0)), "past": way((4, 0), (6, 0)), "still": way((0, 0), (0, 0))}
    )
    result = scores.result([0.5, 1.0])
    assert [(r["at"], r["up_to"]) for r in result["into"]] == [(0.0, 0.0), (0.5, 0.25)]
    assert [(r["at"], r["up_to"]) for r in result["past"]] == [(0.5, 0.5), (0.0, 0.25)]
    assert [r["collisions"] for r in result["still"]] == [0, 0]


def test_a_turned_box_meets_what_it_sweeps_and_the_ground_is_no_obstacle() -> None:
    """A rover's box is 0.9 × 0.45 m: 0.4 m beside a wall at y 1 it stays short of it by 0.175 m; turned by 90° it
    reaches 0.05 m into it."""
    session = scene([STILL], [[]], [(8, 9, 1)])
    rover = type(session)(**{**vars(session), "agent_type": "rover"})
    across = Pose.from_rpy(0.5, 0.6, 1, 0, 0, np.pi / 2)
    assert hits(rover, 0, across) and not hits(rover, 0, Pose.from_rpy(0.5, 0.6, 1, 0, 0, 0))
    road = type(session)(**{**vars(rover), "classes": np.array([DRIVEABLE_SURFACE], np.uint8)})
    assert not hits(road, 0, across)
    assert rover.classes.tolist() == [MANMADE]


def test_where_the_true_path_collides_nothing_is_told() -> None:
    session = scene([STILL] * 3, [[]] * 3, [(8, 8, 0)])
    scores = PlanningScores(2)
    scores.add(session, [1, 2], {"a": way((0, 0), (3, 0))})
    assert [(r["at"], r["up_to"], r["windows"]) for r in scores.result([0.5, 1.0])["a"]] == [(None, None, 0)] * 2


@pytest.mark.parametrize("kind", ["drone", "rover"])
def test_boxes_are_the_models_own(kind: str) -> None:
    body = etree.parse(str(MODELS / kind / "model.sdf")).xpath("//collision[@name='body_collision']")[0]
    size, above = BOXES[kind]
    assert tuple(float(v) for v in body.find(".//size").text.split()) == size
    assert float(body.find("pose").text.split()[2]) == above

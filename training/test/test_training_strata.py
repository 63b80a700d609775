"""Moving things, new views and intervals on scenes whose numbers are worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.labels import CAR, FREE, MANMADE, PEDESTRIAN
from aerialworld_training.actor_forecast import clusters, move_actors, oracle_objects, tracked_objects
from aerialworld_training.baselines import fill_from_neighbours, fuse_history
from aerialworld_training.dataset import PooledSession
from aerialworld_training.dataset.actors import Actors, label_boxes
from aerialworld_training.metrics import StratifiedCounts, scores
from aerialworld_training.occupied import Occupied
from aerialworld_training.strata import CELLS, STRATA, Asked, height_bands

sys.path.insert(0, str(Path(__file__).parent))
from training_scenes import GRID, actor, scene


def where(semantics: np.ndarray, kind: int) -> set[tuple[int, ...]]:
    return {tuple(v) for v in np.argwhere(semantics == kind).tolist()}


def test_boxes_meet_the_voxels_they_overlap() -> None:
    level = Pose.from_rpy(0, 0, 5)
    # 2.2 × 0.9 × 0.9 m about (0.5, 0.5, 0.5): x from −0.6 to 1.6 meets voxels −1, 0, 1; y and z lie in voxel 0 alone.
    labels = label_boxes(GRID, level, 0.0, Actors.from_rows([[CAR, 0.5, 0.5, 0.5, 0, 2.2, 0.9, 0.9, 0, 0, 0]]))
    assert where(labels, 1) == {(7, 8, 0), (8, 8, 0), (9, 8, 0)}
    # A quarter turn of the box, or of the vehicle, exchanges x and y; the map's box stays where it is.
    turned = label_boxes(GRID, level, 0.0, Actors.from_rows([[CAR, 0.5, 0.5, 0.5, np.pi / 2, 2.2, 0.9, 0.9, 0, 0, 0]]))
    assert where(turned, 1) == {(8, 7, 0), (8, 8, 0), (8, 9, 0)}
    seen = label_boxes(
        GRID,
        Pose.from_rpy(0, 0, 5, yaw=np.pi / 2),
        0.0,
        Actors.from_rows([[CAR, 0.5, -0.5, 0.5, 0, 2.2, 0.9, 0.9, 0, 0, 0]]),
    )
    assert where(seen, 1) == {(7, 6, 0), (7, 7, 0), (7, 8, 0)}  # right behind: x −0.5 forward, y from 0.6 to −1.6 left
    assert not label_boxes(GRID, level, 0.0, Actors.from_rows([[CAR, 30, 0, 0, 0, 4, 2, 2, 0, 0, 0]])).any()
    # A datum 1 m up lowers everything by a level.
    low = label_boxes(GRID, level, -1.0, Actors.from_rows([[CAR, 0.5, 0.5, 0.5, 0, 0.9, 0.9, 0.9, 0, 0, 0]]))
    assert where(low, 1) == {(8, 8, 1)}


@pytest.fixture
def passing() -> PooledSession:
    """A car drives along +x at 4 m/s past a parked one and a wall; the vehicle follows at 2 m/s, turned a quarter."""
    poses = [Pose.from_rpy(float(n), 0, 9, yaw=np.pi / 2) for n in range(6)]
    frames = [
        [actor(CAR, -4 + 2 * n, 3, velocity=(4, 0)), actor(CAR, 2, -4), actor(PEDESTRIAN, 5.5, 5.5, size=(1, 1, 2))]
        for n in range(6)
    ]
    return scene(poses, frames)


def test_cars_go_on_with_true_and_with_tracked_velocity(passing: PooledSession) -> None:
    past = [0, 1, 2]
    for bodies, velocities in (oracle_objects(passing, 2), tracked_objects(passing, 1, 2)):
        assert sorted(np.round(np.linalg.norm(velocities, axis=1), 6).tolist()) == [0, 0, 4]
        for target in (3, 5):
            fused = Occupied.of(fuse_history(passing, past, target)[0])
            forecast = move_actors(passing, fused, 2, target, bodies, velocities)
            np.testing.assert_array_equal(forecast.volume(GRID.shape), passing.semantics(target))
    copied = fuse_history(passing, past, 5)[0]
    assert where(copied, CAR) != where(passing.semantics(5), CAR)  # the plain warp leaves it behind


def test_objects_are_connected_voxels_of_one_class(passing: PooledSession) -> None:
    bodies, centres = clusters(passing, 2)
    assert bodies.classes.tolist() == [CAR, CAR, PEDESTRIAN] and set(bodies.objects) == {0, 1, 2}
    assert (bodies.voxels.classes == bodies.classes[bodies.objects]).all()
    assert {(round(x, 6), round(y, 6)) for x, y, _ in centres} == {(0.0, 3.0), (2.0, -4.0), (5.5, 5.5)}
    _, still = tracked_objects(passing, 2, 2)
    assert not still.any()


def test_too_fast_and_of_another_class_is_no_match() -> None:
    poses = [Pose.from_rpy(0, 0, 9)] * 2
    jump = scene(poses, [[actor(CAR, -5.5, 0.5, size=(1, 1, 1))], [actor(CAR, 7.5, 0.5, size=(1, 1, 1))]])
    assert not tracked_objects(jump, 0, 1)[1].any()  # 13 m in half a second
    other = scene(poses, [[actor(CAR, 0.5, 0.5, size=(1, 1, 1))], [actor(PEDESTRIAN, 1.5, 0.5, size=(1, 1, 1))]])
    assert not tracked_objects(other, 0, 1)[1].any()


def test_dynamic_changed_and_unseen_are_counted_where_they_are(passing: PooledSession) -> None:
    """A car (4 × 2 × 2 m: 16 voxels) moves on by 2 m and a wall of 3 voxels comes into view."""
    truth = np.full(GRID.shape, FREE, np.uint8)
    warped, seen = truth.copy(), np.ones(GRID.shape, bool)
    warped[4:8, 4:6, 0:2], truth[6:10, 4:6, 0:2] = CAR, CAR
    truth[15, 2:5, 0] = MANMADE
    seen[15] = False
    dynamic = np.zeros(GRID.shape, bool)
    dynamic[4:10, 4:6, 0:2] = True
    counts = StratifiedCounts(1, CELLS)
    moved, boxes = Occupied.of(warped), np.flatnonzero(dynamic)
    counts.add(0, Asked.of(Occupied.of(truth), seen, None, height_bands(GRID), boxes, moved), moved)
    result = {s.name: scores(counts.tables[0, list(s.cells)].sum(0)) for s in STRATA}
    assert result["all"]["counts"]["voxels"] == GRID.size
    assert result["dynamic"]["counts"]["voxels"] == 24
    assert result["dynamic"]["iou"] == pytest.approx(8 / 24)  # 2 m of 4 m overlap
    assert result["all"]["iou"] == pytest.approx(8 / 27)
    assert result["changed"]["counts"]["voxels"] == 8 + 8 + 3 and result["changed"]["iou"] == 0.0
    assert result["unseen"]["counts"]["truth_occupied"] == 3 and result["unseen"]["iou"] == 0.0
    assert result["unseen"]["counts"]["voxels"] == 16 * 3
    assert result["persistent"]["iou"] == pytest.approx(8 / 24)
    assert result["height_0_6"]["counts"] == result["all"]["counts"]


def test_the_unseen_is_filled_from_the_nearest_column() -> None:
    semantics = np.full((7, 1, 2), FREE, np.uint8)
    seen = np.zeros((7, 1, 2), bool)
    semantics[0, 0, 0], seen[0, 0, 0] = MANMADE, True
    seen[6, 0, :] = True  # free at both heights
    for steps in (2, 9):  # with 9 all is filled, and the tie in the middle goes to the one in front
        filled = fill_from_neighbours(Occupied.of(semantics), seen, steps).volume(semantics.shape)
        assert where(filled, MANMADE) == {(0, 0, 0), (1, 0, 0), (2, 0, 0)}
        assert (filled[3:] == FREE).all() and (filled[..., 1] == FREE).all()


def test_intervals_are_over_places_drawn_whole() -> None:
    counts = StratifiedCounts(1, CELLS)
    walls = Occupied.of(np.full(GRID.shape, MANMADE, np.uint8))
    nothing, seen = walls.where(np.zeros(GRID.size, bool)), np.ones(GRID.shape, bool)
    asked = Asked.of(walls, seen, None, height_bands(GRID), nothing.cells, walls)
    counts.add(0, asked, walls, "a")
    assert counts.interval(0, range(CELLS)) is None  # one place says nothing of others
    counts.add(0, asked, nothing, "b")
    # Two places, one with IoU 1 and one with 0: a draw has both, or one twice. The interval spans everything.
    assert counts.interval(0, range(CELLS)) == [0.0, 1.0]
    assert scores(counts.tables[0].sum(0))["iou"] == 0.5
    same = StratifiedCounts(1, CELLS)
    for name in "abcd":
        same.add(0, asked, walls, name)
    assert same.interval(0, range(CELLS)) == [1.0, 1.0]
    assert same.interval(0, [1]) is None  # nothing to score


def test_rows_of_actors_come_back(tmp_path: object) -> None:
    record = {
        "id": "car_1", "class": CAR, "position": [1.0, 2.0, 0.5], "orientation": [0, 0, np.sin(0.3), np.cos(0.3)],
        "size": [4.0, 1.8, 1.5], "velocity": [2.0, 1.0, 0],
    }  # fmt: skip
    actors = Actors.from_records([record])
    again = Actors.from_rows(actors.to_rows())
    assert len(again) == 1 and again.classes.tolist() == [CAR] and again.yaw[0] == pytest.approx(0.6)
    for name in ("centres", "sizes", "velocities"):
        np.testing.assert_array_equal(getattr(again, name), getattr(actors, name))
    assert len(Actors.from_records([])) == 0

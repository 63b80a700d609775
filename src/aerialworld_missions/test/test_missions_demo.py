"""The demonstration's missions: two separate places in any world, and the picture of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerialworld_core.errors import PlanError
from aerialworld_core.files import canonical_json
from aerialworld_missions import draw, plan_demo, survey
from aerialworld_missions.picture import PATH_COLOURS


def town(box_world: type, extent=(480.0, 240.0), gap=(3, 4)):
    boxes = tuple(
        (20 + 60.0 * i, 15 + 50.0 * j, 45 + 60.0 * i, 35 + 50.0 * j, 12.0 + 3 * ((i * 7 + j * 5) % 11))
        for i in range(8)
        for j in range(4)
        if i not in gap and 45 + 60 * i < extent[0] and 35 + 50 * j < extent[1]
    )
    return box_world(
        extent, boxes=boxes, roads=((0, 45, 480, 53), (0, 95, 480, 103)), ground=lambda x, y: 0.02 * x + np.sin(y / 30)
    )


def least_gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a[:, None, :2] - b[None, :, :2], axis=-1).min())


def test_five_runs_in_two_places_that_never_see_each_other(box_world: type) -> None:
    world = town(box_world)
    for seed in range(4):
        plans = plan_demo(world, seed=seed, duration=25.0)
        assert [p.name for p in plans] == ["survey_A", "survey_B", "orbit_A", "rover_A", "rover_B"]
        assert [p.vehicle for p in plans] == ["drone_1", "drone_1", "drone_1", "rover_1", "rover_1"]
        for p in plans:
            assert p.duration == pytest.approx(25.0) and p.name.endswith(p.place) and p.seed == seed
            m = p.trajectory().sample(np.arange(0, 25, 0.05))
            assert not world.inside_solid(m.position).any() and world.box_distance(m.position).min() >= 1.99
            assert np.linalg.norm(m.linear_velocity, axis=1).mean() > 1.5
        a = np.concatenate([p.position for p in plans if p.place == "A"])
        b = np.concatenate([p.position for p in plans if p.place == "B"])
        assert least_gap(a, b) >= 115.0


def test_another_grid_has_its_own_separation_and_ceiling(box_world: type) -> None:
    world = town(box_world)
    plans = plan_demo(world, seed=0, duration=10, separation=160.0, ceiling=60.0)
    assert least_gap(plans[0].position, plans[1].position) >= 160.0
    assert max(p.position[:, 2].max() for p in plans) <= 60.0 + world.datum(0, 0)
    with pytest.raises(PlanError, match="400 m apart"):
        plan_demo(world, separation=400.0)
    with pytest.raises(PlanError, match="no block"):
        plan_demo(world, ceiling=20.0)


def test_equal_seeds_equal_bytes_and_other_seeds_other_missions(box_world: type) -> None:
    def make(seed: int) -> list[bytes]:
        return [canonical_json(p.to_dict()) for p in plan_demo(town(box_world), seed=seed, duration=8)]

    assert make(1) == make(1)
    assert not set(make(1)) & set(make(2))


def test_a_small_world_gets_smaller_blocks(box_world: type) -> None:
    world = town(box_world, (275.0, 100.0), gap=())
    plans = plan_demo(world, seed=0, duration=10)
    assert 40 <= plans[0].parameters["size"][0] < 60
    assert least_gap(plans[0].position, plans[1].position) >= 115


def test_a_world_without_two_places_is_refused_with_the_reason(box_world: type) -> None:
    with pytest.raises(PlanError, match=r"200 × 150 m has no two places.*115 m apart"):
        plan_demo(town(box_world, (200.0, 150.0)))
    with pytest.raises(PlanError, match="buildings"):
        plan_demo(box_world((600.0, 300.0)))
    towers = tuple((x, y, x + 20.0, y + 20.0, 190.0) for x in range(10, 580, 40) for y in range(10, 280, 40))
    with pytest.raises(PlanError, match="no block"):
        plan_demo(box_world((600.0, 300.0), boxes=towers))


def test_the_picture_shows_the_map_right_way_up_and_the_paths(box_world: type, tmp_path: Path) -> None:
    world = box_world((300.0, 200.0), boxes=((220.0, 140.0, 280.0, 190.0, 80.0),))  # north-east
    plan = survey(world, centre=(80, 60), size=40, duration=20, name="south west")
    data = draw([plan, survey(world, centre=(200, 100), size=60)], world, tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes() == data
    assert data == draw([plan, survey(world, centre=(200, 100), size=60)], world, None)
    image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    height, width = image.shape[:2]
    blue = np.array([int(PATH_COLOURS[0][k : k + 2], 16) for k in (1, 3, 5)])
    row, column = np.nonzero(np.abs(image - blue).sum(axis=2) < 12)
    in_map = row < 0.85 * height  # below it is the legend
    assert row[in_map].mean() > 0.5 * height and column[in_map].mean() < 0.5 * width
    brown = np.abs(image - [107, 84, 77]).sum(axis=2) < 45
    row, column = np.nonzero(brown)
    assert row.mean() < 0.4 * height and column.mean() > 0.6 * width


def test_a_picture_without_plans_shows_the_world(box_world: type) -> None:
    assert Image.open(io.BytesIO(draw([], town(box_world)))).format == "PNG"

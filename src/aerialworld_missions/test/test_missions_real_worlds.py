# ruff: noqa: B023  # the missions of a seed are planned before the next seed is drawn
"""Missions in converted worlds: the generated city and a real square kilometre (set 06), checked by other means than
the planner's own: buildings as dense points, heights by rays from the vehicle."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aerialworld_core.errors import PlanError
from aerialworld_core.labels import GROUND
from aerialworld_core.plan import Plan
from aerialworld_missions import (
    corridor,
    explore,
    figure8,
    orbit,
    patrol,
    plan_demo,
    road_run,
    roads,
    survey,
    waypoints,
)
from aerialworld_missions.lanemap import LaneMap

SHARED = Path(os.environ.get("AERIALWORLD_SHARED", Path(__file__).resolve().parents[4] / "shared"))
SET_06 = SHARED / "data" / "plateau" / "06_obj_minato_roppongi_53393599"
POINT_SPACING = 0.25
AVOID = ("raise", "bend", "refuse")
REFUSALS = ("ceiling", "lies inside a building", "of a building at the height", "would come nearer", "no way around")


def load(source: Path, out: Path):
    convert = pytest.importorskip("aerialworld_city.convert", reason="aerialworld_city is not installed")
    world = pytest.importorskip("aerialworld_core.world")
    convert.convert(source, out)
    return world.load_world(out)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    generate = pytest.importorskip("aerialworld_city.synthetic.generate", reason="aerialworld_city is not installed")
    folder = tmp_path_factory.mktemp("generated")
    return load(generate.generate_city(folder / "city", 0), folder / "world")


@pytest.fixture(scope="module")
def roppongi(tmp_path_factory):
    if not SET_06.is_dir():
        pytest.skip(f"no PLATEAU set 06 under {SHARED}; set AERIALWORLD_SHARED")
    return load(SET_06, tmp_path_factory.mktemp("set06") / "world")


def points_on(triangles: np.ndarray) -> np.ndarray:
    """Points on triangles (F, 3, 3), so dense that no place of one is farther than `POINT_SPACING` from a point."""
    edges = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    result = []
    for n in np.unique(np.ceil(edges / POINT_SPACING).astype(int)):
        u, v = (a.ravel() for a in np.meshgrid(np.arange(n + 1) / max(n, 1), np.arange(n + 1) / max(n, 1)))
        u, v = u[u + v <= 1 + 1e-9], v[u + v <= 1 + 1e-9]
        weights = np.stack([1 - u - v, u, v], axis=1)
        chosen = triangles[np.ceil(edges / POINT_SPACING).astype(int) == n]
        result.append(np.einsum("kc,fcd->fkd", weights, chosen).reshape(-1, 3))
    return np.concatenate(result) if result else np.zeros((0, 3))


def assert_clear(plan: Plan, world) -> None:
    """Not inside a solid, at least 2 m from every building, above the ground; every 20 ms of the motion."""
    m = plan.trajectory().sample(np.arange(0.0, plan.duration, 0.02))
    p = m.position
    assert not world.inside_solid(p).any(), plan.name
    scene = world.scene
    corners = scene.vertices[scene.faces[~np.isin(scene.face_class, GROUND)]].astype(np.float64)
    lowest, highest = corners.min(axis=1), corners.max(axis=1)
    for part in np.array_split(p, max(1, len(p) // 100)):
        low, high = part.min(axis=0) - 3, part.max(axis=0) + 3
        surface = points_on(corners[(lowest <= high).all(axis=1) & (highest >= low).all(axis=1)])
        surface = surface[((surface >= low) & (surface <= high)).all(axis=1)]
        if len(surface):
            # A point is at most POINT_SPACING / √3 from its nearest sample: a lower distance than 2 m would show.
            assert cKDTree(surface).query(part, distance_upper_bound=3.0)[0].min() >= 2.0, plan.name
    down = np.broadcast_to([0.0, 0.0, -1.0], p.shape)
    lifted = p + np.array([0.0, 0.0, 0.5])
    height, _ = world.cast(lifted, down, cull_backfaces=False)
    assert (height[np.isfinite(height)] >= 0.5).all() and np.isfinite(height).mean() > 0.999
    if plan.agent_type == "rover":
        assert height[np.isfinite(height)].max() <= 0.5 + 0.36
    step = np.diff(p, axis=0) / 0.02
    mean_velocity = 0.5 * (m.linear_velocity[1:] + m.linear_velocity[:-1])
    assert np.abs(step - mean_velocity).max() < 0.01


def demo_is_sound(world, seeds: range) -> None:
    for seed in seeds:
        plans = plan_demo(world, seed=seed)
        a, b = (np.concatenate([p.position for p in plans if p.place == place])[::3] for place in "AB")
        assert np.linalg.norm(a[:, None, :2] - b[None, :, :2], axis=-1).min() >= 115.0
        for plan in plans:
            assert plan.duration == pytest.approx(25.0)
            datum = world.datum(*plan.position[0, :2])
            assert datum <= plan.position[:, 2].min() and plan.position[:, 2].max() <= datum + 149.0
            assert_clear(plan, world)


def test_demo_missions_of_the_generated_city(generated) -> None:
    demo_is_sound(generated, range(3))


def test_demo_missions_of_a_real_city(roppongi) -> None:
    demo_is_sound(roppongi, range(2))


def hundred(world, count: int) -> int:
    """Plans seeded missions of all patterns all over a world, `count` of each; how many could be flown."""
    flown = 0
    low, high = world.bounds[:, :2]
    for seed in range(count):
        random = np.random.default_rng(seed)
        centre = low + 120 + random.random(2) * (high - low - 240)
        speed, slow = float(random.uniform(2, 10)), float(random.uniform(2, 5))
        common = {"seed": seed, "jitter": True}
        line = centre + np.cumsum(random.uniform(-50, 50, (4, 2)), axis=0)
        stops = [(x, y, z) for (x, y), z in zip(line, random.uniform(30, 80, 4), strict=True)]
        area = centre + np.array([(-40, -30), (45, -45), (50, 20), (0, 5), (-20, 40)])
        for make in (
            lambda: survey(world, centre=centre, size=80, duration=25, speed=speed, **common),
            lambda: survey(world, area=area, spacing=12, speed=speed, **common),
            lambda: orbit(world, centre=centre, duration=25, speed=speed, **common),
            lambda: figure8(world, centre=centre, radius=20, speed=speed, **common),
            lambda: corridor(world, line=line, speed=speed, altitude=40, avoid=AVOID[seed % 3], **common),
            lambda: explore(world, centre=centre, duration=30, speed=speed, avoid=AVOID[seed % 3], **common),
            lambda: waypoints(world, stops=stops, altitude_frame="home", speed=speed, **common),
            lambda: road_run(world, centre=centre, duration=25, speed=slow, **common),
            lambda: patrol(world, centre=centre, speed=slow, **common),
            *([lambda: roads(world, duration=25, speed=slow, **common)] if any(LaneMap.of(world).onward) else []),
        ):
            try:
                plan = make()
            except PlanError as error:
                # Towers of 150 m and more stand in set 06; lines go through buildings, or are told not to.
                assert any(says in str(error) for says in REFUSALS), error
                continue
            assert_clear(plan, world)
            flown += 1
    return flown


def test_missions_all_over_the_generated_city(generated) -> None:
    assert hundred(generated, 2) >= 17


@pytest.mark.long
def test_a_hundred_missions_all_over_a_real_city(roppongi) -> None:
    assert hundred(roppongi, 16) >= 100

"""Paths, speeds, heights and distances against formulas and brute force."""

from __future__ import annotations

import dataclasses
import gc
import math
import weakref

import numpy as np
import pytest

from aerialworld_core.errors import PlanError
from aerialworld_missions import heightmap, orbit, plan_demo, road_run, survey
from aerialworld_missions.clearance import obstacle_distance, point_triangle_distance
from aerialworld_missions.flight import DRONE, climb_envelope, smooth_height
from aerialworld_missions.heightmap import HeightMap
from aerialworld_missions.motion import SAMPLE, travel, window
from aerialworld_missions.path import Arc, Line, Path


def test_a_traced_path_lies_on_its_lines_and_arcs() -> None:
    path = Path.trace((1.0, 2.0), 0.0, [Line(10.0), Arc(4.0, math.pi), Line(10.0), Arc(2.0, -math.pi / 2)])
    assert path.length == pytest.approx(20 + 4 * math.pi + math.pi)
    on_arc = (path.s > 10) & (path.s < 10 + 4 * math.pi)
    np.testing.assert_allclose(np.hypot(path.xy[on_arc, 0] - 11, path.xy[on_arc, 1] - 6), 4.0, atol=1e-9)
    np.testing.assert_allclose(path.xy[-1], [1 - 2, 10 + 2], atol=1e-9)  # west on y = 10, then right: to the north
    steps = np.linalg.norm(np.diff(path.xy, axis=0), axis=1)
    assert steps.max() <= 0.25 + 1e-9 and (steps <= np.diff(path.s) + 1e-9).all()


def test_curvature_of_a_polyline_on_a_circle() -> None:
    angle = np.linspace(0, 2, 200)
    path = Path.through(8.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    np.testing.assert_allclose(path.curvature[3:-3], 1 / 8, rtol=0.02)


def test_speeds_keep_every_limit_and_are_the_highest_that_do() -> None:
    path = Path.trace((0, 0), 0.0, [Line(60.0), Arc(5.0, math.pi), Line(60.0)])
    v = path.speeds(10.0, lateral=3.0, longitudinal=2.0, yaw_rate=10.0)
    assert v.max() == pytest.approx(10.0)
    turn = path.curvature > 0
    np.testing.assert_allclose(v[turn], math.sqrt(15.0))
    braking = np.abs(np.diff(v**2)) / (2 * np.diff(path.s))
    assert braking.max() <= 2.0 + 1e-9
    before = path.s < 60.0
    expected = np.minimum(10.0, np.sqrt(15.0 + 2 * 2.0 * (60.0 + (path.s[turn][0] - 60.0) - path.s[before])))
    np.testing.assert_allclose(v[before], expected, rtol=1e-6)


def test_travel_time_of_uniform_acceleration() -> None:
    """Braking from 10 to 4 m/s at 2 m/s² takes 3 s and 21 m."""
    path = Path.trace((0, 0), 0.0, [Line(40.0), Arc(16 / 3, math.pi / 2)])
    v = path.speeds(10.0, lateral=3.0, longitudinal=2.0, yaw_rate=10.0)
    t = np.interp([19.25, 40.25], path.s, path.times(v))
    assert t[1] - t[0] == pytest.approx(3.0, abs=0.02)


def test_travel_is_smooth_and_cut_to_the_time_asked() -> None:
    path = Path.trace((0, 0), 0.3, [Line(100.0)])
    xy = travel(path, np.full(len(path.s), 5.0), begin=10.0, end=90.0, seconds=7.04, smooth=1.2)
    assert len(xy) == 7.0 / SAMPLE + 1  # whole knots
    along = xy @ [math.cos(0.3), math.sin(0.3)]
    np.testing.assert_allclose(along, 10.0 + 5.0 * SAMPLE * np.arange(len(xy)), atol=1e-9)
    assert window(1.2).sum() == pytest.approx(1.0)


def test_climb_envelope_against_brute_force() -> None:
    random = np.random.default_rng(3)
    required = 30 * random.random(80) ** 4
    rate = random.uniform(0.5, 3.0, 80)
    result = climb_envelope(required, rate)
    reach = np.concatenate([[0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * SAMPLE)])
    brute = [max(required[j] - abs(reach[j] - reach[i]) for j in range(80)) for i in range(80)]
    np.testing.assert_allclose(result, brute, atol=1e-9)


def test_smooth_height_is_never_below_and_never_too_steep() -> None:
    x = 0.25 * np.arange(1200)
    required = np.where((x > 140) & (x < 150), 62.0, 30.0)
    z = smooth_height(required, np.stack([x, 0 * x], axis=1), DRONE)  # 5 m/s
    assert (z >= required - 1e-9).all()
    climb = np.abs(np.gradient(z, SAMPLE))
    assert climb.max() <= 5 * math.tan(DRONE.climb_angle) + 1e-6
    assert np.abs(np.gradient(np.gradient(z, SAMPLE), SAMPLE)).max() < 3.0
    assert z.max() < 62.0 + 1e-6 and z[0] == pytest.approx(30.0) and z[-1] == pytest.approx(30.0)


def test_point_triangle_distance_against_dense_sampling() -> None:
    random = np.random.default_rng(5)
    triangles = random.normal(size=(60, 3, 3)) * 3
    triangles[-1, 2] = triangles[-1, 1]  # degenerate: a segment
    points = random.normal(size=(60, 3)) * 4
    u, v = (a.ravel() for a in np.meshgrid(np.linspace(0, 1, 161), np.linspace(0, 1, 161)))
    u, v = u[u + v <= 1], v[u + v <= 1]
    weights = np.stack([1 - u - v, u, v], axis=1)
    for p, t, d in zip(points, triangles, point_triangle_distance(points, triangles), strict=True):
        brute = np.linalg.norm(weights @ t - p, axis=1).min()
        assert d <= brute + 1e-9 and brute - d < 0.12, (d, brute)


def test_obstacle_distance_equals_the_distance_to_boxes(box_world: type) -> None:
    world = box_world(boxes=((40, 40, 60, 70, 25), (90, 20, 120, 50, 40)))
    random = np.random.default_rng(0)
    points = random.uniform([30, 10, 1], [130, 80, 55], size=(400, 3))
    outside = world.box_distance(points) > 0
    truth = world.box_distance(points)[outside]
    found = obstacle_distance(HeightMap.of(world), points[outside], 8.0)
    np.testing.assert_allclose(found, np.where(truth <= 8.0, truth, np.inf), atol=1e-5)


def test_height_map_equals_the_formulas(box_world: type) -> None:
    world = box_world(
        (100.0, 60.0), boxes=((20, 10, 40, 30, 25.0),), roads=((0, 40, 100, 48),), ground=lambda x, y: 0.1 * x
    )
    heights = HeightMap.of(world)
    assert heights.cell == 1.0 and heights.surface.shape == (60, 100)
    x, y = np.arange(100) + 0.5, np.arange(60) + 0.5
    np.testing.assert_allclose(heights.ground, np.broadcast_to(0.1 * x, (60, 100)), atol=1e-9)
    inside = ((y > 10) & (y < 30))[:, None] & ((x > 20) & (x < 40))[None, :]
    np.testing.assert_allclose(heights.surface, np.where(inside, 25.0, np.broadcast_to(0.1 * x, (60, 100))), atol=1e-9)
    np.testing.assert_array_equal(heights.building, inside)
    assert (heights.face_class[40:48] == 11).all() and (heights.face_class[50:] == 14).all()
    assert HeightMap.of(world) is heights and heights.world is world
    # 4.9 m from the corner (20, 10) along the diagonal: within reach of 5 m; 8 m away: not.
    at = np.array([[20 - 3.4, 10 - 3.4], [20 - 6.5, 10 - 6.5]])
    assert heights.top_within(at, 5.0)[0] == pytest.approx(25.0) and heights.top_within(at, 5.0)[1] < 5.0


def test_a_height_map_does_not_keep_its_world_alive(box_world: type) -> None:
    world = box_world((40.0, 40.0))
    heights, gone = HeightMap.of(world), weakref.ref(world)
    del world
    gc.collect()
    assert gone() is None
    with pytest.raises(ReferenceError, match="keep it"):
        _ = heights.world


def test_a_world_of_coarse_cells_is_as_safe(box_world: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above `MAX_CELLS` square metres cells grow; clearances are kept, and rovers get fine cells of their own."""
    monkeypatch.setattr(heightmap, "MAX_CELLS", 10_000)
    world = box_world(boxes=((100, 80, 130, 120, 45), (160, 60, 170, 150, 20), (180.2, 90.3, 180.9, 91.1, 60)))
    assert HeightMap.of(world).cell == pytest.approx(math.sqrt(6.0))
    flown = survey(world, centre=(150, 100), size=80).trajectory()
    flown_at = flown.sample(np.arange(0, flown.plan.duration, 0.02)).position
    assert world.box_distance(flown_at).min() >= 4.95
    driven = road_run(world, centre=(145, 100), size=60, duration=30, seed=3).trajectory()
    driven_at = driven.sample(np.arange(0, 30, 0.02)).position
    assert world.box_distance(driven_at).min() >= 2.0 and not world.inside_solid(driven_at).any()


def test_an_empty_world_is_refused(box_world: type) -> None:
    world = box_world()
    empty = dataclasses.replace(world.scene, faces=world.scene.faces[:0], face_class=world.scene.face_class[:0])
    world.scene = empty
    for make in (survey, orbit, road_run):
        with pytest.raises(PlanError, match="no surfaces"):
            make(world, centre=(150, 100))
    with pytest.raises(PlanError, match="no surfaces"):
        plan_demo(world)

"""A LiDAR in rain and fog against the model's closed forms, computed here on their own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma

from aerialworld_core import air as core_air
from aerialworld_core.air import Air
from aerialworld_core.conditions import Conditions
from aerialworld_core.frames import Pose
from aerialworld_core.rig import LidarSpec
from aerialworld_core.world.scene import Light
from aerialworld_sim.lidar_weather import LidarWeather

NONE = np.zeros(3)


def lidar(columns=512, beams=32, spread=0.5, low=-0.35, high=0.35) -> LidarSpec:
    return LidarSpec("lidar", Pose.identity(), columns, -spread, spread, beams, low, high, 0.5, 120.0, 10.0)


def of(rain=0.0, visibility=None) -> Air:
    """Air with this rain and haze, as the LiDAR meets it."""
    beta = 0.0 if visibility is None else core_air.lidar_haze_extinction(visibility)
    back = 0.0 if visibility is None else core_air.lidar_haze_backscatter(visibility)
    return Air(1e-3, NONE, beta + core_air.rain_extinction(rain), back, rain, NONE)


def lamp(air: Air | None) -> Light:
    return Light(np.array([0, 0, -1.0]), NONE, np.ones(3), NONE, False, air=air)


def wall(world, distance, colour=(0.3, 0.3, 0.3)):
    world.box((distance + 0.5, 0, 0), (1, 400, 400), colour=colour)
    return world


def scan(engine_at, world, air, spec, **options):
    frame = engine_at(world, Pose.identity(), lidar=spec, light=lamp(air), **options).render("v", modalities={"lidar"})
    return frame.lidar.astype(np.float64), frame.lidar_ring


def survival(reflectivity, distance, alpha):
    """How often a pulse is left that came back in clear air: mean power above 0.9 of a white wall's at 120 m, gamma
    distributed of shape 4; no clear echo is below twice that."""
    power = reflectivity * (120.0 / distance) ** 2 * np.minimum(1, (distance / 10.0) ** 2)
    dim = np.exp(-2 * alpha * distance)
    left, clear = (np.maximum(p, 2 * 0.9 * d) for p, d in ((power * dim, dim), (power, 1.0)))
    return gamma.sf(0.9 / left, 4, scale=1 / 4) / gamma.sf(0.9 / clear, 4, scale=1 / 4)


@pytest.mark.parametrize("distance", [30.0, 60.0, 100.0])
def test_returns_from_a_wall_fall_with_the_rain_as_the_model_says(world, engine_at, distance):
    """The same pulses, and fewer, the more it rains; their number is the closed form's, within five deviations."""
    spec, world = lidar(), wall(world, distance)
    clear, _ = scan(engine_at, world, None, spec)
    ranges = np.linalg.norm(clear[:, :3], axis=1)
    reflectivity = 0.3 * clear[:, 0] / ranges
    before = {tuple(p) for p in clear[:, :3].round(4)}
    assert len(before) == len(clear) > 5000
    for rate in (0.1, 2.0, 10.0, 40.0, 100.0, 200.0):
        points, _ = scan(engine_at, world, of(rate), spec)
        real = {tuple(p) for p in points[:, :3].round(4)} & before
        chance = survival(reflectivity, ranges, core_air.rain_extinction(rate))
        assert real <= before and len(real) <= len(before)
        echoes = len(points) - len(real)  # of drops, which take the place of weaker ones
        deviation = np.sqrt((chance * (1 - chance)).sum()) + 0.5
        assert abs(len(real) - chance.sum()) < 5 * deviation + echoes, rate
        before = real
    assert len(before) < 0.9 * len(clear)


def test_a_trace_of_rain_loses_nothing_to_speak_of(world, engine_at):
    spec, world = lidar(), wall(world, 80.0, (0.02, 0.02, 0.02))
    clear, trace = (scan(engine_at, world, air, spec)[0] for air in (None, of(0.01)))
    assert 0 <= len(clear) - len(trace) <= 0.01 * len(clear)


def test_what_returns_is_dimmed_both_ways(world, engine_at):
    """Intensity: reflectivity · cos · exp(−2αR), no longer made good."""
    spec, air = lidar(), of(0.0, 400.0)
    clear, ring = scan(engine_at, wall(world, 25.0), None, spec)
    foggy, foggy_ring = scan(engine_at, world, air, spec)
    known = {(int(r), *p): i for r, p, i in zip(ring, clear[:, :3].round(4), clear[:, 3], strict=True)}
    pairs = [
        (known[key], i, np.linalg.norm(p))
        for r, p, i in zip(foggy_ring, foggy[:, :3], foggy[:, 3], strict=True)
        if (key := (int(r), *p.round(4))) in known
    ]
    was, now, distance = np.array(pairs).T
    assert len(was) > 0.5 * len(clear)
    assert now / was == pytest.approx(np.exp(-2 * air.lidar_extinction * distance), rel=1e-4)


def drop_echoes(rain, alpha, near=0.5, far=120.0):
    """Drops in a beam (10 mm wide, 3 mrad) whose echo alone is a return: each gives 2π/18.8 of its disc."""

    def per_metre(r):
        area = np.pi / 4 * (0.01 + 0.003 * r) ** 2
        white = (120.0 / r) ** 2 * min(1.0, (r / 10.0) ** 2) * np.exp(-2 * alpha * r)
        least = 1e3 * np.sqrt(4 / np.pi * area * 0.9 / (white * 2 * np.pi / 18.8))
        slope = 4.1 * rain**-0.21
        return area * 8000 / slope * max(np.exp(-slope * least) - np.exp(-slope * 6.0), 0.0)

    return quad(per_metre, near, far, limit=500, points=[10.0])[0]


@pytest.mark.parametrize("rain", [20.0, 60.0, 150.0])
def test_drops_return_beams_into_the_sky_as_often_as_they_are_met(world, engine_at, rain):
    spec = lidar(columns=2048, beams=64)
    points, _ = scan(engine_at, world, of(rain), spec)
    expected = 1 - np.exp(-drop_echoes(rain, core_air.rain_extinction(rain)))
    count = 2048 * 64
    assert abs(len(points) - count * expected) < 5 * np.sqrt(count * expected) + 0.03 * count * expected
    ranges = np.linalg.norm(points[:, :3], axis=1)
    assert ranges.min() >= 0.5 and np.median(ranges) < 4.0 and (points[:, 3] > 0).all() and points[:, 3].max() < 34


@pytest.mark.parametrize("visibility", [60.0, 120.0, 250.0])
def test_fog_returns_beams_as_often_as_its_speckle_says(world, engine_at, visibility):
    """A cell of 0.75 m echoes as a wall of π β 0.75, gamma distributed of shape 4; strong enough anywhere is enough."""
    spec = lidar(columns=1024, beams=32)
    points, _ = scan(engine_at, world, of(0.0, visibility), spec)
    alpha = 3.912 / visibility
    begin = np.arange(0.5, 120.0, 0.75)
    length = np.minimum(begin + 0.75, 120.0) - begin
    r = begin + length / 2
    mean = np.pi * alpha / 18.8 * length * (120.0 / np.maximum(r, 10.0)) ** 2 * np.exp(-2 * alpha * r)
    expected = 1 - np.prod(gamma.cdf(0.9 / mean, 4, scale=1 / 4))
    count = 1024 * 32
    assert abs(len(points) - count * expected) < 5 * np.sqrt(count * expected * (1 - expected)) + 1
    assert np.linalg.norm(points[:, :3], axis=1).max() < 60.0


def test_nothing_echoes_from_behind_a_wall(world, engine_at):
    """And what is strong at hand is never replaced by fog."""
    spec = lidar()
    for distance in (3.0, 9.0):
        points, _ = scan(engine_at, wall(type(world)(), distance, (0.9, 0.9, 0.9)), of(100.0, 60.0), spec)
        assert len(points) == spec.beams * spec.columns
        assert (points[:, 0] <= distance + 1e-3).all()
        assert (np.abs(points[:, 0] - distance) < 1e-3).mean() > 0.99


def test_the_nearer_the_wall_the_fewer_echoes_before_it(world):
    """The strongest echo is drawn from what lies before the surface alone: rates add up along the beam."""
    weather = LidarWeather(of(50.0, 100.0), lidar())
    assert (np.diff(weather.rates, axis=1) >= 0).all() and (np.diff(weather.rates, axis=0) <= 0).all()
    beams = np.arange(16384)
    dark = np.zeros(16384, np.float32)
    counts = []
    for distance in (1.0, 4.0, 12.0):
        found = weather.scan(beams, np.full(16384, distance), dark, dark, np.uint64(8))
        counts.append(int((found.ranges < distance).sum()))
    assert counts == sorted(counts) and counts[0] < counts[2]


def test_haze_costs_a_lidar_less_than_fog_does(world, engine_at):
    spec, world = lidar(), wall(world, 90.0)
    counts = [len(scan(engine_at, world, of(0.0, v), spec)[0]) for v in (100_000.0, 5_000.0, 1_500.0, 400.0)]
    assert counts == sorted(counts, reverse=True) and counts[-1] < 0.97 * counts[0]


def test_clouds_do_not_touch_a_lidar():
    sunny = Light(np.array([0.3, 0, -1.0]), np.ones(3), np.ones(3), np.ones(3), True)
    assert Conditions(weather="overcast").light(sunny, None).air is None

"""Pictures in haze, fog and rain against the formulas; truth is the same in any weather; nothing depends on threads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from aerialworld_core.air import LAYER, Air, drops_larger, fall_speed
from aerialworld_core.conditions import Conditions
from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.rig import CameraSpec, LidarSpec
from aerialworld_core.world.scene import Light
from aerialworld_sim import Engine, Vehicle
from aerialworld_sim.distortion import pixel_rays
from aerialworld_sim.textures import DECODE
from aerialworld_sim.weather import FAINTEST, NEAREST, SHUTTER, rain_streaks

TOKYO = Georeference(35.658, 139.741, 0.0)
AIRLIGHT = np.array([0.5, 0.55, 0.6])
LIDAR = LidarSpec("lidar", Pose.identity(), 256, -np.pi, np.pi * 127 / 128, 16, -0.4, 0.2, 0.5, 120.0, 10.0)
WEATHERS = [
    {"weather": "overcast"},
    {"weather": "haze"},
    {"weather": "fog", "visibility_m": 60},
    {"weather": "rain", "rain_mm_h": 40},
    {"local_time": "23:00", "date": "2024-04-01"},
    {"local_time": "23:00", "date": "2024-04-01", "weather": "rain", "exposure": "auto"},
]


def flat(air: Air | None) -> Light:
    """Ambient light only: a wall of albedo a shows a / π · 2, everywhere the same."""
    return Light(np.array([0, 0, -1.0]), np.zeros(3), np.full(3, 2.0), AIRLIGHT * 0.8, False, air=air)


def hazy(extinction: float) -> Air:
    return Air(extinction, AIRLIGHT, 0.0, 0.0, 0.0, AIRLIGHT)


def linear(rgb) -> np.ndarray:
    return DECODE[rgb].astype(np.float64)


@pytest.fixture
def town(world):
    world.ground_plane(0.0)
    world.box((14, 3, 4), (5, 6, 8), rpy=(0, 0, 0.3), label=15, colour=(0.7, 0.3, 0.2))
    world.box((9, -5, 1), (2, 3, 2), label=4, colour=(0.2, 0.3, 0.7))
    world.box((60, -3, 8), (6, 6, 16), rpy=(0, 0, -0.5), label=16)
    world.light.__dict__["shadows"] = True
    return world


@pytest.mark.parametrize("distance", [10.0, 40.0, 120.0])
@pytest.mark.parametrize("visibility", [100.0, 600.0])
def test_a_wall_in_haze_has_the_contrast_that_koschmieder_says(world, camera, engine_at, distance, visibility):
    """A black and a bright half: their difference falls as exp(−βd), d along the pixel's ray, as airlight comes."""
    beta = 3.912 / visibility
    world.box((distance + 0.5, 100, 0), (1, 200, 200), colour=(0, 0, 0))
    world.box((distance + 0.5, -100, 0), (1, 200, 200), colour=(0.9, 0.9, 0.9))
    spec = camera(width=160, height=90)
    seen = {}
    for name, air in (("clear", None), ("haze", hazy(beta))):
        seen[name] = engine_at(world, Pose.identity(), cameras=(spec,), light=flat(air)).render_camera("v", "cam_front")
    left = (80 - np.arange(160) - 0.5) / spec.focal
    up = (45 - np.arange(90) - 0.5) / spec.focal
    d = distance * np.sqrt(1 + left**2 + up[:, None] ** 2)
    clear, haze = linear(seen["clear"].rgb), linear(seen["haze"].rgb)
    want = np.exp(-beta * d)[..., None] * clear + (1 - np.exp(-beta * d))[..., None] * AIRLIGHT
    level = np.gradient(DECODE.astype(np.float64))[seen["haze"].rgb]  # of a grey level, in linear light
    assert (np.abs(haze - want) <= 1.01 * level + 1e-3).all()
    contrast = (haze[:, 95] - haze[:, 64]) / (clear[:, 95] - clear[:, 64])  # mirror images: equal distances
    assert contrast == pytest.approx(np.repeat(np.exp(-beta * d[:, 95:96]), 3, axis=1), abs=0.012)
    assert np.array_equal(seen["clear"].depth, seen["haze"].depth)


@pytest.mark.parametrize("distortion", [None, (-0.2, 0.05, 1e-3, -2e-3, 0.0)])
def test_the_sky_lies_behind_a_layer_of_air(world, engine_at, distortion):
    """Airlight at the horizon and below, clear by exp(−β LAYER / sin e) above, for any lens and attitude."""
    beta = 1.0 / 2500.0
    spec = CameraSpec("cam_front", Pose.identity(), 160, 120, 1.2, 0.1, 300, 10, distortion=distortion)
    pose = Pose.from_rpy(0, 0, 0, 0.2, -0.4, 1.0)
    light = dataclasses.replace(flat(hazy(beta)), background=np.zeros(3), zenith=np.zeros(3))
    rgb = engine_at(world, pose, cameras=(spec,), light=light).render_camera("v", "cam_front").rgb
    if distortion is None:
        left = np.broadcast_to((80 - np.arange(160) - 0.5) / spec.focal, (120, 160))
        up = np.broadcast_to(((60 - np.arange(120) - 0.5) / spec.focal)[:, None], (120, 160))
    else:
        left, up = pixel_rays(spec)
    rays = np.stack([np.ones_like(left), left, up], axis=-1).astype(np.float64) @ pose.rotation.T
    sine = rays[..., 2] / np.linalg.norm(rays, axis=-1)
    clear = np.where(sine > 1e-4, np.exp(-beta * LAYER / np.maximum(sine, 1e-4)), 0.0)
    assert sine.min() < -0.05 and clear.max() > 0.5
    assert linear(rgb) == pytest.approx((1 - clear[..., None]) * AIRLIGHT, abs=6e-3)


@pytest.mark.parametrize("given", WEATHERS, ids=lambda g: "-".join(map(str, g.values())))
def test_truth_is_the_same_in_any_weather_and_at_night(town, camera, cube, engine_at, given):
    """Depth, class and instance of faces and cameras to the byte; pictures and intensities differ."""
    place = Pose.from_rpy(0, 0, 3, 0, 0.1, 0.2)
    light = Conditions.from_dict(given).light(town.light, TOKYO)
    wanted = {"images", "depth", "lidar", "truth"}
    frames = [
        engine_at(town, place, cameras=(camera(),), depth=cube(48), lidar=LIDAR, light=lamp).render(
            "v", modalities=wanted
        )
        for lamp in (town.light, light)
    ]
    for kind in ("depth", "semantic", "instance", "camera_depth", "camera_semantic", "camera_instance"):
        clear, other = (getattr(frame, kind) for frame in frames)
        assert clear.keys() == other.keys() and len(clear)
        for name in clear:
            assert clear[name].tobytes() == other[name].tobytes(), (kind, name)
    assert (frames[0].images["cam_front"] != frames[1].images["cam_front"]).mean() > 0.5
    same = frames[0].lidar.tobytes() == frames[1].lidar.tobytes()
    assert same == (light.air is None), "clouds and night do not change a LiDAR, air does"


def test_depth_is_not_handed_out_because_the_weather_needs_it(town, camera, engine_at):
    light = Conditions(weather="fog").light(town.light, TOKYO)
    frame = engine_at(town, Pose.from_rpy(0, 0, 3), cameras=(camera(),), light=light).render("v", modalities={"images"})
    assert frame.images and not frame.camera_depth and not frame.camera_semantic and not frame.camera_instance


def test_clear_conditions_change_no_byte(town, camera, cube, engine_at):
    place, wanted = Pose.from_rpy(0, 0, 3, 0, 0.1, 0.2), {"images", "depth", "lidar"}
    spec = camera(noise=0.01)
    one, two = (
        engine_at(town, place, cameras=(spec,), depth=cube(16), lidar=LIDAR, light=lamp).render("v", modalities=wanted)
        for lamp in (None, Conditions(weather="clear").light(town.light, TOKYO))
    )
    assert one.images["cam_front"].tobytes() == two.images["cam_front"].tobytes()
    assert one.lidar.tobytes() == two.lidar.tobytes()


@pytest.mark.parametrize("given", WEATHERS[2:4], ids=["fog", "rain"])
def test_weather_is_a_function_of_seed_moment_and_camera(town, camera, engine_at, given):
    light = Conditions.from_dict(given).light(town.light, TOKYO)
    cameras = (camera(), camera(name="cam_back"))

    def seen(seed=3, steps=1, **options):
        engine = engine_at(
            town, Pose.from_rpy(0, 0, 3), cameras=cameras, lidar=LIDAR, light=light, seed=seed, **options
        )
        for _ in range(steps):
            engine.step(100_000_000)
        frame = engine.render("v", modalities={"images", "lidar"})
        return frame.images["cam_front"].tobytes(), frame.images["cam_back"].tobytes(), frame.lidar.tobytes()

    first = seen()
    assert first == seen(threads=1) == seen(threads=3)
    for other in (seen(seed=4), seen(steps=2)):
        assert first[2] != other[2], "drops and droplets are others"
        assert (first[0] != other[0]) == ("rain_mm_h" in given), "streaks are others, haze is the same"
    assert (first[0] != first[1]) == ("rain_mm_h" in given)


def still(rate=25.0, width=1600, velocity=(0.0, 0.0, 0.0), stream=5):
    spec = CameraSpec("cam_front", Pose.identity(), width, width * 9 // 16, np.deg2rad(70), 0.1, 300, 10)
    return spec, rain_streaks(spec, np.eye(3), rate, np.array(velocity), np.uint64(stream)).astype(np.float64)


def test_streaks_are_as_long_wide_and_bright_as_falling_drops():
    """Each of a drop of one size class: length v T f / x, width D f / x, share D / (v T), less where it is narrower
    than a pixel."""
    spec, streaks = still()
    u0, v0, u1, v1, wide, share, x = streaks.T
    assert len(x) > 5000 and np.abs(u1 - u0).max() < 1e-3, "straight down"
    speed = (v1 - v0) * x / spec.focal / SHUTTER
    diameter = np.log((9.65 - speed) / 10.3) / -0.6  # mm, from the speed
    assert ((diameter > 0.5) & (diameter < 6.1)).all()
    across = 1e-3 * diameter * spec.focal / x
    assert wide == pytest.approx(np.maximum(across, 1.0), rel=2e-3)
    assert share == pytest.approx(1e-3 * diameter / (speed * SHUTTER) * np.minimum(across, 1.0), rel=2e-3)
    assert share.min() > FAINTEST * 0.98 and x.min() > NEAREST * 0.99


@pytest.mark.parametrize("rate", [5.0, 50.0])
def test_there_are_as_many_streaks_as_drops_in_view(rate):
    """In the box of view from 1 to 2 m, of 2 to 3 mm: Marshall and Palmer's number, within five standard deviations."""
    spec, _ = still()
    found, volume = 0, 1600 * 900 / spec.focal**2 * (2**3 - 1**3) / 3
    for stream in range(20):
        u0, v0, u1, v1, _, _, x = still(rate, stream=stream)[1].T
        speed = (v1 - v0) * x / spec.focal / SHUTTER
        u, v = (u0 + u1) / 2 + 0.5, (v0 + v1) / 2 + 0.5
        inside = (u > 0) & (u < 1600) & (v > 0) & (v < 900) & (x > 1) & (x < 2)
        found += int((inside & (speed > fall_speed(2.0)) & (speed < fall_speed(3.0))).sum())
    drops = drops_larger(rate, np.array([2.0, 3.0]))
    expected = 20 * volume * (drops[0] - drops[1])
    assert expected > 300 and abs(found - expected) < 5 * np.sqrt(expected)


def test_streaks_lean_against_the_flight():
    """Sideways at 5 m/s to the left: drops pass to the right, by 5 m/s against their fall."""
    spec, streaks = still(velocity=(0.0, 5.0, 0.0))
    u0, v0, u1, v1, *_, x = streaks.T
    fall = (v1 - v0) * x / spec.focal / SHUTTER
    assert ((u1 - u0) / (v1 - v0)) == pytest.approx(5.0 / fall, rel=1e-3) and (u1 > u0).all()


def test_drops_fall_only_before_what_is_seen(world, camera, engine_at):
    """A wall nearer than the nearest drop shows none; a far one does, brighter than itself and darker than a drop."""
    light = Light(np.array([0, 0, -1.0]), np.zeros(3), np.zeros(3), np.zeros(3), False,
                  air=Air(0.0, np.zeros(3), 0.0, 0.0, 60.0, np.full(3, 0.5)))  # fmt: skip
    world.box((100.5, 0, 0), (1, 500, 500), colour=(0, 0, 0))
    far = engine_at(world, Pose.identity(), cameras=(camera(width=800, height=450),), light=light)
    seen = linear(far.render_camera("v", "cam_front").rgb)
    assert (seen > 0).any(axis=-1).mean() > 0.02 and seen.max() <= 0.51
    near = engine_at(world, Pose.from_rpy(99.75, 0, 0), cameras=(camera(width=800, height=450),), light=light)
    assert not near.render_camera("v", "cam_front").rgb.any()


def test_a_moving_vehicle_s_speed_reaches_the_streaks(world, camera):
    """The same place and moment, at rest and in flight."""
    world.ground_plane(0.0)
    light = Conditions(weather="rain", rain_mm_h=60).light(world.light, TOKYO)

    class Passing:
        def __init__(self, speed):
            self.speed = speed

        def state(self, stamp_ns):
            from aerialworld_core.sensing import VehicleState

            return VehicleState(stamp_ns, Pose.from_rpy(0, 0, 20), np.array([0.0, self.speed, 0.0]), np.zeros(3))

    from aerialworld_core.rig import Rig

    rig = Rig("test", (camera(width=640, height=360),), ())
    pictures = [
        Engine(world, {"v": Vehicle(rig, Passing(speed))}, light=light).render("v", modalities={"images"})
        for speed in (0.0, 12.0)
    ]
    assert (pictures[0].images["cam_front"] != pictures[1].images["cam_front"]).mean() > 1e-3

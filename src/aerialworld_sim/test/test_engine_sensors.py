"""LiDAR, IMU, noise and the engine's clock: true values, seeds, repeatability."""

import hashlib
import itertools

import numpy as np
import pytest

from aerialworld_core.frames import Pose, quaternion_from_rotation, rotation_from_rpy
from aerialworld_core.plan import Plan
from aerialworld_core.rig import ImuSpec, LidarSpec, Rig
from aerialworld_core.sensing import GRAVITY
from aerialworld_sim import Engine, Static, Vehicle
from aerialworld_sim.imu import sample_stamps


def lidar(pose=None, columns=256, beams=16, noise=0.0, low=-60.0, high=10.0) -> LidarSpec:
    last = np.pi - 2 * np.pi / columns
    return LidarSpec(
        "lidar",
        pose or Pose.identity(),
        columns,
        -np.pi,
        last,
        beams,
        np.deg2rad(low),
        np.deg2rad(high),
        0.5,
        120.0,
        10,
        noise,
    )


def turning_plan(rate: float = 0.3) -> Plan:
    """A climbing circle of radius 20 m, nose along the velocity, banked: all motion terms differ from zero."""
    t = np.linspace(0.0, 20.0, 201)
    a = rate * t
    position = np.stack([20 * np.cos(a), 20 * np.sin(a), 30 + 0.2 * t], -1)
    turn = np.array([quaternion_from_rotation(rotation_from_rpy(0.3, -0.1, x + np.pi / 2)) for x in a])
    for i in range(1, len(turn)):
        if turn[i] @ turn[i - 1] < 0:
            turn[i] *= -1
    return Plan("circle", "drone_1", "drone", "orbit", "block", 0, t, position, turn)


def test_lidar_returns_lie_on_the_surface_and_none_comes_from_nothing(world, engine_at):
    world.ground_plane(2.0)
    world.box((12, 0, 6), (4, 4, 8), label=15, retro=700.0)
    base = Pose.from_rpy(1.0, -2.0, 14.0, 0.05, -0.1, 0.6)
    spec = lidar(Pose.from_rpy(0.1, 0.2, -0.1, 0, 0, 0.3))
    frame = engine_at(world, base, lidar=spec).render("v")
    points = (base @ spec.pose).transform(frame.lidar[:, :3])
    off_ground = np.abs(points[:, 2] - 2.0)
    off_box = np.abs(np.max(np.abs(points - [12, 0, 6]) - [2, 2, 4], axis=1))
    assert np.minimum(off_ground, off_box).max() < 1e-3
    on_box = off_box < 1e-3
    # Intensity is reflectivity times the cosine of incidence: 700 as declared on the box, half of 100 % on grey ground.
    ray = (base @ spec.pose).rotation @ (frame.lidar[:, :3] / np.linalg.norm(frame.lidar[:, :3], axis=1)[:, None]).T
    gap = np.abs(points - [12, 0, 6]) - [2, 2, 4]
    side = np.abs(gap).argmin(axis=1)
    clear = on_box & (off_ground > 1e-3) & (np.partition(np.abs(gap), 1, axis=1)[:, 1] > 0.01)
    assert clear.sum() > 20
    assert np.allclose(frame.lidar[clear, 3], 700.0 * np.abs(ray[side, np.arange(len(side))][clear]), rtol=1e-4)
    grounded = off_ground < 1e-3
    assert np.allclose(frame.lidar[grounded & ~on_box, 3], 50.0 * np.abs(ray[2][grounded & ~on_box]), rtol=1e-4)
    # A beam returns exactly when its line meets the ground within range, or the box.
    elevation = np.arcsin(frame.lidar[:, 2] / np.linalg.norm(frame.lidar[:, :3], axis=1))
    assert np.abs(elevation - spec.elevations[frame.lidar_ring]).max() < 1e-5
    from aerialworld_sim.lidar import beam_directions

    d = beam_directions(spec) @ (base @ spec.pose).rotation.T
    reach = (2.0 - (base @ spec.pose).position[2]) / d[:, 2]
    assert abs(((reach > 0.5) & (reach < 120)).sum() - len(frame.lidar)) <= on_box.sum()
    assert frame.lidar.dtype == np.float32 and frame.lidar_ring.dtype == np.uint16


def test_hovering_in_an_empty_world_returns_nothing(world, engine_at):
    frame = engine_at(world, Pose.from_rpy(0, 0, 30), lidar=lidar()).render("v")
    assert frame.lidar.shape == (0, 4) and frame.lidar_ring.shape == (0,)


def test_lidar_range_limits(world, engine_at):
    """Nothing below the minimum or above the maximum range comes back."""
    world.box((0.3, 0, 0), (0.2, 10, 10))  # a wall 0.2 m ahead of the sensor
    world.box((-125.0, 0, 0), (8, 400, 400))  # one 121 m behind it
    world.box((0, 60, 0), (400, 2, 400))  # one at 59 m
    frame = engine_at(world, Pose.identity(), lidar=lidar(low=-10, high=10)).render("v")
    distance = np.linalg.norm(frame.lidar[:, :3], axis=1)
    assert len(distance) > 100 and distance.min() > 0.49 and distance.max() < 120.1
    near_wall = (frame.lidar[:, 0] > 0) & (distance < 0.5)
    assert not near_wall.any()


def test_lidar_noise_has_the_declared_spread_and_follows_the_seed(world, engine_at):
    world.ground_plane(0.0)
    base = Pose.from_rpy(0, 0, 20)
    clean = engine_at(world, base, lidar=lidar()).render("v").lidar[:, :3]
    noisy = engine_at(world, base, lidar=lidar(noise=0.05), seed=1).render("v").lidar[:, :3]
    error = np.linalg.norm(noisy, axis=1) - np.linalg.norm(clean, axis=1)
    assert abs(error.mean()) < 0.005 and abs(error.std() - 0.05) < 0.003
    again = engine_at(world, base, lidar=lidar(noise=0.05), seed=1).render("v").lidar[:, :3]
    other = engine_at(world, base, lidar=lidar(noise=0.05), seed=2).render("v").lidar[:, :3]
    assert again.tobytes() == noisy.tobytes() and (other != noisy).mean() > 0.9


def test_imu_at_rest_reads_gravity_upwards(world, engine_at):
    for mount, expected in (
        (Pose.identity(), [0, 0, GRAVITY]),
        (Pose.from_rpy(0, 0, 0, 0, np.pi / 2, 0), [-GRAVITY, 0, 0]),  # x axis down: gravity's reaction along −x
    ):
        engine = engine_at(world, Pose.from_rpy(5, 5, 5, 0, 0, 1.0), imu=ImuSpec("imu", mount, 100.0))
        engine.render("v", modalities=set())
        engine.step(500_000_000)
        samples = engine.render("v", modalities={"imu"}).imu
        assert samples.shape == (51, 7) and np.allclose(samples[:, 0], np.arange(51) * 0.01, atol=1e-12)
        assert np.allclose(samples[:, 1:4], 0.0) and np.allclose(samples[:, 4:7], expected, atol=1e-9)
        engine.step(500_000_000)
        following = engine.render("v", modalities={"imu"}).imu
        assert len(following) == 50 and np.isclose(following[0, 0], 0.51), "samples since the previous render"


def test_imu_on_a_turning_plan(world):
    """Gyro equals body rates; specific force equals finite differences of the IMU's own position plus gravity."""
    motion = turning_plan().trajectory()
    arm = np.array([0.4, -0.2, 0.3])
    imu = ImuSpec("imu", Pose(arm, quaternion_from_rotation(rotation_from_rpy(0.1, 0.2, 0.3))), 100.0)
    engine = Engine(world, {"drone_1": Vehicle(Rig("r", (), (), None, imu), motion)})
    engine.step(10_000_000_000)
    samples = engine.imu_samples("drone_1")
    assert len(samples) == 1001
    h = 2_000_000
    for k in (200, 500, 801):
        stamp = k * 10_000_000
        state = motion.state(stamp)
        mount = state.pose.rotation @ imu.pose.rotation
        place = [motion.state(s).pose.transform(arm) for s in (stamp - h, stamp, stamp + h)]
        acceleration = (place[0] - 2 * place[1] + place[2]) / (h * 1e-9) ** 2
        assert np.allclose(samples[k, 4:7], mount.T @ (acceleration + np.array([0, 0, GRAVITY])), atol=2e-3)
        before, after = (motion.state(s).pose.rotation for s in (stamp - h, stamp + h))
        spin = state.pose.rotation.T @ (after - before) / (2 * h * 1e-9)
        rates = np.array([spin[2, 1] - spin[1, 2], spin[0, 2] - spin[2, 0], spin[1, 0] - spin[0, 1]]) / 2
        assert np.allclose(imu.pose.rotation @ samples[k, 1:4], rates, atol=1e-4)
    assert np.abs(samples[200:800, 1:4]).max() > 0.1


def test_imu_noise_and_bias_are_those_of_the_rig(world, engine_at):
    imu = ImuSpec("imu", Pose.identity(), 100.0, 0.003, 0.01, 0.02, 0.1)
    biases = []
    for seed in range(40):
        engine = engine_at(world, Pose.identity(), imu=imu, seed=seed)
        engine.step(2_000_000_000)
        samples = engine.imu_samples("v")[:, 1:] - [0, 0, 0, 0, 0, GRAVITY]
        biases.append(samples.mean(axis=0))
        assert np.allclose(samples[:, :3].std(axis=0), 0.003, rtol=0.25)
        assert np.allclose(samples[:, 3:].std(axis=0), 0.02, rtol=0.25)
    spread = np.array(biases).std(axis=0)
    assert np.allclose(spread[:3], 0.01, rtol=0.4) and np.allclose(spread[3:], 0.1, rtol=0.4)


def test_imu_noise_does_not_depend_on_when_samples_are_taken(world, engine_at):
    imu = ImuSpec("imu", Pose.identity(), 100.0, 0.003, 0.01, 0.02, 0.1)
    coarse, fine = (engine_at(world, Pose.identity(), imu=imu, seed=5) for _ in range(2))
    coarse.step(300_000_000)
    whole = coarse.imu_samples("v")
    parts = []
    for _ in range(30):
        fine.step(10_000_000)
        parts.append(fine.imu_samples("v"))
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("rate", [100.0, 200.0, 30.0])
def test_imu_stamps_tile_time(rate):
    edges = [-1, 0, 33_000_000, 500_000_000, 1_000_000_001]
    stamps = [s for a, b in itertools.pairwise(edges) for s in sample_stamps(rate, a, b)]
    assert stamps == [round(k * 1e9 / rate) for k in range(int(rate) + 1)]


def test_two_runs_and_any_thread_count_are_bit_identical(world, cube, camera, camera_noise=0.01):
    world.light = type(world.light)(
        world.light.direction, world.light.sun, world.light.ambient, world.light.background, True
    )
    world.ground_plane()
    rng = np.random.default_rng(0)
    for _ in range(60):
        x, y = rng.uniform(-60, 60, 2)
        h = rng.uniform(3, 30)
        world.box((x, y, h / 2), (*rng.uniform(4, 12, 2), h), (0, 0, rng.uniform(0, 3)))
    rig = Rig(
        "r",
        (camera(width=320, height=180, noise=camera_noise),),
        cube(100),
        lidar(noise=0.01),
        ImuSpec("imu", Pose.identity(), 100.0, 0.003, 0.01, 0.02, 0.1),
    )

    def run(threads: int, seed: int) -> str:
        engine = Engine(world, {"v": Vehicle(rig, turning_plan().trajectory())}, seed=seed, threads=threads)
        digest = hashlib.sha256()
        for _ in range(3):
            engine.step(500_000_000)
            frame = engine.render("v")
            for array in (
                *frame.images.values(),
                *frame.depth.values(),
                *frame.semantic.values(),
                frame.lidar,
                frame.imu,
            ):
                digest.update(array.tobytes())
        return digest.hexdigest()

    first = run(2, 7)
    assert run(2, 7) == first and run(1, 7) == first and run(3, 7) == first
    assert run(2, 8) != first


def test_picture_noise_has_the_declared_spread(world, camera, engine_at):
    spec = camera(noise=0.02, width=400, height=300)
    picture = engine_at(world, Pose.identity(), cameras=[spec], seed=3).render("v").images["cam_front"].astype(float)
    assert np.allclose(picture.reshape(-1, 3).mean(axis=0), [203, 218, 243], atol=0.4)
    assert np.allclose(picture[..., :2].std(axis=(0, 1)), 0.02 * 255, rtol=0.02)  # blue clips at white


def test_time_steps_and_reset(world, engine_at):
    world.ground_plane(-3.5)
    engine = engine_at(world, Pose.from_rpy(1, 2, 3))
    assert engine.stamp_ns == 0 and Engine.ENGINE["name"] == "embedded"
    states = engine.step(125_000_000)
    assert set(states) == {"v"} and states["v"].stamp_ns == engine.stamp_ns == 125_000_000
    frame = engine.render("v")
    assert frame.ground_z == -3.5 and frame.images == {} and frame.lidar is None and frame.imu is None
    engine.reset()
    assert engine.stamp_ns == 0


def test_static_motion_stands_still():
    state = Static(Pose.from_rpy(1, 2, 3, 0, 0, 1)).state(5)
    assert state.stamp_ns == 5 and not state.linear_velocity.any() and not state.angular_velocity.any()

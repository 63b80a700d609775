"""A flown motion in the engine: IMU, odometry and pictures see one and the same motion."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, quaternion_from_rotation, rotation_from_quaternion
from aerialworld_core.rig import ImuSpec, Rig
from aerialworld_core.sensing import GRAVITY
from aerialworld_sim import Engine, Vehicle
from aerialworld_sim.imu import ImuModel, sample_stamps
from aerialworld_sim.motion import SampledMotion
from aerialworld_sim.vehicles.flown_motion import FlownMotion
from aerialworld_sim.vehicles.interface import Brake, GoTo, TakeOff, Velocity
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.parameters import Wind
from aerialworld_sim.vehicles.rover import Rover

MS = 1_000_000
ARM = np.array([0.1, -0.05, 0.2])


def flown() -> FlownMotion:
    """Eight seconds of turns and climbs in gusty air."""
    vehicle = Multirotor(Pose.from_rpy(5, 5, 20), on_ground=False, wind=Wind((1.0, 0, 0), 1.0), seed=3)
    goals = {0: Velocity(np.array([4.0, 2.0, 1.0])), 3: Velocity(np.array([-3.0, 3.0, -1.0])), 6: Brake()}

    def pilot(stamp_ns: int) -> None:
        if stamp_ns % 1_000_000_000 == 0 and stamp_ns // 1_000_000_000 in goals:
            vehicle.command(goals[stamp_ns // 1_000_000_000])

    return FlownMotion(vehicle, before=pilot)


def exponential(rotation: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(rotation)
    k = rotation / angle if angle > 0 else rotation
    x = np.array([[0, -k[2], k[1]], [k[2], 0, -k[0]], [-k[1], k[0], 0]])
    return np.eye(3) + np.sin(angle) * x + (1 - np.cos(angle)) * x @ x


@pytest.mark.parametrize("arm", [np.zeros(3), ARM])
def test_the_imu_integrates_to_the_motion(arm):
    """Dead reckoning from the readings alone (trapezoids at 100 Hz) ends where the vehicle is."""
    motion = flown()
    imu = ImuModel(ImuSpec("imu", Pose(arm, np.array([0, 0, 0, 1.0])), 100.0), 0, "v")
    readings = imu.samples(motion, sample_stamps(100.0, -1, 8_000 * MS))
    start, end = flown().state(0), motion.state(8_000 * MS)
    rotation = start.pose.rotation
    position = start.pose.position + rotation @ arm
    velocity = start.linear_velocity + rotation @ np.cross(start.angular_velocity, arm)
    force = rotation @ readings[0, 4:] - [0, 0, GRAVITY]
    for before, now in pairwise(readings):
        rotation = rotation @ exponential(0.005 * (before[1:4] + now[1:4]))
        after = rotation @ now[4:] - [0, 0, GRAVITY]
        position = position + 0.01 * velocity + 1e-4 * (2 * force + after) / 6
        velocity, force = velocity + 0.005 * (force + after), after
    moved = end.pose.position + end.pose.rotation @ arm
    tolerance = 1e-6 if not arm.any() else 0.02
    assert np.abs(rotation - end.pose.rotation).max() < 1e-4
    assert np.linalg.norm(position - moved) < 200 * tolerance and np.linalg.norm(moved) > 10
    assert np.linalg.norm(
        velocity - end.linear_velocity - end.pose.rotation @ np.cross(end.angular_velocity, arm)
    ) < max(1e-3, tolerance)


def test_gyro_and_attitude_agree_between_ticks():
    motion = flown()
    stamps = np.arange(1_000 * MS, 4_000 * MS, MS)
    m = motion.states(stamps)
    for k in range(0, len(stamps) - 1, 37):
        a, b = rotation_from_quaternion(m.orientation[k]), rotation_from_quaternion(m.orientation[k + 1])
        step = a.T @ b
        turned = 0.5 * np.array([step[2, 1] - step[1, 2], step[0, 2] - step[2, 0], step[1, 0] - step[0, 1]])
        assert turned * 1e3 == pytest.approx(0.5 * (m.angular_velocity[k] + m.angular_velocity[k + 1]), abs=5e-5)


def test_states_are_those_of_the_vehicle_in_any_order():
    motion, vehicle = flown(), Multirotor(Pose.from_rpy(5, 5, 20), on_ground=False, wind=Wind((1.0, 0, 0), 1.0), seed=3)
    vehicle.command(Velocity(np.array([4.0, 2.0, 1.0])))
    expected = {}
    while vehicle.state.stamp_ns < 2_000 * MS:
        s = vehicle.step(MS)
        expected[s.stamp_ns] = s
    stamps = np.random.default_rng(0).permutation(np.array(list(expected)))
    m = motion.states(stamps)
    for i in range(0, len(stamps), 11):
        s, one = expected[int(stamps[i])], motion.state(int(stamps[i]))
        assert np.allclose(m.position[i], s.pose.position, atol=1e-12, rtol=0)
        assert np.allclose(m.orientation[i], s.pose.orientation, atol=1e-12, rtol=0)
        assert np.allclose(one.pose_13d(), s.pose_13d(), atol=1e-12, rtol=0)
        assert np.allclose(m.linear_acceleration[i], s.linear_acceleration, atol=1e-9, rtol=0)


def test_memory_is_bounded_and_the_forgotten_is_said():
    motion = FlownMotion(Multirotor(Pose.from_rpy(0, 0, 10), on_ground=False), keep=1.0)
    for second in range(1, 20):
        motion.state(second * 1_000 * MS)
        assert len(motion._rows) <= 201
    assert np.isfinite(motion.state(18_500 * MS).pose.position).all()
    with pytest.raises(InputError, match="is forgotten"):
        motion.state(1_000 * MS)
    with pytest.raises(InputError, match="past"):
        FlownMotion(Multirotor(), keep=0.0)


def test_a_vehicle_stepped_by_someone_else_is_noticed():
    vehicle = Multirotor(Pose.from_rpy(0, 0, 10), on_ground=False)
    motion = FlownMotion(vehicle)
    motion.state(100 * MS)
    vehicle.step(20 * MS)
    with pytest.raises(InputError, match="steps or resets"):
        motion.state(200 * MS)
    vehicle.reset()
    motion.reset()
    assert motion.state(50 * MS).stamp_ns == 50 * MS


def test_the_engine_renders_a_flown_vehicle(world, camera):
    """IMU samples since the last frame, odometry and picture of one run; a standing vehicle reads 9.8 up."""
    world.ground_plane()
    vehicle, rover = Multirotor(), Rover()
    motion = FlownMotion(vehicle)
    assert isinstance(motion, SampledMotion)
    imu = ImuSpec("imu", Pose.from_rpy(0.02, 0, 0.05), 100.0)
    rig = Rig("test", (camera(),), (), None, imu)
    engine = Engine(
        world, {"drone_1": Vehicle(rig, motion), "rover_1": Vehicle(Rig("r", (), (), None, imu), FlownMotion(rover))}
    )
    vehicle.command(TakeOff(5.0))
    rover.command(GoTo(np.array([20.0, 0, 0]), 4.0))
    frames = []
    for _ in range(20):
        states = engine.step(500 * MS)
        frames.append((engine.render("drone_1"), engine.render("rover_1")))
        assert np.array_equal(frames[-1][0].state.pose_13d(), states["drone_1"].pose_13d())
    flat = np.concatenate([drone.imu for drone, _ in frames])
    assert len(flat) == 1001 and np.array_equal(np.rint(flat[:, 0] * 100), np.arange(1001))
    assert flat[:200, 6] == pytest.approx(GRAVITY, abs=1e-6) and frames[-1][0].state.pose.position[2] > 4.0
    assert frames[0][0].images["cam_front"].shape == (90, 160, 3)
    speed = frames[8][1].state.linear_velocity[0]
    assert speed > 2.0 and np.cumsum(np.concatenate([r.imu for _, r in frames[:9]])[:, 4])[-1] * 0.01 == pytest.approx(
        speed, abs=0.05
    )


def test_quaternions_are_turned_as_rotations_are():
    motion = flown()
    m = motion.states(np.array([1_503 * MS + 250_000, 1_503 * MS]))
    assert np.linalg.norm(m.orientation, axis=1) == pytest.approx(1.0)
    r = rotation_from_quaternion(m.orientation[1]) @ exponential(0.25e-3 * m.angular_velocity[1])
    assert abs(quaternion_from_rotation(r) @ m.orientation[0]) == pytest.approx(1.0, abs=1e-9)

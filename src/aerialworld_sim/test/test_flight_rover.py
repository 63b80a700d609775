"""The rover: speed and steering, slopes, solids, other things that move."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, rpy_from_rotation
from aerialworld_core.sensing import GRAVITY
from aerialworld_sim.vehicles.interface import (
    Brake,
    Contact,
    Drive,
    GoTo,
    Idle,
    Leg,
    Off,
    TakeOff,
    Track,
    Velocity,
)
from aerialworld_sim.vehicles.parameters import RoverParameters
from aerialworld_sim.vehicles.rover import ABOVE_GROUND, Rover
from aerialworld_sim.vehicles.surroundings import MovingBox, Surroundings

sys.path.insert(0, str(Path(__file__).parent))
from flight_runs import MS, surroundings
from flight_runs import run as drive

GROUND, BUILDING = 14, 15


def ramp(world, rise: float, length: float = 30.0) -> None:
    """Level ground to x = 10, then a slope of `rise` over `length`, then level again."""
    x = [-50.0, 10.0, 10.0 + length, 200.0]
    z = [0.0, 0.0, rise, rise]
    vertices = [[x[i], y, z[i]] for i in range(4) for y in (-50.0, 50.0)]
    faces = [f for i in range(3) for f in ([2 * i, 2 * i + 2, 2 * i + 3], [2 * i, 2 * i + 3, 2 * i + 1])]
    world.add(vertices, faces, GROUND)


def test_it_stands_still_and_reads_gravity_up():
    vehicle = Rover(Pose.from_rpy(2, 3, 9, 0, 0, 0.7))
    for goal in (Off(), Idle(), Brake()):
        drive(vehicle, goal, 1.0)
    s = vehicle.state
    assert s.pose.position == pytest.approx([2, 3, ABOVE_GROUND]) and s.pose.yaw == pytest.approx(0.7)
    assert s.pose.rotation.T @ (s.linear_acceleration + np.array([0, 0, GRAVITY])) == pytest.approx([0, 0, GRAVITY])
    assert vehicle.contact is Contact.GROUND and vehicle.throttle == 0.0 and vehicle.arrived()


def test_a_speed_is_reached_with_the_throttle_that_holds_it():
    vehicle = Rover()
    log = drive(vehicle, Velocity(np.array([5.0, 0.0, 0.0])), 30.0)
    assert log[-1, 4] == pytest.approx(5.0, abs=0.02) and abs(log[-1, 2]) < 1e-6
    assert vehicle.throttle == pytest.approx(5.0 / vehicle.parameters.full_speed, rel=0.02)
    assert np.abs(np.gradient(log[:, 4], 0.02)).max() < 2.0
    stop = drive(vehicle, Brake(), 12.0)
    assert np.abs(stop[-1, 4:6]).max() < 1e-6 and vehicle.arrived() and stop[-1, 1] - log[-1, 1] < 20.0


def test_velocity_is_along_its_heading_and_sideways_acceleration_is_bounded():
    vehicle = Rover()
    drive(vehicle, Velocity(np.array([6.0, 0, 0])), 12.0)
    log = drive(vehicle, Velocity(np.array([0.0, 6.0, 0])), 10.0)
    along = np.stack([np.cos(log[:, 9]), np.sin(log[:, 9])], axis=1)
    slip = log[:, 4] * -along[:, 1] + log[:, 5] * along[:, 0]
    assert np.abs(slip).max() < 0.05
    assert log[-1, 9] == pytest.approx(math.pi / 2, abs=0.02)
    rate = np.abs(log[:, 16])
    assert (rate * np.hypot(log[:, 4], log[:, 5])).max() < 6.0 and rate.max() > 0.3


def test_a_car_does_not_turn_on_the_spot_and_a_skid_rover_does():
    car, skid = Rover(), Rover(parameters=RoverParameters(steering="skid"))
    for vehicle, turned in ((car, False), (skid, True)):
        drive(vehicle, Velocity(np.zeros(3), yaw_rate=0.5), 2.0)
        assert (abs(vehicle.state.pose.yaw) > 0.7) == turned
        assert np.abs(vehicle.state.pose.position[:2]).max() < 1e-6


def test_the_tightest_circle_of_a_car_has_its_turn_radius():
    vehicle = Rover()
    log = drive(vehicle, Drive(0.05, 1.0), 20.0)[400:]
    radius = np.hypot(log[:, 4], log[:, 5]) / log[:, 16]
    assert radius == pytest.approx(vehicle.parameters.turn_radius, rel=0.02) and log[:, 16].min() > 0
    right = drive(vehicle, Drive(0.05, -1.0), 5.0)
    assert right[-1, 16] < 0


def test_a_leg_is_followed_and_its_end_stopped_at():
    vehicle = Rover()
    log = drive(vehicle, Leg(np.zeros(3), np.array([40.0, 30.0, 0.0]), None, 5.0, 3.0), 25.0)
    assert vehicle.arrived() and math.dist(log[-1, 1:3], (40, 30)) < 3.0 and np.abs(log[-1, 4:6]).max() < 0.05
    across = np.abs(-0.6 * log[:, 1] + 0.8 * log[:, 2])
    assert across.max() < 1.3
    log = drive(vehicle, GoTo(np.array([0.0, 0.0, 50.0]), 3.0), 40.0)
    assert vehicle.arrived() and log[:, 3].max() == pytest.approx(ABOVE_GROUND)
    drive(vehicle, Track(np.array([10.0, 0, 0]), np.array([1.0, 0, 0])), 30.0)
    assert vehicle.state.pose.position[0] == pytest.approx(10.0 + 30.0, abs=2.0)


def test_runs_do_not_depend_on_how_time_is_cut():
    runs = []
    for step in (3 * MS, 10 * MS, 100 * MS):
        vehicle = Rover()
        for goal, until in ((GoTo(np.array([20.0, 12.0, 0]), 5.0), 8), (Drive(0.1, 0.4), 11)):
            vehicle.command(goal)
            while vehicle.state.stamp_ns < until * 1_000_000_000:
                vehicle.step(min(step, until * 1_000_000_000 - vehicle.state.stamp_ns))
        runs.append(vehicle.state.pose_13d())
    assert all(np.array_equal(runs[0], run) for run in runs[1:])


def test_its_pose_follows_the_slope(world):
    """30 m that rise by 6 m: nose up by atan(0.2), never under the ground, and gravity shows in the IMU."""
    ramp(world, 6.0)
    around = surroundings(world)
    vehicle = Rover(surroundings=around)
    log = drive(vehicle, GoTo(np.array([60.0, 0, 0]), 5.0), 25.0)
    ground = np.array(around.ground(log[:, 1:3].copy()))
    assert (log[:, 3] - ground).min() > -0.005 and (log[:, 3] - ground).max() < 0.12
    middle = log[(log[:, 1] > 15) & (log[:, 1] < 35)]
    assert middle[:, 8] == pytest.approx(-math.atan(0.2), abs=0.01) and np.abs(middle[:, 7]).max() < 1e-3
    assert (middle[:, 6] / middle[:, 4]) == pytest.approx(0.2, abs=0.01)
    assert log[-1, 3] == pytest.approx(6.0 + ABOVE_GROUND, abs=0.01) and abs(log[-1, 8]) < 0.01
    across = Rover(Pose.from_rpy(25, 0, 0, 0, 0, math.pi / 2), surroundings=around)
    assert rpy_from_rotation(across.state.pose.rotation)[0] == pytest.approx(math.atan(0.2), abs=1e-6) or (
        rpy_from_rotation(across.state.pose.rotation)[0] == pytest.approx(-math.atan(0.2), abs=1e-6)
    )


def test_ground_too_steep_and_missing_ground_stop_it(world):
    ramp(world, 45.0)
    vehicle = Rover(surroundings=surroundings(world))
    drive(vehicle, GoTo(np.array([60.0, 0, 0]), 5.0), 10.0)
    assert vehicle.incident.startswith("stopped: the ground is too steep at (10.")
    edge = Rover(Pose.from_rpy(0, 40, 0, 0, 0, math.pi / 2), surroundings=surroundings(world))
    drive(edge, GoTo(np.array([0.0, 80.0, 0]), 5.0), 10.0)
    assert edge.incident.startswith("stopped: no ground at") and 48.5 < edge.state.pose.position[1] <= 50.0


def test_a_wall_stops_and_holds_it_and_the_way_back_is_open(world):
    world.ground_plane()
    world.box([30.0, 0, 2.0], [10.0, 20.0, 4.0], label=BUILDING)
    vehicle = Rover(surroundings=surroundings(world))
    log = drive(vehicle, GoTo(np.array([60.0, 0, 0]), 5.0), 20.0)
    half = vehicle.parameters.body_radius
    assert vehicle.incident.startswith("stopped: hit a building at (24.") and vehicle.contact is Contact.GROUND
    assert 25.0 - 2 * half < log[-1, 1] <= 25.0 - half + 0.02 and np.abs(log[-1, 4:7]).max() < 1e-6
    held = drive(vehicle, Velocity(np.array([5.0, 0, 0])), 5.0)
    assert np.ptp(held[:, 1]) < 0.01
    back = drive(vehicle, Drive(-0.1, 0.0), 4.0)
    assert back[-1, 1] < log[-1, 1] - 1.0 and vehicle.incident == ""


def test_it_stops_before_another_thing_that_moves():
    def cars(stamp_ns: int) -> list[MovingBox]:
        return [MovingBox("car_7", Pose.from_rpy(20.0 + stamp_ns * 1e-9, 0, 0.8), np.array([4.0, 1.8, 1.6]))]

    vehicle = Rover(surroundings=Surroundings(obstacles=cars))
    drive(vehicle, GoTo(np.array([100.0, 0, 0]), 5.0), 12.0)
    assert vehicle.incident.startswith("stopped: hit car_7 at")


def test_goals_of_the_air_are_refused():
    with pytest.raises(InputError, match="does not fly"):
        Rover().command(TakeOff(5.0))
    with pytest.raises(InputError, match="ackermann or skid"):
        RoverParameters(steering="hover")

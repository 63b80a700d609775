"""The multirotor: balance of forces, responses, limits, repeatability, the ground."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.sensing import GRAVITY
from aerialworld_sim.vehicles.interface import (
    Brake,
    Circle,
    Contact,
    Drive,
    GoTo,
    Idle,
    Land,
    Leg,
    Off,
    TakeOff,
    Track,
    Velocity,
)
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.parameters import MultirotorParameters, Wind

sys.path.insert(0, str(Path(__file__).parent))
from flight_runs import MS
from flight_runs import run as fly


def hovering(height: float = 30.0, **options) -> Multirotor:
    return Multirotor(Pose.from_rpy(0, 0, height), on_ground=False, **options)


def specific_force(vehicle: Multirotor) -> np.ndarray:
    s = vehicle.state
    return s.pose.rotation.T @ (s.linear_acceleration + np.array([0.0, 0.0, GRAVITY]))


def test_hovering_takes_the_thrust_of_its_weight_and_stays_where_it_is():
    vehicle = hovering()
    log = fly(vehicle, Brake(), 20.0)
    assert vehicle.throttle == pytest.approx(vehicle.parameters.hover_throttle, rel=1e-6)
    assert np.abs(log[:, 1:7] - [0, 0, 30, 0, 0, 0]).max() < 1e-9
    assert specific_force(vehicle) == pytest.approx([0, 0, GRAVITY], abs=1e-9)


def test_at_rest_on_the_ground_it_reads_gravity_up_and_nothing_moves():
    vehicle = Multirotor(Pose.from_rpy(3.0, -2.0, 7.0, 0, 0, 1.0))
    first = vehicle.state
    for goal in (Off(), Idle()):
        fly(vehicle, goal, 2.0)
        assert specific_force(vehicle) == pytest.approx([0, 0, GRAVITY], abs=1e-12)
        assert np.array_equal(vehicle.state.pose.position, first.pose.position) and vehicle.contact is Contact.GROUND
    assert first.pose.position == pytest.approx([3.0, -2.0, vehicle.parameters.stand])
    assert first.pose.yaw == pytest.approx(1.0)


def test_steady_flight_leans_by_what_the_drag_asks():
    """tan(lean) · g = drag(v), energy in = energy out: thrust along the way equals drag times speed."""
    vehicle, p = hovering(), MultirotorParameters()
    log = fly(vehicle, Velocity(np.array([8.0, 0.0, 0.0])), 25.0)
    assert log[-1, 4] == pytest.approx(8.0, abs=0.02) and abs(log[-1, 6]) < 0.01
    rotors = math.sqrt(vehicle.throttle / p.hover_throttle)
    drag = p.drag_linear * rotors * 8.0 + p.drag_quadratic * 64.0
    assert math.degrees(log[-1, 8]) == pytest.approx(math.degrees(math.atan(drag / GRAVITY)), abs=0.3)
    power = vehicle.throttle / p.hover_throttle * p.mass * GRAVITY * math.sin(log[-1, 8]) * 8.0
    assert power == pytest.approx(p.mass * drag * 8.0, rel=0.02)


def test_a_velocity_step_is_followed_within_its_limits():
    vehicle = hovering()
    log = fly(vehicle, Velocity(np.array([0.0, 5.0, 0.0]), yaw=0.0), 12.0)
    speed, acceleration = log[:, 5], np.hypot(log[:, 11], log[:, 12])
    assert 2.0 < log[np.argmax(speed > 4.5), 0] < 4.5 and speed.max() < 5.5 and speed[-1] == pytest.approx(5, abs=0.05)
    assert acceleration.max() < 3.2 and np.abs(log[:, 3] - 30.0).max() < 0.1
    assert np.degrees(np.abs(log[:, 7]).max()) < 30.5 and np.abs(log[:, 9]).max() < 1e-3
    still = fly(vehicle, Brake(), 8.0)
    assert vehicle.arrived() and np.hypot(*still[-1, 4:6]) < 0.05
    assert still[:, 2].max() - log[-1, 2] < 8.0


def test_the_lean_never_exceeds_its_limit_by_more_than_the_attitude_overshoots():
    vehicle = hovering(wind=Wind(mean=(0.0, -14.0, 0.0)))
    log = fly(vehicle, Velocity(np.array([10.0, 10.0, 0.0])), 15.0)
    tilt = np.degrees(np.arccos(np.cos(log[:, 7]) * np.cos(log[:, 8])))
    assert tilt.max() < 33.0


def test_it_spools_up_and_climbs_as_recorded_and_lands_softly():
    """4.0 s after the command still near the ground, 2.5 m/s, 30 m at 17.7 s; touch-down at the slow speed."""
    vehicle = Multirotor()
    ground = vehicle.parameters.stand
    log = fly(vehicle, TakeOff(30.0 + ground), 20.0)
    height = log[:, 3] - ground
    assert height[log[:, 0] <= 3.2].max() < 0.05 and 0.05 < np.interp(4.0, log[:, 0], height) < 0.5
    assert log[np.argmax(height > 5.0), 0] == pytest.approx(6.7, abs=0.2)
    assert log[np.argmax(height > 29.5), 0] == pytest.approx(17.5, abs=0.5)
    assert log[:, 6].max() == pytest.approx(2.5, abs=0.05) and height.max() < 30.1 and vehicle.arrived()
    steady = log[(log[:, 0] > 8) & (log[:, 0] < 13), 10].mean() / vehicle.parameters.hover_throttle
    assert steady == pytest.approx(40 / 36, abs=0.02)  # the recorded throttle, climbing and hovering
    down = fly(vehicle, Land(1.5, 0.5), 45.0)
    height = down[:, 3] - ground
    assert down[:, 6].min() == pytest.approx(-1.5, abs=0.05)
    touched = np.argmax(height < 0.02)
    assert down[touched - 5, 6] == pytest.approx(-0.5, abs=0.03)
    assert vehicle.arrived() and vehicle.contact is Contact.GROUND and not vehicle.incident
    assert abs(height[-1]) < 1e-9 and vehicle.throttle < 0.11
    assert np.abs(down[:, 1:3]).max() < 0.05


def test_motors_off_in_the_air_it_falls_and_breaks():
    """From about 20 m the recorded vehicle hit the ground at 12.7 m/s. Here drag k v² takes its share:
    v² = g / k · (1 − exp(−2 k h))."""
    vehicle = hovering(20.0)
    log = fly(vehicle, Off(), 5.0)
    assert vehicle.contact is Contact.CRASHED and vehicle.incident.startswith("hit the ground at 1")
    k = MultirotorParameters().drag_quadratic
    fallen = math.sqrt(GRAVITY / k * (1 - math.exp(-2 * k * 19.75)))
    assert -log[:, 6].min() == pytest.approx(fallen, abs=0.6)
    vehicle.command(TakeOff(10.0))
    after = fly(vehicle, TakeOff(10.0), 5.0)
    assert np.ptp(after[:, 1:4], axis=0).max() < 1e-9 and not vehicle.arrived()
    vehicle.reset()
    assert vehicle.contact is Contact.AIR and vehicle.incident == "" and vehicle.state.stamp_ns == 0


def test_a_touch_down_that_is_too_hard_breaks_it_and_a_firm_one_does_not():
    for down, broken in ((2.2, False), (3.2, True)):
        vehicle = hovering(8.0, parameters=MultirotorParameters(descent_speed=5.0, vertical_acceleration=3.0))
        fly(vehicle, Velocity(np.array([0.0, 0.0, -down])), 6.0)
        assert (vehicle.contact is Contact.CRASHED) == broken


def test_a_run_does_not_depend_on_how_its_time_is_cut():
    """Commands at multiples of a tick; steps of 1 ms, 7 ms, 20 ms and 250 ms give the same bits."""
    runs = []
    for step in (1 * MS, 7 * MS, 20 * MS, 250 * MS):
        vehicle = Multirotor(wind=Wind((2.0, 1.0, 0.0), 1.0), seed=5)
        for goal, until in ((TakeOff(8.0), 12), (GoTo(np.array([20.0, 5.0, 9.0]), 6.0), 20), (Brake(), 22)):
            vehicle.command(goal)
            while vehicle.state.stamp_ns < until * 1_000_000_000:
                vehicle.step(min(step, until * 1_000_000_000 - vehicle.state.stamp_ns))
        runs.append(vehicle.state.pose_13d())
    assert all(np.array_equal(runs[0], run) for run in runs[1:])


def test_between_ticks_the_state_is_the_integral_of_its_acceleration():
    vehicle = hovering()
    log = fly(vehicle, Velocity(np.array([3.0, -4.0, 1.0])), 4.0, step=1 * MS)
    velocity = log[0, 4:7] + np.vstack([np.zeros(3), np.cumsum(0.5e-3 * (log[1:, 11:14] + log[:-1, 11:14]), axis=0)])
    assert np.abs(velocity - log[:, 4:7]).max() < 1e-9
    assert np.abs(np.diff(log[:, 1:4], axis=0) - 0.5e-3 * (log[1:, 4:7] + log[:-1, 4:7])).max() < 1e-8


def test_the_seed_decides_the_gusts_and_the_mean_wind_is_held_against():
    logs = [fly(hovering(wind=Wind((3.0, 0.0, 0.0), 1.5), seed=seed), Brake(), 60.0) for seed in (1, 1, 2)]
    assert np.array_equal(logs[0], logs[1]) and not np.array_equal(logs[0], logs[2])
    settled = logs[0][1000:]
    assert 0.02 < settled[:, 1].std() < 1.0 and abs(settled[:, 1].mean()) < 0.3
    assert (
        math.degrees(settled[:, 8].mean()) < -3.0
    )  # the nose (east) dips into... the wind comes from behind: tail low


def test_heading_follows_the_way_and_then_stays():
    vehicle = hovering()
    log = fly(vehicle, GoTo(np.array([-30.0, 0.0, 30.0]), 6.0), 15.0)
    assert abs(abs(log[-1, 9]) - math.pi) < 0.02 and np.abs(np.gradient(np.unwrap(log[:, 9]), 0.02)).max() < 1.3
    turned = fly(vehicle, GoTo(np.array([-30.0, 0.0, 30.0]), 6.0, yaw=0.5), 6.0)
    assert turned[-1, 9] == pytest.approx(0.5, abs=0.01)
    spun = fly(vehicle, Velocity(np.zeros(3), yaw_rate=0.3), 4.0)
    assert np.gradient(np.unwrap(spun[:, 9]), 0.02)[100:].mean() == pytest.approx(0.3, abs=0.01)


def test_a_circle_counts_its_turns_with_the_nose_at_the_centre():
    vehicle = Multirotor(Pose.from_rpy(40, 0, 30), on_ground=False)
    log = fly(vehicle, Circle(np.array([0.0, 0.0, 30.0]), 40.0, -math.radians(20.0)), 60.0)
    assert vehicle.circled < -2 * math.pi and vehicle.arrived()
    late = log[1500:]
    inward = np.arctan2(-late[:, 2], -late[:, 1])
    assert np.abs(np.angle(np.exp(1j * (inward - late[:, 9])))).max() < math.radians(15)


def test_a_streamed_point_is_followed():
    vehicle = hovering()
    for k in range(100):
        t = 0.2 * k
        fly(vehicle, Track(np.array([4.0 * t, 0.0, 30.0]), np.array([4.0, 0.0, 0.0])), 0.2)
    assert vehicle.state.pose.position[0] == pytest.approx(4.0 * 20.0, abs=1.0) and vehicle.arrived()


def test_the_same_goal_again_changes_nothing():
    once, often = hovering(), hovering()
    goal = {"start": np.array([0.0, 0, 30]), "end": np.array([40.0, 0, 30]), "following": np.array([40.0, 30, 30])}
    once.command(Leg(**goal, speed=8.0, radius=2.0))
    for _ in range(300):
        often.command(Leg(**{k: v.copy() for k, v in goal.items()}, speed=8.0, radius=2.0))
        once.step(20 * MS)
        often.step(20 * MS)
    assert np.array_equal(once.state.pose_13d(), often.state.pose_13d())


def test_another_speed_on_the_way_is_taken_up_smoothly():
    vehicle = hovering()
    legs = [Leg(np.array([0.0, 0, 30]), np.array([200.0, 0, 30]), None, speed, 2.0) for speed in (4.0, 8.0, 3.0)]
    logs = [fly(vehicle, leg, 10.0) for leg in legs]
    assert [log[-1, 4] for log in logs] == pytest.approx([4.0, 8.0, 3.0], abs=0.4)
    log = np.vstack(logs)
    assert np.abs(log[:, 2]).max() < 0.1 and np.abs(np.diff(log[:, 11])).max() < 0.6


def test_a_following_point_that_comes_or_goes_on_the_way_is_taken_up():
    """Without one it stops at the corner; with one that comes on the way it cuts it."""
    near = {}
    for late in (None, np.array([40.0, 40.0, 30.0])):
        vehicle = hovering()
        leg = [np.array([0.0, 0, 30]), np.array([40.0, 0, 30])]
        fly(vehicle, Leg(*leg, None if late is not None else np.array([40.0, -40.0, 30.0]), 6.0, 2.0), 4.0)
        log = [fly(vehicle, Leg(*leg, late, 6.0, 2.0), 0.5)]
        while not vehicle.arrived():
            log.append(fly(vehicle, Leg(*leg, late, 6.0, 2.0), 0.02))
        near[late is None] = math.dist(np.vstack(log)[-1, 1:3], (40.0, 0.0)), np.hypot(*np.vstack(log)[-1, 4:6])
    assert near[True][1] < 1.2 and near[False][0] > 0.5 and near[False][1] > 1.5


def test_a_descent_that_the_ground_ends_can_be_left_at_once():
    vehicle = hovering(3.0)
    fly(vehicle, Velocity(np.array([0.0, 0.0, -1.0])), 30.0)
    assert vehicle.contact is Contact.GROUND and not vehicle.incident
    up = fly(vehicle, Velocity(np.array([0.0, 0.0, 1.0])), 6.0)
    assert vehicle.contact is Contact.AIR and up[-1, 3] > 1.0


def test_on_the_ground_only_a_take_off_lifts_it():
    vehicle = Multirotor()
    vehicle.command(Idle())
    fly(vehicle, GoTo(np.array([5.0, 0, 5.0]), 5.0), 5.0)
    assert vehicle.contact is Contact.GROUND and np.abs(vehicle.state.pose.position[:2]).max() == 0.0


def test_what_is_no_goal_is_refused():
    vehicle = hovering()
    with pytest.raises(InputError, match="Drive is for rovers"):
        vehicle.command(Drive(1.0, 0.0))
    with pytest.raises(InputError, match=r"GoTo\.position"):
        vehicle.command(GoTo(np.array([np.nan, 0, 0]), 5.0))
    with pytest.raises(InputError, match="speed must be positive"):
        vehicle.command(GoTo(np.zeros(3), 0.0))
    with pytest.raises(InputError, match="advance time"):
        vehicle.step(0)
    with pytest.raises(InputError, match="thrust_ratio"):
        MultirotorParameters(thrust_ratio=1.0)
    with pytest.raises(InputError, match=r"Wind\.gust"):
        Wind(gust=-1.0)

"""Our vehicles on the missions that real ArduCopter and Rover flew: position by position, lean by lean."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.interface import Circle, Contact, GoTo, Land, Leg, TakeOff, Track
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.rover import Rover

sys.path.insert(0, str(Path(__file__).parent))
from flight_reference import SURVEY, Flight, Recording, aligned, distances, needs_recordings

pytestmark = needs_recordings
STAND = 0.25
LIFT = np.array([0.0, 0.0, 30.0 + STAND])
#: When the recorded survey's points were reached (MISSION_ITEM_REACHED 2 … 15), s.
COPTER_REACHED = [89.49, 104.39, 108.49, 123.19, 127.29, 141.99, 146.09, 160.79, 164.89, 179.59, 183.69, 198.39, 202.49]
ROVER_REACHED = [77.45, 99.65, 104.35, 126.15, 130.75, 152.55, 157.25, 179.05, 183.65, 205.45, 210.15, 231.95, 236.55]


def rms(values: np.ndarray) -> float:
    return float(np.degrees(np.sqrt((values**2).mean())))


def flying_since(recording: Recording, t: float) -> Flight:
    """A multirotor with the place, heading and velocity of the recorded one at `t`, level."""
    k = int(recording.between(t, t + 1.0)[0])
    place = recording.position[k] + [0.0, 0.0, STAND]
    vehicle = Multirotor()
    vehicle.reset(
        VehicleState(
            0, Pose.from_rpy(*place, yaw=float(recording.yaw[k])), recording.velocity[k], np.zeros(3), np.zeros(3)
        )
    )
    return Flight(vehicle, float(recording.t[k]))


@pytest.fixture(scope="module")
def copter() -> Recording:
    return Recording("copter_main")


@pytest.fixture(scope="module")
def survey() -> Flight:
    """The recorded survey mission, begun in GUIDED while hovering at 30 m, nose north."""
    flight = Flight(Multirotor(Pose.from_rpy(0, 0, LIFT[2], 0, 0, math.pi / 2), on_ground=False), 75.889)
    before = LIFT
    for point, following in zip(SURVEY, [*SURVEY[1:], None], strict=True):
        flight.vehicle.command(Leg(before, point + LIFT, None if following is None else following + LIFT, 8.0, 2.0))
        flight.until(flight.vehicle.arrived)
        before = point + LIFT
    return flight


def test_take_off_is_the_recorded_one(copter):
    flight = Flight(Multirotor(Pose.from_rpy(0, 0, 0, 0, 0, math.pi / 2)), 53.924)
    flight.vehicle.command(TakeOff(30.0 + STAND))
    flight.wait(20.0)
    off = distances(copter, flight, 54.5, 73.0)
    assert off.max() < 0.6 and off.mean() < 0.3


def test_every_point_of_the_survey_is_reached_when_it_was(survey):
    """Lines take 14.6 to 14.9 s, steps 4.1 s; nothing is aligned."""
    ours = np.array(survey.events[:-1])
    assert np.abs(ours - COPTER_REACHED).max() < 0.6
    assert np.abs(np.diff(ours) - np.diff(COPTER_REACHED)).max() < 0.2


def test_the_survey_lies_within_two_metres_of_the_recorded_one(copter, survey):
    worst, all_of_it = 0.0, []
    for begin, end, ours in zip(COPTER_REACHED, COPTER_REACHED[1:], survey.events, strict=False):
        off = distances(copter, survey, begin, end, ours - begin)
        worst, all_of_it = max(worst, off.max()), [*all_of_it, *off]
    assert worst < 1.5 and np.mean(all_of_it) < 0.6
    unaligned = distances(copter, survey, 75.9, 202.5)
    assert unaligned.mean() < 2.0 and unaligned.max() < 4.0


def test_attitudes_look_like_the_recorded_ones(copter, survey):
    rows = copter.between(80.0, 200.0)
    ours = survey.at(copter.t[rows])
    for recorded, own in ((copter.roll[rows], ours[:, 6]), (copter.pitch[rows], ours[:, 7])):
        assert rms(own) == pytest.approx(rms(recorded), abs=1.0)
        assert np.degrees(np.abs(own).max()) == pytest.approx(np.degrees(np.abs(recorded).max()), abs=2.5)
        assert np.corrcoef(recorded, own)[0, 1] > 0.9
    turned = np.angle(np.exp(1j * (copter.yaw[rows] - ours[:, 8])))
    assert np.degrees(np.abs(turned).mean()) < 6.0


def test_lines_are_kept_as_closely_as_recorded(copter, survey):
    """Recorded: cross-track rms 0.22 m, altitude within a centimetre, 7.98 m/s at most."""
    log = survey.log
    line = log[(log[:, 0] > 91.0) & (log[:, 0] < 103.0)]
    assert np.sqrt(((line[:, 2] + 50.0) ** 2).mean()) < 0.3
    assert np.abs(log[:, 3] - LIFT[2]).max() < 0.05
    flown = log[(log[:, 0] > 89.5) & (log[:, 0] < 202.5)]
    speed = np.hypot(flown[:, 4], flown[:, 5])
    recorded = np.hypot(*copter.velocity[copter.between(89.5, 202.5), :2].T)
    assert speed.max() == pytest.approx(7.98, abs=0.1) and speed.mean() == pytest.approx(recorded.mean(), abs=0.05)


def test_loiter_turns_make_the_recorded_circle(copter):
    """Asked: 40 m. Recorded: 37.8 ± 0.1 m, 6.63 m/s, 36 s a turn, leaning 17.6° and 6.8°."""
    flight = Flight(Multirotor(Pose.from_rpy(31.16, 24.68, LIFT[2], 0, 0, math.radians(217.7)), on_ground=False), 235.5)
    flight.vehicle.command(Circle(LIFT, 40.0, -math.radians(20.0)))
    flight.until(lambda: abs(flight.vehicle.circled) >= 4 * math.pi)
    assert flight.now - 235.5 == pytest.approx(307.8 - 235.3, abs=0.6)
    late = flight.log[flight.log[:, 0] > 250.0]
    radius, speed = np.hypot(late[:, 1], late[:, 2]), np.hypot(late[:, 4], late[:, 5])
    assert radius.mean() == pytest.approx(37.8, abs=0.3) and radius.std() < 0.2
    assert speed.mean() == pytest.approx(6.63, abs=0.1)
    assert np.degrees(late[:, 7]).mean() == pytest.approx(-17.6, abs=1.0)
    assert np.degrees(late[:, 8]).mean() == pytest.approx(6.84, abs=1.0)
    assert distances(copter, flight, 236.0, 307.0).max() < 2.0


def test_a_guided_goto_and_streamed_points_are_followed_as_recorded(copter):
    """GUIDED to a point 40 m north, then a point on a circle of 40 m at 6 m/s, five times a second: 40.9 m flown."""
    flight = flying_since(copter, 310.95)
    flight.vehicle.command(GoTo(np.array([0.0, 40.0, LIFT[2]]), 10.0))
    flight.until(lambda: flight.now >= 318.3)
    off = distances(copter, flight, 311.0, 318.2)
    assert off.max() < 1.2 and off.mean() < 0.6
    for k in range(200):
        angle = math.pi / 2 - 0.15 * 0.2 * k
        way = np.array([math.cos(angle), math.sin(angle), 0.0])
        ahead = np.array([way[1], -way[0], 0.0])
        flight.vehicle.command(Track(40.0 * way + [0, 0, LIFT[2]], 6.0 * ahead))
        flight.wait(0.2)
    late = flight.log[(flight.log[:, 0] > 332.0) & (flight.log[:, 0] < 358.0)]
    rows = copter.between(332.0, 358.0)
    ours, recorded = np.hypot(late[:, 1], late[:, 2]), np.hypot(*copter.position[rows, :2].T)
    assert ours.mean() == pytest.approx(recorded.mean(), abs=0.2)
    speed = np.hypot(*copter.velocity[rows, :2].T).mean()
    assert np.hypot(late[:, 4], late[:, 5]).mean() == pytest.approx(speed, abs=0.1)


def test_the_way_home_and_the_landing_are_the_recorded_ones(copter):
    """RTL from a drift of 3.3 m/s: fly, wait, 1.5 m/s down to 10 m, 0.5 m/s, ground."""
    flight = flying_since(copter, 367.2)
    vehicle = flight.vehicle
    home = np.array([0.0, 0.0, 30.0 + STAND])
    vehicle.command(Leg(vehicle.state.pose.position, home, None, 10.0, 2.0, yaw=vehicle.state.pose.yaw))
    flight.until(vehicle.arrived)
    vehicle.command(GoTo(home, 10.0))
    flight.until(lambda: flight.now >= 384.9)
    # The recorded one first finds in half a second that it need not climb.
    assert aligned(copter, flight, 369.0, 384.0).max() < 1.0
    vehicle.command(Land(1.5, 0.5))
    landed = flight.until(vehicle.arrived)
    assert landed == pytest.approx(419.7 + 0.6, abs=1.0) and vehicle.contact is Contact.GROUND
    assert distances(copter, flight, 386.0, 419.0).max() < 1.0


@pytest.fixture(scope="module")
def driven() -> Flight:
    """The recorded rover's survey from where it stood, facing north-east."""
    flight = Flight(Rover(Pose.from_rpy(9.52, 10.07, 0, 0, 0, math.radians(47))), 49.851)
    before = np.array([9.52, 10.07, 0.0])
    for point, following in zip(SURVEY, [*SURVEY[1:], None], strict=True):
        flight.vehicle.command(Leg(before, point, following, 5.0, 3.0))
        flight.until(flight.vehicle.arrived)
        before = point
    return flight


def test_the_rover_reaches_every_point_as_fast_as_recorded(driven):
    """Recorded: 21.8 to 22.2 s a line, 4.6 to 4.7 s a step."""
    assert np.abs(np.diff(driven.events[:-1]) - np.diff(ROVER_REACHED)).max() < 0.4


def test_the_rover_survey_lies_within_two_metres_of_the_recorded_one(driven):
    recording = Recording("rover_main")
    recording.position[:, 2] = 0.0
    all_of_it = []
    for begin, end, ours in zip(ROVER_REACHED, ROVER_REACHED[1:], driven.events, strict=False):
        all_of_it += [*aligned(recording, driven, begin, end, ours - begin)]
    assert max(all_of_it) < 1.3 and np.mean(all_of_it) < 0.4
    rows = recording.between(78.0, 236.0)
    log = driven.log
    speed, recorded = np.hypot(log[:, 4], log[:, 5]), np.hypot(*recording.velocity[rows, :2].T)
    assert speed.max() == pytest.approx(recorded.max(), abs=0.2)
    assert speed[(log[:, 0] > 78) & (log[:, 0] < 236)].mean() == pytest.approx(recorded.mean(), abs=0.1)


def test_the_rover_circles_on_the_asked_radius():
    """Recorded: 40.05 ± 0.13 m at 5 m/s."""
    vehicle = Rover(Pose.from_rpy(40, 0, 0, 0, 0, -math.pi / 2))
    flight = Flight(vehicle, 0.0)
    vehicle.command(Circle(np.zeros(3), 40.0, -5.0 / 40.0))
    flight.until(lambda: abs(vehicle.circled) >= 2 * math.pi)
    late = flight.log[flight.log[:, 0] > 15.0]
    radius, speed = np.hypot(late[:, 1], late[:, 2]), np.hypot(late[:, 4], late[:, 5])
    assert radius.mean() == pytest.approx(40.05, abs=0.3) and radius.std() < 0.3
    assert speed.mean() == pytest.approx(5.0, abs=0.1)

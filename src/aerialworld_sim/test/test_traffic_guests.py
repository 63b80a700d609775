"""Rovers in traffic: traffic keeps clear of them, they are stopped by it, and all of it is the same each time."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.traffic import TrafficOptions
from aerialworld_sim.motion import Static
from aerialworld_sim.nodes.fleet import Fleet
from aerialworld_sim.traffic import Traffic
from aerialworld_sim.traffic.guests import PilotedGuest, PlannedGuest
from aerialworld_sim.vehicles.flown_motion import FlownMotion
from aerialworld_sim.vehicles.interface import GoTo
from aerialworld_sim.vehicles.rover import Rover
from aerialworld_sim.vehicles.surroundings import MovingBox, Surroundings

sys.path.insert(0, str(Path(__file__).parent))
from traffic_checks import least_gap
from traffic_worlds import crossroads, plain

S = 1_000_000_000
CARS = TrafficOptions(cars=6, pedestrians=0, parked=0.0, emergencies=0.0, seed=3)


@pytest.fixture(scope="module")
def road():
    """One road of 14 m, 240 m long, along x; traffic goes to and fro on it."""
    return plain((-120, -7, 120, 7))


def lane_of(world) -> np.ndarray:
    """(2,) of map where cars pass when nobody is in their way."""
    traffic = Traffic(world, CARS)
    places = np.concatenate([traffic.snapshot(t * S // 2).position[:, :2] for t in range(60)])
    middle = places[np.abs(places[:, 0]) < 40.0]
    return middle[len(middle) // 2]


def clearances(traffic: Traffic, place: np.ndarray, seconds: int) -> np.ndarray:
    """How near the nearest body comes to a place, metres, ten times a second."""
    point = (float(place[0]), float(place[1]), 0.3)
    boxes = (traffic.near(t * S // 10, np.array(point)) for t in range(10 * seconds))
    return np.array([min((box.distance(point) for box in near), default=np.inf) for near in boxes])


def test_cars_stop_before_a_rover_that_stands_in_their_lane(road) -> None:
    place = lane_of(road)
    assert clearances(Traffic(road, CARS), place, 60).min() < 0.6  # they would pass there
    traffic = Traffic(road, CARS, [PlannedGuest(Static(Pose.from_rpy(*place, 0.1)))])
    near = clearances(traffic, place, 60)
    assert 0.45 < near.min() < 8.0  # never within its body, and somebody has come to wait
    speeds = np.array([np.linalg.norm(traffic.snapshot(t * S).linear_velocity, axis=1) for t in range(60)])
    assert (speeds[-1] < 0.05).any() and least_gap(traffic, 59 * S) > 0.0


def test_braking_before_it_is_as_hard_as_brakes_are(road) -> None:
    """A rover that is suddenly there: nobody slows down by more than an emergency's 6 m/s²."""
    place = lane_of(road)
    guest = PilotedGuest(Pose.from_rpy(0.0, 60.0, 0.0))
    traffic = Traffic(road, CARS, [guest])
    before = traffic.snapshot(10 * S)
    nearest = before.position[int(np.argmax(np.linalg.norm(before.linear_velocity, axis=1)))]
    moving = before.linear_velocity[int(np.argmax(np.linalg.norm(before.linear_velocity, axis=1)))]
    ahead = nearest + 6.0 * moving / np.linalg.norm(moving)
    guest.meet(10 * S, (float(ahead[0]), float(ahead[1]), 0.3))
    shots = [traffic.snapshot(10 * S + t * S // 10) for t in range(60)]
    slowing = np.array([np.linalg.norm(s.acceleration[:, :2], axis=1) for s in shots])
    assert slowing.max() == pytest.approx(6.0, abs=0.6)
    assert np.linalg.norm(shots[-1].linear_velocity, axis=1).min() < 0.01
    assert place is not None


def test_traffic_without_guests_is_what_it_was_and_guests_aside_change_nothing() -> None:
    world, options = crossroads(), TrafficOptions(cars=12, pedestrians=6, seed=5)
    alone = Traffic(world, options)
    far = Traffic(world, options, [PlannedGuest(Static(Pose.from_rpy(40.0, 40.0, 0.0)))])
    for t in (0, 7, 31):
        assert np.array_equal(alone.snapshot(t * S).position, far.snapshot(t * S).position)


class Drive:
    """A rover sent along the road against or with traffic, in the engine's way."""

    def __init__(self, world, start, goal, ask: str) -> None:
        surroundings = Surroundings(world)
        self.rover = Rover(Pose.from_rpy(*start, 0.05), surroundings=surroundings)
        self.motion = FlownMotion(self.rover, keep=60.0)
        guest = PilotedGuest(self.rover.start)
        self.traffic = Traffic(world, CARS, [guest])
        guest.around, surroundings.company = self.traffic.near, guest
        self.rover.command(GoTo(np.array([*goal, 0.0]), 5.0))
        self.rows, self.incidents = [], []
        for tick in range(1, 4500):
            state = self.motion.state(tick * 10_000_000)
            # Pictures may be taken at any stamp, or never.
            if (ask == "often" and tick % 3 == 0) or (ask == "seldom" and tick % 400 == 0):
                self.traffic.snapshot(tick * 10_000_000)
            self.incidents.append(self.rover.incident)
            if tick % 50 == 0:
                shot = self.traffic.snapshot(tick * 10_000_000)
                self.rows.append([*state.pose.position, *shot.position.ravel()])


def test_a_rover_that_drives_into_a_car_is_stopped_and_says_so(road) -> None:
    """Against the traffic of a lane: the car brakes and stands, the rover meets it; whoever asks for traffic when, all
    of it is the same."""
    place = lane_of(road)
    drives = [Drive(road, (100.0, place[1]), (-100.0, place[1]), ask) for ask in ("often", "seldom")]
    assert np.array_equal(drives[0].rows, drives[1].rows) and drives[0].incidents == drives[1].incidents
    assert drives[0].incidents[-1].startswith("stopped: hit car_")
    *here, _ = drives[0].rover.state.pose.position
    assert drives[0].rover.state.linear_velocity == pytest.approx(np.zeros(3), abs=1e-6)
    boxes = drives[0].traffic.near(4499 * 10_000_000, drives[0].rover.state.pose.position)
    assert 0.0 < min(box.distance((*here, 0.3)) for box in boxes) < 1.0


def test_a_rover_goes_on_when_what_stopped_it_has_gone() -> None:
    gate = MovingBox("a cart", Pose.from_rpy(10.0, 0.0, 0.5), np.array([1.0, 4.0, 1.0]))
    rover = Rover(surroundings=Surroundings(obstacles=lambda stamp_ns: [gate] if stamp_ns < 8 * S else []))
    rover.command(GoTo(np.array([30.0, 0.0, 0.0]), 5.0))
    while rover.state.stamp_ns < 7 * S:
        rover.step(20_000_000)
    assert rover.incident.startswith("stopped: hit a cart") and rover.state.pose.position[0] < 9.1
    rover.step(2 * S)
    assert rover.incident == ""
    rover.step(12 * S)
    assert rover.state.pose.position[0] == pytest.approx(30.0, abs=3.0)


def test_the_nodes_rovers_are_traffics_guests() -> None:
    def wanted(name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, rig="rig_small", plan=None, pose=Pose.from_rpy(3.0, 4.0, 0.0), piloting=None)

    (guest,) = Fleet([wanted("rover_1"), wanted("drone_1")]).guests
    assert isinstance(guest, PlannedGuest) and guest.places(0)[0][0] == pytest.approx([3.0, 4.0])

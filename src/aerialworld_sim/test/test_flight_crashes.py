"""Multirotors and what stands around them: walls, roofs, hills, ceilings, other things that move."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_sim.vehicles.interface import Contact, GoTo, Land, TakeOff, Velocity
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.surroundings import MovingBox, Surroundings

sys.path.insert(0, str(Path(__file__).parent))
from flight_runs import run as fly
from flight_runs import surroundings as around


@pytest.fixture
def block(world):
    """A building of 10 m at x = 25 … 35 on level ground."""
    world.ground_plane()
    world.box([30.0, 0, 5.0], [10.0, 40.0, 10.0])
    return world


@pytest.mark.parametrize("speed", [1.0, 4.0, 10.0])
def test_a_wall_ends_the_flight_outside_of_it(block, speed):
    vehicle = Multirotor(Pose.from_rpy(0, 0, 6), on_ground=False, surroundings=around(block))
    path = fly(vehicle, GoTo(np.array([60.0, 0, 6.0]), speed), 60.0)[:, 1:4]
    assert vehicle.contact is Contact.CRASHED and vehicle.incident.startswith("hit a building at (2")
    assert path[:, 0].max() < 25.0 - 0.05 and path[:, 0].max() > 23.5
    assert path[-1, 2] == pytest.approx(vehicle.parameters.stand, abs=0.02)
    assert np.abs(vehicle.state.linear_velocity).max() == 0.0 and not vehicle.arrived()


def test_a_corner_that_only_a_side_meets_is_hit(block):
    """The middle passes the building's side by 0.2 m, less than half of the vehicle's width."""
    for y, hit in ((20.2, True), (20.6, False)):
        vehicle = Multirotor(Pose.from_rpy(0, y, 6), on_ground=False, surroundings=around(block))
        fly(vehicle, GoTo(np.array([60.0, y, 6.0]), 6.0), 20.0)
        assert (vehicle.contact is Contact.CRASHED) == hit


def test_a_roof_can_be_landed_on_and_taken_off_from(block):
    vehicle = Multirotor(Pose.from_rpy(30, 0, 16), on_ground=False, surroundings=around(block))
    fly(vehicle, Land(1.5, 0.5, 4.0), 20.0)
    assert vehicle.contact is Contact.GROUND and vehicle.arrived() and not vehicle.incident
    assert vehicle.state.pose.position[2] == pytest.approx(10.0 + vehicle.parameters.stand)
    fly(vehicle, TakeOff(15.0), 12.0)
    assert vehicle.contact is Contact.AIR and vehicle.arrived()


def test_a_ceiling_is_hit_from_below(world):
    world.ground_plane()
    world.box([0, 0, 8.0], [10.0, 10.0, 1.0])
    vehicle = Multirotor(surroundings=around(world))
    fly(vehicle, TakeOff(20.0), 15.0)
    assert vehicle.contact is Contact.CRASHED and "hit a building" in vehicle.incident
    assert vehicle.state.pose.position[2] < 1.0


def test_a_hillside_is_hit_in_cruise(world):
    world.add([[-50, -50, 0], [20, -50, 0], [20, 50, 0], [-50, 50, 0]], [[0, 1, 2], [0, 2, 3]], 14)
    world.add([[20, -50, 0], [120, -50, 60], [120, 50, 60], [20, 50, 0]], [[0, 1, 2], [0, 2, 3]], 14)
    vehicle = Multirotor(Pose.from_rpy(0, 0, 10), on_ground=False, surroundings=around(world))
    path = fly(vehicle, GoTo(np.array([100.0, 0, 10.0]), 8.0), 20.0)[:, 1:4]
    assert vehicle.contact is Contact.CRASHED and vehicle.incident.startswith("hit the terrain at (3")
    assert path[-1, 0] == pytest.approx(20 + 10 / 0.6, abs=2.0)


def test_another_thing_that_moves_is_hit_only_where_it_is():
    def traffic(stamp_ns: int) -> list[MovingBox]:
        return [MovingBox("drone_2", Pose.from_rpy(20.0 - 2e-9 * stamp_ns, 0, 10), np.array([0.6, 0.6, 0.3]))]

    for y, hit in ((0.0, True), (3.0, False)):
        vehicle = Multirotor(Pose.from_rpy(0, y, 10), on_ground=False, surroundings=Surroundings(obstacles=traffic))
        fly(vehicle, Velocity(np.array([4.0, 0, 0])), 8.0)
        assert vehicle.incident.startswith("hit drone_2") == hit


def test_a_box_knows_its_distance():
    box = MovingBox("b", Pose.from_rpy(10, 0, 0, 0, 0, math.pi / 2), np.array([4.0, 2.0, 2.0]))
    assert box.distance((10.0, 3.0, 0.0)) == pytest.approx(1.0) and box.distance((12.0, 0, 0)) == pytest.approx(1.0)
    assert box.distance((10.5, 1.5, 0.9)) == 0.0
    assert box.distance((12.0, 3.0, 2.0)) == pytest.approx(math.sqrt(3.0))

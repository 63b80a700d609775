"""A copter's way home and down: RTL and LAND, as modes and as mission items."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_sim.autopilot.goals import Kept
from aerialworld_sim.autopilot.logic import speed_within
from aerialworld_sim.vehicles.interface import Contact, Goal, Land, Leg

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Seconds on the ground until it counts as landed and the motors stop (recorded).
SETTLED = 2.05
#: Seconds that RTL takes to find that it need not climb (recorded).
CONSIDERED = 0.5
#: Metres above home that RTL climbs to at least, however near it is.
LEAST_RTL = 2.0


class Landing:
    """Down from where the vehicle is, until it has stood on the ground for a while."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._kept = Kept()
        self._touched: float | None = None

    def goal(self) -> Goal:
        autopilot = self._autopilot
        if autopilot.vehicle.contact is not Contact.GROUND:
            self._touched = None
        elif self._touched is None:
            self._touched = autopilot.now
        parameters = autopilot.parameters
        fast = parameters["LAND_SPEED_HIGH"] or parameters["WPNAV_SPEED_DN"]
        slow, low = parameters["LAND_SPEED"] / 100.0, parameters["LAND_ALT_LOW"] / 100.0
        return self._kept.of(
            (fast, slow, low), lambda: Land(speed_within(max(fast / 100.0, slow)), speed_within(slow), low)
        )

    @property
    def done(self) -> bool:
        return self._touched is not None and self._autopilot.now - self._touched >= SETTLED


class Homecoming:
    """Up to the height of RTL, over home, a pause, and down."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._kept = Kept()
        self._landing = Landing(autopilot)
        position = autopilot.estimator.position
        self._home = np.array(autopilot.estimator.home if autopilot.estimator.home is not None else position)
        self._altitude = self._height(position)
        self._yaw = autopilot.vehicle.state.pose.yaw
        self._stage = "climb"
        self._begun_at = autopilot.now
        self._start = autopilot.vehicle.stopping_point()
        self._climb_to = np.array([self._start[0], self._start[1], self._altitude])
        self._over_home = np.array([self._home[0], self._home[1], self._altitude])
        self._there_at = 0.0

    def _height(self, position: Array) -> float:
        """Map's height of the way home: RTL_ALT above home, less near to home, never lower than the vehicle is."""
        parameters = self._autopilot.parameters
        wanted = parameters["RTL_ALT"] / 100.0
        slope = parameters["RTL_CONE_SLOPE"]
        if slope > 0:
            wanted = min(wanted, max(slope * math.dist(position[:2], self._home[:2]), LEAST_RTL))
        least = float(position[2]) + parameters["RTL_CLIMB_MIN"] / 100.0
        return max(float(self._home[2]) + wanted, least)

    @property
    def landing(self) -> bool:
        return self._stage == "land"

    @property
    def target(self) -> Array:
        return self._climb_to if self._stage == "climb" else self._over_home

    def goal(self) -> Goal:
        autopilot, vehicle = self._autopilot, self._autopilot.vehicle
        if self._stage == "climb":
            up = float(vehicle.state.pose.position[2]) >= self._altitude - 0.5
            if up and autopilot.now - self._begun_at >= CONSIDERED:
                self._stage = "return"
        elif self._stage == "return" and autopilot.arrived(self._kept.last):
            self._stage, self._there_at = "loiter", autopilot.now
        elif (
            self._stage == "loiter" and autopilot.now - self._there_at >= autopilot.parameters["RTL_LOIT_TIME"] / 1000.0
        ):
            self._stage = "land"
        if self._stage == "land":
            return self._landing.goal()
        start, place, speed = self._start, self.target, self._speed()
        if self._stage == "return":
            start = self._climb_to
        return self._kept.of(
            (self._stage == "climb", speed),
            lambda: Leg(start, place, None, speed, autopilot.waypoint_radius(), self._yaw),
        )

    def _speed(self) -> float:
        parameters = self._autopilot.parameters
        return speed_within((parameters["RTL_SPEED"] or parameters["WPNAV_SPEED"]) / 100.0)

    @property
    def done(self) -> bool:
        return self._landing.done

"""A rover's modes: what each wants of the vehicle, step by step."""

from __future__ import annotations

import math

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_sim.autopilot.logic import ModeLogic, radius_within, speed_within
from aerialworld_sim.autopilot.modes import Mode
from aerialworld_sim.autopilot.words import Severity
from aerialworld_sim.vehicles.interface import Circle, Drive, Goal, Leg


class Rover(ModeLogic):
    """Mode logic of a ground vehicle."""

    _circle: tuple[Array, float, float] | None = None
    _place: Array | None = None
    _told = False

    def default_speed(self) -> float:
        return speed_within(self.autopilot.parameters["WP_SPEED"])

    @property
    def radius(self) -> float:
        """Metres around a waypoint within which it is reached."""
        return radius_within(self.autopilot.parameters["WP_RADIUS"])

    def circle_rate(self, radius: float) -> float:
        """Radians per second around a circle: CIRC_SPEED, or the usual speed."""
        return speed_within(self.autopilot.parameters["CIRC_SPEED"] or self.speed) / radius

    def enter(self, mode: Mode) -> str:
        autopilot = self.autopilot
        if mode.name == "INITIALISING":
            return "not to be chosen"
        if mode.name == "AUTO" and not autopilot.missions.present:
            autopilot.say("No Mission. Can't set AUTO.", Severity.NOTICE)
            return "no mission"
        if mode.name in ("LOITER", "CIRCLE") and not autopilot.estimator.has_position:
            return "no position"
        if mode.name == "RTL" and autopilot.estimator.home is None:
            return "no home"
        if autopilot.mode.name == "AUTO":
            autopilot.runner.stop()
        self.fresh()
        self._told = False
        self._place = autopilot.estimator.position if mode.name == "LOITER" else autopilot.estimator.home
        self._circle = self._circle_ahead() if mode.name == "CIRCLE" else None
        if mode.name == "AUTO":
            autopilot.runner.start_or_resume()
        return ""

    def disarmed(self) -> None:
        self.guided.hold()

    def goal(self, seconds: float) -> Goal:
        autopilot, name = self.autopilot, self.autopilot.mode.name
        if name == "MANUAL":
            throttle, right = autopilot.sticks.rover()
            return self.kept.of((throttle, right), lambda: Drive(throttle, -right))
        if name == "AUTO":
            goal = autopilot.runner.goal(seconds)
            return self.brake() if goal is None or self.paused else goal
        if name == "GUIDED":
            return self.brake() if self.paused else self.guided.goal(seconds, self.speed, None, None)
        if name == "CIRCLE" and self._circle is not None:
            centre, radius, rate = self._circle
            return self.kept.of("circle", lambda: Circle(centre, radius, rate))
        if name == "RTL" and self._place is not None:
            return self._home(self._place)
        return self.brake()

    def _home(self, home: Array) -> Goal:
        autopilot = self.autopilot
        start, speed = autopilot.estimator.position, speed_within(autopilot.parameters["RTL_SPEED"] or self.speed)
        goal = self.kept.of(("home", speed), lambda: Leg(start, home, None, speed, self.radius))
        if autopilot.arrived(goal) and not self._told:
            self._told = True
            autopilot.say("Reached destination")
        return goal

    def _circle_ahead(self) -> tuple[Array, float, float]:
        parameters, state = self.autopilot.parameters, self.autopilot.vehicle.state
        radius = radius_within(parameters["CIRC_RADIUS"])
        yaw = state.pose.yaw
        centre = state.pose.position + radius * np.array([math.cos(yaw), math.sin(yaw), 0.0])
        direction = 1.0 if parameters["CIRC_DIR"] else -1.0
        return centre, radius, direction * self.circle_rate(radius)

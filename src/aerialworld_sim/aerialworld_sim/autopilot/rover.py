"""A rover's modes: what each wants of the vehicle, step by step."""

from __future__ import annotations

from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import Severity
from aerialworld_sim.autopilot.logic import ModeLogic, speed_within
from aerialworld_sim.autopilot.modes import Mode
from aerialworld_sim.vehicles.interface import Circle, Drive, Goal, Leg


class Rover(ModeLogic):
    """Mode logic of a ground vehicle."""

    _place: Array | None = None
    _told = False

    def default_speed(self) -> float:
        return speed_within(self.autopilot.parameters["WP_SPEED"])

    def circle_rate(self, radius: float) -> float:
        """Radians per second around a circle: CIRC_SPEED, or WP_SPEED, whatever speed a mission has asked for."""
        return speed_within(self.autopilot.parameters["CIRC_SPEED"] or self.default_speed()) / radius

    def homeward_speed(self) -> float:
        """RTL_SPEED, or WP_SPEED, whatever speed a mission has asked for."""
        return speed_within(self.autopilot.parameters["RTL_SPEED"] or self.default_speed())

    def change_speed(self, kind: float, speed: float) -> bool:
        """As ArduPilot's rover, only in a mode that drives by itself, and in GUIDED only on the way to a place."""
        mode = self.autopilot.mode.name
        drives = mode in ("AUTO", "RTL", "CIRCLE", "LOITER") or (mode == "GUIDED" and self.guided.target is not None)
        return drives and super().change_speed(kind, speed)

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
        self._circle = self._ahead() if mode.name == "CIRCLE" else None
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
            goal = autopilot.runner.goal()
            return self.brake() if goal is None or self.paused else goal
        if name == "GUIDED":
            return self.brake() if self.paused else self.guided.goal(seconds, self.speed, None, None)
        if name == "CIRCLE" and self._circle is not None:
            return self._circle
        if name == "RTL" and self._place is not None:
            return self._home(self._place)
        return self.brake()

    def _home(self, home: Array) -> Goal:
        autopilot = self.autopilot
        start, speed = autopilot.estimator.position, self.homeward_speed()
        goal = self.kept.of(("home", speed), lambda: Leg(start, home, None, speed, autopilot.waypoint_radius()))
        if autopilot.arrived(goal) and not self._told:
            self._told = True
            autopilot.say("Reached destination")
        return goal

    def _ahead(self) -> Circle:
        parameters = self.autopilot.parameters
        return self.circle_ahead(parameters["CIRC_RADIUS"], to_the_left=bool(parameters["CIRC_DIR"]))

"""A copter's modes: what each wants of the vehicle, step by step."""

from __future__ import annotations

import math

import numpy as np

from aerialworld_core.earth import map_of_body
from aerialworld_sim.autopilot.homecoming import Homecoming, Landing
from aerialworld_sim.autopilot.logic import ModeLogic, speed_within
from aerialworld_sim.autopilot.modes import Mode
from aerialworld_sim.vehicles.interface import Circle, Contact, Goal, GoTo, Idle, TakeOff, Velocity

#: Fastest turn of a circle, as ArduPilot limits it: half the acceleration goes into the curve.
CIRCLE_SHARE = 0.5
#: A pilot's stick: fraction around the middle that counts as none.
DEADZONE = 0.05


class Copter(ModeLogic):
    """Mode logic of a multirotor."""

    _landing: Landing | None = None
    _homecoming: Homecoming | None = None
    _takeoff_z = 0.0

    # Speeds, m/s

    def default_speed(self) -> float:
        return speed_within(self.autopilot.parameters["WPNAV_SPEED"] / 100.0)

    @property
    def climb(self) -> float:
        asked = self.asked_climb
        return asked if asked is not None else speed_within(self.autopilot.parameters["WPNAV_SPEED_UP"] / 100.0)

    @property
    def descent(self) -> float:
        asked = self.asked_descent
        return asked if asked is not None else speed_within(self.autopilot.parameters["WPNAV_SPEED_DN"] / 100.0)

    def circle_rate(self, radius: float) -> float:
        """Radians per second around a circle: CIRCLE_RATE, less where the acceleration does not allow it."""
        parameters = self.autopilot.parameters
        asked = math.radians(min(abs(parameters["CIRCLE_RATE"]), 360.0))
        acceleration = CIRCLE_SHARE * min(max(1.0, parameters["WPNAV_ACCEL"]), 1000.0) / 100.0
        return min(asked, math.sqrt(acceleration / radius))

    # Modes

    @property
    def on_ground(self) -> bool:
        return self.autopilot.vehicle.contact is not Contact.AIR

    def enter(self, mode: Mode) -> str:
        autopilot = self.autopilot
        if mode.name == "AUTO" and autopilot.armed:
            if not autopilot.missions.present:
                return "init failed"
            if self.on_ground and not autopilot.runner.starts_with_takeoff():
                return "Auto: Missing Takeoff Cmd"
        leaving_auto = autopilot.mode.name == "AUTO"
        self.fresh()
        self.taking_off = self.landing = self.spooling = False
        self._landing = Landing(autopilot) if mode.name == "LAND" else None
        self._homecoming = Homecoming(autopilot) if mode.name == "RTL" else None
        self._circle = self._ahead() if mode.name == "CIRCLE" else None
        if leaving_auto:
            autopilot.runner.stop()
        if mode.name == "AUTO":
            autopilot.runner.wait_for_origin()
        return ""

    def disarmed(self) -> None:
        self.taking_off = self.spooling = self.landing = False
        self.guided.hold()

    def goal(self, seconds: float) -> Goal:
        name = self.autopilot.mode.name
        if name == "AUTO":
            return self._auto()
        self.spooling = self.taking_off and self.on_ground
        if name == "GUIDED":
            return self._guided(seconds)
        if name == "RTL" or name == "LAND":
            return self._down(name)
        if self.autopilot.mode.pilot:
            return self._sticks()
        if self.on_ground:
            return self.kept.of("idle", Idle)
        if name == "CIRCLE" and self._circle is not None:
            return self._circle
        return self.brake()

    def _auto(self) -> Goal:
        runner = self.autopilot.runner
        goal = runner.goal()
        self.taking_off, self.landing = runner.taking_off, runner.landing
        self.spooling = self.taking_off and self.on_ground
        if goal is not None and not (self.paused and not self.on_ground):
            return goal
        return self.kept.of("idle", Idle) if self.on_ground else self.brake()

    # Taking off

    def take_off(self, z: float) -> bool:
        """NAV_TAKEOFF in GUIDED, to map's height `z`; False where ArduPilot refuses without a word."""
        autopilot = self.autopilot
        if not autopilot.armed or not self.on_ground or autopilot.mode.name != "GUIDED":
            return False
        if not autopilot.estimator.has_position or z <= float(autopilot.estimator.position[2]) + 0.1:
            return False
        self._takeoff_z, self.taking_off, self.spooling = z, True, True
        return True

    def _guided(self, seconds: float) -> Goal:
        autopilot = self.autopilot
        if self.taking_off:
            z = self._takeoff_z
            goal = self.kept.of(("takeoff", z), lambda: TakeOff(z))
            if self.on_ground or not autopilot.arrived(goal):
                return goal
            self.taking_off = False
            position = autopilot.estimator.position
            self.guided.go_to(np.array([position[0], position[1], z]), autopilot.vehicle.state.pose.yaw)
        if self.on_ground:
            return self.kept.of("idle", Idle)
        if self.paused:
            return self.brake()
        setpoint = self.guided.setpoint
        if setpoint is not None and setpoint.yaw is None and setpoint.velocity is None:
            setpoint.yaw = self.yaw.value()
        elif setpoint is None and self.yaw.fixed is not None:
            yaw, place = self.yaw.fixed, autopilot.estimator.position
            return self.kept.of(("turn", yaw), lambda: GoTo(place, self.speed, yaw))
        return self.guided.goal(seconds, self.speed, self.climb, self.descent)

    def new_guided_target(self) -> None:
        super().new_guided_target()
        self.yaw.clear()

    def turn(self) -> None:
        """CONDITION_YAW has changed what the nose should do."""
        if self.guided.setpoint is not None:
            self.guided.setpoint.yaw = self.yaw.fixed
            self.guided.setpoint.yaw_rate = None

    # Coming down

    def _down(self, name: str) -> Goal:
        way = self._homecoming if name == "RTL" else self._landing
        assert way is not None
        goal = way.goal()
        self.landing = name == "LAND" or (self._homecoming is not None and self._homecoming.landing)
        if way.done:
            self.autopilot.landed()
        return goal

    # By hand

    def _sticks(self) -> Goal:
        """The pilot's sticks as velocities; without a remote control the throttle is at its lowest, as simulated."""
        autopilot = self.autopilot
        roll, pitch, throttle, turn = autopilot.sticks.copter()
        up = 0.0 if abs(throttle) < DEADZONE * 2 else throttle
        if self.on_ground and up <= 0:
            return self.kept.of("idle", Idle)
        parameters = autopilot.parameters
        climb = speed_within(parameters["PILOT_SPEED_UP"] / 100.0)
        sink = speed_within(parameters["PILOT_SPEED_DN"] / 100.0) if parameters["PILOT_SPEED_DN"] else climb
        vertical = up * (climb if up > 0 else sink)
        if self.on_ground:
            z = float(autopilot.estimator.position[2]) + 1.0
            return self.kept.of("takeoff", lambda: TakeOff(z))
        forward, right = (0.0 if abs(v) < DEADZONE else v * self._stick_speed() for v in (-pitch, roll))
        fastest_turn = math.radians(min(abs(parameters["PILOT_Y_RATE"]), 360.0))
        rate = 0.0 if abs(turn) < DEADZONE else -turn * fastest_turn
        yaw = autopilot.vehicle.state.pose.yaw if (forward or right) else 0.0
        velocity = map_of_body(yaw, forward, right, -vertical)
        return self.kept.of((*velocity.tolist(), rate), lambda: Velocity(velocity, yaw_rate=rate))

    def _stick_speed(self) -> float:
        return speed_within(self.autopilot.parameters["LOIT_SPEED"] / 100.0)

    # Circles

    def _ahead(self) -> Circle:
        parameters = self.autopilot.parameters
        return self.circle_ahead(parameters["CIRCLE_RADIUS"] / 100.0, to_the_left=parameters["CIRCLE_RATE"] < 0)

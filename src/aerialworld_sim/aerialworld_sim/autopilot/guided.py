"""Setpoints of GUIDED: SET_POSITION_TARGET_LOCAL_NED and _GLOBAL_INT in every frame and mask that ArduPilot takes.

Whatever it does not take (a place beyond the fence, a mask without sense, numbers that are none) is met with silence,
as there: a client sees it only by nothing moving.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aerialworld_core.earth import map_of_body, map_of_ned, on_earth, wrapped, yaw_of_heading
from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import GLOBAL_FRAMES, Frame, Severity
from aerialworld_sim.autopilot.goals import Kept
from aerialworld_sim.vehicles.interface import Brake, Goal, GoTo, Track, Velocity

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Bits of a type_mask: set means "ignore".
IGNORE_POSITION, IGNORE_VELOCITY, IGNORE_ACCELERATION, FORCE = 0x007, 0x038, 0x1C0, 0x200
IGNORE_YAW, IGNORE_YAW_RATE = 0x400, 0x800
LOCAL_FRAMES = frozenset({Frame.LOCAL_NED, Frame.LOCAL_OFFSET_NED, Frame.BODY_NED, Frame.BODY_OFFSET_NED})
BODY_FRAMES = frozenset({Frame.BODY_NED, Frame.BODY_OFFSET_NED})
#: Seconds after the last velocity at which it ends; a copter's parameter GUID_TIMEOUT, fixed in a rover.
ROVER_TIMEOUT = 3.0
#: Metres, and m/s or m/s², beyond which a setpoint is nonsense.
FARTHEST, FASTEST = 1e6, 1e3


@dataclass
class Setpoint:
    """What was asked last. `position`, `velocity`, `acceleration` (3,) in map; `forward` is a rover's speed along its
    nose."""

    position: Array | None = None
    velocity: Array | None = None
    acceleration: Array | None = None
    yaw: float | None = None
    yaw_rate: float | None = None
    forward: float | None = None
    at: float = 0.0
    stopped: bool = False


class Guided:
    """The setpoint of GUIDED and the goal that it makes."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._kept = Kept()
        self.setpoint: Setpoint | None = None

    def hold(self) -> None:
        """No setpoint: stop and stay."""
        self.setpoint = None

    @property
    def target(self) -> Array | None:
        """The place (3,) that is gone to or followed, if there is one."""
        return None if self.setpoint is None else self.setpoint.position

    def go_to(self, position: Array, yaw: float | None = None) -> bool:
        """Go to a place (3,) of map; False when it lies beyond the fence."""
        if self._autopilot.fence.outside(position):
            return False
        self.setpoint = Setpoint(position=position, yaw=yaw, at=self._autopilot.now)
        return True

    # Messages

    def local(self, message: Any) -> None:
        """SET_POSITION_TARGET_LOCAL_NED."""
        if message.coordinate_frame not in LOCAL_FRAMES or not self._listens():
            return
        place = self._local_place(message) if self._gives_position(message) else None
        self._take(message, place, message.coordinate_frame in BODY_FRAMES, accelerates=True)

    def on_earth(self, message: Any) -> None:
        """SET_POSITION_TARGET_GLOBAL_INT, of which ArduCopter takes no acceleration."""
        if message.coordinate_frame not in GLOBAL_FRAMES or not self._listens():
            return
        place = None
        if self._gives_position(message):
            if not on_earth(message.lat_int, message.lon_int):
                return
            place = np.zeros(3)
            place[:2] = self._autopilot.earth.map_of(message.lat_int, message.lon_int)
            place[2] = self._autopilot.missions.height(message.coordinate_frame, message.alt, place)
        self._take(message, place, body=False, accelerates=False)

    def _listens(self) -> bool:
        autopilot = self._autopilot
        return autopilot.mode.name == "GUIDED" and autopilot.estimator.has_position and not autopilot.modes.spooling

    @staticmethod
    def _gives_position(message: Any) -> bool:
        return not message.type_mask & IGNORE_POSITION

    def _local_place(self, message: Any) -> Array | None:
        origin = self._autopilot.estimator.origin
        offset = (message.x, message.y, message.z)
        if message.coordinate_frame in BODY_FRAMES:
            return self._autopilot.estimator.position + self._turned(offset)
        if message.coordinate_frame == Frame.LOCAL_OFFSET_NED:
            return self._autopilot.estimator.position + map_of_ned(*offset)
        return None if origin is None else origin + map_of_ned(*offset)

    def _turned(self, body: tuple[float, float, float]) -> Array:
        """Forward, right, down as a vector of map, about the vertical alone."""
        return map_of_body(self._autopilot.vehicle.state.pose.yaw, *body)

    def _take(self, message: Any, place: Array | None, body: bool, accelerates: bool) -> None:
        mask = message.type_mask
        if mask & FORCE and (mask & IGNORE_ACCELERATION) != IGNORE_ACCELERATION:
            return
        if not (math.isfinite(message.yaw) and math.isfinite(message.yaw_rate)):
            return
        made = Setpoint(position=place, at=self._autopilot.now)
        if not mask & IGNORE_VELOCITY:
            velocity = (message.vx, message.vy, message.vz)
            made.velocity = self._turned(velocity) if body else map_of_ned(*velocity)
            if body and self._autopilot.settings.kind == "rover":
                made.forward = float(message.vx)
        accelerates = accelerates and self._autopilot.settings.kind == "drone"
        if accelerates and made.velocity is not None and not mask & (IGNORE_ACCELERATION | FORCE):
            acceleration = (message.afx, message.afy, message.afz)
            made.acceleration = self._turned(acceleration) if body else map_of_ned(*acceleration)
        if not mask & IGNORE_YAW:
            now = self._autopilot.vehicle.state.pose.yaw
            made.yaw = wrapped(now - message.yaw) if body else yaw_of_heading(message.yaw)
        elif not mask & IGNORE_YAW_RATE:
            made.yaw_rate = -float(message.yaw_rate)
        if not _sound(made):
            return
        if made.position is not None and self._autopilot.fence.outside(made.position):
            return
        nothing = made.position is None and made.velocity is None and made.yaw is None and made.yaw_rate is None
        self.setpoint = None if nothing else made
        self._autopilot.modes.new_guided_target()

    # What it makes

    def goal(self, seconds: float, speed: float, climb: float | None, descent: float | None) -> Goal:
        """The vehicle's goal for the next `seconds`. A place alone is gone to at `speed`."""
        setpoint = self.setpoint
        if setpoint is None:
            return self._kept.of("brake", Brake)
        if setpoint.velocity is not None or setpoint.yaw_rate is not None:
            self._expire(setpoint)
        if setpoint.position is not None and setpoint.velocity is not None:
            return self._follow(setpoint, seconds)
        if setpoint.position is not None:
            place, yaw = setpoint.position, setpoint.yaw
            return self._kept.of(
                ("go", id(setpoint), yaw, speed),
                lambda: GoTo(place, speed, yaw, climb_speed=climb, descent_speed=descent),
            )
        if setpoint.stopped:
            return self._kept.of("brake", Brake)
        return self._steady(setpoint)

    def _expire(self, setpoint: Setpoint) -> None:
        autopilot, drone = self._autopilot, self._autopilot.settings.kind == "drone"
        timeout = autopilot.parameters["GUID_TIMEOUT"] if drone else ROVER_TIMEOUT
        if setpoint.stopped or autopilot.now - setpoint.at < timeout:
            return
        setpoint.stopped = True
        setpoint.yaw_rate = setpoint.acceleration = None
        if not drone:
            autopilot.say("target not received last 3secs, stopping", Severity.WARNING)
        if setpoint.position is not None:
            setpoint.velocity = np.zeros(3)

    def _follow(self, setpoint: Setpoint, seconds: float) -> Goal:
        """A point that moves on with its velocity and acceleration until the next setpoint says where it is."""
        assert setpoint.position is not None and setpoint.velocity is not None
        if setpoint.acceleration is not None:
            turn = setpoint.acceleration * seconds
            setpoint.position = setpoint.position + turn * (0.5 * seconds)
            setpoint.velocity = setpoint.velocity + turn
        setpoint.position = setpoint.position + setpoint.velocity * seconds
        self._kept.clear()
        return Track(setpoint.position, setpoint.velocity, setpoint.yaw, setpoint.yaw_rate)

    def _steady(self, setpoint: Setpoint) -> Goal:
        if setpoint.forward is not None:
            # A rover's speed is along its nose, wherever that points by now.
            yaw = self._autopilot.vehicle.state.pose.yaw
            self._kept.clear()
            velocity = np.array([math.cos(yaw), math.sin(yaw), 0.0]) * setpoint.forward
            return Velocity(velocity, setpoint.yaw, setpoint.yaw_rate)
        velocity = setpoint.velocity if setpoint.velocity is not None else np.zeros(3)
        yaw_asked = setpoint.yaw
        if self._autopilot.settings.kind == "rover" and yaw_asked is None and setpoint.yaw_rate is None:
            yaw_asked = math.atan2(velocity[1], velocity[0]) if math.hypot(*velocity[:2]) > 0.01 else None
        return self._kept.of(("go", id(setpoint)), lambda: Velocity(velocity, yaw_asked, setpoint.yaw_rate))


def _sound(setpoint: Setpoint) -> bool:
    """Whether all numbers are finite and no farther or faster than anything moves."""
    bounds = ((setpoint.position, FARTHEST), (setpoint.velocity, FASTEST), (setpoint.acceleration, FASTEST))
    for vector, most in bounds:
        if vector is not None and not bool(np.all(np.abs(vector) < most)):
            return False
    values = (setpoint.yaw, setpoint.yaw_rate)
    return all(v is None or (math.isfinite(v) and abs(v) < 1e3) for v in values)

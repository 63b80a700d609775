"""What an autopilot does from power-on until it may be armed, second by second, as ArduPilot's does it in simulation.

Times are seconds after the client has connected (which is when a simulated ArduPilot starts its clock), from recordings
of ArduCopter and Rover 4.7. The estimator's own phases follow the same table, so that what is said and what is reported
agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aerialworld_core.mavlink import words
from aerialworld_core.mavlink.words import Severity

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: time_boot_ms is this much ahead of the seconds since the connection.
BOOT_LEAD = 0.09


@dataclass(frozen=True)
class Event:
    """At `at` seconds: say `text`, tell a `parameter`'s value, or do what `action` names."""

    at: float
    text: str = ""
    severity: Severity = Severity.INFO
    parameter: str = ""
    action: str = ""


@dataclass(frozen=True)
class Timeline:
    """A vehicle's start. `checks`: when its pre-arm checks can first pass without a position. `estimator`: (second, EKF
    flags) as they follow each other. `position`: from when a local position is given. `reported`: from when EKF_STATUS
    is sent. `complaints`: when unmet pre-arm checks are first told, then every 30 s."""

    events: tuple[Event, ...]
    first_heartbeat: float
    ready: float
    calm: float
    gps: float
    home: float
    origin: float
    checks: float
    reported: float
    position: float
    estimator: tuple[tuple[float, int], ...]
    complaints: float

    def flags(self, now: float) -> int:
        """EKF flags at a second, satellites given."""
        return [f for at, f in self.estimator if at <= now][-1]


def _both(at: float, text: str) -> tuple[Event, Event]:
    """The same of the two estimators that run side by side."""
    return Event(at, f"EKF3 IMU0 {text}"), Event(at, f"EKF3 IMU1 {text}")


COPTER = Timeline(
    events=(
        Event(0.12, "RCInput: decoding UDP (Pulses)", Severity.DEBUG),
        Event(0.12, parameter="ESC_CALIBRATION"),
        Event(0.23, "Calibrating barometer"),
        Event(1.83, parameter="BARO1_GND_PRESS"),
        Event(1.83, parameter="BARO2_GND_PRESS"),
        Event(1.83, "Barometer 1 calibration complete"),
        Event(1.83, "Barometer 2 calibration complete"),
        Event(2.36, action="ready"),
        Event(2.36, "ArduPilot Ready"),
        Event(2.36, "AHRS: DCM active"),
        Event(2.66, "RC7: SaveWaypoint LOW"),
        *_both(4.36, "initialised"),
        Event(4.36, "AHRS: EKF3 active"),
        *_both(5.71, "tilt alignment complete"),
        *_both(5.80, "MAG0 initial yaw alignment complete"),
        Event(9.72, "GPS 1: probing for u-blox at 230400 baud"),
        Event(9.74, "GPS 1: detected u-blox"),
        Event(19.93, action="origin"),
        Event(19.93, action="home"),
        Event(19.93, "EKF3 IMU0 origin set"),
        Event(19.96, action="field elevation"),
        Event(20.12, "EKF3 IMU1 origin set"),
        *_both(41.53, "is using GPS"),
    ),
    first_heartbeat=0.92,
    ready=2.36,
    calm=2.9,
    gps=9.8,
    home=19.93,
    origin=19.93,
    checks=23.3,
    reported=3.34,
    position=41.53,
    estimator=(
        (0.0, words.EKF_UNINITIALISED),
        (5.0, words.EKF_STARTING),
        (5.80, words.EKF_CONSTANT_POSITION),
        (41.53, words.EKF_GOOD),
    ),
    complaints=24.36,
)

ROVER = Timeline(
    events=(
        Event(0.04, parameter="BARO1_GND_PRESS"),
        Event(0.04, "Calibrating barometer"),
        Event(1.64, parameter="BARO2_GND_PRESS"),
        Event(1.64, "Barometer 1 calibration complete"),
        Event(1.64, "Barometer 2 calibration complete"),
        Event(1.65, action="early mode"),
        Event(1.66, "Beginning INS calibration. Do not move vehicle"),
        Event(2.27, "INS: alloc 6144 bytes for ISB (free=524288)", Severity.DEBUG),
        Event(2.28, action="ready"),
        Event(2.28, "ArduPilot Ready"),
        Event(2.28, "RCInput: decoding UDP (Pulses)", Severity.DEBUG),
        Event(2.28, "AHRS: DCM active"),
        *_both(4.30, "initialised"),
        *_both(5.89, "tilt alignment complete"),
        *_both(5.97, "MAG0 initial yaw alignment complete"),
        Event(9.58, "GPS 1: probing for u-blox at 230400 baud"),
        Event(9.60, "GPS 1: detected u-blox"),
        Event(10.27, action="home"),
        Event(19.78, action="origin"),
        Event(19.78, "EKF3 IMU0 origin set"),
        Event(19.78, "EKF3 IMU1 origin set"),
        Event(19.86, action="field elevation"),
        *_both(41.82, "is using GPS"),
        Event(41.82, "AHRS: EKF3 active"),
    ),
    first_heartbeat=0.90,
    ready=2.28,
    calm=0.0,
    gps=9.7,
    home=10.27,
    origin=19.78,
    checks=23.1,
    reported=3.3,
    position=10.3,
    estimator=(
        (0.0, words.EKF_UNINITIALISED),
        (5.2, words.EKF_STARTING),
        (5.97, words.EKF_CONSTANT_POSITION),
        (41.85, words.EKF_GOOD),
    ),
    complaints=45.36,
)


class Boot:
    """Works through a timeline as time passes."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.timeline = COPTER if autopilot.settings.kind == "drone" else ROVER
        self._next = 0

    @property
    def ready(self) -> bool:
        """Whether the autopilot has said that it is ready: before it, modes are lost and nothing arms."""
        return self._autopilot.now >= self.timeline.ready

    def update(self) -> None:
        events = self.timeline.events
        while self._next < len(events) and events[self._next].at <= self._autopilot.now:
            self._do(events[self._next])
            self._next += 1

    def _do(self, event: Event) -> None:
        autopilot = self._autopilot
        if event.text:
            autopilot.say(event.text, event.severity)
        elif event.parameter:
            autopilot.tell_parameter(event.parameter)
        elif event.action == "ready":
            autopilot.become_ready()
        elif event.action == "early mode":
            if autopilot.mode.name != "INITIALISING":
                autopilot.say("Flight mode change failed", Severity.WARNING)
        elif event.action == "field elevation":
            elevation = autopilot.estimator.home_altitude()
            autopilot.say(f"Field Elevation Set: {elevation:.0f}m")
        else:
            autopilot.estimator.settle(event.action)

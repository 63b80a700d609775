"""What the autopilot knows about where it is: the estimator's state, the satellite receiver, origin and home.

The estimate is the vehicle's true state (a real one is some decimetres off it); what is modelled is when it is there at
all: after the boot's phases, and without satellites (SIM_GPS1_ENABLE 0) only for as long as dead reckoning holds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.mavlink import words
from aerialworld_sim.autopilot import telemetry_home

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Seconds from the loss of the satellites to that of the position, and from their return to its return (recorded).
DEAD_RECKONING, RECOVERY = 7.17, 0.35
#: A rover notices that its place has changed while it was disarmed this much later, and makes it home.
HOME_AFTER_DISARMING = 0.3


class Estimator:
    """Position estimate, satellites, origin and home of one autopilot."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.origin: Array | None = None
        self.home: Array | None = None
        self._lost_at: float | None = None
        self._back_at: float | None = None
        self._home_due: float | None = None

    @property
    def has_satellites(self) -> bool:
        """Whether the receiver has a fix now."""
        return self._lost_at is None and self._autopilot.now >= self._autopilot.boot.timeline.gps

    @property
    def flags(self) -> int:
        """EKF_STATUS_FLAGS now."""
        autopilot = self._autopilot
        flags = autopilot.boot.timeline.flags(autopilot.now)
        if flags == words.EKF_GOOD and self._lost_position():
            return words.EKF_NO_POSITION
        return flags

    @property
    def has_position(self) -> bool:
        """Whether modes that need a position may be used in the air."""
        return self.flags == words.EKF_GOOD

    @property
    def has_local_position(self) -> bool:
        """Whether a position relative to the origin is given to clients."""
        return self._autopilot.now >= self._autopilot.boot.timeline.position and not self._lost_position()

    def update(self) -> None:
        now = self._autopilot.now
        if self._autopilot.parameters["SIM_GPS1_ENABLE"] <= 0:
            self._lost_at = now if self._lost_at is None else self._lost_at
            self._back_at = None
        elif self._lost_at is not None:
            self._back_at = now if self._back_at is None else self._back_at
            if now < self._lost_at + DEAD_RECKONING or now >= self._back_at + RECOVERY:
                self._lost_at = self._back_at = None
        if self._home_due is not None and now >= self._home_due:
            self._home_due = None
            self.set_home(self.position)

    def _lost_position(self) -> bool:
        return self._lost_at is not None and self._autopilot.now >= self._lost_at + DEAD_RECKONING

    @property
    def position(self) -> Array:
        """Where the vehicle is (3,), map."""
        return np.array(self._autopilot.vehicle.state.pose.position)

    def relative_altitude(self) -> float:
        """Metres above home; above the start while there is no home."""
        return float(self.position[2]) - self.home_z()

    def home_z(self) -> float:
        home = self.home if self.home is not None else self._autopilot.start
        return float(home[2])

    def home_altitude(self) -> float:
        """Home's metres above sea level."""
        return self._autopilot.earth.altitude_of(self.home_z())

    def settle(self, what: str) -> None:
        """The boot has come to "origin" or "home"."""
        if what == "origin":
            self.origin = self.position
        elif what == "home":
            self.set_home(self.position)
        else:
            raise ValueError(f"the boot's timeline names {what!r}")

    def set_home(self, position: Array) -> None:
        """Make a place (3,) of map home and tell every client, with the origin where there is one."""
        self.home = np.array(position)
        if self.origin is not None:
            self._autopilot.broadcast(telemetry_home.global_origin(self._autopilot))
        self._autopilot.broadcast(telemetry_home.home_position(self._autopilot))

    def home_follows_soon(self) -> None:
        """A rover was disarmed: home comes to where it stands."""
        if self.home is not None:
            self._home_due = self._autopilot.now + HOME_AFTER_DISARMING

    def ned(self, position: Array) -> tuple[float, float, float]:
        """North, east, down of a place (3,) of map from the origin; NaN while there is none."""
        if self.origin is None:
            return math.nan, math.nan, math.nan
        east, north, up = (float(v) for v in position - self.origin)
        return north, east, -up

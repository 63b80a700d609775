"""Where a copter's nose points when nothing else says so: along the way, at a fixed heading, or at a place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from aerialworld_core.earth import heading_of, wrapped, yaw_of_heading
from aerialworld_core.frames import Array

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: The nose follows a place in steps of this, so that not every step is a new goal.
ROI_STEP = math.radians(2.0)


class Yaw:
    """What was asked of the nose, by CONDITION_YAW, DO_SET_ROI or a setpoint."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.fixed: float | None = None
        self.roi: Array | None = None

    def clear(self) -> None:
        """Along the way again."""
        self.fixed = None

    def hold(self) -> None:
        """As it is now."""
        self.fixed = self._autopilot.vehicle.state.pose.yaw

    def condition(self, degrees: float, direction: float, relative: bool) -> None:
        """CONDITION_YAW: a compass heading, or so far to the right (direction −1: to the left) of the present one."""
        if relative:
            now = heading_of(self._autopilot.vehicle.state.pose.yaw)
            self.fixed = yaw_of_heading(now + math.radians(degrees) * (-1.0 if direction < 0 else 1.0))
        else:
            self.fixed = yaw_of_heading(math.radians(degrees))

    def value(self) -> float | None:
        """Yaw in map, or None for "along the way". With WP_YAW_BEHAVIOR 0 the nose stays where it is."""
        if self.roi is not None:
            position = self._autopilot.vehicle.state.pose.position
            bearing = math.atan2(self.roi[1] - position[1], self.roi[0] - position[0])
            return wrapped(round(bearing / ROI_STEP) * ROI_STEP)
        if self.fixed is None and self._autopilot.parameters["WP_YAW_BEHAVIOR"] == 0:
            self.hold()
        return self.fixed

"""The battery: what the motors draw from it, and what is left.

Voltage is SIM_BATT_VOLTAGE less what the inner resistance takes; the current is proportional to the throttle, measured
on ArduPilot's own simulated vehicles (29 A hovering at 0.37, 9.4 A of a rover at speed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Amperes at full throttle, and ohms.
FULL_CURRENT = {"drone": 78.0, "rover": 20.0}
RESISTANCE = {"drone": 0.0, "rover": 0.014}
#: Seconds after the boot from which the monitor reads.
MONITORED = 2.5


class Battery:
    """State of charge of one vehicle's battery."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.current = 0.0
        self.used_mah = 0.0
        self.used_wh = 0.0

    @property
    def monitored(self) -> bool:
        """Whether its values are told, not "unknown"."""
        return self._autopilot.now >= MONITORED and self._autopilot.parameters["BATT_MONITOR"] > 0

    @property
    def voltage(self) -> float:
        full = self._autopilot.parameters["SIM_BATT_VOLTAGE"]
        return max(0.0, full - self.current * RESISTANCE[self._autopilot.settings.kind])

    @property
    def remaining(self) -> int:
        """Percent of BATT_CAPACITY that is left."""
        capacity = self._autopilot.parameters["BATT_CAPACITY"]
        return 0 if capacity <= 0 else max(0, min(100, round(100.0 * (1.0 - self.used_mah / capacity))))

    def update(self, seconds: float) -> None:
        autopilot = self._autopilot
        throttle = min(1.0, abs(autopilot.vehicle.throttle)) if autopilot.armed else 0.0
        self.current = throttle * FULL_CURRENT[autopilot.settings.kind]
        self.used_mah += self.current * seconds / 3.6
        self.used_wh += self.current * self.voltage * seconds / 3600.0

"""The remote control: RC_CHANNELS_OVERRIDE and MANUAL_CONTROL; without either, sticks as the simulation leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Channels of the simulated remote control when nobody holds it: throttle at its lowest (a copter sinks in LOITER).
AT_REST = {
    "drone": (1500, 1500, 1000, 1500, 1800, 1000, 1000, 1800),
    "rover": (1500, 1500, 1500, 1500, 1800, 1000, 1000, 1800),
}
#: Values of an override that mean "leave it" and "give it back".
IGNORE, RELEASE = 65535, 0


class Sticks:
    """Channels 1 to 8 in microseconds of pulse."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._overridden: dict[int, tuple[int, float]] = {}

    def channels(self) -> list[int]:
        """All eight now; an override lasts RC_OVERRIDE_TIME seconds."""
        autopilot = self._autopilot
        lasting = autopilot.parameters["RC_OVERRIDE_TIME"]
        values = list(AT_REST[autopilot.settings.kind])
        for channel, (value, at) in self._overridden.items():
            if lasting < 0 or autopilot.now - at <= lasting:
                values[channel] = value
        return values

    def override(self, message: Any) -> None:
        """RC_CHANNELS_OVERRIDE."""
        for channel in range(8):
            value = getattr(message, f"chan{channel + 1}_raw")
            if value == RELEASE:
                self._overridden.pop(channel, None)
            elif value != IGNORE and 800 <= value <= 2200:
                self._overridden[channel] = (value, self._autopilot.now)

    def manual(self, message: Any) -> None:
        """MANUAL_CONTROL: x forward, y right, z throttle (0 … 1000), r turn; −1000 … 1000."""
        order: list[tuple[int, int]] = [(0, message.y), (2, 2 * message.z - 1000)]
        if self._autopilot.settings.kind == "drone":
            order += [(1, -message.x), (3, message.r)]
        for channel, value in order:
            if abs(value) <= 1000:
                self._overridden[channel] = (round(1500 + value / 2), self._autopilot.now)

    def _unit(self, channel: int) -> float:
        return max(-1.0, min(1.0, (self.channels()[channel] - 1500) / 500.0))

    def copter(self) -> tuple[float, float, float, float]:
        """Roll right, pitch back, throttle (0 holds the height), turn right; each −1 … 1."""
        return self._unit(0), self._unit(1), self._unit(2), self._unit(3)

    def rover(self) -> tuple[float, float]:
        """Throttle and steering to the right; each −1 … 1."""
        return self._unit(2), self._unit(0)

"""Whether the vehicle may be armed, what it says when it may not, and when it disarms by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aerialworld_core.mavlink.words import Severity
from aerialworld_sim.vehicles.interface import Contact

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Seconds after the boot until which the accelerometers disagree.
ACCELEROMETERS = 10.0
#: Unmet checks are told this often; their bit is refreshed each second, at this part of it.
COMPLAINT_PERIOD, CHECK_PERIOD, CHECK_PHASE = 30.0, 1.0, 0.36


class Arming:
    """Pre-arm checks and the arming state of one autopilot."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.armed = False
        #: What SYS_STATUS's pre-arm bit says: refreshed once a second, in the mode of that moment.
        self.healthy = False
        self._next_check = autopilot.boot.timeline.ready - autopilot.boot.timeline.ready % 1.0 + CHECK_PHASE
        self._next_complaint = autopilot.boot.timeline.complaints
        self._idle_since: float | None = None

    def failures(self) -> list[str]:
        """Why the present mode cannot be armed in, worst first; empty when it can."""
        autopilot = self._autopilot
        if not autopilot.boot.ready:
            return ["System not initialised"]
        checked = self._sensors() + self._battery() if autopilot.parameters["ARMING_CHECK"] else []
        if autopilot.mode.position and not autopilot.estimator.has_position and not checked:
            checked.append("Need Position Estimate")
        elif autopilot.fence.wants_position() and not autopilot.estimator.has_position and not checked:
            checked.append("Fence requires position")
        if autopilot.failsafes.station_lost:
            checked.append("GCS failsafe on")
        if autopilot.vehicle.contact is Contact.CRASHED:
            checked.append(f"Vehicle crashed: {autopilot.vehicle.incident}"[:40])
        return checked

    def _sensors(self) -> list[str]:
        autopilot, timeline, found = self._autopilot, self._autopilot.boot.timeline, []
        if autopilot.now < ACCELEROMETERS:
            found.append("Accels inconsistent")
        if autopilot.estimator.home is None:
            found.append("AHRS: waiting for home")
        elif autopilot.now < timeline.checks:
            found.append("EKF attitude is bad")
        return found

    def _battery(self) -> list[str]:
        autopilot = self._autopilot
        least = max(autopilot.parameters["BATT_ARM_VOLT"], autopilot.parameters["BATT_CRT_VOLT"])
        if autopilot.battery.voltage < least:
            return ["Battery 1 below minimum arming voltage"]
        if (
            autopilot.parameters["BATT_LOW_VOLT"] > 0
            and autopilot.battery.voltage < autopilot.parameters["BATT_LOW_VOLT"]
        ):
            return ["Battery 1 low voltage failsafe"]
        return []

    def arm(self, force: bool = False) -> bool:
        """Arm if the checks allow it, or say why not."""
        autopilot = self._autopilot
        if self.armed:
            return True
        if autopilot.boot.ready and not autopilot.mode.armable and not self._auto_is_armable():
            reasons = [f"{autopilot.mode.name} mode not armable"]
        else:
            reasons = [] if force and autopilot.boot.ready else self.failures()
        for reason in reasons:
            autopilot.say(f"Arm: {reason}", Severity.CRITICAL)
        if reasons:
            return False
        self.armed, self._idle_since = True, autopilot.now
        if autopilot.settings.kind == "drone":
            autopilot.estimator.set_home(autopilot.estimator.position)
            autopilot.say("Arming motors")
        else:
            autopilot.say("Throttle armed")
        return True

    def _auto_is_armable(self) -> bool:
        autopilot = self._autopilot
        return autopilot.mode.name == "AUTO" and bool(int(autopilot.parameters["AUTO_OPTIONS"]) & 1)

    def disarm(self, force: bool = False) -> bool:
        """Disarm, unless a copter is in the air and it is not forced."""
        autopilot = self._autopilot
        if not self.armed:
            return True
        if autopilot.settings.kind == "drone" and autopilot.vehicle.contact is Contact.AIR and not force:
            return False
        self.armed = False
        autopilot.modes.disarmed()
        autopilot.runner.reset()
        if autopilot.settings.kind == "drone":
            autopilot.say("Disarming motors")
        else:
            autopilot.say("Throttle disarmed")
            autopilot.estimator.home_follows_soon()
        return True

    def complain(self) -> None:
        """Say what is unmet now (RUN_PREARM_CHECKS)."""
        for reason in self.failures():
            self._autopilot.say(f"PreArm: {reason}", Severity.CRITICAL)

    def update(self) -> None:
        autopilot = self._autopilot
        while autopilot.now >= self._next_check:
            self._next_check += CHECK_PERIOD
            self.healthy = not self.failures()
        if autopilot.now >= self._next_complaint:
            self._next_complaint += COMPLAINT_PERIOD
            if not self.armed:
                self.complain()
        self._disarm_when_idle()

    def _disarm_when_idle(self) -> None:
        """A copter that was armed and stays on the ground is disarmed after DISARM_DELAY seconds."""
        autopilot = self._autopilot
        if autopilot.settings.kind != "drone" or not self.armed:
            return
        if autopilot.vehicle.contact is not Contact.GROUND or autopilot.modes.spooling:
            self._idle_since = None
            return
        if self._idle_since is None:
            self._idle_since = autopilot.now
        delay = autopilot.parameters["DISARM_DELAY"]
        if delay > 0 and autopilot.now - self._idle_since >= delay - 0.06:
            autopilot.disarm()

"""What the autopilot does by itself when something is lost: its ground station, its position, its charge, its fence.

None of them goes back to what was done before when the cause has gone: the client must say what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aerialworld_core.mavlink.words import Severity
from aerialworld_sim.vehicles.interface import Contact

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Seconds for which the estimate must be bad, or good again, before it counts (ten checks at 10 Hz, as recorded).
ESTIMATE_CHECKED = 0.83
#: Seconds between looks at the ground station's heartbeats.
LOOK_PERIOD = 0.1


class Failsafes:
    """The failsafes of one autopilot."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.station_lost = False
        self.estimate_bad = False
        self.battery_low = False
        self.battery_critical = False
        self._heard: float | None = None
        self._estimate_since: float | None = None
        self._low_since: dict[str, float | None] = {"LOW": None, "CRT": None}

    @property
    def active(self) -> bool:
        """Whether heartbeats say "critical"."""
        return self.station_lost or self.estimate_bad or self.battery_low or self.battery_critical

    def heartbeat(self) -> None:
        """A heartbeat of MAV_GCS_SYSID has come."""
        self._heard = self._autopilot.now

    def update(self) -> None:
        self._station()
        self._estimate()
        self._battery()
        self._crash()

    def disarmed(self) -> None:
        """On the ground again: what had been set off is over, except for what still holds."""
        self.station_lost = self.battery_low = self.battery_critical = False

    # The ground station

    def _station(self) -> None:
        autopilot = self._autopilot
        if self._heard is None or not autopilot.parameters["FS_GCS_ENABLE"]:
            return
        patience = autopilot.parameters["FS_GCS_TIMEOUT"] + 0.1
        if autopilot.settings.kind == "rover":
            patience += autopilot.parameters["FS_TIMEOUT"] - 0.2
        silent = autopilot.now - self._heard
        if self.station_lost and silent < LOOK_PERIOD * 3:
            self.station_lost = False
            drone = autopilot.settings.kind == "drone"
            autopilot.say("GCS Failsafe Cleared", Severity.WARNING if drone else Severity.INFO)
        elif not self.station_lost and silent >= patience:
            self.station_lost = True
            if autopilot.armed:
                self._station_action()

    def _station_action(self) -> None:
        autopilot = self._autopilot
        if autopilot.settings.kind == "rover":
            autopilot.say("Radio Failsafe", Severity.WARNING)
            self._rover_action(int(autopilot.parameters["FS_ACTION"]))
            return
        options = int(autopilot.parameters["FS_OPTIONS"])
        if options & 2 and autopilot.mode.name == "AUTO":
            autopilot.say("GCS Failsafe - Continuing Auto Mode", Severity.WARNING)
        elif options & 16 and autopilot.mode.pilot:
            autopilot.say("GCS Failsafe - Continuing Pilot Control", Severity.WARNING)
        elif options & 8 and autopilot.modes.landing:
            autopilot.say("GCS Failsafe - Continuing Landing", Severity.WARNING)
        else:
            autopilot.say("GCS Failsafe", Severity.WARNING)
            self._copter_action("LAND" if autopilot.parameters["FS_GCS_ENABLE"] == 5 else "RTL")

    # The position

    def _estimate(self) -> None:
        autopilot = self._autopilot
        if not autopilot.armed and not self.estimate_bad:
            self._estimate_since = None
            return
        bad = not autopilot.estimator.has_position
        if bad is self.estimate_bad or (bad and autopilot.now < autopilot.boot.timeline.estimator[-1][0]):
            self._estimate_since = None
            return
        if self._estimate_since is None:
            self._estimate_since = autopilot.now
        if autopilot.now - self._estimate_since < ESTIMATE_CHECKED:
            return
        self.estimate_bad, self._estimate_since = bad, None
        if not bad:
            autopilot.say("EKF Failsafe Cleared", Severity.CRITICAL)
            return
        autopilot.say("EKF variance", Severity.CRITICAL)
        self._estimate_action(int(autopilot.parameters["FS_EKF_ACTION"]))

    def _estimate_action(self, action: int) -> None:
        autopilot = self._autopilot
        if autopilot.settings.kind == "rover":
            if action:
                self._mode("HOLD")
            return
        if not (autopilot.mode.position or action == 3):
            return
        name = "ALT_HOLD" if action == 2 else "LAND"
        self._mode(name)
        autopilot.say(f"EKF Failsafe: changed to {name} Mode", Severity.CRITICAL)

    # The battery

    def _battery(self) -> None:
        autopilot = self._autopilot
        if not autopilot.armed or not autopilot.battery.monitored:
            return
        if not self.battery_critical and self._discharged("CRT"):
            self.battery_critical = True
            self._battery_action("critical", int(autopilot.parameters["BATT_FS_CRT_ACT"]))
        elif not self.battery_low and self._discharged("LOW"):
            self.battery_low = True
            self._battery_action("low", int(autopilot.parameters["BATT_FS_LOW_ACT"]))

    def _discharged(self, which: str) -> bool:
        autopilot = self._autopilot
        battery, parameters = autopilot.battery, autopilot.parameters
        least_mah = parameters[f"BATT_{which}_MAH"]
        if least_mah > 0 and parameters["BATT_CAPACITY"] - battery.used_mah < least_mah:
            return True
        least = parameters[f"BATT_{which}_VOLT"]
        if not (least > 0 and battery.voltage < least):
            self._low_since[which] = None
            return False
        since = self._low_since[which]
        if since is None:
            since = self._low_since[which] = autopilot.now
        timer = parameters["BATT_LOW_TIMER"]
        return timer > 0 and autopilot.now - since >= timer

    def _battery_action(self, word: str, action: int) -> None:
        autopilot, battery = self._autopilot, self._autopilot.battery
        autopilot.say(f"Battery 1 is {word} {battery.voltage:.2f}V used {battery.used_mah:.0f} mAh", Severity.WARNING)
        if not action:
            return
        autopilot.say("Battery Failsafe", Severity.WARNING)
        if autopilot.settings.kind == "rover":
            self._rover_action(action)
        elif action == 5:
            autopilot.disarm(force=True)
        else:
            self._copter_action("LAND" if action == 1 else "RTL")

    # The fence and the ground

    def fence_breached(self) -> None:
        """FENCE_ACTION: 0 only tells; 1 goes home or lands; 2 lands; 4 stops or lands (a rover: 1 home, 2 holds)."""
        autopilot = self._autopilot
        action = int(autopilot.parameters["FENCE_ACTION"])
        if not action:
            return
        if autopilot.settings.kind == "rover":
            self._mode("RTL" if action == 1 else "HOLD")
        else:
            self._copter_action({2: "LAND", 4: "BRAKE"}.get(action, "RTL"))

    def _crash(self) -> None:
        autopilot = self._autopilot
        crashed = autopilot.vehicle.contact is Contact.CRASHED
        if crashed and autopilot.armed:
            incident = autopilot.vehicle.incident or "on the ground"
            autopilot.say(f"Crash: Disarming: {incident}", Severity.EMERGENCY)
            autopilot.disarm(force=True)

    # What is done

    def _copter_action(self, name: str) -> None:
        """Go into a mode; without a position for it land; on the ground disarm."""
        autopilot = self._autopilot
        if autopilot.vehicle.contact is Contact.GROUND:
            autopilot.disarm()
        elif not self._mode(name):
            self._mode("LAND")

    def _rover_action(self, action: int) -> None:
        if action in (1, 3):
            if not self._mode("RTL"):
                self._mode("HOLD")
        elif action in (2, 4):
            self._mode("HOLD")
        elif action == 5:
            self._autopilot.disarm(force=True)

    def _mode(self, name: str) -> bool:
        return self._autopilot.enter(name)

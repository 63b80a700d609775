"""What ends a mission while the vehicle is on its way: looked at during every wait, by the rules of
docs/missions_flying.md."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import Status
from aerialworld_core.route import Fence
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.site import Site
from aerialworld_missions.flying.vehicle import Vehicle

#: Vehicle and wall seconds for which a mode that nobody asked for must last, so that a text may explain it; and the
#: right mode after a warning, for the autopilot may act upon it.
GRACE, GRACE_WALL = 1.0, 0.4
#: Metres that count as progress.
PROGRESS = 1.0
#: Metres outside of the plan's fence that are still taken for inside.
FENCE_MARGIN = 2.0
#: Words of status texts, in the order in which they are looked for, and what they mean.
SIGNS = (
    ("crash", Outcome.CRASHED),
    ("fence breach", Outcome.FENCE),
    ("battery failsafe", Outcome.LOW_BATTERY),
    ("battery 1 is ", Outcome.LOW_BATTERY),
    ("failsafe", Outcome.FAILSAFE),
    ("ekf variance", Outcome.FAILSAFE),
)
#: What a text tells that ends a mission even if the autopilot does nothing about it.
ACTED_UPON = (Outcome.FENCE, Outcome.CRASHED, Outcome.LOW_BATTERY)
#: Vehicle seconds of silence in which it may have missed our heartbeats and gone away (ArduPilot waits for 5), for how
#: many wall seconds after it that explains a mode, and which modes.
MISSED, RECENT, AWAY = 3.0, 5.0, frozenset({"RTL", "LAND", "HOLD"})
#: Words of texts that tell of a danger's end or a failsafe that does nothing.
HARMLESS = ("cleared", "continuing")


@dataclass(frozen=True)
class Limits:
    """What a mission puts up with.

    link      wall seconds of silence
    battery   percent below which it turns back
    stuck     vehicle seconds without progress
    """

    link: float = 30.0
    battery: int = 15
    stuck: float = 60.0


class StationFailsafe(MissionEnded):
    """The vehicle missed our heartbeats and went away; it may be led back."""


class Guard:
    """Watches one vehicle; set as its `guard`. `interrupted` is asked whether the user wants to end, `paused` whether
    the simulation is known to stand: then silence is no sign of a lost link."""

    def __init__(
        self,
        vehicle: Vehicle,
        limits: Limits,
        interrupted: Callable[[], bool],
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._vehicle, self._limits, self._interrupted, self._paused = vehicle, limits, interrupted, paused
        #: When the link was looked at last, and wall seconds of the present silence in which the simulation stood.
        self._looked, self._stood = time.monotonic(), 0.0
        #: The vehicle's time when it was looked at last, and wall seconds for which it stands.
        self._time, self._frozen = 0.0, 0.0
        self._modes: frozenset[str] = frozenset()
        self._flying = False
        self._site: Site | None = None
        self._fence: Fence | None = None
        self._standing = 0.0
        self._read = vehicle.state.said
        self._restarts = vehicle.state.restarts
        self._signs: list[tuple[Outcome, str]] = []
        #: Since when, by both clocks, the mode is none of the right ones; and a danger is known in which it is.
        self._strange: tuple[float, float] | None = None
        self._warned: tuple[float, float] | None = None
        self._anchor: tuple[Array, float] | None = None
        self._outside: float | None = None
        #: Longest silence that has been lived through, wall seconds.
        self.longest_silence = 0.0
        #: When the last silence ended after which a vehicle may have gone away by itself (wall).
        self._silent_at = -math.inf

    def watch(
        self,
        modes: Iterable[str],
        *,
        flying: bool = False,
        site: Site | None = None,
        fence: Fence | None = None,
        standing: float = 0.0,
    ) -> None:
        """From now on these modes are right. `flying`: it is armed and makes progress, but for `standing` seconds that
        it may have been told to stand; `fence`: what it stays in. What was said before the flight is forgotten; in
        flight it still counts, for much may come at once after a silence."""
        if not (self._flying and flying):
            self._read = self._vehicle.state.said
            self._signs.clear()
        self._modes, self._flying, self._site, self._fence = frozenset(modes), flying, site, fence
        self._standing = standing
        self._strange = self._warned = self._anchor = self._outside = None

    def __call__(self) -> None:
        if self._interrupted():
            raise MissionEnded(Outcome.INTERRUPTED, "asked to stop")
        state = self._vehicle.state
        if state.heard is not None:
            self._link(state.silence)
        if state.restarts > self._restarts:
            self._restarts = state.restarts
            raise MissionEnded(Outcome.RESTARTED, "the vehicle was restarted: its clock or its boot began anew")
        if not self._modes:
            return
        self._texts()
        if self._flying and not state.armed:
            raise self._ended_by_sign(
                Outcome.CRASHED, f"the motors went off on the way{self._vehicle.said(max(self._read - 4, 0))}"
            )
        self._mode()
        if self._flying:
            self._battery()
            self._stuck()
            self._inside()

    def _link(self, silence: float) -> None:
        now, time_ = time.monotonic(), self._vehicle.state.clock.now
        passed, paused = now - self._looked, self._paused()
        if silence < passed:
            self._stood = 0.0  # something has come since
        elif paused:
            self._stood += passed
        if time_ != self._time or not self._flying:
            self._time, self._frozen = time_, 0.0
        elif not paused:
            self._frozen += passed
        self._looked = now
        silence -= self._stood
        self.longest_silence = max(self.longest_silence, silence)
        if silence * max(self._vehicle.state.clock.pace, 1.0) > MISSED:
            self._silent_at = now
        if silence > self._limits.link:
            raise MissionEnded(
                Outcome.LINK_LOST,
                f"nothing has come from the vehicle for {silence:.0f} s; what it does now is up to its own failsafe",
            )
        if self._frozen > self._limits.link:
            raise MissionEnded(
                Outcome.LINK_LOST,
                f"heartbeats come, and for {self._frozen:.0f} s no word of where it is: the autopilot hangs",
            )

    def _texts(self) -> None:
        for text in self._vehicle.state.texts_after(self._read):
            self._read = text.number
            words = text.text.lower()
            if any(word in words for word in HARMLESS):
                continue
            found = next((outcome for sign, outcome in SIGNS if sign in words), None)
            if found is not None:
                self._signs.append((found, text.text))
        if self._vehicle.state.fence_breached and self._flying and not self._signs:
            self._signs.append((Outcome.FENCE, "FENCE_STATUS tells a breach"))

    def _ended_by_sign(self, outcome: Outcome, reason: str) -> MissionEnded:
        """The end, as the texts explain it if they do."""
        if not self._signs:
            return MissionEnded(outcome, reason)
        found, text = self._signs[0]
        told = ", ".join(dict.fromkeys(t for _, t in self._signs))
        if found is Outcome.FAILSAFE and any(w in text.lower() for w in ("gcs failsafe", "radio failsafe")):
            return StationFailsafe(found, f"{told}; {reason}")
        return MissionEnded(found, f"{told}; {reason}")

    def _mode(self) -> None:
        """The mode is what it should be; or it is for long enough another one."""
        vehicle, state = self._vehicle, self._vehicle.state
        now = (state.clock.now, time.monotonic())
        if vehicle.mode in self._modes:
            self._strange = None
            if self._flying and self._signs and self._signs[0][0] in ACTED_UPON:
                self._warned = self._warned or now
                if _lasts(self._warned, now):
                    raise self._ended_by_sign(Outcome.FENCE, f"the autopilot itself stays in {vehicle.mode}")
            return
        self._strange = self._strange or now
        if not _lasts(self._strange, now):
            return
        wanted = " or ".join(sorted(self._modes))
        if not self._signs and vehicle.mode in AWAY and now[1] - self._silent_at < RECENT:
            raise StationFailsafe(
                Outcome.FAILSAFE,
                f"after a silence it has gone from {wanted} to {vehicle.mode}: it has missed our heartbeats",
            )
        if self._signs or state.status == Status.CRITICAL:
            raise self._ended_by_sign(Outcome.FAILSAFE, f"the autopilot went from {wanted} to {vehicle.mode} by itself")
        raise self._ended_by_sign(
            Outcome.TAKEN_OVER, f"the mode was changed from {wanted} to {vehicle.mode}: somebody else flies now"
        )

    def _battery(self) -> None:
        left = self._vehicle.state.battery
        if left is not None and left < self._limits.battery:
            raise MissionEnded(Outcome.LOW_BATTERY, f"{left} % are left in the battery, below {self._limits.battery} %")

    def _stuck(self) -> None:
        state = self._vehicle.state
        if self._site is None or state.place is None:
            return
        position, now = self._vehicle.position(self._site), state.clock.now
        if self._anchor is None or float(np.linalg.norm(position - self._anchor[0])) > PROGRESS:
            self._anchor = (position, now)
        elif now - self._anchor[1] > self._limits.stuck + self._standing:
            x, y, z = position
            raise MissionEnded(
                Outcome.STUCK,
                f"no progress for {now - self._anchor[1]:.0f} s at ({x:.1f}, {y:.1f}, {z:.1f})"
                f"{self._vehicle.said(max(state.said - 4, 0))}",
            )

    def _inside(self) -> None:
        if self._fence is None or self._site is None or self._vehicle.state.place is None:
            return
        position, now = self._vehicle.position(self._site), self._vehicle.state.clock.now
        if self._vehicle.kind == "rover":  # it keeps to the ground, and its own idea of the height may be off
            position = np.array([*position[:2], (self._fence.floor + self._fence.ceiling) / 2])
        if _inside(self._fence, position):
            self._outside = None
            return
        if self._outside is None:
            self._outside = now
        elif now - self._outside > GRACE:
            x, y, z = position
            raise MissionEnded(Outcome.FENCE, f"it has left the plan's fence at ({x:.1f}, {y:.1f}, {z:.1f})")


def _lasts(since: tuple[float, float], now: tuple[float, float]) -> bool:
    """Whether the grace, by the vehicle's and the wall's seconds, is over."""
    return now[0] - since[0] >= GRACE and now[1] - since[1] >= GRACE_WALL


def _inside(fence: Fence, position: Array) -> bool:
    """Whether a point (3,) is in a fence, or within the margin of it."""
    height = min(max(float(position[2]), fence.floor), fence.ceiling)
    if abs(height - float(position[2])) > FENCE_MARGIN:
        return False
    angles = np.arange(8) * (np.pi / 4)
    around = position[:2] + FENCE_MARGIN * np.column_stack([np.cos(angles), np.sin(angles)])
    tried = np.vstack([position[:2], around])
    return bool(fence.contains(np.column_stack([tried, np.full(len(tried), height)])).any())

"""A vehicle's own time, from the milliseconds since its boot that its messages carry.

A simulated vehicle's time runs faster or slower than the wall's, stands while its simulation is paused, begins anew
when it is restarted, and may jump. What is wanted is how many of its seconds have passed: `now` never goes back, and
neither a jump nor a restart counts as time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

#: Milliseconds by which messages of different kinds may come out of order; more is a restart.
DISORDER_MS = 5_000
#: A step ahead is a jump if it is longer than so many seconds and so many times what the wall clock has done.
JUMP, FASTEST = 30.0, 150.0
#: Wall seconds over which the pace is measured.
WINDOW = 0.5


class Step(Enum):
    """What a message's time was."""

    ON = "on"
    OLD = "old"
    RESTART = "restart"
    JUMP = "jump"


class VehicleClock:
    """Seconds of one vehicle's time. `wall` gives seconds of a clock that does not jump."""

    def __init__(self, wall: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._boot_ms: int | None = None
        self._at = 0.0
        self._mark: tuple[float, float] = (wall(), 0.0)
        #: Vehicle seconds that have passed since the first message.
        self.now = 0.0
        #: Vehicle seconds for each second of the wall, as last measured.
        self.pace = 1.0
        self.restarts = self.jumps = 0

    @property
    def running(self) -> bool:
        """Whether any time has been told."""
        return self._boot_ms is not None

    def note(self, boot_ms: int) -> Step:
        """A message carries this time."""
        wall = self._wall()
        if self._boot_ms is None:
            self._boot_ms, self._at, self._mark = boot_ms, wall, (wall, self.now)
            return Step.ON
        change = boot_ms - self._boot_ms
        if -DISORDER_MS <= change <= 0:
            return Step.OLD if change < 0 else Step.ON
        step, passed = Step.ON, change * 1e-3
        if change < 0:
            self.restarts += 1
            step, passed = Step.RESTART, 0.0
        elif passed > JUMP + FASTEST * (wall - self._at):
            self.jumps += 1
            step, passed = Step.JUMP, 0.0
        self._boot_ms, self._at = boot_ms, wall
        self.now += passed
        self._measure(wall, step is not Step.ON)
        return step

    def _measure(self, wall: float, broken: bool) -> None:
        since, then = self._mark
        if broken:
            self._mark = (wall, self.now)
        elif wall - since >= WINDOW:
            self.pace = (self.now - then) / (wall - since)
            self._mark = (wall, self.now)

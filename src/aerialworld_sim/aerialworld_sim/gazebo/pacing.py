"""The pace of a Gazebo that is held paused: one sensor period at a time, each only when the last has been taken.

Gazebo and its bridge wait for nobody. Who must see every frame says so on `aerialworld_core.topics.LOCKSTEP`, as to the
embedded engine; until then the next period is not asked for. No ROS here: `nodes.pacer` asks Gazebo and listens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from aerialworld_core.errors import InputError
from aerialworld_sim.nodes.lockstep import CONTINUE, STOP, WAIT, Lockstep, LockstepError

#: Wall seconds for a period's frames to be taken by a listener that has not been heard yet: until publishers and
#: subscribers have found each other, what is sent is lost, and Gazebo does not send it again.
UNHEARD = 2.0
#: How far a period may be from a whole number of physics steps, as a part of it.
_WHOLE = 1e-6


class Due(Enum):
    """What is to be done next: ask Gazebo for a period, await its answer, or await listeners."""

    STEP = "step"
    ANSWER = "answer"
    LISTENERS = "listeners"


def steps_of(period: float, step_size: float) -> int:
    """Physics steps (s each) of a sensor period (s). Raises InputError where that is no whole number."""
    steps = round(period / step_size)
    if steps < 1 or abs(steps * step_size - period) > _WHOLE * period:
        raise InputError(
            f"parameter period: {period:g} s is not a whole number of steps of {step_size:g} s, Gazebo's unit of time"
        )
    return steps


@dataclass(eq=False)
class Pacer:
    """Decides when the next sensor period is asked for; `now` is any clock of wall seconds that does not jump.

    period_ns  simulated nanoseconds of one period; every sensor has one frame in it
    timeout    wall seconds after which a listener counts as silent; `when_lost` says what then: wait, continue, stop
    """

    period_ns: int
    lockstep: Lockstep
    timeout: float = 10.0
    when_lost: str = WAIT
    #: Simulated time up to which periods have been asked for, and how many they were.
    time_ns: int = 0
    periods: int = 0
    _asked: bool = False
    _refused: bool = False
    _asked_at: float = 0.0
    _quiet_since: float = 0.0
    _told: set[str] = field(default_factory=set)

    def due(self, now: float) -> Due:
        """What is to be done next."""
        if self._asked:
            return Due.ANSWER
        if self._refused:
            return Due.STEP
        missing = self.lockstep.missing()
        unheard = [name for name in missing if not self.lockstep.has_spoken(name)]
        if missing and not (unheard and now - self._asked_at >= UNHEARD):
            return Due.LISTENERS
        return Due.STEP

    def asked(self, now: float) -> None:
        """Gazebo has been asked for a period: its frames may be there before the answer."""
        self._asked = True
        if self._refused:  # the same period once more
            self._refused = False
            return
        if not self.lockstep.missing():
            self._quiet_since = now
            self._told.clear()
        self._asked_at = now
        # Any stamp within the period is its frame's: sensors count from when they were loaded.
        self.lockstep.sent(self.time_ns + 1, now)
        self.time_ns += self.period_ns
        self.periods += 1

    def answered(self, granted: bool) -> None:
        """Gazebo's answer; a period that it refuses is due again."""
        self._asked, self._refused = False, not granted

    def acknowledge(self, listener: str, stamp_ns: int) -> None:
        """A listener has taken everything up to a stamp."""
        self.lockstep.acknowledge(listener, stamp_ns, self.time_ns)

    def silence(self, now: float) -> str | None:
        """What to warn of: a listener has kept time standing for `timeout` seconds. Each is told once per silence, and
        with `continue` given up until it is heard again. Raises LockstepError with `stop`."""
        if now - self._quiet_since < self.timeout:
            return None
        silent = [name for name in self.lockstep.missing() if name not in self._told]
        if not silent:
            return None
        self._told.update(silent)
        at = self.time_ns * 1e-9
        text = f"lockstep: {', '.join(silent)} silent for {self.timeout:g} s (at {at:.3f} s of simulated time)"
        if self.when_lost == STOP:
            raise LockstepError(f"{text}; the run stops, as lockstep_lost asks")
        if self.when_lost == CONTINUE:
            for name in silent:
                self.lockstep.give_up(name)
            return f"{text}; going on without, frames are lost"
        return f"{text}; waiting on"

"""Lockstep: time waits until its listeners have taken each frame, so it runs as fast as they do and none is lost.

A listener says on the topic `aerialworld_core.topics.LOCKSTEP` (std_msgs/Header) that it has taken everything up to a
stamp: `stamp`, and its own name as `frame_id`. Who has not, is decided here, without ROS.
"""

from __future__ import annotations

from collections.abc import Sequence

from aerialworld_core.errors import AerialWorldError

#: What to do about a listener that stays silent.
WAIT, CONTINUE, STOP = "wait", "continue", "stop"


#: Wall seconds of waiting after which a frame is sent again.
INSIST = 1.0


class LockstepError(AerialWorldError):
    """A listener stayed silent, and the run was asked to stop then."""


class Lockstep:
    """Which of `listeners` have yet to take the frame that was sent last.

    Stamps are integer nanoseconds of simulation time; `now` is any clock of wall seconds that does not jump.
    """

    def __init__(self, listeners: Sequence[str] = ()) -> None:
        self.listeners = tuple(listeners)
        self._taken: dict[str, int] = {}
        self._sent: int | None = None
        self._since = 0.0
        self._pause, self._again = INSIST, INSIST
        self._lost: set[str] = set()
        self._told: set[str] = set()

    @property
    def lost(self) -> frozenset[str]:
        """Listeners that are no longer waited for, until they are heard again."""
        return frozenset(self._lost)

    def sent(self, stamp_ns: int, now: float) -> None:
        """A frame with this stamp is out: from now on it is waited for."""
        self._sent = stamp_ns
        self.restart(now)

    def restart(self, now: float) -> None:
        """Count silence from here: time did not run meanwhile, so nobody had to speak."""
        self._since = now
        self._pause, self._again = INSIST, now + INSIST

    def rewind(self) -> None:
        """Simulation time starts anew: nothing of it has been sent or taken."""
        self._taken.clear()
        self._sent = None

    def acknowledge(self, listener: str, stamp_ns: int, time_ns: int) -> bool:
        """A listener has taken everything up to a stamp. Whether that counts: a stamp ahead of simulation time,
        `time_ns`, is left over from before a reset, and a name that is not waited for says nothing. A stamp said again
        is no news: who repeats its last one while it waits for a message is as silent as before."""
        if listener not in self.listeners or stamp_ns > time_ns:
            return False
        if stamp_ns <= self._taken.get(listener, -1):
            return True
        self._taken[listener] = stamp_ns
        self._lost.discard(listener)
        self._told.discard(listener)
        return True

    def missing(self) -> tuple[str, ...]:
        """Listeners that have not taken the last frame and are waited for."""
        if self._sent is None:
            return ()
        sent = self._sent
        return tuple(n for n in self.listeners if n not in self._lost and self._taken.get(n, -1) < sent)

    def is_due_again(self, now: float) -> bool:
        """Whether the frame should be sent once more, since somebody has kept time standing: after INSIST seconds, then
        after twice as many, and so on. A subscriber may be counted before it hears, and would miss the only message."""
        if now < self._again or not self.missing():
            return False
        self._pause *= 2
        self._again = now + self._pause
        return True

    def has_spoken(self, listener: str) -> bool:
        """Whether this listener has taken anything since time 0."""
        return listener in self._taken

    def silent(self, now: float, timeout: float) -> tuple[str, ...]:
        """Missing listeners that have kept time standing for `timeout` seconds; each is named once per silence."""
        if now - self._since < timeout:
            return ()
        names = tuple(n for n in self.missing() if n not in self._told)
        self._told.update(names)
        return names

    def overdue(self, now: float, timeout: float) -> bool:
        """Whether somebody has kept time standing for `timeout` seconds."""
        return bool(self.missing()) and now - self._since >= timeout

    def give_up(self, listener: str) -> None:
        """Wait for this listener no longer, until it is heard again."""
        self._lost.add(listener)

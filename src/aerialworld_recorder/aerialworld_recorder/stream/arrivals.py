"""What has arrived of each sensor frame, for engines in lockstep: they wait until all of a frame is taken."""

from __future__ import annotations

from collections.abc import Collection

#: Stamps whose messages are remembered, at most.
MOST_STAMPS = 64


class Arrivals:
    """Which stamps every topic has brought. A stamp that was acknowledged and comes again is acknowledged again: who
    sends it once more may not have heard, and after a reset at time 0 it is time 0 again."""

    def __init__(self, topics: Collection[str]) -> None:
        self.topics = frozenset(topics)
        self._arrived: dict[int, set[str]] = {}
        self._taken: int | None = None
        self._again = False

    def add(self, topic: str, stamp_ns: int) -> None:
        """A sensor's message is there, usable or not."""
        if topic not in self.topics:
            return
        if stamp_ns == self._taken:
            self._again = True
            return
        self._arrived.setdefault(stamp_ns, set()).add(topic)
        if len(self._arrived) > MOST_STAMPS:
            del self._arrived[next(iter(self._arrived))]

    def whole(self, gone: Collection[str] = ()) -> int | None:
        """The latest-come stamp that all topics but those in `gone` have brought; None where there is none."""
        wanted = self.topics.difference(gone)
        for stamp in reversed(self._arrived):
            if self._arrived[stamp] >= wanted:
                return stamp
        return self._taken if self._again else None

    def missing(self) -> frozenset[str]:
        """The topics that the latest-come stamp still lacks; none where all that came is acknowledged."""
        if not self._arrived:
            return frozenset()
        return self.topics - self._arrived[next(reversed(self._arrived))]

    def taken(self, stamp_ns: int) -> None:
        """A stamp is acknowledged: forget it, and what came before it."""
        known = list(self._arrived)
        for stamp in known[: known.index(stamp_ns) + 1] if stamp_ns in self._arrived else ():
            del self._arrived[stamp]
        self._taken, self._again = stamp_ns, False

"""Which messages make a frame: those nearest to a tick of simulation time, one of every sensor, within a tolerance.

Messages of different topics come in any order, and those of one topic nearly in theirs. A tick is decided when every
sensor has brought a message at it or after it and odometry and IMU reach it; it is dropped when a sensor that it lacks
is well past it, or when the run has gone on for `patience`. Ticks are decided in order. Time is the stamps' alone: no
wall clock here.

A simulation that is reset goes back on all topics. When the last messages of more than half of them are far behind what
they brought before, a new session begins with these; single messages from the past are only out of order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.sensing import VehicleState
from aerialworld_recorder.stream.channels import CALIBRATIONS, SENSORS, Channel
from aerialworld_recorder.stream.messages import ContentError, Imu, Message, Odometry
from aerialworld_recorder.stream.tracks import TWIST, VELOCITIES, ImuTrack, PoseTrack

#: Messages from the past that are kept of one topic until it is clear whether time was reset.
MAX_BACK = 16
#: Ticks that may be undecided at once; the oldest gives way.
MAX_PENDING = 64


@dataclass(frozen=True)
class Timing:
    """When frames are, in nanoseconds of simulation time.

    period_ns     from tick to tick
    tolerance_ns  how far a sensor's stamp may be from its tick; at most half a period
    patience_ns   how long after a tick its last message may come
    phase_ns      ticks are at phase + k · period; None: at the first sensor's stamp, then every period
    max_gap_ns    between two odometry messages that a pose is interpolated over
    velocity      twist or positions: see `tracks`
    reorder_ns    a message that is less behind its topic than this is out of order, never a reset; where topics keep
                  their order (lockstep) 0, and nothing is waited for that cannot come any more
    """

    period_ns: int
    tolerance_ns: int
    patience_ns: int = 1_000_000_000
    phase_ns: int | None = 0
    max_gap_ns: int = 200_000_000
    velocity: str = TWIST
    reorder_ns: int = 200_000_000

    def __post_init__(self) -> None:
        if self.period_ns < 1 or not 0 <= self.tolerance_ns <= self.period_ns // 2:
            raise InputError(
                f"a tolerance of {self.tolerance_ns} ns with frames every {self.period_ns} ns; it must be at most half"
            )
        if self.velocity not in VELOCITIES:
            raise InputError(f"velocity comes from {' or '.join(VELOCITIES)}, not {self.velocity!r}")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A whole frame: its number, its tick's stamp, a message of every sensor, the state at the tick, the IMU's samples
    since the tick before (K, 7) where there is an IMU, and the largest distance of a sensor's stamp from the tick."""

    index: int
    stamp_ns: int
    messages: dict[Channel, Message]
    state: VehicleState
    imu: NDArray[np.float64] | None
    skew_ns: int


@dataclass(frozen=True)
class Dropped:
    """A tick without a frame (`ticks` of them in a row, from `index` on), and what it lacked."""

    index: int
    stamp_ns: int
    missing: tuple[str, ...]
    ticks: int = 1


@dataclass(frozen=True)
class Restart:
    """Simulation time has jumped back: what follows belongs to a new session, whose frames count from 0 again."""

    before_ns: int
    stamp_ns: int


@dataclass(frozen=True)
class Bad:
    """A message that cannot be used; it is as if it had not come."""

    topic: str
    stamp_ns: int
    reason: str

    def __str__(self) -> str:
        return f"{self.topic} at {self.stamp_ns * 1e-9:.9f} s: {self.reason}"


Event = Bundle | Dropped | Restart | Bad


@dataclass
class TopicCounts:
    """What became of a topic's messages.

    used          in a frame
    off_tick      between frames (more sensor frames than are recorded)
    late          came when their tick was decided
    missing       ticks that lacked a message of this topic
    out_of_order  came after a later one
    duplicates    brought a stamp again
    bad           could not be used
    stale         from before a reset
    """

    received: int = 0
    used: int = 0
    off_tick: int = 0
    late: int = 0
    missing: int = 0
    out_of_order: int = 0
    duplicates: int = 0
    bad: int = 0
    stale: int = 0


@dataclass(eq=False)
class _Source:
    """One topic's course: `latest` is the greatest stamp of this run of time; `back` what came from before it last."""

    channel: Channel
    counts: TopicCounts = field(default_factory=TopicCounts)
    latest: int | None = None
    back: list[int] = field(default_factory=list)
    draining: bool = False


class Synchroniser:
    """Takes messages of `channels` one by one and says what follows from each.

    `check` looks at a sensor's message when it comes and raises ContentError for one that cannot be used. Frames are
    numbered from the first whole one; ticks before it (topics are found one after the other) are `skipped`.
    """

    def __init__(
        self,
        channels: Iterable[Channel],
        timing: Timing,
        check: Callable[[Channel, Message], None] = lambda channel, message: None,
    ) -> None:
        self.timing = timing
        self._sources = {c.topic: _Source(c) for c in channels if c.kind not in CALIBRATIONS}
        self._sensors = [s for s in self._sources.values() if s.channel.kind in SENSORS]
        self._imu_source = next((s for s in self._sources.values() if s.channel.kind == "imu"), None)
        if not self._sensors or not any(s.channel.kind == "odom" for s in self._sources.values()):
            raise InputError("a frame needs odometry and at least one sensor")
        self._check = check
        #: Ticks before the first whole frame.
        self.skipped = 0
        #: Topics that were given up at the last `expire`, until they are heard again.
        self.gone: set[str] = set()
        self._stash: list[tuple[_Source, Message]] = []
        self._begin()

    def _begin(self) -> None:
        """Nothing is known of this run of time."""
        self._phase = self.timing.phase_ns
        self._pending: dict[int, dict[_Source, Message]] = {}
        self._first: int | None = None
        self._decided: int | None = None
        self._poses = PoseTrack(self.timing.velocity, self.timing.max_gap_ns)
        self._imu = ImuTrack()

    @property
    def counts(self) -> dict[str, TopicCounts]:
        """By topic, over all runs of time."""
        return {topic: source.counts for topic, source in self._sources.items()}

    @property
    def unheard(self) -> tuple[str, ...]:
        """Topics that have brought nothing since time began."""
        return tuple(topic for topic, source in self._sources.items() if source.latest is None)

    @property
    def pending(self) -> int:
        """Ticks that have messages and are not decided."""
        return len(self._pending)

    def put(self, message: Message) -> list[Event]:
        """What follows from a message. Raises InputError for a topic that is none of the channels'."""
        source = self._sources.get(message.topic)
        if source is None:
            raise InputError(f"{message.topic} is not a topic of this vehicle")
        source.counts.received += 1
        return self._order(source, message)

    def expire(self) -> list[Event]:
        """Decide everything that has come so far, without waiting for more; what is missing is given up (`gone`)."""
        events: list[Event] = []
        horizon = self._horizon()
        while self._pending and horizon is not None:
            tick = min(self._pending)
            if self._stamp(tick) > horizon:
                break
            missing = self._missing(tick)
            self.gone |= {s.channel.topic for s in missing}
            events += self._decide(tick, missing)
        return events

    def finish(self) -> list[Event]:
        """The end: as `expire`; what has come ahead of the others is let go."""
        events = self.expire()
        self._pending.clear()
        return events

    def _order(self, source: _Source, message: Message) -> list[Event]:
        """Keep the topic's course; then take the message, unless it shows that time was reset."""
        self.gone.discard(message.topic)
        stamp = message.stamp_ns
        if source.draining:
            if source.latest is not None and stamp >= source.latest and len(source.back) < MAX_BACK:
                source.counts.stale += 1
                source.back.append(stamp)
                return []
            source.draining, source.latest = False, None
            source.back.clear()
        if source.latest is None or stamp > source.latest:
            source.latest = stamp
            self._clear_back(source)
        elif stamp == source.latest:
            source.counts.duplicates += 1
            return []
        else:
            source.back.append(stamp)
            self._stash.append((source, message))
            if self._was_reset():
                return self._restart()
            if len(source.back) >= MAX_BACK:  # its clock is right and the stamp ahead was nonsense
                source.latest = stamp
                self._clear_back(source)
            source.counts.out_of_order += 1
        return self._take(source, message)

    def _clear_back(self, source: _Source) -> None:
        if source.back:
            source.back.clear()
            self._stash = [(s, m) for s, m in self._stash if s is not source]

    def _was_reset(self) -> bool:
        heard = [s for s in self._sources.values() if s.latest is not None and not s.draining]
        behind = [s for s in heard if s.back and self._is_far_back(s, s.back[-1])]
        return 2 * len(behind) > len(heard)

    def _is_far_back(self, source: _Source, stamp: int) -> bool:
        """Whether a stamp is so far behind its topic's latest that it is of another run of time, not out of order."""
        return source.latest is not None and source.latest - stamp > self.timing.reorder_ns

    def _restart(self) -> list[Event]:
        """Decide what is left of the run of time that ends, and begin a new one with the messages that were kept of it:
        not with those that were out of order in the one that ends."""
        before = self._horizon() or 0
        events = self.finish()
        stash = [(s, m) for s, m in self._stash if self._is_far_back(s, m.stamp_ns)]
        self._stash.clear()
        events.append(Restart(before, min(m.stamp_ns for _, m in stash)))
        self.gone.clear()
        for source in self._sources.values():
            gone_back = any(self._is_far_back(source, stamp) for stamp in source.back)
            source.draining = source.latest is not None and not gone_back
            source.latest = source.latest if source.draining else None
            source.back.clear()
        self._begin()
        for source, message in stash:
            events += self._order(source, message)
        return events

    def _take(self, source: _Source, message: Message) -> list[Event]:
        try:
            if source.channel.kind in SENSORS:
                self._check(source.channel, message)
                self._assign(source, message)
            else:
                self._follow(source, message)
        except ContentError as error:
            source.counts.bad += 1
            return [Bad(message.topic, message.stamp_ns, str(error)), *self._advance()]
        return self._advance()

    def _follow(self, source: _Source, message: Message) -> None:
        """Odometry and IMU samples."""
        payload, stamp = message.load(), message.stamp_ns
        if isinstance(payload, Odometry) and source.channel.kind == "odom":
            new = self._poses.add(stamp, payload)
        elif isinstance(payload, Imu) and source.channel.kind == "imu":
            new = self._imu.add(stamp, payload)
        else:
            raise ContentError(f"a {type(payload).__name__}, where {source.channel.type} is expected")
        source.counts.used += new
        source.counts.duplicates += not new
        if not self._pending and (horizon := self._horizon()) is not None:  # what no tick can need any more
            oldest = horizon - self.timing.patience_ns - 2 * self.timing.period_ns
            self._poses.forget_before(oldest)
            self._imu.forget_before(oldest)

    def _assign(self, source: _Source, message: Message) -> None:
        """Give a sensor's message to the tick that it is near to."""
        if self._phase is None:
            self._phase = message.stamp_ns
        period = self.timing.period_ns
        tick = (message.stamp_ns - self._phase + period // 2) // period
        distance = abs(message.stamp_ns - self._stamp(tick))
        if distance > self.timing.tolerance_ns:
            source.counts.off_tick += 1
        elif self._decided is not None and tick <= self._decided:
            source.counts.late += 1
        else:
            chosen = self._pending.setdefault(tick, {})
            there = chosen.get(source)
            if there is None or distance < abs(there.stamp_ns - self._stamp(tick)):
                chosen[source] = message
            elif there.stamp_ns == message.stamp_ns:
                source.counts.duplicates += 1
            if there is not None and there.stamp_ns != message.stamp_ns:
                source.counts.off_tick += 1

    def _stamp(self, tick: int) -> int:
        return (self._phase or 0) + tick * self.timing.period_ns

    def _horizon(self) -> int | None:
        """How far time has come: the stamp that half of the topics have reached, so that no single one can be wrong
        about it."""
        stamps = sorted(s.latest for s in self._sources.values() if s.latest is not None and not s.draining)
        return stamps[(len(stamps) - 1) // 2] if stamps else None

    def _advance(self) -> list[Event]:
        """Decide the ticks that can be, in order."""
        events: list[Event] = []
        while self._pending:
            tick = min(self._pending)
            if self._is_ready(tick):
                events += self._decide(tick, self._missing(tick))
                continue
            horizon = self._horizon()
            wait = self.timing.tolerance_ns + self.timing.patience_ns
            overdue = horizon is not None and horizon > self._stamp(tick) + wait
            if not (overdue or self._is_hopeless(tick)) and len(self._pending) <= MAX_PENDING:
                break
            events += self._decide(tick, self._missing(tick))
        return events

    def _is_ready(self, tick: int) -> bool:
        """Whether nothing that may still come would change the tick, but for messages out of order."""
        stamp, chosen = self._stamp(tick), self._pending[tick]
        for source in self._sensors:
            if source.channel.topic in self.gone:
                continue
            message = chosen.get(source)
            passed = source.latest is not None and source.latest >= stamp and not source.draining
            if message is None or not (passed or message.stamp_ns == stamp):
                return False
        if not self._has_samples(stamp):
            return False
        return self._poses.covers(stamp) and self._poses.at(stamp) is not None

    def _is_hopeless(self, tick: int) -> bool:
        """Whether a sensor without a message for the tick is past it by so much that none is under way."""
        past = self._stamp(tick) + self.timing.tolerance_ns + self.timing.reorder_ns
        missing = (s for s in self._sensors if s not in self._pending[tick] and not s.draining)
        return any(s.latest is not None and s.latest > past for s in missing)

    def _has_samples(self, stamp: int) -> bool:
        """Whether the IMU's samples up to a stamp are there; those out of order are waited for while they may come."""
        if self._imu_source is None:
            return True
        latest, channel = self._imu_source.latest, self._imu_source.channel
        if not self._imu.covers(stamp) or latest is None:
            return False
        if latest > stamp + self.timing.reorder_ns:
            return True
        begin, spacing = stamp - self.timing.period_ns, round(1.5e9 / channel.rate)
        return self._imu.between(begin, stamp) is not None and self._imu.is_whole(begin, stamp, spacing)

    def _missing(self, tick: int) -> list[_Source]:
        stamp, chosen = self._stamp(tick), self._pending[tick]
        missing = [s for s in self._sensors if s not in chosen]
        for source in self._sources.values():
            if source.channel.kind == "odom" and self._poses.at(stamp) is None:
                missing.append(source)
            if source.channel.kind == "imu" and self._imu.between(stamp - self.timing.period_ns, stamp) is None:
                missing.append(source)
        return missing

    def _decide(self, tick: int, missing: list[_Source]) -> list[Event]:
        """Make the tick a frame, or drop it for what it lacks; so are ticks before it of which nothing came."""
        chosen, stamp = self._pending.pop(tick), self._stamp(tick)
        events: list[Event] = []
        if self._decided is not None and self._first is not None and tick - self._decided > 1:
            events += self._drop(self._decided + 1, list(self._sources.values()), tick - self._decided - 1)
        self._decided = tick
        state = self._poses.at(stamp)
        if missing or state is None:
            events += self._drop(tick, missing, 1)
        else:
            self._first = tick if self._first is None else self._first
            for source in chosen:
                source.counts.used += 1
            samples = self._imu.between(stamp - self.timing.period_ns, stamp) if self._imu_source else None
            messages = {source.channel: message for source, message in chosen.items()}
            skew = max(abs(m.stamp_ns - stamp) for m in messages.values())
            events.append(Bundle(tick - self._first, stamp, messages, state, samples, skew))
        self._poses.forget_before(stamp)
        self._imu.forget_before(stamp)
        return events

    def _drop(self, tick: int, missing: list[_Source], ticks: int) -> list[Event]:
        if self._first is None:
            self.skipped += ticks
            return []
        for source in missing:
            source.counts.missing += ticks
        labels = tuple(dict.fromkeys(s.channel.label for s in missing))
        return [Dropped(tick - self._first, self._stamp(tick), labels, ticks)]

"""One vehicle from messages to sessions: whoever brings messages never waits, a thread of its own does the work.

Frames wait in a queue of fixed length. When it is full the recorder is too slow: the newest frame is dropped, counted
and told (`put`), unless the source waits for `room`. After a failure nothing more is recorded; what was written stays.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.files import StorageError
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.sensing import SensorFrame
from aerialworld_recorder.recorder import FrameStats, Recorder
from aerialworld_recorder.stream.assembly import Assembler, UnusableFrame
from aerialworld_recorder.stream.channels import Channel
from aerialworld_recorder.stream.messages import Message
from aerialworld_recorder.stream.synchroniser import Bad, Bundle, Dropped, Restart, Synchroniser, Timing

#: Frames that may wait to be recorded.
QUEUE_FRAMES = 4
#: Of a row of lost ticks, how many are named one by one in the session's summary.
MOST_NAMED = 1000
_TOO_SLOW: tuple[str, ...] = ("the recorder was too slow",)


class Sessions(Protocol):
    """What begins a session: `SessionMaker`."""

    def begin(self, first: SensorFrame) -> Recorder: ...


class Listener(Protocol):
    """Who is told what happens; from the thread that does the work as well as from `put`."""

    def warn(self, text: str) -> None: ...

    def say(self, text: str) -> None: ...


#: Called after each recorded frame, on the working thread.
OnFrame = Callable[[SensorFrame, Occupancy, FrameStats], None]


class End(Enum):
    """What ends a session."""

    CLOSE = "close"
    STOP = "stop"


@dataclass(frozen=True)
class Limits:
    """max_frames per session (0: none); bytes that must stay free on the disk."""

    max_frames: int = 0
    min_free_disk: int = 0


@dataclass
class Tally:
    """Frames so far, over all sessions: recorded; dropped for want of a sensor; dropped because the recorder was too
    slow (`overrun`); messages that could not be used."""

    recorded: int = 0
    dropped: int = 0
    overrun: int = 0
    bad_messages: int = 0
    sessions: int = 0
    skew_ns: int = 0


@dataclass(frozen=True)
class _Overrun:
    index: int
    stamp_ns: int


_Work = Bundle | Dropped | _Overrun | Restart | End


class Pipeline:
    """Records one vehicle. `put` and the rest are for one thread, the source's; `close` ends the working thread.

    `on_room` is called by the working thread whenever a frame has left the queue.
    """

    def __init__(
        self,
        vehicle: str,
        channels: tuple[Channel, ...],
        timing: Timing,
        assembler: Assembler,
        sessions: Sessions,
        listener: Listener,
        *,
        limits: Limits | None = None,
        queue_frames: int = QUEUE_FRAMES,
        on_frame: OnFrame = lambda frame, occupancy, stats: None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        self.vehicle, self.tally = vehicle, Tally()
        self._channels, self._timing = channels, timing
        self._assembler, self._sessions, self._tell = assembler, sessions, listener
        self._limits, self._frames = limits or Limits(), queue_frames
        self._on_frame, self._on_room = on_frame, on_room
        self.synchroniser = self._synchroniser()
        #: The session in work, and the one before it.
        self.session: Path | None = None
        self.last_session: Path | None = None
        #: What ended the recording, if anything did.
        self.failure: AerialWorldError | None = None
        #: max_frames are recorded.
        self.full = False
        self._recorder: Recorder | None = None
        self._first = 0
        self._work: deque[_Work] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"record-{vehicle}", daemon=True)
        self._thread.start()

    def _synchroniser(self) -> Synchroniser:
        return Synchroniser(self._channels, self._timing, self._assembler.check)

    # The source's side

    def put(self, message: Message) -> None:
        """Take a message; never waits. Whole frames are dropped, and told, when there is no room for them."""
        self._handle(self.synchroniser.put(message))

    def unreadable(self, topic: str, reason: str) -> None:
        """A message of this topic has come of which not even the stamp can be read: counted, and told."""
        counts = self.synchroniser.counts[topic]
        counts.received += 1
        counts.bad += 1
        self.tally.bad_messages += 1
        self._tell.warn(f"{self.vehicle}: message not used: {topic}: {reason}")

    def give_up(self, topics: Collection[str]) -> None:
        """Time stands for want of these topics, or because begun frames leave no room: do without what is missing until
        it is heard again."""
        if topics or (self.room < 1 and self._waiting == 0):
            self.synchroniser.gone |= set(topics)
            self._handle(self.synchroniser.expire())

    def end_session(self) -> None:
        """Decide what is left, and close the session behind it; the next message begins another. Does not wait."""
        self._handle(self.synchroniser.finish())
        self.synchroniser = self._carried_on(self._synchroniser())
        self._push(End.CLOSE)

    def _carried_on(self, synchroniser: Synchroniser) -> Synchroniser:
        """With the counts so far."""
        for topic, counts in synchroniser.counts.items():
            vars(counts).update(vars(self.synchroniser.counts[topic]))
        synchroniser.skipped = self.synchroniser.skipped
        return synchroniser

    @property
    def room(self) -> int:
        """Frames that can still come, those that the synchroniser has begun included."""
        return self._frames - self._waiting - self.synchroniser.pending

    @property
    def recorder(self) -> Recorder | None:
        """What writes the session in work; for `on_frame`, on the working thread."""
        return self._recorder

    @property
    def queued(self) -> int:
        """Frames that wait to be recorded."""
        return self._waiting

    def close(self) -> None:
        """Finish what is queued, close the session, end the thread. Calling it twice does nothing more."""
        if self._thread.is_alive():
            self.end_session()
            self._push(End.STOP)
            self._thread.join()

    def _handle(self, events: list[Bad | Bundle | Dropped | Restart]) -> None:
        for event in events:
            if isinstance(event, Bad):
                self._report(event)
            elif isinstance(event, Bundle) and self._waiting >= self._frames:
                self._push(_Overrun(event.index, event.stamp_ns))
            else:
                self._push(event)

    def _report(self, bad: Bad) -> None:
        self.tally.bad_messages += 1
        self._tell.warn(f"{self.vehicle}: message not used: {bad}")

    def _push(self, work: _Work) -> None:
        with self._changed:
            self._work.append(work)
            self._waiting += isinstance(work, Bundle)
            self._changed.notify_all()

    # The working thread's side

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._work))
                work = self._work.popleft()
            try:
                if work is End.STOP:
                    return
                self._do(work)
            except AerialWorldError as error:
                self._fail(error)
            except Exception as error:  # a mistake of ours must not look like silence
                self._fail(AerialWorldError(f"{self.vehicle}: {type(error).__name__}: {error}"))
            finally:
                was_frame = isinstance(work, Bundle)
                work = End.CLOSE  # a frame's memory goes now, not when the next comes
                with self._changed:
                    self._waiting -= was_frame
                if was_frame:
                    self._on_room()

    def _do(self, work: _Work) -> None:
        if isinstance(work, Restart):
            self._close_session()
            self.full = False
            self._tell.warn(
                f"{self.vehicle}: time jumped back from {work.before_ns * 1e-9:.3f} s to {work.stamp_ns * 1e-9:.3f} s; "
                "a new session begins"
            )
        elif isinstance(work, End):
            self._close_session()
            self.full = False
        elif self.failure is not None or self.full:
            return
        elif isinstance(work, Bundle):
            self._record(work)
        else:
            self._drop(work)

    def _record(self, bundle: Bundle) -> None:
        try:
            frame, jpegs = self._assembler.frame(bundle)
        except UnusableFrame as error:
            for bad in error.bad:
                self._report(bad)
            self._drop(Dropped(bundle.index, bundle.stamp_ns, error.missing))
            return
        if self._recorder is None:
            self._recorder = self._sessions.begin(frame)
            self._first = bundle.index
            self.session = self._recorder.path
            self.tally.sessions += 1
            self._tell.say(f"{self.vehicle}: recording {self.session} from {bundle.stamp_ns * 1e-9:.3f} s")
        self._require_disk(self._recorder.path)
        stats = self._recorder.record(bundle.index - self._first, frame, jpegs)
        self.tally.recorded += stats.recorded
        self.tally.skew_ns = max(self.tally.skew_ns, bundle.skew_ns)
        if stats.recorded and self._recorder.occupancy is not None:
            self._on_frame(frame, self._recorder.occupancy, stats)
        written = bundle.index - self._first + 1
        if self._limits.max_frames and written >= self._limits.max_frames:
            self._close_session()
            self.full = True
            self._tell.say(f"{self.vehicle}: {self._limits.max_frames} frames are recorded, as max_frames asks")

    def _require_disk(self, folder: Path) -> None:
        free = shutil.disk_usage(folder).free
        if free < self._limits.min_free_disk:
            raise StorageError(
                f"{folder}: {free:,} bytes are free on that disk, fewer than min_free_disk "
                f"({self._limits.min_free_disk:,}); free some and start again"
            )

    def _drop(self, work: Dropped | _Overrun) -> None:
        """Count ticks without a frame, here and in the session's summary."""
        if isinstance(work, _Overrun):
            self.tally.overrun += 1
            missing, ticks = _TOO_SLOW, 1
        else:
            missing, ticks = work.missing, work.ticks
            self.tally.dropped += ticks
        rows = "" if ticks == 1 else f" to {work.index + ticks - 1}"
        self._tell.warn(
            f"{self.vehicle}: frame {work.index}{rows} at {work.stamp_ns * 1e-9:.3f} s dropped: "
            f"{'no ' if isinstance(work, Dropped) else ''}{', '.join(missing)}"
        )
        if self._recorder is not None:
            first = work.index - self._first
            for index in range(first, first + min(ticks, MOST_NAMED)):
                self._recorder.drop(index, missing)

    def _close_session(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is None:
            return
        self.last_session, self.session = self.session, None
        summary = recorder.close()
        self._tell.say(
            f"{self.vehicle}: {recorder.path} is closed: {summary['frames_written']} frames, "
            f"{summary['frames_dropped']} dropped"
        )

    def _fail(self, error: AerialWorldError) -> None:
        """Close what can be closed; the frames until then stay."""
        self.failure = self.failure or error
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self.last_session, self.session = self.session, None
            with contextlib.suppress(AerialWorldError):  # the first error is the one that is told
                recorder.close()
        self._tell.warn(f"{self.vehicle}: recording stopped: {error}")

"""Writing frames on one thread, so that flushing files overlaps with the next frame's rendering."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from aerialworld_core.occupancy import Occupancy
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session import SessionWriter

#: Frames that may wait (14.5 MB of voxels each, with the default grid) before `put` blocks.
QUEUE_FRAMES = 2


@dataclass(frozen=True, eq=False)
class FinishedFrame:
    """A frame ready to be written: see SessionWriter.write_frame."""

    index: int
    frame: SensorFrame
    occupancy: Occupancy
    images: Mapping[str, bytes]
    extra: Mapping[tuple[str, str], bytes]


class BackgroundWriter:
    """Hands frames in order to a SessionWriter. After an error nothing more is written; `put` and `finish` raise it."""

    def __init__(self, writer: SessionWriter) -> None:
        self._writer = writer
        self._queue: queue.Queue[FinishedFrame | None] = queue.Queue(QUEUE_FRAMES)
        self._error: BaseException | None = None
        # A daemon: if the process must end while the disk hangs, it ends; frames are committed whole or not at all.
        self._thread = threading.Thread(target=self._run, name="session-writer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is not None:
                continue  # later frames must not follow a lost one; drain so that `put` never blocks for ever
            try:
                self._writer.write_frame(item.index, item.frame, item.occupancy, item.images, item.extra)
            except BaseException as error:  # handed to the caller's thread by the next put or finish
                self._error = error

    def check(self) -> None:
        """Raise what stopped the writing, if anything did."""
        if self._error is not None:
            raise self._error

    def put(self, frame: FinishedFrame) -> None:
        """Queue a frame, waiting while the queue is full."""
        self.check()
        self._queue.put(frame)

    def finish(self) -> None:
        """Wait until every queued frame is on disk, then stop the thread. Raises as `check`; may be called twice."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self.check()

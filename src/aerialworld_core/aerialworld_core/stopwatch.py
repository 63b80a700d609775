"""CPU time by stage, for benchmarks: who asks for none pays nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager


class Stopwatch:
    """Adds up the CPU seconds that threads spend within `stage(name)`, each thread its own; from any thread."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - start
            with self._lock:
                self._seconds[name] = self._seconds.get(name, 0.0) + spent

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Count what the calling thread does within, under `name`. Stages must not be nested: inner ones count
        twice."""
        return self._timed(name)

    def read(self) -> dict[str, float]:
        """Seconds by stage since the last `read`, which starts anew."""
        with self._lock:
            seconds, self._seconds = self._seconds, {}
        return seconds


class _Idle(Stopwatch):
    def stage(self, name: str) -> AbstractContextManager[None]:
        return contextlib.nullcontext()


#: The stopwatch of everyone who was given none.
IDLE = _Idle()

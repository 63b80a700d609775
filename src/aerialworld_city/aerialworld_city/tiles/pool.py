"""Worker processes that outlive neither the conversion nor its owner, and whose death loses no work.

Processes are spawned, never forked (numerical libraries have threads). They ignore Ctrl-C, which the owner handles, and
end when the owner dies. What a dying worker (memory, a signal) takes with it is tried once more in new processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.processors import processors

#: Below this many bytes of source, starting processes costs more than they save.
SMALL_SOURCE = 32 * 1024 * 1024
_MOST_WORKERS = 8
#: How often a lost job is tried in all.
_TRIES = 2

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerDied(AerialWorldError):
    """A worker process ended twice over the same work; the message names it."""


def workers_for(asked: int | None, files: int, size: int) -> int:
    """How many processes a conversion of `size` bytes in `files` files runs in."""
    if asked is not None:
        return asked
    if size < SMALL_SOURCE:
        return 1
    return max(1, min(processors(), _MOST_WORKERS, files))


class Pool:
    """Runs jobs in `workers` processes, or here where that is 1. Use as a context; leaving it ends all processes."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(
        self,
        function: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        names: Sequence[str],
        weights: Sequence[float] | None = None,
        done: Callable[[int], None] | None = None,
    ) -> list[Result]:
        """`function` of every job, results in the jobs' order. Heavier jobs start first; `done(i)` as each ends.

        `function` and jobs must be importable and picklable. Raises what `function` raises, and WorkerDied.
        """
        tell = done or (lambda number: None)
        results: list[Any] = [None] * len(jobs)
        if self.workers <= 1 or len(jobs) <= 1:
            for number, job in enumerate(jobs):
                results[number] = function(job)
                tell(number)
            return results
        todo = sorted(range(len(jobs)), key=lambda i: -weights[i]) if weights else list(range(len(jobs)))
        for attempt in range(1, _TRIES + 1):
            under_way, waiting = self._attempt(function, jobs, todo, results, tell)
            if not under_way and not waiting:
                break
            self._end()
            if attempt == _TRIES:
                words = " or ".join(names[i] for i in sorted(under_way)[:3])
                raise WorkerDied(
                    f"a worker process was ended twice, over {words} (out of memory?); use fewer --workers, or a "
                    "smaller part of the source"
                )
            todo = under_way + waiting
        return results

    def _attempt(
        self,
        function: Callable[[Job], Result],
        jobs: Sequence[Job],
        todo: list[int],
        results: list[Any],
        tell: Callable[[int], None],
    ) -> tuple[list[int], list[int]]:
        """Run jobs, hardly more under way than there are processes. Returns nothing, or what was under way and what was
        waiting when a process died."""
        waiting = list(reversed(todo))
        under_way: dict[Future[Result], int] = {}
        ended: SimpleQueue[Future[Result]] = SimpleQueue()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < self.workers + 1:
                    future = self._submit(function, jobs[waiting[-1]])
                    under_way[future] = waiting.pop()
                    future.add_done_callback(ended.put)
                future = ended.get()
                results[under_way[future]] = future.result()
                tell(under_way.pop(future))
        except BrokenProcessPool:
            return list(under_way.values()), list(reversed(waiting))
        return [], []

    def _submit(self, function: Callable[[Job], Result], job: Job) -> Future[Result]:
        """Processes that start here inherit a blocked Ctrl-C; the owner gets it as soon as they are started."""
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.workers, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare
            )
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._executor.submit(function, job)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _end(self) -> None:
        executor, self._executor = self._executor, None
        if executor is None:
            return
        processes = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            # A worker in the middle of a job would only be waited for; what it writes appears when it is whole.
            with contextlib.suppress(Exception):
                process.terminate()
        for process in processes:
            process.join(10)


def _prepare() -> None:
    """In a new worker: Ctrl-C is the owner's, and without an owner there is no work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner = multiprocessing.parent_process()
    if owner is not None:
        threading.Thread(target=_end_with, args=(owner.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)

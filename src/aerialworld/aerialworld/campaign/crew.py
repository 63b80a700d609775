"""Worker processes that share one loaded world, and whose death costs no more than what they were at.

For each world a mother process loads the scene (arrays, textures) and forks the workers: they see her memory, which
none of them writes to, so that it is there once. She starts as a new interpreter and runs no thread, no Embree and no
compiled code herself, because a fork copies only the thread that forks. Ctrl-C is the owner's to handle; who has lost
its owner ends by itself, after finishing what it has begun to write.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aerialworld.lazy import stage
from aerialworld_core.errors import AerialWorldError

#: Seconds that workers get to end in order, before they are killed (what they have written stays valid).
GRACE = 10.0
_ORPHAN_POLL = 0.2
#: Numerical libraries start threads when they are loaded, unless told not to.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_PRELOADED = ("aerialworld_core.world", "aerialworld_core.session", "aerialworld_sim", "aerialworld_recorder")

Function = Callable[[Any, Any, Callable[[Any], None]], Any]


class WorkerDied(AerialWorldError):
    """A worker process ended in the middle of its work, by a signal or for want of memory, or could not be started."""


class Stopped(BaseException):
    """In a worker: end in order, now."""


@dataclass(frozen=True)
class Report:
    """From a worker. `kind` says what `value` is: "told" what the function told, "logged" a warning of its log, "done"
    the result, "failed" the exception (an AerialWorldError, WorkerDied among them, or MemoryError, or RuntimeError with
    what happened)."""

    task: int
    kind: str
    value: Any = None


@dataclass
class Crew:
    """The mother of one world and her workers, seen from the owner. Give tasks while `busy` is less than the number of
    processes that may run; she starts as many workers as there are tasks at a time."""

    world: Path
    busy: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.link, other = context.Pipe()
        self._process = context.Process(target=_mother, args=(other, str(self.world)), name=f"world {self.world.name}")
        before = {name: os.environ.get(name) for name in _ONE_THREAD}
        os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        other.close()

    def give(self, task: int, function: Function, argument: Any) -> None:
        """Have `function(world, argument, tell)` done in a worker."""
        self.busy.add(task)
        with contextlib.suppress(OSError):  # a mother that has died is noticed by `reports`
            self.link.send((task, function, argument))

    def reports(self) -> Iterator[Report]:
        """What has come since; a mother's death is the failure of all that was under way."""
        while True:
            try:
                if not self.link.poll():
                    return
                report: Report = self.link.recv()
            except (EOFError, OSError):
                lost, self.busy = sorted(self.busy), set()
                code = self._wait(1.0)
                for task in lost:
                    yield Report(task, "failed", WorkerDied(f"the process that holds the world {_fate(code)}"))
                self.link.close()
                return
            if report.kind in ("done", "failed"):
                self.busy.discard(report.task)
            yield report

    @property
    def alive(self) -> bool:
        return not self.link.closed

    def end(self) -> None:
        """End all processes; workers finish the frame that they are writing. Nothing is left running."""
        self.link.close()
        if self._wait(GRACE + 2.0) is None:
            self._process.kill()  # her workers notice
        self._process.join()

    def _wait(self, seconds: float) -> int | None:
        self._process.join(seconds)
        return self._process.exitcode


def _fate(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}" + (" (out of memory?)" if code == -9 else "")
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with exit code {code}"


# -- the mother ---------------------------------------------------------------------------------------------------


@dataclass
class _Worker:
    process: Any
    link: Connection
    task: int | None = None


def _mother(link: Connection, world_path: str) -> None:
    """Load the world, fork workers as tasks come, pass on what they say; ends when the owner lets go of the link."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    workers: list[_Worker] = []
    try:
        try:
            world: Any = stage("aerialworld_core.world", "load_world")(Path(world_path))
            for module in _PRELOADED:
                stage(module)
        except (AerialWorldError, MemoryError, OSError) as error:
            world = error
        waiting: deque[tuple[int, Function, Any]] = deque()
        told = False
        while True:
            ready = connection.wait([link, *(w.link for w in workers)])
            for worker in [w for w in workers if w.link in ready]:
                _hear(worker, workers, link)
            if link in ready:
                waiting.append(link.recv())
            if isinstance(world, BaseException):
                link.send(Report(waiting.popleft()[0], "failed", _portable(world)))
                continue
            short = _hand_out(world, waiting, workers, link)
            if short and not told:
                link.send(Report(waiting[0][0], "logged", f"{short}; its work waits for the others"))
                told = True
    except (EOFError, OSError):
        pass  # the owner has gone, or wants no more
    finally:
        _end(workers)


def _hand_out(
    world: Any, waiting: deque[tuple[int, Function, Any]], workers: list[_Worker], link: Connection
) -> str | None:
    """Give what waits to idle workers, and to new ones. Where none can be started it waits for those that there are,
    and the reason is returned; where there are none, it fails."""
    while waiting:
        idle = next((w for w in workers if w.task is None), None)
        try:
            idle = idle or _fork(world, workers, link)
        except OSError as error:  # too many processes or files
            why = f"a worker process could not be started: {error.strerror or error}"
            if workers:
                return why
            link.send(Report(waiting.popleft()[0], "failed", WorkerDied(why)))
            continue
        task, function, argument = waiting.popleft()
        idle.task = task
        with contextlib.suppress(OSError):  # it died since: heard on the next round
            idle.link.send((task, function, argument))
    return None


def _hear(worker: _Worker, workers: list[_Worker], link: Connection) -> None:
    """Pass on one word of a worker, or the news of its death."""
    try:
        report: Report = worker.link.recv()
    except (EOFError, OSError):
        worker.process.join()
        workers.remove(worker)
        worker.link.close()
        if worker.task is not None:
            died = WorkerDied(f"the worker process {_fate(worker.process.exitcode)}")
            link.send(Report(worker.task, "failed", died))
        return
    if report.kind in ("done", "failed"):
        worker.task = None
    link.send(report)


def _fork(world: Any, workers: list[_Worker], link: Connection) -> _Worker:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    others = [link, ours, *(w.link for w in workers)]
    process = context.Process(target=_work, args=(world, theirs, others, os.getpid()), name="worker")
    process.start()
    theirs.close()
    worker = _Worker(process, ours)
    workers.append(worker)
    return worker


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    deadline = time.monotonic() + GRACE
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()


# -- the worker ---------------------------------------------------------------------------------------------------


def _work(world: Any, link: Connection, others: list[Connection], owner: int) -> None:
    for other in others:
        other.close()
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with, args=(owner,), daemon=True).start()
    voice = _Voice(link)
    logging.getLogger().addHandler(voice)
    try:
        while True:
            voice.task, function, argument = link.recv()
            voice.say(*_done(world, voice, function, argument))
    except (EOFError, OSError):
        pass  # nobody listens any more
    except Stopped:
        os._exit(128 + signal.SIGTERM)


class _Voice(logging.Handler):
    """What a worker says to its mother, its log's warnings included; several threads may speak."""

    def __init__(self, link: Connection) -> None:
        super().__init__(logging.WARNING)
        self.task = -1
        self._link, self._turn = link, threading.Lock()

    def say(self, kind: str, value: Any) -> None:
        with self._turn:
            self._link.send(Report(self.task, kind, value))

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            self.say("logged", record.getMessage())


def _done(world: Any, voice: _Voice, function: Function, argument: Any) -> tuple[str, Any]:
    try:
        return "done", function(world, argument, lambda value: voice.say("told", value))
    except Exception as error:
        return "failed", _portable(error)


def _portable(error: BaseException) -> BaseException:
    """The error as it can be sent: of a kind that the owner knows, with its message and exit code."""
    if isinstance(error, AerialWorldError):
        known = AerialWorldError(str(error))
        known.exit_code = error.exit_code
        return known
    if isinstance(error, MemoryError):
        return MemoryError(f"not enough memory ({error})" if str(error) else "not enough memory")
    where = ""
    trace = error.__traceback__
    while trace is not None:
        where = f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return RuntimeError(f"{type(error).__name__}: {error}{where}")


def _stop(_number: int, _frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


def _end_with(owner: int) -> None:
    """Without the mother there is no work: end in order, then for certain."""
    while os.getppid() == owner:
        time.sleep(_ORPHAN_POLL)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)

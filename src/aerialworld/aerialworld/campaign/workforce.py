"""Tasks of several worlds on a fixed number of worker processes: those of a world together, no processor idle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from types import TracebackType
from typing import Any

from aerialworld.campaign.crew import Crew, Function, WorkerDied
from aerialworld_core.errors import InputError

#: How often a task is tried whose process died or had no memory left.
TRIES = 2
MAX_WORKERS = 1024


@dataclass(frozen=True)
class Task:
    """Work beside a world: `function(world, argument, tell)`. `key` names it in results."""

    key: Any
    world: Path
    function: Function
    argument: Any


@dataclass(frozen=True)
class Outcome:
    """What became of a task: its result, or the error (`error` is None where it went well)."""

    key: Any
    result: Any = None
    error: BaseException | None = None
    tries: int = 1


class Workforce:
    """Use as a context; leaving it ends all processes. The last world stays loaded from one `run` to the next."""

    def __init__(self, workers: int) -> None:
        if not 1 <= workers <= MAX_WORKERS:
            raise InputError(f"--workers: {workers} is not between 1 and {MAX_WORKERS}")
        self.workers = workers
        self._crews: dict[Path, Crew] = {}

    def __enter__(self) -> Workforce:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for crew in self._crews.values():
            crew.end()
        self._crews.clear()

    def run(
        self,
        tasks: Sequence[Task],
        *,
        told: Callable[[Any, Any], None] = lambda key, value: None,
        logged: Callable[[str], None] = lambda text: None,
    ) -> Iterator[Outcome]:
        """Outcomes as they come. A task that took its process with it, or ran out of memory, is tried once more."""
        worlds: dict[Path, deque[int]] = {}
        for number, task in enumerate(tasks):
            worlds.setdefault(task.world, deque()).append(number)
        tries = dict.fromkeys(range(len(tasks)), 0)
        left = len(tasks)
        while left:
            self._hand_out(tasks, worlds, tries)
            links = {crew.link: crew for crew in self._crews.values()}
            for link in connection.wait(list(links)):
                for report in links[link].reports():  # type: ignore[index]
                    if report.kind == "logged":
                        logged(str(report.value))
                        continue
                    task = tasks[report.task]
                    if report.kind == "told":
                        told(task.key, report.value)
                    elif report.kind == "failed" and _may_help(report.value) and tries[report.task] < TRIES:
                        worlds[task.world].appendleft(report.task)
                    else:
                        left -= 1
                        failed = report.kind == "failed"
                        yield Outcome(
                            task.key,
                            None if failed else report.value,
                            report.value if failed else None,
                            tries[report.task],
                        )

    def _hand_out(self, tasks: Sequence[Task], worlds: dict[Path, deque[int]], tries: dict[int, int]) -> None:
        """Give every free process a task: of the worlds that are loaded, then of the next one. Let go of a world that
        has no task left, unless nothing else is to be done."""
        for path in [p for p, c in self._crews.items() if not c.alive]:
            del self._crews[path]
        busy = sum(len(c.busy) for c in self._crews.values())
        for path in sorted(worlds, key=lambda p: p not in self._crews):
            while worlds[path] and busy < self.workers:
                if path not in self._crews:
                    self._let_go(worlds)
                    self._crews[path] = Crew(path)
                number = worlds[path].popleft()
                tries[number] += 1
                busy += 1
                self._crews[path].give(number, tasks[number].function, tasks[number].argument)

    def _let_go(self, worlds: dict[Path, deque[int]]) -> None:
        for path in [p for p, c in self._crews.items() if not c.busy and not worlds.get(p)]:
            self._crews.pop(path).end()


def _may_help(error: BaseException) -> bool:
    """Whether trying again may help."""
    return isinstance(error, WorkerDied | MemoryError)

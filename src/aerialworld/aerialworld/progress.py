"""Progress of long steps: a live bar with rate and remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from aerialworld.console import ERR

#: Seconds between plain lines.
PLAIN_INTERVAL = 10.0


class Meter(Protocol):
    """What a running step tells: how much is done, and optionally what it is at."""

    def update(self, done: float, text: str | None = None) -> None: ...


class _Rate(ProgressColumn):
    """Units per second since the step's start."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        if not unit or not task.elapsed or not task.completed:
            return Text("")
        done = task.completed - task.fields.get("offset", 0.0)
        return Text(f"{done / task.elapsed:.2f} {unit}/s", style="cyan")


class _BarMeter:
    def __init__(self, progress: Progress, task: int, label: str) -> None:
        self._progress, self._task, self._label = progress, task, label

    def update(self, done: float, text: str | None = None) -> None:
        description = escape(f"{self._label}: {text}" if text else self._label)
        self._progress.update(self._task, completed=done, description=description)  # type: ignore[arg-type]


class _LineMeter:
    def __init__(self, console: Console, label: str, total: float, unit: str, offset: float) -> None:
        self._console, self._label, self._total, self._unit, self._offset = console, label, total, unit, offset
        self._start = self._last = time.monotonic()

    def update(self, done: float, text: str | None = None) -> None:
        now = time.monotonic()
        if now - self._last < PLAIN_INTERVAL:
            return
        self._last = now
        share = (done - self._offset) / max(self._total - self._offset, 1e-9)
        eta = f", {(now - self._start) * (1 - share) / share:.0f} s left" if share > 0 else ""
        rate = f", {(done - self._offset) / (now - self._start):.2f} {self._unit}/s" if self._unit else ""
        self._console.print(
            escape(f"  {self._label}{': ' + text if text else ''}: {done / self._total:.0%}{rate}{eta}")
        )


@contextmanager
def meter(label: str, total: float, unit: str = "", offset: float = 0.0, console: Console = ERR) -> Iterator[Meter]:
    """A step of `total` units, `offset` of which were done before; `unit` (e.g. "frames") adds a rate."""
    if not console.is_terminal:
        console.print(escape(f"{label} …"))
        yield _LineMeter(console, label, total, unit, offset)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(escape(label), total=total, unit=unit, offset=offset, completed=offset)  # type: ignore[arg-type]
        yield _BarMeter(progress, task, label)

"""What a run tells: a curve in JSON lines, TensorBoard events, a progress line. The curve holds no clock, so that equal
runs write equal bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from aerialworld_core.files import write_bytes


class Curve:
    """`metrics.jsonl`: one object per line with `stage`, `step` (of the stage) and `run_step`."""

    def __init__(self, path: Path, resume_at: int | None) -> None:
        """Start a new file, or keep the lines up to run step `resume_at`."""
        self.path = path
        kept = ""
        if resume_at is not None and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            whole = [line for line in lines if line.endswith("}")]  # a crash can cut the last line short
            kept = "".join(f"{line}\n" for line in whole if json.loads(line)["run_step"] <= resume_at)
        write_bytes(path, kept.encode())

    def add(self, **values: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(values, allow_nan=False) + "\n")


class TensorBoard:
    """Scalars in `folder` for TensorBoard; the package is imported here alone."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=purge_step)

    def add(self, stage: str, run_step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{stage}/{name}", value, run_step)

    def close(self) -> None:
        self.writer.close()


class Progress:
    """Progress on the terminal, called as (what, fraction 0–1): a bar where rich is installed, else a line per
    tenth."""

    def __init__(self, title: str) -> None:
        self.title, self.last = title, -1
        self.bar: Any = None
        self.task: Any = None
        try:
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress
        except ImportError:
            return
        if sys.stderr.isatty():
            from rich.console import Console

            self.bar = RichProgress(
                TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=Console(stderr=True)
            )
            self.task = self.bar.add_task(title, total=1.0)
            self.bar.start()

    def __call__(self, what: str, fraction: float) -> None:
        if self.bar is not None:
            self.bar.update(self.task, completed=fraction, description=f"{self.title}: {what}")
            return
        tenth = int(fraction * 10)
        if tenth > self.last:
            self.last = tenth
            print(f"{self.title} {fraction:4.0%} {what}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()

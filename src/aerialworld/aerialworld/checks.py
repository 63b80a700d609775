"""One line of the doctor's table, and what all its sections ask of programs and versions."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "warning", "missing", "error"]


@dataclass(frozen=True)
class Check:
    """One line of the table.

    `state`: ok; warning: works, but read the advice; missing: an option is not there; error: nothing works.
    """

    name: str
    state: State
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def version_numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: '2.13.0+cpu' → (2, 13, 0)."""
    numbers = []
    for part in text.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def output_of(*command: str, seconds: float = 15.0) -> str | None:
    """First line that a program prints, or None when it is not there, fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None

"""When a run is over, and how: by its missions, or by the end of something that it needs."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass

from aerialworld.bringup.process import Process


@dataclass(frozen=True)
class Ending:
    """Why the run ends; `failed` decides the exit code."""

    reason: str
    failed: bool


class Watch:
    """Told of every process that ends, it says once whether the run is over."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self._roles = {p.name: p.role for p in processes}
        self._missions: dict[str, int] = {}
        self._over = False

    def ended(self, name: str, code: int) -> Ending | None:
        """The run's ending, if this process's end is it; None while the run goes on, or where it is over already."""
        ending = None if self._over else self._judge(name, code)
        self._over = self._over or ending is not None
        return ending

    def _judge(self, name: str, code: int) -> Ending | None:
        role = self._roles[name]
        if role == "helper":
            return None if code == 0 else Ending(f"{name} {how(code)}", True)
        if role == "required":
            return Ending(f"{name} {how(code)}", code != 0 or self._flying())
        self._missions[name] = code
        if self._flying():
            return None
        failed = [f"{mission} {how(c)}" for mission, c in self._missions.items() if c != 0]
        return Ending("; ".join(failed) or "all missions have ended", bool(failed))

    def _flying(self) -> bool:
        """Whether a mission is under way."""
        return any(role == "mission" and name not in self._missions for name, role in self._roles.items())


def how(code: int) -> str:
    """In words how a process ended; negative codes are signals."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"

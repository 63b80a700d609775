"""Which sessions a command means: folders that are sessions, and folders that hold some. Their frames as a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld.lazy import stage
from aerialworld.progress import meter
from aerialworld_core.errors import InputError

Folders = Annotated[
    list[Path], typer.Argument(help="Session folders, or folders that hold sessions.", show_default=False)
]


def sessions_in(folders: list[Path]) -> list[Path]:
    """Every session named or held by `folders`. Raises InputError for a folder without one."""
    list_sessions = stage("aerialworld_core.session", "list_sessions")
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        if (folder / "session.json").is_file() or (folder / "occupancy").is_dir():
            found.append(folder)
            continue
        inside = list(list_sessions(folder))
        if not inside:
            raise InputError(f"{folder}: holds no session (a session folder has occupancy/ and session.json)")
        found += inside
    return found


def opened(folders: list[Path]) -> list[Any]:
    """The sessions named or held by the folders."""
    session = stage("aerialworld_core.session", "Session")
    return [session.open(path) for path in sessions_in(folders)]


@contextmanager
def counted(label: str, sessions: list[Any]) -> Iterator[Callable[[], None]]:
    """A bar of the sessions' frames; what it gives is called after each."""
    done = 0
    with meter(label, sum(len(s) for s in sessions), "frames") as bar:

        def count() -> None:
            nonlocal done
            done += 1
            bar.update(done)

        yield count

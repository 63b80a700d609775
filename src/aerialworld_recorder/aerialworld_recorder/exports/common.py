"""What all exports share: a folder that appears whole, names and tokens."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.files import hidden_folder, sync_directory
from aerialworld_core.session import Session

OnFrame = Callable[[], None]


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that gets its name when the block ends without an error; otherwise it goes.

    Raises InputError when `out` is there already and is not empty, StorageError when the disk fails.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; choose another --out, or move it away")
    with hidden_folder(out) as hidden:
        yield hidden
        if out.exists():
            out.rmdir()
        os.replace(hidden, out)
        sync_directory(out.parent)


def require_distinct(sessions: list[Session]) -> list[str]:
    """The sessions' names. Raises InputError when two share one, or one has no frame."""
    names = [s.path.absolute().name for s in sessions]
    for session, name in zip(sessions, names, strict=True):
        if names.count(name) > 1:
            raise InputError(f"two sessions are called {name}; export them to folders of their own")
        if not session.frame_indices:
            raise InputError(f"{session.path}: has no finished frame")
    return names


def wxyz(quaternion: Any) -> list[float]:
    """x, y, z, w as nuScenes and Occ3D write it: w, x, y, z."""
    x, y, z, w = (float(v) for v in quaternion)
    return [w, x, y, z]


def token(*parts: object) -> str:
    """32 hexadecimal digits that are the same for the same things, as nuScenes' tokens look."""
    return hashlib.sha256("\0".join(str(p) for p in parts).encode()).hexdigest()[:32]

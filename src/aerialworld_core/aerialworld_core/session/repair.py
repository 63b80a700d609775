"""A session that was left unfinished or damaged, made whole again: what is sound stays, the rest is moved aside."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from aerialworld_core.errors import SessionError
from aerialworld_core.files import is_temporary, storage_errors
from aerialworld_core.session import layout
from aerialworld_core.session.copying import require_current
from aerialworld_core.session.lease import is_held
from aerialworld_core.session.reader import Session
from aerialworld_core.session.writer import SessionWriter


@dataclass
class Repair:
    """What a repair found and, unless it was only asked, did.

    damaged     frame number → what is wrong with it; its files were moved to `aside`
    unfinished  frames that were begun and never committed
    temporary   files of a writer that was stopped
    closed      whether session.json had to be closed
    """

    session: Path
    damaged: dict[int, list[str]] = field(default_factory=dict)
    unfinished: list[int] = field(default_factory=list)
    temporary: int = 0
    closed: bool = False
    aside: Path | None = None

    @property
    def needed(self) -> bool:
        return bool(self.damaged or self.unfinished or self.temporary or self.closed)


def repair_session(path: Path, *, dry_run: bool = False) -> Repair:
    """Take damaged frames out, delete what no frame owns, and close the session.

    Files of damaged frames are not deleted: they go to `{session}.damaged` beside it. The frames that stay are as they
    were. With `dry_run` nothing is changed. Raises SessionError when session.json itself is damaged, when another
    process is writing, or for older data, which has no hashes to tell damage by.
    """
    session = Session.open(Path(path))
    require_current(session)
    holder = is_held(session.path)
    if holder:
        raise SessionError(f"{session.path}: is being written by {holder}; repair it when that has ended")
    found = Repair(session.path)
    found.damaged = {i: damage for i in session.frame_indices if (damage := session.damage(i))}
    complete = set(session.frame_indices)
    unfinished = set()
    for folder in (session.path, *(p for p in session.path.iterdir() if p.is_dir() and not p.is_symlink())):
        for file in folder.iterdir():
            index = layout.frame_index(file) if folder != session.path else None
            found.temporary += is_temporary(file)
            if index is not None and not is_temporary(file) and index not in complete:
                unfinished.add(index)
    found.unfinished = sorted(unfinished)
    found.closed = session.meta.frames != len(complete) - len(found.damaged)
    if dry_run or not found.needed:
        return found
    if found.damaged:
        found.aside = _set_aside(session.path, sorted(found.damaged))
    writer = SessionWriter.resume(session.path)  # deletes what no frame owns
    writer.close()
    return found


def _set_aside(path: Path, frames: list[int]) -> Path:
    """Move all files of the frames out of the session; the occupancy files, which commit them, go first."""
    aside = path.with_name(f"{path.name}.damaged")
    number = 0
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged_{number:02d}")
    wanted = set(frames)
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink())
    folders.sort(key=lambda p: p.name != layout.OCCUPANCY)
    with storage_errors(aside):
        for folder in folders:
            for file in sorted(folder.iterdir()):
                if layout.frame_index(file) in wanted:
                    (aside / folder.name).mkdir(parents=True, exist_ok=True)
                    os.replace(file, aside / folder.name / file.name)
    return aside

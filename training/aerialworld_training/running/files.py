"""A run's checkpoints: `epoch_N.pth`, `latest.pth` and `best.pth`, each whole or not there."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.files import make_folder, storage_errors, sync_directory
from aerialworld_training.checkpoint import save_torch
from aerialworld_training.models.occworld.state_dict_adapter import read_torch

NAME = re.compile(r"^epoch_(\d+)\.pth$")
#: Seconds after which workers of a killed run's loader are gone, and with them their hold on its folder.
LINGERING = 10.0
log = logging.getLogger(__name__)


class RunFiles:
    """The checkpoints in a work folder, ordered by their epoch's number."""

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = Path(folder), keep

    def epochs(self) -> list[int]:
        """Epochs that have a file, ascending by number."""
        if not self.folder.is_dir():
            return []
        return sorted(int(m[1]) for f in self.folder.iterdir() if (m := NAME.match(f.name)))

    def epoch(self, number: int) -> Path:
        return self.folder / f"epoch_{number}.pth"

    @property
    def latest(self) -> Path:
        return self.folder / "latest.pth"

    @property
    def best(self) -> Path:
        return self.folder / "best.pth"

    def any(self) -> bool:
        return self.latest.exists() or bool(self.epochs())

    @contextmanager
    def held(self) -> Iterator[None]:
        """The folder, made where it is not there, for this run alone until the block ends or the process does; made in
        vain it goes again. Raises InputError when another run is at work in it or a file is in the way, StorageError
        when it cannot be made."""
        new = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        make_folder(self.folder)
        with storage_errors(self.folder):
            descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            self.lock(descriptor)
            yield
        finally:
            for folder in new:
                if any(folder.iterdir()):
                    break
                folder.rmdir()
            os.close(descriptor)

    def lock(self, descriptor: int) -> None:
        patience, told = time.monotonic() + LINGERING, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > patience:
                    raise InputError(
                        f"{self.folder}: another run is at work in it; wait for its end or choose another --work-dir"
                    ) from error
                if not told:
                    log.warning("%s: another run is at work in it; waiting %g s for its end", self.folder, LINGERING)
                    told = True
            except OSError as error:  # some network file systems know no locks
                log.warning("%s: cannot be locked against a second run: %s", self.folder, error.strerror)
                return
            time.sleep(0.2)

    def save(self, data: dict[str, Any], *, epoch: int | None = None, best: bool = False) -> None:
        """Write `latest.pth`; with `epoch` `epoch_N.pth` before it, of which the oldest go. `best` keeps it as
        `best.pth` too. Raises StorageError; what was there then stays."""
        make_folder(self.folder)
        first, *others = [
            *([self.best] if best else []), *([] if epoch is None else [self.epoch(epoch)]), self.latest
        ]  # fmt: skip
        # The latest comes last: a run that goes on from it would not write again what was still to come.
        save_torch(first, data)
        for path in others:
            self.link(first, path)
        for old in self.epochs()[: -self.keep]:
            self.epoch(old).unlink(missing_ok=True)

    def link(self, source: Path, target: Path) -> None:
        """Another name for a finished file, put in place of what had it; a copy where the system knows no links."""
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        with storage_errors(target):
            temporary.unlink(missing_ok=True)
            try:
                os.link(source, temporary)
            except OSError:
                save_torch(target, read_torch(source))
                return
            os.replace(temporary, target)
            sync_directory(target.parent)

    def newest(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest file that can be read, None if there is none; damaged ones are skipped with a warning. Raises
        InputError when there are files and none can be read."""
        paths = [self.latest] if self.latest.exists() else []
        paths += [self.epoch(n) for n in reversed(self.epochs())]
        for path in paths:
            try:
                return path, read_torch(path)
            except InputError as error:
                log.warning("skipped %s", error)
        if paths:
            raise InputError(f"{self.folder}: no checkpoint can be read; choose another --work-dir to start again")
        return None

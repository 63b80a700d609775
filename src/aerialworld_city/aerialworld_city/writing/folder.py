"""A world folder is made beside its place and takes its name when it is whole.

.{name}.partial/lock     held by the conversion under way
.{name}.partial/world    the world to be; its `.tiles` are used again by the next run after a crash or Ctrl-C
.{name}.old              the older world, for the moment in which the names change
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from aerialworld_city.kinds import KINDS
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.files import StorageError, free_space, read_json, sync_directory

MARKER = "city.json"
TILES = ".tiles"
#: What a world folder holds; an older world with anything else in it is not replaced.
WORLD_ENTRIES = frozenset(
    {"world.sdf", "models", MARKER, "conversion_report.json", "preview_top.png", "preview_oblique.png", TILES}
)
#: What a disk that takes no more says.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
_CHUNK_MODEL = re.compile(rf"(x-?\d+y-?\d+_)?({'|'.join(KINDS)})")


@dataclass(frozen=True)
class Workplace:
    """`world` is the folder to fill, `work` one for what nobody keeps, `older` the world that will be replaced."""

    world: Path
    work: Path
    older: Path | None


@contextmanager
def workplace(out: Path) -> Iterator[Workplace]:
    """A place to make the world `out` in. When the block ends well, `out` is replaced by `world`.

    An error that the block names (AerialWorldError) leaves nothing behind, nor does a full disk (StorageError); Ctrl-C
    and crashes leave the tiles that are whole. An older folder at `out` is replaced only when it is empty, or is a
    world that was converted here and holds nothing else; else InputError. So is another conversion into `out` that is
    under way.
    """
    out = Path(out)
    partial, old = out.parent / f".{out.name}.partial", out.parent / f".{out.name}.old"
    _refuse_foreign(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(partial, out)
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from error
    with lock:
        try:
            if old.exists() and not out.exists():
                old.rename(out)  # a crash came between the two names
            shutil.rmtree(old, ignore_errors=True)
            place = Workplace(partial / "world", partial / "work", out if (out / MARKER).is_file() else None)
            _keep_tiles_only(partial)
            yield place
            shutil.rmtree(place.work, ignore_errors=True)
            _sync_world(place.world)
            _swap(place.world, out, old)
        except AerialWorldError as error:
            shutil.rmtree(partial, ignore_errors=True)
            error.args = tuple(_known(a, partial, out) if isinstance(a, str) else a for a in error.args)
            raise
        except OSError as error:
            if error.errno not in _DISK:
                raise
            free = free_space(partial / "world")
            shutil.rmtree(partial, ignore_errors=True)
            raise StorageError(f"{out}: not written: {error.strerror} ({free})") from error
        shutil.rmtree(partial, ignore_errors=True)
    sync_directory(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def _known(text: str, partial: Path, out: Path) -> str:
    """A text that names the place that the user knows instead of the one beside it."""
    return text.replace(str(partial / "world"), str(out)).replace(str(partial / "work"), str(out))


def _lock(partial: Path, out: Path) -> IO[bytes]:
    """The open, locked lock file. The system frees the lock of a process that died."""
    while True:
        partial.mkdir(exist_ok=True)
        try:
            handle = open(partial / "lock", "ab")
        except FileNotFoundError:
            continue  # removed by a conversion that just ended
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            raise InputError(
                f"{out}: another conversion into this folder is under way; wait for it, or choose another folder"
            ) from None
        try:
            if os.path.samestat(os.fstat(handle.fileno()), os.stat(partial / "lock")):
                return handle
        except FileNotFoundError:
            pass  # the lock went with the conversion that held it: make another
        handle.close()


def _keep_tiles_only(partial: Path) -> None:
    """Of an interrupted conversion only tiles are used again, once they have their final name."""
    world = partial / "world"
    (world / TILES).mkdir(parents=True, exist_ok=True)
    for folder, kept in ((partial, ("lock", "world")), (world, (TILES,))):
        for entry in sorted(folder.iterdir()):
            if entry.name not in kept:
                _remove(entry)
    for entry in sorted((world / TILES).iterdir()):
        if entry.name.startswith(".") or not entry.is_dir():
            _remove(entry)
    (partial / "work").mkdir()


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _swap(world: Path, out: Path, old: Path) -> None:
    if out.exists():
        out.rename(old)
    try:
        world.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not (out.is_dir() and ((out / MARKER).is_file() or not any(out.iterdir()))):
        raise InputError(f"{out}: exists and is no world that was written here before; choose another folder")
    foreign = _foreign(out)
    if foreign:
        raise InputError(f"{foreign}: is not of the world that would be replaced; move it, or choose another folder")


def _foreign(world: Path) -> Path | None:
    """The first thing in an older world folder that no conversion wrote: a plan, a note, a model of one's own."""
    entries = sorted(world.iterdir()) if world.is_dir() else []
    for entry in entries:
        if entry.name not in WORLD_ENTRIES:
            return entry
    models = world / "models"
    own = _models_of(world)
    for model in sorted(models.iterdir()) if models.is_dir() else []:
        if model.name not in own and not _CHUNK_MODEL.fullmatch(model.name):
            return model
    return None


def _models_of(world: Path) -> set[str]:
    """Names of the models that hold its buildings."""
    try:
        buildings = read_json(world / MARKER)["buildings"]
        return {str(b["model"]) for b in buildings}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def sync_tree(*folders: Path) -> None:
    """Flush all files and folders below some folders to disk; side by side, because each waits for the disk."""
    paths = [os.path.join(place, name) for f in folders for place, _, names in os.walk(f) for name in (*names, "")]
    list(_flushers(os.getpid()).map(_sync, paths))


@cache
def _flushers(process: int) -> ThreadPoolExecutor:
    """Threads of this process, started once: a square has few files, a city many squares. A forked process has none of
    its parent's threads and starts its own."""
    return ThreadPoolExecutor(16, "flush")


def _sync_world(world: Path) -> None:
    """Flush a world; its models and tiles have been flushed by those who wrote them, but not their names."""
    for folder in (world, world / "models", world / TILES):
        if folder.is_dir():
            for path in sorted(p for p in folder.iterdir() if p.is_file()):
                _sync(path)
            sync_directory(folder)


def _sync(path: Path | str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

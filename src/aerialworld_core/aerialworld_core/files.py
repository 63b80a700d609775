"""Writing files so that a crash leaves the old state or the new, and reading JSON with a size limit.

Every write goes to a hidden temporary file beside its place (`.{name}.{pid}.{thread}.tmp`), is flushed to disk and then
renamed: a reader never sees half a file under a final name. A failed flush is never retried as if it had succeeded
(after a failed fsync the system may already have dropped the data): the write fails and the caller decides.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from aerialworld_core.errors import AerialWorldError, InputError

MAX_JSON_BYTES = 256 * 1024 * 1024
TEMPORARY_SUFFIX = ".tmp"
_BLOCK = 1024 * 1024


class StorageError(AerialWorldError):
    """The system could not store a file: no space, quota, I/O error, read-only or missing folder. Old data stays."""

    exit_code = 28


def write_bytes(path: Path, data: bytes | memoryview, *more: bytes | memoryview, sync: bool = True) -> None:
    """Write `data` (and `more` behind it) beside `path`, flush it to disk and rename it into place; the temporary file
    never survives.

    With `sync` the file and its folder entry are durable on return. Raises StorageError (path, reason, free bytes); the
    old content is then untouched, except where only the folder's flush failed: then it is whole, old or new.
    """
    path = Path(path)
    with storage_errors(path):
        temporary = _stage(path, data, *more, sync=sync)
        try:
            os.replace(temporary, path)
        except BaseException:
            _discard(temporary)
            raise
        if sync:
            sync_directory(path.parent)


@contextlib.contextmanager
def write_stream(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that is written bit by bit under a temporary name beside `path` and appears under its own when the block
    ends without an error; otherwise it goes and what was there stays. Raises StorageError."""
    path = Path(path)
    temporary = _temporary(path)
    try:
        with storage_errors(path):
            with open(temporary, "w+b") as handle:
                yield handle
                handle.flush()
                if sync:
                    os.fsync(handle.fileno())
            os.replace(temporary, path)
            if sync:
                sync_directory(path.parent)
    except BaseException:
        _discard(temporary)
        raise


@contextlib.contextmanager
def hidden_folder(out: Path) -> Iterator[Path]:
    """A new folder `.{name}.{pid}.new` beside `out`, which the block fills and renames; after an error it goes. Raises
    StorageError, naming `out`, when the disk fails."""
    hidden = out.with_name(f".{out.name}.{os.getpid()}.new")
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(hidden, ignore_errors=True)
        hidden.mkdir()
        try:
            yield hidden
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise


def write_group(steps: Sequence[Sequence[tuple[Path, bytes]]], *, sync: bool = True) -> None:
    """Write new files that belong together; those of a step are in place, and durable, before the next step's appear.

    All temporary files are written and flushed before the first rename, so a full disk changes nothing. On failure
    every file of the group is removed again. Raises StorageError, also when a file exists already.
    """
    staged: list[list[tuple[Path, Path]]] = []
    placed: list[Path] = []
    try:
        for step in steps:
            staged.append([])
            for path, data in step:
                with storage_errors(path):
                    if path.exists():
                        raise StorageError(f"{path}: exists already; files that belong together are written once")
                    staged[-1].append((_stage(path, data, sync=sync), path))
        for pairs in staged:
            for temporary, path in pairs:
                with storage_errors(path):
                    placed.append(path)
                    os.replace(temporary, path)
            if sync:
                for folder in sorted({path.parent for _, path in pairs}):
                    with storage_errors(folder):
                        sync_directory(folder)
    except BaseException:
        for temporary in [t for pairs in staged for t, _ in pairs]:
            _discard(temporary)
        for path in reversed(placed):
            if not _discard(path):
                break  # what stands in front of it must not go while it stays
        raise


def sync_directory(folder: Path) -> None:
    """Make renames within `folder` durable (a no-op where directories cannot be opened)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except (PermissionError, IsADirectoryError):
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it is not there. Raises InputError where a file is in the way,
    StorageError where the system refuses."""
    with storage_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{folder}: a file is in the way; name another folder") from error


def is_temporary(path: Path) -> bool:
    """True for the leftovers of a killed writer; readers ignore them."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX)


def dump_json(data: Any) -> bytes:
    """Readable JSON with a final newline; NaN and infinities are refused (ValueError)."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def canonical_json(data: Any) -> bytes:
    """JSON with sorted keys and no spaces: equal content gives equal bytes, for hashing."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def write_json(path: Path, data: Any, *, sync: bool = True) -> None:
    write_bytes(path, dump_json(data), sync=sync)


def read_json(path: Path, *, limit: int = MAX_JSON_BYTES) -> Any:
    """Parse a JSON file of at most `limit` bytes. Raises OSError, json.JSONDecodeError or ValueError."""
    with open(path, "rb") as handle:
        raw = read_counted(handle, limit)
    if len(raw) > limit:
        raise ValueError(f"{path}: larger than {limit} bytes")
    return parse_json(raw)


def read_counted(handle: BinaryIO, limit: int) -> bytes:
    """The rest of an open file, or its first `limit` + 1 bytes where it is longer.

    Memory is asked for by the file's size, not by the limit; the size is not believed, because a file may grow and
    what is no regular file has none.
    """
    size = os.fstat(handle.fileno()).st_size
    data = handle.read(min(size, limit) + 1)
    if len(data) <= min(size, limit):
        return data
    parts = [data]
    left = limit + 1 - len(data)
    while left > 0 and (more := handle.read(min(left, _BLOCK))):
        parts.append(more)
        left -= len(more)
    return b"".join(parts)


def open_regular(path: Path | str) -> io.BufferedReader:
    """Open a regular file for reading. A pipe or a device neither blocks nor is read: OSError (EINVAL)."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def parse_json(raw: bytes) -> Any:
    """Strict JSON: NaN and infinities are refused, and so is nesting too deep to parse (ValueError)."""
    try:
        return json.loads(raw, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}{TEMPORARY_SUFFIX}")


def _stage(path: Path, *parts: bytes | memoryview, sync: bool) -> Path:
    temporary = _temporary(path)
    try:
        with open(temporary, "wb") as handle:
            for part in parts:
                handle.write(part)
            handle.flush()
            if sync:
                os.fsync(handle.fileno())
    except BaseException:
        _discard(temporary)
        raise
    return temporary


def _discard(path: Path) -> bool:
    """Delete, and say whether it is gone: the caller is already raising what went wrong, and this must not hide it."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """What the system says against writing `path` (OSError) as a StorageError: path, reason, free bytes."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{path}: not written: {reason} ({free_space(path)})") from error


def free_space(path: Path) -> str:
    """How much room there is where `path` would lie, for messages."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return f"{shutil.disk_usage(folder).free:,} bytes free on that disk"
    except OSError as error:
        return f"free space unknown: {error.strerror}"

"""The part of a download that came so far: bytes on disk, their digests, and of which version they are."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from aerialworld_city.sources.http import DownloadError
from aerialworld_core.files import StorageError, write_bytes

BLOCK = 256 * 1024

#: bytes done, bytes in all (None: not known), what is going on
Progress = Callable[[int, int | None, str], None]


def beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


class Part:
    """`count` bytes of `url` in an open file; `etag` (strong), `total` and `md5` as the server stated them for this
    version, None where it did not; `sha256` and `own_md5` over the bytes."""

    def __init__(self, handle: BinaryIO, state_path: Path, url: str) -> None:
        self.handle, self.state_path, self.url = handle, state_path, url
        self.begin()

    def begin(self) -> None:
        """Forget what may be on the disk; `restart` drops it."""
        self.count = 0
        self.etag: str | None = None
        self.total: int | None = None
        self.md5: bytes | None = None
        self.sha256, self.own_md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)

    def restart(self) -> None:
        """Drop everything that came."""
        self.handle.seek(0)
        self.handle.truncate()
        self.state_path.unlink(missing_ok=True)
        self.begin()

    def take(self, block: bytes) -> None:
        """Count bytes that are on the disk."""
        self.count += len(block)
        self.sha256.update(block)
        self.own_md5.update(block)

    def remember(self) -> None:
        """Note which version this is, if it can be named, so that a later call can go on with it."""
        if self.etag and self.total is not None:
            md5 = self.md5.hex() if self.md5 else None
            state = {"url": self.url, "etag": self.etag, "total": self.total, "md5": md5}
            write_bytes(self.state_path, json.dumps(state).encode(), sync=False)

    def restore(self, tell: Progress) -> None:
        """Go on with what is on the disk if it is of the same address and a version that was noted, else drop it."""
        length = os.fstat(self.handle.fileno()).st_size
        state = self._noted() if length else None
        if state is None or length > state["total"]:
            self.restart()
            return
        self.etag, self.total, self.md5 = state["etag"], state["total"], state["md5"]
        self.handle.seek(0)
        while block := self.handle.read(BLOCK):
            self.take(block)
            tell(self.count, self.total, "reading what came before")

    def _noted(self) -> dict[str, Any] | None:
        """None where the note is missing, torn, or of another address."""
        try:
            state = json.loads(self.state_path.read_text("utf-8"))
            md5 = bytes.fromhex(state["md5"]) if state["md5"] is not None else None
            fits = state["url"] == self.url and isinstance(state["etag"], str) and isinstance(state["total"], int)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return {"etag": state["etag"], "total": state["total"], "md5": md5} if fits else None


@contextmanager
def open_part(target: Path, url: str, tell: Progress) -> Iterator[Part]:
    """The part of `target`, locked against a second download. Raises StorageError, DownloadError (in work already)."""
    path = beside(target, ".part")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    with open(descriptor, "r+b") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DownloadError(f"{target}: another download writes it now") from error
        part = Part(handle, beside(target, ".part.json"), url)
        part.restore(tell)
        yield part

"""The right to write a session: one writer at a time, and a dead one does not block.

`in-progress.json` says who writes. The kernel's lock on that file decides on one machine (it goes when the process
goes, whatever kills it); the file's age decides between machines that share a disk, where locks cannot be relied on: a
foreign writer that has not touched it for `TIMEOUT_S` is taken for dead.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

from aerialworld_core.errors import SessionError
from aerialworld_core.files import StorageError, dump_json, parse_json
from aerialworld_core.session.layout import LEASE_FILE

TIMEOUT_S = 600.0


class Lease:
    """Held from creation until `release`. Raises SessionError at once, naming the holder, when the session is taken."""

    def __init__(self, session: Path) -> None:
        self.path = session / LEASE_FILE
        try:
            self._descriptor = self._acquire()
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _acquire(self) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise SessionError(
                        f"{self.path.parent}: is being written by {_holder(self.path)}; wait for it or write elsewhere"
                    ) from None
                if not self._is_current(descriptor):  # released and removed between open and lock
                    os.close(descriptor)
                    continue
                self._refuse_foreign_holder()
                content = dump_json({"pid": os.getpid(), "host": socket.gethostname()})
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, content, 0)
                return descriptor
            except BaseException:
                os.close(descriptor)
                raise

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def _refuse_foreign_holder(self) -> None:
        holder = read_holder(self.path)
        age = time.time() - self.path.stat().st_mtime
        if holder and holder[1] != socket.gethostname() and age < TIMEOUT_S:
            raise SessionError(
                f"{self.path.parent}: process {holder[0]} on host {holder[1]} wrote it {age:.0f} s ago; if that one is "
                f"dead, wait until {TIMEOUT_S:.0f} s have passed or delete {LEASE_FILE}"
            )

    def renew(self) -> None:
        """Show other machines that this writer lives; called at every frame. Raises StorageError."""
        try:
            os.utime(self._descriptor)
        except OSError as error:
            raise StorageError(f"{self.path}: cannot be touched: {error.strerror}") from error

    def release(self) -> None:
        """Let go; the file goes too. Calling it twice does nothing. Raises StorageError when the file cannot go."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{self.path}: cannot be deleted: {error.strerror}") from error
            finally:
                os.close(descriptor)


def read_holder(path: Path) -> tuple[int, str] | None:
    """(pid, host) from a lease file; None when there is none or its writer died before signing it."""
    try:
        data = parse_json(path.read_bytes()[:10_000])
        return int(data["pid"]), str(data["host"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def is_held(session: Path) -> str | None:
    """Who writes this session now, in words; None when nobody does (a killed writer's leftover does not count)."""
    path = session / LEASE_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path)
    finally:
        os.close(descriptor)
    holder = read_holder(path)
    if holder and holder[1] != socket.gethostname() and time.time() - path.stat().st_mtime < TIMEOUT_S:
        return _holder(path)
    return None


def _holder(path: Path) -> str:
    holder = read_holder(path)
    return f"process {holder[0]} on host {holder[1]}" if holder else "another process"

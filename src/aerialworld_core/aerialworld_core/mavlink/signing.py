"""MAVLink 2 message signing: whose frames count, and the times that keep recorded frames from counting again.

As https://mavlink.io/en/guide/message_signing.html has it, with three things made strict: the signature is checked
before the time (a forged frame changes nothing), a time far ahead of the clock is refused (it would use up all later
ones), and times are stored ahead of their use, so that not even a killed process takes a frame twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aerialworld_core.errors import MavlinkError
from aerialworld_core.files import open_regular, read_counted, read_json, storage_errors, write_json

#: Bytes of a key; of link id, time and signature, which end a signed frame; and of the signature alone.
KEY, BLOCK, SIGNATURE = 32, 13, 6
#: Times count units of 10 µs from 2015-01-01 (in Unix time), in 48 bits.
EPOCH, TICKS, LIMIT = 1_420_070_400, 100_000, 1 << 48
#: How far behind our time a new stream may be, and how far ahead of the clock any frame.
BEHIND, AHEAD = 60 * TICKS, 86_400 * TICKS
#: Times are stored as if they were so much later, and therefore seldom.
RESERVE = 10 * TICKS
#: Streams that are remembered at most: each costs a holder of the key a frame.
STREAMS = 256

#: Link id, system and component of a sender: each counts its own times.
Stream = tuple[int, int, int]


def signature(key: bytes, frame: bytes | bytearray) -> bytes:
    """The 6 bytes that sign `frame`, which is whole but for them: header, payload, checksum, link id and time."""
    return hashlib.sha256(key + frame).digest()[:SIGNATURE]


class Signer:
    """One key with its times: all links of a vehicle share it, so that a frame is taken once on any of them.

    `state` is the file that keeps the times; its folder entry is replaced at each write. `clock` gives Unix seconds.
    Raises MavlinkError for a key that is none, for a state that cannot be believed or is in use.
    """

    def __init__(self, key: bytes, state: Path, clock: Callable[[], float] = time.time) -> None:
        if len(key) != KEY or not any(key):
            raise MavlinkError(f"a signing key is {KEY} random bytes, not {len(key)} bytes or zeros")
        self._key, self._state, self._clock = key, state, clock
        self._lock = _locked(state)
        try:
            self._now, self._streams = _read(state)
        except BaseException:
            os.close(self._lock)
            raise
        #: Whatever the clock says, no frame is further ahead of this: it does not creep up with what is heard.
        self._start = self._now
        self._reserved, self._stored = self._now, dict(self._streams)

    @property
    def key(self) -> bytes:
        """For the library that packs frames; never for a log."""
        return self._key

    def now(self) -> int:
        """Our time: the clock's, unless it has been later, here or at a client."""
        return max(self._now, self._ticks())

    def stamp(self) -> int:
        """The time of the next outgoing frame: later than any before, also after a restart. May raise StorageError."""
        self._now = max(self._now + 1, self._ticks())
        if self._now >= LIMIT:
            raise MavlinkError(f"{self._state}: its times are used up; delete it and make a new key")
        if self._now > self._reserved:
            self._save(RESERVE)
        return self._now

    def refusal(self, frame: bytes | bytearray) -> str | None:
        """Why a whole signed frame is not taken; None for one that is. Nothing is remembered."""
        if not hmac.compare_digest(signature(self._key, frame[:-SIGNATURE]), bytes(frame[-SIGNATURE:])):
            return "wrongly signed"
        stream, moment = _stream(frame)
        last = self._streams.get(stream)
        if last is not None and moment <= last:
            return "replayed"
        if moment > max(self._start, self._ticks()) + AHEAD:
            return "from the future"
        if last is None and moment + BEHIND < self.now():
            return "too old"
        if last is None and len(self._streams) >= STREAMS and self._streams[self._silent()] + BEHIND >= self.now():
            return "of too many senders"
        return None

    def take(self, frame: bytes | bytearray) -> str | None:
        """As `refusal`; a frame that is not refused is refused from then on. May raise StorageError."""
        reason = self.refusal(frame)
        if reason is None:
            stream, moment = _stream(frame)
            if stream not in self._streams and len(self._streams) >= STREAMS:
                del self._streams[self._silent()]  # its recorded frames are too old for a new stream's
            self._streams[stream] = moment
            self._now = max(self.now(), moment)
            if moment > self._stored.get(stream, -1):
                self._save(RESERVE)
        return reason

    def close(self) -> None:
        """Store the times as they are, and let another process have them."""
        if self._lock >= 0:
            try:
                self._save(0)
            finally:
                os.close(self._lock)
                self._lock = -1

    def _ticks(self) -> int:
        return int((self._clock() - EPOCH) * TICKS)

    def _silent(self) -> Stream:
        """The stream that was heard longest ago."""
        return min(self._streams, key=lambda stream: self._streams[stream])

    def _save(self, reserve: int) -> None:
        now, stored = self._now + reserve, {stream: moment + reserve for stream, moment in self._streams.items()}
        write_json(
            self._state, {"time": now, "streams": [[*stream, moment] for stream, moment in sorted(stored.items())]}
        )
        self._reserved, self._stored = now, stored


def signer_of(path: Path, sysid: int) -> Signer:
    """The signer of a vehicle with the key in a file, its times in a file beside it: `NAME.system1.json`.

    Raises MavlinkError for a file that others may read, that is another's, or that holds no key.
    """
    path = Path(path)
    quoted = shlex.quote(str(path) if not path.exists() else f"{path}.new")
    way_out = f"make a key: (umask 077; head -c {KEY} /dev/urandom > {quoted})"
    try:
        with open_regular(path) as handle:
            status, key = os.fstat(handle.fileno()), read_counted(handle, KEY)
    except OSError as error:
        raise MavlinkError(f"--key: {path}: {error.strerror or error}; {way_out}") from error
    if status.st_uid != os.geteuid():
        raise MavlinkError(f"--key: {path} belongs to another user, who can read and change it; {way_out}")
    if status.st_mode & 0o077:
        raise MavlinkError(
            f"--key: {path} has mode {status.st_mode & 0o777:04o}: others may have read it; {way_out}, or, if nobody "
            f"has: chmod 600 {shlex.quote(str(path))}"
        )
    if len(key) != KEY or not any(key):
        what = "zeros" if len(key) == KEY else f"{'more than ' * (len(key) > KEY)}{min(len(key), KEY)} bytes"
        raise MavlinkError(f"--key: {path} holds {what}, and a key is {KEY} random bytes; {way_out}")
    return Signer(key, path.with_name(f"{path.name}.system{sysid}.json"))


def _stream(frame: bytes | bytearray) -> tuple[Stream, int]:
    """Who sent a signed frame, and when."""
    tail = len(frame) - BLOCK
    return (frame[tail], frame[5], frame[6]), int.from_bytes(frame[tail + 1 : tail + 7], "little")


def _locked(state: Path) -> int:
    """A descriptor that holds the state for this process; the system lets go of it whatever happens."""
    lock = state.with_name(state.name + ".lock")
    with storage_errors(lock):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise MavlinkError(
            f"{state}: in use by another program with this key and system id; give this one another --sysid"
        ) from error
    return descriptor


def _read(state: Path) -> tuple[int, dict[Stream, int]]:
    """Our time and the streams', as stored; none where the key has not been used."""
    try:
        return _parsed(read_json(state, limit=1 << 20))
    except FileNotFoundError:
        return 0, {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        problem = "no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise MavlinkError(
            f"{state}: holds no times of signed frames ({problem}); without them recorded frames could be sent again: "
            "make a new key, then delete this file"
        ) from error


def _parsed(data: Any) -> tuple[int, dict[Stream, int]]:
    streams = {(link, system, component): moment for link, system, component, moment in data["streams"]}
    numbers = [data["time"], *streams.values()]
    if not all(type(n) is int and 0 <= n < LIMIT for n in numbers) or len(streams) > STREAMS:
        raise ValueError("a time is not a number of 48 bits")
    if not all(type(n) is int and 0 <= n < 256 for stream in streams for n in stream):
        raise ValueError("a sender is not three bytes")
    return max(numbers), streams

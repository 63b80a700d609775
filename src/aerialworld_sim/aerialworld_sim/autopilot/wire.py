"""Bytes to messages and back: the only module that touches the MAVLink library, imported when it is first needed.

The framing is done here and not by the library's parser, because that one drops a whole declared length after a wrong
checksum: noise in front of a command would cost the command. Here the search goes on one byte later. Work is bounded:
`Decoder.take` spends at most a given count of tries, each over at most 280 bytes, and what is not yet read stays in a
buffer whose size the link respects.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aerialworld_sim.autopilot.settings import AutopilotError

#: First bytes of MAVLink 1 and 2 frames, and what a frame has beside its payload.
MAGIC_1, MAGIC_2 = 0xFE, 0xFD
OVERHEAD_1, OVERHEAD_2, SIGNATURE = 8, 12, 13
SIGNED = 1
#: Bytes that a decoder keeps at most; a link reads no more than `room()` from its socket.
INBOX = 1 << 16


@dataclass(frozen=True)
class Message:
    """An outgoing message: its name in lower case ("heartbeat") and its fields by name."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def dialect() -> Any:
    """pymavlink's MAVLink-2 ardupilotmega dialect. Raises AutopilotError with the pip line when it is not installed."""
    try:
        return importlib.import_module("pymavlink.dialects.v20.ardupilotmega")
    except ModuleNotFoundError as error:
        raise AutopilotError(
            f"the autopilot's links need pymavlink, and Python module {error.name!r} is not installed here; "
            "install it: pip install 'aerialworld_sim[autopilot]'"
        ) from error


class Decoder:
    """A stream's bytes in, its whole and correct messages out. Nothing that arrives raises."""

    def __init__(self) -> None:
        self._dialect = dialect()
        self._mavlink = self._dialect.MAVLink(None)
        self._inbox = bytearray()
        #: Candidates with a wrong checksum, an unknown id or an unknown flag.
        self.bad_frames = 0

    def room(self) -> int:
        """How many bytes may be fed now."""
        return max(0, INBOX - len(self._inbox))

    def feed(self, data: bytes) -> None:
        """Take bytes; what is beyond `room()` is dropped, as a full serial buffer drops it."""
        self._inbox += data[: self.room()]

    def clear(self) -> None:
        """Forget a half-read stream: the client has changed."""
        self._inbox.clear()

    def pending(self) -> bool:
        """Whether bytes wait that may hold a frame."""
        return len(self._inbox) >= OVERHEAD_1

    def take(self, tries: int) -> tuple[list[Any], int]:
        """Messages, and how many of the `tries` are left; each candidate frame costs one.

        A frame that has not arrived whole is waited for, unless a correct one follows it: then it was noise.
        """
        found: list[Any] = []
        inbox, at, waiting = self._inbox, 0, None
        while tries > 0 and (at := self._next_magic(at)) < len(inbox):
            size = self._frame_size(at)
            if size is None or at + size > len(inbox):
                waiting = at if waiting is None else waiting
                at += 1
                continue
            tries -= 1
            message = self._decode(inbox[at : at + size])
            if message is None:
                self.bad_frames += 1
                at += 1
            else:
                found.append(message)
                at, waiting = at + size, None
        del inbox[: at if waiting is None else waiting]
        return found, tries

    def _next_magic(self, start: int) -> int:
        places = [i for i in (self._inbox.find(MAGIC_1, start), self._inbox.find(MAGIC_2, start)) if i >= 0]
        return min(places, default=len(self._inbox))

    def _frame_size(self, start: int) -> int | None:
        inbox = self._inbox
        if start + 3 > len(inbox):
            return None
        if inbox[start] == MAGIC_1:
            return OVERHEAD_1 + inbox[start + 1]
        return OVERHEAD_2 + inbox[start + 1] + (SIGNATURE if inbox[start + 2] & SIGNED else 0)

    def _decode(self, frame: bytearray) -> Any | None:
        if frame[0] == MAGIC_2 and frame[2] & ~SIGNED:
            return None
        try:
            message = self._mavlink.decode(frame)
        except self._dialect.MAVError:
            return None
        return None if isinstance(message, self._dialect.MAVLink_unknown) else message


class Encoder:
    """Messages to frames, numbered one after the other as each link needs it."""

    def __init__(self, sysid: int, component: int = 1) -> None:
        self._dialect = dialect()
        self._mavlink = self._dialect.MAVLink(None, srcSystem=sysid, srcComponent=component)

    def frame(self, message: Message) -> bytes:
        """The message as one MAVLink-2 frame."""
        made = getattr(self._dialect, f"MAVLink_{message.name}_message")(**message.fields)
        try:
            packed: bytes = bytes(made.pack(self._mavlink))
        except struct.error as error:
            raise ValueError(
                f"{message.name}: a field does not fit its type ({error}): {dict(message.fields)}"
            ) from error
        self._mavlink.seq = (self._mavlink.seq + 1) % 256
        return packed


def message_id(name: str) -> int:
    """The number of a message by its name in lower case."""
    return int(getattr(dialect(), f"MAVLINK_MSG_ID_{name.upper()}"))

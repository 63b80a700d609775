"""Bytes to messages and back: the only module that touches the MAVLink library, imported when it is first needed.

The framing is done here and not by the library's parser, because that one drops a whole declared length after a wrong
checksum: noise in front of a command would cost the command. Here the search goes on one byte later. Work is bounded:
`Decoder.take` spends at most a given count of tries, each over at most 280 bytes, and what is not yet read stays in a
buffer whose size the link respects.
"""

from __future__ import annotations

import importlib
import struct
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aerialworld_core.errors import MavlinkError
from aerialworld_core.mavlink.signing import BLOCK, Signer

#: First bytes of MAVLink 1 and 2 frames, and what a frame has beside its payload.
MAGIC_1, MAGIC_2 = 0xFE, 0xFD
OVERHEAD_1, OVERHEAD_2 = 8, 12
SIGNED = 1
#: Bytes that a decoder keeps at most; a link reads no more than `room()` from its socket.
INBOX = 1 << 16


@dataclass(frozen=True)
class Message:
    """An outgoing message: its name in lower case ("heartbeat") and its fields by name."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


def dialect() -> Any:
    """pymavlink's MAVLink-2 ardupilotmega dialect. Raises MavlinkError with the pip line when it is not installed."""
    try:
        return importlib.import_module("pymavlink.dialects.v20.ardupilotmega")
    except ModuleNotFoundError as error:
        raise MavlinkError(
            f"MAVLink needs pymavlink, and Python module {error.name!r} is not installed here; "
            "install it: pip install 'aerialworld_core[mavlink]'"
        ) from error


class Decoder:
    """A stream's bytes in, its whole and correct messages out. Nothing that arrives raises.

    With a `signer` only what is signed with its key, and later than what came before, is a message; the payload of
    anything else is not even looked at.
    """

    def __init__(self, signer: Signer | None = None) -> None:
        self._signer = signer
        self._dialect = dialect()
        self._mavlink = self._dialect.MAVLink(None)
        self._inbox = bytearray()
        #: Candidates with a wrong checksum, an unknown id or an unknown flag.
        self.bad_frames = 0
        #: Whole frames that a signed link does not take, by reason.
        self.refused: Counter[str] = Counter()
        #: Frames of datagrams that a signed link has taken.
        self._proved: deque[bytearray] = deque()
        self._proved_bytes = 0

    def room(self) -> int:
        """How many bytes may be fed now."""
        return max(0, INBOX - len(self._inbox) - self._proved_bytes)

    def feed(self, data: bytes) -> None:
        """Take bytes; what is beyond `room()` is dropped, as a full serial buffer drops it."""
        self._inbox += data[: self.room()]

    def clear(self) -> None:
        """Forget a half-read stream: the client has changed."""
        self._inbox.clear()
        self._proved.clear()
        self._proved_bytes = 0

    def pending(self) -> bool:
        """Whether bytes wait that may hold a frame."""
        return bool(self._proved) or len(self._inbox) >= OVERHEAD_1

    def datagram(self, data: bytes) -> bool:
        """Take a datagram, and say whether its sender counts.

        On a signed link its frames are judged here, before anyone is answered: a copy that comes in the same moment is
        already a replay. After noise the rest is dropped.
        """
        if self._signer is None:
            self.feed(data)
            return True
        at, before = 0, len(self._proved)
        while (size := self._frame_size(data, at)) is not None and at + size <= len(data) and size <= self.room():
            frame = bytearray(data[at : at + size])
            reason = self._refusal(frame)
            if reason is None:
                self._proved.append(frame)
                self._proved_bytes += size
            elif not self._refuse(frame, reason):
                self.bad_frames += 1
                break
            at += size
        return len(self._proved) > before

    def take(self, tries: int) -> tuple[list[Any], int]:
        """Messages, and how many of the `tries` are left; each candidate frame costs one.

        A frame that has not arrived whole is waited for, unless a correct one follows it: then it was noise.
        """
        found: list[Any] = []
        while tries > 0 and self._proved:
            tries -= 1
            frame = self._proved.popleft()
            self._proved_bytes -= len(frame)
            message = self._decode(frame)
            self.bad_frames += message is None
            found += [] if message is None else [message]
        inbox, at, waiting = self._inbox, 0, None
        while tries > 0 and (at := self._next_magic(at)) < len(inbox):
            size = self._frame_size(inbox, at)
            if size is None or at + size > len(inbox):
                waiting = at if waiting is None else waiting
                at += 1
                continue
            tries -= 1
            frame = inbox[at : at + size]
            reason = self._refusal(frame)
            message = self._decode(frame) if reason is None else None
            if message is None and (reason is None or not self._refuse(frame, reason)):
                self.bad_frames += 1
                at += 1
            else:
                found += [] if message is None else [message]
                at, waiting = at + size, None
        del inbox[: at if waiting is None else waiting]
        return found, tries

    def _next_magic(self, start: int) -> int:
        places = [i for i in (self._inbox.find(MAGIC_1, start), self._inbox.find(MAGIC_2, start)) if i >= 0]
        return min(places, default=len(self._inbox))

    @staticmethod
    def _frame_size(inbox: bytes | bytearray, start: int) -> int | None:
        if start + 3 > len(inbox) or inbox[start] not in (MAGIC_1, MAGIC_2):
            return None
        if inbox[start] == MAGIC_1:
            return OVERHEAD_1 + inbox[start + 1]
        return OVERHEAD_2 + inbox[start + 1] + (BLOCK if inbox[start + 2] & SIGNED else 0)

    def _refusal(self, frame: bytearray) -> str | None:
        """Why what looks like a frame is not taken on this link; one that is, is not taken again."""
        if self._signer is None:
            return None
        if frame[0] == MAGIC_1:
            return "of MAVLink 1"
        return self._signer.take(frame) if frame[2] & SIGNED else "unsigned"

    def _refuse(self, frame: bytearray, reason: str) -> bool:
        """Count a frame that is not taken; False for noise, in which a frame may begin."""
        if not self._correct(frame):
            return False
        self.refused[reason] += 1
        return True

    def _correct(self, frame: bytearray) -> bool:
        """Whether the checksum is right, and the id known that it goes by."""
        old = frame[0] == MAGIC_1
        signed = not old and frame[2] & SIGNED
        number = frame[5] if old else int.from_bytes(frame[7:10], "little")
        known = self._dialect.mavlink_map.get(number)
        end = len(frame) - 2 - (BLOCK if signed else 0)
        if known is None or (not old and frame[2] & ~SIGNED):
            return False
        checksum = self._dialect.x25crc(bytes(frame[1:end]) + bytes([known.crc_extra])).crc
        return bool(checksum == int.from_bytes(frame[end : end + 2], "little"))

    def _decode(self, frame: bytearray) -> Any | None:
        if frame[0] == MAGIC_2 and frame[2] & ~SIGNED:
            return None
        try:
            message = self._mavlink.decode(frame)
        except self._dialect.MAVError:
            return None
        return None if isinstance(message, self._dialect.MAVLink_unknown) else message


class Encoder:
    """Messages to frames, numbered one after the other as each link needs it, and signed where there is a key.

    `link` is the number that a signed link goes by.
    """

    def __init__(self, sysid: int, component: int = 1, signer: Signer | None = None, link: int = 0) -> None:
        self._dialect = dialect()
        self._mavlink = self._dialect.MAVLink(None, srcSystem=sysid, srcComponent=component)
        self._signer = signer
        if signer is not None:
            signing = self._mavlink.signing
            signing.secret_key, signing.link_id, signing.sign_outgoing = signer.key, link, True

    def frame(self, message: Message) -> bytes:
        """The message as one MAVLink-2 frame."""
        if self._signer is not None:
            self._mavlink.signing.timestamp = self._signer.stamp()
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

"""One link's end inside the autopilot: what it sent, what waits to be sent, which streams it asked for.

A channel outlives its clients, so that a client that comes back finds its intervals as it left them. It knows no
sockets: a link feeds bytes and takes frames.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

from aerialworld_core.mavlink.signing import Signer
from aerialworld_core.mavlink.wire import Decoder, Encoder, Message

#: Bytes that wait for a slow client at most. What comes after that is dropped whole and counted.
OUTBOX = 1 << 18
#: Frames that are tried for each channel at each step: the bound on what a flood costs.
TRIES_PER_STEP = 100
#: Below this the list of parameters goes on; above it waits for the client.
QUIET = OUTBOX // 4
#: Parameters of a list that are sent in one step at most.
LISTED_PER_STEP = 20


@dataclass
class Interval:
    """A stream: every `period_ns`, next at `due_ns`."""

    period_ns: int
    due_ns: int


class Channel:
    """A serial port of the autopilot. With a `signer` it is signed both ways; `link` is its number among them."""

    def __init__(self, name: str, sysid: int, signer: Signer | None = None, link: int = 0) -> None:
        self.name = name
        self.signed = signer is not None
        self._decoder = Decoder(signer)
        self._encoder = Encoder(sysid, signer=signer, link=link)
        self._frames: deque[bytes] = deque()
        self._waiting = 0
        self.intervals: dict[int, Interval] = {}
        #: Index of the next parameter of a list in work; None without.
        self.listing: int | None = None
        self.received = 0
        self.sent = 0
        self.dropped = 0

    @property
    def bad_frames(self) -> int:
        return self._decoder.bad_frames

    @property
    def refused(self) -> Counter[str]:
        """Frames that a signed channel did not take, by reason."""
        return self._decoder.refused

    def datagram(self, data: bytes) -> bool:
        """As `receive`, for a datagram: whether its sender counts, as on a signed channel only the key's holders do."""
        return self._decoder.datagram(data)

    def room(self) -> int:
        """How many bytes `receive` takes now; a link reads no more, and so a flood fills the client's own buffers."""
        return self._decoder.room()

    def receive(self, data: bytes) -> None:
        """Bytes from the link; handled at the autopilot's next step."""
        self._decoder.feed(data)

    def pending(self) -> bool:
        return self._decoder.pending()

    def messages(self, tries: int) -> tuple[list[Any], int]:
        """Whole messages that have arrived, within `tries` candidates; and the tries that are left."""
        found, left = self._decoder.take(tries)
        self.received += len(found)
        return found, left

    def post(self, message: Message) -> None:
        """Queue a message for the client, or drop it when too much waits."""
        if self._waiting > OUTBOX:
            self.dropped += 1
            return
        frame = self._encoder.frame(message)
        self._frames.append(frame)
        self._waiting += len(frame)
        self.sent += 1

    def quiet(self) -> bool:
        """Whether the client keeps up, so that a long list may go on."""
        return self._waiting < QUIET

    def take(self) -> bytes | None:
        """The next frame to send, None when there is none."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._waiting -= len(frame)
        return frame

    def take_all(self) -> bytes:
        """All that waits, as one string of bytes."""
        joined = b"".join(self._frames)
        self._frames.clear()
        self._waiting = 0
        return joined

    def drop_input(self) -> None:
        """The client has gone: half a frame of its is not continued by the next one's."""
        self._decoder.clear()

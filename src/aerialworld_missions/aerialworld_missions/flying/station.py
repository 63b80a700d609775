"""One link with a thread of its own: what comes goes to the vehicles that are flown, and heartbeats go out.

A simulated vehicle counts our heartbeats in its own time, so that they are sent as often as the fastest one needs them.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aerialworld_core.mavlink.signing import Signer, signer_of
from aerialworld_core.mavlink.wire import Decoder, Encoder, Message
from aerialworld_missions.flying.links import Address, Link, open_link
from aerialworld_missions.flying.telemetry import Telemetry

#: Wall seconds between looks at the link, and vehicle seconds and most times a second that heartbeats are sent.
LOOK, BEAT, FASTEST_BEAT = 0.02, 1.0, 50.0
#: Frames that are tried for each look and sender; senders that are told apart.
TRIES, SENDERS = 500, 64
#: Last frames of a vehicle among which a copy is known as one.
COPIES = 64
#: Wall seconds of silence after which a vehicle may come from another address.
MOVED = 3.0
#: MAV_TYPE and MAV_AUTOPILOT of this end; MAV_AUTOPILOT of what is no vehicle.
GROUND_STATION, NO_AUTOPILOT = 6, 8


class Peer:
    """A vehicle on the link: whose messages count, where they come from, what they told."""

    def __init__(self, system: int | None, component: int, wall: Callable[[], float]) -> None:
        #: None until the first vehicle that is heard is taken.
        self.system = system
        self.component = component
        self.telemetry = Telemetry(wall)
        self.address: Address = None
        self._recent: deque[bytes] = deque(maxlen=COPIES)

    def is_copy(self, frame: bytes) -> bool:
        """Whether this very frame, sequence number included, has come a moment ago."""
        if frame in self._recent:
            return True
        self._recent.append(frame)
        return False


class Station:
    """A ground station on one link. Use as a context manager; `changed` is notified when anything has come.

    system, component  our own ids; ArduPilot's failsafe listens to MAV_GCS_SYSID, 255 by default
    """

    def __init__(
        self,
        link: Link,
        *,
        system: int = 255,
        component: int = 190,
        signer: Signer | None = None,
        wall: Callable[[], float] = time.monotonic,
    ) -> None:
        self.link, self.system, self.component = link, system, component
        self._signer, self._wall = signer, wall
        self._encoder = Encoder(system, component, signer)
        self._decoders: dict[Address, Decoder] = {}
        self.peers: list[Peer] = []
        #: What was not taken: copies, other systems, addresses that a vehicle does not have.
        self.ignored: Counter[str] = Counter()
        self.changed = threading.Condition(threading.RLock())
        #: What ended the thread; raised by whoever waits.
        self.failure: Exception | None = None
        self._next_beat = 0.0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"mavlink {link.where}", daemon=True)

    @classmethod
    def open(
        cls,
        address: str,
        *,
        system: int = 255,
        component: int = 190,
        key: Path | None = None,
        allow_remote: bool = False,
    ) -> Station:
        """A station on the link of an address, signed with the key of a file. Raises MavlinkError."""
        link = open_link(address, allow_remote=allow_remote, signed=key is not None)
        try:
            return cls(link, system=system, component=component, signer=signer_of(key, system) if key else None)
        except BaseException:
            link.close()
            raise

    def __enter__(self) -> Station:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join(10.0)
        self.link.close()
        if self._signer is not None:
            self._signer.close()

    @property
    def signed(self) -> bool:
        """Whether it signs, and takes only what is signed."""
        return self._signer is not None

    def expect(self, system: int | None, component: int = 1) -> Peer:
        """Take the messages of one vehicle; None: of the first autopilot that is heard and nobody else expects."""
        with self.changed:
            peer = Peer(system, component, self._wall)
            self.peers.append(peer)
            return peer

    @property
    def refused(self) -> Counter[str]:
        """Frames that our key does not let in, by reason."""
        return sum((d.refused for d in self._decoders.values()), Counter[str]())

    def send(self, message: Message, peer: Peer) -> None:
        """Send to a vehicle. Raises ValueError for a field that does not fit."""
        with self.changed:
            self.link.send(self._encoder.frame(message), peer.address)

    # The thread

    def _run(self) -> None:
        try:
            while not self._closing:
                self.link.wait(LOOK)
                pieces = self.link.receive()
                with self.changed:
                    for data, address in pieces:
                        self._take(data, address)
                    self._beat()
                    if pieces:
                        self.changed.notify_all()
        except Exception as error:  # whatever it is: who waits must hear of it, and not wait for ever
            with self.changed:
                self.failure = error
                self.changed.notify_all()

    def _take(self, data: bytes, address: Address) -> None:
        decoder = self._decoders.get(address)
        if decoder is None:
            if len(self._decoders) >= SENDERS:
                self.ignored["of too many senders"] += 1
                return
            decoder = self._decoders[address] = Decoder(self._signer)
        if self.link.many:
            if not decoder.datagram(data):
                return
        while data or decoder.pending():
            if not self.link.many:
                room = decoder.room()
                decoder.feed(data[:room])
                data = data[room:]
            else:
                data = b""
            messages, left = decoder.take(TRIES)
            for message in messages:
                self._dispatch(message, address)
            if left and not data:
                return

    def _dispatch(self, message: Any, address: Address) -> None:
        peer = self._peer_of(message)
        if peer is None:
            self.ignored["of others"] += 1
        elif not self._comes_from_it(peer, address):
            self.ignored["from another address"] += 1
        elif peer.is_copy(bytes(message.get_msgbuf())):
            self.ignored["twice"] += 1
        else:
            peer.telemetry.take(message)

    def _peer_of(self, message: Any) -> Peer | None:
        system, component = message.get_srcSystem(), message.get_srcComponent()
        for peer in self.peers:
            if peer.system == system and peer.component == component:
                return peer
        is_vehicle = message.get_type() == "HEARTBEAT" and message.autopilot != NO_AUTOPILOT
        for peer in self.peers:
            if peer.system is None and peer.component == component and is_vehicle:
                peer.system = system
                return peer
        return None

    def _comes_from_it(self, peer: Peer, address: Address) -> bool:
        if peer.address == address:
            return True
        if peer.address is None or peer.telemetry.silence > MOVED:
            peer.address = address
            return True
        return False

    def _beat(self) -> None:
        now = self._wall()
        if now < self._next_beat:
            return
        pace = max([1.0, *(p.telemetry.clock.pace for p in self.peers)])
        self._next_beat = now + max(BEAT / pace, 1.0 / FASTEST_BEAT)
        fields = {"type": GROUND_STATION, "autopilot": NO_AUTOPILOT, "base_mode": 0, "custom_mode": 0}
        frame = self._encoder.frame(Message("heartbeat", {**fields, "system_status": 4, "mavlink_version": 3}))
        for address in {p.address for p in self.peers} if self.link.many else {None}:
            self.link.send(frame, address)

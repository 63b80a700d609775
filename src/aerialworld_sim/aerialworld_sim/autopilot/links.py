"""Sockets for an autopilot's channels: a TCP server as ArduPilot's simulation has it, and UDP either way.

Nothing here waits, and nothing that a client does stops the simulation: what a client does not read is bounded by the
channel's outbox, what it sends too fast stays in its own socket's buffers (TCP) or is lost (UDP).
"""

from __future__ import annotations

import errno
import socket
import time
from typing import Literal, NamedTuple, Protocol, cast, get_args

from aerialworld_core.errors import MavlinkError
from aerialworld_core.mavlink.places import checked_host, parse_address
from aerialworld_core.piloting import MAVLINK_PORT
from aerialworld_sim.autopilot.channel import Channel
from aerialworld_sim.autopilot.settings import AutopilotError

#: Bytes read from a socket at once, and datagrams taken in one look at it.
CHUNK, DATAGRAMS = 1 << 14, 64
#: Bytes of frames that share a datagram at most.
DATAGRAM = 1200
#: Bytes that the system keeps for a client that does not read, beside the channel's outbox.
SEND_BUFFER = 1 << 17
#: Wall seconds that a TCP client has to say something signed, where others wait for its place.
PROOF = 5.0
#: How a link is had: it listens (TCP), sends to an address, or listens for datagrams.
Way = Literal["tcp", "udp", "udpin"]


class Place(NamedTuple):
    """Where a vehicle is reached."""

    way: Way
    host: str
    port: int


class Link(Protocol):
    """A channel's connection to the world."""

    channel: Channel
    #: What its address is one of, "TCP" or "UDP".
    protocol: str

    @property
    def address(self) -> tuple[str, int]:
        """Where clients find it, or where it sends to."""
        ...

    @property
    def client(self) -> bool:
        """Whether someone is there, as far as can be known."""
        ...

    def sockets(self) -> list[socket.socket]:
        """What to wait for until something arrives."""
        ...

    def receive(self) -> None:
        """Take what has arrived, as much as the channel has room for."""
        ...

    def send(self) -> None:
        """Send what the channel holds, as far as the client takes it."""
        ...

    def close(self) -> None: ...


class TcpServer:
    """One client at a time. A second one may connect but gets no byte until the first has gone; whoever comes back
    finds the channel as it was. On a signed channel one that has not proved itself makes room for the next."""

    protocol = "TCP"

    def __init__(
        self, channel: Channel, host: str = "127.0.0.1", port: int = MAVLINK_PORT, allow_remote: bool = False
    ) -> None:
        self.channel = channel
        self._listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listening.bind((checked_host(host, allow_remote, channel.signed), port))
            self._listening.listen(2)
        except OSError as error:
            self._listening.close()
            taken = "; is another autopilot running? --port or --instance takes another" * (
                error.errno == errno.EADDRINUSE
            )
            raise AutopilotError(f"TCP {host}:{port}: {error.strerror or error}{taken}") from error
        except MavlinkError:
            self._listening.close()
            raise
        self._listening.setblocking(False)
        self._client: socket.socket | None = None
        #: When the client came, and how many messages had been taken by then.
        self._since, self._received = 0.0, 0
        self._rest = b""
        #: Whether anyone has ever connected: a simulated ArduPilot does not boot before.
        self.met = False

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listening.getsockname()
        return str(host), int(port)

    @property
    def client(self) -> bool:
        return self._client is not None

    def sockets(self) -> list[socket.socket]:
        if self._client is None:
            return [self._listening]
        return [self._client] if self.channel.room() else []

    def receive(self) -> None:
        if (self._client is None or self._unproved()) and not self._accept() and self._client is None:
            return
        assert self._client is not None
        while size := min(CHUNK, self.channel.room()):
            try:
                data = self._client.recv(size)
            except BlockingIOError:
                return
            except OSError:  # whatever a connection dies of
                data = b""
            if not data:
                self._hang_up()
                return
            self.channel.receive(data)

    def _unproved(self) -> bool:
        """Whether the client has had its time and nothing of what it sent was taken."""
        late = self.channel.signed and time.monotonic() - self._since > PROOF
        return late and self.channel.received == self._received

    def _accept(self) -> bool:
        """Take the next client that waits, in the place of one that there may be."""
        try:
            client, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return False
        self._hang_up()
        self._client, self._since, self._received = client, time.monotonic(), self.channel.received
        self._client.setblocking(False)
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.met = True
        return True

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._rest = None, b""
        self.channel.drop_input()

    def send(self) -> None:
        if self._client is None:
            self.channel.take_all()  # as a serial port without a cable
            return
        while self._rest or self._next():
            try:
                sent = self._client.send(self._rest)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()
                return
            self._rest = self._rest[sent:]

    def _next(self) -> bool:
        """The next few frames that wait, as one piece; a frame that was begun is always finished before."""
        pieces, size = [], 0
        while size < CHUNK and (frame := self.channel.take()) is not None:
            pieces.append(frame)
            size += len(frame)
        self._rest = b"".join(pieces)
        return bool(self._rest)

    def close(self) -> None:
        self._hang_up()
        self._listening.close()


class Udp:
    """Datagrams: to a given address (as ArduPilot's udpclient), or, as a server, to whoever sent last; on a signed
    channel a stranger's datagram goes no further, and draws none to it."""

    protocol = "UDP"

    def __init__(
        self, channel: Channel, host: str, port: int, server: bool = False, allow_remote: bool = False
    ) -> None:
        self.channel = channel
        self._peer: tuple[str, int] | None = None
        self._heard = False
        self._server = server
        checked_host(host, allow_remote, channel.signed)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if server:
                self._socket.bind((host, port))
            else:
                self._socket.connect((host, port))
        except OSError as error:
            self._socket.close()
            raise AutopilotError(f"UDP {host}:{port}: {error.strerror or error}") from error
        self._socket.setblocking(False)
        #: Datagrams that could not be sent: nobody listens there, or the buffers are full.
        self.lost = 0

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname() if self._server else self._socket.getpeername()
        return str(host), int(port)

    @property
    def client(self) -> bool:
        return self._heard

    def sockets(self) -> list[socket.socket]:
        return [self._socket]

    def receive(self) -> None:
        for _ in range(DATAGRAMS):
            try:
                data, sender = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:  # nobody listens where the last datagram went
                self._heard = False
                continue
            if self.channel.datagram(data):
                self._peer, self._heard = sender, True

    def send(self) -> None:
        if self._server and self._peer is None:
            self.channel.take_all()
            return
        frame = self.channel.take()
        while frame is not None:
            pieces, size = [frame], len(frame)
            while (frame := self.channel.take()) is not None and size + len(frame) <= DATAGRAM:
                pieces.append(frame)
                size += len(frame)
            self._send(b"".join(pieces))

    def _send(self, data: bytes) -> None:
        try:
            if self._server and self._peer is not None:
                self._socket.sendto(data, self._peer)
            else:
                self._socket.send(data)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        self._socket.close()


def parse_place(text: str) -> Place:
    """tcp:PORT on loopback, tcp:HOST:PORT, udp:HOST:PORT or udpin:HOST:PORT. Raises AutopilotError."""
    way, _, rest = text.partition(":")
    if way not in get_args(Way):
        raise AutopilotError(f"mavlink: {text!r} is none of tcp:PORT, tcp:HOST:PORT, udp:HOST:PORT, udpin:HOST:PORT")
    if way == "tcp" and ":" not in rest:
        rest = f"127.0.0.1:{rest}"
    return Place(cast(Way, way), *parse_address(rest, "mavlink"))


def open_link(channel: Channel, place: Place, allow_remote: bool = False) -> Link:
    """A channel's link at a place. Raises AutopilotError for one that cannot be had."""
    if place.way == "tcp":
        return TcpServer(channel, place.host, place.port, allow_remote)
    return Udp(channel, place.host, place.port, place.way == "udpin", allow_remote)

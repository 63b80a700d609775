"""Sockets for an autopilot's channels: a TCP server as ArduPilot's simulation has it, and UDP either way.

Nothing here waits, and nothing that a client does stops the simulation: what a client does not read is bounded by the
channel's outbox, what it sends too fast stays in its own socket's buffers (TCP) or is lost (UDP).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Protocol

from aerialworld_sim.autopilot.channel import Channel
from aerialworld_sim.autopilot.settings import AutopilotError

#: Bytes read from a socket at once, and datagrams taken in one look at it.
CHUNK, DATAGRAMS = 1 << 14, 64
#: Bytes of frames that share a datagram at most.
DATAGRAM = 1200
#: Bytes that the system keeps for a client that does not read, beside the channel's outbox.
SEND_BUFFER = 1 << 17


class Link(Protocol):
    """A channel's connection to the world."""

    channel: Channel

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


def checked_host(host: str, allow_remote: bool) -> str:
    """The host, if it is this machine's loopback or remote ones are allowed. Raises AutopilotError."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not (local or allow_remote):
        raise AutopilotError(
            f"{host} is not this machine's loopback: MAVLink has no password, and whoever reaches the port flies the "
            "vehicle; give a loopback address, or --allow-remote to mean it"
        )
    return host


class TcpServer:
    """One client at a time. A second one may connect but gets no byte until the first has gone; whoever comes back
    finds the channel as it was."""

    def __init__(self, channel: Channel, host: str = "127.0.0.1", port: int = 5760, allow_remote: bool = False) -> None:
        self.channel = channel
        self._listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listening.bind((checked_host(host, allow_remote), port))
            self._listening.listen(2)
        except OSError as error:
            self._listening.close()
            taken = "; is another autopilot running? --port or --instance takes another" * (
                error.errno == errno.EADDRINUSE
            )
            raise AutopilotError(f"TCP {host}:{port}: {error.strerror or error}{taken}") from error
        except AutopilotError:
            self._listening.close()
            raise
        self._listening.setblocking(False)
        self._client: socket.socket | None = None
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
        if self._client is None and not self._accept():
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

    def _accept(self) -> bool:
        try:
            self._client, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return False
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
    """Datagrams: to a given address (as ArduPilot's udpclient), or, as a server, to whoever sent last."""

    def __init__(
        self, channel: Channel, host: str, port: int, server: bool = False, allow_remote: bool = False
    ) -> None:
        self.channel = channel
        self._peer: tuple[str, int] | None = None
        self._heard = False
        self._server = server
        checked_host(host, allow_remote)
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
            self._peer, self._heard = sender, True
            self.channel.receive(data)

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


def parse_address(text: str, option: str) -> tuple[str, int]:
    """HOST:PORT, [HOST]:PORT not being known to MAVLink's programs. Raises AutopilotError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise AutopilotError(f"{option}: {text!r} is not HOST:PORT, a port being 1 to 65535")
    return host, int(port)

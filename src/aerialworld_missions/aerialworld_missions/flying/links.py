"""The client's ends of MAVLink links: TCP, UDP either way, and serial lines. Nothing waits for longer than a second.

An address is written as MAVLink's programs do: `tcp:HOST:PORT` connects, `udpin:HOST:PORT` (or `udp:`) listens,
`udpout:HOST:PORT` sends there, `/dev/ttyACM0` or `serial:/dev/ttyACM0:57600` is a line. Without HOST: this machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import termios
import time
import tty
from typing import Protocol

from aerialworld_core.errors import MavlinkError
from aerialworld_core.mavlink.places import checked_host, parse_address

#: Bytes and datagrams that are taken in one look; what waits longer stays with the system.
CHUNK, DATAGRAMS = 1 << 16, 200
#: Wall seconds between tries to connect, and that one may take.
AGAIN, CONNECT = 0.25, 1.0
BAUD = 115200
FORMS = "tcp:HOST:PORT, udpin:HOST:PORT, udpout:HOST:PORT or serial:/dev/ttyACM0:115200"

#: Where a datagram came from; None on links with one other end.
Address = tuple[str, int] | None


class Link(Protocol):
    """One connection to one vehicle or several."""

    #: As a log names it.
    where: str
    #: Whether its other ends are told apart by their addresses.
    many: bool

    def wait(self, seconds: float) -> None:
        """Until something has come, or for so long."""
        ...

    def receive(self) -> list[tuple[bytes, Address]]:
        """What has come, and from where; a connection that was lost is sought again."""
        ...

    def send(self, data: bytes, address: Address) -> None:
        """Send to one end; what cannot be sent is lost, as on any line."""
        ...

    def close(self) -> None: ...


def open_link(text: str, *, allow_remote: bool = False, signed: bool = False) -> Link:
    """The link of an address. Raises MavlinkError for one that is none, that cannot be had, or that is not safe: an
    address beyond this machine's loopback needs `allow_remote` and a signed link."""
    kind, _, rest = text.partition(":")
    if text.startswith("/"):
        kind, rest = "serial", text
    if kind == "serial":
        return _serial(text, rest)
    if kind not in ("tcp", "udp", "udpin", "udpout"):
        raise MavlinkError(f"--connect: {text!r} is none of {FORMS}")
    host, port = parse_address(f"127.0.0.1:{rest}" if rest.isdecimal() else rest, "--connect")
    checked_host(host, allow_remote, signed)
    if kind == "tcp":
        return TcpClient(host, port)
    return Udp(host, port, listens=kind != "udpout")


def _serial(text: str, rest: str) -> Link:
    path, _, rate = rest.replace(",", ":").partition(":")
    if not path.startswith("/") or (rate and not rate.isdecimal()):
        raise MavlinkError(f"--connect: {text!r} is none of {FORMS}")
    return SerialLine(path, int(rate) if rate else BAUD)


def _poll(descriptor: int, seconds: float) -> None:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    waiting.poll(seconds * 1e3)


class TcpClient:
    """A connection that is made when the server is there, and made again when it was lost."""

    many = False

    def __init__(self, host: str, port: int) -> None:
        self._place, self.where = (host, port), f"tcp {host}:{port}"
        self._socket: socket.socket | None = None
        self._next_try = 0.0
        #: Why the last try to connect failed.
        self.trouble = ""

    def wait(self, seconds: float) -> None:
        if self._socket is None:
            time.sleep(seconds)
        else:
            _poll(self._socket.fileno(), seconds)

    def receive(self) -> list[tuple[bytes, Address]]:
        if self._socket is None and not self._connect():
            return []
        assert self._socket is not None
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return []
        except OSError as error:
            self.trouble, data = str(error.strerror or error), b""
        if not data:
            self.close()
            return []
        return [(data, None)]

    def _connect(self) -> bool:
        if time.monotonic() < self._next_try:
            return False
        self._next_try = time.monotonic() + AGAIN
        try:
            self._socket = socket.create_connection(self._place, CONNECT)
        except OSError as error:
            self.trouble = str(error.strerror or error)
            return False
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.trouble = ""
        return True

    def send(self, data: bytes, address: Address) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return  # the other end does not read: a whole frame is lost
        except OSError as error:
            self.trouble = str(error.strerror or error)
            self.close()
            return
        if sent < len(data):
            self._finish(data[sent:])

    def _finish(self, rest: bytes) -> None:
        """A frame that was begun is finished, or the connection given up: half a frame would spoil the next."""
        assert self._socket is not None
        try:
            self._socket.settimeout(CONNECT)
            self._socket.sendall(rest)
            self._socket.setblocking(False)
        except OSError as error:
            self.trouble = str(error.strerror or error)
            self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Udp:
    """Datagrams: listening on a port that vehicles send to, or sending to one that listens."""

    def __init__(self, host: str, port: int, *, listens: bool) -> None:
        self.many, self.where = listens, f"udp{'in' if listens else 'out'} {host}:{port}"
        #: Why the last datagram was not delivered.
        self.trouble = ""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if listens:
                self._socket.bind((host, port))
            else:
                self._socket.connect((host, port))
        except OSError as error:
            self._socket.close()
            taken = "; another program listens there" * (error.errno == errno.EADDRINUSE)
            raise MavlinkError(f"--connect: {self.where}: {error.strerror or error}{taken}") from error
        self._socket.setblocking(False)

    @property
    def port(self) -> int:
        """The port of this end."""
        return int(self._socket.getsockname()[1])

    def wait(self, seconds: float) -> None:
        _poll(self._socket.fileno(), seconds)

    def receive(self) -> list[tuple[bytes, Address]]:
        found: list[tuple[bytes, Address]] = []
        for _ in range(DATAGRAMS):
            try:
                data, sender = self._socket.recvfrom(65535)
            except BlockingIOError:
                break
            except OSError as error:  # nobody listens where the last datagram went
                self.trouble = str(error.strerror or error)
                continue
            found.append((data, sender if self.many else None))
        return found

    def send(self, data: bytes, address: Address) -> None:
        try:
            if not self.many:
                self._socket.send(data)
            elif address is not None:
                self._socket.sendto(data, address)
        except OSError as error:
            self.trouble = str(error.strerror or error)

    def close(self) -> None:
        self._socket.close()


class SerialLine:
    """A serial line or USB port, raw, eight bits without parity."""

    many = False

    def __init__(self, path: str, rate: int) -> None:
        self.where, self.trouble = f"{path} at {rate} baud", ""
        speed = getattr(termios, f"B{rate}", None)
        if speed is None:
            raise MavlinkError(f"--connect: {path}: {rate} is no rate of serial lines; 57600 and 115200 are usual")
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise MavlinkError(f"--connect: {path}: {error.strerror or error}") from error
        try:
            tty.setraw(self._descriptor)
            settings = termios.tcgetattr(self._descriptor)
            settings[4] = settings[5] = speed
            termios.tcsetattr(self._descriptor, termios.TCSANOW, settings)
        except termios.error as error:
            os.close(self._descriptor)
            raise MavlinkError(f"--connect: {path} is no serial line: {error.args[-1]}") from error

    def wait(self, seconds: float) -> None:
        _poll(self._descriptor, seconds)

    def receive(self) -> list[tuple[bytes, Address]]:
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return []
        except OSError as error:  # unplugged: the vehicle falls silent
            self.trouble = str(error.strerror or error)
            time.sleep(AGAIN)
            return []
        if not data:  # hung up
            time.sleep(AGAIN)
            return []
        return [(data, None)]

    def send(self, data: bytes, address: Address) -> None:
        try:
            os.write(self._descriptor, data)
        except OSError as error:
            self.trouble = str(error.strerror or error)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

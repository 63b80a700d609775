"""A vehicle that is a recording: it says what a real ArduPilot said, when it said it, and where the recorded client had
to ask first, it waits until the client under test has asked the same.

Two things are not as recorded. The recorded clients armed in the mode that they found; ours arms in GUIDED, so that
heartbeats before arming tell GUIDED once it was asked for after the boot, as the other recordings show them. And
answers to requests for streams are given when they are asked for, as is what is asked after the recording's end.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aerialworld_core.mavlink.wire import Decoder, dialect
from aerialworld_core.mavlink.words import ARMED, Cmd

RECORDINGS = Path(os.environ.get("AERIALWORLD_SHARED", "../shared")) / "reference" / "ardupilot"
#: Messages of a vehicle that nobody waits for, and that would only cost time.
SILENT = {"PARAM_VALUE", "SERVO_OUTPUT_RAW", "RC_CHANNELS_SCALED", "SIMSTATE", "ATTITUDE", "TIMESYNC"}
#: Wall seconds that the recording waits for the client.
PATIENCE = 40.0
#: Wall seconds of a second of the vehicle, in recordings at 20 times real time.
BEAT = 0.05


def logged(name: str) -> Iterator[tuple[float, Any]]:
    """(wall second, message) of a recording; the test is skipped where there is none."""
    path = RECORDINGS / f"{name}.tlog"
    if not path.is_file():
        pytest.skip(f"no recording {path}")
    data, mavlink, at = path.read_bytes(), dialect().MAVLink(None), 0
    while at + 20 <= len(data):
        size = 12 + data[at + 9] + (13 if data[at + 10] & 1 else 0)
        yield int.from_bytes(data[at : at + 8], "big") / 1e6, mavlink.decode(bytearray(data[at + 8 : at + 8 + size]))
        at += 8 + size


def key(message: Any) -> tuple[str, int] | None:
    """What a client asks that the vehicle's further words depend on."""
    name = message.get_type()
    if name == "COMMAND_LONG" and message.command in (Cmd.COMPONENT_ARM_DISARM, Cmd.MISSION_START):
        return name, int(message.command)
    if name == "MISSION_COUNT":
        return name, int(message.count)
    return (name, int(message.seq)) if name == "MISSION_ITEM_INT" else None


class Recorded:
    """Plays a recording to a client that listens on `port` (UDP).

    refuse  of each message of the client, what is said instead of going on: messages, or None to go on
    """

    def __init__(self, name: str, guided: int, refuse: Callable[[Any], list[Any] | None] = lambda _: None) -> None:
        entries = [(t, m) for t, m in logged(name) if m.get_type() not in SILENT]
        self._entries = [(t - entries[0][0], m) for t, m in entries]
        self._guided, self._refuse = guided, refuse
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._words, self._decoder = dialect(), Decoder()
        self._link = self._words.MAVLink(None, srcSystem=1, srcComponent=1)
        #: All that the client sent, in order.
        self.asked: list[Any] = []
        self._open: list[tuple[str, int]] = []
        self._ready = self._in_guided = self._armed = False
        self._over = False
        #: Milliseconds by which the vehicle's clock is ahead of the recorded one: it runs while a question is awaited.
        self._ahead_ms = 0
        self._last: dict[str, Any] = {}
        self.stopped_at: tuple[str, int] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> Recorded:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join(10)
        self._socket.close()

    def keys(self) -> list[tuple[str, int]]:
        """What the client asked of `key`'s kinds, each once, in order."""
        return list(dict.fromkeys(k for m in self.asked if (k := key(m)) is not None))

    def commands(self) -> list[int]:
        return [m.command for m in self.asked if m.get_type() == "COMMAND_LONG"]

    def _say(self, message: Any) -> None:
        frame = message.pack(self._link)
        self._link.seq = (self._link.seq + 1) % 256
        self._socket.sendto(frame, ("127.0.0.1", self.port))

    def _play(self) -> None:
        begin, waited = time.monotonic(), 0.0
        for at, message in self._entries:
            while not self._closing and time.monotonic() < begin + waited + at:
                self._listen()
                time.sleep(0.001)
            if self._closing:
                return
            if message.get_srcSystem() < 200:
                self._tell(message)
            elif (wanted := key(message)) is not None:
                since = beat = time.monotonic()
                while wanted not in self._open and not self._closing:
                    self._listen()
                    time.sleep(0.001)
                    if time.monotonic() - beat > BEAT:
                        beat = time.monotonic()
                        self._idle()
                    if time.monotonic() - since > PATIENCE:
                        self.stopped_at = wanted
                        return
                waited += time.monotonic() - since
                self._armed = self._armed or wanted[1] == Cmd.COMPONENT_ARM_DISARM
        self._over = True
        while not self._closing:
            self._listen()
            time.sleep(BEAT)
            self._idle()

    def _tell(self, message: Any) -> None:
        name = message.get_type()
        if name == "COMMAND_ACK" and message.command in (Cmd.SET_MESSAGE_INTERVAL, Cmd.DO_SET_MODE):
            return  # given when it is asked
        if name == "HEARTBEAT":
            self._ready = self._ready or message.system_status >= 3
            if self._in_guided and message.custom_mode == 0 and not message.base_mode & ARMED:
                message = self._guided_heartbeat()
        if self._ahead_ms and hasattr(message, "time_boot_ms"):
            message.time_boot_ms += self._ahead_ms
        self._last[name] = message
        self._say(message)

    def _idle(self) -> None:
        """A second of the vehicle in which nothing happens."""
        self._ahead_ms += 1000
        if self._over:
            self._say(self._last["HEARTBEAT"])
        elif self._in_guided:
            self._say(self._guided_heartbeat())
        if (place := self._last.get("GLOBAL_POSITION_INT")) is not None:
            place.time_boot_ms += 1000
            if self._over:  # it has stopped, a moment after the recording did
                place.vx = place.vy = place.vz = 0
            self._say(place)

    def _guided_heartbeat(self) -> Any:
        kind, base = (2, 89) if self._guided == 4 else (10, 9)
        return self._words.MAVLink_heartbeat_message(kind, 3, base | ARMED * self._armed, self._guided, 3, 3)

    def _listen(self) -> None:
        while True:
            try:
                data, _ = self._socket.recvfrom(65535)
            except (BlockingIOError, ConnectionError):
                return
            self._decoder.feed(data)
            for message in self._decoder.take(100)[0]:
                self._hear(message)

    def _hear(self, message: Any) -> None:
        self.asked.append(message)
        instead = self._refuse(message)
        if instead is not None:
            for answer in instead:
                self._say(answer)
            return
        if (asked := key(message)) is not None:
            self._open.append(asked)
        if message.get_type() != "COMMAND_LONG":
            return
        if message.command in (Cmd.SET_MESSAGE_INTERVAL, Cmd.REQUEST_MESSAGE):
            self._say(self.ack(message.command, 0))
        elif message.command == Cmd.COMPONENT_ARM_DISARM and self._over:
            self._last["HEARTBEAT"].base_mode &= ~ARMED
            self._say(self.ack(message.command, 0))
        elif message.command == Cmd.DO_SET_MODE:
            self._say(self.ack(message.command, 0))
            if self._over:
                self._last["HEARTBEAT"].custom_mode = int(message.param2)
            elif message.param2 == self._guided:
                self._in_guided = self._ready  # before it is lost, as recorded
                self._say(self._guided_heartbeat())

    def ack(self, command: int, result: int) -> Any:
        return self._words.MAVLink_command_ack_message(command, result, 0, 0, 255, 190)

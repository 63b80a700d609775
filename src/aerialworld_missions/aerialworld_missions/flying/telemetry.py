"""What a vehicle has told, as the newest of it stands. Everything here has come over a network: nothing is taken for
granted, texts are stripped of what a terminal would obey, and what is kept is bounded."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aerialworld_core.earth import map_of_ned, on_earth, yaw_of_heading
from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import ARMED, Severity, Status
from aerialworld_missions.flying.clock import Step, VehicleClock

#: Texts and answers that are remembered; bytes of one text.
TEXTS, REPLIES, TEXT = 400, 400, 254
#: Places that are remembered, and seconds between them.
TRACK, APART = 100_000, 0.2
#: Seconds of the vehicle for which the pieces of a long text may be apart.
PIECES = 5.0
#: Bit of SYS_STATUS: the checks before arming have passed; EKF flags: horizontal position is absolute, is assumed.
PREARM, POSITION, ASSUMED = 0x10000000, 16, 128
#: What somebody waits for, one after the other.
ANSWERS = frozenset({"COMMAND_ACK", "MISSION_REQUEST", "MISSION_REQUEST_INT", "MISSION_ACK"})
#: Message with the vehicle's time in milliseconds whose order matters.
TIMED = frozenset({"GLOBAL_POSITION_INT", "ATTITUDE", "LOCAL_POSITION_NED", "SYSTEM_TIME"})


@dataclass(frozen=True)
class Text:
    """A status text: its running number, when it came (vehicle seconds), how severe it is, what it says."""

    number: int
    at: float
    severity: int
    text: str


@dataclass(frozen=True)
class Place:
    """Where the vehicle is: latitude and longitude × 1e7, metres above sea level and above home, velocity (3,) in map,
    yaw in map (None where it does not tell)."""

    lat_e7: int
    lon_e7: int
    altitude: float
    relative: float
    velocity: Array
    yaw: float | None


@dataclass(frozen=True)
class Local:
    """Where the vehicle is in its own plane: milliseconds since its boot, position from its estimator's origin and
    velocity, (3,) east, north, up."""

    boot_ms: int
    position: Array
    velocity: Array


@dataclass(frozen=True)
class Home:
    """Latitude and longitude × 1e7, metres above sea level."""

    lat_e7: int
    lon_e7: int
    altitude: float


class Telemetry:
    """The state of one vehicle. `take` is called with each of its messages, in the order in which they come."""

    def __init__(self, wall: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self.clock = VehicleClock(wall)
        self.heard: float | None = None
        self.heartbeats = 0
        #: How often it was armed, and booting the next moment: a copter that was restarted tells no time by itself.
        self.boots = 0
        self.kind: int | None = None
        #: Whether it signs what it sends.
        self.signed = False
        self.mode: int | None = None
        self.armed = False
        self.status = 0
        self.place: Place | None = None
        #: Milliseconds since the boot at which it was at `place`.
        self.place_ms = 0
        self.local: Local | None = None
        self.home: Home | None = None
        self.ekf: int | None = None
        self.healthy: bool | None = None
        #: Percent that are left in the battery; None where it does not tell.
        self.battery: int | None = None
        #: The mission's current item and its state; None before they are told.
        self.item: int | None = None
        self.mission_state: int | None = None
        self.reached: set[int] = set()
        self.fence_breached = False
        self.texts: deque[Text] = deque(maxlen=TEXTS)
        self.said = 0
        self.replies: deque[tuple[int, Any]] = deque(maxlen=REPLIES)
        self.answered = 0
        #: Where it has been, oldest first: vehicle seconds, latitude and longitude × 1e7, metres above home.
        self.track: deque[tuple[float, int, int, float]] = deque(maxlen=TRACK)
        #: The modes that it has told of, oldest first, and since when (vehicle seconds).
        self.modes: deque[tuple[float, int]] = deque(maxlen=TEXTS)
        self._pieces: dict[int, tuple[float, dict[int, str], int]] = {}
        self._takers = {
            "HEARTBEAT": self._heartbeat,
            "GLOBAL_POSITION_INT": self._position,
            "LOCAL_POSITION_NED": self._local,
            "HOME_POSITION": self._home,
            "EKF_STATUS_REPORT": self._ekf,
            "SYS_STATUS": self._system,
            "MISSION_CURRENT": self._mission,
            "MISSION_ITEM_REACHED": self._item_reached,
            "FENCE_STATUS": self._fence,
            "STATUSTEXT": self._text,
        }

    def take(self, message: Any) -> None:
        name = message.get_type()
        self.heard = self._wall()
        if name in TIMED and self.clock.note(int(message.time_boot_ms)) is Step.OLD:
            return  # it has been overtaken by a newer one
        taker = self._takers.get(name)
        if taker is not None:
            taker(message)
        elif name in ANSWERS:
            self.answered += 1
            self.replies.append((self.answered, message))

    @property
    def restarts(self) -> int:
        """How often it has begun anew, by its clock or its heartbeats."""
        return self.clock.restarts + self.boots

    @property
    def silence(self) -> float:
        """Wall seconds since the last message."""
        return math.inf if self.heard is None else self._wall() - self.heard

    @property
    def has_position(self) -> bool:
        """Whether the vehicle knows where it is, and does not only assume it."""
        return self.ekf is not None and bool(self.ekf & POSITION) and not self.ekf & ASSUMED

    def answers(self, after: int, *names: str) -> list[tuple[int, Any]]:
        """Answers of these names that have come after number `after`, with their numbers."""
        return [(n, m) for n, m in self.replies if n > after and m.get_type() in names]

    def texts_after(self, number: int) -> list[Text]:
        return [t for t in self.texts if t.number > number]

    def complaints(self, after: int = 0) -> list[str]:
        """Warnings and worse among the texts after a number, each once, in order."""
        return list(dict.fromkeys(t.text for t in self.texts_after(after) if t.severity <= Severity.WARNING))

    def forget_mission(self) -> None:
        """How far a mission had come: another one begins."""
        self.item = self.mission_state = None
        self.reached.clear()

    # Messages

    def _heartbeat(self, message: Any) -> None:
        self.heartbeats += 1
        if self.armed and message.system_status in (Status.BOOT, Status.CALIBRATING):
            self.boots += 1
        frame = bytes(message.get_msgbuf())
        self.signed = frame[:1] == b"\xfd" and bool(frame[2] & 1)  # MAVLink 2's incompat_flags: signed
        self.kind, self.mode, self.status = int(message.type), int(message.custom_mode), int(message.system_status)
        self.armed = bool(message.base_mode & ARMED)
        if not self.modes or self.modes[-1][1] != self.mode:
            self.modes.append((self.clock.now, self.mode))

    def _position(self, message: Any) -> None:
        if not on_earth(message.lat, message.lon):
            return
        yaw = None if message.hdg == 65535 else yaw_of_heading(math.radians(message.hdg * 0.01))
        now = self.clock.now
        if not self.track or now - self.track[-1][0] >= APART:
            self.track.append((now, message.lat, message.lon, message.relative_alt * 1e-3))
        self.place_ms = int(message.time_boot_ms)
        velocity = map_of_ned(message.vx * 0.01, message.vy * 0.01, message.vz * 0.01)
        self.place = Place(
            message.lat, message.lon, message.alt * 1e-3, message.relative_alt * 1e-3, np.asarray(velocity), yaw
        )

    def _local(self, message: Any) -> None:
        position = map_of_ned(message.x, message.y, message.z)
        velocity = map_of_ned(message.vx, message.vy, message.vz)
        if np.isfinite(position).all() and np.isfinite(velocity).all():
            self.local = Local(int(message.time_boot_ms), position, velocity)

    def _home(self, message: Any) -> None:
        if on_earth(message.latitude, message.longitude):
            self.home = Home(message.latitude, message.longitude, message.altitude * 1e-3)

    def _ekf(self, message: Any) -> None:
        self.ekf = int(message.flags)

    def _system(self, message: Any) -> None:
        self.healthy = bool(message.onboard_control_sensors_health & PREARM)
        self.battery = int(message.battery_remaining) if 0 <= message.battery_remaining <= 100 else None

    def _mission(self, message: Any) -> None:
        self.item = int(message.seq)
        self.mission_state = int(getattr(message, "mission_state", 0))

    def _item_reached(self, message: Any) -> None:
        if message.seq < 10_000:
            self.reached.add(int(message.seq))

    def _fence(self, message: Any) -> None:
        self.fence_breached = bool(message.breach_status)

    def _text(self, message: Any) -> None:
        piece = _printable(message.text)
        number, at = int(getattr(message, "id", 0)), self.clock.now
        if not number:
            self._say(message.severity, piece)
            return
        since, pieces, severity = self._pieces.pop(number, (at, {}, int(message.severity)))
        pieces[min(int(message.chunk_seq), 5)] = piece
        whole = len(piece) < 50 or len(pieces) > 4
        if not whole and at - since < PIECES and len(self._pieces) < 16:
            self._pieces[number] = (since, pieces, severity)
            return
        self._say(severity, "".join(pieces[k] for k in sorted(pieces)))

    def _say(self, severity: int, text: str) -> None:
        if text:
            self.said += 1
            self.texts.append(Text(self.said, self.clock.now, int(severity), text[:TEXT]))


def _printable(text: Any) -> str:
    """A text without control characters."""
    words = text.decode("ascii", "replace") if isinstance(text, bytes | bytearray) else str(text)
    return "".join(c if c.isprintable() else " " for c in words.split("\0")[0]).rstrip()

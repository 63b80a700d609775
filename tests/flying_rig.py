"""What flights are tried with: an autopilot in a process of its own, a lossy way to it, and small plans."""

from __future__ import annotations

import contextlib
import heapq
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from aerialworld_core.frames import Georeference
from aerialworld_core.mavlink.wire import Decoder, dialect
from aerialworld_core.plan import Plan
from aerialworld_missions.flying.mission import Flight
from aerialworld_missions.flying.options import FlightOptions, Flown
from aerialworld_missions.flying.station import Station
from aerialworld_missions.flying.vehicle import Vehicle

HOME = Georeference(35.681236, 139.767125, 10.0)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def autopilot(kind: str, *arguments: str, speedup: float = 20.0, port: int = 0) -> Iterator[subprocess.Popen[str]]:
    """`aerialworld autopilot`, listening or sending as the arguments say; killed at the end of the block."""
    command = [sys.executable, "-m", "aerialworld.cli", "autopilot", "--vehicle", kind, "--speedup", str(speedup)]
    home = f"{HOME.latitude},{HOME.longitude},{HOME.height},0"
    where = [] if "--world" in arguments else ["--home", home]
    process = subprocess.Popen(
        [*command, "--port", str(port), *where, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the autopilot did not start"
        yield process
    finally:
        process.kill()
        process.wait(20)


def line_plan(
    corners: list[tuple[float, float, float]], *, speed: float = 5.0, vehicle: str = "drone_1", name: str = "line"
) -> Plan:
    """Straight legs between points of map at one speed, looking ahead, ten knots a second and one at each corner."""
    points = np.array(corners, float)
    t, position, yaw = [0.0], [points[0]], []
    for a, b in pairwise(points):
        seconds = float(np.linalg.norm(b - a)) / speed
        heading, start = float(np.arctan2(b[1] - a[1], b[0] - a[0])), t[-1]
        for share in [0.01 / seconds, *np.linspace(0.0, 1.0, max(4, int(10 * seconds)))[1:]]:
            t.append(start + seconds * share)
            position.append(a + (b - a) * share)
            yaw.append(heading)
    yaw = [yaw[0], *yaw]
    orientation = [[0.0, 0.0, np.sin(v / 2), np.cos(v / 2)] for v in yaw]
    kind = "rover" if vehicle.startswith("rover") else "drone"
    return Plan(name, vehicle, kind, "waypoints", "A", 0, np.array(t), np.array(position), np.array(orientation))


def share_covered(track: np.ndarray, centre: tuple[float, float], size: float, reach: float) -> float:
    """How much of a square lies within `reach` metres of a track (N, ≥ 2)."""
    edge = np.arange(-size / 2 + 0.5, size / 2, 1.0)
    points = np.stack(np.meshgrid(edge + centre[0], edge + centre[1]), axis=-1).reshape(-1, 2)
    nearest = np.full(len(points), np.inf)
    for place in track[:, :2]:
        nearest = np.minimum(nearest, np.hypot(*(points - place).T))
    return float((nearest <= reach).mean())


def fly_plan(
    address: str,
    plan: Plan,
    options: FlightOptions,
    *,
    during: Callable[[Flight], None] | None = None,
    system: int | None = None,
    interrupted: Callable[[], int] = lambda: 0,
    **station: Any,
) -> tuple[Flown, Flight]:
    """Fly; `during` runs beside it in a thread."""
    with Station.open(address, **station) as us:
        flight = Flight(Vehicle(us, plan.agent_type, system), plan, options, interrupted=interrupted)  # type: ignore[arg-type]
        if during is not None:
            threading.Thread(target=during, args=(flight,), daemon=True).start()
        return flight.fly(), flight


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)


@dataclass
class Faults:
    """What a way does to each direction's datagrams: share lost, doubled, held back; seconds of delay.

    drop  of each message, whether it is lost; change  what becomes of each frame towards the client
    """

    loss: float = 0.0
    double: float = 0.0
    disorder: float = 0.0
    delay: float = 0.0
    drop: Callable[[Any], bool] | None = None
    change: Callable[[Any], bytes | None] | None = None
    dark: threading.Event = field(default_factory=threading.Event)


class Way:
    """A UDP way between an autopilot that sends to `vehicle_port` and a client that listens on `client_port`."""

    def __init__(self, faults: Faults, seed: int = 0) -> None:
        self.faults, self._random = faults, random.Random(seed)  # noqa: S311 - faults are to be the same each time
        self._vehicle_side = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._vehicle_side.bind(("127.0.0.1", 0))
        self._client_side = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._client_side.bind(("127.0.0.1", 0))
        self.vehicle_port = int(self._vehicle_side.getsockname()[1])
        self.client_port = free_port(socket.SOCK_DGRAM)
        self._vehicle: Any = None
        self._waiting: list[tuple[float, int, bool, bytes]] = []
        self._count = 0
        self._decoders = {True: Decoder(), False: Decoder()}
        self._closing = False
        self.passed = {True: 0, False: 0}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Way:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join(10)
        self._vehicle_side.close()
        self._client_side.close()

    def _run(self) -> None:
        for s in (self._vehicle_side, self._client_side):
            s.setblocking(False)
        while not self._closing:
            busy = self._read(self._vehicle_side, True) + self._read(self._client_side, False)
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, down, data = heapq.heappop(self._waiting)
                self._deliver(down, data)
            if not busy:
                time.sleep(0.001)

    def _read(self, source: socket.socket, down: bool) -> int:
        taken = 0
        for _ in range(100):
            try:
                data, sender = source.recvfrom(65535)
            except (BlockingIOError, ConnectionError):
                break
            if down:
                self._vehicle = sender
            taken += 1
            for frame in self._frames(data, down):
                self._put(frame, down)
        return taken

    def _frames(self, data: bytes, down: bool) -> list[bytes]:
        """A datagram's frames one by one: that is how they are lost on a radio."""
        faults = self.faults
        decoder = self._decoders[down]
        decoder.feed(data)
        found: list[bytes] = []
        for message in decoder.take(500)[0]:
            if faults.drop is not None and faults.drop(message):
                continue
            frame = bytes(message.get_msgbuf())
            if down and faults.change is not None:
                frame = faults.change(message) or frame
            found.append(frame)
        return found

    def _put(self, frame: bytes, down: bool) -> None:
        faults, draw = self.faults, self._random.random
        if faults.dark.is_set() or draw() < faults.loss:
            return
        for _ in range(1 + (draw() < faults.double)):
            late = faults.delay + (0.05 * draw() if draw() < faults.disorder else 0.0)
            self._count += 1
            heapq.heappush(self._waiting, (time.monotonic() + late, self._count, down, frame))

    def _deliver(self, down: bool, data: bytes) -> None:
        self.passed[down] += 1
        with contextlib.suppress(OSError):
            if down:
                self._client_side.sendto(data, ("127.0.0.1", self.client_port))
            elif self._vehicle is not None:
                self._vehicle_side.sendto(data, self._vehicle)


class Meddler:
    """Somebody else on the vehicle's TCP port: another ground station that changes modes and parameters."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._words = dialect()
        self._link = self._words.MAVLink(None, srcSystem=200, srcComponent=1)

    def close(self) -> None:
        self._socket.close()

    def send(self, message: Any) -> None:
        self._socket.sendall(message.pack(self._link))
        self._link.seq = (self._link.seq + 1) % 256

    def command(self, number: int, *params: float) -> None:
        filled = [float(p) for p in params] + [0.0] * (7 - len(params))
        self.send(self._words.MAVLink_command_long_message(1, 1, number, 0, *filled))

    def set(self, name: str, value: float) -> None:
        self.send(self._words.MAVLink_param_set_message(1, 1, name.encode(), value, 9))

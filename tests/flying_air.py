"""Flights in made-up time: our client and embedded autopilots in one thread, with a seeded radio between them.

Nothing waits for the wall's clock, so that a mission takes half a second, a thousand uploads a minute, and a seed gives
the same run each time. The station, its decoders, the vehicle, guard and mission are the real ones; what is made up is
the clock that they look at and the link. One second of the vehicle is one second of the client.
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aerialworld_core.plan import Plan
from aerialworld_missions.flying import guard, upload, vehicle
from aerialworld_missions.flying.links import Address
from aerialworld_missions.flying.mission import Flight
from aerialworld_missions.flying.options import FlightOptions, Flown, Recording
from aerialworld_missions.flying.station import Station
from aerialworld_missions.flying.vehicle import Kind, Vehicle

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src/aerialworld_sim/test"))
from autopilot_recordings import Bench

#: Seconds of a step, as long as the autopilot's.
STEP = 0.01


@dataclass
class Radio:
    """What happens to each frame of a direction: the share that is lost, doubled, overtaken by up to `late` seconds,
    damaged; how often all is lost for three seconds; and seconds that every frame takes."""

    loss: float = 0.0
    double: float = 0.0
    disorder: float = 0.0
    late: float = 0.5
    damage: float = 0.0
    bursts: float = 0.0
    delay: float = 0.0


#: F12 of the fault matrix, but for the loss.
BAD = Radio(double=0.05, disorder=0.10, damage=0.01, bursts=0.0005, delay=0.02)


class Way:
    """One direction of a radio."""

    def __init__(self, radio: Radio, seed: int) -> None:
        self._radio, self._random = radio, random.Random(seed)  # noqa: S311 - the same each time
        self._under_way: list[tuple[float, int, bytes]] = []
        self._count = 0
        self._dead_until = -1.0

    def put(self, now: float, data: bytes) -> None:
        radio, draw = self._radio, self._random.random
        if draw() < radio.bursts:
            self._dead_until = now + 3.0
        for _ in range(1 + (draw() < radio.double)):
            if now < self._dead_until or draw() < radio.loss:
                continue
            late = radio.delay + (radio.late * draw() if draw() < radio.disorder else 0.0)
            if draw() < radio.damage:
                spoilt = bytearray(data)
                spoilt[self._random.randrange(len(spoilt))] ^= 1 << self._random.randrange(8)
                data = bytes(spoilt)
            self._count += 1
            heapq.heappush(self._under_way, (now + late, self._count, data))

    def take(self, now: float) -> Iterator[bytes]:
        while self._under_way and self._under_way[0][0] <= now:
            yield heapq.heappop(self._under_way)[2]


class Air:
    """Autopilots (`Bench`) at addresses, and a station that hears them; also the station's link and its condition.

    at      what happens once a moment of `now` has come: functions of no argument
    silent  benches that are switched off: they neither hear nor speak, nor does their time pass
    deaf    benches that go on, and whose radio is dead
    """

    many, where = True, "air"

    def __init__(self, benches: list[Bench], radio: Radio | None = None, seed: int = 0) -> None:
        self.benches = benches
        self.now = 0.0
        self.at: list[tuple[float, Callable[[], None]]] = []
        self.when: list[tuple[Callable[[], Any], Callable[[], None]]] = []
        self.silent: set[int] = set()
        self.deaf: set[int] = set()
        radio = radio or Radio()
        self._up = [Way(radio, 2 * (seed * 100 + k)) for k in range(len(benches))]
        self._down = [Way(radio, 2 * (seed * 100 + k) + 1) for k in range(len(benches))]
        self.station = Station(self, wall=lambda: self.now)
        self.station.changed = self  # type: ignore[assignment]

    # A link

    def send(self, data: bytes, address: Address) -> None:
        if address is not None:
            self._up[address[1]].put(self.now, data)

    def wait(self, seconds: float) -> None:
        """As a condition: until something has come, or for so long."""
        until = self.now + seconds
        while not self.step() and self.now < until - 1e-9:
            pass

    def close(self) -> None: ...

    # A condition

    def __enter__(self) -> Air:
        return self

    def __exit__(self, *_: object) -> None: ...

    # Time

    def step(self) -> bool:
        """10 ms of all; whether anything has come."""
        self.now += STEP
        for due in [a for a in self.at if a[0] <= self.now]:
            self.at.remove(due)
            due[1]()
        for due in [w for w in self.when if w[0]()]:
            self.when.remove(due)
            due[1]()
        came = False
        for k, bench in enumerate(self.benches):
            if k in self.silent:
                continue
            for data in self._up[k].take(self.now):
                if k not in self.deaf:
                    bench.channel.receive(data)
            bench.autopilot.advance(10_000_000)
            bench.vehicle.step(10_000_000)
            while (frame := bench.channel.take()) is not None:
                if k not in self.deaf:
                    self._down[k].put(self.now, frame)
            for data in self._down[k].take(self.now):
                self.station._take(data, ("air", k))
                came = True
        self.station._beat()
        return came


@contextmanager
def made_up_time(air: Air) -> Iterator[None]:
    """The client's modules look at the air's clock."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (vehicle, upload, guard):
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: air.now))
        yield


class Recorder:
    """A recording that notes when it was started and stopped."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self.begun: float | None = None
        self.ended: float | None = None

    def start(self) -> None:
        assert self.begun is None
        self.begun = self._air.now

    def stop(self) -> None:
        assert self.ended is None
        self.ended = self._air.now

    def finish(self) -> None: ...


def fly(
    air: Air,
    kind: Kind,
    plan: Plan,
    options: FlightOptions,
    *,
    system: int | None = None,
    recording: Recording | None = None,
    before: Callable[[Flight], None] = lambda flight: None,
) -> tuple[Flown, Flight]:
    """A whole mission; `before` may prepare what happens on the way."""
    with made_up_time(air):
        flight = Flight(Vehicle(air.station, kind, system), plan, options, recording=recording)
        before(flight)
        return flight.fly(), flight

"""What `aerialworld mission fly` and the mission script do: plans, worlds and addresses to flights, and what is told of
them."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from aerialworld.console import note, say
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import OptionError, numbers
from aerialworld_core.frames import Georeference
from aerialworld_core.piloting import MAVLINK_PORT, PORTS_PER_INSTANCE
from aerialworld_core.plan import Plan

PACKAGE = "aerialworld_missions.flying"
#: Wall seconds between lines of progress of one vehicle.
INTERVAL = 5.0


@dataclass(frozen=True)
class FlyOptions:
    """What is asked for, as on the command line."""

    connect: list[str]
    world: Path | None = None
    origin: str | None = None
    method: str | None = None
    end: str | None = None
    record: str | None = None
    key: Path | None = None
    allow_remote: bool = False
    system: int = 255
    link_patience: float = 30.0
    battery: int = 15
    stuck: float = 60.0
    ready: float = 120.0
    rate: float = 10.0
    wait: float = 30.0
    trust_collada: bool = False


def fly(options: FlyOptions, plans_in: Callable[[Any], list[Plan]]) -> None:
    """Fly the plans that `plans_in` makes in the world (None without one). Raises typer.Exit with the first outcome's
    exit code that is not 0, AerialWorldError for what is wrong before anything flies."""
    _check(options)
    world = open_world(options.world, trust_collada=options.trust_collada) if options.world else None
    plans = plans_in(world)
    flight = _flight_options(options, world)
    with _recording(options.record) as recording:
        sorties = _sorties(options, plans, flight, recording)
        us = stage(f"{PACKAGE}.fleet", "Us")(options.system, 190, options.key, options.allow_remote)
        with _interrupts() as interrupted:
            told = _Teller(several=len(plans) > 1)
            flown = stage(f"{PACKAGE}.fleet", "fly_all")(sorties, us, report=told.tell, interrupted=interrupted)
    codes = stage(f"{PACKAGE}.outcomes", "EXIT_CODES")
    for plan, result in zip(plans, flown, strict=True):
        say(f"{plan.vehicle}: {result.outcome}: {result.reason} ({result.mode}, {'armed' if result.armed else 'off'})")
    if code := next((codes[r.outcome] for r in flown if codes[r.outcome]), 0):
        raise typer.Exit(code)


def _check(options: FlyOptions) -> None:
    positive = {"--link-patience": options.link_patience, "--stuck": options.stuck, "--ready": options.ready}
    positive["--wait"] = options.wait
    for name, value in positive.items():
        if not (math.isfinite(value) and value > 0):
            raise OptionError(f"{name}: {value} is no time in seconds")
    if not 0.5 <= options.rate <= 50.0:
        raise OptionError(f"--rate: {options.rate:g} is not 0.5 to 50 a second")
    if not 0 <= options.battery <= 99:
        raise OptionError(f"--battery: {options.battery} is not 0 to 99 %")
    for name, word, known in (
        ("--method", options.method, ("auto", "guided")),
        ("--end", options.end, ("rtl", "land", "hold")),
    ):
        if word is not None and word not in known:
            raise OptionError(f"{name}: {word!r} is none of {', '.join(known)}")
    if options.world is not None and options.origin is not None:
        raise OptionError("--origin: the world says where it lies; give one of --world and --origin")
    if options.allow_remote and options.key is None:
        raise OptionError("--allow-remote: needs --key FILE, so that only messages signed with it count")


def _flight_options(options: FlyOptions, world: Any) -> Any:
    reference, ground, transit = None, None, None
    if options.origin is not None:
        latitude, longitude, height = numbers(options.origin, 3, "--origin")
        if abs(latitude) > 89.9 or abs(longitude) > 180.0 or abs(height) > 9000.0:
            raise OptionError(f"--origin: {options.origin!r} is no place on earth (latitude, longitude, height)")
        reference = Georeference(latitude, longitude, height)
    if world is not None:
        reference = world.require_place()
        around = stage(f"{PACKAGE}.surroundings")
        ground = lambda x, y: around.ground_at(world, x, y)  # noqa: E731
        transit = lambda a, b: around.transit_height(world, a, b)  # noqa: E731
    limits = stage(f"{PACKAGE}.guard", "Limits")(options.link_patience, options.battery, options.stuck)
    return stage(f"{PACKAGE}.options", "FlightOptions")(
        method=options.method,
        end=options.end,
        georeference=reference,
        ground=ground,
        transit=transit,
        rate=options.rate,
        connect=options.wait,
        ready=options.ready,
        limits=limits,
    )


def _sorties(options: FlyOptions, plans: list[Plan], flight: Any, recording: Any) -> list[Any]:
    connect = options.connect or [f"tcp:127.0.0.1:{MAVLINK_PORT + PORTS_PER_INSTANCE * n}" for n in range(len(plans))]
    if len(connect) != len(plans):
        raise OptionError(f"--connect: {len(connect)} addresses for {len(plans)} plans: give one for each")
    sortie, made = stage(f"{PACKAGE}.fleet", "Sortie"), []
    for plan, text in zip(plans, connect, strict=True):
        address, at, system = text.partition("@")
        if at and not system.isdecimal():
            raise OptionError(f"--connect: {text!r}: what follows @ is a MAVLink system id")
        made.append(sortie(plan, address, int(system) if at else None, flight, recording))
    return made


@contextmanager
def _recording(node: str | None) -> Iterator[Any]:
    """The recorder of that node's name, started once for all vehicles and stopped with the last; None without one."""
    if node is None:
        yield None
        return
    client = stage("aerialworld_missions.nodes.recording", "RecorderClient")
    with client.of(node) as recording:
        recording.require()
        yield recording


@contextmanager
def _interrupts() -> Iterator[Callable[[], int]]:
    """How often the user wanted to stop: Ctrl-C and SIGTERM do not end the command, but the flight, which lands."""
    asked = 0

    def ask(_number: int, _frame: Any) -> None:
        nonlocal asked
        asked += 1
        note("landing (drones) or stopping (rovers); once more: do not watch that" if asked == 1 else "leaving")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Teller:
    """Lines about flights on stderr: at each new phase, and now and then in one."""

    def __init__(self, several: bool) -> None:
        self._several = several
        self._last: dict[str, tuple[str, float]] = {}

    def tell(self, vehicle: str, progress: Any) -> None:
        phase, at = self._last.get(vehicle, ("", 0.0))
        if progress.phase == phase and time.monotonic() - at < INTERVAL:
            return
        self._last[vehicle] = (progress.phase, time.monotonic())
        note(f"{f'{vehicle}: ' * self._several}{progress.phase} ({progress.share:.0%}): {progress.text}")

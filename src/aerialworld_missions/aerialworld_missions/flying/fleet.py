"""Several vehicles flown at once: a thread for each flight, a station for each link, which vehicles may share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from aerialworld_core.errors import InputError
from aerialworld_core.plan import Plan
from aerialworld_missions.flying.mission import Flight
from aerialworld_missions.flying.options import FlightOptions, Flown, Progress, Recording
from aerialworld_missions.flying.station import Station
from aerialworld_missions.flying.vehicle import Kind, Vehicle


@dataclass(frozen=True)
class Sortie:
    """A plan, the vehicle that flies it, and how. `system` None: the first vehicle that is heard at the address."""

    plan: Plan
    address: str
    system: int | None = None
    options: FlightOptions = field(default_factory=FlightOptions)
    recording: Recording | None = None


@dataclass(frozen=True)
class Us:
    """This end of the links: MAVLink ids, and the key where they are signed."""

    system: int = 255
    component: int = 190
    key: Path | None = None
    allow_remote: bool = False

    def __post_init__(self) -> None:
        for name, value in (("system", self.system), ("component", self.component)):
            if not 1 <= value <= 255:
                raise InputError(f"our MAVLink {name} id is 1 to 255, not {value}")


def fly_all(
    sorties: Sequence[Sortie],
    us: Us,
    *,
    report: Callable[[str, Progress], None] = lambda vehicle, progress: None,
    interrupted: Callable[[], int] = lambda: 0,
) -> list[Flown]:
    """Fly all plans at once; what each came to, in their order. `report` is told of each by its plan's vehicle, from
    its own thread. Raises AerialWorldError for what is wrong before anything flies; when one flight fails in a way that
    no rule foresees, the others are ended as if interrupted, and its error is raised."""
    _check(sorties)
    failed = threading.Event()
    results: list[Flown | BaseException | None] = [None] * len(sorties)
    with ExitStack() as stack:
        stations: dict[str, Station] = {}
        for sortie in sorties:
            if sortie.address not in stations:
                station = Station.open(
                    sortie.address,
                    system=us.system,
                    component=us.component,
                    key=us.key,
                    allow_remote=us.allow_remote,
                )
                stations[sortie.address] = stack.enter_context(station)

        def stops() -> int:
            return interrupted() or int(failed.is_set())

        flights = [_flight(s, stations[s.address], report, stops) for s in sorties]

        def fly(number: int) -> None:
            try:
                results[number] = flights[number].fly()
            except BaseException as error:
                results[number] = error
                failed.set()

        threads = [threading.Thread(target=fly, args=(n,), name=s.plan.vehicle) for n, s in enumerate(sorties)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # so that signals are heard
                thread.join(0.1)
    flown: list[Flown] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        assert result is not None
        flown.append(result)
    return flown


def _flight(
    sortie: Sortie, station: Station, report: Callable[[str, Progress], None], interrupted: Callable[[], int]
) -> Flight:
    kind: Kind = "rover" if sortie.plan.agent_type == "rover" else "drone"
    name = sortie.plan.vehicle
    return Flight(
        Vehicle(station, kind, sortie.system),
        sortie.plan,
        sortie.options,
        report=lambda progress: report(name, progress),
        recording=sortie.recording,
        interrupted=interrupted,
    )


def _check(sorties: Sequence[Sortie]) -> None:
    names = [s.plan.vehicle for s in sorties]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"{', '.join(twice)} has more than one plan: each vehicle flies one at a time")
    for sortie in sorties:
        if sortie.system is not None and not 1 <= sortie.system <= 255:
            raise InputError(f"{sortie.plan.vehicle}: a MAVLink system id is 1 to 255, not {sortie.system}")
        shared = [s for s in sorties if s.address == sortie.address]
        if len(shared) > 1 and not sortie.address.startswith("udp"):
            raise InputError(f"{sortie.address}: one vehicle at a time; several share an address like udpin:HOST:PORT")
        if len(shared) > 1 and len({s.system for s in shared} - {None}) < len(shared):
            raise InputError(f"{sortie.address}: several vehicles need a MAVLink system id each, and different ones")

"""A logged run flown again: the same vehicle, the same commands at the same times, every state compared bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.flight_log import FORMAT, VERSION, goal_of, outcome, state_record
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.parameters import MultirotorParameters, RoverParameters, Wind
from aerialworld_sim.vehicles.rover import Rover
from aerialworld_sim.vehicles.surroundings import Obstacles, Solids, Surroundings

#: A line longer than this is no line of a log; a run longer than this is not flown again.
LONGEST_LINE = 64 * 1024
LONGEST_NS = 1_000_000_000_000_000


@dataclass
class Replayed:
    """What a replay found.

    states      compared; `commands` given; `seconds` of simulation time
    complete    the log ends as a closed one does
    differing   states that are not the logged ones, `first` the line of the first and how it differs
    farthest    metres, the greatest distance between a logged position and the one that was flown
    """

    states: int = 0
    commands: int = 0
    seconds: float = 0.0
    complete: bool = False
    differing: int = 0
    first: str = ""
    farthest: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        return self.differing == 0 and self.states > 0


def replay(
    path: Path, *, world: Solids | None = None, world_sha256: str | None = None, obstacles: Obstacles | None = None
) -> Replayed:
    """Fly a log again. `world` and `obstacles` are those of the logged run.

    Raises InputError, naming the line, for what is no log, and where the run had a world or obstacles and none (or
    another world, by `world_sha256`) is given.
    """
    path = Path(path)
    lines = _lines(path)
    number, header = next(lines, (1, None))
    vehicle = _vehicle(path, number, header, world, world_sha256, obstacles)
    found = Replayed()
    last = 0
    for number, record in lines:
        where = f"{path}: line {number}"
        if found.complete:
            raise InputError(f"{where}: goes on after its end")
        t = record.get("t")
        if isinstance(t, bool) or not isinstance(t, int) or not last <= t <= LONGEST_NS:
            raise InputError(f"{where}: time {str(t)[:40]} must be a whole number of nanoseconds that does not go back")
        if t > vehicle.state.stamp_ns:
            vehicle.step(t - vehicle.state.stamp_ns)
        last = t
        if "goal" in record:
            try:
                vehicle.command(goal_of(record["goal"]))
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
            found.commands += 1
        elif "state" in record:
            _compare(where, record, vehicle, found)
        elif "reset" in record:
            given = record["reset"]
            vehicle.reset(None if given is None else _state(where, given, t))
            last = vehicle.state.stamp_ns
        elif record.get("end") is True:
            found.complete = True
            if record.get("states") != found.states:
                raise InputError(f"{where}: {record.get('states')} states were logged, {found.states} are here")
        else:
            raise InputError(f"{where}: neither goal, state, reset nor end")
        found.seconds = max(found.seconds, vehicle.state.stamp_ns * 1e-9)
    if not found.complete:
        found.notes.append(f"{path}: the log ends without its end: it was cut short after {found.seconds:g} s")
    return found


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records, one by one; a last line without its end is left out."""
    try:
        file = open(path, "rb")  # closed below
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    with file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise InputError(f"{path}: line {number} is longer than {LONGEST_LINE} bytes: this is no flight log")
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line, parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: line {number} is no JSON: {error}") from error
            if not isinstance(record, dict):
                raise InputError(f"{path}: line {number} is no object")
            yield number, record


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _vehicle(
    path: Path, number: int, header: Any, world: Solids | None, sha256: str | None, obstacles: Obstacles | None
) -> Multirotor | Rover:
    where = f"{path}: line {number}"
    if header is None or header.get("format") != FORMAT:
        raise InputError(f"{path}: is no flight log (its first line does not say so)")
    if header.get("version") != VERSION:
        raise InputError(f"{where}: version {header.get('version')!r}; this program reads {VERSION}")
    if header.get("world") is not None and world is None:
        raise InputError(f"{where}: the run was flown in a world: give it")
    if header.get("world") is None and world is not None:
        raise InputError(f"{where}: the run was flown without a world: give none")
    if world is not None and sha256 is not None and sha256 != header["world"]:
        raise InputError(f"{where}: the run was flown in another world (sha256 {str(header['world'])[:12]}…)")
    if header.get("obstacles") and obstacles is None:
        raise InputError(f"{where}: other things moved around this run: give them")
    try:
        start = Pose(np.array(header["start"]["position"]), np.array(header["start"]["orientation"]))
        around = Surroundings(world, obstacles, float(header["ground"]))
        if header["kind"] == "rover":
            return Rover(start, parameters=RoverParameters(**header["parameters"]), surroundings=around)
        air = header["wind"]
        east, north, up = (float(v) for v in air["mean"])
        wind = Wind((east, north, up), float(air["gust"]), float(air["gust_time"]))
        return Multirotor(
            start,
            parameters=MultirotorParameters(**header["parameters"]),
            wind=wind,
            seed=int(header["seed"]),
            surroundings=around,
            on_ground=bool(header["on_ground"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: the vehicle cannot be made of it: {error!r}") from error


def _state(where: str, numbers: Any, t: int) -> VehicleState:
    ok = isinstance(numbers, list) and len(numbers) == 16
    if not ok or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise InputError(f"{where}: a state is 16 numbers")
    v = np.array(numbers, np.float64)
    return VehicleState(t, Pose(v[:3], v[3:7]), v[7:10], v[10:13], v[13:])


def _compare(where: str, record: dict[str, Any], vehicle: Multirotor | Rover, found: Replayed) -> None:
    logged = _state(where, record["state"], record["t"])
    flown = state_record(vehicle.state)
    found.states += 1
    apart = float(np.linalg.norm(logged.pose.position - vehicle.state.pose.position))
    found.farthest = max(found.farthest, apart)
    names = ("contact", "incident")
    said = {name: record.get(name) for name in names}
    if flown != record["state"] or vehicle.state.stamp_ns != record["t"] or said != outcome(vehicle):
        found.differing += 1
        if not found.first:
            found.first = f"{where}: {apart:.3g} m from where it was; logged {said}, flown {outcome(vehicle)}"

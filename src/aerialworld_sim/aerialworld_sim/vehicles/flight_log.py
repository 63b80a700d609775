"""A log of what a vehicle was told and what it did: JSON lines, from which the run can be flown again exactly.

    {"format": "aerialworld flight log", "version": 1, "kind": "drone", "start": {…}, "parameters": {…}, …}
    {"t": 0, "goal": {"kind": "TakeOff", "altitude": 30.0}}
    {"t": 20000000, "state": [16 numbers], "contact": "GROUND", "incident": ""}
    {"t": 20000000, "reset": null}
    {"t": 60000000000, "end": true, "states": 3000}

`t` is the vehicle's stamp, nanoseconds; a state holds `VehicleState.pose_13d` and the acceleration. Numbers are written
so that they are read back bit for bit. A log that a crash cut short is good up to its last whole line.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from aerialworld_core.errors import InputError
from aerialworld_core.files import storage_errors
from aerialworld_core.frames import Array
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.goals import same_goal
from aerialworld_sim.vehicles.interface import Contact, Goal, Kind
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.rover import Rover

FORMAT, VERSION = "aerialworld flight log", 1
GOALS = {kind.__name__: kind for kind in Goal.__args__}


class LoggedVehicle:
    """A vehicle that writes down its commands and states; itself a `SimulatedVehicle`.

    every_ns  a state is written at least so far apart, at the end of a step
    world     sha256 of the world that it flies in, so that a replay can tell whether it has the same; None without one

    Raises StorageError where the file cannot be written. Close it, or use it as a context manager.
    """

    def __init__(
        self, vehicle: Multirotor | Rover, path: Path, *, every_ns: int = 100_000_000, world: str | None = None
    ) -> None:
        if every_ns <= 0:
            raise InputError(f"states cannot be written every {every_ns} ns")
        self.vehicle, self.path = vehicle, Path(path)
        self.kind: Kind = vehicle.kind
        self._every = every_ns
        self._next = 0
        self._states = 0
        self._goal: Goal | None = None
        with storage_errors(self.path):
            self._file: TextIO = open(self.path, "w", encoding="utf-8")  # closed by `close`
        self._write(_header(vehicle, world))
        self._write_state()

    def __enter__(self) -> LoggedVehicle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the end and close the file."""
        if not self._file.closed:
            self._write({"t": self._now, "end": True, "states": self._states})
            with storage_errors(self.path):
                self._file.close()

    @property
    def state(self) -> VehicleState:
        return self.vehicle.state

    @property
    def contact(self) -> Contact:
        return self.vehicle.contact

    @property
    def incident(self) -> str:
        return self.vehicle.incident

    @property
    def throttle(self) -> float:
        return self.vehicle.throttle

    @property
    def circled(self) -> float:
        return self.vehicle.circled

    def stopping_point(self) -> Array:
        return self.vehicle.stopping_point()

    def command(self, goal: Goal) -> None:
        self.vehicle.command(goal)
        if not same_goal(goal, self._goal):
            self._goal = goal
            self._write({"t": self._now, "goal": goal_record(goal)})

    def arrived(self) -> bool:
        return self.vehicle.arrived()

    def step(self, dt_ns: int) -> VehicleState:
        state = self.vehicle.step(dt_ns)
        if self._now >= self._next:
            self._write_state()
        return state

    def reset(self, state: VehicleState | None = None) -> None:
        self._write({"t": self._now, "reset": None if state is None else state_record(state)})
        self.vehicle.reset(state)
        self._goal = None
        self._next = 0
        self._write_state()

    @property
    def _now(self) -> int:
        return self.vehicle.state.stamp_ns

    def _write_state(self) -> None:
        record = {"t": self._now, "state": state_record(self.vehicle.state), **outcome(self.vehicle)}
        self._write(record)
        self._states += 1
        self._next = self._now + self._every

    def _write(self, record: dict[str, Any]) -> None:
        with storage_errors(self.path):
            self._file.write(json.dumps(record, allow_nan=False) + "\n")


def outcome(vehicle: Multirotor | Rover) -> dict[str, str]:
    return {"contact": vehicle.contact.name, "incident": vehicle.incident}


def state_record(state: VehicleState) -> list[float]:
    """The 16 numbers of a state."""
    return [*state.pose_13d().tolist(), *state.linear_acceleration.tolist()]


def goal_record(goal: Goal) -> dict[str, Any]:
    """A goal as JSON."""
    values = {f.name: getattr(goal, f.name) for f in fields(goal)}
    return {"kind": type(goal).__name__} | {
        name: np.asarray(value, np.float64).tolist() if value is not None else None for name, value in values.items()
    }


def goal_of(record: Any) -> Goal:
    """The goal of a record; raises InputError for what is none."""
    if not isinstance(record, dict) or record.get("kind") not in GOALS:
        raise InputError(f"{str(record)[:80]} is no goal; there are {', '.join(sorted(GOALS))}")
    kind = GOALS[record["kind"]]
    names = {f.name for f in fields(kind)}
    given = {name: value for name, value in record.items() if name != "kind"}
    if set(given) - names:
        raise InputError(f"a {record['kind']} has no {sorted(set(given) - names)}")
    values: dict[str, Any] = {}
    for name, value in given.items():
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers if value is not None):
            raise InputError(f"{record['kind']}.{name}: {str(value)[:80]} is no number")
        values[name] = np.array(value, np.float64) if isinstance(value, list) else value
    try:
        goal: Goal = kind(**values)
    except TypeError as error:
        raise InputError(f"{record['kind']}: {error}") from error
    return goal


def _header(vehicle: Multirotor | Rover, world: str | None) -> dict[str, Any]:
    start = vehicle.start
    common = {
        "format": FORMAT,
        "version": VERSION,
        "kind": vehicle.kind,
        "start": {"position": start.position.tolist(), "orientation": start.orientation.tolist()},
        "parameters": asdict(vehicle.parameters),
        "world": world,
        "ground": vehicle.surroundings.plane,
        "obstacles": vehicle.surroundings.has_obstacles,
    }
    if isinstance(vehicle, Multirotor):
        common |= {"wind": asdict(vehicle.wind), "seed": vehicle.seed, "on_ground": vehicle.on_ground}
    return common

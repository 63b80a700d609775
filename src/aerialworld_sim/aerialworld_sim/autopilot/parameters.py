"""An autopilot's parameters: ArduPilot's names, values and types, listed, read and set as its ground stations do it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aerialworld_core.mavlink.wire import Message
from aerialworld_sim.autopilot.parameter_table import COPTER, ROVER
from aerialworld_sim.autopilot.settings import AutopilotError
from aerialworld_sim.vehicles.interface import Kind

#: Least and greatest value of each MAV_PARAM_TYPE that is a whole number.
INTEGERS = {2: (-(2**7), 2**7 - 1), 4: (-(2**15), 2**15 - 1), 6: (-(2**31), 2**31 - 1)}
REAL = 9
#: Kept by the autopilot itself; a client's value is not taken.
READ_ONLY = frozenset({"MIS_TOTAL", "FENCE_TOTAL", "RALLY_TOTAL", "FORMAT_VERSION", "STAT_RUNTIME", "STAT_FLTTIME"})
#: param_index of a value that was not asked for by its index.
NO_INDEX = 65535


@dataclass
class Parameter:
    """One parameter: `kind` is its MAV_PARAM_TYPE."""

    name: str
    value: float
    kind: int
    index: int

    def stored(self, value: float) -> float:
        """What becomes of a value in this type: float32, or a whole number within its range."""
        if self.kind == REAL:
            with np.errstate(over="ignore"):
                kept = float(np.float32(value))
            return kept if math.isfinite(kept) else math.copysign(float(np.finfo(np.float32).max), value)
        low, high = INTEGERS[self.kind]
        return float(min(max(round(value), low), high))


class Parameters:
    """The set of one vehicle, in the order in which it is listed."""

    def __init__(self, kind: Kind) -> None:
        self._by_name: dict[str, Parameter] = {}
        entries = [e.split() for e in (COPTER if kind == "drone" else ROVER).split(";") if e.strip()]
        for index, (name, value, type_number) in enumerate(entries):
            made = Parameter(name, 0.0, int(type_number), index)
            made.value = made.stored(float(value))
            self._by_name[name] = made
        self._in_order = list(self._by_name.values())

    def __len__(self) -> int:
        return len(self._in_order)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> float:
        return self._by_name[name].value

    def find(self, name: str) -> Parameter | None:
        return self._by_name.get(name)

    def at(self, index: int) -> Parameter | None:
        return self._in_order[index] if 0 <= index < len(self._in_order) else None

    def keep(self, name: str, value: float) -> Parameter:
        """Set by the autopilot itself, or before it boots. Raises AutopilotError for a name that there is not."""
        parameter = self._by_name.get(name)
        if parameter is None:
            raise AutopilotError(f"the autopilot has no parameter {name!r}")
        parameter.value = parameter.stored(value)
        return parameter

    def set_by_client(self, name: str, value: float) -> Parameter | None:
        """What PARAM_SET does: None for an unknown name or a value that is no number (both are met with silence), else
        the parameter with what it now holds."""
        parameter = self._by_name.get(name)
        if parameter is None or not math.isfinite(value):
            return None
        if name not in READ_ONLY:
            parameter.value = parameter.stored(value)
        return parameter

    def told(self, parameter: Parameter, with_index: bool = False) -> Message:
        """The PARAM_VALUE that tells of one of them, with its index where that was asked for."""
        fields = {
            "param_id": parameter.name.encode("ascii"),
            "param_value": parameter.value,
            "param_type": parameter.kind,
            "param_count": len(self),
            "param_index": parameter.index if with_index else NO_INDEX,
        }
        return Message("param_value", fields)

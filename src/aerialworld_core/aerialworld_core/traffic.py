"""What traffic is asked for: how many of what, from which seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from aerialworld_core.entries import parse_entries
from aerialworld_core.errors import InputError

#: More vehicles, or more pedestrians, than this are refused.
MOST = 2000


@dataclass(frozen=True)
class TrafficOptions:
    """How much traffic.

    cars, pedestrians  how many, or how many per kilometre of lane or footway where `per_km` names them
    parked             share of the cars that stand at the roadside
    emergencies        full brakings per driving car and hour
    seed               equal seeds in equal worlds give equal traffic
    """

    cars: float = 0.0
    pedestrians: float = 0.0
    parked: float = 0.3
    emergencies: float = 6.0
    seed: int = 0
    per_km: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, most in (("cars", MOST), ("pedestrians", MOST), ("parked", 1.0), ("emergencies", 60.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
                raise InputError(f"traffic: {name} is a number from 0 to {most:g}, not {value!r}")
            if name in ("cars", "pedestrians") and name not in self.per_km and value != int(value):
                raise InputError(f"traffic: {name}={value:g} is no whole number (or write {name}={value:g}/km)")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**53:
            raise InputError(f"traffic: seed is a whole number from 0 to 2^53, not {self.seed!r}")
        unknown = set(self.per_km) - {"cars", "pedestrians"}
        if unknown:
            raise InputError(f"traffic: only cars and pedestrians are counted per kilometre, not {sorted(unknown)}")

    @classmethod
    def parse(cls, text: str) -> TrafficOptions:
        """From `cars=100,pedestrians=20/km,parked=0.3,seed=1`, as on a command line. Raises InputError."""
        return cls.from_dict(parse_entries(text, "traffic", "cars=100,pedestrians=20/km"))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrafficOptions:
        """From plain values; counts per kilometre are text, such as "20/km". Raises InputError."""
        known = [field.name for field in fields(cls) if field.name != "per_km"]
        values: dict[str, Any] = {}
        per_km: list[str] = []
        for key, value in data.items():
            if key not in known:
                raise InputError(f"traffic: unknown entry {str(key)[:40]!r}; there are {', '.join(known)}")
            if isinstance(value, str):
                number, slash, unit = value.replace(" ", "").partition("/")
                if slash and (unit != "km" or key not in ("cars", "pedestrians")):
                    raise InputError(f"traffic: {key}={value[:40]}: only cars and pedestrians can be given per km")
                if slash:
                    per_km.append(key)
                value = _number(key, number)
            values[key] = value
        if "seed" in values and isinstance(values["seed"], float) and values["seed"] == int(values["seed"]):
            values["seed"] = int(values["seed"])
        return cls(**values, per_km=tuple(sorted(per_km)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, which `from_dict` reads again."""
        return {
            field.name: f"{getattr(self, field.name):g}/km"
            if field.name in self.per_km
            else _plain(getattr(self, field.name))
            for field in fields(self)
            if field.name != "per_km"
        }

    def count(self, what: str, kilometres: float) -> int:
        """How many cars or pedestrians that is, with so many kilometres to be on."""
        value = float(getattr(self, what))
        return math.floor(value * kilometres + 0.5) if what in self.per_km else int(value)


def _number(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"traffic: {key}={text[:40]} is no number") from None
    if not math.isfinite(value):
        raise InputError(f"traffic: {key}={text[:40]} is not finite")
    return value


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value == int(value) else value

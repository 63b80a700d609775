"""Conditions that are drawn anew for every session, from ranges and a seed.

A block such as

    randomise: {local_time: ["06:00", "18:00"], weather: [clear, rain, fog], rain_mm_h: [1, 20]}
    seed: 3
    date: 2024-04-01

gives every session conditions of its own: those that are fixed, and those that are drawn. Each entry's number is a hash
of seed, session and entry, so that neither other sessions nor other entries change it.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aerialworld_core.conditions import Conditions, read_document
from aerialworld_core.entries import instead_of
from aerialworld_core.errors import InputError
from aerialworld_core.weathers import EXPOSURE, PHYSICAL, WEATHERS, bounds_of

#: Entries that can be drawn.
DRAWN = ("local_time", "date", "weather", "visibility_m", "rain_mm_h", "cloud_cover", "exposure")
#: Of these, the ones whose logarithm is evenly spread: twice as much is the same step everywhere.
_LOGARITHMIC = ("visibility_m", "rain_mm_h")
_DECIMALS = {"visibility_m": 0, "rain_mm_h": 2, "cloud_cover": 3, "exposure": 2}
_MINUTES = 24 * 60
#: Seeds are whole numbers below this.
_SEEDS = 2**53


@dataclass(frozen=True)
class RandomConditions:
    """Conditions to be drawn.

    fixed      entries of `Conditions` that all sessions have
    randomise  entry → what it is drawn from: `local_time` [from, to] (past midnight where `to` is the earlier), `date`
               [from, to], `weather` a list of words (equally likely; a word twice is twice as likely), numbers
               [lowest, highest], visibility and rain rate evenly in their logarithm
    seed       whole number from 0

    A number is drawn within what the weather that was drawn allows; where its range has nothing of that, or it has no
    meaning there (rain_mm_h without rain), the weather's own default holds. Raises InputError, naming the entry, for
    what no session could have.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    randomise: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < _SEEDS:
            raise InputError(f"conditions: seed {self.seed!r} is no whole number from 0")
        if not isinstance(self.randomise, Mapping) or not self.randomise:
            raise InputError("conditions: randomise is a mapping such as local_time: ['06:00', '18:00']")
        for entry in self.randomise:
            if entry not in DRAWN:
                raise InputError(f"conditions: randomise: {entry!r} cannot be drawn; {instead_of(entry, DRAWN)}")
            if self.fixed.get(entry) is not None:
                raise InputError(f"conditions: {entry} is both fixed and in randomise")
        object.__setattr__(self, "randomise", {k: _choices(k, v) for k, v in self.randomise.items()})
        for entry in PHYSICAL:
            if entry in self.randomise and not any(self._range(entry, w) for w in self.weathers):
                raise InputError(
                    f"conditions: randomise: {entry} {list(self.randomise[entry])} fits no weather that can be drawn "
                    f"({', '.join(self.weathers)})"
                )
        for weather in self.weathers:  # what is fixed must go with each
            Conditions.from_dict({**self.fixed, **self._times(0.0, 0.0), "weather": weather})

    @property
    def weathers(self) -> tuple[str, ...]:
        """The weathers that can be drawn."""
        one = str(self.fixed.get("weather") or "clear")
        return tuple(dict.fromkeys(self.randomise.get("weather", (one,))))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RandomConditions:
        """From a mapping with `randomise`, `seed` and fixed entries. Raises InputError."""
        fixed = {k: v for k, v in data.items() if k not in ("randomise", "seed") and v is not None}
        seed = data.get("seed")
        return cls(fixed, data["randomise"], 0 if seed is None else seed)

    def to_dict(self) -> dict[str, Any]:
        return {**self.fixed, "randomise": {k: list(v) for k, v in self.randomise.items()}, "seed": self.seed}

    def draw(self, *session: str | int) -> Conditions:
        """The conditions of the session that these words name."""
        share = {entry: _share(self.seed, *session, entry) for entry in DRAWN}
        values = {**self.fixed, **self._times(share["local_time"], share["date"])}
        if "weather" in self.randomise:
            words = self.randomise["weather"]
            values["weather"] = words[int(share["weather"] * len(words))]
        for entry in ("visibility_m", "rain_mm_h", "cloud_cover", "exposure"):
            limits = self._range(entry, values.get("weather", "clear"))
            if limits is not None:
                values[entry] = _between(entry, *limits, share[entry])
        return Conditions.from_dict(values)

    def _times(self, of_day: float, of_dates: float) -> dict[str, Any]:
        """local_time and date at shares 0–1 of their ranges, where they are drawn."""
        values = {}
        if "local_time" in self.randomise:
            first, last = (_minutes(t) for t in self.randomise["local_time"])
            minute = (first + int(of_day * ((last - first) % _MINUTES + 1))) % _MINUTES
            values["local_time"] = f"{minute // 60:02d}:{minute % 60:02d}"
        if "date" in self.randomise:
            first_day, last_day = (datetime.date.fromisoformat(d) for d in self.randomise["date"])
            days = int(of_dates * ((last_day - first_day).days + 1))
            values["date"] = (first_day + datetime.timedelta(days=days)).isoformat()
        return values

    def _range(self, entry: str, weather: str) -> tuple[float, float] | None:
        """The part of a number's range that a weather allows; None where there is none, or it is not drawn."""
        if entry not in self.randomise:
            return None
        low, high = self.randomise[entry]
        bounds = EXPOSURE if entry == "exposure" else bounds_of(weather, entry)
        if bounds is None or max(low, bounds[0]) > min(high, bounds[1]):
            return None
        return max(low, bounds[0]), min(high, bounds[1])


def conditions_from(data: Any) -> Conditions | RandomConditions:
    """The conditions of a mapping; those to be drawn where it has `randomise`. Raises InputError."""
    if isinstance(data, Mapping) and "randomise" in data:
        return RandomConditions.from_dict(data)
    return Conditions.from_dict(data)


def read_conditions(path: Path) -> Conditions | RandomConditions:
    """The conditions of a JSON or YAML file. Raises InputError naming the file."""
    path = Path(path)
    try:
        return conditions_from(read_document(path))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def conditions_for(wanted: Conditions | RandomConditions, *session: str | int) -> Conditions:
    """The conditions of one session: as they are, or drawn for it."""
    return wanted.draw(*session) if isinstance(wanted, RandomConditions) else wanted


def _choices(entry: str, value: Any) -> tuple[Any, ...]:
    """What an entry is drawn from, checked."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise InputError(f"conditions: randomise: {entry} takes a list, not {value!r}; a fixed value stands outside")
    if entry == "weather":
        for word in value:
            if not isinstance(word, str) or word not in WEATHERS:
                raise InputError(
                    f"conditions: randomise: weather {word!r} is not simulated; there is {', '.join(WEATHERS)}"
                )
        return tuple(value)
    if len(value) != 2:
        raise InputError(f"conditions: randomise: {entry} takes two values, the lowest and the highest, not {value!r}")
    if entry in ("local_time", "date"):
        other = {} if entry == "local_time" else {"local_time": "12:00"}
        known = [getattr(Conditions.from_dict({**other, entry: v}), entry) for v in value]
        if None in known:
            raise InputError(f"conditions: randomise: {entry} {value!r} leaves an end open")
        if entry == "date" and known[1] < known[0]:
            raise InputError(f"conditions: randomise: date {value!r} ends before it begins")
        return tuple(known)
    numbers = [v for v in value if isinstance(v, int | float) and not isinstance(v, bool)]
    bounds = [EXPOSURE] if entry == "exposure" else [b for w in WEATHERS if (b := bounds_of(w, entry)) is not None]
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    if len(numbers) != 2 or not low <= numbers[0] <= numbers[1] <= high:
        raise InputError(
            f"conditions: randomise: {entry} {value!r} must be two numbers that rise within {low:g} and {high:g}"
        )
    return float(numbers[0]), float(numbers[1])


def _between(entry: str, low: float, high: float, share: float) -> float:
    if entry in _LOGARITHMIC:
        value = low * (high / low) ** share
    else:
        value = low + (high - low) * share
    return min(max(round(value, _DECIMALS[entry]), low), high)


def _minutes(time: str) -> int:
    return 60 * int(time[:2]) + int(time[3:])


def _share(*words: str | int) -> float:
    """A number in [0, 1) that belongs to these words."""
    text = "\0".join(map(str, words)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()[:6], "big") / 2.0**48

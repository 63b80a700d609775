"""The conditions of a recording: at what time of which day, in what weather; and the light that follows from them.

A world's SDF declares one sun, which is what Gazebo shows. Conditions that name a local time put the sun where it then
stood over the world's place on earth, and colour sun, sky and ambient light accordingly; clouds, haze, fog and rain
change either. The user's guide to them is docs/conditions.md.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.daylight import Daylight, clear_daylight, clear_light, usual_level
from aerialworld_core.entries import instead_of, parse_entries, shown
from aerialworld_core.errors import InputError
from aerialworld_core.files import open_regular, parse_json, read_counted
from aerialworld_core.frames import Array, Georeference
from aerialworld_core.skies import Exposure, weathered
from aerialworld_core.sun import sun_direction
from aerialworld_core.weathers import EXPOSURE, PHYSICAL, WEATHERS, bounds_of, where_it_fits
from aerialworld_core.world.scene import Light

#: The date of a local time that names none, where no session's start tells it.
DEFAULT_DATE = "2024-01-15"
#: A conditions file larger than this is refused unread.
MAX_FILE_BYTES = 64 * 1024

_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_YEARS = (1900, 2100)
#: Entries that are numbers.
_NUMBERS = ("utc_offset_h", "visibility_m", "rain_mm_h", "cloud_cover", "exposure")


@dataclass(frozen=True)
class Conditions:
    """Under what conditions a world is rendered.

    local_time    "HH:MM"; None: the sun that the world's SDF declares. It stands still during a session
    date          "YYYY-MM-DD", 1900 to 2100; None: the session's start, or DEFAULT_DATE
    utc_offset_h  hours that local time is ahead of UTC; None: the longitude's, in whole hours (Japan: 9)
    weather       "clear", "overcast", "haze", "fog" or "rain": sets what of the next three is left out, and bounds
                  them (`weathers.WEATHERS`)
    visibility_m  metres at which a black object has 2 % contrast left (extinction 3.912 / visibility, Koschmieder);
                  None: the air takes nothing
    rain_mm_h     rain rate, mm/h; only of rain
    cloud_cover   share of the sky, 0 to 1; None: none
    exposure      stops against the exposure of converted worlds (−10 to 10), or "auto": so that the light that falls on
                  level ground is shown as bright as theirs; None: half-way between the two, in stops, as pictures
                  without weather have it

    Raises InputError, naming the entry, for any other value, for a date or offset without a local time, and for what
    contradicts the weather.
    """

    local_time: str | None = None
    date: str | None = None
    utc_offset_h: float | None = None
    weather: str = "clear"
    visibility_m: float | None = None
    rain_mm_h: float | None = None
    cloud_cover: float | None = None
    exposure: Exposure = None

    def __post_init__(self) -> None:
        if not isinstance(self.weather, str) or self.weather not in WEATHERS:
            raise InputError(
                f"conditions: weather {shown(self.weather)} is not simulated; there is {', '.join(WEATHERS)}"
            )
        if self.local_time is None:
            for name in ("date", "utc_offset_h"):
                if getattr(self, name) is not None:
                    raise InputError(
                        f"conditions: {name} says nothing without local_time: the world's own sun does not move; "
                        "add local_time, for example 12:00"
                    )
        elif not isinstance(self.local_time, str) or not _TIME.fullmatch(self.local_time):
            raise InputError(f"conditions: local_time {shown(self.local_time)} is no time such as 07:30")
        if self.date is not None:
            _check_date(self.date)
        self._number("utc_offset_h", (-12, 14), "number of hours from -12 to 14")
        for name, unit in PHYSICAL.items():
            self._physical(name, unit)
        if isinstance(self.exposure, str) and self.exposure != "auto":
            raise InputError(f"conditions: exposure {shown(self.exposure)} is neither auto nor a number of stops")
        if self.exposure != "auto":
            self._number("exposure", EXPOSURE, f"number of stops from {EXPOSURE[0]:g} to {EXPOSURE[1]:g}, nor auto")

    def _number(self, name: str, bounds: tuple[float, float], what: str) -> None:
        """Make an entry that is set a float within bounds. Raises InputError."""
        value = getattr(self, name)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or not bounds[0] <= value <= bounds[1]:
            raise InputError(f"conditions: {name} {shown(value)} is no {what}")
        object.__setattr__(self, name, float(value))

    def _physical(self, name: str, unit: str) -> None:
        """Refuse an entry that does not go with the weather."""
        value, bounds = getattr(self, name), bounds_of(self.weather, name)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            raise InputError(f"conditions: {name} {shown(value)} is no number")
        fitting = where_it_fits(name, value)
        hint = f"; {value:g}{unit} goes with weather {' or '.join(fitting)}" if fitting else ""
        if bounds is None:
            raise InputError(f"conditions: {name} says nothing in weather {self.weather}{hint}")
        low, high = bounds
        self._number(name, bounds, f"value from {low:g} to {high:g}{unit}, as weather {self.weather} has it{hint}")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Conditions:
        """From a mapping with any of the fields; None is as if it were left out. Raises InputError, naming the nearest
        known entry, for an unknown one.

        What YAML makes of times and dates without quotation marks is understood: 12:00 is read as 720 (a number to
        base 60, which here is the minutes since midnight), and 2024-04-01 as a date.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"conditions: must be a mapping such as local_time: '07:30', not {shown(data)}")
        known = [field.name for field in dataclasses.fields(cls)]
        for key in data:
            if key not in known:
                raise InputError(f"conditions: unknown entry {shown(key)}; {instead_of(key, known)}")
        values = {key: value for key, value in data.items() if value is not None}
        time, date = values.get("local_time"), values.get("date")
        if isinstance(time, int) and not isinstance(time, bool) and 0 <= time < 24 * 60:
            values["local_time"] = f"{time // 60:02d}:{time % 60:02d}"
        if isinstance(date, datetime.date) and not isinstance(date, datetime.datetime):
            values["date"] = date.isoformat()
        return cls(**values)

    @classmethod
    def of_session(cls, recorded: Mapping[str, Any]) -> Conditions:
        """From `conditions` of session.json. Raises InputError when they hold more than can be rendered."""
        return cls.from_dict({key: value for key, value in recorded.items() if key != "sun_direction"})

    @classmethod
    def parse(cls, text: str) -> Conditions:
        """From `local_time=07:30,date=2024-04-01`, as on a command line. Raises InputError."""
        values: dict[str, Any] = dict(parse_entries(text, "conditions", "local_time=07:30"))
        for key in (key for key in _NUMBERS if key in values and values[key] != "auto"):
            try:
                values[key] = float(values[key])
            except ValueError:
                raise InputError(f"conditions: {key} {shown(values[key])} is no number") from None
        return cls.from_dict(values)

    @classmethod
    def read(cls, path: Path) -> Conditions:
        """From a JSON file, or a YAML file (PyYAML is needed). Raises InputError naming the file."""
        path = Path(path)
        try:
            return cls.from_dict(read_document(path))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """The entries that are set, plain values."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}

    def resolved(self, georeference: Georeference | None, start_time: str | None = None) -> Conditions:
        """The same with all that they imply filled in: what the weather sets, and date and offset where there is a
        local time. `start_time` is a session's (ISO 8601).

        Raises InputError for a local time without a georeference: the sun's place depends on the world's.
        """
        implied: dict[str, Any] = {k: v for k, v in WEATHERS[self.weather].usual if getattr(self, k) is None}
        known = dataclasses.replace(self, **implied) if implied else self
        if known.local_time is None:
            return known
        if georeference is None:
            raise InputError(
                "conditions: local_time needs the world's place on earth; add <spherical_coordinates> to its SDF"
            )
        offset = self.utc_offset_h
        return dataclasses.replace(
            known,
            date=self.date or (start_time[:10] if start_time else DEFAULT_DATE),
            utc_offset_h=float(round(georeference.longitude / 15.0)) if offset is None else offset,
        )

    def sun(self, georeference: Georeference) -> Array:
        """(3,) unit vector towards the sun in map (whose y is taken for true north, as NavSat does). Raises InputError
        without a local time."""
        known = self.resolved(georeference)
        if known.local_time is None or known.date is None or known.utc_offset_h is None:
            raise InputError("conditions: no local_time: the sun is the world's own")
        local = datetime.datetime.fromisoformat(f"{known.date}T{known.local_time}:00+00:00")
        instant = local - datetime.timedelta(hours=known.utc_offset_h)
        return sun_direction(instant, georeference.latitude, georeference.longitude)

    def light(self, world_light: Light, georeference: Georeference | None) -> Light:
        """The light of these conditions, with the air in it. With nothing set it is `world_light` itself; with a local
        time, `world_light` only says whether the sun casts shadows. Raises InputError for a local time without a
        georeference."""
        known = self.resolved(georeference)
        changed = known.exposure is not None or any(getattr(known, name) is not None for name in PHYSICAL)
        shadows = world_light.shadows if np.any(world_light.sun > 0) else known.local_time is not None
        if known.local_time is not None:
            assert georeference is not None
            towards = known.sun(georeference)
            if not changed:
                return clear_light(towards, shadows=shadows)
            day, usual = clear_daylight(towards), usual_level()
        elif not changed:
            return world_light
        else:
            day = _of_world(world_light)
            usual = float(day.level.mean())
            if not usual > 0:
                raise InputError(
                    "conditions: the world's own light is none, so that weather and exposure have nothing to act on; "
                    "add local_time, for example 12:00"
                )
        return weathered(
            day,
            usual,
            shadows=shadows,
            cover=known.cloud_cover or 0.0,
            visibility_m=known.visibility_m,
            rain_mm_h=known.rain_mm_h or 0.0,
            exposure=known.exposure,
        )

    def recorded(
        self, world_light: Light, georeference: Georeference | None, start_time: str | None = None
    ) -> tuple[dict[str, Any], Light]:
        """As session.json holds them — all that is set or implied, and the way the sun's light travels — and their
        light. Raises InputError as `resolved` and `light` do."""
        known = self.resolved(georeference, start_time)
        light = known.light(world_light, georeference)
        return {**known.to_dict(), "sun_direction": [round(float(v), 6) for v in light.direction]}, light


def _of_world(light: Light) -> Daylight:
    """The light that a world declares, as daylight."""
    length = float(np.linalg.norm(light.direction))
    to_sun = -np.asarray(light.direction, np.float64) / length if length > 0 else np.array([0.0, 0.0, 1.0])
    zenith = light.background if light.zenith is None else light.zenith
    sun, ambient, horizon, over = (
        np.asarray(c, np.float64) for c in (light.sun, light.ambient, light.background, zenith)
    )
    return Daylight(to_sun, sun, ambient, horizon, over, glow=np.zeros(3))


def _check_date(text: Any) -> None:
    try:
        if not isinstance(text, str) or not _DATE.fullmatch(text):
            raise ValueError
        year = datetime.date.fromisoformat(text).year
    except ValueError:
        raise InputError(f"conditions: date {shown(text)} is no date such as 2024-04-01") from None
    if not _YEARS[0] <= year <= _YEARS[1]:
        raise InputError(f"conditions: date {text} is not between {_YEARS[0]} and {_YEARS[1]}")


def read_document(path: Path) -> Any:
    """The plain data of a JSON or YAML file of conditions. Raises InputError."""
    try:
        with open_regular(path) as handle:
            raw = read_counted(handle, MAX_FILE_BYTES)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(f"larger than the {MAX_FILE_BYTES:,} bytes that conditions can have")
    try:
        return parse_json(raw) if path.suffix.lower() == ".json" else _parse_yaml(raw)
    except ValueError as error:
        raise InputError(str(error)) from error


def _parse_yaml(raw: bytes) -> Any:
    """One YAML document of plain values; aliases are refused. Raises ValueError."""
    try:
        import yaml
    except ImportError as error:
        raise InputError("YAML needs PyYAML (pip install pyyaml); or give the conditions as a .json file") from error
    try:
        if any(isinstance(event, yaml.events.AliasEvent) for event in yaml.parse(raw, Loader=yaml.SafeLoader)):
            raise ValueError("conditions use no YAML aliases")
        return yaml.safe_load(raw) or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"no YAML: {' '.join(str(error).split())}") from error

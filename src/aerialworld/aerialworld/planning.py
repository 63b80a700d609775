"""What `aerialworld mission plan` was asked, from its options' texts to what a pattern takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aerialworld.lazy import stage
from aerialworld.options import OptionError, numbers

#: Options whose names differ from what patterns call them.
OPTION = {"road_length": "length", "stops": "file"}
#: Numbers that may be anything; all others must be above 0.
_SIGNED = {"heading", "start", "offset", "overlap", "vary"}
_MOST_POINTS = 5000


def asked(pattern: str, world: Callable[[], Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What the pattern is asked, of the options that were given (None: not given); `world()` gives the world where a
    file's places need one. Raises OptionError for an option that the pattern does not take, and for a text that says
    nothing of its kind."""
    takes = stage("aerialworld_missions.asked", "takes")(pattern)
    given = {k: v for k, v in options.items() if v is not None and v is not False}
    unused = sorted(OPTION.get(k, k) for k in given if k not in takes)
    if unused:
        known = sorted(OPTION.get(k, k) for k in takes)
        raise OptionError(f"--{_dashed(unused[0])}: the pattern {pattern} does not use it; it takes {_options(known)}")
    return {k: _value(k, v, world) for k, v in given.items()}


def _value(key: str, value: Any, world: Callable[[], Any]) -> Any:
    option = f"--{_dashed(OPTION.get(key, key))}"
    if isinstance(value, bool) or key in ("name", "place", "vehicle", "altitude_frame", "avoid"):
        return value
    if isinstance(value, int | float):
        if not math.isfinite(value) or (key not in _SIGNED and key != "seed" and value <= 0):
            raise OptionError(f"{option}: {value} is not a positive number")
        return math.radians(value) if key in ("heading", "start") else value
    text = str(value)
    match key:
        case "centre" | "road":
            return numbers(text, 2, option)
        case "look":
            return text if text in ("path", "centre") else numbers(text, 2, option)
        case "size":
            edges = numbers(text, 2, option) if "," in text else numbers(text, 1, option)
            if min(edges) <= 0:
                raise OptionError(f"{option}: {text} is not a positive number")
            return edges[0] if len(edges) == 1 else edges
        case "rig":
            return stage("aerialworld_core.world", "load_rig")(text)
        case "line" | "posts":
            return _points(text, option, world, "read_line")
        case "area":
            return _points(text, option, world, "read_area")
        case "fence":
            if _is_box(text):
                return numbers(text, 4, option)
            return _points(text, option, world, "read_area")
    raise AssertionError(key)


def _points(text: str, option: str, world: Callable[[], Any], reader: str) -> Any:
    """Points of a GeoJSON file, or of a text "x,y x,y …"."""
    if text.lower().endswith((".geojson", ".json")):
        return stage("aerialworld_missions.mission_files", reader)(Path(text), world())
    parts = text.replace(";", " ").split()
    if not 2 <= len(parts) <= _MOST_POINTS:
        raise OptionError(f'{option}: {text[:60]!r} is neither a GeoJSON file nor points ("0,0 50,0 50,40")')
    return [numbers(part, 2, option) for part in parts]


def _is_box(text: str) -> bool:
    return text.count(",") == 3 and " " not in text.strip() and ";" not in text


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _options(names: list[str]) -> str:
    return ", ".join(f"--{_dashed(n)}" for n in names)

"""What the words for weather mean: the physical entries of `Conditions` that each sets, and within which bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Weather:
    """Bounds of the entries under one word, None where the entry has no meaning there; and what holds if an entry is
    left out (None: none of it).

    visibility_m  metres; rain_mm_h  mm/h; cloud_cover  0–1
    """

    visibility_m: Bounds
    cloud_cover: Bounds
    rain_mm_h: Bounds | None = None
    usual: tuple[tuple[str, float], ...] = ()


#: Haze from 1 km and fog below it (WMO), which hides the sun by itself; overcast is 7 to 8 eighths; 10 mm/h is moderate
#: to heavy rain.
WEATHERS: dict[str, Weather] = {
    "clear": Weather((5_000.0, 200_000.0), (0.0, 0.75)),
    "overcast": Weather((5_000.0, 200_000.0), (0.75, 1.0), usual=(("cloud_cover", 1.0),)),
    "haze": Weather((1_000.0, 10_000.0), (0.0, 1.0), usual=(("visibility_m", 2_000.0), ("cloud_cover", 0.0))),
    "fog": Weather((10.0, 1_000.0), (0.0, 1.0), usual=(("visibility_m", 200.0), ("cloud_cover", 0.0))),
    "rain": Weather(
        (50.0, 200_000.0), (0.5, 1.0), (0.1, 200.0), usual=(("rain_mm_h", 10.0), ("cloud_cover", 1.0))
    ),
}  # fmt: skip
#: The entries that a word for weather bounds, with their units.
PHYSICAL = {"visibility_m": " m", "cloud_cover": "", "rain_mm_h": " mm/h"}
#: Stops of a fixed exposure.
EXPOSURE: Bounds = (-10.0, 10.0)


def thick_air(conditions: Mapping[str, Any]) -> bool:
    """Whether recorded `conditions` have haze, fog or rain, so that pictures may show little and LiDARs drops."""
    return any(conditions.get(entry) is not None for entry in ("visibility_m", "rain_mm_h"))


def bounds_of(weather: str, entry: str) -> Bounds | None:
    """Within what an entry of PHYSICAL lies under a weather; None where it has no meaning there."""
    bounds: Bounds | None = getattr(WEATHERS[weather], entry)
    return bounds


def where_it_fits(entry: str, value: float) -> list[str]:
    """The weathers that an entry's value belongs to."""
    return [w for w in WEATHERS if (b := bounds_of(w, entry)) is not None and b[0] <= value <= b[1]]

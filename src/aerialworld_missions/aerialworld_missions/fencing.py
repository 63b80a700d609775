"""The fence of a plan: what was asked, or the world's bounds."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.route import Fence
from aerialworld_missions.heightmap import HeightMap
from aerialworld_missions.requests import number, polygon

#: Metres below the lowest ground of a world at which a fence ends.
_BELOW = 1.0


def fence_of(name: str, heights: HeightMap, asked: Fence | Sequence[Any] | None, start: Array, ceiling: float) -> Fence:
    """The fence of a plan that starts at `start` (2,): `asked` is (west, south, east, north), corners (K, 2), a `Fence`
    or None for the world's bounds. Heights from the world's lowest ground to `ceiling` metres above the datum.

    Raises PlanError for a fence that is none.
    """
    if isinstance(asked, Fence):
        return asked
    if asked is None:
        corners = box(*heights.low, *heights.high)
    elif isinstance(asked, Sequence | np.ndarray) and len(asked) == 4 and all(isinstance(v, Real) for v in asked):
        west, south, east, north = (number(name, "fence", v, least=-1e6, most=1e6) for v in asked)
        if not (west < east and south < north):
            raise PlanError(f"{name}: fence is west, south, east, north, rising, not {list(asked)}")
        corners = box(west, south, east, north)
    else:
        corners = polygon(name, "fence", asked)
    datum = float(heights.world.datum(float(start[0]), float(start[1])))
    floor = float(np.nanmin(heights.ground)) - _BELOW
    return Fence(np.round(corners, 3), round(min(floor, datum - _BELOW), 3), round(datum + ceiling, 3))


def box(west: float, south: float, east: float, north: float) -> Array:
    """(4, 2) corners, counter-clockwise."""
    return np.array([(west, south), (east, south), (east, north), (west, north)], np.float64)

"""Between a plan's map and what a vehicle is told: places on earth, and heights above its home."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aerialworld_core.earth import Earth
from aerialworld_core.frames import Array


@dataclass(frozen=True)
class Site:
    """Where the plan's map lies, and what height in it home has."""

    earth: Earth
    home_z: float

    def lat_lon(self, position: Array) -> tuple[int, int]:
        """Latitude and longitude × 1e7 of a point (3,) of map."""
        return self.earth.e7_of(position)

    def above_home(self, z: float) -> float:
        return float(z) - self.home_z

    def map_of(self, lat_e7: int, lon_e7: int, above_home: float) -> Array:
        """The point (3,) of map at a latitude and longitude × 1e7 and a height above home."""
        east, north = self.earth.map_of(lat_e7, lon_e7)
        return np.array([east, north, above_home + self.home_z])

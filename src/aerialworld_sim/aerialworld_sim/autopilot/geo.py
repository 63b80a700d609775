"""Between map (east, north, up) and what MAVLink speaks: latitude and longitude × 1e7, north-east-down, headings.

Latitude and longitude are those of the world's own georeference on WGS 84, as the satellite receiver's are (ArduPilot
itself reckons with a sphere, which differs by 0.3 % of a distance). Altitudes are heights over map's plane plus the
georeference's height, so that a height above home is a difference of z.
"""

from __future__ import annotations

import math

import numpy as np

from aerialworld_core.frames import Array, Georeference, rpy_from_rotation
from aerialworld_core.sensing import VehicleState

#: Degrees × 1e7 of a place without a name: MAVLink's "not set".
UNSET = 0


def heading_of(yaw: float) -> float:
    """Compass heading in radians, 0 … 2π clockwise from north, of a yaw counter-clockwise from east."""
    return (math.pi / 2 - yaw) % (2 * math.pi)


def yaw_of_heading(heading: float) -> float:
    """Yaw −π … π counter-clockwise from east of a compass heading in radians."""
    return wrapped(math.pi / 2 - heading)


def wrapped(angle: float) -> float:
    """The same angle in −π … π."""
    return math.remainder(angle, 2 * math.pi)


def ned_of(vector: Array) -> tuple[float, float, float]:
    """A vector (3,) of map as north, east, down."""
    return float(vector[1]), float(vector[0]), -float(vector[2])


def map_of_ned(north: float, east: float, down: float) -> Array:
    """A north, east, down vector in map (3,)."""
    return np.array([east, north, -down])


def attitude_of(state: VehicleState) -> tuple[float, float, float, float, float, float]:
    """Roll, pitch, yaw (radians, yaw −π … π from north) and their body rates, of a forward-right-down body."""
    roll, pitch, yaw = rpy_from_rotation(state.pose.rotation)
    p, q, r = (float(v) for v in state.angular_velocity)
    return roll, -pitch, wrapped(math.pi / 2 - yaw), p, -q, -r


class Earth:
    """Where map's points lie on earth."""

    def __init__(self, georeference: Georeference) -> None:
        self.reference = georeference

    def e7_of(self, position: Array) -> tuple[int, int]:
        """Latitude and longitude × 1e7 of a point (3,) of map."""
        from pymap3d import enu2geodetic

        g = self.reference
        latitude, longitude, _ = enu2geodetic(
            float(position[0]), float(position[1]), float(position[2]), g.latitude, g.longitude, g.height
        )
        return round(float(latitude) * 1e7), round(float(longitude) * 1e7)

    def altitude_of(self, z: float) -> float:
        """Metres above sea level of a height of map."""
        return self.reference.height + z

    def map_of(self, lat_e7: int, lon_e7: int) -> Array:
        """East and north (2,) in map of latitude and longitude × 1e7."""
        from pymap3d import geodetic2enu

        g = self.reference
        east, north, _ = geodetic2enu(lat_e7 * 1e-7, lon_e7 * 1e-7, g.height, g.latitude, g.longitude, g.height)
        return np.array([float(east), float(north)])

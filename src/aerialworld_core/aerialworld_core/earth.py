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


def map_of_body(yaw: float, forward: float, right: float, down: float) -> Array:
    """A forward, right, down vector of a level body in map (3,)."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([forward * c + right * s, forward * s - right * c, -down])


def on_earth(lat_e7: int, lon_e7: int) -> bool:
    """Whether latitude and longitude × 1e7 are those of a place."""
    return abs(lat_e7) <= 900_000_000 and abs(lon_e7) <= 1_800_000_000


def attitude_of(state: VehicleState) -> tuple[float, float, float, float, float, float]:
    """Roll, pitch, yaw (radians, yaw −π … π from north) and their body rates, of a forward-right-down body."""
    roll, pitch, yaw = rpy_from_rotation(state.pose.rotation)
    p, q, r = (float(v) for v in state.angular_velocity)
    return roll, -pitch, wrapped(math.pi / 2 - yaw), p, -q, -r


class Earth:
    """Where map's points lie on earth: WGS 84, map a plane that touches it at the georeference.

    Written out in scalars (Bowring's formula for the way back, good to a tenth of a millimetre below 10 km), because
    the telemetry asks dozens of times a second and arrays of one cost a hundred times as much.
    """

    def __init__(self, georeference: Georeference) -> None:
        self.reference = georeference
        latitude, self._longitude = math.radians(georeference.latitude), math.radians(georeference.longitude)
        self._sin, self._cos = math.sin(latitude), math.cos(latitude)
        # Earth-centred, with x through the origin's meridian.
        self._x, self._z = _meridian(self._sin, self._cos, georeference.height)

    def e7_of(self, position: Array) -> tuple[int, int]:
        """Latitude and longitude × 1e7 of a point (3,) of map."""
        east, north, up = float(position[0]), float(position[1]), float(position[2])
        x = self._x - self._sin * north + self._cos * up
        z = self._z + self._cos * north + self._sin * up
        across = math.hypot(x, east)
        angle = math.atan2(z * _A, across * _B)
        latitude = math.atan2(z + _E2_SECOND * _B * math.sin(angle) ** 3, across - _E2 * _A * math.cos(angle) ** 3)
        longitude = math.remainder(self._longitude + math.atan2(east, x), 2 * math.pi)
        return round(math.degrees(latitude) * 1e7), round(math.degrees(longitude) * 1e7)

    def altitude_of(self, z: float) -> float:
        """Metres above sea level of a height of map."""
        return self.reference.height + z

    def map_of(self, lat_e7: int, lon_e7: int) -> Array:
        """East and north (2,) in map of latitude and longitude × 1e7, at the georeference's height."""
        latitude, turn = math.radians(lat_e7 * 1e-7), math.radians(lon_e7 * 1e-7) - self._longitude
        across, z = _meridian(math.sin(latitude), math.cos(latitude), self.reference.height)
        x, east = across * math.cos(turn), across * math.sin(turn)
        north = -self._sin * (x - self._x) + self._cos * (z - self._z)
        return np.array([east, north])


#: WGS 84: half axes in metres, and the squares of its two eccentricities.
_A, _B = 6378137.0, 6356752.314245179
_E2, _E2_SECOND = 1.0 - (_B / _A) ** 2, (_A / _B) ** 2 - 1.0


def _meridian(sin_latitude: float, cos_latitude: float, height: float) -> tuple[float, float]:
    """Distance from the earth's axis and from the equator's plane, metres."""
    normal = _A / math.sqrt(1.0 - _E2 * sin_latitude * sin_latitude)
    return (normal + height) * cos_latitude, (normal * (1.0 - _E2) + height) * sin_latitude

"""From latitude, longitude and height to `map`: Japan's plane rectangular zones and the world's local origin.

`map` is the plane grid of the zone, moved: x = east − origin east, y = north − origin north, z = height above T.P. So y
points to the zone's grid north, which differs from true north by the meridian convergence (below 0.6° inside a zone).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyproj

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Georeference

#: EPSG codes of the Japan Plane Rectangular CS I … XIX on JGD2011.
PLANE_ZONES = tuple(range(6669, 6688))
#: Latitude, longitude[, height] in degrees: JGD2011 (with and without T.P. height) and WGS 84, equal to decimetres.
GEOGRAPHIC = (6697, 6668, 6667, 4326, 4979)
#: Plane zones I … XIII with T.P. height; coordinates in the order north, east, height.
PLANE_WITH_HEIGHT = tuple(range(10162, 10175))

#: A height beyond this, metres, is no place in a city.
_MAX_HEIGHT = 9000.0


@dataclass(frozen=True)
class Projection:
    """A plane coordinate system in metres, reached from latitude and longitude in double precision.

    Raises InputError for an EPSG code that is unknown, not projected or not in metres.
    """

    epsg: int
    _transformers: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            crs = pyproj.CRS.from_epsg(self.epsg)
        except pyproj.exceptions.CRSError as error:
            raise InputError(f"EPSG:{self.epsg} is not a known coordinate reference system; {ZONE_HINT}") from error
        if not crs.is_projected or any(axis.unit_name != "metre" for axis in crs.axis_info[:2]):
            raise InputError(f"EPSG:{self.epsg} ({crs.name}) is not a plane system in metres; {ZONE_HINT}")
        base = crs.geodetic_crs
        object.__setattr__(
            self,
            "_transformers",
            {
                "forward": pyproj.Transformer.from_crs(base, crs, always_xy=True),
                "inverse": pyproj.Transformer.from_crs(crs, base, always_xy=True),
                "factors": pyproj.Proj(crs),
                "name": crs.name,
            },
        )

    @property
    def name(self) -> str:
        return str(self._transformers["name"])

    def forward(self, latitude: Any, longitude: Any) -> tuple[Any, Any]:
        """East and north in metres."""
        return self._transformers["forward"].transform(longitude, latitude)

    def inverse(self, east: Any, north: Any) -> tuple[Any, Any]:
        """Latitude and longitude in degrees."""
        longitude, latitude = self._transformers["inverse"].transform(east, north)
        return latitude, longitude

    def convergence(self, latitude: float, longitude: float) -> float:
        """Degrees by which grid north (map y) lies clockwise of true north."""
        factors = self._transformers["factors"].get_factors(longitude, latitude)
        return float(factors.meridian_convergence)

    def scale(self, latitude: float, longitude: float) -> float:
        """Plane metres per metre on the ellipsoid."""
        return float(self._transformers["factors"].get_factors(longitude, latitude).meridional_scale)


ZONE_HINT = "give a plane zone, EPSG 6669 (zone I) to 6687 (zone XIX), for example 6677 for Tokyo"


@cache
def _zone_areas() -> list[tuple[int, float, tuple[float, float, float, float]]]:
    areas = []
    for code in PLANE_ZONES:
        crs: Any = pyproj.CRS.from_epsg(code)
        meridian = next(p.value for p in crs.coordinate_operation.params if "ongitude" in p.name)
        areas.append((code, float(meridian), tuple(crs.area_of_use.bounds)))
    return areas


def find_zone(latitude: float, longitude: float) -> int:
    """The plane zone of a place: of the zones whose area of use holds it, the one with the nearest central meridian.

    The official borders follow prefectures; near one, the neighbouring zone may be found, which is as exact. Raises
    InputError outside Japan.
    """
    found = [
        (abs(longitude - meridian), code)
        for code, meridian, (west, south, east, north) in _zone_areas()
        if west <= longitude <= east and south <= latitude <= north
    ]
    if not found:
        raise InputError(
            f"latitude {latitude:.5f}, longitude {longitude:.5f} lies in none of Japan's plane zones; {ZONE_HINT}"
        )
    return min(found)[1]


def zone_holds(epsg: int, latitude: float, longitude: float) -> bool:
    """Whether a place lies in the plane zone's area of use (the box around it, with 0.2° to spare)."""
    west, south, east, north = next(box for code, _, box in _zone_areas() if code == epsg)
    return west - 0.2 <= longitude <= east + 0.2 and south - 0.2 <= latitude <= north + 0.2


@dataclass(frozen=True)
class LocalFrame:
    """`map`: a plane system moved to a local origin; heights stay above T.P."""

    projection: Projection
    georeference: Georeference
    east: float
    north: float

    @classmethod
    def at(cls, projection: Projection, latitude: float, longitude: float) -> LocalFrame:
        """With the origin at a place. Raises InputError where the projection cannot reach it."""
        if not (abs(latitude) <= 90 and abs(longitude) <= 180):
            raise InputError(f"origin {latitude}, {longitude}: give latitude, longitude in degrees")
        east, north = projection.forward(latitude, longitude)
        if not np.isfinite([east, north]).all():
            raise InputError(f"origin {latitude}, {longitude} cannot be projected to {projection.name}")
        return cls(projection, Georeference(float(latitude), float(longitude), 0.0), float(east), float(north))

    @classmethod
    def at_plane(cls, projection: Projection, east: float, north: float) -> LocalFrame:
        latitude, longitude = projection.inverse(east, north)
        return cls(projection, Georeference(float(latitude), float(longitude), 0.0), float(east), float(north))

    def from_plane(self, points: Array) -> Array:
        """(…, 3) east, north, height → map."""
        return np.asarray(points, np.float64) - np.array([self.east, self.north, self.georeference.height])


def to_plane(points: Array, epsg: int, projection: Projection) -> Array:
    """Source coordinates (N, 3) of a GML file → east, north, height (N, 3); rows that are no place become NaN.

    `epsg` is the file's system: geographic (latitude, longitude, height) or plane (north, east, height).
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    good = np.isfinite(points).all(axis=1) & (np.abs(points[:, 2]) < _MAX_HEIGHT)
    plane = np.full_like(points, np.nan)
    if epsg in GEOGRAPHIC:
        good &= (np.abs(points[:, 0]) <= 90) & (np.abs(points[:, 1]) <= 180)
        east, north = projection.forward(points[good, 0], points[good, 1])
    else:
        good &= (np.abs(points[:, :2]) < 1e6).all(axis=1)
        own = Projection(plane_of(epsg))
        east, north = points[good, 1], points[good, 0]
        if own.epsg != projection.epsg:
            east, north = projection.forward(*own.inverse(east, north))
    plane[good] = np.column_stack([east, north, points[good, 2]])
    plane[~np.isfinite(plane).all(axis=1)] = np.nan
    return plane


def plane_of(epsg: int) -> int:
    """The plane zone behind a plane system's code. Raises InputError for a code that is none."""
    if epsg in PLANE_ZONES:
        return epsg
    if epsg in PLANE_WITH_HEIGHT:
        return epsg - PLANE_WITH_HEIGHT[0] + PLANE_ZONES[0]
    raise InputError(f"EPSG:{epsg} is not a coordinate reference system of PLATEAU data; {ZONE_HINT}")

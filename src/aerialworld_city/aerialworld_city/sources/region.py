"""The wanted part of the earth: meshes of JIS X 0410, boxes, circles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj

from aerialworld_city.sources import meshcode
from aerialworld_city.sources.meshcode import Box
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

#: GRS 80, the ellipsoid of JGD2011.
_GEOD = pyproj.Geod(ellps="GRS80")
#: Metres per degree of latitude, at least (110.57 km at the equator); boxes made with it are never too small.
_METRES_PER_DEGREE = 110_000.0
_MAX_RADIUS = 200_000.0


@dataclass(frozen=True)
class Region:
    """A union of boxes and circles on the ground.

    `boxes` (west, south, east, north) in degrees; `circles` (latitude, longitude in degrees, radius in metres);
    `meshes` the mesh codes that were asked for (their boxes are in `boxes` as well).
    """

    boxes: tuple[Box, ...] = ()
    circles: tuple[tuple[float, float, float], ...] = ()
    meshes: tuple[str, ...] = ()

    def contains(self, latitude: Array, longitude: Array) -> Any:
        """(N,) bool: which places lie in it, edges included; circles by the geodesic distance on GRS 80.

        Places that are not finite lie in no region.
        """
        latitude, longitude = np.broadcast_arrays(np.asarray(latitude, float), np.asarray(longitude, float))
        inside = np.zeros(latitude.shape, bool)
        for west, south, east, north in self.boxes:
            inside |= (latitude >= south) & (latitude <= north) & (longitude >= west) & (longitude <= east)
        for centre_latitude, centre_longitude, radius in self.circles:
            west, south, east, north = _around(centre_latitude, centre_longitude, radius)
            near = (latitude >= south) & (latitude <= north) & (longitude >= west) & (longitude <= east) & ~inside
            if near.any():
                at = np.full(int(near.sum()), 1.0)
                _, _, distance = _GEOD.inv(at * centre_longitude, at * centre_latitude, longitude[near], latitude[near])
                inside[near] = np.asarray(distance) <= radius
        return inside

    def touches(self, box: Box, margin: float = 0.0) -> bool:
        """Whether a box (degrees) comes within `margin` metres of the region; never False where it does."""
        west, south, east, north = box
        for one in self.boxes:
            w, s, e, n = _grown(one, margin)
            if west <= e and w <= east and south <= n and s <= north:
                return True
        for latitude, longitude, radius in self.circles:
            nearest = min(max(longitude, west), east), min(max(latitude, south), north)
            # The nearest point by degrees is nearest on the ground to 0.1 % over the sizes in question.
            if _GEOD.inv(longitude, latitude, *nearest)[2] <= (radius + margin) * 1.001 + 1.0:
                return True
        return False

    def bounds(self) -> Box:
        """West, south, east, north around all of it, degrees."""
        boxes = np.array([*self.boxes, *(_around(*circle) for circle in self.circles)])
        low, high = boxes.min(axis=0), boxes.max(axis=0)
        return (float(low[0]), float(low[1]), float(high[2]), float(high[3]))


def region(
    meshes: Sequence[str] = (),
    bboxes: Sequence[tuple[float, float, float, float]] = (),
    arounds: Sequence[tuple[float, float, float]] = (),
) -> Region:
    """The union of meshes (codes), boxes (west, south, east, north) and circles (latitude, longitude, radius in m).

    Raises InputError that names what cannot be: no mesh code, a box that is empty or turned round, a place that is
    none, a radius beyond 200 km; or nothing at all.
    """
    boxes = [meshcode.bounds(code) for code in meshes]
    for box in bboxes:
        west, south, east, north = box
        if not all(math.isfinite(v) for v in box) or not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
            raise InputError(
                f"bbox {','.join(f'{v:g}' for v in box)}: give west,south,east,north in degrees, "
                "for example 139.735,35.655,139.745,35.665"
            )
        boxes.append((float(west), float(south), float(east), float(north)))
    for latitude, longitude, radius in arounds:
        if not (abs(latitude) <= 89 and abs(longitude) <= 180):
            raise InputError(f"around {latitude:g},{longitude:g}: give latitude,longitude in degrees")
        if not 0 < radius <= _MAX_RADIUS:
            raise InputError(f"radius {radius:g}: give metres above 0, at most {_MAX_RADIUS:,.0f}")
    if not boxes and not arounds:
        raise InputError("a region needs a mesh, a box or a circle")
    circles = tuple((float(a), float(b), float(c)) for a, b, c in arounds)
    return Region(tuple(boxes), circles, tuple(dict.fromkeys(meshes)))


def _grown(box: Box, margin: float) -> Box:
    west, south, east, north = box
    up = margin / _METRES_PER_DEGREE
    side = up / math.cos(math.radians(min(max(abs(south), abs(north)) + up, 89.9)))
    return (west - side, south - up, east + side, north + up)


def _around(latitude: float, longitude: float, radius: float) -> Box:
    """The box of a circle, a little too large."""
    return _grown((longitude, latitude, longitude, latitude), radius * 1.01)

"""Where the vertices of a mesh file are: in a plane zone, or in metres about the origin that the user gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aerialworld_city.geodesy import GEOGRAPHIC, PLANE_WITH_HEIGHT, LocalFrame, Projection, plane_of
from aerialworld_city.options import ConversionOptions
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array

#: Beyond these, metres, a vertex is no place in a city of Japan's plane zones.
_MAX_PLAN, _MAX_HEIGHT = 1e6, 9000.0
#: A mesh this near a zone's own (0, 0) and that far from --origin is one in metres about --origin.
_NEAR_ZERO, _FAR = 5_000.0, 10_000.0


def place(
    vertices: Array, path: Path, stated: int | None, projection: Projection, options: ConversionOptions, up: str
) -> Array:
    """(V, 3) file coordinates → east, north, height of the projection, metres; NaN where a vertex is no place.

    `up` is the axis that the format's rules say points up ("z", or "y" with -z north); `options.up` outranks it.
    `stated` is the plane zone that the file names itself; without one the vertices are in the zone `options.crs`, else
    metres along the zone's axes (east, grid north, up from T.P. 0) about `options.origin`.

    Raises InputError: none of the three is known (naming both ways out), or --crs and --origin contradict each other.
    """
    points = np.array(vertices, np.float64).reshape(-1, 3)
    if (options.up or up) == "y":
        points = np.column_stack([points[:, 0], -points[:, 2], points[:, 1]])
    limit = np.array([_MAX_PLAN, _MAX_PLAN, _MAX_HEIGHT])
    points[~(np.abs(points) < limit).all(axis=1)] = np.nan
    crs = None if options.crs in GEOGRAPHIC else options.crs  # then it is about CityGML beside this file
    code = stated or crs
    if code is not None:
        try:
            zone = Projection(plane_of(code) if stated or code in PLANE_WITH_HEIGHT else code)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if stated is None and options.origin is not None:
            _check_agreement(points, path, zone, options.origin)
        if zone.epsg != projection.epsg:
            good = np.isfinite(points[:, 0])
            latitude, longitude = zone.inverse(points[good, 0], points[good, 1])
            points[good, 0], points[good, 1] = projection.forward(latitude, longitude)
            points[~np.isfinite(points).all(axis=1)] = np.nan
        return points
    if options.origin is None:
        raise InputError(
            f"{path}: names no plane zone: give --crs if its vertices are east, north, height of one (--crs 6677 for "
            "Tokyo), or --origin LAT,LON if they are metres east, north and up about a place"
        )
    frame = LocalFrame.at(projection, *options.origin)
    return np.asarray(points + np.array([frame.east, frame.north, 0.0]))


def _check_agreement(points: Array, path: Path, zone: Projection, origin: tuple[float, float]) -> None:
    """Metres about an origin that are read as coordinates of a zone would put the city far away without a word."""
    good = points[np.isfinite(points[:, 0])]
    if len(good) == 0:
        return
    middle = np.median(good[:, :2], axis=0)
    away = float(np.hypot(*(middle - np.array(zone.forward(*origin)))))
    if np.hypot(*middle) < _NEAR_ZERO and away > _FAR:
        raise InputError(
            f"{path}: as coordinates of {zone.name} its vertices lie {away / 1000:.0f} km from --origin, at the zone's "
            "own zero: if they are metres about --origin, leave --crs out; if not, give an --origin in the city"
        )

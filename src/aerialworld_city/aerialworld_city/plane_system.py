"""Which plane system a world has: the one asked for, or the official zone of the place where its files lie."""

from __future__ import annotations

from collections.abc import Sequence

from aerialworld_city.geodesy import GEOGRAPHIC, PLANE_WITH_HEIGHT, ZONE_HINT, Projection, plane_of
from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.files import SourceFile
from aerialworld_city.sources.location import Location, by_mesh, locate, nowhere
from aerialworld_city.sources.zones import zone_of_place
from aerialworld_core.errors import InputError

#: A plane metre may differ from a metre on the ground by this share: the plane zones stay within 0.0001, UTM within
#: 0.001 in its zone; a neighbouring zone's grid may serve, Web Mercator (0.23 in Tokyo) may not.
MAX_SCALE_ERROR = 0.005


def choose_zone(files: Sequence[SourceFile], city_code: str | None, options: ConversionOptions) -> Projection:
    """The plane system of the world: `options.crs` where it is one, else the official zone of the first place that the
    files state.

    `city_code` is the municipality of the data set's name; where it or the code in the files cannot be true at the
    place, the place decides. Only the beginnings of files are read. Raises InputError: no file tells where it lies, the
    place is outside Japan, `options.crs` is no plane system or none that fits the place; where no file can be read,
    what is wrong with the first.
    """
    asked = _asked_zone(options.crs)
    place, first_error = Location(), None
    for file in files:
        try:
            place = locate(file, options.crs)
        except InputError as error:
            first_error = first_error or error
        if place.known:
            break
    if not place.known:
        # Names tell it too; then the reader says what is wrong with the file, or reads over it.
        place = next((p for p in map(by_mesh, files) if p.known), place)
    if not place.known and options.origin is not None:
        place = Location(*options.origin)
    if asked is not None:
        return _fitting(asked, place.latitude, place.longitude)
    if place.zone is not None:
        return Projection(place.zone)
    if place.latitude is None or place.longitude is None:
        raise first_error or nowhere(files[0])
    return Projection(zone_of_place(city_code or place.municipality, place.latitude, place.longitude))


def _asked_zone(crs: int | None) -> Projection | None:
    """The system of --crs; None where it is latitude and longitude (then it names the files' own system)."""
    if crs is None or crs in GEOGRAPHIC:
        return None
    return Projection(plane_of(crs) if crs in PLANE_WITH_HEIGHT else crs)


def _fitting(projection: Projection, latitude: float | None, longitude: float | None) -> Projection:
    """Raises InputError where a metre of the system is none at the place, or, where no place is known, in Japan."""
    limit = MAX_SCALE_ERROR
    if latitude is None or longitude is None:
        latitude, longitude, limit = 36.0, 138.0, 10 * MAX_SCALE_ERROR
    scale = projection.scale(latitude, longitude)
    if not abs(scale - 1.0) <= limit:
        raise InputError(
            f"--crs {projection.epsg} ({projection.name}): one metre on the ground at {latitude:.4f}, {longitude:.4f} "
            f"is {scale:.4f} m there; {ZONE_HINT}"
        )
    return projection

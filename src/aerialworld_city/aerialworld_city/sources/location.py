"""Where a source file lies, from its first bytes: enough to choose the plane zone before anything is read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aerialworld_city.geodesy import GEOGRAPHIC, PLANE_WITH_HEIGHT, PLANE_ZONES, Projection, plane_of
from aerialworld_city.sources import meshcode
from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError, UnsafeInputError
from aerialworld_core.safexml import CountedFile, iterparse, release

#: Latitudes and longitudes of Japan, with room.
_LATITUDES, _LONGITUDES = (20.0, 46.5), (122.0, 155.0)
_MAX_MEMBERS = 200
_MAX_ELEMENTS, _ELEMENTS_AFTER_PLACE = 100_000, 10_000
_HEADER_BYTES = 64 * 1024
_MEMBERS = ("cityObjectMember", "featureMember")
_TAGS = ("CityModel", "Envelope", "posList", "pos", "city", "buildingID", *_MEMBERS)
_CODE = re.compile(r"\s*((?:0[1-9]|[1-3]\d|4[0-7])\d{3})(?:\s*$|-)")
_EPSG = re.compile(r"(?:EPSG[:/]+(?:[\d.]*[:/]+)?)(\d{4,6})\s*$")


@dataclass(frozen=True)
class Location:
    """A place in the file (degrees; None where the file states none), the plane zone that the file itself is in (EPSG,
    None for latitude and longitude), and the municipality's five-digit code that it states."""

    latitude: float | None = None
    longitude: float | None = None
    zone: int | None = None
    municipality: str | None = None

    @property
    def known(self) -> bool:
        return self.latitude is not None or self.zone is not None


def locate(file: SourceFile, crs: int | None) -> Location:
    """Where a file lies; a mesh file does not say. Raises InputError where it cannot be read (as its reader will), and
    where nothing in it has a place: with the reason."""
    with file.speaking():
        if file.format == "obj":
            return _locate_obj(file, crs)
        if file.format == "citygml":
            return _locate_gml(file, crs)
        _refuse_other_bytes(file)
    return by_mesh(file)


def _refuse_other_bytes(file: SourceFile) -> None:
    """What is empty, compressed or no GLB at all is said before a place is asked for."""
    with CountedFile(file.path, max_bytes=2**62, what="mesh file") as handle:
        if file.path.suffix.lower() == ".glb" and handle.read(4) != b"glTF":
            raise InputError(f"{file.path}: not a GLB file: it does not begin with glTF")


def by_mesh(file: SourceFile, municipality: str | None = None) -> Location:
    """The middle of the mesh that the file's name states, if it states one."""
    if file.mesh is None:
        return Location(municipality=municipality)
    west, south, east, north = meshcode.bounds(file.mesh)
    return Location((south + north) / 2, (west + east) / 2, None, municipality)


def _locate_obj(file: SourceFile, crs: int | None) -> Location:
    """The zone by the header's WKT, else by the code in the file's name; the place by the first vertex."""
    with CountedFile(file.path, max_bytes=2**62, what="OBJ file") as handle:
        header = handle.read(_HEADER_BYTES)
    zone: int | None = None
    for line in header.split(b"\n"):
        if line.startswith(b"#") and b"PROJCS" in line:
            codes = re.findall(rb'AUTHORITY\["EPSG","(\d{1,9})"\]', line)
            if codes:
                zone = _plane(int(codes[-1]), file)
                break
    match = re.search(r"_(66[678]\d)(?=_|$)", file.path.stem)
    if zone is None and match and int(match[1]) in PLANE_ZONES:
        zone = int(match[1])
    if zone is None and (crs is None or crs in GEOGRAPHIC):
        location = by_mesh(file)
        if not location.known and len(header) < _HEADER_BYTES:
            _refuse_no_surface(file, header)
        return location
    return _at_first_vertex(header, zone, Projection(_projected(zone or crs or 0)))


def _refuse_no_surface(file: SourceFile, content: bytes) -> None:
    """A place would not help an OBJ file without any face. Raises InputError."""
    for letter, what in ((b"v", "vertex"), (b"f", "face")):
        if not re.search(rb"^\s*" + letter + rb"[ \t]", content, re.MULTILINE):
            raise InputError(f"{file.path}: holds no {what}")


def _at_first_vertex(header: bytes, zone: int | None, projection: Projection) -> Location:
    vertex = re.search(rb"^v[ \t]+(\S+)[ \t]+(\S+)", header, re.MULTILINE)
    try:
        east, north = (float(vertex[1]), float(vertex[2])) if vertex else (math.nan, math.nan)
    except ValueError:
        east = north = math.nan  # the reader names the line
    latitude, longitude = projection.inverse(east, north)
    if not _in_japan(latitude, longitude):
        return Location(zone=zone)
    return Location(float(latitude), float(longitude), zone)


def _projected(epsg: int) -> int:
    return plane_of(epsg) if epsg in PLANE_WITH_HEIGHT else epsg


def _locate_gml(file: SourceFile, crs: int | None) -> Location:
    """By the first place of an object, else the file's envelope."""
    look = _GmlLook(file, crs)
    try:
        look.run()
    except UnsafeInputError:
        raise
    except InputError:
        # What is wrong further on is the reader's to tell, or to read over.
        if look.place is None and look.envelope is None:
            raise
    latitude, longitude = look.place or look.envelope or (None, None)
    plane = None if look.epsg is None or look.epsg in GEOGRAPHIC else _plane(look.epsg, file)
    location = Location(latitude, longitude, plane, look.municipality)
    if not location.known:
        location = by_mesh(file, look.municipality)
    if not location.known:
        raise InputError(f"{file.path}: {look.problem()}")
    return location


class _GmlLook:
    """What the beginning of a CityGML file states.

    A terrain is one object of hundreds of megabytes: once a place is known only so many elements more are looked at as
    a building may have before its municipality's code.
    """

    def __init__(self, file: SourceFile, crs: int | None) -> None:
        self.file, self.crs = file, crs
        self.epsg: int | None = None
        self.envelope: tuple[float, float] | None = None
        self.place: tuple[float, float] | None = None
        self.municipality: str | None = None
        self.left, self.members = _MAX_ELEMENTS, 0
        self.first: str | None = None
        self.system: str | None = None
        self.whole = False

    def run(self) -> None:
        """Raises InputError: not well-formed, no CityModel."""
        model = False
        tags = [f"{{*}}{t}" for t in _TAGS]
        for event, element in iterparse(self.file.path, tags=tags, events=("start", "end"), what="CityGML file"):
            kind = element.tag.rpartition("}")[2]
            if event == "start":
                model = model or kind == "CityModel"
                continue
            if not model:
                break
            self.take(kind, element)
            enough = self.place and (self.municipality or self.members)
            if self.left <= 0 or self.members >= _MAX_MEMBERS or enough:
                break
        else:
            self.whole = True
        if not model:
            raise InputError(f"{self.file.path}: no city model: its root is not a CityModel")

    def take(self, kind: str, element: Any) -> None:
        self.left -= 1
        if kind == "Envelope":
            self._system(element.get("srsName"))
            corners = [v for child in element for v in _numbers(child.text)]
            self.envelope = self.envelope or _place(corners, self.epsg or self.crs)
        elif kind in ("posList", "pos"):
            self._system(_srs_above(element))
            self.first = self.first or " ".join((element.text or "")[:200].split()[:3])
            if self.place is None:
                self.place = _place(_numbers(element.text), self.epsg or self.crs)
                self.left = min(self.left, _ELEMENTS_AFTER_PLACE) if self.place else self.left
        elif kind in ("city", "buildingID"):
            match = _CODE.match(element.text or "")
            self.municipality = self.municipality or (match[1] if match else None)
        elif kind in _MEMBERS:
            self.members += 1
            release(element)

    def _system(self, name: str | None) -> None:
        self.system = self.system or name
        self.epsg = self.epsg or _code_of(name)

    def problem(self) -> str:
        """Why no place was found."""
        if self.whole and not self.members:
            return "no city object in it: its CityModel has no cityObjectMember"
        if not self.first:
            where = "it" if self.whole else f"its first {self.members} objects"
            return f"no city object in {where} has a coordinate (posList); what they refer to is not there"
        if self.system and self.epsg is None:
            return f"its reference system {self.system[:100]!r} is not known here; give the plane zone with --crs"
        return (
            "nothing in it lies in Japan (neither an object nor the envelope has a finite place there; the first "
            f"coordinate is {self.first[:100]}); give a plane zone with --crs where that is meant"
        )


def _plane(epsg: int, file: SourceFile) -> int:
    try:
        return plane_of(epsg)
    except InputError as error:
        raise InputError(f"{file.path}: {error}") from error


def _place(values: list[float], epsg: int | None) -> tuple[float, float] | None:
    """Latitude and longitude of the first point, where it is one of Japan."""
    if len(values) < 2 or not (math.isfinite(values[0]) and math.isfinite(values[1])):
        return None
    first, second = values[0], values[1]
    if epsg is not None and epsg not in GEOGRAPHIC:
        if epsg not in PLANE_WITH_HEIGHT and epsg not in PLANE_ZONES:
            return None
        first, second = Projection(plane_of(epsg)).inverse(second, first)
    return (float(first), float(second)) if _in_japan(first, second) else None


def _in_japan(latitude: float, longitude: float) -> bool:
    """False for NaN too."""
    return _LATITUDES[0] <= latitude <= _LATITUDES[1] and _LONGITUDES[0] <= longitude <= _LONGITUDES[1]


def _numbers(text: str | None) -> list[float]:
    """The first three numbers; none where the text holds something else (the reader will report it)."""
    try:
        return [float(word) for word in (text or "")[:200].split()[:3]]
    except ValueError:
        return []


def _srs_above(element: Any) -> str | None:
    for at in _with_parents(element):
        if at.get("srsName"):
            return str(at.get("srsName"))
    return None


def _with_parents(element: Any) -> Iterator[Any]:
    while element is not None:
        yield element
        element = element.getparent()


def _code_of(name: str | None) -> int | None:
    match = _EPSG.search(name or "")
    return int(match[1]) if match else None


def nowhere(file: SourceFile) -> InputError:
    """Why the place of a file that can be read cannot be told, and the ways out."""
    what = "a mesh file does not say where it lies" if file.format == "mesh" else "its header names no plane zone"
    return InputError(
        f"{file.shown}: {what}; give --crs (--crs 6677 for Tokyo) where it holds a plane zone's east, north and "
        "height, or --origin LAT,LON where it holds metres about a place"
    )

"""Reading CityGML as PLATEAU publishes it: buildings, roads and terrain, streamed, by local name.

Every i-UR version from 1.4 to 3.2 reads alike because only local names count. Of each building and building part the
best level of detail up to LOD2 is taken; where `boundedBy` surfaces and a solid of xlinks say the same, the polygons
are read once, from the surfaces. OGC 12-019 (CityGML 2.0) and the PLATEAU standard product specifications.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_city.features import Building, CityContent, Polygon, RoadArea, Skipped, Surface
from aerialworld_city.geodesy import GEOGRAPHIC, plane_of
from aerialworld_city.readers.citygml import GENERATED_MARK
from aerialworld_city.readers.citygml_words import epsg_of
from aerialworld_core import labels
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.safexml import iterparse, release

_ROADS = {"Road", "Track", "Square"}
_SURFACES = {
    "RoofSurface": Surface.ROOF,
    "OuterCeilingSurface": Surface.WALL,
    "OuterFloorSurface": Surface.ROOF,
    "WallSurface": Surface.WALL,
    "ClosureSurface": Surface.WALL,
    "GroundSurface": Surface.GROUND,
}
#: TrafficArea_function and AuxiliaryTrafficArea_function codes; other codes count as carriageway.
_TRAFFIC_LABELS = {
    "2": labels.SIDEWALK,
    "3": labels.OTHER_FLAT,
    "4": labels.OTHER_FLAT,
    "5": labels.VEGETATION,
}
_TAGS = ("cityObjectMember", "appearanceMember", "featureMember", "Triangle", "Envelope", "description", "CityModel")
_MAX_ID = 200


def local(element: Any) -> str:
    """The local name of an element; "" for comments and processing instructions."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def read_citygml(path: Path, name: str, *, crs: int | None = None, strict: bool = False) -> CityContent:
    """One CityGML file, called `name` in messages and reports.

    `crs` is used where the file states no reference system. Raises InputError (missing, not well-formed, no CityModel,
    no or an unknown reference system; with `strict` also the first broken object) and UnsafeInputError.
    """
    reader = _Reader(path, name, strict)
    started = False
    for event, element in iterparse(
        path, tags=[f"{{*}}{tag}" for tag in _TAGS], events=("start", "end"), what="CityGML file"
    ):
        kind = local(element)
        if kind == "CityModel":
            if event == "start" and not started:
                reader.content.namespaces = sorted(set(element.nsmap.values()))
            started = True
            continue
        if event == "start":
            if not started:
                raise InputError(f"{path}: no city model: {_root_name(element)} is the root, not a CityModel")
            continue
        reader.take(kind, element)
    if not started:
        raise InputError(f"{path}: no city model: there is no CityModel element in it")
    return reader.finish(crs)


def _root_name(element: Any) -> str:
    return f"<{local(element.getroottree().getroot())}>"


class _Reader:
    """Keeps what a file gave so far; each element is freed once it is used."""

    def __init__(self, path: Path, name: str, strict: bool) -> None:
        self.path, self.name, self.strict = path, name, strict
        self.content = CityContent(name, 0)
        self.srs: str | None = None
        self.terrain = array("d")
        self.number = 0

    def take(self, kind: str, element: Any) -> None:
        if kind == "Envelope":
            self.srs = self.srs or element.get("srsName")
        elif kind == "Triangle":
            self._triangle(element)
            release(element)
        elif kind == "description":
            if local(element.getparent()) == "CityModel" and (element.text or "").strip() == GENERATED_MARK:
                self.content.generated = True
        elif kind in ("cityObjectMember", "featureMember"):
            for child in element:
                self._object(child)
            release(element)
        elif kind == "appearanceMember":
            self.content.count("appearances")
            release(element)

    def finish(self, crs: int | None) -> CityContent:
        code = epsg_of(self.srs)
        if code is None:
            if crs is None:
                raise InputError(f"{self.path}: states no coordinate reference system (srsName); give one with --crs")
            code = crs
        if code not in GEOGRAPHIC:
            try:
                plane_of(code)
            except InputError as error:
                raise InputError(f"{self.path}: {error}") from error
        self.content.epsg = code
        if self.terrain:
            self.content.terrain = np.frombuffer(self.terrain, np.float64).reshape(-1, 3, 3)
        return self.content

    def _object(self, element: Any) -> None:
        kind = local(element)
        if not kind:
            return
        self.content.count(kind)
        if kind == "Building":
            self._building(element)
        elif kind in _ROADS:
            self._road(element, kind)

    def _id(self, element: Any, kind: str) -> str:
        self.number += 1
        for key, value in element.attrib.items():
            if key.rpartition("}")[2] == "id" and value:
                return str(value)[:_MAX_ID]
        return f"{kind}_{self.number}"

    def _skip(self, identifier: str, reason: str, line: int | None) -> None:
        if self.strict:
            raise InputError(f"{self.path}: line {line}: {identifier}: {reason} (--strict stops here)")
        self.content.skipped.append(Skipped(self.name, identifier, reason))

    def _triangle(self, element: Any) -> None:
        self.content.count("Triangle")
        for ring in _rings(element):
            try:
                values = _numbers(ring)
            except ValueError as error:
                self._skip(f"Triangle {self.content.counts['Triangle']}", str(error), element.sourceline)
                return
            if len(values) not in (3, 4):
                reason = f"a terrain triangle of {len(values)} points"
                self._skip(f"Triangle {self.content.counts['Triangle']}", reason, element.sourceline)
                return
            self.terrain.extend(values[:3].ravel())

    # -- buildings ------------------------------------------------------------------------------------------------

    def _building(self, element: Any) -> None:
        identifier = self._id(element, "Building")
        try:
            lod, polygons = _building_polygons(element)
        except ValueError as error:
            self._skip(identifier, str(error), element.sourceline)
            return
        self.content.count(f"Building LOD{lod}")
        if not polygons:
            self._skip(identifier, "no LOD1 or LOD2 geometry", element.sourceline)
            return
        usage = _child_text(element, "usage")
        height = _measured(_child_text(element, "measuredHeight"))
        self.content.buildings.append(Building(identifier, self.name, lod, polygons, usage, height))

    # -- roads ----------------------------------------------------------------------------------------------------

    def _road(self, element: Any, kind: str) -> None:
        identifier = self._id(element, kind)
        plain = labels.OTHER_FLAT if kind == "Square" else labels.DRIVEABLE_SURFACE
        areas: dict[int, list[Polygon]] = {}
        try:
            for part in element.iter("{*}TrafficArea", "{*}AuxiliaryTrafficArea"):
                found = _geometry(part, "lod2MultiSurface")
                if found:
                    label = _traffic_label(_child_text(part, "function"), plain)
                    areas.setdefault(label, []).extend(found)
            lod = 2 if areas else 1
            if not areas:
                for tag, level in (("lod2MultiSurface", 2), ("lod1MultiSurface", 1)):
                    found = _geometry(element, tag)
                    if found:
                        areas, lod = {plain: found}, level
                        break
        except ValueError as error:
            self._skip(identifier, str(error), element.sourceline)
            return
        if not areas:
            self._skip(identifier, "no LOD1 or LOD2 surface", element.sourceline)
        for label, polygons in sorted(areas.items()):
            self.content.roads.append(RoadArea(identifier, self.name, label, lod, polygons))


def _traffic_label(function: str | None, plain: int) -> int:
    return _TRAFFIC_LABELS.get((function or "")[:1], plain) if len(function or "") == 4 else plain


def _building_polygons(element: Any) -> tuple[int, list[Polygon]]:
    """The best level of a building and its parts, each part for itself; the level returned is the highest used."""
    level, polygons = _own_polygons(element)
    for child in element:
        if local(child) in ("consistsOfBuildingPart", "buildingPart"):
            for part in child:
                if local(part):
                    part_level, found = _building_polygons(part)
                    level, polygons = max(level, part_level), polygons + found
    return level, polygons


def _own_polygons(element: Any) -> tuple[int, list[Polygon]]:
    for level in (2, 1):
        prefix = f"lod{level}"
        polygons: list[Polygon] = []
        seen: set[str] = set()
        for child in element:
            name = local(child)
            if name in ("boundedBy", "outerBuildingInstallation", "boundary"):
                for surface in child:
                    kind = _SURFACES.get(local(surface))
                    if kind is None and local(surface) != "BuildingInstallation":
                        continue
                    for part in surface.iter(f"{{*}}{prefix}MultiSurface", f"{{*}}{prefix}Geometry"):
                        polygons += _polygons(part, _surface_of(part, kind), seen)
        for child in element:
            if local(child) in (f"{prefix}Solid", f"{prefix}MultiSurface", f"{prefix}Geometry"):
                polygons += _polygons(child, Surface.UNKNOWN, seen)
        if polygons:
            return level, polygons
    return 0, []


def _surface_of(part: Any, outer: Surface | None) -> Surface:
    """The surface kind nearest above a geometry (installations have surfaces of their own)."""
    inner = _SURFACES.get(local(part.getparent()))
    return inner or outer or Surface.UNKNOWN


def _geometry(element: Any, tag: str) -> list[Polygon]:
    seen: set[str] = set()
    return [p for child in element if local(child) == tag for p in _polygons(child, Surface.UNKNOWN, seen)]


def _polygons(element: Any, surface: Surface, seen: set[str]) -> list[Polygon]:
    """All polygons below an element; one that bears an id is taken once."""
    found = []
    for polygon in element.iter("{*}Polygon", "{*}PolygonPatch"):
        identifier = next((v for k, v in polygon.attrib.items() if k.endswith("}id")), None)
        if identifier is not None:
            if identifier in seen:
                continue
            seen.add(identifier)
        rings = [_numbers(ring) for ring in _rings(polygon)]
        if rings:
            found.append(Polygon(rings, surface))
    return found


def _rings(element: Any) -> Iterator[Any]:
    """The LinearRings, outer one first."""
    interior = []
    for child in element:
        name = local(child)
        if name == "exterior":
            yield from child.iter("{*}LinearRing")
        elif name == "interior":
            interior.append(child)
    for child in interior:
        yield from child.iter("{*}LinearRing")


def _numbers(ring: Any) -> Array:
    """(N, 3) coordinates of a ring. Raises ValueError that names what is wrong."""
    words: list[str] = []
    for child in ring.iter("{*}posList", "{*}pos"):
        words += (child.text or "").split()
    if len(words) % 3:
        raise ValueError(f"line {ring.sourceline}: {len(words)} numbers in a ring, not a multiple of 3")
    try:
        return np.array([float(w) for w in words]).reshape(-1, 3)
    except ValueError:
        bad = next(w for w in words if not _is_number(w))
        raise ValueError(f"line {ring.sourceline}: {bad[:40]!r} is not a number") from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _child_text(element: Any, name: str) -> str | None:
    for child in element:
        if local(child) == name:
            return (child.text or "").strip() or None
    return None


def _measured(text: str | None) -> float | None:
    """A measured height in metres; None where the source says unknown (−9999) or has words in it."""
    if text is None or not _is_number(text):
        return None
    value = float(text)
    return value if math.isfinite(value) and 0 < value < 1000 else None

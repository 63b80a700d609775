"""The words of CityGML and PLATEAU that the reader knows, by local name (OGC 12-019, 20-010; PLATEAU specification)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from aerialworld_city.features import Surface

HREF = "{http://www.w3.org/1999/xlink}href"
_GML_IDS = ("{http://www.opengis.net/gml}id", "{http://www.opengis.net/gml/3.2}id")

#: Objects that become bodies, and the kind of each.
BODIES = {
    "Building": "building",
    "BuildingPart": "building",
    "Bridge": "bridge",
    "BridgePart": "bridge",
    "CityFurniture": "furniture",
    "SolitaryVegetationObject": "vegetation",
    "PlantCover": "vegetation",
    "WaterBody": "water",
}
#: Objects of the transportation module, and the kind of their surface where no area says more.
WAYS = {"Road": "road", "Railway": "flat", "Track": "sidewalk", "Square": "flat", "Waterway": "water"}

BOUNDARIES = ("boundedBy", "boundary")
OPENINGS = ("opening", "fillingSurface")
PARTS = ("consistsOfBuildingPart", "buildingPart", "consistsOfBridgePart", "bridgePart")
INSTALLATIONS = (
    "outerBuildingInstallation",
    "buildingInstallation",
    "buildingConstructiveElement",
    "outerBridgeInstallation",
    "bridgeInstallation",
    "outerBridgeConstruction",
    "bridgeConstructiveElement",
)
#: Boundary surfaces; those of rooms are no part of what is seen from outside.
SURFACES = {
    "RoofSurface": Surface.ROOF,
    "OuterFloorSurface": Surface.ROOF,
    "WallSurface": Surface.WALL,
    "OuterCeilingSurface": Surface.WALL,
    "ClosureSurface": Surface.WALL,
    "GroundSurface": Surface.GROUND,
}
INTERIOR = ("InteriorWallSurface", "CeilingSurface", "FloorSurface")
#: TrafficArea_function and AuxiliaryTrafficArea_function by their first digit: carriageway, pavement, island, stop,
#: planting, bicycle parking, car park, rails. Other codes say nothing of the surface.
_FUNCTIONS = {
    "1": "road",
    "2": "sidewalk",
    "3": "flat",
    "4": "flat",
    "5": "planting",
    "6": "flat",
    "7": "road",
    "8": "flat",
}
#: Codes that differ from their group: the bed of a tramway, the strip between two carriageways.
_WHOLE_FUNCTIONS = {"1050": "flat", "1080": "flat"}

_LEVEL = re.compile(r"lod([0-4])(Solid|MultiSolid|MultiSurface|Surface|Geometry|ImplicitRepresentation)")


@lru_cache(maxsize=4096)
def local_name(tag: str) -> str:
    return tag.rpartition("}")[2]


def local(element: Any) -> str:
    """The local name of an element; "" for comments and processing instructions."""
    tag = element.tag
    return local_name(tag) if isinstance(tag, str) else ""


@lru_cache(maxsize=4096)
def level_of(name: str) -> tuple[int, str] | None:
    """The level of detail and the sort of geometry of a property's local name; None for other properties."""
    match = _LEVEL.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def identifier_of(element: Any) -> str | None:
    """gml:id of GML 3.1 or 3.2."""
    found = element.get(_GML_IDS[0])
    return found if found is not None else element.get(_GML_IDS[1])


def child_text(element: Any, name: str) -> str | None:
    """Stripped text of the first child of that name; None where there is none or it is empty."""
    for child in element:
        if local(child) == name:
            return (child.text or "").strip() or None
    return None


def area_kind(function: str | None, plain: str) -> str:
    """The kind of a traffic area by its function's code (four digits); `plain` where there is none, or another."""
    code = function or ""
    if len(code) != 4 or not code.isdigit():
        return plain
    return _WHOLE_FUNCTIONS.get(code) or _FUNCTIONS.get(code[0], plain)


def preferred_levels(available: set[int], lod: str) -> list[int]:
    """The levels in the order in which they are tried: the best up to the wanted one, then the lowest above it."""
    limit = 3 if lod == "auto" else int(lod)
    levels = {level for level in available if level > 0}
    return sorted((v for v in levels if v <= limit), reverse=True) + sorted(v for v in levels if v > limit)


def epsg_of(srs: str | None) -> int | None:
    """The EPSG code at the end of an srsName (URL or URN); None where there is no name, 0 where it holds no code."""
    if not srs:
        return None
    match = re.search(r"(?:EPSG|epsg)\D+(?:\d+(?:\.\d+)*[/:])?(\d{4,5})\s*$", srs)
    return int(match[1]) if match else 0

"""GeoJSON (RFC 7946): lines, points and areas of any map program, read and a plan's path written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aerialworld_core.earth import Earth, yaw_of_heading
from aerialworld_core.entries import shown
from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array, Georeference
from aerialworld_core.plan import Plan
from aerialworld_missions.mission_items import place
from aerialworld_missions.requests import MOST_POINTS
from aerialworld_missions.waypoints import Stop


@dataclass(frozen=True)
class Shape:
    """One geometry: `kind` "line", "area" or "point"; `places` of (longitude, latitude) or with a height (metres); and
    the feature's properties."""

    kind: str
    places: tuple[tuple[float, ...], ...]
    properties: Mapping[str, Any]


def parse(data: Any, source: str) -> list[Shape]:
    """The geometries of a file's content. Raises PlanError, beginning with `source`, for whatever RFC 7946 does not
    allow, and for kinds of geometry that are no line, area or point."""
    found: list[Shape] = []
    _collect(data, source, {}, found, 0)
    if not found:
        raise PlanError(f"{source}: has no geometry")
    return found


def _collect(data: Any, source: str, properties: Mapping[str, Any], found: list[Shape], depth: int) -> None:
    if not isinstance(data, Mapping):
        raise PlanError(f"{source}: must be a GeoJSON object, not {shown(data)}")
    kind = data.get("type")
    if depth > 4:
        raise PlanError(f"{source}: geometries are nested too deeply")
    if kind in ("FeatureCollection", "GeometryCollection"):
        inner = data.get("features" if kind == "FeatureCollection" else "geometries")
        if not isinstance(inner, list) or len(inner) > MOST_POINTS:
            raise PlanError(f"{source}: a {kind} takes a list of at most {MOST_POINTS}, not {shown(inner)}")
        for entry in inner:
            _collect(entry, source, properties, found, depth + 1)
    elif kind == "Feature":
        own = data.get("properties")
        _collect(data.get("geometry"), source, own if isinstance(own, Mapping) else {}, found, depth + 1)
    elif kind == "Point":
        found.append(Shape("point", (_position(source, data.get("coordinates")),), properties))
    elif kind == "MultiPoint":
        found += [Shape("point", (p,), properties) for p in _positions(source, data.get("coordinates"), 1)]
    elif kind == "LineString":
        found.append(Shape("line", _positions(source, data.get("coordinates"), 2), properties))
    elif kind == "Polygon":
        rings = data.get("coordinates")
        if not isinstance(rings, list) or len(rings) != 1:
            raise PlanError(f"{source}: a polygon takes one ring (holes cannot be kept out of an area)")
        ring = _positions(source, rings[0], 4)
        if ring[0] != ring[-1]:
            raise PlanError(f"{source}: a polygon's ring must end where it begins")
        found.append(Shape("area", ring[:-1], properties))
    else:
        raise PlanError(f"{source}: {shown(kind)} is no point, line or polygon")
    if sum(len(s.places) for s in found) > MOST_POINTS:
        raise PlanError(f"{source}: more than {MOST_POINTS} points")


def _positions(source: str, data: Any, least: int) -> tuple[tuple[float, ...], ...]:
    if not isinstance(data, list) or not least <= len(data) <= MOST_POINTS:
        raise PlanError(f"{source}: coordinates take {least} to {MOST_POINTS} positions, not {shown(data)}")
    return tuple(_position(source, p) for p in data)


def _position(source: str, data: Any) -> tuple[float, ...]:
    good = isinstance(data, list) and 2 <= len(data) <= 4
    if not good or any(isinstance(v, bool) or not isinstance(v, int | float) or not abs(v) < 1e9 for v in data):
        raise PlanError(f"{source}: {shown(data)} is no position [longitude, latitude]")
    return tuple(float(v) for v in data[:3])


def the_line(shapes: list[Shape], earth: Earth, source: str) -> Array:
    """(N, 2) map points of a file's only line, or of its points in their order. Raises PlanError."""
    lines = [s for s in shapes if s.kind == "line"]
    if len(lines) > 1 or (not lines and any(s.kind == "area" for s in shapes)):
        raise PlanError(f"{source}: holds {len(lines)} lines; needs one")
    places = lines[0].places if lines else [s.places[0] for s in shapes]
    return _in_map(places, earth, source)


def the_area(shapes: list[Shape], earth: Earth, source: str) -> Array:
    """(K, 2) map corners of a file's only polygon. Raises PlanError."""
    areas = [s for s in shapes if s.kind == "area"]
    if len(areas) != 1:
        raise PlanError(f"{source}: holds {len(areas)} polygons; needs one")
    return _in_map(areas[0].places, earth, source)


def _in_map(places: Any, earth: Earth, source: str) -> Array:
    return np.array([place(earth, source, f"position {i}", p[1], p[0]) for i, p in enumerate(places, 1)])


def stops_of(shapes: list[Shape], reference: Georeference, source: str) -> list[Stop]:
    """The stops of a file's line, or of its points in their order. Properties `altitude` (metres over the ground),
    `speed` (m/s), `heading` (degrees from north) and `hold` (s) say more; a third coordinate is a height above sea
    level. Raises PlanError."""
    earth = Earth(reference)
    lines = [s for s in shapes if s.kind == "line"]
    if any(s.kind == "area" for s in shapes) or len(lines) > 1 or (lines and len(shapes) > 1):
        raise PlanError(f"{source}: needs one line, or points, to fly to")
    each = (
        [(p, lines[0].properties) for p in lines[0].places] if lines else [(s.places[0], s.properties) for s in shapes]
    )
    stops = []
    for i, (position, properties) in enumerate(each, 1):
        x, y = place(earth, source, f"position {i}", position[1], position[0])
        given = {k: _property(source, i, k, properties[k]) for k in _PROPERTIES if properties.get(k) is not None}
        altitude, frame = given.get("altitude"), "ground" if "altitude" in given else None
        if altitude is None and len(position) == 3:
            altitude, frame = position[2] - reference.height, "map"
        heading = given.get("heading")
        stops.append(
            Stop(
                x, y, altitude, frame, given.get("speed"),  # type: ignore[arg-type]
                None if heading is None else yaw_of_heading(math.radians(heading)), given.get("hold", 0.0),
            )
        )  # fmt: skip
    return stops


_PROPERTIES = ("altitude", "speed", "heading", "hold")


def _property(source: str, i: int, key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:
        raise PlanError(f"{source}: position {i}: {key} must be a number, not {shown(value)}")
    return float(value)


def document(plan: Plan, reference: Georeference) -> dict[str, Any]:
    """A plan's waypoints as a feature with a line; heights above sea level."""
    earth = Earth(reference)
    line = []
    for point in plan.route():
        lat, lon = earth.e7_of(np.array(point.position))
        line.append([lon * 1e-7, lat * 1e-7, round(earth.altitude_of(point.position[2]), 3)])
    properties = {
        "name": plan.name,
        "vehicle": plan.vehicle,
        "pattern": plan.pattern,
        "seconds": round(plan.duration, 3),
    }
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": "LineString", "coordinates": line},
    }

"""Mission files by their names: .plan, .waypoints and .geojson, read within bounds and written.

Files name no other files, so nothing of them leads anywhere; their sizes, counts and numbers are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.earth import Earth
from aerialworld_core.errors import PlanError
from aerialworld_core.files import dump_json, open_regular, parse_json, read_counted, write_bytes
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.world.seams import ground_height
from aerialworld_missions import geojson, qgc_plan, qgc_wpl
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.mission_items import Mission, georeference_of, place, stops_of
from aerialworld_missions.waypoints import Stop

#: A mission file larger than this is refused unread.
MAX_BYTES = 4 * 1024 * 1024
PLAN, PLAIN, GEOJSON = (".plan",), (".waypoints", ".txt"), (".geojson", ".json")


def read_mission(path: Path) -> Mission:
    """A ground station's mission file (.plan, .waypoints). Raises PlanError, naming the file, for one that is missing,
    too large, damaged or of another kind."""
    suffix = path.suffix.lower()
    if suffix in PLAN:
        return qgc_plan.parse(_json(path), str(path))
    if suffix in PLAIN:
        return qgc_wpl.parse(_text(path), str(path))
    raise PlanError(f"{path}: a mission file ends with {', '.join(PLAN + PLAIN)}")


def read_stops(path: Path, world: Geometry) -> tuple[list[Stop], Mission | None, list[str]]:
    """What a mission file (.plan, .waypoints) or a GeoJSON flies to in a world; the mission for what else it says (None
    of GeoJSON); and notes on what a path cannot show. Raises PlanError, naming the file."""
    if path.suffix.lower() in GEOJSON:
        reference = georeference_of(world, str(path))
        return geojson.stops_of(geojson.parse(_json(path), str(path)), reference, str(path)), None, []
    mission = read_mission(path)
    stops, notes = stops_of(mission, world)
    return stops, mission, notes


def read_line(path: Path, world: Geometry) -> Array:
    """(N, 2) map points of a GeoJSON's line. Raises PlanError, naming the file."""
    return _shape(path, world, geojson.the_line)


def read_area(path: Path, world: Geometry) -> Array:
    """(K, 2) map corners of a GeoJSON's polygon. Raises PlanError, naming the file."""
    return _shape(path, world, geojson.the_area)


def fence_corners(mission: Mission, world: Geometry) -> Array | None:
    """(K, 2) map corners of the polygon that a mission stays in, None where it has none."""
    if mission.fence is None:
        return None
    earth = Earth(georeference_of(world, mission.source))
    return np.array([place(earth, mission.source, "geoFence", *corner) for corner in mission.fence])


def export(plan: Plan, path: Path, world: Geometry) -> None:
    """Write a plan for ground stations and map programs: .plan, .waypoints or .geojson by the name. Raises PlanError
    for another name, and for a world that does not say where it lies."""
    reference = georeference_of(world, str(path))
    suffix = path.suffix.lower()
    if suffix in GEOJSON:
        data = dump_json(geojson.document(plan, reference))
    elif suffix in PLAN + PLAIN:
        start = plan.position[:1, :2]
        home = float(ground_height(world, start)[0])
        if np.isnan(home):
            raise PlanError(f"{path}: there is no ground under the plan's start, from which altitudes count")
        if suffix in PLAN:
            data = dump_json(qgc_plan.document(plan, reference, home))
        else:
            data = qgc_wpl.text(plan, reference, home).encode()
    else:
        raise PlanError(f"{path}: plans are written as {', '.join((*PLAN, *PLAIN[:1], *GEOJSON[:1]))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)


def _shape(path: Path, world: Geometry, take: Callable[[list[geojson.Shape], Earth, str], Array]) -> Array:
    earth = Earth(georeference_of(world, str(path)))
    return take(geojson.parse(_json(path), str(path)), earth, str(path))


def _bytes(path: Path) -> bytes:
    try:
        with open_regular(path) as handle:
            data = read_counted(handle, MAX_BYTES)
    except FileNotFoundError:
        raise PlanError(f"{path}: no such file") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise PlanError(f"{path}: larger than {MAX_BYTES // 1024 // 1024} MiB: no mission is")
    return data


def _json(path: Path) -> Any:
    try:
        return parse_json(_bytes(path))
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8
        raise PlanError(f"{path}: is damaged, or no JSON: {error}") from error


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: is damaged, or no text: {error}") from error

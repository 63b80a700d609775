"""QGroundControl's .plan files: read with every entry checked, and written from a plan.

The format: https://docs.qgroundcontrol.com/master/en/qgc-dev-guide/file_formats/plan.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aerialworld_core.earth import Earth, heading_of
from aerialworld_core.entries import shown
from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Georeference
from aerialworld_core.plan import Plan
from aerialworld_missions.mission_items import (
    CONDITION_YAW,
    PLACELESS,
    RELATIVE,
    RETURN,
    SPEED,
    TAKEOFF,
    WAYPOINT,
    Item,
    Mission,
)
from aerialworld_missions.requests import MOST_CORNERS, MOST_POINTS

#: MAV_AUTOPILOT and MAV_TYPE that files are written for; and the types of ground vehicles and of what hovers.
_ARDUPILOT, _QUADROTOR, _GROUND_ROVER = 3, 2, 10
_ROVERS, _HOVERS = {10, 11}, {2, 3, 4, 13, 14, 15, 29, 35}
#: Metres that legs may stray from the plan's path when it becomes waypoints.
TOLERANCE = 0.5
#: A change of speed smaller than this share is not worth an item.
_SAME_SPEED = 0.05


def parse(data: Any, source: str) -> Mission:
    """A mission of a .plan file's content. Raises PlanError, beginning with `source`, for whatever is not as the format
    says."""
    top = _table(source, "the file", data)
    if top.get("fileType") != "Plan":
        raise PlanError(
            f'{source}: fileType is {shown(top.get("fileType"))}, not "Plan": this is no QGroundControl plan'
        )
    if _whole(source, "version", top.get("version")) != 1:
        raise PlanError(f"{source}: version {shown(top.get('version'))} of the format; 1 can be read")
    mission = _table(source, "mission", top.get("mission"))
    if _whole(source, "mission version", mission.get("version")) != 2:
        raise PlanError(f"{source}: mission version {shown(mission.get('version'))}; 2 can be read")
    items: list[Item] = []
    for i, entry in enumerate(_list(source, "items", mission.get("items")), 1):
        items += _items(source, f"item {i}", entry, len(items) + 1)
        if len(items) > MOST_POINTS:
            raise PlanError(f"{source}: more than {MOST_POINTS} items")
    if not items:
        raise PlanError(f"{source}: has no mission items")
    kind = _whole(source, "vehicleType", mission.get("vehicleType", _QUADROTOR))
    vehicle = "rover" if kind in _ROVERS else "drone" if kind in _HOVERS else None
    if vehicle is None:
        raise PlanError(f"{source}: vehicleType {kind} is neither a multicopter nor a rover")
    speed = mission.get("cruiseSpeed" if vehicle == "rover" else "hoverSpeed")
    home = mission.get("plannedHomePosition")
    return Mission(
        source,
        tuple(items),
        home=None if home is None else _numbers(source, "plannedHomePosition", home, 3),  # type: ignore[arg-type]
        vehicle=vehicle,
        speed=None if speed is None else _number(source, "speed", speed),
        fence=_fence(source, top.get("geoFence")),
    )


def _items(source: str, what: str, entry: Any, number: int) -> list[Item]:
    """The items of one entry: one of a simple item, many of a complex one (survey, corridor, structure)."""
    table = _table(source, what, entry)
    kind = table.get("type")
    if kind == "ComplexItem":
        style = table.get("TransectStyleComplexItem")
        if not isinstance(style, Mapping) or "Items" not in style:
            raise PlanError(
                f"{source}: {what}: a {shown(table.get('complexItemType'))} whose items are not in the file; save the "
                "mission's items, or plan it here (--pattern survey --area)"
            )
        found: list[Item] = []
        for k, inner in enumerate(_list(source, what, style["Items"]), 1):
            if isinstance(inner, Mapping) and inner.get("type") == "ComplexItem":
                raise PlanError(f"{source}: {what}.{k}: complex items cannot hold complex items")
            found += _items(source, f"{what}.{k}", inner, number + len(found))
            if len(found) > MOST_POINTS:
                raise PlanError(f"{source}: more than {MOST_POINTS} items")
        return found
    if kind != "SimpleItem":
        raise PlanError(f"{source}: {what}: type {shown(kind)} is neither SimpleItem nor ComplexItem")
    parameters = _list(source, f"{what}: params", table.get("params"))
    if len(parameters) != 7:
        raise PlanError(f"{source}: {what}: params are seven numbers, not {len(parameters)}")
    values = tuple(None if p is None else _number(source, f"{what}: params", p) for p in parameters)
    frame = _whole(source, f"{what}: frame", table.get("frame"))
    command = _whole(source, f"{what}: command", table.get("command"))
    jump = table.get("doJumpId", number)
    if command in (WAYPOINT, TAKEOFF) and frame != PLACELESS and values[6] is None:
        raise PlanError(f"{source}: {what}: has no altitude")
    result = [Item(_whole(source, f"{what}: doJumpId", jump), command, frame, values)]
    # A waypoint's fourth parameter is where to look; none is null here, unlike in .waypoints files.
    if command == WAYPOINT and values[3] is not None:
        result.insert(0, Item(-1, CONDITION_YAW, PLACELESS, (values[3], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)))
    return result


def _fence(source: str, data: Any) -> tuple[tuple[float, float], ...] | None:
    """The one polygon that a geofence includes; None where there is none."""
    if data is None:
        return None
    fence = _table(source, "geoFence", data)
    circles = _list(source, "geoFence circles", fence.get("circles", []))
    polygons = _list(source, "geoFence polygons", fence.get("polygons", []))
    if not circles and not polygons:
        return None
    table = _table(source, "geoFence polygon", polygons[0]) if len(polygons) == 1 else {}
    if circles or table.get("inclusion") is not True:
        raise PlanError(f"{source}: geoFence: one polygon to stay in can be kept, no circles and no exclusions")
    corners = _list(source, "geoFence polygon", table.get("polygon"))
    if not 3 <= len(corners) <= MOST_CORNERS:
        raise PlanError(f"{source}: geoFence: a polygon of {len(corners)} corners")
    return tuple(_numbers(source, "geoFence polygon", corner, 2) for corner in corners)  # type: ignore[misc]


def _table(source: str, what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PlanError(f"{source}: {what} must be an object, not {shown(value)}")
    return value


def _list(source: str, what: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise PlanError(f"{source}: {what} must be a list, not {shown(value)}")
    return value


def _number(source: str, what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e9:
        raise PlanError(f"{source}: {what} must be a number, not {shown(value)}")
    return float(value)


def _whole(source: str, what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise PlanError(f"{source}: {what} must be a whole number, not {shown(value)}")
    return value


def _numbers(source: str, what: str, value: Any, count: int) -> tuple[float, ...]:
    values = _list(source, what, value)
    if len(values) != count:
        raise PlanError(f"{source}: {what} takes {count} numbers, not {len(values)}")
    return tuple(_number(source, what, v) for v in values)


def mission_items(plan: Plan, reference: Georeference, home_z: float) -> list[Item]:
    """A plan as items for ArduPilot: takeoff (drones), speeds, looks, waypoints with holds, and the return. Altitudes
    are above home, whose ground lies at map z `home_z`; a rover's are 0."""
    earth, drone = Earth(reference), plan.agent_type == "drone"
    found: list[Item] = []
    speed = 0.0

    def add(command: int, frame: int, *parameters: float | None) -> None:
        found.append(Item(len(found) + 1, command, frame, parameters))

    for i, point in enumerate(plan.route(TOLERANCE)):
        e7 = earth.e7_of(np.array(point.position))
        at = e7[0] * 1e-7, e7[1] * 1e-7, round(point.position[2] - home_z, 3) if drone else 0.0
        if i == 0 and drone:
            add(TAKEOFF, RELATIVE, 0.0, 0.0, 0.0, None, *at)
        if i and abs(point.speed - speed) > _SAME_SPEED * point.speed:
            speed = point.speed
            add(SPEED, PLACELESS, 1.0, round(speed, 2), -1.0, 0.0, 0.0, 0.0, 0.0)
        if point.yaw is not None and drone:
            heading = round(math.degrees(heading_of(point.yaw)), 2) % 360.0
            add(CONDITION_YAW, PLACELESS, heading, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        add(WAYPOINT, RELATIVE, round(point.hold, 2), 0.0, 0.0, None, *at)
    add(RETURN, PLACELESS, *([0.0] * 7))
    return found


def document(plan: Plan, reference: Georeference, home_z: float) -> dict[str, Any]:
    """A plan as a .plan file's content; home is the ground under its start, at map z `home_z`. What comes out is
    checked as what is read is."""
    earth = Earth(reference)
    items = mission_items(plan, reference, home_z)
    start = earth.e7_of(plan.position[0])
    speed = round(max(w.speed for w in plan.route(TOLERANCE)), 2)
    fence = []
    if plan.fence is not None:
        corners = [earth.e7_of(np.array([x, y, 0.0])) for x, y in plan.fence.polygon]
        polygon = [[lat * 1e-7, lon * 1e-7] for lat, lon in corners]
        fence = [{"inclusion": True, "polygon": polygon, "version": 1}]
    data = {
        "fileType": "Plan",
        "version": 1,
        "groundStation": "AerialWorld",
        "mission": {
            "version": 2,
            "firmwareType": _ARDUPILOT,
            "vehicleType": _QUADROTOR if plan.agent_type == "drone" else _GROUND_ROVER,
            "globalPlanAltitudeMode": 1,
            "cruiseSpeed": speed,
            "hoverSpeed": speed,
            "plannedHomePosition": [start[0] * 1e-7, start[1] * 1e-7, round(earth.altitude_of(home_z), 3)],
            "items": [_simple(item) for item in items],
        },
        "geoFence": {"version": 2, "circles": [], "polygons": fence},
        "rallyPoints": {"version": 2, "points": []},
    }
    parse(data, plan.name)
    return data


def _simple(item: Item) -> dict[str, Any]:
    placed = item.frame == RELATIVE
    altitude = {"AMSLAltAboveTerrain": None, "Altitude": item.value(7), "AltitudeMode": 1} if placed else {}
    return {
        **altitude,
        "autoContinue": True,
        "command": item.command,
        "doJumpId": item.number,
        "frame": item.frame,
        "params": list(item.parameters),
        "type": "SimpleItem",
    }

"""A plan's waypoints as mission items for AUTO, checked before anything is sent: an autopilot takes much that it could
never fly, 40 km of height among it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aerialworld_core.earth import heading_of
from aerialworld_core.errors import PlanError
from aerialworld_core.mavlink.words import Cmd, Frame
from aerialworld_core.plan import Plan
from aerialworld_core.route import Waypoint
from aerialworld_missions.flying.site import Site
from aerialworld_missions.flying.vehicle import Kind

#: Items that an ArduPilot holds.
CAPACITY = 650
#: Tolerances, metres, at which a plan's waypoints are tried to be few enough.
TOLERANCES = (0.5, 1.0, 2.0)
#: A leg of another speed by so many m/s gets a DO_CHANGE_SPEED before it.
SPEED_STEP = 0.5
SLOWEST = 0.5
#: Lowest height of a copter's waypoint above home, and farthest waypoint from home, metres.
LOWEST, FARTHEST = 1.0, 10_000.0
#: Words of the ends: go home, land where the plan ends, stay there.
RTL, LAND, HOLD = "rtl", "land", "hold"
ENDS = (RTL, LAND, HOLD)


@dataclass(frozen=True)
class Item:
    """One mission item, as MISSION_ITEM_INT has it; `x` and `y` latitude and longitude × 1e7."""

    command: int
    frame: int = int(Frame.MISSION)
    params: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    x: int = 0
    y: int = 0
    z: float = 0.0

    def describe(self) -> str:
        name = Cmd(self.command).name if self.command in set(Cmd) else str(self.command)
        place = f" at {self.x * 1e-7:.7f}, {self.y * 1e-7:.7f}, {self.z:.1f} m" if self.x or self.y else ""
        return f"{name}{place}"


@dataclass(frozen=True)
class Mission:
    """The items, and which of them are the first and the last waypoint of the plan."""

    items: tuple[Item, ...]
    first: int
    last: int
    waypoints: tuple[Waypoint, ...]


def check_reach(plan: Plan, site: Site, home: tuple[int, int], kind: Kind) -> None:
    """Raise PlanError for a plan that lies below a copter's home or unreasonably far from it."""
    x, y = site.earth.map_of(*home)
    farthest = float(np.linalg.norm(plan.position[:, :2] - np.array([x, y]), axis=1).max())
    if farthest > FARTHEST:
        raise PlanError(
            f"{plan.name}: it reaches {farthest / 1000:.1f} km from the vehicle's home: does the vehicle stand in the "
            "plan's world?"
        )
    lowest = site.above_home(float(plan.position[:, 2].min()))
    if kind == "drone" and lowest < LOWEST:
        raise PlanError(
            f"{plan.name}: its lowest point is {lowest:.1f} m above the vehicle's home, and a copter needs {LOWEST:g} m"
        )


def mission_of(
    plan: Plan, site: Site, home: tuple[int, int, float], kind: Kind, end: str, transit: float | None = None
) -> Mission:
    """The plan as an AUTO mission: home's place, take-off (a drone), speeds, looks, waypoints, and the end.

    home     latitude and longitude × 1e7 and metres above sea level: item 0, which the autopilot fills in itself
    transit  height in map, metres, at which a drone flies to the first waypoint and home from the last, where it is
             more than theirs
    Raises PlanError where the plan needs more items than an autopilot holds.
    """
    for tolerance in TOLERANCES:
        waypoints = plan.route(tolerance)
        mission = _assembled(waypoints, site, home, kind, end, transit)
        if len(mission.items) <= CAPACITY:
            return mission
    raise PlanError(
        f"{plan.name}: {len(mission.items)} mission items, and an autopilot holds {CAPACITY}: fly it with method "
        "guided, or make it shorter"
    )


def _assembled(
    waypoints: Sequence[Waypoint],
    site: Site,
    home: tuple[int, int, float],
    kind: Kind,
    end: str,
    transit: float | None,
) -> Mission:
    drone = kind == "drone"
    items = [Item(Cmd.NAV_WAYPOINT, Frame.GLOBAL, x=home[0], y=home[1], z=home[2])]
    over = [w.position[2] if transit is None else max(transit, w.position[2]) for w in (waypoints[0], waypoints[-1])]
    if drone:
        height = site.above_home(over[0])
        items.append(Item(Cmd.NAV_TAKEOFF, Frame.GLOBAL_RELATIVE_ALT_INT, x=home[0], y=home[1], z=round(height, 2)))
        if over[0] > waypoints[0].position[2]:
            items.append(_place(waypoints[0], site, over[0]))
    first, speed = 0, 0.0
    for number, waypoint in enumerate(waypoints):
        wanted = max(waypoint.speed if number else waypoints[min(1, len(waypoints) - 1)].speed, SLOWEST)
        if abs(wanted - speed) > SPEED_STEP:
            speed = wanted
            items.append(Item(Cmd.DO_CHANGE_SPEED, params=(1.0, round(speed, 2), -1.0, 0.0)))
        if waypoint.yaw is not None and drone:
            heading = math.degrees(heading_of(waypoint.yaw)) % 360.0
            items.append(Item(Cmd.CONDITION_YAW, params=(round(heading, 1), 0.0, 0.0, 0.0)))
        items.append(_place(waypoint, site, waypoint.position[2] if drone else site.home_z, math.ceil(waypoint.hold)))
        first = first or len(items) - 1
    last = len(items) - 1
    if drone and end == RTL:
        if over[1] > waypoints[-1].position[2]:
            items.append(_place(waypoints[-1], site, over[1]))
        items.append(Item(Cmd.NAV_RETURN_TO_LAUNCH))
    elif drone and end == LAND:
        items.append(Item(Cmd.NAV_LAND, Frame.GLOBAL_RELATIVE_ALT_INT, x=items[last].x, y=items[last].y))
    return Mission(tuple(items), first, last, tuple(waypoints))


def _place(waypoint: Waypoint, site: Site, z: float, hold: float = 0.0) -> Item:
    """A waypoint's place at a height of map."""
    lat, lon = site.lat_lon(np.array(waypoint.position))
    params = (float(hold), 0.0, 0.0, 0.0)
    return Item(Cmd.NAV_WAYPOINT, Frame.GLOBAL_RELATIVE_ALT_INT, params, lat, lon, round(site.above_home(z), 2))

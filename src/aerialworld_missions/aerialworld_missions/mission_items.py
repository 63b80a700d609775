"""A ground station's mission as it stands in its file, and what its items mean for a path."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aerialworld_core.earth import Earth, on_earth, yaw_of_heading
from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Georeference
from aerialworld_core.world.seams import ground_height
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.requests import MOST_POINTS
from aerialworld_missions.waypoints import LONGEST_HOLD, Stop

#: MAV_CMD, MAVLink's common message set.
WAYPOINT, LOITER_UNLIM, LOITER_TURNS, LOITER_TIME, RETURN, LAND, TAKEOFF = 16, 17, 18, 19, 20, 21, 22
SPLINE, DELAY, CONDITION_YAW, JUMP, SPEED = 82, 93, 115, 177, 178
#: Those that say nothing about the path: cameras, gimbals, servos, fences, landing marks.
_ASIDE = {
    *(181, 182, 183, 184, 189, 195, 196, 197, 200, 201, 202, 203, 204, 205, 206, 207, 211, 214),
    *(530, 531, 532, 1000, 1001, 2000, 2001, 2500, 2501, 4501),
}
_LOOKS = {195, 196, 197, 201}
#: MAV_FRAME: above sea level, above home, above the terrain; without a place.
GLOBAL, RELATIVE, TERRAIN, PLACELESS = 0, 3, 10, 2
_FRAMES = {0: GLOBAL, 5: GLOBAL, 3: RELATIVE, 6: RELATIVE, 10: TERRAIN, 11: TERRAIN, 2: PLACELESS}
#: Radius where a circle's item says none: ArduPilot's default, metres; and points of one turn.
_CIRCLE, _PER_TURN = 10.0, 24
_MOST_TURNS = 50


@dataclass(frozen=True)
class Item:
    """One item: `number` as its file counts, MAVLink's command, frame and parameters 1 to 7 (None: not a number)."""

    number: int
    command: int
    frame: int
    parameters: tuple[float | None, ...]

    def value(self, k: int) -> float:
        """Parameter `k`, from 1; 0 where it is none."""
        return self.parameters[k - 1] or 0.0


@dataclass(frozen=True)
class Mission:
    """A mission file's content.

    source   its name, for messages
    home     latitude, longitude in degrees, altitude in metres above sea level; None where the file has none
    vehicle  "drone" or "rover" as the file says; None where it does not
    speed    m/s until an item says otherwise
    fence    latitudes and longitudes of the polygon to stay in
    """

    source: str
    items: tuple[Item, ...]
    home: tuple[float, float, float] | None = None
    vehicle: str | None = None
    speed: float | None = None
    fence: tuple[tuple[float, float], ...] | None = None


def place(earth: Earth, source: str, what: str, latitude: float, longitude: float) -> tuple[float, float]:
    """Map x and y of a place on earth. Raises PlanError for one that is none or lies far away."""
    if not (math.isfinite(latitude) and math.isfinite(longitude)) or max(abs(latitude), abs(longitude)) > 360:
        raise PlanError(f"{source}: {what}: {latitude}, {longitude} is no place on earth")
    e7 = round(latitude * 1e7), round(longitude * 1e7)
    if not on_earth(*e7):
        raise PlanError(f"{source}: {what}: latitude {latitude} or longitude {longitude} is out of range")
    x, y = (float(v) for v in earth.map_of(*e7))
    if math.hypot(x, y) > 200_000:
        raise PlanError(
            f"{source}: {what}: {latitude:.5f}, {longitude:.5f} lies {math.hypot(x, y) / 1e3:.0f} km from the world"
        )
    return x, y


def georeference_of(world: Any, source: str) -> Georeference:
    """Where the world lies on earth. Raises PlanError where it does not say."""
    known = getattr(world, "georeference", None)
    if known is None:
        raise PlanError(f"{source}: holds places on earth, and this world does not say where it lies")
    assert isinstance(known, Georeference)
    return known


def stops_of(mission: Mission, world: Geometry) -> tuple[list[Stop], list[str]]:
    """The stops of a mission in a world, and notes on what of it a path cannot show. Raises PlanError, naming the file
    and item, for what cannot be followed."""
    return _Reading(mission, world).stops()


class _Reading:
    """Follows a mission's items as an autopilot does."""

    def __init__(self, mission: Mission, world: Geometry) -> None:
        self._mission, self._source = mission, mission.source
        self._reference = georeference_of(world, mission.source)
        self._earth = Earth(self._reference)
        self._world = world
        self._home: tuple[float, float] | None = None
        self._home_z: float | None = None
        if mission.home is not None:
            x, y = self._home = place(self._earth, self._source, "home", *mission.home[:2])
            ground = float(ground_height(world, np.array([[x, y]]))[0])
            self._home_z = mission.home[2] - self._reference.height if math.isnan(ground) else ground
        self._stops: list[Stop] = []
        self._notes: list[str] = []
        self._speed: float | None = None
        self._yaw: float | None = None

    def stops(self) -> tuple[list[Stop], list[str]]:
        """Raises PlanError."""
        aside = 0
        for item in _in_order(self._mission):
            if item.command in _ASIDE:
                aside += 1
                if item.command in _LOOKS:
                    self._note("looking at a point (ROI) is left out: it looks where its items say, or ahead")
                continue
            if self._follow(item):
                break
            if len(self._stops) > MOST_POINTS:
                raise PlanError(f"{self._source}: more than {MOST_POINTS} points")
        if aside:
            self._note(f"{aside} item(s) for cameras, gimbals, servos and the like say nothing about the path")
        if len(self._stops) < 2:
            raise PlanError(f"{self._source}: needs two points to fly to, and has {len(self._stops)}")
        return self._stops, self._notes

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def _follow(self, item: Item) -> bool:
        """Add what an item does; whether the mission ends with it."""
        what = f"item {item.number}"
        match item.command:
            case 16 | 82:
                if item.command == SPLINE:
                    self._note("splines are flown as straight legs with rounded corners")
                self._add(item, hold=self._seconds(item, what))
            case 22:
                self._take_off(item)
            case 19:
                self._add(item, hold=self._seconds(item, what))
            case 18:
                self._circle(item)
            case 93:
                if self._stops:
                    last = self._stops[-1]
                    self._stops[-1] = replace(last, hold=last.hold + self._seconds(item, what))
            case 115:
                if item.value(4):
                    raise PlanError(f"{self._source}: {what}: a relative yaw cannot be planned; give a heading")
                self._yaw = yaw_of_heading(math.radians(item.value(1)))
            case 178:
                if item.value(2) > 0:
                    self._speed = item.value(2)
            case 20:
                if self._home is None:
                    raise PlanError(f"{self._source}: {what}: returns home, and the file has no home")
                self._note("the return ends over home, in the air")
                self._stops.append(replace(self._last(what), x=self._home[0], y=self._home[1], hold=0.0, yaw=None))
                return True
            case 21:
                self._note("the landing is left out: the path ends over it, in the air")
                last = self._last(what)
                x, y = self._place_of(item, what) or (last.x, last.y)
                self._stops.append(replace(last, x=x, y=y, hold=0.0, yaw=None))
                return True
            case 17:
                self._add(item, hold=0.0)
                self._note("the path ends where the mission loiters without end")
                return True
            case _:
                raise PlanError(f"{self._source}: {what}: command {item.command} is none that a path can follow")
        return False

    def _last(self, what: str) -> Stop:
        if not self._stops:
            raise PlanError(f"{self._source}: {what}: needs a point before it")
        return self._stops[-1]

    def _seconds(self, item: Item, what: str) -> float:
        seconds = item.value(1)
        if not 0.0 <= seconds <= LONGEST_HOLD:
            raise PlanError(f"{self._source}: {what}: a hold of {seconds:g} s; at most {LONGEST_HOLD:g}")
        return seconds

    def _place_of(self, item: Item, what: str) -> tuple[float, float] | None:
        """Map x and y; None where the item says "here" (no place, or 0, 0)."""
        latitude, longitude = item.parameters[4], item.parameters[5]
        if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
            return None
        return place(self._earth, self._source, what, latitude, longitude)

    def _altitude(self, item: Item, what: str) -> tuple[float, Any]:
        """The altitude and its frame, as a `Stop` has them."""
        altitude = item.value(7)
        if not abs(altitude) < 1e5:
            raise PlanError(f"{self._source}: {what}: an altitude of {altitude:g} m")
        frame = _FRAMES.get(item.frame)
        if frame == GLOBAL:
            return altitude - self._reference.height, "map"
        if frame == TERRAIN:
            return altitude, "ground"
        if frame == RELATIVE:
            return (altitude, "home") if self._home_z is None else (self._home_z + altitude, "map")
        raise PlanError(f"{self._source}: {what}: frame {item.frame} is none of 0, 3, 10 (above sea, home, terrain)")

    def _add(self, item: Item, *, hold: float) -> None:
        what = f"item {item.number}"
        at = self._place_of(item, what)
        if at is None:
            last = self._last(what)
            at = last.x, last.y
        altitude, frame = self._altitude(item, what)
        yaw, self._yaw = self._yaw, None
        self._stops.append(Stop(*at, altitude, frame, self._speed, yaw, hold))

    def _take_off(self, item: Item) -> None:
        what = f"item {item.number}"
        at = self._home or self._place_of(item, what)
        if at is None:
            self._note("the start is the first point: the takeoff says no place, and the file has no home")
            return
        altitude, frame = self._altitude(item, what)
        self._stops.append(Stop(*at, altitude, frame, self._speed))

    def _circle(self, item: Item) -> None:
        """Turns around a point, as short legs."""
        what = f"item {item.number}"
        turns, radius = item.value(1), item.value(3)
        if not 0 < turns <= _MOST_TURNS or not abs(radius) <= 10_000:
            raise PlanError(f"{self._source}: {what}: {turns:g} turns of {radius:g} m cannot be planned")
        if abs(radius) < 1:
            self._note(f"a circle without a radius is flown with {_CIRCLE:g} m")
        reach, side = (
            abs(radius) if abs(radius) >= 1 else _CIRCLE,
            1.0 if radius < 0 else -1.0,
        )  # clockwise as ArduPilot
        at = self._place_of(item, what)
        if at is None:
            at = self._last(what).x, self._last(what).y
        altitude, frame = self._altitude(item, what)
        begin = 0.0
        if self._stops:
            begin = math.atan2(self._stops[-1].y - at[1], self._stops[-1].x - at[0])
        for k in range(math.ceil(turns * _PER_TURN) + 1):
            angle = begin + side * 2 * math.pi * min(k / _PER_TURN, turns)
            x, y = at[0] + reach * math.cos(angle), at[1] + reach * math.sin(angle)
            self._stops.append(Stop(x, y, altitude, frame, self._speed))


def _in_order(mission: Mission) -> Iterator[Item]:
    """The items as they are followed, jumps taken. Raises PlanError for a jump to nowhere or without end."""
    where = {item.number: k for k, item in enumerate(mission.items) if item.number >= 0}
    left: dict[int, int] = {}
    k = taken = 0
    while k < len(mission.items):
        item = mission.items[k]
        taken += 1
        if taken > 20 * MOST_POINTS:
            raise PlanError(f"{mission.source}: jumps so often that no end is seen")
        if item.command != JUMP:
            yield item
            k += 1
            continue
        target, times = item.value(1), item.value(2)
        if target not in where:
            raise PlanError(f"{mission.source}: item {item.number}: jumps to item {target:g}, which there is none of")
        if not 0 <= times <= MOST_POINTS:
            raise PlanError(f"{mission.source}: item {item.number}: jumps without end; give a number of times")
        left.setdefault(item.number, int(times))
        if left[item.number] > 0:
            left[item.number] -= 1
            k = where[int(target)]
        else:
            k += 1

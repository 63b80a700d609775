"""The geofence: the tin can of the parameters, uploaded polygons and circles; what lies outside, and what follows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import Cmd, Severity
from aerialworld_sim.autopilot.mission_items import Item

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Bits of FENCE_TYPE, with ArduPilot's words for them and the MAVLink breach type.
MAX_ALTITUDE, CIRCLE, POLYGON, MIN_ALTITUDE = 1, 2, 4, 8
NAMES = {MAX_ALTITUDE: "Max Alt", CIRCLE: "Circle", POLYGON: "Polygon", MIN_ALTITUDE: "Min Alt"}
BREACH_TYPES = {MIN_ALTITUDE: 1, MAX_ALTITUDE: 2, POLYGON: 3, CIRCLE: 3}
_POLYGONS = (Cmd.NAV_FENCE_POLYGON_VERTEX_INCLUSION, Cmd.NAV_FENCE_POLYGON_VERTEX_EXCLUSION)


class Fence:
    """The fence of one vehicle."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._polygons: list[tuple[bool, Array]] = []
        self._circles: list[tuple[bool, Array, float]] = []
        self.breached = 0
        self.breaches = 0
        self.breach_ms = 0

    @property
    def enabled(self) -> bool:
        return self._autopilot.parameters["FENCE_ENABLE"] > 0

    def _types(self) -> int:
        return int(self._autopilot.parameters["FENCE_TYPE"]) if self.enabled else 0

    def wants_position(self) -> bool:
        """Whether arming needs a position for the fence's sake."""
        types = self._types()
        return bool(types & CIRCLE) or (bool(types & POLYGON) and bool(self._polygons or self._circles))

    # What is uploaded

    @staticmethod
    def problem(items: list[Item]) -> str:
        """What is wrong with an uploaded fence, in ArduPilot's words; empty when it is sound."""
        at = 0
        while at < len(items):
            item = items[at]
            if item.command in _POLYGONS:
                count = int(item.params[0])
                if count < 3:
                    return f"Invalid vertex count ({count})"
                ring = items[at : at + count]
                if len(ring) < count or any((i.command, int(i.params[0])) != (item.command, count) for i in ring):
                    return "Incorrect vertex count"
                at += count
                continue
            if item.command in (Cmd.NAV_FENCE_CIRCLE_INCLUSION, Cmd.NAV_FENCE_CIRCLE_EXCLUSION) and item.params[0] <= 0:
                return "Invalid circle radius"
            at += 1
        return ""

    def load(self, items: list[Item]) -> None:
        """Take a sound fence in place of the present one."""
        autopilot = self._autopilot
        autopilot.missions.fence = items
        autopilot.parameters.keep("FENCE_TOTAL", len(items))
        self._polygons, self._circles, at = [], [], 0
        while at < len(items):
            item = items[at]
            if item.command in _POLYGONS:
                ring = items[at : at + int(item.params[0])]
                inside = item.command == Cmd.NAV_FENCE_POLYGON_VERTEX_INCLUSION
                self._polygons.append((inside, np.array([autopilot.earth.map_of(i.x, i.y) for i in ring])))
                at += len(ring)
                continue
            if item.command in (Cmd.NAV_FENCE_CIRCLE_INCLUSION, Cmd.NAV_FENCE_CIRCLE_EXCLUSION):
                inside = item.command == Cmd.NAV_FENCE_CIRCLE_INCLUSION
                self._circles.append((inside, autopilot.earth.map_of(item.x, item.y), item.params[0]))
            at += 1

    # What lies outside

    def outside(self, place: Array) -> int:
        """Bits of the fences that a place (3,) of map is outside of."""
        autopilot, types = self._autopilot, self._types()
        home = autopilot.estimator.home
        if not types or home is None:
            return 0
        height, drone, found = float(place[2] - home[2]), autopilot.settings.kind == "drone", 0
        if drone and types & MAX_ALTITUDE and height > autopilot.parameters["FENCE_ALT_MAX"]:
            found |= MAX_ALTITUDE
        if drone and types & MIN_ALTITUDE and height < autopilot.parameters["FENCE_ALT_MIN"]:
            found |= MIN_ALTITUDE
        if types & CIRCLE and math.dist(place[:2], home[:2]) > autopilot.parameters["FENCE_RADIUS"]:
            found |= CIRCLE
        if types & POLYGON and self._outside_drawn(place):
            found |= POLYGON
        return found

    def _outside_drawn(self, place: Array) -> bool:
        for inclusion, ring in self._polygons:
            if _within(ring, place) is not inclusion:
                return True
        return any((math.dist(place[:2], c) <= radius) is not inclusion for inclusion, c, radius in self._circles)

    def update(self) -> None:
        """Notice a breach and act on it, once; notice its end."""
        autopilot = self._autopilot
        if not autopilot.armed:
            self.breached = 0
            return
        if not autopilot.estimator.has_position:
            return
        if MIN_ALTITUDE & self._types() and autopilot.modes.taking_off:
            return
        outside = self.outside(autopilot.estimator.position)
        fresh = outside & ~self.breached
        if fresh:
            self.breaches += 1
            self.breach_ms = autopilot.boot_ms()
            words = [NAMES[bit] for bit in NAMES if fresh & bit]
            autopilot.say(f"{' and '.join(words)} fence breached", Severity.NOTICE)
            autopilot.failsafes.fence_breached()
        elif self.breached and not outside:
            autopilot.say("Fence breach cleared", Severity.NOTICE)
        self.breached = outside

    @property
    def breach_type(self) -> int:
        """FENCE_BREACH of what is breached now."""
        return next((BREACH_TYPES[bit] for bit in BREACH_TYPES if self.breached & bit), 0)


def _within(ring: Array, place: Array) -> bool:
    """Whether a place is inside a closed ring (N, 2), by the parity of edges to its east."""
    x, y = float(place[0]), float(place[1])
    before = np.roll(ring, 1, axis=0)
    crosses = (ring[:, 1] > y) != (before[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = ring[:, 0] + (y - ring[:, 1]) * (before[:, 0] - ring[:, 0]) / (before[:, 1] - ring[:, 1])
    return bool(np.count_nonzero(crosses & (x < at)) % 2)

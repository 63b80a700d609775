"""The stored lists of a vehicle: its mission with home in front, its fence, its rally points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import ABSOLUTE_FRAMES, TERRAIN_FRAMES, Cmd, Frame
from aerialworld_sim.autopilot.mission_items import Item

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot


class Missions:
    """What has been uploaded. `items` excludes home, which is item 0 of every mission that is not empty; `revision`
    counts the changes."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.items: list[Item] = []
        self._has_home = False
        self.fence: list[Item] = []
        self.rally: list[Item] = []
        self.revision = 0

    @property
    def count(self) -> int:
        """Items with home, 0 when there is no mission."""
        return len(self.items) + 1 if self._has_home else 0

    @property
    def present(self) -> bool:
        """Whether there is anything to fly."""
        return bool(self.items)

    def home_item(self) -> Item:
        """Item 0: home where it really is, and zeros while there is none."""
        estimator = self._autopilot.estimator
        none = (0.0, 0.0, 0.0, 0.0)
        if estimator.home is None:
            return Item(Cmd.NAV_WAYPOINT, Frame.GLOBAL, none, 0, 0, 0.0)
        latitude, longitude = self._autopilot.earth.e7_of(estimator.home)
        return Item(Cmd.NAV_WAYPOINT, Frame.GLOBAL, none, latitude, longitude, round(estimator.home_altitude(), 2))

    def item(self, seq: int) -> Item | None:
        """The mission's item of that number, home at 0."""
        if not 0 <= seq < self.count:
            return None
        return self.home_item() if seq == 0 else self.items[seq - 1]

    def truncate(self, count: int) -> None:
        """An upload of `count` items begins: what lies beyond is gone, what comes before stays until it is replaced."""
        if self.count > count:
            del self.items[max(0, count - 1) :]
            self._changed()

    def put(self, seq: int, item: Item) -> None:
        """Store one item at the mission's end or in place of another; what is sent as home is not kept."""
        if seq == 0:
            fresh, self._has_home = not self._has_home, True
            if fresh:
                self._changed()
            return
        self._has_home = True
        if seq - 1 < len(self.items):
            self.items[seq - 1] = item
        else:
            self.items.append(item)
        self._changed()

    def clear(self) -> None:
        self.items.clear()
        self._has_home = False
        self._changed()

    def _changed(self) -> None:
        self.revision += 1
        self._autopilot.parameters.keep("MIS_TOTAL", self.count)
        self._autopilot.tell_parameter("MIS_TOTAL")

    def target(self, item: Item) -> Array:
        """Where an item lies (3,) in map. Without a place, and without a height, those of the vehicle now."""
        autopilot = self._autopilot
        place = autopilot.estimator.position
        if item.has_place:
            place[:2] = autopilot.earth.map_of(item.x, item.y)
            place[2] = self.height(item.frame, item.z, place)
        elif item.z:
            place[2] = self.height(item.frame, item.z, place)
        return place

    def height(self, frame: int, z: float, place: Array) -> float:
        """Map's height of an altitude in a frame at a place (only its east and north count)."""
        autopilot = self._autopilot
        if frame in ABSOLUTE_FRAMES:
            return z - autopilot.earth.reference.height
        if frame in TERRAIN_FRAMES:
            return z + autopilot.ground_height(place)
        return z + autopilot.estimator.home_z()

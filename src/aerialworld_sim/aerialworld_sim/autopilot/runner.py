"""AUTO: works through the mission, one leading item after the other, and does what stands between them.

The order is ArduPilot's: when a leading item is done, the items up to the next leading one are done at once (or held up
by a condition), and the next one begins. The mission may be changed while it is flown; the present item then starts
anew.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import Cmd, Severity
from aerialworld_sim.autopilot.mission_items import Item
from aerialworld_sim.autopilot.steps import Step, WaypointStep, step_of
from aerialworld_sim.vehicles.interface import Goal

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Items looked at in one go before a circle of jumps is taken for one.
LONGEST_SEARCH = 1000
#: Leading items towards which a copter cuts the corner; before others it stops. A rover stops before none with a place.
CORNERS = (Cmd.NAV_WAYPOINT, Cmd.NAV_SPLINE_WAYPOINT, Cmd.NAV_LOITER_UNLIM, Cmd.NAV_LOITER_TIME)
#: mission_state of MISSION_CURRENT.
NO_MISSION, NOT_STARTED, ACTIVE, PAUSED, COMPLETE = 1, 2, 3, 4, 5


class MissionRunner:
    """The mission's progress. `current` is the leading item's number, 0 before the first."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.current = 0
        self._state = NOT_STARTED
        self._step: Step | None = None
        self._waiting: list[tuple[int, Item]] = []
        self._condition_since = 0.0
        self._jumps: dict[int, int] = {}
        self._awaits_origin = False
        self._seen: list[Item] = []
        self._revision = -1
        self._last_place: Array | None = None

    # What is told

    @property
    def running(self) -> bool:
        return self._state == ACTIVE

    @property
    def state(self) -> int:
        """mission_state of MISSION_CURRENT."""
        if not self._autopilot.missions.count:
            return NO_MISSION
        if self._state == ACTIVE and self._autopilot.modes.paused:
            return PAUSED
        return self._state

    @property
    def taking_off(self) -> bool:
        return self._step is not None and self._step.taking_off

    @property
    def landing(self) -> bool:
        return self._step is not None and self._step.landing

    def target(self) -> Array | None:
        return None if self._step is None else self._step.place

    def starts_with_takeoff(self) -> bool:
        """Whether the first leading item takes off."""
        first = next((i for i in self._autopilot.missions.items if i.command != Cmd.DO_JUMP and i.is_nav), None)
        return first is not None and first.command == Cmd.NAV_TAKEOFF

    def following(self, seq: int) -> Array | None:
        """Where the leading item after `seq` lies, when the corner towards it may be cut."""
        missions = self._autopilot.missions
        for number in range(seq + 1, missions.count):
            item = missions.item(number)
            assert item is not None
            if item.command == Cmd.DO_JUMP:
                return None
            if item.is_nav:
                cut = item.command in CORNERS or self._autopilot.settings.kind == "rover"
                return missions.target(item) if cut and item.has_place else None
        return None

    # Starting and stopping

    def wait_for_origin(self) -> None:
        """AUTO begins its mission at its first step with an origin."""
        self._awaits_origin = True

    def start_or_resume(self) -> None:
        """From where it was left, or from the first item."""
        self._awaits_origin = False
        again = self._autopilot.parameters["MIS_RESTART"] == 1 or self._state == COMPLETE or self.current == 0
        if again:
            self._jumps.clear()
        self._begin(1 if again else self.current)

    def stop(self) -> None:
        """AUTO is left: the present item will be begun again."""
        self._step, self._awaits_origin = None, False
        if self._state == ACTIVE:
            self._state = NOT_STARTED

    def reset(self) -> None:
        """Back to the first item."""
        self._step, self.current = None, 0
        self._waiting.clear()
        self._jumps.clear()
        if self._state == ACTIVE or not self._autopilot.missions.count:
            self._state = NOT_STARTED

    def jump_to(self, seq: int) -> bool:
        """Make an item the current one, now if AUTO is on; False when there is none of that number."""
        autopilot = self._autopilot
        if not 0 <= seq < autopilot.missions.count:
            return False
        self._jumps.clear()
        if autopilot.mode.name == "AUTO":
            self._begin(max(seq, 1))
        else:
            self.current, self._state = seq, NOT_STARTED
        return True

    def restart_leg(self) -> None:
        """After a pause: on from where the vehicle stands."""
        if isinstance(self._step, WaypointStep):
            self._step.restart()

    # Going on

    def _begin(self, seq: int) -> None:
        """Do what stands at `seq` and after it, up to the next leading item, and begin that."""
        autopilot = self._autopilot
        self._waiting.clear()
        self._state = ACTIVE
        for _ in range(LONGEST_SEARCH):
            item = autopilot.missions.item(seq)
            if item is None:
                break
            if item.command == Cmd.DO_JUMP:
                seq = self._jump(seq, item)
                continue
            if item.is_nav:
                step = step_of(autopilot, seq, item, self._leg_start())
                autopilot.say(f"Mission: {seq} {item.named}")
                if step is not None:
                    self.current, self._step = seq, step
                    self._condition_since = autopilot.now
                    self._note_mission()
                    return
                autopilot.say(f"Skipping invalid cmd #{item.command}", Severity.WARNING)
            elif self._waiting or item.kind.role == "condition":
                self._waiting.append((seq, item))
                if len(self._waiting) == 1:
                    autopilot.say(f"Mission: {seq} {item.named}")
            else:
                self._do(seq, item)
            seq += 1
        self._complete()

    def _jump(self, seq: int, item: Item) -> int:
        target, repeats = int(item.params[0]), int(item.params[1])
        done = self._jumps.get(seq, 0)
        if target < 1 or target >= self._autopilot.missions.count or (repeats >= 0 and done >= repeats):
            return seq + 1
        self._jumps[seq] = done + 1
        return target

    def _leg_start(self) -> Array:
        """The place of the item before when the vehicle has just come to it, else where it is."""
        position = self._autopilot.estimator.position
        last, self._last_place = self._last_place, None
        near = 3.0 * self._autopilot.waypoint_radius()
        return last if last is not None and float(np.linalg.norm(last - position)) < near else position

    def _do(self, seq: int, item: Item) -> None:
        self._autopilot.say(f"Mission: {seq} {item.named}")
        self._autopilot.commands.do_item(item)
        self._autopilot.item_reached(seq)

    def _complete(self) -> None:
        self._step, self._state = None, COMPLETE
        self._autopilot.mission_complete()

    def goal(self) -> Goal | None:
        """The vehicle's goal in AUTO; None when there is nothing to be done."""
        autopilot = self._autopilot
        if self._awaits_origin and autopilot.estimator.origin is not None:
            self.start_or_resume()
        self._look_for_changes()
        if self._step is None or autopilot.modes.paused or not autopilot.armed:
            return None
        goal = self._step.goal()
        self._work_conditions()
        if self._step is not None and self._step.done():
            self._finish_step()
            return self._step.goal() if self._step is not None else None
        return goal

    def idle(self) -> None:
        """AUTO while disarmed: the mission may begin, and changes are seen, but nothing moves."""
        if self._awaits_origin and self._autopilot.estimator.origin is not None:
            self.start_or_resume()

    def _finish_step(self) -> None:
        step = self._step
        assert step is not None
        self._autopilot.item_reached(step.seq)
        step.finish()
        self._last_place = step.place
        self._begin(step.seq + 1)

    def _work_conditions(self) -> None:
        """Conditions hold up what stands after them until they are met or the next leading item comes."""
        while self._waiting:
            seq, item = self._waiting[0]
            if item.kind.role == "condition" and not self._met(item):
                return
            self._waiting.pop(0)
            if item.kind.role != "condition":
                self._do(seq, item)
            self._condition_since = self._autopilot.now

    def _met(self, item: Item) -> bool:
        autopilot = self._autopilot
        if item.command == Cmd.CONDITION_DELAY:
            return autopilot.now - self._condition_since >= item.params[0]
        if item.command == Cmd.CONDITION_DISTANCE:
            target = self.target()
            return target is None or math.dist(target[:2], autopilot.estimator.position[:2]) <= item.params[0]
        angle, _, direction, relative = item.params
        autopilot.modes.yaw.condition(angle, direction, bool(relative))
        return True

    # Changes while it is flown

    def _note_mission(self) -> None:
        self._revision = self._autopilot.missions.revision
        self._seen = list(self._autopilot.missions.items[max(0, self.current - 1) :])

    def _look_for_changes(self) -> None:
        autopilot = self._autopilot
        if self._step is None or self._revision == autopilot.missions.revision:
            return
        self._revision = autopilot.missions.revision
        if autopilot.missions.items[max(0, self.current - 1) :] == self._seen:
            return
        self._begin(self._step.seq)
        autopilot.say("Auto mission changed, restarted command", Severity.CRITICAL)

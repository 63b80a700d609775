"""The leading items of a mission while they are flown: what each wants of the vehicle, and when it is done."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import Cmd
from aerialworld_sim.autopilot.goals import Kept
from aerialworld_sim.autopilot.homecoming import Homecoming, Landing
from aerialworld_sim.autopilot.logic import radius_within
from aerialworld_sim.autopilot.mission_items import Item
from aerialworld_sim.vehicles.interface import Brake, Circle, Contact, Goal, GoTo, Leg, TakeOff

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot


class Step:
    """One leading item in work."""

    taking_off = False
    landing = False

    def __init__(self, autopilot: Autopilot, seq: int, item: Item) -> None:
        self.autopilot = autopilot
        self.seq = seq
        self.item = item
        self.kept = Kept()
        self.since: float | None = None

    @property
    def place(self) -> Array | None:
        """Where it leads (3,), for what is told of targets and for the next leg's start."""
        return None

    def goal(self) -> Goal:
        raise NotImplementedError

    def done(self) -> bool:
        raise NotImplementedError

    def finish(self) -> None:
        """What is said at its end."""

    def leg_to(self, place: Array, yaw: float | None = None, speed: float | None = None) -> Goal:
        """Straight from where the vehicle is now to a place, and stay; the same goal until speed or `yaw` change."""
        autopilot, pace = self.autopilot, self.autopilot.modes.speed if speed is None else speed
        start, radius = autopilot.estimator.position, autopilot.waypoint_radius()
        return self.kept.of((tuple(place.tolist()), pace, yaw), lambda: Leg(start, place, None, pace, radius, yaw))

    def waited(self, seconds: float) -> bool:
        """Whether so long has gone since this was first asked."""
        if self.since is None:
            self.since = self.autopilot.now
        return self.autopilot.now - self.since >= seconds

    def waited_there(self, seconds: float) -> bool:
        """Whether so long has gone since the vehicle was first found where its goal lies."""
        return (self.since is not None or self.autopilot.arrived(self.kept.last)) and self.waited(seconds)


class TakeoffStep(Step):
    """Straight up to the item's height; from the air, up where the vehicle is."""

    def __init__(self, autopilot: Autopilot, seq: int, item: Item) -> None:
        super().__init__(autopilot, seq, item)
        position = autopilot.estimator.position
        self._from_ground = autopilot.vehicle.contact is Contact.GROUND
        z = autopilot.missions.height(item.frame, item.z, position)
        self._top = np.array([position[0], position[1], max(z, float(position[2]))])
        self.taking_off = self._from_ground

    @property
    def place(self) -> Array:
        return self._top

    def goal(self) -> Goal:
        top, modes = self._top, self.autopilot.copter
        if self._from_ground:
            return self.kept.of("up", lambda: TakeOff(float(top[2])))
        return self.kept.of("up", lambda: GoTo(top, modes.speed, climb_speed=modes.climb))

    def done(self) -> bool:
        airborne = self.autopilot.vehicle.contact is Contact.AIR
        return airborne and self.autopilot.arrived(self.kept.last)


class WaypointStep(Step):
    """A leg to a place, past it into the next one when there is no delay."""

    def __init__(self, autopilot: Autopilot, seq: int, item: Item, start: Array) -> None:
        super().__init__(autopilot, seq, item)
        self._start = start
        self._end = autopilot.missions.target(item)

    @property
    def place(self) -> Array:
        return self._end

    @property
    def _delay(self) -> float:
        return self.item.params[0]

    def restart(self) -> None:
        """Go on from where the vehicle is."""
        self._start = self.autopilot.estimator.position
        self.kept.clear()

    def goal(self) -> Goal:
        autopilot, modes = self.autopilot, self.autopilot.modes
        following = None if self._delay > 0 else autopilot.runner.following(self.seq)
        yaw = modes.yaw.value() if autopilot.settings.kind == "drone" else None
        shape = None if following is None else tuple(following.tolist())
        key = (modes.speed, yaw, shape, tuple(self._start.tolist()))
        return self.kept.of(
            key, lambda: Leg(self._start, self._end, following, modes.speed, autopilot.waypoint_radius(), yaw)
        )

    def done(self) -> bool:
        return self.waited_there(self._delay)

    def finish(self) -> None:
        word = "command" if self.autopilot.settings.kind == "drone" else "waypoint"
        self.autopilot.say(f"Reached {word} #{self.seq}")


class LoiterStep(Step):
    """To a place and stay: for ever, or for the item's seconds."""

    def __init__(self, autopilot: Autopilot, seq: int, item: Item) -> None:
        super().__init__(autopilot, seq, item)
        self._place = autopilot.missions.target(item)

    @property
    def place(self) -> Array:
        return self._place

    def goal(self) -> Goal:
        drone = self.autopilot.settings.kind == "drone"
        return self.leg_to(self._place, self.autopilot.modes.yaw.value() if drone else None)

    def done(self) -> bool:
        if self.item.command == Cmd.NAV_LOITER_UNLIM:
            return False
        return self.waited_there(self.item.params[0])

    def finish(self) -> None:
        if self.autopilot.settings.kind == "drone":
            self.autopilot.say(f"Reached command #{self.seq}")


class TurnsStep(Step):
    """Around a circle; a negative radius turns to the left. A copter first flies to the circle's edge, keeps its nose
    at the centre and says each turn; a rover's `Circle` itself leads it there."""

    def __init__(self, autopilot: Autopilot, seq: int, item: Item) -> None:
        super().__init__(autopilot, seq, item)
        self._centre = autopilot.missions.target(item)
        self._drone = autopilot.settings.kind == "drone"
        usual = autopilot.parameters["CIRCLE_RADIUS"] / 100.0 if self._drone else autopilot.parameters["CIRC_RADIUS"]
        asked = item.params[2]
        self._radius = radius_within(abs(asked) or abs(usual))
        rate = autopilot.modes.circle_rate(self._radius)
        self._rate = rate if asked < 0 else -rate
        self._edge = self._nearest_edge()
        self._told_turns = 0
        self._circle: Goal | None = None

    def _nearest_edge(self) -> Array:
        position = self.autopilot.estimator.position
        away = position[:2] - self._centre[:2]
        distance = float(np.hypot(*away))
        if distance < 0.5:  # from the middle: straight ahead
            yaw = self.autopilot.vehicle.state.pose.yaw
            away, distance = np.array([math.cos(yaw), math.sin(yaw)]), 1.0
        edge = np.array(self._centre)
        edge[:2] += away / distance * self._radius
        return edge

    @property
    def place(self) -> Array:
        return self._centre if self._circle is not None else self._edge

    def goal(self) -> Goal:
        autopilot = self.autopilot
        if self._circle is None and (not self._drone or autopilot.arrived(self.kept.last)):
            self._circle = Circle(self._centre, self._radius, self._rate)
            self._tell(1)
        return self._circle or self.leg_to(self._edge)

    def _tell(self, turn: int) -> None:
        self._told_turns = turn
        if self._drone:
            self.autopilot.say(f"Mission: starting circle {turn}/{self.item.params[0]:.0f}")

    def done(self) -> bool:
        if self._circle is None or self.autopilot.commanded is not self._circle:
            return False
        turns = abs(self.autopilot.vehicle.circled) / (2 * math.pi)
        if turns >= self._told_turns:
            self._tell(self._told_turns + 1)
        return turns >= self.item.params[0]


class ReturnStep(Step):
    """Home and down, for a copter; home, for a rover."""

    def __init__(self, autopilot: Autopilot, seq: int, item: Item) -> None:
        super().__init__(autopilot, seq, item)
        drone = autopilot.settings.kind == "drone"
        self._way = Homecoming(autopilot) if drone else None
        home = autopilot.estimator.home
        self._home = np.array(home if home is not None else autopilot.estimator.position)

    @property
    def place(self) -> Array:
        return self._way.target if self._way else self._home

    def goal(self) -> Goal:
        if self._way is not None:
            goal = self._way.goal()
            self.landing = self._way.landing
            return goal
        return self.leg_to(self._home, speed=self.autopilot.rover.homeward_speed())

    def done(self) -> bool:
        return self._way.done if self._way is not None else self.autopilot.arrived(self.kept.last)


class LandStep(Step):
    """Over a place at the present height, and down."""

    def __init__(self, autopilot: Autopilot, seq: int, item: Item) -> None:
        super().__init__(autopilot, seq, item)
        self._over = autopilot.missions.target(item)
        self._over[2] = float(autopilot.estimator.position[2])
        self._down = Landing(autopilot)
        self.landing = not item.has_place

    @property
    def place(self) -> Array:
        return self._over

    def goal(self) -> Goal:
        autopilot = self.autopilot
        if not self.landing and autopilot.arrived(self.kept.last):
            self.landing = True
        if self.landing:
            return self._down.goal()
        return self.leg_to(self._over)

    def done(self) -> bool:
        return self._down.done


class DelayStep(Step):
    """Stay for a time."""

    def goal(self) -> Goal:
        return self.kept.of("brake", Brake)

    def done(self) -> bool:
        return self.waited(max(0.0, self.item.params[0]))


def step_of(autopilot: Autopilot, seq: int, item: Item, start: Array) -> Step | None:
    """The step that flies an item; None for one that this kind of vehicle skips."""
    drone = autopilot.settings.kind == "drone"
    if item.command in (Cmd.NAV_WAYPOINT, Cmd.NAV_SPLINE_WAYPOINT):
        return WaypointStep(autopilot, seq, item, start)
    if item.command in (Cmd.NAV_LOITER_UNLIM, Cmd.NAV_LOITER_TIME):
        return LoiterStep(autopilot, seq, item)
    if item.command == Cmd.NAV_LOITER_TURNS:
        return TurnsStep(autopilot, seq, item)
    if item.command == Cmd.NAV_RETURN_TO_LAUNCH:
        return ReturnStep(autopilot, seq, item)
    if item.command == Cmd.NAV_DELAY:
        return DelayStep(autopilot, seq, item)
    if drone and item.command == Cmd.NAV_TAKEOFF:
        return TakeoffStep(autopilot, seq, item)
    if drone and item.command == Cmd.NAV_LAND:
        return LandStep(autopilot, seq, item)
    return None

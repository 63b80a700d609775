"""What the modes of a copter and of a rover have in common: speeds, pausing, setpoints, what is told of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aerialworld_core.earth import map_of_body
from aerialworld_core.frames import Array
from aerialworld_core.mavlink.words import Result
from aerialworld_sim.autopilot.goals import Kept
from aerialworld_sim.autopilot.guided import Guided
from aerialworld_sim.autopilot.mission_items import Item
from aerialworld_sim.autopilot.modes import Mode
from aerialworld_sim.autopilot.yaw import Yaw
from aerialworld_sim.vehicles.interface import Brake, Circle, Goal

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Metres per second between which a speed is taken, and metres between which a radius is.
SLOWEST, FASTEST = 0.1, 100.0
SMALLEST, WIDEST = 0.1, 10_000.0


def speed_within(speed: float) -> float:
    """A speed that a vehicle can be asked for, whatever a parameter says."""
    return min(max(speed, SLOWEST), FASTEST)


def radius_within(radius: float) -> float:
    """A radius that there can be, whatever a parameter says."""
    return min(max(radius, SMALLEST), WIDEST)


class ModeLogic:
    """Turns the present mode into a goal, step by step."""

    #: A copter on the ground whose motors spin up to take off; one that takes off; one that comes down to land.
    spooling = False
    taking_off = False
    landing = False
    #: What CIRCLE flies.
    _circle: Circle | None = None

    def __init__(self, autopilot: Autopilot) -> None:
        self.autopilot = autopilot
        self.guided = Guided(autopilot)
        self.yaw = Yaw(autopilot)
        self.kept = Kept()
        self.paused = False
        #: Speeds asked by DO_CHANGE_SPEED until the mode changes; None: the parameters'.
        self.asked_speed: float | None = None
        self.asked_climb: float | None = None
        self.asked_descent: float | None = None

    # What the vehicles differ in

    def enter(self, mode: Mode) -> str:
        """Go into a mode; an empty text, or why it cannot be."""
        raise NotImplementedError

    def goal(self, seconds: float) -> Goal:
        """What the vehicle shall do for the next `seconds` while it is armed."""
        raise NotImplementedError

    def default_speed(self) -> float:
        """Metres per second between places."""
        raise NotImplementedError

    def circle_rate(self, radius: float) -> float:
        """Radians per second around a circle."""
        raise NotImplementedError

    def disarmed(self) -> None:
        """The vehicle has been disarmed."""

    # What they share

    @property
    def speed(self) -> float:
        return self.asked_speed if self.asked_speed is not None else self.default_speed()

    def fresh(self) -> None:
        """Forget what belonged to the mode before."""
        self.paused = False
        self.asked_speed = self.asked_climb = self.asked_descent = None
        self.guided.hold()
        self.yaw.clear()
        self.kept.clear()

    def change_speed(self, kind: float, speed: float) -> bool:
        """DO_CHANGE_SPEED: 0 and 1 along the way, 2 up, 3 down; False for what cannot be."""
        if not 0.0 < speed <= FASTEST:
            return False
        if kind in (0.0, 1.0):
            self.asked_speed = speed
        elif kind == 2.0:
            self.asked_climb = speed
        elif kind == 3.0:
            self.asked_descent = speed
        else:
            return False
        return True

    def pause(self, stop: bool) -> Result:
        """DO_PAUSE_CONTINUE, in AUTO and GUIDED."""
        if self.autopilot.mode.name not in ("AUTO", "GUIDED"):
            return Result.FAILED
        self.paused = stop
        if not stop:
            self.autopilot.runner.restart_leg()
        return Result.ACCEPTED

    def new_guided_target(self) -> None:
        """A setpoint has come: it replaces whatever GUIDED was doing."""
        self.taking_off = False
        self.paused = False

    def go_to(self, position: Array, yaw: float | None = None) -> bool:
        """Send GUIDED to a place (3,) of map; False when it lies beyond the fence."""
        if not self.guided.go_to(position, yaw):
            return False
        self.new_guided_target()
        return True

    def old_guided_point(self, item: Item) -> None:
        """A waypoint of the old kind for GUIDED (MISSION_ITEM with current 2)."""
        self.go_to(self.autopilot.missions.target(item))

    def target(self) -> Array | None:
        """The place (3,) of map that is gone to now, for POSITION_TARGET and NAV_CONTROLLER_OUTPUT."""
        autopilot = self.autopilot
        if not autopilot.armed:
            return None
        if autopilot.mode.name == "AUTO":
            return autopilot.runner.target()
        if autopilot.mode.name == "GUIDED" and not self.taking_off:
            return self.guided.target
        return None

    def circle_ahead(self, asked_radius: float, to_the_left: bool) -> Circle:
        """Around a centre ahead of the nose."""
        radius, pose = radius_within(asked_radius), self.autopilot.vehicle.state.pose
        rate = self.circle_rate(radius)
        return Circle(pose.position + map_of_body(pose.yaw, radius, 0.0, 0.0), radius, rate if to_the_left else -rate)

    def brake(self) -> Goal:
        return self.kept.of("brake", Brake)

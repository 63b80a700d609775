"""What an autopilot asks of a vehicle, and what it is told back: the seam between `autopilot/` and the dynamics.

All positions and velocities are in map (east, north, up; metres, seconds), yaw counter-clockwise from east in radians;
NED exists only where MAVLink is spoken. The autopilot decides what is wanted (modes, missions, failsafes); a vehicle
knows how it gets there (guidance, attitude, thrust, ground and solids). Both advance by the same steps of simulation
time and never look at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from aerialworld_core.frames import Array
from aerialworld_core.sensing import VehicleState

Kind = Literal["drone", "rover"]


class Contact(Enum):
    """How a vehicle touches the world. After CRASHED it stays where it fell until it is reset."""

    GROUND = "on the ground"
    AIR = "in the air"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Off:
    """Motors do not turn; in the air a multirotor falls, a rover rolls out."""


@dataclass(frozen=True)
class Idle:
    """Armed and waiting: a multirotor's motors idle on the ground, a rover stands."""


@dataclass(frozen=True)
class TakeOff:
    """Spool up, then climb straight up to `altitude` (map z)."""

    altitude: float


@dataclass(frozen=True, eq=False)
class GoTo:
    """Fly to `position` (3,) and hold it. A rover ignores the height. `yaw` None: along the way, then as it is."""

    position: Array
    speed: float
    yaw: float | None = None
    climb_speed: float | None = None
    descent_speed: float | None = None


@dataclass(frozen=True, eq=False)
class Leg:
    """A mission's leg from `start` to `end` (3,), to be passed within `radius`; with `following` the next leg's end,
    the corner is cut, else the vehicle stops. `yaw` None: along the leg."""

    start: Array
    end: Array
    following: Array | None
    speed: float
    radius: float
    yaw: float | None = None


@dataclass(frozen=True, eq=False)
class Circle:
    """Around `centre` (3,) at its height, `radius` metres, `rate` rad/s of angle (counter-clockwise positive); the
    nose at the centre."""

    centre: Array
    radius: float
    rate: float


@dataclass(frozen=True, eq=False)
class Velocity:
    """Keep `velocity` (3,); a rover uses its part along the heading. At most one of `yaw` and `yaw_rate` is given."""

    velocity: Array
    yaw: float | None = None
    yaw_rate: float | None = None


@dataclass(frozen=True, eq=False)
class Track:
    """Follow a moving point: be at `position` (3,) with `velocity` (3,) now, as streamed setpoints ask."""

    position: Array
    velocity: Array
    yaw: float | None = None
    yaw_rate: float | None = None


@dataclass(frozen=True)
class Brake:
    """Stop as fast as the limits allow and hold."""


@dataclass(frozen=True)
class Land:
    """Descend here at `speed` above `slow_below` metres over the ground, then at `slow_speed` until it touches."""

    speed: float
    slow_speed: float
    slow_below: float = 10.0


@dataclass(frozen=True)
class Drive:
    """A rover by hand: throttle and steering (left positive), each −1 … 1."""

    throttle: float
    steering: float


Goal = Off | Idle | TakeOff | GoTo | Leg | Circle | Velocity | Track | Brake | Land | Drive


class SimulatedVehicle(Protocol):
    """A vehicle with dynamics. A pure function of its start, seed, goals and steps."""

    kind: Kind

    @property
    def state(self) -> VehicleState:
        """True state now: pose in map, linear velocity and acceleration in map, angular velocity in the body."""
        ...

    @property
    def contact(self) -> Contact: ...

    @property
    def incident(self) -> str:
        """Why it crashed or is held ("hit a building at …"); empty without."""
        ...

    @property
    def throttle(self) -> float:
        """Mean thrust share, 0 … 1 (hover about the vehicle's hover throttle; a rover's signed drive, −1 … 1)."""
        ...

    @property
    def circled(self) -> float:
        """The angle that the present `Circle`'s target has covered, radians, counter-clockwise positive."""
        ...

    def stopping_point(self) -> Array:
        """(3,) of map where it would come to rest if a leg began now: what ArduPilot takes for a leg's start."""
        ...

    def command(self, goal: Goal) -> None:
        """What is wanted from now on. The same goal again changes nothing; a changed one is taken up smoothly."""
        ...

    def arrived(self) -> bool:
        """Whether the present goal is reached: height, position within the radius, ground, standstill."""
        ...

    def step(self, dt_ns: int) -> VehicleState:
        """Advance simulation time by `dt_ns` > 0."""
        ...

    def reset(self, state: VehicleState | None = None) -> None:
        """Back to the start, or to a given state, motors off."""
        ...

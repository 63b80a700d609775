"""A drone's mission while it is planned: what all patterns are asked, and how a line on the map becomes a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict, get_args

import numpy as np

from aerialworld_core.entries import instead_of
from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.route import Fence
from aerialworld_missions import flight, motion
from aerialworld_missions.fencing import fence_of
from aerialworld_missions.heightmap import Geometry, HeightMap
from aerialworld_missions.requests import FASTEST_DRONE, Variation, generator, number

#: Over what an altitude is meant: the ground under the vehicle, which it follows; or the ground where it starts.
AltitudeFrame = Literal["ground", "home"]
#: What is done about buildings in the way: rise over them, bend the path around them, or refuse.
Avoid = Literal["raise", "bend", "refuse"]


class Common(TypedDict, total=False):
    """What every drone's pattern takes; see `Drone`."""

    name: str
    place: str
    seed: int
    vehicle: str
    altitude: float
    altitude_frame: AltitudeFrame
    speed: float
    clearance: float
    ceiling: float
    avoid: Avoid
    fence: Fence | Sequence[Any] | None
    duration: float | None
    jitter: bool
    limits: flight.DroneLimits


class Drone:
    """What every drone's pattern is asked, checked, and its end: `finish` makes a line on the map a plan.

    name            of the plan; default: the pattern
    place           name of the block that it stays in
    altitude        metres, over the ground under the vehicle (`altitude_frame` ground, followed smoothly) or over the
                    ground where it starts (home, level)
    speed           m/s; slower in turns (≤ 3 m/s² sideways, ≤ 60 °/s)
    clearance       metres kept from everything that is not ground, at least 2
    ceiling         metres above the datum that it may not rise over; the default is the voxel grid's top
    avoid           what is done about buildings in the way: "raise" the altitude, "bend" the path around them (patterns
                    that are lines: corridor, random, waypoints), "refuse"
    fence           what it never leaves: (west, south, east, north), corners (K, 2) of a polygon, or a `Fence`;
                    default: the world's bounds
    duration        seconds (rounded down to 0.1 s)
    jitter          seeded variation: start, direction, altitude ± 10 %, speed ± 15 %, heading ± 5° (what applies)

    Raises PlanError with its reason for what cannot be flown. The same arguments give the same bytes.
    """

    def __init__(
        self,
        world: Geometry,
        pattern: str,
        *,
        name: str = "",
        place: str = "A",
        seed: int = 0,
        vehicle: str = "drone_1",
        altitude: float = 30.0,
        altitude_frame: AltitudeFrame = "ground",
        speed: float = 5.0,
        clearance: float = 5.0,
        ceiling: float = flight.CEILING,
        avoid: Avoid = "raise",
        fence: Fence | Sequence[Any] | None = None,
        duration: float | None = None,
        jitter: bool = False,
        limits: flight.DroneLimits = flight.DRONE,
        bends: bool = False,
    ) -> None:
        self.pattern, self.name, self.place, self.vehicle = pattern, name or pattern, place, vehicle
        name = self.name
        number(name, "altitude", altitude, least=0.0, above=True)
        self.altitude_frame = chosen(name, "altitude_frame", altitude_frame, get_args(AltitudeFrame))
        number(name, "speed", speed, least=0.5, most=FASTEST_DRONE)
        self.clearance = number(name, "clearance", clearance, least=flight.LEAST_CLEARANCE)
        self.ceiling = number(name, "ceiling", ceiling, least=0.0, above=True)
        self.avoid = chosen(name, "avoid", avoid, get_args(Avoid))
        if avoid == "bend" and not bends:
            raise PlanError(
                f"{name}: a {pattern} keeps its shape and cannot bend around buildings; avoid: raise or refuse"
            )
        self.duration = (
            None if duration is None else number(name, "duration", duration, least=3 * motion.KNOT, most=36_000)
        )
        self.seed, self.jitter, self.limits = seed, bool(jitter), limits
        self.random = generator(name, seed, pattern, place)
        self.variation = Variation.draw(self.random, jitter)
        self.speed, self.altitude = speed * self.variation.speed, altitude * self.variation.altitude
        self.world, self.heights = world, HeightMap.of(world)
        self.fence = fence

    @property
    def extent(self) -> Array:
        """(2,) metres from the world's western to its eastern border, and from the southern to the northern."""
        return self.heights.high - self.heights.low

    @property
    def margin(self) -> float:
        """Metres that a lane runs on before it turns."""
        return motion.margin(self.limits.turn_window, self.speed)

    def ground_at(self, what: str, x: float, y: float) -> float:
        """The ground's height at a point. Raises PlanError where there is none."""
        row, column, inside = self.heights.index(np.array([[x, y]]))
        level = float(self.heights.ground[row[0], column[0]])
        if not inside[0] or np.isnan(level):
            raise PlanError(f"{self.name}: there is no ground at {what} ({x:g}, {y:g})")
        return level

    def ground_along(self, xy: Array) -> Array:
        """(N,) ground under a path (N, 2). Raises PlanError where it leaves the world's."""
        return flight.ground_under(self.heights, xy, self.name)

    def wanted(self, xy: Array) -> Array:
        """(N,) heights in map that the altitude means along a path (N, 2)."""
        ground = self.ground_along(xy)
        if self.altitude_frame == "home":
            return np.full(len(xy), ground[0] + self.altitude)
        return np.asarray(ground + self.altitude)

    def finish(
        self,
        xy: Array,
        parameters: dict[str, Any],
        *,
        height: Array | None = None,
        exact: bool = False,
        hovers: bool = False,
        look_at: Array | None = None,
        yaw: Array | None = None,
    ) -> Plan:
        """The plan along `xy` (N, 2), samples `motion.SAMPLE` seconds apart, proved as it stands in its file.

        `height` (N,) in map replaces what the altitude means; `exact`: it is smooth, and flown as it is where nothing
        stands in the way; `hovers`: it stops on its way, where it may climb on the spot. `parameters` are the
        pattern's own, for the record.
        """
        limits = self.limits
        if hovers:
            limits = replace(limits, climb_angle=np.pi / 2)
        rules = flight.Rules(self.clearance, self.ceiling, limits, self.avoid == "refuse", exact)
        wanted = self.wanted(xy) if height is None else height
        t, position, orientation = flight.fly(self.heights, xy, wanted, rules, name=self.name, look_at=look_at, yaw=yaw)
        plan = Plan(
            name=self.name,
            vehicle=self.vehicle,
            agent_type="drone",
            pattern=self.pattern,
            place=self.place,
            seed=int(self.seed),
            t=np.round(t, 6),
            position=np.round(position, 6),
            orientation=np.round(orientation, 9),
            parameters={
                **parameters,
                "altitude": self.altitude,
                "altitude_frame": self.altitude_frame,
                "speed": self.speed,
                "clearance": self.clearance,
                "ceiling": self.ceiling,
                "avoid": self.avoid,
                "duration": self.duration,
                "jitter": self.jitter,
            },
            fence=fence_of(self.name, self.heights, self.fence, xy[0], self.ceiling),
        )
        flight.check_flight(plan, self.heights, rules)
        return plan


def chosen(name: str, what: str, value: Any, known: Sequence[str]) -> Any:
    """`value` if it is one of `known`. Raises PlanError."""
    if value not in known:
        raise PlanError(f"{name}: {what} is {' or '.join(known)}, not {value!r}; {instead_of(value, known)}")
    return value

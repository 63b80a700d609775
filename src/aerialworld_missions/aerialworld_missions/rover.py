"""A rover's mission while it is planned: what all patterns are asked, and how a route becomes a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.route import Fence
from aerialworld_core.world.seams import ground_height
from aerialworld_missions import driving
from aerialworld_missions.fencing import fence_of
from aerialworld_missions.flight import CEILING, LEAST_CLEARANCE
from aerialworld_missions.heightmap import CELL, Geometry, HeightMap
from aerialworld_missions.lattice import FreeSpace, Lattice
from aerialworld_missions.motion import KNOT, PER_KNOT, SAMPLE, heading_along, margin, travel
from aerialworld_missions.path import Path
from aerialworld_missions.requests import FASTEST_ROVER, Variation, generator, number

#: How often another route or a slower drive is tried.
_ATTEMPTS = 12


class Common(TypedDict, total=False):
    """What every rover's pattern takes; see `Rover`."""

    name: str
    place: str
    seed: int
    vehicle: str
    speed: float
    clearance: float
    ceiling: float
    fence: Fence | Sequence[Any] | None
    duration: float | None
    jitter: bool
    limits: driving.RoverLimits


class Rover:
    """What every rover's pattern is asked, checked, and its end: `drive` makes a route on the map a plan; base_link
    lies on the ground between the wheels (2 to 35 cm above it).

    name        of the plan; default: the pattern
    place       name of the block that it stays in
    speed       m/s, at most 5; slower in turns (≤ 2 m/s² sideways), and altogether where the ground is rough (≤ 4 m/s²
                up and down)
    clearance   metres kept from everything that is not ground, at least 2
    ceiling     metres above the datum that the ground may not rise over
    fence       what it never leaves, as a drone's; default: the world's bounds
    duration    seconds (rounded down to 0.1 s)
    jitter      seeded variation: speed ± 15 %, and what the pattern says

    Raises PlanError with its reason for what cannot be driven. The same arguments give the same bytes.
    """

    def __init__(
        self,
        world: Geometry,
        pattern: str,
        *,
        name: str = "",
        place: str = "A",
        seed: int = 0,
        vehicle: str = "rover_1",
        speed: float = 3.0,
        clearance: float = LEAST_CLEARANCE,
        ceiling: float = CEILING,
        fence: Fence | Sequence[Any] | None = None,
        duration: float | None = None,
        jitter: bool = False,
        limits: driving.RoverLimits = driving.ROVER,
    ) -> None:
        self.pattern, self.name, self.place, self.vehicle = pattern, name or pattern, place, vehicle
        name = self.name
        number(name, "speed", speed, least=0.5, most=FASTEST_ROVER)
        if duration is not None:
            number(name, "duration", duration, least=3 * KNOT, most=36_000)
        self.clearance = number(name, "clearance", clearance, least=LEAST_CLEARANCE, most=50.0)
        self.ceiling = number(name, "ceiling", ceiling, least=0.0, above=True)
        self.duration, self.seed, self.jitter, self.limits = duration, seed, bool(jitter), limits
        self.random = generator(name, seed, pattern, place)
        self.variation = Variation.draw(self.random, jitter)
        self.speed = min(speed * self.variation.speed, FASTEST_ROVER)
        self.world, self.heights = world, HeightMap.of(world)
        self.fence = fence

    @property
    def margin(self) -> float:
        """Metres of route before and after the part that is driven."""
        return margin(self.limits.turn_window, self.speed)

    def heights_of(self, low: Array, high: Array) -> HeightMap:
        """The height map of a box, with cells of a metre also where the world's has larger ones."""
        if self.heights.cell <= CELL:
            return self.heights
        reach = self.clearance + 3 * CELL
        low, high = np.maximum(low - reach, self.heights.low), np.minimum(high + reach, self.heights.high)
        return HeightMap.cast(self.world, low, high)

    def lattice(self, heights: HeightMap, low: Array, high: Array, blocked: Array) -> Lattice:
        """Where one can drive within a box. Raises PlanError where that is nowhere."""
        space = FreeSpace.within(heights, low, high, clearance=self.clearance, slope=self.limits.slope, blocked=blocked)
        if self.fence is not None:
            row, column = np.indices(space.free.shape).reshape(2, -1)
            space = replace(space, free=space.free & self.fenced(space.centres(row, column)).reshape(space.free.shape))
        lattice = Lattice(space)
        if len(lattice.states) == 0:
            middle, edge = (low + high) / 2, high - low
            raise PlanError(
                f"{self.name}: no driveable ground around ({middle[0]:.0f}, {middle[1]:.0f}): within {edge[0]:.0f} × "
                f"{edge[1]:.0f} m nothing is flatter than {math.degrees(self.limits.slope):.0f}°, "
                f"{self.clearance:g} m from buildings and wide enough to turn; move the centre or enlarge the box"
            )
        return lattice

    def fenced(self, xy: Array) -> NDArray[np.bool_]:
        """(N,) which points (N, 2) of the map lie in the fence."""
        fence = fence_of(self.name, self.heights, self.fence, xy[0], self.ceiling)
        return fence.contains(np.column_stack([xy, np.full(len(xy), (fence.floor + fence.ceiling) / 2)]))

    def drive(
        self, heights: HeightMap, route: Callable[[Array], Path], parameters: dict[str, Any], *, way_out: str
    ) -> Plan:
        """The plan of the first route that can be driven. `route(blocked)` gives one that keeps away from points (K, 2)
        where those before came too near to something; `way_out` says what to do where none can be driven."""
        blocked = np.zeros((0, 2))
        fault: tuple[str, Array] | None = None
        # Braking into a turn adds to the turn's own acceleration: hypot(0.8 · 2, 0.8 · 1.5) = 2.
        ease, limits, over, speed = 0.8, self.limits, self.margin, self.speed
        for _ in range(_ATTEMPTS):
            path = route(blocked)
            speeds = path.speeds(
                speed,
                lateral=ease * limits.lateral,
                longitudinal=ease * limits.longitudinal,
                yaw_rate=ease * limits.yaw_rate,
            )
            xy = travel(
                path, speeds, begin=over, end=path.length - over, seconds=self.duration, smooth=limits.turn_window
            )
            off_ground = np.isnan(ground_height(self.world, xy))
            if off_ground.any():
                fault = "leaves the ground", xy[off_ground]
                blocked = np.concatenate([blocked, fault[1]])
                continue
            plan = self._plan(heights, xy, {**parameters, "speed": speed})
            fault = driving.problems(plan, heights, clearance=self.clearance, limits=limits)
            if fault is None:
                return self._low_enough(plan)
            if fault[0].startswith("leaves its fence"):
                self._low_enough(plan)  # the fence ends at the ceiling, which says more
            if fault[0].startswith("turns"):
                ease *= 0.85
            elif fault[0].startswith("jolts"):
                speed *= 0.85
            else:
                blocked = np.concatenate([blocked, fault[1]])
        assert fault is not None
        x, y = fault[1][0]
        raise PlanError(f"{self.name}: every route tried {fault[0]}, the last near ({x:.0f}, {y:.0f}); {way_out}")

    def _plan(self, heights: HeightMap, xy: Array, parameters: dict[str, Any]) -> Plan:
        z, orientation = driving.ride(heights, xy, heading_along(xy), self.limits)
        position: Array = np.column_stack([xy, z])[::PER_KNOT]
        t = KNOT * np.arange(len(position), dtype=np.float64)
        # Between knots the spline may dip by millimetres: raise it by what its densest samples show.
        dense = CubicSpline(t, position, axis=0)(SAMPLE * np.arange(len(xy)))
        dip = np.max(ground_height(self.world, dense[:, :2]) + driving.LIFT / 2 - dense[:, 2])
        position[:, 2] += max(float(dip), 0.0)
        return Plan(
            name=self.name,
            vehicle=self.vehicle,
            agent_type="rover",
            pattern=self.pattern,
            place=self.place,
            seed=int(self.seed),
            t=np.round(t, 6),
            position=np.round(position, 6),
            orientation=np.round(orientation[::PER_KNOT], 9),
            parameters={
                **parameters,
                "duration": None if self.duration is None else float(self.duration),
                "clearance": self.clearance,
                "ceiling": self.ceiling,
                "jitter": self.jitter,
            },
            fence=fence_of(self.name, self.heights, self.fence, xy[0], self.ceiling),
        )

    def _low_enough(self, plan: Plan) -> Plan:
        datum = float(self.world.datum(float(plan.position[0, 0]), float(plan.position[0, 1])))
        if plan.position[:, 2].max() > datum + self.ceiling:
            raise PlanError(
                f"{self.name}: the ground is {plan.position[:, 2].max() - datum:.0f} m above the datum, over the "
                f"ceiling of {self.ceiling:.0f} m"
            )
        return plan

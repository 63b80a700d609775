"""A vehicle on its start, of either kind: with the dynamics that goals command, or with those that ArduPilot flies."""

from __future__ import annotations

import math

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_sim.vehicles.interface import Kind, SimulatedVehicle
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.physics.car import CarBody
from aerialworld_sim.vehicles.physics.quad import QuadBody
from aerialworld_sim.vehicles.physics.sitl import Body, SitlVehicle
from aerialworld_sim.vehicles.rover import Rover
from aerialworld_sim.vehicles.surroundings import Surroundings

#: Metres above the ground at which a vehicle is put down.
_ABOVE = 0.5


def start_on_ground(surroundings: Surroundings, x: float, y: float, yaw: float) -> Pose:
    """Where a vehicle starts that stands at (x, y) of map. Raises InputError where there is no ground."""
    ground = surroundings.height_at((x, y))
    if not math.isfinite(ground):
        raise InputError(f"the world has no ground at ({x:.1f}, {y:.1f}): put the vehicle elsewhere")
    return Pose.from_rpy(x, y, ground + _ABOVE, yaw=yaw)


def vehicle_of(kind: Kind, start: Pose, surroundings: Surroundings | None = None, seed: int = 0) -> SimulatedVehicle:
    """A vehicle that goals command; without `surroundings` on the plane z = 0."""
    if kind == "drone":
        return Multirotor(start, seed=seed, surroundings=surroundings)
    return Rover(start, surroundings=surroundings)


def sitl_vehicle(
    kind: Kind,
    start: Pose,
    surroundings: Surroundings | None = None,
    seed: int = 0,
    *,
    address: tuple[str, int],
    timeout: float,
) -> SitlVehicle:
    """A vehicle that an ArduPilot flies; `address` and `timeout` as `SitlVehicle` has them."""
    body: Body = (
        QuadBody(start, seed=seed, surroundings=surroundings)
        if kind == "drone"
        else CarBody(Rover(start, surroundings=surroundings))
    )
    return SitlVehicle(body, kind, address=address, timeout=timeout)

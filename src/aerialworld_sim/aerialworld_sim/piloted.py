"""Vehicles under an autopilot as motions of the engine: the embedded autopilot, or a real ArduPilot over its physics
protocol. Both advance with the engine's time, and are reached over MAVLink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import plan
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.flown_motion import FlownMotion
from aerialworld_sim.vehicles.interface import Kind, SimulatedVehicle
from aerialworld_sim.vehicles.moments import TICK_NS
from aerialworld_sim.vehicles.multirotor import Multirotor
from aerialworld_sim.vehicles.rover import Rover
from aerialworld_sim.vehicles.surroundings import Surroundings

Pilot = Literal["embedded", "sitl"]
#: Who may fly a vehicle.
PILOTS: tuple[Pilot, ...] = ("embedded", "sitl")
#: Ports from vehicle to vehicle, as ArduPilot counts its instances.
PORTS_PER_VEHICLE = 10
#: The first vehicle's MAVLink port (TCP) and where its SITL sends motor outputs to (UDP).
MAVLINK_PORT, PHYSICS_PORT = 5760, 9002
#: Simulated seconds of motion that are kept: a frame's IMU samples may come from so far back.
KEEP = 60.0
#: Wall seconds that SITL may be silent before a run gives up.
PATIENCE = 60.0


@dataclass(frozen=True)
class Piloting:
    """How one vehicle is flown.

    pilot    "embedded": our autopilot; "sitl": an ArduPilot SITL binary, started by the user with
             `--model JSON:127.0.0.1 -I{number}`
    mavlink  where the embedded autopilot is reached: "tcp:PORT", "udp:HOST:PORT" (sends there), "udpin:HOST:PORT"
             (listens); empty: tcp:5760 + 10 · number
    sysid    MAVLink system id
    number   of the vehicle, from 0: which ports are its own
    """

    pilot: Pilot
    mavlink: tuple[str, ...] = ()
    sysid: int = 1
    number: int = 0

    def __post_init__(self) -> None:
        if self.pilot not in PILOTS:
            raise InputError(f"a vehicle is flown by {' or '.join(PILOTS)}, not by {self.pilot!r}")
        if self.pilot == "sitl" and self.mavlink:
            raise InputError("with sitl it is ArduPilot that speaks MAVLink: give its links to SITL, not here")


class PilotedMotion:
    """Implements `motion.Motion`, `motion.SampledMotion` and `motion.Restarting`.

    vehicle  what is flown; autopilot and links are None and empty where SITL flies
    """

    def __init__(self, vehicle: SimulatedVehicle, autopilot: Any = None, links: Sequence[Any] = ()) -> None:
        self.vehicle, self.autopilot, self.links = vehicle, autopilot, list(links)
        self._motion = FlownMotion(vehicle, keep=KEEP, before=self._work)

    def state(self, stamp_ns: int) -> VehicleState:
        return self._motion.state(stamp_ns)

    def states(self, stamps: NDArray[np.int64]) -> plan.Motion:
        return self._motion.states(stamps)

    def restart(self) -> None:
        """Back to the start and time 0: the vehicle on its place, the autopilot switched off and on."""
        self.vehicle.reset()
        self._motion.reset()
        if self.autopilot is not None:
            self.autopilot.power_cycle()

    def listen(self) -> None:
        """Answer what clients ask while no time passes."""
        if self.autopilot is None:
            return
        for link in self.links:
            link.receive()
        if any(link.channel.pending() for link in self.links):
            self.autopilot.listen()
        for link in self.links:
            link.send()

    def close(self) -> None:
        """Let go of the ports."""
        for link in self.links:
            link.close()

    def where(self) -> str:
        """Where it is reached, for a log."""
        if self.autopilot is None:
            host, port = self.links[0].address
            return f"flown by ArduPilot SITL, which is awaited on UDP {host}:{port}"
        kinds = {"TcpServer": "TCP", "Udp": "UDP"}
        places = [f"{kinds[type(link).__name__]} {':'.join(map(str, link.address))}" for link in self.links]
        return f"MAVLink on {', '.join(places)}"

    def _work(self, stamp_ns: int) -> None:
        if self.autopilot is None:
            return
        for link in self.links:
            link.receive()
        self.autopilot.advance(TICK_NS)
        for link in self.links:
            link.send()


def piloted(
    kind: Kind,
    pose: Pose,
    world: Any,
    how: Piloting,
    *,
    seed: int = 0,
    speedup: float = 1.0,
) -> PilotedMotion:
    """A vehicle of `kind` that stands on the ground at `pose` in `world` (as `World` of the engine, with rays).

    Raises InputError where the world has no ground or no place on earth, and for ports that cannot be had.
    """
    x, y = (float(v) for v in pose.position[:2])
    ground = float(np.asarray(world.terrain_height(np.array([[x, y]]))).ravel()[0])
    if not np.isfinite(ground):
        raise InputError(f"the world has no ground at ({x:.1f}, {y:.1f}): put the vehicle elsewhere")
    start = Pose.from_rpy(x, y, ground + 0.5, 0.0, 0.0, pose.yaw)
    if how.pilot == "sitl":
        return _flown_by_sitl(kind, start, world, how, seed)
    surroundings = Surroundings(world)
    vehicle: SimulatedVehicle = (
        Multirotor(start, seed=seed, surroundings=surroundings)
        if kind == "drone"
        else Rover(start, surroundings=surroundings)
    )
    reference: Georeference | None = world.georeference
    if reference is None:
        raise InputError("an autopilot needs the world's place on earth; add <spherical_coordinates> to its SDF")

    def height(position: Any) -> float:
        return float(np.asarray(world.terrain_height(np.asarray(position, float)[None, :2])).ravel()[0])

    from aerialworld_sim.autopilot import Autopilot, Settings  # pymavlink: only where MAVLink is spoken

    autopilot = Autopilot(vehicle, Settings(kind, reference, how.sysid, speedup), ground=height)
    motion = PilotedMotion(vehicle, autopilot)
    try:
        for text in how.mavlink or (f"tcp:{MAVLINK_PORT + PORTS_PER_VEHICLE * how.number}",):
            motion.links.append(_link(autopilot, text))
    except BaseException:
        motion.close()
        raise
    return motion


def _link(autopilot: Any, text: str) -> Any:
    from aerialworld_sim.autopilot.links import TcpServer, Udp, parse_address

    kind, _, rest = text.partition(":")
    if kind == "tcp":
        host, port = parse_address(rest if ":" in rest else f"127.0.0.1:{rest}", "mavlink")
        return TcpServer(autopilot.open_channel(text), host, port)
    if kind in ("udp", "udpin"):
        host, port = parse_address(rest, "mavlink")
        return Udp(autopilot.open_channel(text), host, port, server=kind == "udpin")
    raise InputError(f"mavlink: {text!r} is none of tcp:PORT, tcp:HOST:PORT, udp:HOST:PORT, udpin:HOST:PORT")


def _flown_by_sitl(kind: Kind, start: Pose, world: Any, how: Piloting, seed: int) -> PilotedMotion:
    from aerialworld_sim.vehicles.physics.car import CarBody
    from aerialworld_sim.vehicles.physics.quad import QuadBody
    from aerialworld_sim.vehicles.physics.sitl import Body, SitlVehicle

    surroundings = Surroundings(world)
    body: Body = (
        QuadBody(start, seed=seed, surroundings=surroundings)
        if kind == "drone"
        else CarBody(Rover(start, surroundings=surroundings))
    )
    port = PHYSICS_PORT + PORTS_PER_VEHICLE * how.number
    vehicle = SitlVehicle(body, kind, address=("127.0.0.1", port), timeout=PATIENCE)
    return PilotedMotion(vehicle, links=[vehicle])

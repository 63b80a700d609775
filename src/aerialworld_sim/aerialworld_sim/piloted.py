"""Vehicles under an autopilot as motions of the engine: the embedded autopilot, or a real ArduPilot over its physics
protocol. Both advance with the engine's time, and are reached over MAVLink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.piloting import MAVLINK_PORT, PHYSICS_PORT, PILOTS, PORTS_PER_INSTANCE, Pilot
from aerialworld_sim.traffic.guests import PilotedGuest
from aerialworld_sim.vehicles.flown_motion import FlownMotion
from aerialworld_sim.vehicles.interface import Kind
from aerialworld_sim.vehicles.making import sitl_vehicle, start_on_ground, vehicle_of
from aerialworld_sim.vehicles.physics.sitl import SitlVehicle
from aerialworld_sim.vehicles.surroundings import Surroundings

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.endpoint import Served

#: Simulated seconds of motion that are kept: a frame's IMU samples may come from so far back.
KEEP = 60.0
#: Nanoseconds between two looks of a vehicle.
LOOK_NS = 50_000_000
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


class PilotedMotion(FlownMotion):
    """Implements `motion.Motion`, `motion.SampledMotion` and `motion.Restarting`. `guest` is what traffic knows of the
    vehicle, and how the vehicle knows of traffic."""

    guest: PilotedGuest

    def restart(self) -> None:
        """Back to the start and time 0: the vehicle on its place, an embedded autopilot switched off and on."""
        self.vehicle.reset()
        self.reset()

    def listen(self) -> None:
        """Answer what clients ask while no time passes."""

    def close(self) -> None:
        """Let go of the ports."""
        raise NotImplementedError

    def where(self) -> str:
        """Where it is reached, for a log."""
        raise NotImplementedError


class EmbeddedMotion(PilotedMotion):
    """What our autopilot flies; `served` is the autopilot with its links."""

    def __init__(self, served: Served) -> None:
        super().__init__(served.autopilot.vehicle, keep=KEEP, before=lambda _: served.advance())
        self.served = served

    def restart(self) -> None:
        super().restart()
        self.served.autopilot.power_cycle()

    def listen(self) -> None:
        self.served.listen()

    def close(self) -> None:
        self.served.close()

    def where(self) -> str:
        places = [f"{link.protocol} {':'.join(map(str, link.address))}" for link in self.served.links]
        return f"MAVLink on {', '.join(places)}"


class SitlMotion(PilotedMotion):
    """What an ArduPilot flies, which speaks MAVLink itself."""

    def __init__(self, vehicle: SitlVehicle) -> None:
        super().__init__(vehicle, keep=KEEP, before=self._look_around)
        self._sitl = vehicle

    def _look_around(self, stamp_ns: int) -> None:
        """Traffic is to know where it is, also of a body that looks for nothing."""
        if stamp_ns % LOOK_NS == 0:
            x, y, z = self.vehicle.state.pose.position.tolist()
            self.guest.meet(stamp_ns, (x, y, z))

    def close(self) -> None:
        self._sitl.close()

    def where(self) -> str:
        host, port = self._sitl.address
        return f"flown by ArduPilot SITL, which is awaited on UDP {host}:{port}"


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
    surroundings, further = Surroundings(world), PORTS_PER_INSTANCE * how.number
    start = start_on_ground(surroundings, float(pose.position[0]), float(pose.position[1]), pose.yaw)
    surroundings.company = guest = PilotedGuest(start)
    motion = _flown(kind, start, surroundings, world, how, seed, speedup, further)
    motion.guest = guest
    return motion


def _flown(
    kind: Kind,
    start: Pose,
    surroundings: Surroundings,
    world: Any,
    how: Piloting,
    seed: int,
    speedup: float,
    further: int,
) -> PilotedMotion:
    if how.pilot == "sitl":
        address = ("127.0.0.1", PHYSICS_PORT + further)
        return SitlMotion(sitl_vehicle(kind, start, surroundings, seed, address=address, timeout=PATIENCE))
    if world.georeference is None:
        raise InputError("an autopilot needs the world's place on earth; add <spherical_coordinates> to its SDF")

    from aerialworld_sim.autopilot import Autopilot, Settings  # only where MAVLink is spoken
    from aerialworld_sim.autopilot.endpoint import Served
    from aerialworld_sim.autopilot.links import Place, parse_place

    places = [parse_place(text) for text in how.mavlink] or [Place("tcp", "127.0.0.1", MAVLINK_PORT + further)]
    vehicle = vehicle_of(kind, start, surroundings, seed)
    settings = Settings(kind, world.georeference, how.sysid, speedup)
    served = Served(Autopilot(vehicle, settings, ground=surroundings.height_at))
    served.open(places)
    return EmbeddedMotion(served)

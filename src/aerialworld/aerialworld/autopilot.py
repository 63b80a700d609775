"""One vehicle with its autopilot, without rendering: what `aerialworld autopilot` sets up and runs.

Who flies is the embedded autopilot, or a real ArduPilot that has the vehicle as its physics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import OptionError
from aerialworld_core.frames import Georeference, Pose

#: Ports of MAVLink and of the JSON physics, and of further instances, as ArduPilot counts them.
MAVLINK_PORT, PHYSICS_PORT, PORTS_PER_INSTANCE = 5760, 9002, 10
#: Wall seconds after which ArduPilot counts as silent, and simulated nanoseconds between two reports.
SILENCE, PHYSICS_STEP_NS = 0.5, 100_000_000


@dataclass(frozen=True)
class Home:
    """Where the vehicle starts: degrees, metres above sea level (None: the ground's), compass heading in degrees."""

    latitude: float
    longitude: float
    altitude: float | None
    heading: float


@dataclass(frozen=True)
class AutopilotOptions:
    """What is asked for. `udp` and `udp_server` are (host, port); `parameters` are set before the boot."""

    vehicle: str
    home: Home | None
    world: Path | None = None
    host: str = "127.0.0.1"
    port: int = 5760
    udp: tuple[str, int] | None = None
    udp_server: tuple[str, int] | None = None
    speedup: float = 1.0
    sysid: int = 1
    wait: bool = True
    allow_remote: bool = False
    trust_collada: bool = False
    seed: int = 0
    parameters: dict[str, float] = field(default_factory=dict)


@dataclass
class Start:
    """Where a vehicle starts: base_link over the ground at `pose`; `heading` in compass degrees. `surroundings` None: a
    plane. `ground` gives terrain height at a place (3,)."""

    pose: Pose
    heading: float
    georeference: Georeference
    surroundings: Any | None = None
    ground: Callable[[Any], float] | None = None


DEFAULT_HOME = Home(35.681236, 139.767125, 10.0, 0.0)
GEO = "aerialworld_sim.autopilot.geo"


def start_of(options: AutopilotOptions) -> Start:
    """Home on a plane, or in a world."""
    home = options.home or DEFAULT_HOME
    yaw = stage(GEO, "yaw_of_heading")(math.radians(home.heading))
    if options.world is None:
        reference = Georeference(home.latitude, home.longitude, home.altitude or 0.0)
        return Start(Pose.from_rpy(0.0, 0.0, 0.0, yaw=yaw), home.heading, reference)
    world = open_world(options.world, trust_collada=options.trust_collada)
    reference = world.georeference
    x, y = 0.0, 0.0
    if options.home is not None:
        earth = stage(GEO, "Earth")(reference)
        x, y = (float(v) for v in earth.map_of(round(home.latitude * 1e7), round(home.longitude * 1e7)))
    ground = _terrain(world)
    z = ground(np.array([x, y, 0.0]))
    if not math.isfinite(z):
        raise OptionError(
            f"--home: the world {options.world} has no ground at ({x:.0f} m east, {y:.0f} m north) of its origin "
            f"{reference.latitude:.6f},{reference.longitude:.6f}; give a place within it"
        )
    surroundings = stage("aerialworld_sim.vehicles.surroundings", "Surroundings")(world)
    return Start(Pose.from_rpy(x, y, z + 0.5, yaw=yaw), home.heading, reference, surroundings, ground)


def _terrain(world: Any) -> Callable[[Any], float]:
    def height(position: Any) -> float:
        return float(world.terrain_height(np.asarray(position, dtype=float)[None, :2])[0])

    return height


def _vehicle(start: Start, options: AutopilotOptions) -> Any:
    if options.vehicle == "rover":
        return stage("aerialworld_sim.vehicles.rover", "Rover")(start.pose, surroundings=start.surroundings)
    make = stage("aerialworld_sim.vehicles.multirotor", "Multirotor")
    return make(start.pose, surroundings=start.surroundings, seed=options.seed)


def embedded(options: AutopilotOptions) -> Any:
    """A vehicle with the embedded autopilot and its links, ready to be run: an `autopilot.endpoint.Endpoint`."""
    start, package = start_of(options), "aerialworld_sim.autopilot"
    vehicle, reference = _vehicle(start, options), start.georeference
    if options.world is None:
        # base_link stands above what the wheels or legs touch; home's altitude is base_link's, as ArduPilot tells it.
        stands = float(vehicle.state.pose.position[2])
        reference = Georeference(reference.latitude, reference.longitude, reference.height - stands)
    settings = stage(f"{package}.settings", "Settings")(options.vehicle, reference, options.sysid, options.speedup)
    autopilot = stage(f"{package}.core", "Autopilot")(vehicle, settings, options.parameters, start.ground)
    links, remote = stage(f"{package}.links"), options.allow_remote
    served = stage(f"{package}.endpoint", "Served")(autopilot)
    try:
        if options.port:
            channel = autopilot.open_channel("tcp")
            served.links.append(links.TcpServer(channel, options.host, options.port, remote))
        if options.udp is not None:
            channel = autopilot.open_channel("udp")
            served.links.append(links.Udp(channel, *options.udp, allow_remote=remote))
        if options.udp_server is not None:
            channel = autopilot.open_channel("udp server")
            served.links.append(links.Udp(channel, *options.udp_server, server=True, allow_remote=remote))
        if not served.links:
            raise OptionError("--port 0 without --udp or --udp-server leaves no way to reach the autopilot")
    except BaseException:
        served.close()
        raise
    # Beside UDP, which it cannot hear a client connect on, it boots at once, as a simulated ArduPilot does.
    wait = options.wait and options.udp is None and options.udp_server is None
    return stage(f"{package}.endpoint", "Endpoint")([served], wait=wait)


def by_ardupilot(options: AutopilotOptions) -> tuple[Any, str]:
    """A vehicle that a real ArduPilot flies over its JSON physics protocol, and the command that starts that one."""
    start, drone, physics = start_of(options), options.vehicle == "drone", "aerialworld_sim.vehicles.physics"
    if drone:
        body = stage(f"{physics}.quad", "QuadBody")(start.pose, surroundings=start.surroundings, seed=options.seed)
    else:
        body = stage(f"{physics}.car", "CarBody")(_vehicle(start, options))
    vehicle = stage(f"{physics}.sitl", "SitlVehicle")(body, options.vehicle, address=(options.host, options.port))
    vehicle.timeout = SILENCE
    latitude, longitude = (v * 1e-7 for v in stage(GEO, "Earth")(start.georeference).e7_of(np.array(body.home)))
    altitude = start.georeference.height + (float(body.home[2]) if options.world is not None else 0.0)
    instance = (options.port - PHYSICS_PORT) // PORTS_PER_INSTANCE
    binary = "arducopter" if drone else "ardurover"
    home = f"{latitude:.7f},{longitude:.7f},{altitude:.2f},{start.heading:g}"
    return vehicle, f"{binary} --model JSON:{options.host} -I{instance} --home {home}"


def serve_ardupilot(vehicle: Any, duration: float | None, report: Callable[[str, float], None]) -> None:
    """Step as ArduPilot asks, for so many simulated seconds or until interrupted; while it is silent, wait for it.

    `report` gets a line and the simulated seconds, at each 0.1 s of them and whenever nothing comes.
    """
    silent, done = stage("aerialworld_sim.vehicles.physics.sitl", "SilentAutopilot"), 0.0
    start = np.array(vehicle.state.pose.position)
    while duration is None or done < duration - 1e-9:
        try:
            vehicle.step(PHYSICS_STEP_NS)
        except silent:
            report("waiting for ArduPilot", done)
            continue
        done += PHYSICS_STEP_NS * 1e-9
        east, north, up = vehicle.state.pose.position - start
        trouble = f", {vehicle.incident}" if vehicle.incident else ""
        report(f"{up:.1f} m up, {north:.1f} m north, {east:.1f} m east{trouble}", done)


def status(endpoint: Any) -> str:
    """One line: mode, time, place, battery, links."""
    served = endpoint.served[0]
    autopilot = served.autopilot
    clients = sum(link.client for link in served.links)
    if endpoint.waiting:
        return "waiting for a client (a simulated ArduPilot boots when the first one connects)"
    east, north, _ = autopilot.estimator.position - autopilot.start
    height, vehicle = autopilot.estimator.relative_altitude(), autopilot.vehicle
    minutes, seconds = divmod(int(autopilot.now), 60)
    speed = float(np.linalg.norm(vehicle.state.linear_velocity))
    trouble = f", {vehicle.incident}" if vehicle.incident else ""
    return (
        f"{autopilot.mode.name}{' armed' if autopilot.armed else ''}  {minutes}:{seconds:02d}  "
        f"{height:.1f} m up, {north:.1f} m north, {east:.1f} m east, {speed:.1f} m/s, "
        f"battery {autopilot.battery.remaining} %, {clients} client{'s' * (clients != 1)}{trouble}"
    )

"""One vehicle with its autopilot, without rendering: what `aerialworld autopilot` sets up and runs.

Who flies is the embedded autopilot, or a real ArduPilot that has the vehicle as its physics.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import OptionError
from aerialworld_core.earth import Earth, yaw_of_heading
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.mavlink.signing import signer_of
from aerialworld_core.piloting import MAVLINK_PORT, PHYSICS_PORT, PORTS_PER_INSTANCE
from aerialworld_core.resources import share

#: What ArduPilot's simulation adds to SERIAL0's port for SERIAL1 and SERIAL2.
SERIAL_PORTS = (2, 3)
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
    """What is asked for. `serials`: on the ports of SERIAL1 and SERIAL2 as well. `udp` and `udp_server` are (host,
    port); `parameters` are set before the boot."""

    vehicle: str
    home: Home | None
    world: Path | None = None
    host: str = "127.0.0.1"
    port: int = MAVLINK_PORT
    serials: bool = False
    udp: tuple[str, int] | None = None
    udp_server: tuple[str, int] | None = None
    speedup: float = 1.0
    sysid: int = 1
    wait: bool = True
    allow_remote: bool = False
    key: Path | None = None
    trust_collada: bool = False
    seed: int = 0
    parameters: dict[str, float] = field(default_factory=dict)


@dataclass
class Start:
    """Where a vehicle starts: base_link over the ground at `pose`; `heading` in compass degrees. `surroundings` None: a
    plane."""

    pose: Pose
    heading: float
    georeference: Georeference
    surroundings: Any | None = None


DEFAULT_HOME = Home(35.681236, 139.767125, 10.0, 0.0)
MAKING = "aerialworld_sim.vehicles.making"


def start_of(options: AutopilotOptions) -> Start:
    """Home on a plane, or in a world."""
    home = options.home or DEFAULT_HOME
    yaw = yaw_of_heading(math.radians(home.heading))
    if options.world is None:
        reference = Georeference(home.latitude, home.longitude, home.altitude or 0.0)
        return Start(Pose.from_rpy(0.0, 0.0, 0.0, yaw=yaw), home.heading, reference)
    world = open_world(options.world, trust_collada=options.trust_collada)
    reference = world.georeference
    x, y = 0.0, 0.0
    if options.home is not None:
        earth = Earth(reference)
        x, y = (float(v) for v in earth.map_of(round(home.latitude * 1e7), round(home.longitude * 1e7)))
    surroundings = stage("aerialworld_sim.vehicles.surroundings", "Surroundings")(world)
    try:
        pose = stage(MAKING, "start_on_ground")(surroundings, x, y, yaw)
    except InputError as error:
        raise OptionError(
            f"--home: the world {options.world} has no ground at ({x:.0f} m east, {y:.0f} m north) of its origin "
            f"{reference.latitude:.6f},{reference.longitude:.6f}; give a place within it"
        ) from error
    return Start(pose, home.heading, reference, surroundings)


def embedded(options: AutopilotOptions) -> Any:
    """A vehicle with the embedded autopilot and its links, ready to be run: an `autopilot.endpoint.Endpoint`."""
    package = "aerialworld_sim.autopilot"
    places = _places(options)
    start = start_of(options)
    vehicle = stage(MAKING, "vehicle_of")(options.vehicle, start.pose, start.surroundings, options.seed)
    reference, ground = start.georeference, start.surroundings and start.surroundings.height_at
    if options.world is None:
        # base_link stands above what the wheels or legs touch; home's altitude is base_link's, as ArduPilot tells it.
        stands = float(vehicle.state.pose.position[2])
        reference = Georeference(reference.latitude, reference.longitude, reference.height - stands)
    settings = stage(f"{package}.settings", "Settings")(options.vehicle, reference, options.sysid, options.speedup)
    autopilot = stage(f"{package}.core", "Autopilot")(vehicle, settings, options.parameters, ground)
    signer = signer_of(options.key, options.sysid) if options.key else None
    served = stage(f"{package}.endpoint", "Served")(autopilot, signer=signer)
    served.open(places, options.allow_remote)
    # Beside UDP, which it cannot hear a client connect on, it boots at once, as a simulated ArduPilot does.
    wait = options.wait and options.udp is None and options.udp_server is None
    return stage(f"{package}.endpoint", "Endpoint")([served], wait=wait)


def _places(options: AutopilotOptions) -> list[Any]:
    """Where the embedded autopilot is to be reached, `autopilot.links.Place`s."""
    place = stage("aerialworld_sim.autopilot.links", "Place")
    ports = [options.port] if options.port else []
    ports += [port + further for port in ports for further in SERIAL_PORTS if options.serials]
    asked = (("udp", options.udp), ("udpin", options.udp_server))
    places = [place("tcp", options.host, port) for port in ports]
    places += [place(way, *address) for way, address in asked if address is not None]
    if not places:
        raise OptionError("--port 0 without --udp or --udp-server leaves no way to reach the autopilot")
    return places


def by_ardupilot(options: AutopilotOptions) -> tuple[Any, str]:
    """A vehicle that a real ArduPilot flies over its JSON physics protocol, and the command that starts that one."""
    start, address = start_of(options), (options.host, options.port)
    vehicle = stage(MAKING, "sitl_vehicle")(
        options.vehicle, start.pose, start.surroundings, options.seed, address=address, timeout=SILENCE
    )
    at = vehicle.body.home
    latitude, longitude = (v * 1e-7 for v in Earth(start.georeference).e7_of(np.array(at)))
    altitude = start.georeference.height + (float(at[2]) if options.world is not None else 0.0)
    instance = (options.port - PHYSICS_PORT) // PORTS_PER_INSTANCE
    binary = "arducopter" if options.vehicle == "drone" else "ardurover"
    home = f"{latitude:.7f},{longitude:.7f},{altitude:.2f},{start.heading:g}"
    command = f"{binary} --model JSON:{options.host} -I{instance} --home {home}"
    if options.vehicle == "drone":  # without a frame's class and type a copter never arms
        parameters = share("aerialworld_bringup") / "config" / "drone.parm"
        command += f" --defaults {shlex.quote(str(parameters))}"
    return vehicle, command


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
    if refused := sum((link.channel.refused for link in served.links), Counter[str]()):
        trouble += f", frames refused: {', '.join(f'{count} {why}' for why, count in sorted(refused.items()))}"
    return (
        f"{autopilot.mode.name}{' armed' if autopilot.armed else ''}  {minutes}:{seconds:02d}  "
        f"{height:.1f} m up, {north:.1f} m north, {east:.1f} m east, {speed:.1f} m/s, "
        f"battery {autopilot.battery.remaining} %, {clients} client{'s' * (clients != 1)}{trouble}"
    )

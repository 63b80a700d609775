"""One vehicle with its autopilot, without rendering: what `aerialworld autopilot` sets up and runs.

The embedded autopilot flies it (`flown`), or ArduPilot's own binary over its physics protocol (`flown_by_sitl`).
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

#: Ports of further instances, as ArduPilot counts them.
PORTS_PER_INSTANCE = 10


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
    instance: int = 0
    parameters: dict[str, float] = field(default_factory=dict)


@dataclass
class Placed:
    """A vehicle where it starts, and where that is on earth; `ground` gives terrain height at a place (3,)."""

    vehicle: Any
    georeference: Georeference
    ground: Callable[[Any], float] | None


DEFAULT_HOME = Home(35.681236, 139.767125, 10.0, 0.0)


def place(options: AutopilotOptions) -> Placed:
    """The vehicle on the ground at home: on a plane, or in a world."""
    home, drone = options.home or DEFAULT_HOME, options.vehicle == "drone"
    geo = "aerialworld_sim.autopilot.geo"
    yaw = stage(geo, "yaw_of_heading")(math.radians(home.heading))
    make = stage("aerialworld_sim.vehicles.multirotor", "Multirotor") if drone else None
    make = make or stage("aerialworld_sim.vehicles.rover", "Rover")
    if options.world is None:
        vehicle = make(Pose.from_rpy(0.0, 0.0, 0.0, yaw=yaw), **({"seed": options.seed} if drone else {}))
        # base_link stands above what the wheels or legs touch; home's altitude is base_link's, as the autopilot tells
        # it.
        stands = float(vehicle.state.pose.position[2])
        height = (home.altitude or 0.0) - stands
        return Placed(vehicle, Georeference(home.latitude, home.longitude, height), None)
    world = open_world(options.world, trust_collada=options.trust_collada)
    reference = world.georeference
    x, y = 0.0, 0.0
    if options.home is not None:
        earth = stage(geo, "Earth")(reference)
        x, y = (float(v) for v in earth.map_of(round(home.latitude * 1e7), round(home.longitude * 1e7)))
    ground = _terrain(world)
    z = ground(np.array([x, y, 0.0]))
    if not math.isfinite(z):
        raise OptionError(
            f"--home: the world {options.world} has no ground at ({x:.0f} m east, {y:.0f} m north) of its origin "
            f"{reference.latitude:.6f},{reference.longitude:.6f}; give a place within it"
        )
    surroundings = stage("aerialworld_sim.vehicles.surroundings", "Surroundings")(world)
    pose = Pose.from_rpy(x, y, z + 0.5, yaw=yaw)
    extra = {"seed": options.seed} if drone else {}
    return Placed(make(pose, surroundings=surroundings, **extra), reference, ground)


def _terrain(world: Any) -> Callable[[Any], float]:
    def height(position: Any) -> float:
        return float(world.terrain_height(np.asarray(position, dtype=float)[None, :2])[0])

    return height


def flown(placed: Placed, options: AutopilotOptions) -> Any:
    """The vehicle with the embedded autopilot and its links, ready to be run: an `autopilot.endpoint.Endpoint`."""
    package = "aerialworld_sim.autopilot"
    settings = stage(f"{package}.settings", "Settings")(
        options.vehicle, placed.georeference, options.sysid, options.speedup
    )
    autopilot = stage(f"{package}.core", "Autopilot")(placed.vehicle, settings, options.parameters, placed.ground)
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


def status(endpoint: Any, measured: float | None) -> str:
    """One line: mode, time, place, battery, links. `measured` is the speed-up that was reached."""
    served = endpoint.served[0]
    autopilot = served.autopilot
    clients = sum(link.client for link in served.links)
    if endpoint.waiting:
        return "waiting for a client (a simulated ArduPilot boots when the first one connects)"
    east, north, _ = autopilot.estimator.position - autopilot.start
    height, vehicle = autopilot.estimator.relative_altitude(), autopilot.vehicle
    minutes, seconds = divmod(int(autopilot.now), 60)
    speed = float(np.linalg.norm(vehicle.state.linear_velocity))
    pace = "" if measured is None else f" ×{measured:.1f}"
    trouble = f", {vehicle.incident}" if vehicle.incident else ""
    return (
        f"{autopilot.mode.name}{' armed' if autopilot.armed else ''}  {minutes}:{seconds:02d}{pace}  "
        f"{height:.1f} m up, {north:.1f} m north, {east:.1f} m east, {speed:.1f} m/s, "
        f"battery {autopilot.battery.remaining} %, {clients} client{'s' * (clients != 1)}{trouble}"
    )


class SitlRun:
    """A vehicle that moves as long as ArduPilot SITL sends motor outputs; where it waits, so does the vehicle."""

    def __init__(self, motion: Any) -> None:
        self.motion = motion
        self.sim_seconds = 0.0
        self.waiting = True
        motion.vehicle.timeout = SITL_LOOK

    def run(self, duration: float | None, report: Callable[[], None] | None = None) -> None:
        """Serve for `duration` simulated seconds, or for ever."""
        vehicle = self.motion.vehicle
        silent, period = stage("aerialworld_sim.vehicles.physics.sitl", "SilentAutopilot"), vehicle.body.period_ns
        while duration is None or self.sim_seconds < duration - 1e-9:
            if report is not None:
                report()
            try:
                for _ in range(SITL_STEPS):
                    vehicle.step(period)
                    self.sim_seconds += period * 1e-9
                self.waiting = False
            except silent:
                self.waiting = True

    def close(self) -> None:
        self.motion.close()

    def status(self) -> str:
        """One line: whether SITL is there, and where the vehicle is."""
        counts, state = self.motion.vehicle.counts, self.motion.vehicle.state
        x, y, z = state.pose.position
        trouble = f", {self.motion.vehicle.incident}" if self.motion.vehicle.incident else ""
        heard = "waiting for SITL" if self.waiting else "flown by SITL"
        return f"{heard}  {self.sim_seconds:.1f} s, {counts.steps} steps  x {x:.1f} y {y:.1f} z {z:.1f} m{trouble}"


#: Wall seconds between looks while SITL is silent, and physics steps between two reports.
SITL_LOOK, SITL_STEPS = 0.5, 100


def flown_by_sitl(options: AutopilotOptions) -> tuple[SitlRun, str]:
    """The vehicle behind ArduPilot's physics protocol, on UDP 9002 + 10 · instance, and how SITL is started for it: its
    home must be the vehicle's."""
    home, geo, piloted = options.home or DEFAULT_HOME, "aerialworld_sim.autopilot.geo", "aerialworld_sim.piloted"
    how = stage(piloted, "Piloting")("sitl", number=options.instance)
    yaw = stage(geo, "yaw_of_heading")(math.radians(home.heading))
    if options.world is None:
        motion = stage(piloted, "stood")(
            options.vehicle, Pose.from_rpy(0.0, 0.0, 0.0, yaw=yaw), None, how, options.seed
        )
        latitude, longitude, altitude = home.latitude, home.longitude, home.altitude or 0.0
    else:
        world = open_world(options.world, trust_collada=options.trust_collada)
        if world.georeference is None:
            raise OptionError(f"--world: {options.world} has no place on earth; add <spherical_coordinates> to its SDF")
        earth = stage(geo, "Earth")(world.georeference)
        x, y = 0.0, 0.0
        if options.home is not None:
            x, y = (float(v) for v in earth.map_of(round(home.latitude * 1e7), round(home.longitude * 1e7)))
        motion = stage(piloted, "piloted")(
            options.vehicle, Pose.from_rpy(x, y, 0.0, yaw=yaw), world, how, seed=options.seed
        )
        place = motion.vehicle.state.pose.position
        latitude, longitude = (v * 1e-7 for v in earth.e7_of(place))
        altitude = float(earth.altitude_of(float(place[2])))
    binary = "arducopter" if options.vehicle == "drone" else "ardurover"
    start = f"--home {latitude:.7f},{longitude:.7f},{altitude:.2f},{home.heading:g}"
    return SitlRun(motion), f"{binary} --model JSON:127.0.0.1 -I{options.instance} {start}"

"""The engine node's parameters: declared with descriptions and ranges, checked as a whole before anything starts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rclpy.node import Node

from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.nodes.declaring import conditions, declare, names, refuse_unknown
from aerialworld_core.traffic import TrafficOptions
from aerialworld_sim.engine import ALL
from aerialworld_sim.nodes.lockstep import CONTINUE, STOP, WAIT
from aerialworld_sim.piloted import Piloting

RELIABLE, BEST_EFFORT = "reliable", "best_effort"

#: Default and description; all are read-only once the node runs. An empty string in a list counts as absent: ROS cannot
#: tell the type of an empty list.
DECLARED: dict[str, tuple[Any, str]] = {
    "world": ("", "World folder with world.sdf, or an SDF file. Required."),
    "vehicle": ("drone_1", "Name of the only vehicle: the first part of its topics and frames."),
    "rig": (
        "",
        "Sensor rig: a shipped model's name, or the path of a model's SDF file or folder. "
        "Without one: rig_rover for rovers, else rig_drone.",
    ),
    "plan": ("", "Plan file (JSON) to follow; without one the vehicle stays at `pose`."),
    "pose": ([0.0, 0.0, 30.0, 0.0], "x, y, z in map (m) and yaw (rad) to stay at when there is no plan."),
    "vehicles": (
        [""],
        "Names of several vehicles, instead of `vehicle`; each has NAME.rig (default: `rig`), NAME.plan, NAME.pose.",
    ),
    "autopilot": ("", "Who flies the vehicle instead of a plan: embedded (MAVLink), or sitl (an ArduPilot binary)."),
    "mavlink": ([""], "Where the embedded autopilot is reached: tcp:PORT, udp:HOST:PORT, udpin:HOST:PORT."),
    "conditions": ("", "Time of day and weather, e.g. local_time=07:30,weather=rain; without: the world's own sun."),
    "seed": (0, "Seed of all noise; equal seeds give equal bytes."),
    "threads": (0, "Threads that render; 0: one for each processor."),
    "rate": (1.0, "Simulated seconds per wall second; 0.0 runs as fast as possible."),
    "sensor_rate": (10.0, "Frames per simulated second of cameras, depth and LiDAR (Hz); it must divide 100 Hz."),
    "modalities": (sorted(ALL), "Which sensors to simulate: images, depth, lidar, imu."),
    "lockstep": ([""], "Listeners that must acknowledge every sensor frame on /lockstep before time goes on."),
    "lockstep_timeout": (10.0, "Wall seconds after which a listener in lockstep counts as silent."),
    "lockstep_lost": (WAIT, "What to do about a silent listener: wait, continue (without it) or stop."),
    "start_paused": (False, "Stand at time 0 until ~/pause or ~/step is called."),
    "duration": (0.0, "Simulated seconds after which the run ends; 0.0: never."),
    "stop_at_end": (False, "End the run when the longest plan ends."),
    "qos": (RELIABLE, "Quality of service of the vehicles' topics: reliable or best_effort."),
    "lidar_sampling": ("exact", "Rays of the LiDAR: exact, or gazebo (the texels that Gazebo reads)."),
    "rolling_lidar": (False, "The LiDAR moves on during its sweep, as a real one does."),
    "backend": ("auto", "What renders: embree (CPU), warp (CUDA), or auto."),
    "traffic": ("", "What else moves: cars=100,pedestrians=20/km,parked=0.3,seed=0; empty: nothing."),
}
_BOUNDS = {
    "rate": (0.0, 1000.0),
    "sensor_rate": (0.1, 100.0),
    "lockstep_timeout": (0.1, 86400.0),
    "duration": (0.0, 1e9),
    "seed": (0, 2**63 - 1),
    "threads": (0, 1024),
}
_CHOICES = {
    "lockstep_lost": (WAIT, CONTINUE, STOP),
    "qos": (RELIABLE, BEST_EFFORT),
    "lidar_sampling": ("exact", "gazebo"),
    "backend": ("auto", "embree", "warp"),
}
#: What each of several vehicles has of its own.
OF_EACH = ("rig", "plan", "pose", "autopilot", "mavlink")
#: Parameters that are the engine's own, handed on under their names.
ENGINE_OPTIONS = ("lidar_sampling", "rolling_lidar", "backend")


@dataclass(frozen=True)
class VehicleParameters:
    """One vehicle: `rig` "" takes the rig that suits it; it follows `plan`, or stays at `pose` without one."""

    name: str
    rig: str
    plan: Path | None
    pose: Pose
    piloting: Piloting | None = None


@dataclass(frozen=True)
class Parameters:
    """What the node was asked to do; times in seconds, rates in Hz."""

    world: Path
    vehicles: tuple[VehicleParameters, ...]
    seed: int
    threads: int | None
    rate: float
    sensor_rate: float
    modalities: frozenset[str]
    lockstep: tuple[str, ...]
    lockstep_timeout: float
    lockstep_lost: str
    start_paused: bool
    duration: float
    stop_at_end: bool
    qos: str
    conditions: Conditions = field(default_factory=Conditions)
    traffic: TrafficOptions | None = None
    engine: dict[str, Any] = field(default_factory=dict)


def read_parameters(node: Node) -> Parameters:
    """Declare and check all parameters. Raises InputError, naming the parameter and what it may be."""
    values = {
        name: declare(node, name, default, text, _BOUNDS.get(name), _CHOICES.get(name, ()))
        for name, (default, text) in DECLARED.items()
    }
    if not values["world"]:
        raise InputError("parameter world: give a world folder or SDF file, e.g. --ros-args -p world:=path/to/world")
    unknown = {m for m in values["modalities"] or () if m} - ALL
    if unknown:
        raise InputError(f"parameter modalities: {sorted(unknown)} are unknown; there are {sorted(ALL)}")
    vehicles = _vehicles(node, values)
    refuse_unknown(node, list(DECLARED), OF_EACH)
    return Parameters(
        world=Path(values["world"]),
        vehicles=vehicles,
        seed=values["seed"],
        threads=values["threads"] or None,
        rate=values["rate"],
        sensor_rate=values["sensor_rate"],
        modalities=frozenset(m for m in values["modalities"] or () if m),
        lockstep=names("lockstep", values["lockstep"]),
        lockstep_timeout=values["lockstep_timeout"],
        lockstep_lost=values["lockstep_lost"],
        start_paused=values["start_paused"],
        duration=values["duration"],
        stop_at_end=values["stop_at_end"],
        qos=values["qos"],
        conditions=conditions(values["conditions"]),
        traffic=_traffic(values["traffic"]),
        engine={name: values[name] for name in ENGINE_OPTIONS},
    )


def _traffic(text: str) -> TrafficOptions | None:
    try:
        return TrafficOptions.parse(text) if text else None
    except InputError as error:
        raise InputError(f"parameter traffic: {error}") from error


def _vehicles(node: Node, values: dict[str, Any]) -> tuple[VehicleParameters, ...]:
    """The vehicles of `vehicles` with their own parameters, or the one of the short form."""
    if values["vehicles"] is None:
        raise InputError("parameter vehicles: it is empty; name some, or leave it out for the one of `vehicle`")
    several = names("vehicles", values["vehicles"])
    if not several:
        if not values["vehicle"]:
            raise InputError("parameter vehicle: it is empty; a world needs a vehicle, e.g. drone_1")
        (name,) = names("vehicle", [values["vehicle"]])
        return (_vehicle(name, "", 0, values),)
    for parameter in ("vehicle", "plan", "pose", "mavlink"):
        if values[parameter] != DECLARED[parameter][0]:
            raise InputError(f"parameter {parameter}: with `vehicles` give each its own, e.g. {several[0]}.plan")
    vehicles = []
    for number, name in enumerate(several):
        own = {
            key: declare(node, f"{name}.{key}", default, f"As `{key}`, of {name}.")
            for key, default in (
                ("rig", values["rig"]),
                ("plan", ""),
                ("pose", DECLARED["pose"][0]),
                ("autopilot", values["autopilot"]),
                ("mavlink", [""]),
            )
        }
        vehicles.append(_vehicle(name, f"{name}.", number, own))
    return tuple(vehicles)


def _vehicle(name: str, prefix: str, number: int, own: dict[str, Any]) -> VehicleParameters:
    """One vehicle from its parameters `own`: rig, plan, pose, autopilot, mavlink."""
    plan, pose = own["plan"], own["pose"]
    if pose is None or len(pose) != 4:
        raise InputError(f"parameter {prefix}pose: takes 4 numbers (x y z yaw), not {len(pose or ())}")
    if plan and list(pose) != DECLARED["pose"][0]:
        raise InputError(f"parameter {prefix}pose: {name} follows a plan; leave one of {prefix}plan, {prefix}pose out")
    x, y, z, yaw = pose
    piloting = _piloting(name, prefix, number, own)
    return VehicleParameters(
        name, own["rig"], Path(plan) if plan else None, Pose.from_rpy(x, y, z, 0.0, 0.0, yaw), piloting
    )


def _piloting(name: str, prefix: str, number: int, own: dict[str, Any]) -> Piloting | None:
    links = tuple(text for text in own["mavlink"] or () if text)
    if not own["autopilot"]:
        if links:
            raise InputError(f"parameter {prefix}mavlink: {name} has no autopilot; add {prefix}autopilot:=embedded")
        return None
    if own["plan"]:
        raise InputError(f"parameter {prefix}autopilot: {name} follows a plan; leave one of the two out")
    try:
        return Piloting(own["autopilot"], links, sysid=number + 1, number=number)
    except InputError as error:
        raise InputError(f"parameter {prefix}autopilot: {error}") from error

"""The engine node's parameters: declared with descriptions and ranges, checked as a whole before anything starts."""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
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
_FLOAT_RANGES = {
    "rate": (0.0, 1000.0),
    "sensor_rate": (0.1, 100.0),
    "lockstep_timeout": (0.1, 86400.0),
    "duration": (0.0, 1e9),
}
_INTEGER_RANGES = {"seed": (0, 2**63 - 1), "threads": (0, 1024)}
_CHOICES = {
    "lockstep_lost": (WAIT, CONTINUE, STOP),
    "qos": (RELIABLE, BEST_EFFORT),
    "lidar_sampling": ("exact", "gazebo"),
    "backend": ("auto", "embree", "warp"),
}
#: Parameters that are the engine's own, handed on under their names.
ENGINE_OPTIONS = ("lidar_sampling", "rolling_lidar", "backend")

_NAME = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")


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
    values = {name: _declare(node, name, default, text) for name, (default, text) in DECLARED.items()}
    if not values["world"]:
        raise InputError("parameter world: give a world folder or SDF file, e.g. --ros-args -p world:=path/to/world")
    for name, choices in _CHOICES.items():
        if values[name] not in choices:
            raise InputError(f"parameter {name}: {values[name]!r} is none of {', '.join(choices)}")
    unknown = {m for m in values["modalities"] or () if m} - ALL
    if unknown:
        raise InputError(f"parameter modalities: {sorted(unknown)} are unknown; there are {sorted(ALL)}")
    vehicles = _vehicles(node, values)
    _refuse_unknown(node)
    return Parameters(
        world=Path(values["world"]),
        vehicles=vehicles,
        seed=values["seed"],
        threads=values["threads"] or None,
        rate=values["rate"],
        sensor_rate=values["sensor_rate"],
        modalities=frozenset(m for m in values["modalities"] or () if m),
        lockstep=_names("lockstep", values["lockstep"]),
        lockstep_timeout=values["lockstep_timeout"],
        lockstep_lost=values["lockstep_lost"],
        start_paused=values["start_paused"],
        duration=values["duration"],
        stop_at_end=values["stop_at_end"],
        qos=values["qos"],
        conditions=_conditions(values["conditions"]),
        traffic=_traffic(values["traffic"]),
        engine={name: values[name] for name in ENGINE_OPTIONS},
    )


def _conditions(text: str) -> Conditions:
    try:
        return Conditions.parse(text)
    except InputError as error:
        raise InputError(f"parameter {error}") from error


def _traffic(text: str) -> TrafficOptions | None:
    try:
        return TrafficOptions.parse(text) if text else None
    except InputError as error:
        raise InputError(f"parameter traffic: {error}") from error


def _declare(node: Node, name: str, default: Any, description: str) -> Any:
    """The parameter's value; None for a list that was given empty."""
    descriptor = ParameterDescriptor(description=description, read_only=True)
    if name in _FLOAT_RANGES:
        low, high = _FLOAT_RANGES[name]
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    if name in _INTEGER_RANGES:
        first, last = _INTEGER_RANGES[name]
        descriptor.integer_range = [IntegerRange(from_value=first, to_value=last, step=1)]
    if name in _CHOICES:
        descriptor.additional_constraints = f"one of {', '.join(_CHOICES[name])}"
    try:
        value = node.declare_parameter(name, default, descriptor).value
    except ParameterException as error:
        hint = "; write its numbers with a point, like 2.0" if "DOUBLE" in str(error) else ""
        raise InputError(f"parameter {name}: {error}{hint} ({description})") from error
    numbers = value if isinstance(default, list) and isinstance(default[0], float) else [value]
    if any(isinstance(v, float) and not math.isfinite(v) for v in numbers or ()):
        raise InputError(f"parameter {name}: {value} is not finite ({description})")
    return value


def _names(parameter: str, values: Any) -> tuple[str, ...]:
    """The names of a list, which must differ and fit into topic names."""
    names = tuple(n for n in values or () if n)
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"parameter {parameter}: {name!r} cannot be part of a topic name; use letters, digits and single _"
            )
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise InputError(f"parameter {parameter}: {', '.join(twice)} is there twice")
    return names


def _vehicles(node: Node, values: dict[str, Any]) -> tuple[VehicleParameters, ...]:
    """The vehicles of `vehicles` with their own parameters, or the one of the short form."""
    if values["vehicles"] is None:
        raise InputError("parameter vehicles: it is empty; name some, or leave it out for the one of `vehicle`")
    names = _names("vehicles", values["vehicles"])
    if not names:
        if not values["vehicle"]:
            raise InputError("parameter vehicle: it is empty; a world needs a vehicle, e.g. drone_1")
        (name,) = _names("vehicle", [values["vehicle"]])
        return (_vehicle(name, "", 0, values),)
    for parameter in ("vehicle", "plan", "pose", "mavlink"):
        if values[parameter] != DECLARED[parameter][0]:
            raise InputError(f"parameter {parameter}: with `vehicles` give each its own, e.g. {names[0]}.plan")
    vehicles = []
    for number, name in enumerate(names):
        own = {
            key: _declare(node, f"{name}.{key}", default, f"As `{key}`, of {name}.")
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


def _refuse_unknown(node: Node) -> None:
    """A parameter that nobody reads is a mistake to report: ROS itself drops it in silence."""
    for name in node._parameter_overrides:
        if not node.has_parameter(name) and not name.startswith("qos_overrides."):
            known = [n for n in node._parameters if "." not in n or n.split(".")[0] == name.split(".")[0]]
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(DECLARED)}"
            if "." in name:
                own = "rig, plan, pose, autopilot, mavlink"
                hint = f"{name.split('.')[0]} is none of `vehicles`, or has no such parameter ({own})"
            raise InputError(f"parameter {name}: it is unknown; {hint}")

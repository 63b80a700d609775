"""The engine node's parameters: declared with descriptions and ranges, checked as a whole before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
    FloatingPointRange,
    ParameterDescriptor,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_sim.engine import ALL


@dataclass(frozen=True)
class Parameters:
    """What the node was asked to do; `pose` is where the vehicle hovers when there is no plan."""

    world: Path
    rig: str
    vehicle: str
    plan: Path | None
    pose: Pose
    seed: int
    rate: float
    sensor_rate: float
    modalities: frozenset[str]


#: Default and description; all are read-only once the node runs.
_DECLARED: dict[str, tuple[Any, str]] = {
    "world": ("", "World folder with world.sdf, or an SDF file. Required."),
    "rig": ("rig_drone", "Sensor rig: a shipped model's name, or the path of a model's SDF file or folder."),
    "vehicle": ("drone_1", "Name of the vehicle: the first part of its topics and frames."),
    "plan": ("", "Plan file (JSON) to follow; without one the vehicle hovers at `pose`."),
    "pose": ([0.0, 0.0, 30.0, 0.0], "x, y, z in map (m) and yaw (rad) to hover at when there is no plan."),
    "seed": (0, "Seed of all noise; equal seeds give equal bytes."),
    "rate": (1.0, "Simulated seconds per wall second; 0 runs as fast as possible."),
    "sensor_rate": (10.0, "Frames per simulated second of cameras, depth and LiDAR (Hz)."),
    "modalities": (sorted(ALL), "Which sensors to simulate: images, depth, lidar, imu."),
}
_RANGES = {"rate": (0.0, 1000.0), "sensor_rate": (0.1, 100.0)}


def read_parameters(node: Node) -> Parameters:
    """Declare and check all parameters. Raises InputError, naming the parameter and what it may be."""
    values: dict[str, Any] = {}
    for name, (default, description) in _DECLARED.items():
        descriptor = ParameterDescriptor(description=description, read_only=True)
        if name in _RANGES:
            low, high = _RANGES[name]
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        try:
            values[name] = node.declare_parameter(name, default, descriptor).value
        except ParameterException as error:
            raise InputError(f"parameter {name}: {error} ({description})") from error
    if not values["world"]:
        raise InputError("parameter world: give a world folder or SDF file, e.g. --ros-args -p world:=path/to/world")
    vehicle = values["vehicle"]
    if not vehicle.isascii() or not vehicle.isidentifier():
        raise InputError(f"parameter vehicle: {vehicle!r} cannot be part of a topic name; use letters, digits and _")
    if len(values["pose"]) != 4:
        raise InputError(f"parameter pose: takes 4 numbers (x y z yaw), not {len(values['pose'])}")
    modalities = frozenset(values["modalities"])
    if modalities - ALL:
        raise InputError(f"parameter modalities: {sorted(modalities - ALL)} are unknown; there are {sorted(ALL)}")
    x, y, z, yaw = values["pose"]
    return Parameters(
        world=Path(values["world"]),
        rig=values["rig"],
        vehicle=vehicle,
        plan=Path(values["plan"]) if values["plan"] else None,
        pose=Pose.from_rpy(x, y, z, 0.0, 0.0, yaw),
        seed=values["seed"],
        rate=values["rate"],
        sensor_rate=values["sensor_rate"],
        modalities=modalities,
    )

"""The recorder node's parameters: declared with descriptions and ranges, checked as a whole before anything starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.node import Node

from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import InputError
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.nodes.declaring import conditions, declare, names, refuse_unknown
from aerialworld_core.session.layout import START_TIME, parse_time
from aerialworld_recorder.stream.channels import COMPRESSED, DEPTH, LIDAR, MODALITIES, TRANSPORTS
from aerialworld_recorder.stream.synchroniser import Timing
from aerialworld_recorder.stream.tracks import POSITIONS, TWIST, VELOCITIES

RELIABLE, BEST_EFFORT = "reliable", "best_effort"
EMBEDDED, GAZEBO = "embedded", "gazebo"
AUTO, WITH, WITHOUT = "auto", "with", "without"

#: Default and description; all are read-only once the node runs. An empty string in a list counts as absent.
DECLARED: dict[str, tuple[Any, str]] = {
    "world": ("", "World folder with world.sdf, or an SDF file: place, terrain, datum, credit. Required."),
    "vehicles": (["drone_1"], "Vehicles to record: the first parts of their topics. Each has NAME.rig and NAME.plan."),
    "rig": (
        "",
        "Sensor rig: a shipped model's name, or the path of a model's SDF file or folder. "
        "Without one: rig_rover for rovers, else rig_drone.",
    ),
    "plan": ("", "Plan file (JSON) that the only vehicle follows: kept in the session, and says drone or rover."),
    "data_root": ("data", "Folder in which the sessions' folders are made."),
    "frame_rate": (2.0, "Frames per simulated second that are recorded (Hz)."),
    "tolerance": (0.0, "How far a stamp may be from its frame's (s); 0.0: half a sensor period."),
    "patience": (1.0, "How long a frame's last message may take, in simulated seconds."),
    "modalities": (
        list(MODALITIES),
        "Which sensors a frame must have: images, depth, lidar, imu; what voxels are made of always.",
    ),
    "actors": (
        AUTO,
        "Frames with or without what moves nearby (/NAME/actors); auto: with, of the embedded engine.",
    ),
    "image_transport": (COMPRESSED, "Camera topics: compressed (JPEGs, stored as they come) or raw (encoded here)."),
    "jpeg_quality": (95, "Quality of pictures that are encoded here, 1 to 100."),
    "keep_depth": (False, "Keep depth and class images of the faces in the session."),
    "keep_boxes": (False, "Keep the boxes of what moves in each camera's picture, projected; takes actors and images."),
    "grid": (
        [*DEFAULT_GRID.range, *DEFAULT_GRID.voxel_size],
        "Voxel grid: x0 y0 z0 x1 y1 z1 around the vehicle and the voxel's three edges, metres; z above the datum.",
    ),
    "occupancy_mode": (
        DEPTH,
        "What voxels are made of: depth (what the depth faces see, with classes and sky) or lidar (its returns: class "
        "0, no sky; the faces are then not listened to, unless keep_depth).",
    ),
    "velocity": (AUTO, "Velocities: twist (as odometry says), positions (their differences), or auto: by engine."),
    "max_frames": (0, "Frames of a session after which it is closed; 0: no limit."),
    "min_free_disk": (500_000_000, "Bytes that must stay free on the disk; recording stops before they are used."),
    "queue_frames": (4, "Frames of a vehicle that may wait to be written; more are dropped, and told."),
    "autostart": (True, "Record from the beginning; else after ~/start."),
    "lockstep": (False, "Acknowledge every sensor frame on /lockstep, under this node's name."),
    "lockstep_patience": (5.0, "Wall seconds that a sensor may keep time standing before its frames do without it."),
    "qos": (RELIABLE, "Quality of service asked for: reliable (one second deep) or best_effort."),
    "engine": (EMBEDDED, "What publishes the topics, for session.json: embedded or gazebo."),
    "engine_version": ("", "Its version; without one that of the installed aerialworld_sim, or unknown."),
    "seed": (0, "Seed of the simulation, for session.json."),
    "conditions": ("", "Time of day and weather of the simulation, as the engine was given them, for session.json."),
    "start_time": (START_TIME, "Simulated UTC of simulation time 0 (ISO 8601); sessions are named by it."),
}
OF_EACH = ("rig", "plan")
_BOUNDS: dict[str, tuple[float, float]] = {
    "frame_rate": (0.01, 100.0),
    "tolerance": (0.0, 10.0),
    "patience": (0.0, 60.0),
    "jpeg_quality": (1, 100),
    "max_frames": (0, 999_999_999),
    "min_free_disk": (0, 2**62),
    "queue_frames": (1, 1000),
    "lockstep_patience": (0.1, 86400.0),
    "seed": (0, 2**63 - 1),
}
_CHOICES = {
    "image_transport": TRANSPORTS,
    "occupancy_mode": (DEPTH, LIDAR),
    "velocity": (AUTO, *VELOCITIES),
    "actors": (AUTO, WITH, WITHOUT),
    "qos": (RELIABLE, BEST_EFFORT),
    "engine": (EMBEDDED, GAZEBO),
}


@dataclass(frozen=True)
class VehicleParameters:
    """One vehicle: `rig` "" takes the rig that suits it."""

    name: str
    rig: str
    plan: Path | None


@dataclass(frozen=True)
class Parameters:
    """What the node was asked to do: seconds, Hz, bytes. `tolerance` None: by the sensors' periods."""

    world: Path
    vehicles: tuple[VehicleParameters, ...]
    data_root: Path
    frame_rate: float
    tolerance: float | None
    patience: float
    modalities: tuple[str, ...]
    actors: bool
    image_transport: str
    jpeg_quality: int
    keep_depth: bool
    keep_boxes: bool
    occupancy_mode: str
    grid: VoxelGrid
    velocity: str
    max_frames: int
    min_free_disk: int
    queue_frames: int
    autostart: bool
    lockstep: bool
    lockstep_patience: float
    qos: str
    engine: str
    engine_version: str
    seed: int
    start_time: str
    conditions: Conditions

    @property
    def period_ns(self) -> int:
        """Nanoseconds from frame to frame."""
        return round(1e9 / self.frame_rate)

    def timing(self, sensor_period: float) -> Timing:
        """When frames are, with sensors of this period (s). Raises InputError for a tolerance that is too wide."""
        half = self.period_ns // 2
        reorder = 0 if self.lockstep else Timing.reorder_ns
        tolerance = min(round(sensor_period * 5e8), half) if self.tolerance is None else round(self.tolerance * 1e9)
        return Timing(self.period_ns, tolerance, round(self.patience * 1e9), velocity=self.velocity, reorder_ns=reorder)


def read_parameters(node: Node) -> Parameters:
    """Declare and check all parameters. Raises InputError, naming the parameter and what it may be."""
    v = {
        name: declare(node, name, default, text, _BOUNDS.get(name), _CHOICES.get(name, ()))
        for name, (default, text) in DECLARED.items()
    }
    if not v["world"]:
        raise InputError("parameter world: give a world folder or SDF file, e.g. --ros-args -p world:=path/to/world")
    vehicles = _vehicles(node, v)
    refuse_unknown(node, list(DECLARED), OF_EACH)
    try:
        parse_time(v["start_time"])
    except InputError as error:
        raise InputError(f"parameter start_time: {error}") from error
    velocity = v["velocity"]
    if velocity == AUTO:
        velocity = POSITIONS if v["engine"] == GAZEBO else TWIST  # Gazebo's OdometryPublisher smooths its twist
    modalities = tuple(m for m in v["modalities"] or () if m)
    actors = v["actors"] == WITH or (v["actors"] == AUTO and v["engine"] == EMBEDDED)
    if v["keep_boxes"] and not (actors and "images" in modalities):
        lacking = "actors: with" if not actors else "images among the modalities"
        raise InputError(f"parameter keep_boxes: boxes are of what moves in the cameras' pictures; it needs {lacking}")
    rest = (
        "frame_rate patience image_transport jpeg_quality keep_depth keep_boxes occupancy_mode max_frames "
        "min_free_disk queue_frames autostart lockstep lockstep_patience qos engine engine_version seed start_time"
    ).split()
    return Parameters(
        world=Path(v["world"]),
        vehicles=vehicles,
        data_root=Path(v["data_root"] or "."),
        tolerance=v["tolerance"] or None,
        modalities=modalities,
        grid=_grid(v["grid"]),
        conditions=conditions(v["conditions"]),
        velocity=velocity,
        actors=actors,
        **{name: v[name] for name in rest},
    )


def _grid(numbers: Any) -> VoxelGrid:
    if numbers is None or len(numbers) != 9:
        raise InputError(f"parameter grid: takes 9 numbers (x0 y0 z0 x1 y1 z1, three edges), not {len(numbers or ())}")
    try:
        return VoxelGrid.from_range(numbers[:6], numbers[6:])
    except InputError as error:
        raise InputError(f"parameter grid: {error}") from error


def _vehicles(node: Node, values: dict[str, Any]) -> tuple[VehicleParameters, ...]:
    found = names("vehicles", values["vehicles"])
    if not found:
        raise InputError("parameter vehicles: it is empty; name at least one, e.g. drone_1")
    if len(found) > 1 and values["plan"]:
        raise InputError(f"parameter plan: with several vehicles give each its own, e.g. {found[0]}.plan")
    vehicles = []
    for name in found:
        rig, plan = (declare(node, f"{name}.{key}", values[key], f"As `{key}`, of {name}.") for key in ("rig", "plan"))
        vehicles.append(VehicleParameters(name, rig, Path(plan) if plan else None))
    return tuple(vehicles)

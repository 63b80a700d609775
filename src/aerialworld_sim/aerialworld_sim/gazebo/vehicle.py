"""One vehicle for Gazebo: a shipped model under its own name, with a rig, what moves it, and its true odometry.

The model's file says what it is and looks like; what depends on the vehicle's name (topics, frames, ports, who must not
see it) is added here, so that any number stand in one world without a clash.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from aerialworld_core import topics
from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.frames import Pose
from aerialworld_core.plan import agent_type
from aerialworld_core.resources import model_path
from aerialworld_core.rig import Rig
from aerialworld_core.safexml import parse
from aerialworld_sim.gazebo.drives import add_drive
from aerialworld_sim.gazebo.sensors import add_sensors
from aerialworld_sim.gazebo.xml import add, document, plugin, pose_text

#: Bits that cameras and visuals may use; Gazebo keeps the four above them (gz-rendering, GZ_VISIBILITY_ALL).
ALL_VISIBLE = 0x0FFFFFFF
#: Vehicles that can stay hidden from their own sensors and visible to all others.
MOST_VEHICLES = 28
#: Hz; as of `topics.vehicle_topics`.
ODOMETRY_RATE = 50.0


@dataclass(frozen=True)
class GazeboVehicle:
    """A vehicle to be: `autopilot` ardupilot, none or placed (`drives`), `instance` ArduPilot's, which is the number of
    its visibility bit as well."""

    name: str
    rig: Rig
    autopilot: str = "ardupilot"
    instance: int = 0
    pose: Pose = field(default_factory=Pose.identity)

    def __post_init__(self) -> None:
        if not 0 <= self.instance < MOST_VEHICLES:
            raise InputError(f"{self.name}: number {self.instance}; Gazebo tells at most {MOST_VEHICLES} apart")

    @property
    def kind(self) -> str:
        """drone or rover: the shipped model."""
        return agent_type(self.name)

    @property
    def flag(self) -> int:
        """The visibility flag of its visuals, which its own sensors' masks leave out."""
        return 1 << (MOST_VEHICLES - 1 - self.instance)


def vehicle_element(vehicle: GazeboVehicle) -> Any:
    """The <model> of a vehicle. Raises InputError and WorldError for what cannot be simulated in Gazebo."""
    source = model_path(vehicle.kind)
    models = parse(source, what="SDF file").findall("model")
    if len(models) != 1:
        raise WorldError(f"{source}: holds {len(models)} models; a vehicle needs one")
    model = deepcopy(models[0])
    etree.strip_tags(model, etree.Comment)
    model.set("name", vehicle.name)
    pose = etree.Element("pose")
    pose.text = pose_text(vehicle.pose)
    model.insert(0, pose)
    base = model.find("link[@name='base_link']")
    if base is None:
        raise WorldError(f"{source}: has no link base_link")
    _carry(model)
    for flags in model.iter("visibility_flags"):
        flags.text = str(vehicle.flag)
    add_sensors(base, vehicle.name, vehicle.rig, ALL_VISIBLE & ~vehicle.flag)
    add_drive(model, base, vehicle.name, vehicle.kind, vehicle.autopilot, vehicle.instance)
    plugin(
        model,
        "OdometryPublisher",
        "odometry-publisher",
        [
            ("odom_frame", "map"),
            ("robot_base_frame", topics.base_frame(vehicle.name)),
            ("odom_topic", topics.odometry(vehicle.name)),
            ("odom_publish_frequency", ODOMETRY_RATE),
            ("dimensions", 3),
        ],
    )
    return model


def vehicle_sdf(vehicle: GazeboVehicle) -> str:
    """The vehicle as a document of SDF: what `gz sim` and ros_gz_sim's `create` spawn."""
    return document(vehicle_element(vehicle))


def _carry(model: Any) -> None:
    """In place of the included rig, its weight: sensors are added to base_link, from the rig that was chosen. A rig of
    one's own weighs what the shipped one weighs, so that the vehicle flies as it does."""
    for include in model.findall("include"):
        name = (include.findtext("uri") or "").removeprefix("model://")
        rig = parse(model_path(name), what="SDF file").find("model")
        for link in rig.findall("link"):
            weight = add(model, "link", name=link.get("name"))
            for child in link:
                if child.tag in ("pose", "inertial"):
                    weight.append(deepcopy(child))
        model.remove(include)
    # Joints come after the links that they join, as readers of SDF expect them.
    for joint in model.findall("joint"):
        model.append(joint)

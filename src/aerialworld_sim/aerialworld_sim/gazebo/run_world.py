"""The world file of one run: the written world with its vehicles in it, paused or not bound to the wall clock.

The vehicles are there from the first step on: nothing is spawned while time runs, so two runs begin alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lxml import etree

from aerialworld_core.errors import InputError, WorldError
from aerialworld_core.safexml import parse
from aerialworld_core.world.scene import Light
from aerialworld_sim.gazebo.vehicle import GazeboVehicle, vehicle_element
from aerialworld_sim.gazebo.xml import add, add_all

#: Systems that a world needs for what our vehicles carry: library of the plugin → its class.
SYSTEMS = {
    "gz-sim-physics-system": "gz::sim::systems::Physics",
    "gz-sim-sensors-system": "gz::sim::systems::Sensors",
    "gz-sim-imu-system": "gz::sim::systems::Imu",
    "gz-sim-navsat-system": "gz::sim::systems::NavSat",
    "gz-sim-scene-broadcaster-system": "gz::sim::systems::SceneBroadcaster",
    "gz-sim-user-commands-system": "gz::sim::systems::UserCommands",
}


def world_file(world: Path) -> Path:
    """The SDF file of a world that is given as a folder or as a file."""
    return world / "world.sdf" if world.is_dir() else world


def resource_path(world: Path) -> Path:
    """What must be in GZ_SIM_RESOURCE_PATH, so that the world's model:// names are found."""
    return world_file(world).resolve().parent / "models"


def step_size(world: Path) -> float:
    """Seconds of one physics step. Raises WorldError where the world does not say."""
    physics = _world(world).find("physics")
    text = physics.findtext("max_step_size") if physics is not None else None
    try:
        step = float(text or "")
    except ValueError:
        step = 0.0
    if not 0.0 < step <= 0.1:
        raise WorldError(f"{world_file(world)}: <physics> has no usable <max_step_size>: {text!r}")
    return step


def world_name(world: Path) -> str:
    """The name under which Gazebo offers the world's services."""
    return str(_world(world).get("name"))


def run_world(
    world: Path,
    vehicles: Sequence[GazeboVehicle],
    *,
    fast: bool = False,
    light: Light | None = None,
    others: Sequence[Any] = (),
) -> str:
    """The world as SDF with `vehicles` in it; `fast`: not bound to the wall clock (real_time_factor 0); `light` instead
    of its own; `others` are further elements of <world>: models of actors, and the system that moves them.

    Relative mesh paths of the world's own models become absolute, since the file lies elsewhere. Raises WorldError for
    a world that Gazebo could not run our vehicles in, naming what it lacks; InputError for a vehicle.
    """
    path = world_file(world)
    element = _world(world)
    step_size(world)
    found = {plugin.get("filename", "").removeprefix("lib").removesuffix(".so") for plugin in element.findall("plugin")}
    # Versioned names (gz-sim8-physics-system) are the same library.
    found = {re.sub(r"^(gz|ignition)-(sim|gazebo)\d*-", "gz-sim-", name) for name in found}
    lacking = [name for name in SYSTEMS if name not in found]
    if lacking:
        raise WorldError(
            f"{path}: lacks the systems {', '.join(lacking)}; add them as plugins of <world> "
            "(worlds of `aerialworld city convert` have them)"
        )
    if element.find("spherical_coordinates") is None:
        raise WorldError(f"{path}: has no <spherical_coordinates>, so no vehicle knows where on earth it is")
    taken = {model.get("name") for model in element.findall("model")}
    taken |= {include.findtext("name") for include in element.findall("include")}
    if light is not None:
        _shine(element, light)
    if fast:
        _unbind(element.find("physics"))
    for uri in element.iter("uri"):
        if uri.text and "://" not in uri.text and not uri.text.startswith("/"):
            uri.text = str(path.resolve().parent / uri.text)
    for added in (*(vehicle_element(vehicle) for vehicle in vehicles), *others):
        name = added.get("name")
        if added.tag == "model" and name in taken:
            raise WorldError(f"{path}: has a model {name} already; rename it there")
        taken.add(name)
        element.append(added)
    root = etree.Element("sdf", version="1.10")
    root.append(element)
    etree.indent(root)
    return '<?xml version="1.0"?>\n' + etree.tostring(root, encoding="unicode") + "\n"


def _shine(world: Any, light: Light) -> None:
    """Sun and surroundings in place of the world's. Gazebo's sky without <sky> is of one colour: the horizon's.

    Raises InputError for air that is not clear: Gazebo shows none.
    """
    if light.air is not None:
        raise InputError(
            "weather is not shown by Gazebo; the embedded engine shows it, or leave it out of the conditions"
        )
    for old in [e for e in world.findall("light") if e.get("type") == "directional"]:
        world.remove(old)
    power = max(1.0, float(light.sun.max()))  # a colour is at most 1; what is more is intensity
    sun = add(world, "light", name="sun", type="directional")
    add_all(
        sun,
        (
            ("pose", "0 0 500 0 0 0"),
            ("cast_shadows", light.shadows),
            ("diffuse", _colour(light.sun / power)),
            ("specular", "0.1 0.1 0.1 1"),
            ("intensity", power),
            ("direction", " ".join(repr(float(v)) for v in light.direction)),
        ),
    )
    scene = world.find("scene")
    if scene is not None:
        world.remove(scene)
    values = (
        ("ambient", _colour(light.ambient)),
        ("background", _colour(light.background)),
        ("shadows", light.shadows),
    )
    add_all(add(world, "scene"), values)


def _colour(linear: Any) -> str:
    return " ".join(repr(min(1.0, float(v))) for v in linear) + " 1"


def _unbind(physics: Any) -> None:
    factor = physics.find("real_time_factor")
    if factor is None:
        factor = etree.SubElement(physics, "real_time_factor")
    factor.text = "0"


def _world(world: Path) -> Any:
    path = world_file(world)
    worlds = parse(path, what="SDF file").findall("world")
    if len(worlds) != 1:
        raise WorldError(f"{path}: holds {len(worlds)} worlds; a run needs one")
    if not worlds[0].get("name"):
        raise WorldError(f"{path}: the world has no name")
    return worlds[0]

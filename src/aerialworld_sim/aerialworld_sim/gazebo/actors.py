"""What else moves, for Gazebo: a model for each actor, which stands until its pose is set.

The models are static and have no collisions: gz-sim's physics takes poses of static models as they are commanded, in
the same step. Who commands them is the engine in process (`engine`), or under ROS the system `aerialworld_traffic`,
which lies with the worlds and asks `aerialworld_sim.traffic.poses`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lxml import etree

from aerialworld_core.errors import InputError
from aerialworld_core.resources import share
from aerialworld_sim.gazebo.xml import add, plugin, pose_text
from aerialworld_sim.motion import Actor
from aerialworld_sim.traffic.sdf import write_meshes

#: The system's module, and the variable that tells it how to start who knows the poses: a list of words as JSON.
SYSTEM, COMMAND = "aerialworld_traffic", "AERIALWORLD_TRAFFIC"


def actor_models(actors: Sequence[Actor], folder: Path) -> list[Any]:
    """A static <model> for each actor where it is at time 0, with its class; their meshes are written into `folder`.

    Raises InputError for an actor that is not there at time 0.
    """
    names = write_meshes((("body", actor.body) for actor in actors), folder)
    return [_model(actor, folder.resolve() / f"{names[id(actor.body)]}.obj") for actor in actors]


def _model(actor: Actor, mesh: Path) -> Any:
    state = actor.motion.state(0)
    if state is None:
        raise InputError(f"{actor.name}: is not there at time 0; Gazebo shows actors that are there all the time")
    model = etree.Element("model", name=actor.name)
    add(model, "static", True)
    add(model, "pose", pose_text(state.pose))
    visual = add(add(model, "link", name="link"), "visual", name="body")
    add(add(add(visual, "geometry"), "mesh"), "uri", str(mesh))
    plugin(visual, "Label", "label", [("label", actor.record(state)["class"])])
    return model


def traffic_system() -> Any:
    """The <plugin> of a world whose actors the system moves."""
    element = etree.Element(
        "plugin", filename="gz-sim-python-system-loader-system", name="gz::sim::systems::PythonSystemLoader"
    )
    add(element, "module_name", SYSTEM)
    return element


def systems_folder() -> Path:
    """What must be in GZ_SIM_SYSTEM_PLUGIN_PATH, so that Gazebo finds the system."""
    return share("aerialworld_worlds") / "systems"

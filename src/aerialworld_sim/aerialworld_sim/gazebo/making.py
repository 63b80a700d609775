"""From a world and vehicles to a Gazebo engine that runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_core.world.scene import Light
from aerialworld_sim.gazebo.actors import actor_models
from aerialworld_sim.gazebo.drives import PLACED
from aerialworld_sim.gazebo.engine import GazeboEngine, placed_rig
from aerialworld_sim.gazebo.pacing import steps_of
from aerialworld_sim.gazebo.run_world import resource_path, run_world, step_size, world_name
from aerialworld_sim.gazebo.server import GazeboServer
from aerialworld_sim.gazebo.vehicle import GazeboVehicle
from aerialworld_sim.motion import Actor, Vehicle


def gazebo_engine(
    world: Any,
    vehicles: Mapping[str, Vehicle],
    *,
    seed: int = 0,
    version: str = "unknown",
    light: Light | None = None,
    actors: Sequence[Actor] = (),
) -> GazeboEngine:
    """Start a Gazebo with this world (`aerialworld_core.world.World`), in `light` where it is given, and its vehicles
    and actors; close the engine to end it.

    Raises GazeboError where Gazebo or its bindings are missing, WorldError for a world that it could not run.
    """
    file = Path(world.path)
    placed = [
        GazeboVehicle(name, placed_rig(v.rig), PLACED, number, v.motion.state(0).pose)
        for number, (name, v) in enumerate(vehicles.items())
    ]
    step = step_size(file)
    folder = tempfile.TemporaryDirectory(prefix="aerialworld_gazebo_")
    others = actor_models(actors, Path(folder.name) / "meshes")
    server = GazeboServer(
        run_world(file, placed, fast=True, light=light, others=others),
        world_name(file),
        folder,
        steps=steps_of(sensor_period(vehicles), step),
        step_size=step,
        resources=[resource_path(file)],
        seed=seed,
        version=version,
    )
    return GazeboEngine(world, vehicles, server, seed=seed, actors=actors)


def sensor_period(vehicles: Mapping[str, Vehicle]) -> float:
    """Seconds in which every rendered sensor of all rigs has a frame. Raises InputError where there is no sensor."""
    rates = [camera.rate for v in vehicles.values() for camera in (*v.rig.cameras, *v.rig.depth)]
    rates += [v.rig.lidar.rate for v in vehicles.values() if v.rig.lidar]
    if not rates:
        raise InputError("no vehicle has a camera, depth face or LiDAR: there is nothing that Gazebo could render")
    return 1.0 / min(rates)

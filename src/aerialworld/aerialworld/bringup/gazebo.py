"""The processes that Gazebo needs: its server on a world of the run's own, SITL for each vehicle, bridges, transforms,
and the pacer that holds time for the recorder."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aerialworld.bringup.arguments import ARDUPILOT, Simulation
from aerialworld.bringup.places import STANDING
from aerialworld.bringup.ports import mission_port, station_port
from aerialworld.bringup.process import Place, Process, Run, recorder_name
from aerialworld_core import network
from aerialworld_core.conditions import Conditions
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.plan import agent_type
from aerialworld_core.resources import share
from aerialworld_core.rig import Rig
from aerialworld_core.traffic import TrafficOptions
from aerialworld_core.world import World
from aerialworld_core.world.scene import Light
from aerialworld_recorder.stream.channels import MODALITIES, SENSORS, recorded_rig, vehicle_channels
from aerialworld_sim.gazebo.actors import COMMAND, actor_models, systems_folder, traffic_system
from aerialworld_sim.gazebo.bridge import bridge_yaml, clock_bridge, control_service, image_topics, vehicle_bridge
from aerialworld_sim.gazebo.run_world import resource_path, run_world, step_size, world_name
from aerialworld_sim.gazebo.vehicle import GazeboVehicle
from aerialworld_sim.traffic import Traffic

#: How far a vehicle falls onto the ground at first (m): none begins inside it.
DROP = 0.03
#: Programs that Gazebo's side needs, and how they come.
_INSTALL = "scripts/install_ardupilot_gazebo_stack.sh installs them (docs/gazebo.md)"
#: How much faster than the wall a SITL may be that does not know no_time_sync.
_SPEEDUP = 100


def processes(asked: Simulation, place: Place, world: World, rigs: Mapping[str, Rig], ground: Iterable[Any]) -> Run:
    """Everything of a run but recorder and missions."""
    _require(asked, place)
    vehicles = [
        GazeboVehicle(name, rigs[name], asked.autopilot, number, _standing(name, spot))
        for number, (name, spot) in enumerate(zip(asked.names, ground, strict=True))
    ]
    made, config = place.folder / "world.sdf", place.folder / "bridges"
    text = run_world(
        asked.world, vehicles, fast=asked.fast, light=_light(asked, world), others=_traffic(asked, place, world)
    )
    files: dict[Path, str] = {made: text}
    started = [_server(asked, place, made)]
    started.append(_bridge("clock", config, files, bridge_yaml(clock_bridge()), place, _control(asked)))
    folders = []
    for number, vehicle in enumerate(vehicles):
        name, rig = vehicle.name, vehicle.rig
        text = bridge_yaml(vehicle_bridge(name, rig, asked.autopilot))
        started.append(_bridge(name, config, files, text, place))
        if rig.cameras:
            started.append(
                Process(
                    f"{name}_images", "required", "ros_gz_image", "image_bridge",
                    arguments=tuple(image_topics(name, rig)), environment=_network(place),
                )
            )  # fmt: skip
        if asked.autopilot == ARDUPILOT:
            folders.append(place.folder / "sitl" / name)
            started.append(_sitl(asked, place, name, number, world.require_place(), folders[-1]))
    started.append(_transforms(asked))
    if _paced(asked):
        started.append(_pacer(asked, vehicles))
    return Run(tuple(started), files, tuple(folders), (f"Gazebo's world and bridges of this run: {place.folder}",))


def partition(place: Place) -> str:
    """Gazebo's network of this run, so that two runs on a machine do not meet."""
    return f"aerialworld_{place.folder.name}"


def environment(world: Path, place: Place) -> dict[str, str]:
    """What Gazebo's server needs beside the user's environment: loopback, its own partition, the world's models."""
    before = place.environment.get("GZ_SIM_RESOURCE_PATH", "")
    paths = [str(resource_path(world)), *(p for p in before.split(os.pathsep) if p)]
    return {**_transport(place), "GZ_SIM_RESOURCE_PATH": os.pathsep.join(dict.fromkeys(paths))}


def traffic_environment(asked: Simulation, place: Place) -> dict[str, str]:
    """What the system of `worlds/systems` needs, and Gazebo to find it; nothing without traffic."""
    if not asked.traffic:
        return {}
    command = [sys.executable, "-m", "aerialworld_sim.traffic.poses", str(asked.world), asked.traffic]
    before = place.environment.get("GZ_SIM_SYSTEM_PLUGIN_PATH", "")
    paths = [str(systems_folder()), *(p for p in before.split(os.pathsep) if p)]
    return {COMMAND: json.dumps(command), "GZ_SIM_SYSTEM_PLUGIN_PATH": os.pathsep.join(paths)}


def _transport(place: Place) -> dict[str, str]:
    return {"GZ_IP": place.environment.get("GZ_IP") or "127.0.0.1", "GZ_PARTITION": partition(place)}


def _network(place: Place) -> dict[str, str]:
    """Of processes that speak ROS and are not ours: loopback only and large messages, as `network` gives our nodes."""
    changed = {k: v for k, v in place.environment.items() if k.startswith(("ROS_", "FAST", "RMW_"))}
    before = dict(changed)
    network.stay_on_this_machine(changed.get("RMW_IMPLEMENTATION") or "rmw_fastrtps_cpp", changed)
    return {**_transport(place), **{k: v for k, v in changed.items() if before.get(k) != v}}


def _require(asked: Simulation, place: Place) -> None:
    """Raises InputError for programs that are not there."""
    needed = {"gz": "gz"}
    if asked.autopilot == ARDUPILOT:
        kinds = {agent_type(name) for name in asked.names}
        needed |= {"arducopter": asked.arducopter} if "drone" in kinds else {}
        needed |= {"ardurover": asked.ardurover} if "rover" in kinds else {}
    lacking = [f"{argument}:={name}" if argument != "gz" else name for argument, name in needed.items()
               if name not in place.programs]  # fmt: skip
    if lacking:
        raise InputError(
            f"engine:=gazebo needs programs that are not found: {', '.join(lacking)}; {_INSTALL}. "
            "engine:=embedded needs none of them"
        )
    if asked.traffic and not place.gazebo_python:
        raise InputError(
            "traffic:= needs Gazebo's Python bindings (gz.sim8, gz.math7) in this Python; `aerialworld doctor` tells "
            "how they come. Without them write the traffic into the world (aerialworld traffic export) and give "
            "world:=…/world_traffic.sdf"
        )


def _traffic(asked: Simulation, place: Place, world: World) -> list[Any]:
    """Models of the traffic, whose meshes go into the run's folder, and the system that moves them."""
    if not asked.traffic:
        return []
    traffic = Traffic(world, TrafficOptions.parse(asked.traffic))
    return [traffic_system(), *actor_models(traffic.actors, place.folder / "traffic")]


def _light(asked: Simulation, world: World) -> Light | None:
    """What the conditions make of the world's light; None where they leave it."""
    light = Conditions.parse(asked.conditions).light(world.light, world.georeference) if asked.conditions else None
    return None if light is world.light else light


def _standing(name: str, spot: Any) -> Pose:
    x, y, z = (float(v) for v in spot)
    return Pose.from_rpy(x, y, z + STANDING[agent_type(name)] + DROP)


def _paced(asked: Simulation) -> bool:
    return asked.fast and asked.record


def _server(asked: Simulation, place: Place, made: Path) -> Process:
    """Gazebo's own seed 0 means none."""
    options = ["-s", "--headless-rendering"] if asked.headless else []
    options += [] if _paced(asked) else ["-r"]
    command = (place.programs["gz"], "sim", *options, "--seed", str(asked.seed + 1), str(made))
    surroundings = environment(asked.world, place) | traffic_environment(asked, place)
    return Process("gazebo", "required", command=command, environment=surroundings, patience=20.0)


def _control(asked: Simulation) -> tuple[str, ...]:
    return (f"{control_service(world_name(asked.world))}@ros_gz_interfaces/srv/ControlWorld",) if _paced(asked) else ()


def _bridge(
    name: str, config: Path, files: dict[Path, str], text: str, place: Place, services: tuple[str, ...] = ()
) -> Process:
    path = config / f"{name}.yaml"
    files[path] = text
    return Process(
        f"{name}_bridge", "required", "ros_gz_bridge", "parameter_bridge", {"config_file": str(path)},
        arguments=services, environment=_network(place),
    )  # fmt: skip


def _sitl(asked: Simulation, place: Place, name: str, number: int, origin: Georeference, folder: Path) -> Process:
    """ArduPilot itself, at home in the world's origin: Gazebo tells it positions from there."""
    drone = agent_type(name) == "drone"
    binary = asked.arducopter if drone else asked.ardurover
    extra = asked.drone_params if drone else asked.rover_params
    defaults = [share("aerialworld_bringup") / "config" / f"{agent_type(name)}.parm", *([extra] if extra else [])]
    command = (
        place.programs[binary], "--model", "JSON:127.0.0.1", "--speedup", str(_SPEEDUP if asked.fast else 1),
        f"-I{number}", "--sysid", str(number + 1),
        "--home", f"{origin.latitude!r},{origin.longitude!r},{origin.height!r},0",
        "--defaults", ",".join(map(str, defaults)),
        # By default SERIAL1 and SERIAL2 listen on all interfaces, unsigned: these stay on loopback.
        "--serial0", f"udpclient:127.0.0.1:{mission_port(number)}",
        "--serial1", f"udpclient:127.0.0.1:{station_port(number)}", "--serial2", "none",
    )  # fmt: skip
    return Process(f"{name}_sitl", "required", command=command, folder=folder)


def _transforms(asked: Simulation) -> Process:
    parameters: dict[str, Any] = {"vehicles": list(asked.names)}
    if asked.rig:
        parameters["rig"] = asked.rig
    return Process("transforms", "required", "aerialworld_sim", "transforms", parameters)


def _pacer(asked: Simulation, vehicles: Sequence[GazeboVehicle]) -> Process:
    """Steps of one sensor period; it waits for the recorders by name, and at first for every topic that it takes."""
    channels = [c for v in vehicles for c in vehicle_channels(v.name, recorded_rig(v.rig, MODALITIES))]
    parameters = {
        "service": control_service(world_name(asked.world)),
        "step_size": step_size(asked.world),
        "period": 1.0 / max(c.rate for c in channels if c.kind in SENSORS),
        "listeners": [recorder_name(v.name) for v in vehicles],
        "topics": [c.topic for c in channels],
        # A period of which nothing came through the bridge is never acknowledged: rather that frame than the run.
        "lockstep_lost": "continue",
        "lockstep_timeout": 60.0,
    }
    return Process("pacer", "required", "aerialworld_sim", "pacer", parameters)

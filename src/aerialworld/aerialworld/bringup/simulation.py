"""The processes of `simulation.launch.py`: a simulator, who flies, what is recorded, and what ties them together."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from aerialworld.bringup import gazebo
from aerialworld.bringup.arguments import EMBEDDED, GAZEBO, MISSIONS, SWEEP, Simulation
from aerialworld.bringup.places import STANDING, starts
from aerialworld.bringup.ports import connection
from aerialworld.bringup.process import Place, Process, Run, recorder_name
from aerialworld_core.plan import agent_type
from aerialworld_core.rig import Rig
from aerialworld_core.world import load_rig, load_world

#: Seconds that a recorder has to write what is queued and to close its session, and a mission to land.
RECORDER_PATIENCE, MISSION_PATIENCE = 120.0, 60.0


def simulation(asked: Simulation, place: Place) -> Run:
    """Everything to write and to start. Raises AerialWorldError for what cannot be simulated, saying the way out."""
    if asked.mode == SWEEP:
        return Run((sweep(asked),))
    world = load_world(asked.world)
    rigs = {name: load_rig(asked.rig or f"rig_{agent_type(name)}") for name in asked.names}
    ground = starts(world, asked.place, len(asked.names))
    if asked.engine == GAZEBO:
        run = gazebo.processes(asked, place, world, rigs, ground)
    else:
        run = Run((engine(asked, rigs, ground),))
    processes = [*run.processes]
    if asked.record:
        processes += [recorder(asked, place, name) for name in asked.names]
    processes += [mission for number, name in enumerate(asked.names) if (mission := _mission(asked, name, number))]
    return Run(tuple(processes), run.files, run.folders, run.notes)


def sweep(asked: Simulation) -> Process:
    """`aerialworld simulate` of a plan: a mission by itself, whichever engine renders."""
    command = [sys.executable, "-m", "aerialworld", "simulate", str(asked.world), str(asked.plan)]
    command += ["--out", str(asked.data_root), "--engine", asked.engine]
    command += ["--frame-rate", repr(asked.frame_rate), "--seed", str(asked.seed)]
    for name in ("rig", "conditions", "traffic"):
        if getattr(asked, name):
            command += [f"--{name}", getattr(asked, name)]
    return Process("sweep", "mission", command=tuple(command), patience=MISSION_PATIENCE)


def engine(asked: Simulation, rigs: Mapping[str, Rig], ground: Iterable[Any]) -> Process:
    """The embedded engine with all vehicles; under an autopilot they stand on the ground at first."""
    parameters: dict[str, Any] = {
        "world": str(asked.world),
        "vehicles": list(asked.names),
        "seed": asked.seed,
        "rate": 0.0 if asked.fast else 1.0,
    }
    if asked.autopilot == EMBEDDED:
        parameters["autopilot"] = EMBEDDED
    parameters |= {name: getattr(asked, name) for name in ("rig", "conditions", "traffic") if getattr(asked, name)}
    if asked.record:
        parameters["lockstep"] = [recorder_name(name) for name in asked.names]
    for name, spot in zip(asked.names, ground, strict=True):
        x, y, z = (float(v) for v in spot)
        parameters[f"{name}.pose"] = [x, y, z + STANDING[agent_type(name)], 0.0]
    return Process("engine", "required", "aerialworld_sim", "engine", parameters)


def recorder(asked: Simulation, place: Place, name: str) -> Process:
    """The recorder of one vehicle: its mission starts and stops it; where there is none it records from the start."""
    parameters: dict[str, Any] = {
        "world": str(asked.world),
        "vehicles": [name],
        "autostart": asked.mission_of(name) is None,
        "data_root": str(asked.data_root),
        "frame_rate": asked.frame_rate,
        "engine": asked.engine,
        "seed": asked.seed,
        "lockstep": asked.engine == EMBEDDED or asked.fast,
    }
    parameters |= {name: getattr(asked, name) for name in ("rig", "conditions") if getattr(asked, name)}
    if asked.engine == GAZEBO and place.gazebo_version:
        parameters["engine_version"] = place.gazebo_version
    return Process(
        recorder_name(name), "required", "aerialworld_recorder", "recorder", parameters, patience=RECORDER_PATIENCE
    )


def _mission(asked: Simulation, name: str, number: int) -> Process | None:
    kind = asked.mission_of(name)
    if kind is None:
        return None
    parameters: dict[str, Any] = {
        "vehicle": name,
        "world": str(asked.world),
        "connect": connection(asked, number),
        "target_system": number + 1,
        "seed": asked.seed,
        "record": asked.record,
        "use_sim_time": True,
    }
    if asked.record:
        parameters["recorder"] = recorder_name(name)
    if kind in MISSIONS:
        parameters["altitude"] = asked.altitude
    files = (asked.mission_params,) if asked.mission_params else ()
    return Process(
        f"{name}_{kind}", "mission", "aerialworld_missions", kind, parameters, files, patience=MISSION_PATIENCE
    )

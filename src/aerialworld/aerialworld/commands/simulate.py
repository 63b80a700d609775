"""`aerialworld simulate`: fly plans through a world in process and record sessions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, kept, note, say
from aerialworld.opened import open_world
from aerialworld.options import (
    BackendOption,
    ConditionsOption,
    EngineOption,
    FrameRateOption,
    GridRangeOption,
    KeepOption,
    ModalitiesOption,
    ResumeOption,
    RigOption,
    SeedOption,
    TrafficOption,
    TrustColladaOption,
    VoxelSizeOption,
    WorldArgument,
    conditions_from_option,
    grid_from_options,
    keep_from_option,
    modalities_from_option,
    require_folder,
    traffic_from_option,
)
from aerialworld.progress import meter
from aerialworld.recording import (
    RecordingOptions,
    finished,
    frame_bytes,
    record_plan,
    require_space,
    rig_for,
    session_meta,
    session_name,
    start_time,
)
from aerialworld_core.conditions import Conditions
from aerialworld_core.conditions_drawn import conditions_for
from aerialworld_core.plan import Plan
from aerialworld_core.provenance import provenance


@command
def simulate(
    world: WorldArgument,
    plans: Annotated[list[Path], typer.Argument(help="Plan files, one session each.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder that receives the sessions.", show_default=False)],
    rig: RigOption = None,
    grid_range: GridRangeOption = None,
    voxel_size: VoxelSizeOption = None,
    frame_rate: FrameRateOption = 2.0,
    modalities: ModalitiesOption = "images,depth,lidar,imu",
    keep: KeepOption = None,
    conditions: ConditionsOption = None,
    traffic: TrafficOption = None,
    seed: SeedOption = 0,
    backend: BackendOption = "auto",
    engine: EngineOption = "embedded",
    trust_collada: TrustColladaOption = False,
    resume: ResumeOption = False,
) -> None:
    """Render every sensor along each plan and record sessions: images, LiDAR, IMU, poses, 3-D occupancy.

    Runs in this process, faster or slower than real time; the same seed gives the same bytes. With --engine gazebo a
    Gazebo is started that renders at the plan's poses (docs/gazebo.md).
    """
    require_folder(out)
    wanted = conditions_from_option(conditions)
    options = RecordingOptions(
        grid_from_options(grid_range, voxel_size), frame_rate, modalities_from_option(modalities), seed,
        Conditions(), keep_from_option(keep), backend=backend,
        traffic=traffic_from_option(traffic), engine=engine,
    )  # fmt: skip
    loaded = open_world(world, trust_collada=trust_collada)
    runs = [(index, plan, rig_for(plan, rig)) for index, plan in enumerate(Plan.read(path) for path in plans)]
    require_space(
        out,
        sum(
            options.frames(p) * frame_bytes(r.recorded(options.modalities), options.grid, options.keep)
            for _, p, r in runs
        ),
        f"recording {len(runs)} session(s)",
    )
    out.mkdir(parents=True, exist_ok=True)
    for index, plan, chosen in runs:
        started = start_time(index)
        folder = out / session_name(plan.agent_type, index)
        options = replace(options, conditions=conditions_for(wanted, folder.name))
        unfinished = None
        if resume and folder.exists():
            if finished(folder, session_meta(plan, loaded, chosen, options, started), plan):
                note(f"{folder}: finished before, kept")
                say(str(folder))
                continue
            unfinished = folder
        with (
            kept(f"frames recorded so far are kept in {out}; go on with the same command and --resume"),
            meter(plan.name, options.frames(plan), "frames") as bar,
        ):
            path = record_plan(
                loaded, plan, chosen, out, options,
                started=started, provenance=provenance(), resume=unfinished, on_frame=bar.update,
            )  # fmt: skip
        say(str(path))

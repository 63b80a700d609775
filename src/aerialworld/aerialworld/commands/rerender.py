"""`aerialworld rerender`: old sessions' poses with other sensors, another grid, another time of day or weather."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.commands.session_folders import opened
from aerialworld.console import command, kept, note, say
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import (
    BackendOption,
    ConditionsOption,
    GridRangeOption,
    KeepOption,
    ModalitiesOption,
    ResumeOption,
    TrustColladaOption,
    VoxelSizeOption,
    conditions_from_option,
    frames_from_option,
    grid_from_options,
    keep_from_option,
    modalities_from_option,
    require_folder,
)
from aerialworld.progress import meter
from aerialworld.recording import frame_bytes, require_space
from aerialworld.rerender import Rerendering, RerenderOptions, begun, render_again
from aerialworld_core.conditions_drawn import conditions_for
from aerialworld_core.errors import InputError
from aerialworld_core.provenance import provenance


@command
def rerender(
    sessions: Annotated[
        list[Path], typer.Argument(help="Session folders, or folders that hold sessions.", show_default=False)
    ],
    world: Annotated[Path, typer.Option("--world", help="World folder they were recorded in.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder that receives the new sessions.", show_default=False)],
    rig: Annotated[
        str | None,
        typer.Option(
            "--rig", metavar="NAME|PATH", help="Sensor rig: a shipped model or an SDF file. Default: the session's."
        ),
    ] = None,
    conditions: ConditionsOption = None,
    modalities: ModalitiesOption = "images,depth,lidar,imu",
    keep: KeepOption = None,
    grid_range: GridRangeOption = None,
    voxel_size: VoxelSizeOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the noise. Default: the session's.")] = None,
    frames: Annotated[
        str | None, typer.Option("--frames", metavar="A:B", help="Frame numbers A to B − 1; either may be left out.")
    ] = None,
    another_world: Annotated[
        bool, typer.Option("--another-world", help="The world may be another than the recorded one.")
    ] = False,
    backend: BackendOption = "auto",
    trust_collada: TrustColladaOption = False,
    resume: ResumeOption = False,
) -> None:
    """Render recorded poses again, with another rig, grid, seed, time of day or weather, into new sessions.

    Stamps, poses, velocities and moving objects are the old ones. What is not given is as in the old session. IMU
    samples are taken over while rig and seed keep the IMU as it was, else they are simulated along the session's plan.
    """
    require_folder(out)
    sensors, kinds = modalities_from_option(modalities), keep_from_option(keep)
    numbers, wanted = frames_from_option(frames), None if conditions is None else conditions_from_option(conditions)
    if grid_range or voxel_size:
        grid_from_options(grid_range, voxel_size)  # refused now, not after the world is loaded
    sources = opened(sessions)
    loaded = open_world(world, trust_collada=trust_collada)
    other_rig = stage("aerialworld_core.world", "load_rig")(rig) if rig else None
    jobs = []
    for source in sources:
        grid = grid_from_options(grid_range, voxel_size, source.meta.grid)
        light = None if wanted is None else conditions_for(wanted, source.path.name)
        options = RerenderOptions(sensors, kinds, other_rig, grid, light, seed, numbers, another_world, backend)
        jobs.append(Rerendering(source, loaded, options))
    require_space(
        out,
        sum(len(j.indices) * frame_bytes(j.rig.recorded(sensors), j.grid, kinds) for j in jobs),
        f"rendering {len(jobs)} session(s) again",
    )
    out.mkdir(parents=True, exist_ok=True)
    for job in jobs:
        _tell(job)
        unfinished = begun(job, out) if resume else None
        if unfinished is not None and unfinished.meta.frames is not None:
            if len(unfinished) < len(job.indices):
                raise InputError(
                    f"{unfinished.path}: was finished, and {len(unfinished)} of {len(job.indices)} frames are left; "
                    "move it away to render it anew"
                )
            note(f"{unfinished.path}: finished before, kept")
            say(str(unfinished.path))
            continue
        with (
            kept(f"frames rendered so far are kept in {out}; go on with the same command and --resume"),
            meter(job.name, len(job.indices), "frames") as bar,
        ):
            path = render_again(
                job, out, provenance=provenance(), on_frame=bar.update,
                resume=None if unfinished is None else unfinished.path,
            )  # fmt: skip
        say(str(path))


def _tell(job: Rerendering) -> None:
    """What the new session will not show, or will show oddly."""
    gaps = job.indices[-1] - job.indices[0] + 1 - len(job.indices)
    if gaps:
        note(f"{job.name}: {gaps} ticks have no frame there, and will have none here")
    inside = job.poses_in_solids()
    if inside:
        note(f"{job.name}: {inside} of {len(job.indices)} poses lie inside a solid of this world", style="yellow")

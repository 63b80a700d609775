"""`aerialworld compare-engines`: the embedded engine beside Gazebo, at the poses of a plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from aerialworld.bringup.arguments import GAZEBO
from aerialworld.comparing import compare_engines as compared
from aerialworld.comparing import evenly
from aerialworld.console import command, say
from aerialworld.opened import open_world
from aerialworld.options import (
    GridRangeOption,
    RigOption,
    SeedOption,
    TrustColladaOption,
    VoxelSizeOption,
    WorldArgument,
    grid_from_options,
)
from aerialworld.progress import meter
from aerialworld.recording import RecordingOptions, rig_for, running_engine, start_time
from aerialworld_core.errors import AerialWorldError
from aerialworld_core.files import write_bytes
from aerialworld_core.plan import Plan


class EnginesDiffer(AerialWorldError):
    """A frame agrees less than was asked for."""


@command
def compare_engines(
    world: WorldArgument,
    plan: Annotated[Path, typer.Argument(help="Plan file: the poses.", show_default=False)],
    frames: Annotated[int, typer.Option("--frames", help="How many, spread over the plan.")] = 20,
    least: Annotated[float, typer.Option("--least", help="IoU of occupancy that every frame must have.")] = 0.95,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file with every frame's figures.")] = None,
    rig: RigOption = None,
    grid_range: GridRangeOption = None,
    voxel_size: VoxelSizeOption = None,
    seed: SeedOption = 0,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Compare what Gazebo and the embedded engine see at equal poses: depth, classes, and the occupancy made of them.

    Gazebo is started for it and ended (docs/gazebo.md). Fails when a frame's occupancy agrees less than --least.
    """
    grid = grid_from_options(grid_range, voxel_size)
    loaded, flown = open_world(world, trust_collada=trust_collada), Plan.read(plan)
    chosen = rig_for(flown, rig)
    stamps = evenly(flown.duration, frames, RecordingOptions(grid).period_ns)
    x, y = flown.position[0, :2]
    datum = float(loaded.datum(float(x), float(y)))
    started = start_time(0)
    both = [RecordingOptions(grid, seed=seed), RecordingOptions(grid, seed=seed, engine=GAZEBO)]
    with (
        running_engine(loaded, flown, chosen, both[0], started) as ours,
        running_engine(loaded, flown, chosen, both[1], started) as gazebo,
        meter(flown.name, len(stamps), "frames") as bar,
    ):
        found = compared(ours, gazebo, flown.vehicle, stamps, chosen, grid, datum, bar.update)
    if out:
        text = json.dumps({"world": loaded.name, "plan": flown.name, "frames": [f.to_dict() for f in found]}, indent=1)
        write_bytes(out, text.encode())
    say("    t [s]   IoU    depth median [m]  within 5 cm  missing  classes")
    for f in found:
        say(
            f"{f.stamp:9.2f}  {f.occupancy_iou:.4f}  {f.depth_median:15.5f}  {f.depth_agree:11.4f}  "
            f"{f.depth_missing:7.4f}  {f.class_agree:7.4f}"
        )
    worst = min(found, key=lambda f: f.occupancy_iou)
    if worst.occupancy_iou < least:
        raise EnginesDiffer(
            f"{world}: at {worst.stamp:.2f} s the occupancy of both agrees by {worst.occupancy_iou:.4f}, "
            f"less than {least:g}"
        )

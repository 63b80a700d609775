#!/usr/bin/env python3
"""From PLATEAU data to sessions in one command: `aerialworld generate` under the name that the guides use.

    python scripts/plateau_to_occworld.py --input 13100_tokyo23-ku_2022_citygml_1_3_op.zip --mesh 53392633 \\
        --output data/haneda --frames 500 --sessions 10
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld.commands.generate import DryRunOption, ReplanOption, WorkersOption
from aerialworld.console import command
from aerialworld.options import FrameRateOption, RigOption, SeedOption, VoxelSizeOption, numbers


@command
def main(
    source: Annotated[
        Path, typer.Option("--input", help="PLATEAU folder, zip or file, or a world folder.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--output", help="Folder of the data set.", show_default=False)],
    frames: Annotated[int, typer.Option("--frames", help="Frames per session.")] = 500,
    sessions: Annotated[int, typer.Option("--sessions", help="Sessions in all.")] = 10,
    mesh: Annotated[
        list[str] | None, typer.Option("--mesh", help="Convert only these meshes (JIS X 0410); may be repeated.")
    ] = None,
    rig: RigOption = None,
    frame_rate: FrameRateOption = 2.0,
    voxel_size: VoxelSizeOption = None,
    seed: SeedOption = 0,
    workers: WorkersOption = None,
    replan: ReplanOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Convert PLATEAU data, fly and drive through it, and record sessions for OccWorld, split by place.

    Does what `aerialworld generate` does with a campaign of this one world; a campaign file says more.
    """
    from aerialworld.campaign.run import RunOptions, generate
    from aerialworld.campaign.spec import parse_campaign

    world: dict[str, Any] = {"path": str(source)}
    if mesh:
        world["convert"] = {"mesh": mesh}
    data: dict[str, Any] = {"worlds": [world], "sessions": sessions, "frames": frames, "frame_rate": frame_rate}
    data["seeds"] = [seed]
    if rig is not None:
        data["rig"] = rig
    if voxel_size is not None:
        data["grid"] = {"voxel_size": list(numbers(voxel_size, 3, "--voxel-size"))}
    generate(parse_campaign(data, "options"), Path(), out, RunOptions(workers, (), replan, dry_run))


if __name__ == "__main__":
    typer.run(main)

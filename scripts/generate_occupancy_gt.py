#!/usr/bin/env python3
"""Occupancy ground truth of recorded sessions: `aerialworld session occupancy` under the name that the guides use.

python scripts/generate_occupancy_gt.py --input data/tokyo_gazebo --output data/occupancy
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.commands.session_parts import occupancy
from aerialworld.options import GridRangeOption, VoxelSizeOption


def main(
    source: Annotated[
        Path, typer.Option("--input", help="A session, or a folder that holds sessions.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--output", help="Folder that receives the new sessions.", show_default=False)],
    sensor: Annotated[str | None, typer.Option("--from", help="depth or lidar; default: depth if it was kept.")] = None,
    window: Annotated[int, typer.Option("--occupancy-window", min=1, help="Frames fused into one.")] = 1,
    grid_range: GridRangeOption = None,
    voxel_size: VoxelSizeOption = None,
) -> None:
    """Make the occupancy of recorded sessions anew, from their depth or LiDAR."""
    occupancy([source], out, sensor, window, grid_range, voxel_size)


if __name__ == "__main__":
    typer.run(main)

"""`aerialworld session export`: sessions in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld.commands.session_folders import Folders, counted, opened
from aerialworld.console import command, say
from aerialworld.lazy import stage
from aerialworld_core.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Write sessions in the formats of other tools.")


def _filled(folders: list[Path]) -> list[Any]:
    """Raises InputError for a session without a frame."""
    sessions = opened(folders)
    for one in sessions:
        if not one.frame_indices:
            raise InputError(f"{one.path}: the session has no finished frame; there is nothing to export")
    return sessions


@app.command(
    epilog="Examples: aerialworld session export mcap out/demo/sessions --out bags   |   "
    "aerialworld session export mcap run/drone_20240115_120000 run/rover_20240115_120000 --out both.mcap"
)
@command
def mcap(
    sessions: Folders,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder that receives one file per session, or a file NAME.mcap for all of them (one per vehicle).",
            show_default=False,
        ),
    ],
    layout: Annotated[bool, typer.Option(help="Write a Foxglove layout beside each file.")] = True,
) -> None:
    """MCAP files of standard ROS 2 messages, for Foxglove, rviz (ros2 bag play) and `aerialworld session import`.

    Images stay the JPEGs that they are; occupancy goes as foxglove_msgs/VoxelGrid and as a point cloud.
    """
    export_mcap = stage("aerialworld_recorder.bags.export", "export_mcap")
    filled = _filled(sessions)
    groups = {out: filled} if out.suffix == ".mcap" else {out / f"{s.path.resolve().name}.mcap": [s] for s in filled}
    if sum(len(group) for group in groups.values()) < len(filled):
        raise InputError(f"{out}: two of the sessions share a name; export them to folders of their own")
    with counted("export", filled) as count:
        for file, group in groups.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            export_mcap(group, file, on_frame=count, layout=layout)
    for file in groups:
        say(str(file))


OutFolder = Annotated[Path, typer.Option("--out", help="New folder of the data set.", show_default=False)]


def _export(kind: str, folders: list[Path], out: Path) -> None:
    """Write all sessions as one data set of the kind."""
    export = stage(f"aerialworld_recorder.exports.{kind}", f"export_{kind}")
    sessions = _filled(folders)
    with counted(f"export {kind}", sessions) as count:
        export(sessions, out, on_frame=count)
    say(str(out))


@app.command(epilog="Example: aerialworld session export nuscenes data --out nuscenes")
@command
def nuscenes(sessions: Folders, out: OutFolder) -> None:
    """nuScenes v1.0 tables and samples, for nuscenes-devkit and what is built on it."""
    _export("nuscenes", sessions, out)


@app.command(epilog="Example: aerialworld session export occ3d data --out occ3d")
@command
def occ3d(sessions: Folders, out: OutFolder) -> None:
    """Occ3D: labels.npz with semantics, mask_lidar and mask_camera, images, annotations.json."""
    _export("occ3d", sessions, out)


@app.command(epilog="Example: aerialworld session export uniocc data --out uniocc")
@command
def uniocc(sessions: Folders, out: OutFolder) -> None:
    """UniOcc: labels, camera masks and voxel flow, forward and backward, in N.npz files."""
    _export("uniocc", sessions, out)


@app.command(epilog="Example: aerialworld session export kitti data --out kitti")
@command
def kitti(sessions: Folders, out: OutFolder) -> None:
    """KITTI odometry sequences: front camera, LiDAR, calibration, poses; voxels as SemanticKITTI packs them."""
    _export("kitti", sessions, out)

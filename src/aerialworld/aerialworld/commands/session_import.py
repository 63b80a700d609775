"""`aerialworld session import`: bags of real or simulated vehicles become sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld.campaign.yaml_text import read_yaml
from aerialworld.console import command, note, say
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import (
    GridRangeOption,
    OptionError,
    TrustColladaOption,
    VoxelSizeOption,
    grid_from_options,
    numbers,
)
from aerialworld_core.errors import InputError
from aerialworld_core.provenance import provenance


@command
def import_(
    bag: Annotated[Path, typer.Argument(help="rosbag2 folder, .mcap or .db3 file.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder that receives the session.", show_default=False)],
    rig: Annotated[
        str | None,
        typer.Option(
            "--rig",
            metavar="NAME|PATH",
            help="Sensors that recorded it: a shipped model or an SDF file. Bags of `session export` carry theirs.",
        ),
    ] = None,
    topics_file: Annotated[
        Path | None, typer.Option("--map", help="YAML file of topics that are not named as ours (docs/bags.md).")
    ] = None,
    vehicle: Annotated[str | None, typer.Option("--vehicle", help="drone_N or rover_N.")] = None,
    world: Annotated[Path | None, typer.Option("--world", help="World folder: datum, terrain, place on earth.")] = None,
    datum: Annotated[float | None, typer.Option("--datum", help="Map z of the grid's zero, metres.")] = None,
    georeference: Annotated[
        str | None, typer.Option("--georeference", metavar="LAT,LON,HEIGHT", help="Where map's origin lies.")
    ] = None,
    frame_rate: Annotated[
        float | None, typer.Option("--frame-rate", help="Frames per second; default 2, or the exported session's.")
    ] = None,
    occupancy: Annotated[
        str | None,
        typer.Option("--occupancy", help="What it comes from: grid, depth or lidar; default: the first there."),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", help="Seconds between a frame and its sensors' stamps, at most.")
    ] = None,
    max_gap: Annotated[
        float,
        typer.Option("--max-gap", help="Seconds between two odometry messages around a pose, at most."),
    ] = 0.2,
    velocity: Annotated[
        str, typer.Option("--velocity", help="twist (of the odometry), or positions (where the twist is smoothed).")
    ] = "twist",
    grid_range: GridRangeOption = None,
    voxel_size: VoxelSizeOption = None,
    partial: Annotated[bool, typer.Option("--partial", help="Accept a damaged bag up to its damage.")] = False,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Make a session of a bag: rosbag2 (sqlite3, MCAP) of any ROS 2 distribution, or a plain MCAP file; no ROS needed.

    The decoders and the synchroniser are the recorder's. Without a world the datum is given or estimated, and marked.
    """
    choices = stage("aerialworld_recorder.bags.choices", "ImportOptions")
    place_of = stage("aerialworld_recorder.bags.description", "Place")
    if frame_rate is not None and not 0.01 <= frame_rate <= 100:
        raise OptionError(f"--frame-rate: {frame_rate} is not between 0.01 and 100 frames per second")
    if tolerance is not None and not 0 <= tolerance <= 10:
        raise OptionError(f"--tolerance: {tolerance} is not between 0 and 10 seconds")
    if not 0 < max_gap <= 60:
        raise OptionError(f"--max-gap: {max_gap} is not between 0 and 60 seconds")
    options = choices(
        vehicle=_vehicle(vehicle),
        rig=stage("aerialworld_core.world", "load_rig")(rig) if rig else None,
        topics=_topics(topics_file),
        source=occupancy,
        datum=datum,
        grid=grid_from_options(grid_range, voxel_size) if grid_range or voxel_size else None,
        georeference=_georeference(georeference),
        period_ns=round(1e9 / frame_rate) if frame_rate else None,
        tolerance_ns=None if tolerance is None else round(tolerance * 1e9),
        max_gap_ns=round(max_gap * 1e9),
        velocity=velocity,
        partial=partial,
    )
    place = place_of()
    if world is not None:
        loaded: Any = open_world(world, trust_collada=trust_collada)
        place = place_of(
            loaded.name, loaded.sha256, loaded.georeference, loaded.terrain_height, loaded.datum, loaded.attribution
        )
    result = stage("aerialworld_recorder.bags.importing", "import_bag")(
        bag, out, options, place=place, provenance=provenance()
    )
    for line in result.notes:
        note(f"{bag}: {line}", style="yellow")
    for text, count in result.bad.most_common(10):
        note(f"{bag}: {count} unusable: {text}", style="yellow")
    if result.dropped:
        lacking = ", ".join(f"{name} {count}" for name, count in result.dropped.most_common())
        note(f"{bag}: ticks without a frame, by what was missing: {lacking}", style="yellow")
    note(f"{result.frames} frames")
    for path in result.sessions:
        say(str(path))


def _vehicle(name: str | None) -> str | None:
    if name is not None and not (name.startswith(("drone", "rover")) and name.replace("_", "").isalnum()):
        raise OptionError(f"--vehicle: {name!r} is no name such as drone_1 or rover_2")
    return name


def _georeference(text: str | None) -> Any:
    if text is None:
        return None
    latitude, longitude, height = numbers(text, 3, "--georeference")
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise OptionError(f"--georeference: {text!r}: latitude is −90 to 90, longitude −180 to 180 degrees")
    return stage("aerialworld_core.frames", "Georeference")(latitude, longitude, height)


def _topics(path: Path | None) -> dict[str, str]:
    """The map file: a mapping from channels to topics."""
    if path is None:
        return {}
    data = read_yaml(path)
    if not isinstance(data, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in data.items()):
        raise InputError(f"{path}: needs lines such as `lidar: /velodyne/points`; channels are listed in docs/bags.md")
    bad = [topic for topic in data.values() if not topic.startswith("/") or len(topic) > 1000]
    if bad:
        raise InputError(f"{path}: {bad[0][:100]!r} is no topic; topics begin with /")
    return dict(data)

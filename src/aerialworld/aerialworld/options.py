"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from aerialworld_core.conditions import Conditions
from aerialworld_core.conditions_drawn import RandomConditions, read_conditions
from aerialworld_core.errors import InputError
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid
from aerialworld_core.session.layout import KEPT
from aerialworld_core.traffic import TrafficOptions

MODALITIES = ("images", "depth", "lidar", "imu")


class OptionError(InputError):
    """A value on the command line that cannot be used."""


def numbers(text: str, count: int, option: str) -> tuple[float, ...]:
    """`count` finite numbers separated by commas."""
    parts = text.replace(" ", "").split(",")
    try:
        values = tuple(float(p) for p in parts)
    except ValueError:
        raise OptionError(f"{option}: {text!r} is not {count} numbers separated by commas") from None
    if len(values) != count or not all(abs(v) < 1e12 for v in values):
        raise OptionError(f"{option}: needs {count} finite numbers separated by commas, not {text!r}")
    return values


def grid_from_options(grid_range: str | None, voxel_size: str | None, usual: VoxelGrid | None = None) -> VoxelGrid:
    """The voxel grid of --grid-range and --voxel-size; what is not given is that of `usual`, or of the default grid."""
    if usual is not None and not grid_range and not voxel_size:
        return usual
    wide = usual.range if usual else (-40.0, -40.0, -2.0, 40.0, 40.0, 150.0)
    bounds = numbers(grid_range, 6, "--grid-range") if grid_range else wide
    size = numbers(voxel_size, 3, "--voxel-size") if voxel_size else (usual or DEFAULT_GRID).voxel_size
    if any(lo >= hi for lo, hi in zip(bounds[:3], bounds[3:], strict=True)):
        raise OptionError(f"--grid-range: x0,y0,z0 must be below x1,y1,z1, not {','.join(map(str, bounds))}")
    return VoxelGrid.from_range(bounds, size)


def modalities_from_option(text: str) -> tuple[str, ...]:
    """Which sensors to render; depth is always there, because occupancy comes from it."""
    chosen = [m.strip() for m in text.split(",") if m.strip()]
    unknown = [m for m in chosen if m not in MODALITIES]
    if unknown or not chosen:
        raise OptionError(f"--modalities: {', '.join(unknown) or 'none given'}; known: {', '.join(MODALITIES)}")
    if "depth" not in chosen:
        raise OptionError("--modalities: depth is needed, because occupancy is projected from it")
    return tuple(m for m in MODALITIES if m in chosen)


def keep_from_option(text: str | None) -> tuple[str, ...]:
    """What to keep as files beside the session's own, in the layout's order."""
    chosen = [k.strip() for k in (text or "").split(",") if k.strip()]
    unknown = [k for k in chosen if k not in KEPT]
    if unknown or (text is not None and not chosen):
        raise OptionError(f"--keep: {', '.join(unknown) or 'none given'}; known: {', '.join(KEPT)}")
    return tuple(k for k in KEPT if k in chosen)


def frames_from_option(text: str | None) -> tuple[int | None, int | None]:
    """--frames A:B: the first number and the one past the last, None where left out."""
    if text is None:
        return None, None
    match = re.fullmatch(r"\s*(\d{1,9})?\s*:\s*(\d{1,9})?\s*", text)
    if match is None:
        raise OptionError(f"--frames: {text!r} is not A:B, two frame numbers of which either may be left out")
    first, end = (None if part is None else int(part) for part in match.groups())
    if end is not None and end <= (first or 0):
        raise OptionError(f"--frames: {text!r} holds no frame: B is one past the last")
    return first, end


def conditions_from_option(text: str | None) -> Conditions | RandomConditions:
    """--conditions: entries (local_time=07:30,date=2024-04-01), or a JSON or YAML file of them, where they may be drawn
    for each session (`randomise`)."""
    if text is None:
        return Conditions()
    try:
        if "=" in text and not Path(text).is_file():
            return Conditions.parse(text)
        return read_conditions(Path(text))
    except (InputError, ValueError) as error:
        raise OptionError(f"--conditions: {error}") from error


def traffic_from_option(text: str | None) -> TrafficOptions | None:
    """--traffic: cars=100,pedestrians=100,parked=0.3,seed=1; None where it is not given."""
    if text is None:
        return None
    try:
        return TrafficOptions.parse(text)
    except InputError as error:
        raise OptionError(f"--traffic: {error}") from error


def require_folder(out: Path) -> None:
    """Raises InputError where --out is something other than a folder, or than nothing yet."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder with --out")


def overrides_from_options(pairs: list[str]) -> list[str]:
    """Check the form key=value; the training package checks the keys and values."""
    for pair in pairs:
        if "=" not in pair or not pair.split("=", 1)[0].strip():
            raise OptionError(f"--set: {pair!r} is not key=value (example: --set stages.0.epochs=4)")
    return pairs


RigOption = Annotated[
    str | None,
    typer.Option(
        "--rig",
        metavar="NAME|PATH",
        help="Sensor rig: a shipped model (rig_drone, rig_rover, rig_small) or your own SDF file. "
        "Default: rig_drone for drones, rig_rover for rovers.",
    ),
]
GridRangeOption = Annotated[
    str | None,
    typer.Option(
        "--grid-range",
        metavar="X0,Y0,Z0,X1,Y1,Z1",
        help="Box of the voxel grid around the vehicle, metres; z above the session's datum. "
        "Default: -40,-40,-2,40,40,150.",
    ),
]
VoxelSizeOption = Annotated[
    str | None,
    typer.Option("--voxel-size", metavar="X,Y,Z", help="Edges of one voxel, metres. Default: 0.4,0.4,1.25."),
]
FrameRateOption = Annotated[float, typer.Option("--frame-rate", help="Frames per second of simulated time.")]
ModalitiesOption = Annotated[str, typer.Option("--modalities", help="What to record; depth is needed for occupancy.")]
KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="KIND,…",
        help="Also keep true images as PNG, of every camera and depth face: depth, semantic, instance; and boxes, in "
        "the picture and in space, of the moving objects that each camera sees.",
    ),
]
ConditionsOption = Annotated[
    str | None,
    typer.Option(
        "--conditions",
        metavar="ENTRIES|FILE",
        help="Time of day, weather and exposure: local_time=07:30,date=2024-04-01,weather=rain,rain_mm_h=20, or a JSON "
        "or YAML file of these, which may also draw them for each session (docs/conditions.md). Default: clear, with "
        "the sun that the world's SDF declares.",
    ),
]
TrafficOption = Annotated[
    str | None,
    typer.Option(
        "--traffic",
        metavar="ENTRIES",
        help="Vehicles and pedestrians on the world's roads: cars=100,pedestrians=20/km,parked=0.3,emergencies=6,"
        "seed=0. Default: none.",
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="What renders: embree (CPU), warp (CUDA; pip install 'aerialworld_sim\\[gpu]'), or auto: warp where there "
        "is a CUDA device.",
    ),
]
TrustColladaOption = Annotated[
    bool,
    typer.Option("--trust-collada", help="Read the world's COLLADA meshes (.dae); without it they are refused."),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Keep finished sessions in --out, go on with an unfinished one.")
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="What simulates: embedded, or gazebo (needs Gazebo and its Python bindings).",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Same seed, same bytes.")]
WorldArgument = Annotated[Path, typer.Argument(help="World folder (holds world.sdf).", show_default=False)]

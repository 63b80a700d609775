"""`aerialworld session`: look at recorded sessions and check that they tell the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from aerialworld.commands import session_export, session_parts
from aerialworld.commands.city import show
from aerialworld.commands.session_folders import Folders, sessions_in
from aerialworld.commands.session_import import import_
from aerialworld.console import OUT, command
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import TrustColladaOption
from aerialworld.progress import meter
from aerialworld_core.errors import InputError
from aerialworld_core.files import write_json

app = typer.Typer(no_args_is_help=True, help="Look at recorded sessions and check their content.")

app.add_typer(session_export.app, name="export")
app.command(
    "import",
    epilog="Examples: aerialworld session import run.mcap --out data   |   aerialworld session import flight/ "
    "--rig my_rig.sdf --map topics.yaml --vehicle drone_1 --out data",
)(import_)
app.command(epilog="Example: aerialworld session repair data --dry-run")(session_parts.repair)
app.command(epilog="Example: aerialworld session merge part_1 part_2 --out data")(session_parts.merge)
app.command(epilog="Example: aerialworld session split data/drone_20240115_120000 --every 200 --out parts")(
    session_parts.split
)
app.command(epilog="Example: aerialworld session stats data --json stats.json")(session_parts.stats)
app.command(
    epilog="Examples: aerialworld session view data/drone_20240115_120000   |   "
    "aerialworld session view data --frames 0:20 --save data.rrd"
)(session_parts.view)
app.command(epilog="Example: aerialworld session pack data")(session_parts.pack)
app.command(
    epilog="Examples: aerialworld session occupancy data --out fused --occupancy-window 5   |   "
    "aerialworld session occupancy data --out coarse --voxel-size 0.8,0.8,2.5 --from lidar"
)(session_parts.occupancy)


@app.command(
    epilog="Examples: aerialworld session validate out/demo/sessions   |   "
    "aerialworld session validate data/drone_20240115_120000 --world out/demo/world --truth-frames 5"
)
@command
def validate(
    folders: Folders,
    world: Annotated[
        Path | None, typer.Option("--world", help="World folder: also check against its geometry.")
    ] = None,
    truth_frames: Annotated[
        int, typer.Option("--truth-frames", min=0, help="Frames per session to score recall and precision on.")
    ] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all reports to this file.")] = None,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Check content, not only shapes: hashes, motion, LiDAR against occupancy, trivial baselines.

    With --world also: poses outside solids, recall and precision of the occupied voxels. Exit code 1 if a check fails.
    """
    if truth_frames and world is None:
        raise InputError("--truth-frames: needs --world, because recall and precision are measured against its mesh")
    loaded = open_world(world, trust_collada=trust_collada) if world else None
    check = stage("aerialworld_core.session", "validate")
    reports: dict[str, dict[str, Any]] = {}
    paths = sessions_in(folders)
    with meter("validate", len(paths), "sessions") as bar:
        for done, path in enumerate(paths, 1):
            reports[str(path)] = check(path, world=loaded, truth_frames=truth_frames).to_dict()
            bar.update(done, path.name)
    print_reports(reports)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_json(json_file, reports)
    if not all(r["ok"] for r in reports.values()):
        raise typer.Exit(1)


@app.command(epilog="Example: aerialworld session info out/demo/sessions")
@command
def info(folders: Folders) -> None:
    """Tell what sessions hold: vehicle, engine, grid, rig, frames, sizes."""
    session_info = stage("aerialworld_core.session", "session_info")
    for path in sessions_in(folders):
        show(str(path), session_info(path))


def print_reports(reports: dict[str, dict[str, Any]]) -> None:
    """Each session's verdict with its main figures, errors and warnings."""
    from aerialworld.report.checks import check_table

    checks = check_table(reports)
    for (name, report), row in zip(reports.items(), checks["rows"], strict=True):
        OUT.print(f"{'[bold green]ok[/]' if report['ok'] else '[bold red]not ok[/]'}  [bold]{escape(name)}[/]")
        figures = (f"{title} {cell}" for title, cell in zip(checks["columns"], row["cells"], strict=True))
        OUT.print("  " + escape(", ".join(figures)))
        for line in report["errors"]:
            OUT.print(f"  [red]error:[/] {escape(line)}")
        for line in report["warnings"]:
            OUT.print(f"  [yellow]warning:[/] {escape(line)}")

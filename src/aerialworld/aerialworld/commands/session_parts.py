"""`aerialworld session repair|merge|split|stats|pack|occupancy`: new sessions, figures and caches of recorded ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.commands.city import show
from aerialworld.commands.session_folders import Folders, counted, opened, sessions_in
from aerialworld.console import command, note, say
from aerialworld.lazy import stage
from aerialworld.options import GridRangeOption, VoxelSizeOption, frames_from_option, grid_from_options
from aerialworld_core.errors import InputError
from aerialworld_core.files import write_json
from aerialworld_core.provenance import provenance

OutOption = Annotated[Path, typer.Option("--out", help="Folder that receives the new sessions.", show_default=False)]


@command
def repair(
    folders: Folders,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
) -> None:
    """Make unfinished or damaged sessions whole: sound frames stay, damaged ones are moved to NAME.damaged beside.

    Leftovers of writers that were stopped are deleted and the session is closed. What is recorded is not changed.
    """
    repair_session = stage("aerialworld_core.session.repair", "repair_session")
    for path in sessions_in(folders):
        found = repair_session(path, dry_run=dry_run)
        verb = "would be" if dry_run else "were"
        if not found.needed:
            say(f"{path}: whole")
            continue
        say(f"{path}: {'needs repair' if dry_run else 'repaired'}")
        for index, damage in found.damaged.items():
            note(f"  frame {index} is damaged: {damage[0]}" + (f" (and {len(damage) - 1} more)" if damage[1:] else ""))
        if found.damaged:
            note(f"  {len(found.damaged)} frames {verb} moved" + (f" to {found.aside}" if found.aside else ""))
        if found.unfinished:
            note(f"  {len(found.unfinished)} frames were begun and not finished; their files {verb} deleted")
        if found.temporary:
            note(f"  {found.temporary} temporary files {verb} deleted")


@command
def merge(folders: Folders, out: OutOption) -> None:
    """Put parts of one vehicle's recording together; the time between them shows as dropped ticks."""
    sessions = opened(folders)
    merge_sessions = stage("aerialworld_core.session.merge", "merge_sessions")
    with counted("merge", sessions) as count:
        say(str(merge_sessions(sessions, out, provenance=provenance(), on_frame=count)))


@command
def split(
    session: Annotated[Path, typer.Argument(help="Session folder.", show_default=False)],
    out: OutOption,
    at: Annotated[
        list[int] | None, typer.Option("--at", help="Frame number with which a new part begins; may be repeated.")
    ] = None,
    every: Annotated[int | None, typer.Option("--every", min=1, help="A new part every so many ticks.")] = None,
) -> None:
    """Cut a session into several; stamps stay, each part counts its frames from 0."""
    sources = opened([session])
    if len(sources) > 1:
        raise InputError(f"{session}: holds several sessions; name one")
    if bool(at) == (every is not None):
        raise InputError("say where to cut: --at FRAME (may be repeated), or --every TICKS")
    frames = sources[0].frame_indices
    begins = at or list(range(frames[0] + every, frames[-1] + 1, every) if frames and every else ())
    split_session = stage("aerialworld_core.session.merge", "split_session")
    with counted("split", sources) as count:
        for path in split_session(sources[0], out, begins, provenance=provenance(), on_frame=count):
            say(str(path))


@command
def stats(
    folders: Folders,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Figures of recorded data: frames, distances, speeds, heights, classes of voxels, bytes."""
    module = stage("aerialworld_core.session.stats")
    paths = sessions_in(folders)
    found = []
    with counted("stats", opened(folders)) as count:
        for path in paths:
            found.append(module.session_stats(path, on_frame=count))
    for path, figures in zip(paths, found, strict=True):
        show(str(path), figures)
    total = module.added(found)
    if len(found) > 1:
        show("all", total)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_json(json_file, {"sessions": found, "all": total})


@command
def pack(
    folders: Folders,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the pack. Default: session_pack beside the sessions.")
    ] = None,
) -> None:
    """Make a cache of voxels and poses that training reads without inflating: bit-packed, memory-mapped.

    Training uses it while it is beside the sessions and they are unchanged; it never takes their place.
    """
    module = stage("aerialworld_core.session.pack")
    paths = sessions_in(folders)
    parents = {p.absolute().parent for p in paths}
    if out is None and len(parents) > 1:
        raise InputError("the sessions lie in several folders: pack each folder of its own, or say --out")
    target = out or parents.pop() / module.FOLDER
    with counted("pack", opened(folders)) as count:
        made = module.write_pack(paths, target, on_frame=count)
    note(f"{len(made.names)} sessions, {made.manifest['frames']} frames")
    say(str(made.path))


@command
def occupancy(
    folders: Folders,
    out: OutOption,
    source: Annotated[
        str | None,
        typer.Option("--from", help="depth (kept with --keep depth,semantic) or lidar; default: depth if kept."),
    ] = None,
    window: Annotated[
        int,
        typer.Option(
            "--occupancy-window",
            min=1,
            help="Frames fused into one by their poses: what stands still of the neighbours, what moves of the frame.",
        ),
    ] = 1,
    grid_range: GridRangeOption = None,
    voxel_size: VoxelSizeOption = None,
    datum: Annotated[float | None, typer.Option("--datum", help="Another map z of the grid's zero, metres.")] = None,
) -> None:
    """Make sessions' occupancy anew, from their recorded depth or LiDAR, in new sessions; all else stays as it is."""
    again = stage("aerialworld_recorder.again", "occupancy_again")
    sessions = opened(folders)
    with counted("occupancy", sessions) as count:
        for session in sessions:
            grid = grid_from_options(grid_range, voxel_size, session.meta.grid)
            path = again(
                session, out, grid=grid, datum=datum, source=source, window=window, provenance=provenance(),
                on_frame=count,
            )  # fmt: skip
            say(str(path))


@command
def view(
    folders: Folders,
    save: Annotated[
        Path | None, typer.Option("--save", help="Write a Rerun file (.rrd) instead of showing it.")
    ] = None,
    frames: Annotated[str | None, typer.Option("--frames", help="A:B, the frames from A on and before B.")] = None,
) -> None:
    """Look at sessions in Rerun: cameras, LiDAR, voxels as boxes by class, the path. Needs aerialworld\\[view]."""
    sessions = opened(folders)
    with counted("view", sessions) as count:
        stage("aerialworld.view", "view_sessions")(
            sessions, save=save, frames=frames_from_option(frames), on_frame=count
        )
    if save is not None:
        say(str(save))

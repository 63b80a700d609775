"""`aerialworld reproduce`: an evaluation's table again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, say
from aerialworld.lazy import stage
from aerialworld.progress import meter
from aerialworld_core.errors import InputError


@command
def reproduce(
    table: Annotated[Path, typer.Argument(help="evaluation.json or its folder.", show_default=False)],
    sessions: Annotated[Path | None, typer.Option("--sessions", help="Where the sessions are now.")] = None,
    work_dir: Annotated[Path | None, typer.Option("--work-dir", help="Where the model is now.")] = None,
    world: Annotated[Path | None, typer.Option("--world", help="Where the world is now, for full truth.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="For the new table. Default: FOLDER/reproduced.")] = None,
) -> None:
    """Make an evaluation's table again from the same model and sessions, and compare the bytes.

    Inputs are compared by their hashes first. Where they lie, provenance.json beside the table says, or the options.

    Exit code 1, with a list, when inputs or table differ.
    """
    if not table.exists():
        raise InputError(f"{table}: no such table")
    folder = table if table.is_dir() else table.parent
    module = stage("aerialworld_training.reproduce")
    with meter("reproduce", 1.0) as bar:
        again = module.reproduce(
            table, out or folder / "reproduced", module.Inputs(sessions, work_dir, world),
            lambda what, fraction: bar.update(fraction, what),
        )  # fmt: skip
    say(f"{again}: the same bytes")

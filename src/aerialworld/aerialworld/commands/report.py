"""`aerialworld report`: the page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, say
from aerialworld.lazy import stage
from aerialworld_core.errors import InputError


@command
def report(
    run_dir: Annotated[Path, typer.Argument(help="A demo's run folder.", show_default=False)],
) -> None:
    """Write report.html anew from what the run folder holds: one self-contained page, nothing is fetched."""
    if not run_dir.is_dir():
        raise InputError(f"{run_dir}: no such run folder")
    say(str(stage("aerialworld.report", "write_report")(run_dir)))

"""`aerialworld generate`: a whole data set from one campaign file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, say
from aerialworld.options import OptionError

WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Worker processes. Default: the processors available.")
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="NAME", help="Make only this session of the campaign; may be repeated."),
]
ReplanOption = Annotated[
    bool,
    typer.Option(
        "--replan",
        help="The campaign has changed: plan anew, keep the sessions that stay the same, delete the others.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only tell what would be made, where, and how large; write nothing.")
]


@command
def generate(
    campaign: Annotated[
        Path | None, typer.Argument(help="Campaign file (YAML); see --example.", metavar="CAMPAIGN.yaml")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the data set. Default: out/NAME of the campaign file.")
    ] = None,
    workers: WorkersOption = None,
    only: OnlyOption = None,
    replan: ReplanOption = False,
    dry_run: DryRunOption = False,
    example: Annotated[bool, typer.Option("--example", help="Print a campaign file with comments.")] = False,
) -> None:
    """Make a data set: many sessions over worlds, missions, seeds and conditions, split by place, with its card.

    Runs in several processes; after any interruption the same command goes on. The same campaign gives the same bytes.
    """
    from aerialworld.campaign.example import EXAMPLE
    from aerialworld.campaign.run import RunOptions, default_out
    from aerialworld.campaign.run import generate as run
    from aerialworld.campaign.spec import read_campaign

    if example:
        say(EXAMPLE.rstrip())
        return
    if campaign is None:
        raise OptionError("which campaign? give its file; --example prints one to start from")
    run(
        read_campaign(campaign),
        campaign.parent,
        out or default_out(campaign),
        RunOptions(workers, tuple(only or ()), replan, dry_run),
    )

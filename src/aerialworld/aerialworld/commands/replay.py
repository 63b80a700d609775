"""`aerialworld replay`: fly a logged run again and say whether it is the same, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from aerialworld.console import command, note, say
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import TrustColladaOption


@command
def replay(
    log: Annotated[Path, typer.Argument(help="Flight log (JSON lines).", show_default=False)],
    world: Annotated[
        Path | None, typer.Option("--world", help="World folder that the run was flown in.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Fly a logged run again and compare every logged state bit for bit. Exit code 1 when it is not the same."""
    loaded = open_world(world, trust_collada=trust_collada) if world is not None else None
    found = stage("aerialworld_sim.vehicles.flight_replay", "replay")(
        log, world=loaded, world_sha256=loaded.sha256 if loaded is not None else None
    )
    for line in found.notes:
        note(line, style="yellow")
    if as_json:
        facts = ("states", "commands", "seconds", "complete", "differing", "first", "farthest", "exact")
        say(json.dumps({name: getattr(found, name) for name in facts}))
    elif found.exact:
        say(f"{log}: {found.commands} commands, {found.states} states over {found.seconds:g} s: all the same")
    else:
        say(f"{log}: {found.differing} of {found.states} states differ, by {found.farthest:.3g} m at most")
        if found.first:
            say(found.first)
    if not found.exact:
        raise typer.Exit(1)

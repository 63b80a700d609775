"""`aerialworld mission`: collision-free paths through a world."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld.console import command, note, say
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import OptionError, SeedOption, TrustColladaOption, WorldArgument, numbers
from aerialworld_core.files import write_bytes

app = typer.Typer(no_args_is_help=True, help="Plan flights and drives that touch nothing.")


class Pattern(StrEnum):
    survey = "survey"
    orbit = "orbit"
    road = "road"


#: Options that each pattern takes; any other one given is an error, never ignored.
TAKES = {
    Pattern.survey: {"size", "spacing", "altitude", "speed", "centre", "duration"},
    Pattern.orbit: {"radius", "altitude", "speed", "centre", "duration"},
    Pattern.road: {"size", "speed", "centre", "duration"},
}


@app.callback()
def _group() -> None:
    """Keep `mission plan` a subcommand even while it is the only one."""


@app.command(
    epilog="Examples: aerialworld mission plan world --pattern survey --size 100 --altitude 30 --out plan.json"
    "   |   aerialworld mission plan world --pattern road --duration 60 --out rover.json --picture map.png"
)
@command
def plan(
    world: WorldArgument,
    pattern: Annotated[Pattern, typer.Option("--pattern", help="survey and orbit fly, road drives.")],
    out: Annotated[Path, typer.Option("--out", help="Plan file (JSON) to write.", show_default=False)],
    size: Annotated[float | None, typer.Option("--size", help="Edge of the survey's or the drive's square, m.")] = None,
    spacing: Annotated[float | None, typer.Option("--spacing", help="Distance between survey lines, m.")] = None,
    altitude: Annotated[float | None, typer.Option("--altitude", help="Height above ground, m.")] = None,
    radius: Annotated[float | None, typer.Option("--radius", help="Radius of the orbit, m.")] = None,
    speed: Annotated[float | None, typer.Option("--speed", help="m/s.")] = None,
    centre: Annotated[
        str | None, typer.Option("--centre", metavar="X,Y", help="Map coordinates, m. Default: the world's middle.")
    ] = None,
    duration: Annotated[float | None, typer.Option("--duration", help="Cut the run to this many seconds.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the plan. Default: the pattern.")] = None,
    place: Annotated[str, typer.Option("--place", help="Name of the place; splits are made by place.")] = "A",
    seed: SeedOption = 0,
    picture: Annotated[Path | None, typer.Option("--picture", help="Also draw a map (PNG).")] = None,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Plan one run and write it as JSON: timed poses, clear of buildings and ground.

    What cannot be flown or driven is refused with the reason.
    """
    given: dict[str, Any] = {
        "size": size, "spacing": spacing, "altitude": altitude, "radius": radius, "speed": speed,
        "centre": numbers(centre, 2, "--centre") if centre else None, "duration": duration,
    }  # fmt: skip
    given = {k: v for k, v in given.items() if v is not None}
    unused = sorted(set(given) - TAKES[pattern])
    if unused:
        raise OptionError(
            f"--{unused[0]}: a {pattern} does not use it; it takes --{', --'.join(sorted(TAKES[pattern]))}"
        )
    for key, value in given.items():
        if key != "centre" and not (math.isfinite(value) and value > 0):
            raise OptionError(f"--{key}: {value} is not a positive number")
    loaded = open_world(world, trust_collada=trust_collada)
    planned = make_plan(loaded, pattern, given, name=name or str(pattern), place=place, seed=seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    planned.write(out)
    length = float(_length(planned))
    note(f"{planned.name}: {planned.duration:.1f} s, {length:.0f} m, {len(planned.t)} knots")
    if picture:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(picture, stage("aerialworld_missions", "draw")([planned], loaded, None))
        note(f"map: {picture}")
    say(str(out))


def make_plan(world: Any, pattern: Pattern, given: dict[str, Any], *, name: str, place: str, seed: int) -> Any:
    """Call the planner of `pattern` with what was given; the planner's own defaults hold for the rest."""
    common = {"name": name, "place": place, "seed": seed}
    if "centre" not in given:
        given = {**given, "centre": tuple(float(v) for v in world.bounds[:, :2].mean(axis=0))}
    if pattern is Pattern.survey:
        return stage("aerialworld_missions", "survey")(world, **common, **given)
    if pattern is Pattern.orbit:
        return stage("aerialworld_missions", "orbit")(world, **common, **given)
    return stage("aerialworld_missions", "road_run")(world, **common, **given)


def _length(plan: Any) -> float:
    import numpy as np

    return float(np.linalg.norm(np.diff(plan.position, axis=0), axis=1).sum())

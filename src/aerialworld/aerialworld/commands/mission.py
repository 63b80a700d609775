"""`aerialworld mission`: collision-free paths through a world."""

from __future__ import annotations

from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import typer

from aerialworld import planning, shown_plan
from aerialworld.console import command, note, say
from aerialworld.lazy import stage
from aerialworld.opened import open_world
from aerialworld.options import OptionError, SeedOption, TrustColladaOption, WorldArgument
from aerialworld_core.files import dump_json, write_bytes

app = typer.Typer(no_args_is_help=True, help="Plan flights and drives that touch nothing.")
_ASKED = "aerialworld_missions.asked"


class Pattern(StrEnum):
    survey = "survey"
    orbit = "orbit"
    figure8 = "figure8"
    corridor = "corridor"
    random = "random"
    waypoints = "waypoints"
    road = "road"
    roads = "roads"
    patrol = "patrol"


class AltitudeFrame(StrEnum):
    ground = "ground"
    home = "home"


class Avoid(StrEnum):
    up = "raise"
    bend = "bend"
    refuse = "refuse"


Text = str | None
Number = float | None


@app.command(
    epilog="Examples: aerialworld mission plan world --pattern survey --size 100 --altitude 30 --out plan.json"
    "   |   aerialworld mission plan world --pattern survey --area field.geojson --overlap 0.7 --out plan.json"
    '   |   aerialworld mission plan world --pattern corridor --line "0,0 80,20 150,0" --avoid bend --out plan.json'
    "   |   aerialworld mission plan world --pattern waypoints --file mission.plan --out plan.json"
    "   |   aerialworld mission plan world --pattern roads --duration 60 --out rover.json --picture map.png"
)
@command
def plan(
    world: WorldArgument,
    pattern: Annotated[
        Pattern,
        typer.Option(
            "--pattern",
            help="survey (lanes), orbit, figure8, corridor (a line), random (seeded exploration) and waypoints (a "
            "file) fly; road (roams), roads (lanes of the city) and patrol (round posts) drive.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Plan file (JSON) to write.", show_default=False)],
    size: Annotated[
        Text, typer.Option("--size", metavar="M|M,M", help="Edge of the box, or along and across the lanes, m.")
    ] = None,
    spacing: Annotated[Number, typer.Option("--spacing", help="Greatest distance between survey lanes, m.")] = None,
    overlap: Annotated[
        Number, typer.Option("--overlap", help="Instead: share of the rig's swath seen from two lanes, 0 to 0.95.")
    ] = None,
    rig: Annotated[
        Text, typer.Option("--rig", metavar="NAME|PATH", help="Whose sight --overlap is a share of. [rig_drone]")
    ] = None,
    altitude: Annotated[Number, typer.Option("--altitude", help="Height above ground or home, m.")] = None,
    altitude_frame: Annotated[
        AltitudeFrame | None,
        typer.Option("--altitude-frame", help="ground: followed, the default; home: level, over the start's ground."),
    ] = None,
    radius: Annotated[Number, typer.Option("--radius", help="Of the orbit or of each circle of the eight, m.")] = None,
    turns: Annotated[Number, typer.Option("--turns", help="How many times round.")] = None,
    heading: Annotated[
        Number, typer.Option("--heading", help="Of the first lane, or through the eight: degrees, 0 = east.")
    ] = None,
    look: Annotated[Text, typer.Option("--look", metavar="path|centre|X,Y", help="Where the vehicle looks.")] = None,
    start: Annotated[Number, typer.Option("--start", help="Where an orbit begins, degrees, 0 = east.")] = None,
    clockwise: Annotated[bool, typer.Option("--clockwise", help="Orbit the other way, seen from above.")] = False,
    speed: Annotated[Number, typer.Option("--speed", help="m/s.")] = None,
    centre: Annotated[
        Text, typer.Option("--centre", metavar="X,Y", help="Map coordinates, m. Default: the world's middle.")
    ] = None,
    area: Annotated[
        Text, typer.Option("--area", metavar="FILE|POINTS", help="Polygon: GeoJSON, or map points 'x,y x,y …'.")
    ] = None,
    line: Annotated[
        Text, typer.Option("--line", metavar="FILE|POINTS", help="A corridor's line: GeoJSON, or map points.")
    ] = None,
    road: Annotated[
        Text, typer.Option("--road", metavar="X,Y", help="Instead of --line: along the road nearest to this place.")
    ] = None,
    length: Annotated[Number, typer.Option("--length", help="Metres of road that a corridor follows.")] = None,
    offset: Annotated[
        Number, typer.Option("--offset", help="Metres to the left of the line that a corridor is flown at.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Waypoints: QGroundControl's .plan or .waypoints, or .geojson."),
    ] = None,
    posts: Annotated[
        Text, typer.Option("--posts", metavar="FILE|POINTS", help="What a patrol drives round. Default: four, drawn.")
    ] = None,
    vary: Annotated[
        Number, typer.Option("--vary", help="Share by which a random flight's altitude goes up and down.")
    ] = None,
    clearance: Annotated[Number, typer.Option("--clearance", help="Metres kept from buildings.")] = None,
    avoid: Annotated[
        Avoid | None,
        typer.Option("--avoid", help="Buildings in the way: raise the altitude, bend the path (lines), or refuse."),
    ] = None,
    fence: Annotated[
        Text,
        typer.Option(
            "--fence",
            metavar="W,S,E,N|FILE",
            help="What it never leaves: a box in map, or a GeoJSON polygon. Default: the world's bounds.",
        ),
    ] = None,
    ceiling: Annotated[
        Number, typer.Option("--ceiling", help="Metres above the lowest ground not to rise over.")
    ] = None,
    duration: Annotated[
        Number, typer.Option("--duration", help="Seconds: cut there, or go on until then where the pattern can.")
    ] = None,
    vehicle: Annotated[
        Text, typer.Option("--vehicle", help="drone, drone_2, rover … Default: what the pattern is for.")
    ] = None,
    jitter: Annotated[
        bool, typer.Option("--jitter", help="Vary start, direction, altitude and speed by the seed.")
    ] = False,
    name: Annotated[Text, typer.Option("--name", help="Name of the plan. Default: the pattern.")] = None,
    place: Annotated[str, typer.Option("--place", help="Name of the place; splits are made by place.")] = "A",
    seed: SeedOption = 0,
    picture: Annotated[Path | None, typer.Option("--picture", help="Also draw a map (PNG).")] = None,
    export: Annotated[
        list[Path] | None,
        typer.Option(
            "--export", help="Also write for ground stations and maps: .plan, .waypoints, .geojson. Repeatable."
        ),
    ] = None,
    trust_collada: TrustColladaOption = False,
) -> None:
    """Plan one run and write it as JSON: timed poses, clear of buildings and ground.

    What cannot be flown or driven is refused with the reason. docs/missions.md tells all.
    """
    options: dict[str, Any] = {
        "size": size, "spacing": spacing, "overlap": overlap, "rig": rig, "altitude": altitude,
        "altitude_frame": altitude_frame and str(altitude_frame), "radius": radius, "turns": turns,
        "heading": heading, "look": look, "start": start, "clockwise": clockwise, "speed": speed, "centre": centre,
        "area": area, "line": line, "road": road, "road_length": length, "offset": offset, "posts": posts,
        "vary": vary, "clearance": clearance, "avoid": avoid and str(avoid), "fence": fence, "ceiling": ceiling,
        "duration": duration, "jitter": jitter, "vehicle": vehicle,
    }  # fmt: skip
    if (file is None) == (pattern is Pattern.waypoints):
        raise OptionError(
            "--file: waypoints are read from a file; give --file" if file is None else f"--file: a {pattern} reads none"
        )
    if overlap is not None and rig is None:
        options["rig"] = "rig_drone"
    _check_kind(pattern, vehicle)
    opened = cache(partial(open_world, world, trust_collada=trust_collada))
    given = planning.asked(str(pattern), opened, options)
    given |= {"name": name or str(pattern), "place": place, "seed": seed}
    loaded = opened()
    if file is not None:
        planned, notes = stage(_ASKED, "plan_of_file")(loaded, file, given)
        for text in notes:
            note(f"{file}: {text}", style="yellow")
    else:
        if vehicle is not None:
            given["vehicle"] = stage(_ASKED, "vehicle_named")(vehicle, stage(_ASKED, "PATTERNS")[str(pattern)][1])
        planned = stage(_ASKED, "plan_of")(loaded, str(pattern), given)
    out.parent.mkdir(parents=True, exist_ok=True)
    planned.write(out)
    note(shown_plan.summary(planned))
    if picture:
        _draw(planned, loaded, picture)
    for path in export or ():
        stage("aerialworld_missions.mission_files", "export")(planned, path, loaded)
        note(f"{path.suffix[1:]}: {path}")
    say(str(out))


@app.command(
    epilog="Examples: aerialworld mission show plan.json   |   aerialworld mission show plan.json --world world "
    "--picture map.png   |   aerialworld mission show mission.plan --world world --json"
)
@command
def show(
    plan: Annotated[
        Path, typer.Argument(help="A plan (JSON), or a .plan, .waypoints or .geojson.", show_default=False)
    ],
    world: Annotated[
        Path | None,
        typer.Option("--world", help="World folder: tells clearances and heights over ground; draws --picture."),
    ] = None,
    waypoints: Annotated[
        bool, typer.Option("--waypoints", help="List the waypoints that an autopilot is given.")
    ] = False,
    picture: Annotated[Path | None, typer.Option("--picture", help="Draw a map (PNG); needs --world.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
    trust_collada: TrustColladaOption = False,
) -> None:
    """What a plan does: length, time, speeds, heights, its waypoints; with a world how near it comes to what."""
    if picture and world is None:
        raise OptionError("--picture: a map needs --world")
    loaded = open_world(world, trust_collada=trust_collada) if world else None
    read = shown_plan.read(plan, loaded)
    figures = shown_plan.figures(read, loaded, waypoints=waypoints)
    if as_json:
        say(dump_json(figures).decode().rstrip())
    else:
        for row in shown_plan.rows(figures):
            say(row)
    if picture:
        _draw(read, loaded, picture)


def _check_kind(pattern: Pattern, vehicle: str | None) -> None:
    """Refuse an unknown vehicle before a world is loaded; waypoints are for both kinds."""
    if vehicle is None:
        return
    kinds = stage(_ASKED, "PATTERNS")[str(pattern)][1]
    if pattern is Pattern.waypoints and vehicle.startswith("rover"):
        kinds = "rover"
    stage(_ASKED, "vehicle_named")(vehicle, kinds)


def _draw(planned: Any, world: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, stage("aerialworld_missions", "draw")([planned], world, None))
    note(f"map: {path}")

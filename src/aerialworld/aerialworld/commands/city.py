"""`aerialworld city`: city models in, SDF worlds out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from aerialworld.console import OUT, command, kept, say
from aerialworld.lazy import stage
from aerialworld.options import OptionError, SeedOption, numbers
from aerialworld.progress import meter

app = typer.Typer(no_args_is_help=True, help="Turn a city model (PLATEAU CityGML or OBJ) into an SDF world.")


@app.command(epilog="Example: aerialworld city generate out/city --seed 7")
@command
def generate(
    out: Annotated[Path, typer.Argument(help="Folder for the CityGML data set.", show_default=False)],
    seed: SeedOption = 0,
) -> None:
    """Write the small city that AerialWorld makes itself: CityGML in PLATEAU's form, no real place.

    A few dozen LOD1 and LOD2 buildings in two blocks, roads, and terrain with gentle hills.
    """
    folder = stage("aerialworld_city.synthetic.generate", "generate_city")(out, seed)
    say(str(folder))


@app.command(
    epilog="Examples: aerialworld city convert 13100_tokyo23-ku/ --out worlds/tokyo   |   "
    "aerialworld city convert tile.obj --crs 6677 --out worlds/tile"
)
@command
def convert(
    source: Annotated[
        Path, typer.Argument(help="A .gml or .obj file, or a PLATEAU folder (udx/… or OBJ files).", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="World folder to write.", show_default=False)],
    crs: Annotated[
        int | None,
        typer.Option("--crs", help="EPSG code of the source, when the file does not say it (OBJ: 6669-6687)."),
    ] = None,
    origin: Annotated[
        str | None, typer.Option("--origin", metavar="LAT,LON", help="Where map's origin lies. Default: the middle.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first broken building.")] = False,
    chunk: Annotated[float, typer.Option("--chunk", help="Edge of one model's square, metres.")] = 250.0,
) -> None:
    """Convert a city model into a world folder that the embedded engine and Gazebo load.

    The folder appears under its name only when it is complete.
    """
    place = numbers(origin, 2, "--origin") if origin else None
    if place and not (-90 <= place[0] <= 90 and -180 <= place[1] <= 180):
        raise OptionError(f"--origin: {origin} is not a latitude and a longitude in degrees")
    if not 10.0 <= chunk <= 100_000.0:
        raise OptionError(f"--chunk: {chunk} m is not between 10 and 100,000 m")
    with kept(f"nothing was written to {out}"), meter("city", 1.0) as bar:
        report = stage("aerialworld_city.convert", "convert")(
            source, out, crs=crs, origin=place, strict=strict, chunk=chunk, progress=lambda what, f: bar.update(f, what)
        )
    show("conversion", report.to_dict())
    say(str(out))


@app.command(epilog="Example: aerialworld city info 13100_tokyo23-ku/")
@command
def info(source: Annotated[Path, typer.Argument(help="A .gml or .obj file, or a folder.", show_default=False)]) -> None:
    """Tell what a city model holds: files, modules, levels of detail, extent, reference system."""
    show(str(source), stage("aerialworld_city.inspect", "city_info")(source))


def show(title: str, data: dict[str, Any]) -> None:
    """A dictionary as a table of two columns; long lists are counted, not printed."""
    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in _flat(data):
        table.add_row(key.replace("_", " "), value, end_section=False)
    OUT.print(table, markup=False)


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    from rich.markup import escape

    rows: list[tuple[str, str]] = []
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{name}.")
        elif isinstance(value, list | tuple) and len(value) > 8:
            rows.append((escape(name), f"{len(value)} entries"))
        elif isinstance(value, float):
            rows.append((escape(name), f"{value:.6g}"))
        else:
            rows.append((escape(name), escape(str(value))))
    return rows

"""`aerialworld city`: city models in, SDF worlds out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from aerialworld.commands.city_tables import info_table, report_table, sets_table, show
from aerialworld.console import OUT, command, kept, note, say
from aerialworld.lazy import stage
from aerialworld.options import OptionError, SeedOption, numbers
from aerialworld.progress import meter
from aerialworld_core.errors import AerialWorldError, InputError

__all__ = ["app", "show"]

app = typer.Typer(
    no_args_is_help=True,
    help="Turn a city model (PLATEAU CityGML, OBJ or another mesh) into an SDF world.",
    epilog="Start with: aerialworld city info SOURCE   |   then: aerialworld city convert SOURCE --out worlds/mine",
)

_SELECTION, _GEOGRAPHY, _LOOKS, _RUNNING = "Which part", "Where it lies", "How it is written", "How it runs"
_RADIUS = 300.0
_SOURCE_HELP = (
    "Files (.gml, .obj, .glb and other meshes), a PLATEAU data set's folder (udx/…) or its .zip; several are one city."
)

SourcesArgument = Annotated[list[Path], typer.Argument(help=_SOURCE_HELP, show_default=False)]
MeshOption = Annotated[
    list[str] | None,
    typer.Option(
        "--mesh",
        metavar="CODE[,CODE…]",
        help="Meshes of JIS X 0410 (4, 6, 8, 9 or 10 digits); may be repeated. Only their files are opened.",
        rich_help_panel=_SELECTION,
    ),
]
BboxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bbox",
        metavar="LON,LAT,LON,LAT",
        help="A box: west, south, east, north in degrees; may be repeated.",
        rich_help_panel=_SELECTION,
    ),
]
AroundOption = Annotated[
    list[str] | None,
    typer.Option(
        "--around",
        metavar="LAT,LON",
        help="A circle about this place, degrees; may be repeated.",
        rich_help_panel=_SELECTION,
    ),
]
RadiusOption = Annotated[
    float | None,
    typer.Option("--radius", help="Radius of --around, metres. Default: 300.", rich_help_panel=_SELECTION),
]
ModulesOption = Annotated[
    str | None,
    typer.Option(
        "--modules",
        metavar="NAMES",
        help="PLATEAU modules to read, comma-separated: bldg,brid,tran,dem,veg,frn,wtr. Default: all of these.",
        rich_help_panel=_SELECTION,
    ),
]
LodOption = Annotated[
    str,
    typer.Option(
        "--lod",
        metavar="auto|1|2|3",
        help="Highest level of detail that is taken; auto takes the best of each object.",
        rich_help_panel=_SELECTION,
    ),
]
CrsOption = Annotated[
    str | None,
    typer.Option(
        "--crs",
        metavar="EPSG",
        help="Plane system of the world, and of files that name none: a plane zone (6669-6687) or another one in "
        "metres. Default: found from the city's code or place.",
        rich_help_panel=_GEOGRAPHY,
    ),
]
OriginOption = Annotated[
    str | None,
    typer.Option(
        "--origin",
        metavar="LAT,LON",
        help="Where map's origin lies. Default: the middle of the city. For a mesh without --crs: the place of its "
        "own origin.",
        rich_help_panel=_GEOGRAPHY,
    ),
]
UpOption = Annotated[
    str | None,
    typer.Option(
        "--up",
        metavar="y|z",
        help="Axis that points up in mesh files. Default: y for glTF, else z.",
        rich_help_panel=_GEOGRAPHY,
    ),
]


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
    epilog="Examples:\n\n"
    "aerialworld city convert 13100_tokyo23-ku_2022_citygml_1_3_op.zip --mesh 53394525 --out worlds/shinjuku\n\n"
    "aerialworld city convert 27100_osaka-shi/ --around 34.6937,135.5023 --radius 300 --out worlds/osaka\n\n"
    "aerialworld city convert udx/bldg/*.gml udx/dem/*.gml --lod 1 --no-textures --out worlds/plain\n\n"
    "aerialworld city convert tile_bldg.obj tile_dem.obj --crs 6677 --out worlds/tile\n\n"
    "aerialworld city convert campus.glb --origin 35.7130,139.7620 --out worlds/campus"
)
@command
def convert(
    sources: SourcesArgument,
    out: Annotated[Path, typer.Option("--out", help="World folder to write.", show_default=False)],
    mesh: MeshOption = None,
    bbox: BboxOption = None,
    around: AroundOption = None,
    radius: RadiusOption = None,
    modules: ModulesOption = None,
    lod: LodOption = "auto",
    crs: CrsOption = None,
    origin: OriginOption = None,
    up: UpOption = None,
    chunk: Annotated[
        float,
        typer.Option("--chunk", help="Edge of the square that becomes one model, metres.", rich_help_panel=_LOOKS),
    ] = 250.0,
    per_building: Annotated[
        bool, typer.Option("--per-building", help="One model per building.", rich_help_panel=_LOOKS)
    ] = False,
    terrain: Annotated[
        str, typer.Option("--terrain", metavar="mesh|heightmap", help="Form of the ground.", rich_help_panel=_LOOKS)
    ] = "mesh",
    target_faces: Annotated[
        int,
        typer.Option(
            "--target-faces",
            help="Faces per model to come down to, as far as no surface moves by more than --max-deviation.",
            rich_help_panel=_LOOKS,
        ),
    ] = 10_000,
    max_deviation: Annotated[
        float,
        typer.Option("--max-deviation", help="How far simplifying may move a surface, metres.", rich_help_panel=_LOOKS),
    ] = 0.1,
    max_texture_size: Annotated[
        int, typer.Option("--max-texture-size", help="Longest side of a photograph, pixels.", rich_help_panel=_LOOKS)
    ] = 2048,
    no_textures: Annotated[
        bool, typer.Option("--no-textures", help="Draw façades instead of using photographs.", rich_help_panel=_LOOKS)
    ] = False,
    no_preview: Annotated[
        bool, typer.Option("--no-preview", help="Write no preview pictures.", rich_help_panel=_LOOKS)
    ] = False,
    attribution: Annotated[
        str | None,
        typer.Option(
            "--attribution",
            metavar="TEXT",
            help="Whom the data is owed to, for city.json and the pictures. Default: told from the sources.",
            rich_help_panel=_LOOKS,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", help="Processes. Default: by the size of the source.", rich_help_panel=_RUNNING),
    ] = None,
    no_keep_tiles: Annotated[
        bool,
        typer.Option(
            "--no-keep-tiles",
            help="Do not keep what was read (.tiles in the world folder); the next run then reads every file again.",
            rich_help_panel=_RUNNING,
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop at the first broken object, with exit code 2.", rich_help_panel=_RUNNING),
    ] = False,
) -> None:
    """Convert city models into a world folder that the embedded engine and Gazebo load.

    Every vertex stays where its coordinates say; what is broken is skipped and reported. The folder appears under its
    name only when it is complete; run again after a change, only what changed is converted.
    """
    where = _Where(mesh, bbox, around, radius, modules, lod, crs, origin, up)
    options = _options(
        where,
        chunk=chunk,
        per_building=per_building,
        terrain=terrain,
        target_faces=target_faces,
        max_deviation=max_deviation,
        max_texture_size=max_texture_size,
        textures=not no_textures,
        preview=not no_preview,
        attribution=attribution,
        workers=workers,
        keep_tiles=not no_keep_tiles,
        strict=strict,
    )
    with kept(f"{out} was not written; run the same command again to go on"), meter("city", 1.0) as bar:
        report = stage("aerialworld_city.convert", "convert")(
            sources, out, options, progress=lambda what, share: bar.update(share, what)
        )
    OUT.print(report_table(report.to_dict(), out), emoji=False)
    _where_to_go_next(out)
    say(str(out))


@app.command(
    epilog="Examples: aerialworld city info 13100_tokyo23-ku_2022_citygml_1_3_op.zip --mesh 53394525   |   "
    "aerialworld city info tile.gml --json"
)
@command
def info(
    sources: SourcesArgument,
    mesh: MeshOption = None,
    bbox: BboxOption = None,
    around: AroundOption = None,
    radius: RadiusOption = None,
    modules: ModulesOption = None,
    lod: LodOption = "auto",
    crs: CrsOption = None,
    origin: OriginOption = None,
    up: UpOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
) -> None:
    """Tell what a city model holds: objects by level of detail, extent, reference system, version, textures.

    With the options of `convert`, tells of what they select. A file that cannot be read is listed with its error.
    """
    where = _Where(mesh, bbox, around, radius, modules, lod, crs, origin, up)
    options = _options(where)
    with meter("reading", 1.0) as bar:
        found = stage("aerialworld_city.inspect", "city_info")(
            sources, options, progress=lambda name, share: bar.update(share, name)
        )
    if as_json:
        OUT.out(json.dumps(found, ensure_ascii=False, indent=1), highlight=False)
    else:
        OUT.print(info_table(found), emoji=False)


@app.command(epilog="Example: aerialworld city preview worlds/shinjuku --out pictures")
@command
def preview(
    world: Annotated[Path, typer.Argument(help="World folder (holds world.sdf).", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the pictures. Default: the world's.")] = None,
) -> None:
    """Draw a world as the embedded engine loads it: from above and obliquely, two PNG pictures."""
    from aerialworld_core.files import write_bytes

    pictures = stage("aerialworld_city.writing.preview", "render_previews")(world)
    for picture in pictures:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            write_bytes(out / picture.name, picture.read_bytes())
        say(str((out or picture.parent) / picture.name))


@app.command(
    epilog="Examples: aerialworld city download --list --city 東京   |   "
    "aerialworld city download --city 13100 --year 2022 --out data"
)
@command
def download(
    city: Annotated[
        str | None,
        typer.Option("--city", metavar="CODE|NAME", help="Municipality: five-digit code, or its name (東京, 大阪市)."),
    ] = None,
    year: Annotated[int | None, typer.Option("--year", help="Year of the data set. Default: its newest.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the archive.")] = Path("data"),
    listing: Annotated[bool, typer.Option("--list", help="List what there is instead of fetching it.")] = False,
    format_: Annotated[str, typer.Option("--format", metavar="citygml", help="Form of the data.")] = "citygml",
    catalogue: Annotated[
        str | None, typer.Option("--catalogue", metavar="URL", help="Another catalogue than PLATEAU's own (a mirror).")
    ] = None,
) -> None:
    """Fetch a city's CityGML from PLATEAU's official catalogue: one zip per municipality and year.

    Ctrl-C keeps what came; the same command goes on there. Length, checksums and every member of the zip are checked.
    """
    if format_ != "citygml":
        raise OptionError(
            f"--format: {format_!r} is not in the catalogue, which lists citygml; OBJ releases are downloaded by hand "
            "from https://www.geospatial.jp/ckan/dataset/plateau"
        )
    if not listing and not city:
        raise OptionError("--city: which city? give its five-digit code or name, or --list")
    rooms = stage("aerialworld_city.sources.catalogue")
    address = catalogue or rooms.OFFICIAL
    try:
        stage("aerialworld_city.sources.http", "check_url")(address, given=address)
    except AerialWorldError as error:
        raise OptionError(f"--catalogue: {error}") from error
    sets = rooms.read_catalogue(address)
    if listing:
        OUT.print(sets_table(rooms.search(sets, city, year)), emoji=False)
        return
    _fetch(rooms.choose(sets, city, year), out, address)


def _fetch(chosen: Any, out: Path, given: str) -> None:
    fetch = stage("aerialworld_city.sources.download", "download")
    target = out / chosen.file_name
    note(f"{chosen.prefecture} {chosen.city}, {chosen.year}: {chosen.url}")
    total = chosen.size / 1e6 if chosen.size else 1.0  # MB, or the whole where the catalogue states no size

    def tell(done: int, whole: int | None, what: str) -> None:
        bar.update(done / whole * total if whole else 0.0, what or None)

    unit = "MB" if chosen.size else ""
    with (
        kept(f"what came is kept beside {target}; the same command goes on there"),
        meter("download", total, unit) as bar,
    ):
        path = fetch(chosen.url, target, size=chosen.size, sha256=chosen.sha256, given=given, progress=tell)
    note(f"look into it: aerialworld city info {path}")
    say(str(path))


# -- options ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Where:
    """The options that choose a part of the source and say where it lies, as they stand on the command line."""

    mesh: list[str] | None
    bbox: list[str] | None
    around: list[str] | None
    radius: float | None
    modules: str | None
    lod: str
    crs: str | None
    origin: str | None
    up: str | None


def _options(where: _Where, **others: Any) -> Any:
    """ConversionOptions; what cannot be is named as it stands on the command line."""
    kind = stage("aerialworld_city.options", "ConversionOptions")
    values: dict[str, Any] = {"region": _region(where), "lod": where.lod, "up": where.up, **others}
    if where.modules is not None:
        values["modules"] = tuple(dict.fromkeys(m.strip() for m in where.modules.split(",") if m.strip()))
    if where.crs is not None:
        values["crs"] = _epsg(where.crs)
    if where.origin is not None:
        values["origin"] = numbers(where.origin, 2, "--origin")
    try:
        return kind(**values)
    except InputError as error:
        name, _, rest = str(error).partition(" ")
        raise OptionError(f"--{name.replace('_', '-')} {rest}") from error


def _region(where: _Where) -> Any:
    codes = [c.strip() for text in where.mesh or [] for c in text.split(",") if c.strip()]
    boxes = [numbers(text, 4, "--bbox") for text in where.bbox or []]
    radius = _RADIUS if where.radius is None else where.radius
    circles = [(*numbers(text, 2, "--around"), radius) for text in where.around or []]
    if where.radius is not None and not circles:
        raise OptionError("--radius: of what? give the circle's middle with --around LAT,LON")
    if where.mesh and not codes:
        raise OptionError("--mesh: give at least one mesh code")
    if not (codes or boxes or circles):
        return None
    try:
        return stage("aerialworld_city.sources.region", "region")(codes, boxes, circles)
    except InputError as error:
        text = str(error)
        option = next((o for o in ("bbox", "around", "radius") if text.startswith(o)), "mesh")
        raise OptionError(f"--{option} {text.removeprefix(option).strip()}") from error


def _epsg(text: str) -> int:
    digits = text.strip().upper().removeprefix("EPSG:")
    if not (digits.isascii() and digits.isdigit()):
        raise OptionError(f"--crs: {text!r} is not an EPSG code; give a number, for example 6677")
    return int(digits[:9])


def _where_to_go_next(out: Path) -> None:
    models, world, folder = (quote(str(path)) for path in (out.resolve() / "models", out / "world.sdf", out))
    note(f"Gazebo: GZ_SIM_RESOURCE_PATH={models} gz sim {world}")
    note(
        f"embedded engine: aerialworld mission plan {folder} --pattern survey --out plan.json, then "
        f"aerialworld simulate {folder} plan.json --out sessions"
    )

"""From the paths of a campaign to world folders: worlds are taken as they are, sources are converted first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aerialworld.campaign.spec import Campaign, ConvertSpec, WorldSpec
from aerialworld.campaign.yaml_text import CampaignError
from aerialworld.console import kept, note
from aerialworld.demo.fingerprint import of_data
from aerialworld.lazy import stage
from aerialworld.progress import meter
from aerialworld_core.errors import InputError
from aerialworld_core.files import read_json, write_json
from aerialworld_core.provenance import versions

#: Below the output folder: worlds that were converted here.
WORLDS = "worlds"


@dataclass(frozen=True)
class WorldFolder:
    """A world of a campaign: its name there, its folder (or SDF file), and whether the campaign converts it itself."""

    name: str
    path: Path
    source: Path | None = None
    convert: ConvertSpec | None = None


def find_worlds(campaign: Campaign, base: Path, out: Path) -> list[WorldFolder]:
    """The campaign's worlds in its order; `base` is what relative paths start from. Nothing is converted yet.

    Raises CampaignError for what is missing, for `convert` of a ready world, and for two worlds of one name.
    """
    found: list[WorldFolder] = []
    for index, spec in enumerate(campaign.worlds):
        key = f"worlds[{index}]"
        path = Path(os.path.normpath(base / spec.path))
        if not path.exists():
            raise CampaignError(f"{key}: {path}: no such file or folder")
        ready = (path.is_file() and path.suffix == ".sdf") or (path / "world.sdf").is_file()
        name = spec.name or _name(path, ready, key)
        if ready and spec.convert is not None:
            raise CampaignError(f"{key}: {path} is a world already; convert is for sources")
        if ready:
            found.append(WorldFolder(name, path))
        else:
            found.append(WorldFolder(name, out / WORLDS / name, path, spec.convert or ConvertSpec()))
    names = [w.name for w in found]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise CampaignError(f"worlds[{index}]: a second world called {name}; give it a name: of its own")
    return found


def _name(path: Path, ready: bool, key: str) -> str:
    """The folder's name, as far as names go."""
    own = (path.parent if ready and path.is_file() else path).resolve()
    name = "".join(c if c.isalnum() or c in "_.+-" else "_" for c in (own.stem if own.is_file() else own.name))
    try:
        return str(WorldSpec.model_validate({"path": "x", "name": name[:60].lstrip("_.+-")}).name)
    except ValueError as error:
        raise CampaignError(f"{key}: {path} has no usable name; give one with name:") from error


def is_made(world: WorldFolder, made: Path, state: Path) -> bool:
    """Whether `made` is the world of just this source, these options and these versions, as `state` notes it."""
    try:
        noted = read_json(state).get("made_of")
    except (FileNotFoundError, ValueError, AttributeError):
        return False  # never converted, or its note is damaged: convert
    return (made / "world.sdf").is_file() and noted == _made_of(world)


def _made_of(world: WorldFolder) -> str:
    assert world.source is not None and world.convert is not None
    return of_data(
        {
            "source": _stamps(world.source),
            "convert": world.convert.model_dump(),
            "versions": {k: v for k, v in versions().items() if k in ("aerialworld_core", "aerialworld_city")},
        }
    )


def convert_source(world: WorldFolder, state: Path, workers: int | None) -> None:
    """Make `world.path` of its source, unless `state` says that it was made of just that with these versions."""
    assert world.source is not None and world.convert is not None
    if is_made(world, world.path, state):
        return
    made_of = _made_of(world)
    world.path.parent.mkdir(parents=True, exist_ok=True)
    with (
        kept("finished worlds are kept; go on with the same command"),
        meter(f"convert {world.name}", 1.0) as bar,
    ):
        report = stage("aerialworld_city.convert", "convert")(
            world.source,
            world.path,
            _options(world.convert, workers),
            progress=lambda what, share: bar.update(share, what),
        )
    figures = report.to_dict()
    if figures.get("skipped"):
        note(f"{world.path}: what was skipped in the conversion is in conversion_report.json", style="yellow")
    state.parent.mkdir(parents=True, exist_ok=True)
    write_json(state, {"made_of": made_of})


def _options(spec: ConvertSpec, workers: int | None) -> Any:
    values: dict[str, Any] = {"lod": spec.lod, "crs": spec.crs, "workers": workers, "keep_tiles": False}
    if spec.modules is not None:
        values["modules"] = spec.modules
    circles = [(*spec.around, spec.radius)] if spec.around else []
    boxes = [spec.bbox] if spec.bbox else []
    try:
        if spec.mesh or boxes or circles:
            values["region"] = stage("aerialworld_city.sources.region", "region")(spec.mesh, boxes, circles)
        return stage("aerialworld_city.options", "ConversionOptions")(**values)
    except InputError as error:
        raise CampaignError(f"worlds: convert: {error}") from error


def _stamps(source: Path) -> list[Any]:
    """Names, sizes and times of a source's files: what changes when it does, without reading gigabytes."""
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    if not files:
        raise CampaignError(f"{source}: an empty folder; give a world folder or a city's files")
    entries: list[Any] = []
    for file in files:
        status = file.stat()
        entries.append([file.relative_to(source).as_posix(), status.st_size, status.st_mtime_ns])
    return entries

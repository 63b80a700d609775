"""A file of a city model, and what its name and its folders say about it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from aerialworld_city.kinds import MODULES
from aerialworld_city.sources import meshcode
from aerialworld_core.errors import AerialWorldError
from aerialworld_core.files import open_regular

Format = Literal["citygml", "obj", "mesh"]

GML_SUFFIXES = (".gml", ".citygml")
MESH_SUFFIXES = (".glb", ".gltf", ".stl", ".ply", ".off")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")

#: Modules of the PLATEAU standard product specification that are not converted.
OTHER_MODULES = (
    "luse", "urf", "lsld", "fld", "htd", "tnm", "ifld", "rfld", "unf", "cons", "area", "gen", "ubld", "tun",
)  # fmt: skip
#: Railways, tracks, squares and waterways are of CityGML's transportation module as well.
_ALSO_TRAN = {"rwy": "tran", "trk": "tran", "squr": "tran", "wwy": "tran"}
_CONVERTED = {**{m: m for m in MODULES}, **_ALSO_TRAN}
_NAMES = {**_CONVERTED, **{m: m for m in OTHER_MODULES}}
#: "area", "gen" and the like are words of everyday names: they count after a mesh code, or as a folder below `udx`.
_IN_STEM = re.compile(rf"_({'|'.join(_CONVERTED)})(?=_|$)|^\d{{4,10}}_({'|'.join(OTHER_MODULES)})(?=_|$)")
_LOD = re.compile(r"(?:^|_)lod([1-4])(?=_|$)", re.IGNORECASE)
#: The data set's folder or archive: municipality, its name, (city or pref,) year, as in 13100_tokyo23-ku_2022_citygml.
_DATA_SET = re.compile(r"(?:^|[-_ ])((?:0[1-9]|[1-3]\d|4[0-7])\d{3})_[a-z][a-z0-9-]*_(?:[a-z]+_)?20\d\d(?=_|$)")


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    `name` is its path relative to the source ("/" between parts), for reports; `module` PLATEAU's ("" where neither
    name nor folder says it; OBJ and mesh files are "bldg" or "dem"); `format` which reader it is for; `root` the folder
    that no reference in it may leave; `mesh` the mesh code in its name; `lod` the level that an OBJ release's folder
    states; `archive` the zip that it was unpacked from, below `root`.
    """

    path: Path
    name: str
    module: str
    format: Format
    root: Path
    mesh: str | None = None
    lod: int | None = None
    archive: Path | None = None

    @property
    def shown(self) -> str:
        """What the file is called in messages."""
        return self.said(str(self.path))

    def said(self, text: str) -> str:
        """A text with the archive's name where it names the folder that the archive was unpacked into."""
        if self.archive is None:
            return text
        for root in {str(self.root), str(self.root.resolve())}:
            text = text.replace(f"{root}/", f"{self.archive}: ")
        return text

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Errors raised within name the file as the user knows it."""
        try:
            yield
        except AerialWorldError as error:
            error.args = tuple(self.said(a) if isinstance(a, str) else a for a in error.args)
            raise

    def fingerprint(self) -> dict[str, Any]:
        """Name, size and sha256, as in city.json."""
        with open_regular(self.path) as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return {"name": self.name, "bytes": self.path.stat().st_size, "sha256": digest}


@dataclass(frozen=True)
class Described:
    """What a name says: `module` "" where nothing does."""

    format: Format
    module: str
    mesh: str | None
    lod: int | None


def describe(name: PurePosixPath) -> Described | None:
    """By the name of a file within its source (its folders count); None where it is no city file."""
    suffix = name.suffix.lower()
    mesh = meshcode.in_name(name.stem)
    module = module_of(name)
    if suffix in GML_SUFFIXES:
        return Described("citygml", module, mesh, None)
    if suffix == ".obj" or suffix in MESH_SUFFIXES:
        return Described("obj" if suffix == ".obj" else "mesh", module or "bldg", mesh, _level(name))
    return None


def module_of(name: PurePosixPath) -> str:
    """The module that the file's name states, else the nearest of its folders, else ""."""
    match = _IN_STEM.search(name.stem.lower())
    if match:
        return _NAMES[match[1] or match[2]]
    folders = [folder.lower() for folder in name.parts[:-1]]
    for number in reversed(range(len(folders))):
        known = _NAMES if "udx" in folders[:number] else _CONVERTED
        if folders[number] in known:
            return known[folders[number]]
    return ""


def _level(name: PurePosixPath) -> int | None:
    for part in (name.stem, *reversed(name.parts[:-1])):
        match = _LOD.search(part)
        if match:
            return int(match[1])
    return None


def municipality_of(name: str) -> str | None:
    """The five-digit code in the name of a data set's folder or archive."""
    match = _DATA_SET.search(name.lower())
    return match[1] if match else None


def stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a file, by which a change is noticed without reading it; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns

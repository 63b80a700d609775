"""Which files of a source are read: one file, a CityGML data set, or a folder with OBJ files."""

from __future__ import annotations

import re
from pathlib import Path

from aerialworld_city.sources.files import SourceFile
from aerialworld_core.errors import InputError

#: The modules that are converted; the order is the order of reading.
MODULES = ("bldg", "tran", "dem")
_KNOWN = re.compile(
    r"_(bldg|tran|dem|brid|frn|veg|wtr|luse|urf|lsld|fld|htd|tnm|ifld|rfld|squr|rwy|trk|unf|cons|area|gen|ubld)_"
)
_FOLDERS = {
    "bldg",
    "tran",
    "dem",
    "brid",
    "frn",
    "veg",
    "wtr",
    "luse",
    "urf",
    "lsld",
    "fld",
    "htd",
    "tnm",
    "unf",
    "gen",
}
_MAX_FILES = 20_000


def _file(path: Path, name: str, module: str) -> SourceFile:
    return SourceFile(path, name, module, "obj" if module.startswith("obj") else "citygml", path.parent)


def find_sources(source: Path) -> tuple[list[SourceFile], list[str]]:
    """The files to read, in reading order, and the names of city files that are passed over.

    A folder's CityGML is taken before its OBJ files. Raises InputError: missing, another kind of file, nothing to read.
    """
    source = Path(source)
    if source.is_file():
        suffix = source.suffix.lower()
        if suffix in (".gml", ".xml", ".citygml"):
            return [_file(source, source.name, _module(source) or "")], []
        if suffix == ".obj":
            return [_file(source, source.name, _obj_module(source))], []
        raise InputError(
            f"{source}: not a city model that can be read; give a .gml or .obj file, or a data set's folder"
        )
    if source.exists() and not source.is_dir():
        raise InputError(f"{source}: a pipe or device, not a file; give a .gml or .obj file, or a data set's folder")
    if not source.is_dir():
        raise InputError(f"{source}: no such file or folder; give a .gml or .obj file, or a data set's folder")
    files = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".gml", ".obj") and p.is_file())
    if len(files) > _MAX_FILES:
        raise InputError(f"{source}: holds {len(files)} city files (at most {_MAX_FILES}); choose a smaller folder")
    found, passed = [], []
    for path in files:
        name = path.relative_to(source).as_posix()
        if path.suffix.lower() == ".obj":
            found.append(_file(path, name, _obj_module(path)))
            continue
        module = _module(path)
        if module is not None and module not in MODULES:
            passed.append(name)
        else:
            found.append(_file(path, name, module or ""))
    gml = [f for f in found if not f.module.startswith("obj")]
    if gml:
        passed += [f.name for f in found if f.module.startswith("obj")]
        found = gml
    if not found:
        what = f"; {len(passed)} files of other kinds" if passed else ""
        raise InputError(f"{source}: holds no building, road or terrain file (*.gml, *.obj){what}")
    order = {"bldg": 0, "": 1, "tran": 2, "dem": 3, "obj": 0, "obj-dem": 1}
    return sorted(found, key=lambda f: (order[f.module], f.name)), passed


def _module(path: Path) -> str | None:
    """The module that a file's name or folder states; None where neither does."""
    match = _KNOWN.search(path.stem + "_")
    if match:
        return match[1]
    return path.parent.name if path.parent.name in _FOLDERS else None


def _obj_module(path: Path) -> str:
    return "obj-dem" if "_dem_" in f"{path.stem}_" else "obj"

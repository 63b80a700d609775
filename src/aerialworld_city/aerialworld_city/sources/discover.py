"""What the user pointed at, as a list of files to read: files, folders, data sets, zip archives."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.sax.saxutils import unescape

from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.archive import Archive
from aerialworld_city.sources.files import (
    GML_SUFFIXES,
    IMAGE_SUFFIXES,
    SourceFile,
    describe,
    municipality_of,
)
from aerialworld_city.sources.old_discover import find_sources
from aerialworld_city.sources.select import Candidate, candidates, select
from aerialworld_core.errors import InputError

__all__ = ["SourceFile", "Sources", "find_sources", "open_sources"]

MAX_FILES = 20_000
_MAX_FOUND = 1_000_000
_MAX_CODELIST_BYTES = 16 * 1024 * 1024
#: Folders without city files, some with very many others.
_NOT_ENTERED = re.compile(
    r"\..*|__MACOSX|codelists?|metadata|schemas?|specification|.*_appearance|.*_textures?", re.IGNORECASE
)
_IMAGE_URI = re.compile(rb"imageURI>\s*([^<]{1,1000}?)\s*<")
_KINDS = "a .gml, .obj, .glb or other mesh file, a data set's folder, or its .zip"


@dataclass(frozen=True)
class Sources:
    """The files to read, in reading order, and what was left aside.

    `passed_over` are lines for the report; `name` is a name for the world; `city_code` the five-digit code of the
    municipality that the data set's name states, None where there is none or more than one.
    """

    files: list[SourceFile]
    passed_over: list[str]
    name: str
    city_code: str | None


@dataclass
class _Found:
    """What one given path holds: `base` a folder (of the files, or to be unpacked into) or the file's own."""

    path: Path
    base: Path
    chosen: list[Candidate]
    passed: list[str]
    archive: Archive | None = None
    notes: list[str] = field(default_factory=list)


@contextmanager
def open_sources(paths: Sequence[Path], options: ConversionOptions, work: Path) -> Iterator[Sources]:
    """The files of one or several files, folders or zip archives that the options select.

    Members of archives are unpacked into a folder of their own below `work`, which is removed at the end. Names are
    unique over all paths. Raises InputError (missing, of another kind, nothing to read: with what there is instead),
    UnsafeInputError (an archive that could harm), StorageError (no room to unpack).
    """
    with ExitStack() as stack:
        found = [_look(Path(path), options, stack) for path in _distinct(paths)]
        _refuse_nothing(found, options)
        unpacked = Path(stack.enter_context(_folder_in(Path(work)))) if any(f.archive for f in found) else Path(work)
        prefixes = _prefixes(found)
        files: list[SourceFile] = []
        passed: list[str] = []
        for number, (one, prefix) in enumerate(zip(found, prefixes, strict=True)):
            files += _files(one, prefix, unpacked / str(number), options)
            passed += [prefix + line for line in one.passed + one.notes]
        yield Sources(files, passed, _name(found), _city_code(found))


# -- looking ------------------------------------------------------------------------------------------------------


def _distinct(paths: Sequence[Path]) -> list[Path]:
    """Each place once, in the order given."""
    if not paths:
        raise InputError(f"no source given; give {_KINDS}")
    return list({os.path.realpath(path): Path(path) for path in reversed(list(paths))}.values())[::-1]


def _look(path: Path, options: ConversionOptions, stack: ExitStack) -> _Found:
    try:
        if path.is_dir():
            return _look_in_folder(path, options)
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; give {_KINDS}")
        if not path.is_file():
            raise InputError(f"{path}: a pipe or device, not a file; give {_KINDS}")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return _look_in_archive(path, options, stack)
    if suffix == ".xml" or suffix in GML_SUFFIXES:
        says = describe(PurePosixPath(*path.absolute().parts[-4:]).with_suffix(".gml"))
    else:
        says = describe(PurePosixPath(*path.absolute().parts[-4:]))
    if says is None:
        packed = suffix in (".7z", ".gz", ".tar", ".tgz", ".bz2", ".xz", ".rar", ".lzh")
        way = "unpack it first and give the folder" if packed else f"give {_KINDS}"
        raise InputError(f"{path}: not a city model that can be read; {way}")
    chosen = select([Candidate(path.name, says, path.stat().st_size)], options)
    return _Found(path, path.parent, chosen.chosen, chosen.passed_over)


def _look_in_folder(folder: Path, options: ConversionOptions) -> _Found:
    if (folder / "world.sdf").is_file() and (folder / "city.json").is_file():
        raise InputError(f"{folder}: a world that was converted already; give the city model that it was made from")
    notes: list[str] = []
    names = list(_walk(folder, notes))
    selection = select(candidates(names), options)
    return _Found(folder, folder, selection.chosen, selection.passed_over, notes=notes)


def _walk(folder: Path, notes: list[str]) -> Iterator[tuple[str, int]]:
    """Names and sizes of the files below `folder`, in a fixed order; no link is followed, because what lies inside is
    reached by its own name, and what lies outside was not given."""
    count = 0
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            with os.scandir(folder / inside) as listing:
                entries = sorted(listing, key=lambda e: e.name)
        except OSError as error:
            notes.append(f"{inside} (cannot be read: {error.strerror})")
            continue
        folders = []
        for entry in entries:
            name = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_symlink():
                if describe(PurePosixPath(name)) or (entry.is_dir() and not _NOT_ENTERED.fullmatch(entry.name)):
                    _note_link(folder, name, notes)
            elif entry.is_dir():
                if not _NOT_ENTERED.fullmatch(entry.name) and not (folder / name / "world.sdf").exists():
                    folders.append(name)
            elif entry.is_file():
                count += 1
                if count > _MAX_FOUND:
                    raise InputError(f"{folder}: holds more than {_MAX_FOUND:,} files; choose a smaller folder")
                if entry.name.lower().endswith(".zip"):
                    notes.append(f"{name} (an archive; give it by itself)")
                yield name, entry.stat().st_size
        pending += reversed(folders)


def _note_link(folder: Path, name: str, notes: list[str]) -> None:
    try:
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        inside = False
    if not inside:
        notes.append(f"{name} (a symbolic link that leaves the folder is not followed)")


def _look_in_archive(path: Path, options: ConversionOptions, stack: ExitStack) -> _Found:
    archive = stack.enter_context(Archive(path))
    names = [(name, member.size) for name, member in sorted(archive.members.items()) if not _hidden(name)]
    selection = select(candidates(names), options)
    nested = [f"{n} (an archive within the archive)" for n, _ in names if n.lower().endswith((".zip", ".7z"))]
    return _Found(path, path.parent, selection.chosen, selection.passed_over, archive, nested)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _refuse_nothing(found: Sequence[_Found], options: ConversionOptions) -> None:
    chosen = sum(len(f.chosen) for f in found)
    where = ", ".join(str(f.path) for f in found[:3]) + (" …" if len(found) > 3 else "")
    if chosen > MAX_FILES:
        raise InputError(
            f"{where}: {chosen:,} city files are selected (at most {MAX_FILES:,}); choose a part with --mesh, --bbox "
            "or --around"
        )
    if chosen:
        return
    left = [line for f in found for line in f.passed + f.notes]
    what = "nothing else that is known" if not left else "; ".join(left[:4]) + (" …" if len(left) > 4 else "")
    asked = f"of the modules {','.join(options.modules)}" + (" in the region" if options.region else "")
    raise InputError(f"{where}: holds no city file (.gml, .obj, a mesh) {asked}; there is: {what}")


# -- taking -------------------------------------------------------------------------------------------------------


def _files(one: _Found, prefix: str, unpacked: Path, options: ConversionOptions) -> list[SourceFile]:
    if one.archive is not None:
        paths = _unpack(one, unpacked, options)
        base, root = unpacked, unpacked
    else:
        base, root = one.base, one.base
        paths = {c.name: base / c.name for c in one.chosen}
    result = []
    for candidate in one.chosen:
        path, says = paths[candidate.name], candidate.says
        own = _root_of_file(one.path) if one.path.is_file() and one.archive is None else root
        result.append(SourceFile(path, prefix + candidate.name, says.module, says.format, own, says.mesh, says.lod))
    return result


def _root_of_file(path: Path) -> Path:
    """The folder that a single file's references may reach: its data set (above `udx`), else its own folder."""
    path = path.absolute()
    for parent in list(path.parents)[:4]:
        if parent.name == "udx":
            return parent.parent
    return path.parent


def _unpack(one: _Found, folder: Path, options: ConversionOptions) -> dict[str, Path]:
    """Unpack the chosen files, then what they refer to: images and codelists, materials and buffers."""
    archive = one.archive
    assert archive is not None
    paths = archive.unpack([c.name for c in one.chosen], folder)
    wanted: dict[str, None] = {}
    for name in archive.members:
        parts = name.split("/")
        if "codelists" in parts[:-1] and name.lower().endswith(".xml"):
            wanted[name] = None
    beside = _companions(archive, [c.name for c in one.chosen if c.says.format != "citygml"])
    wanted.update(dict.fromkeys(beside))
    if options.textures:
        for candidate in one.chosen:
            if candidate.says.format == "citygml":
                wanted.update(dict.fromkeys(_images(archive, candidate.name, paths[candidate.name])))
    take = []
    for name in wanted:
        member = archive.members[name]
        too_large = name.lower().endswith(".xml") and member.size > _MAX_CODELIST_BYTES
        if too_large or archive.expands_too_far(name):
            one.notes.append(f"{name} (expands too far; not unpacked)")
        elif name not in paths:
            take.append(name)
    paths.update(archive.unpack(take, folder))
    return paths


def _companions(archive: Archive, names: Sequence[str]) -> list[str]:
    """Materials, buffers and images in the folders of mesh files and below."""
    folders = {n.rpartition("/")[0] for n in names}
    suffixes = (".mtl", ".bin", *IMAGE_SUFFIXES)
    result = []
    for member in archive.members if folders else ():
        if member.lower().endswith(suffixes) and not _hidden(member):
            at = member
            while at:
                at = at.rpartition("/")[0]
                if at in folders:
                    result.append(member)
                    break
    return result


def _images(archive: Archive, name: str, path: Path) -> list[str]:
    """The images that a CityGML file names and the archive holds. Only names are looked for here; what the file means
    by them is the reader's matter."""
    folder = name.rpartition("/")[0]
    found: dict[str, None] = {}
    with open(path, "rb") as handle:
        if os.fstat(handle.fileno()).st_size == 0:
            return []
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            uris = {match[1] for match in _IMAGE_URI.finditer(content)}
    for raw in sorted(uris):
        text = unescape(raw.decode("utf-8", "replace")).replace("\\", "/")
        for uri in (text, unquote(text)):
            member = os.path.normpath(f"{folder}/{uri}" if folder else uri)
            if member in archive.members and member.lower().endswith(IMAGE_SUFFIXES):
                found[member] = None
    return list(found)


# -- names --------------------------------------------------------------------------------------------------------


def _prefixes(found: Sequence[_Found]) -> list[str]:
    """What to put before each path's names so that all are unique: nothing, else as many of its folders as it takes,
    else a number."""
    if len(found) == 1:
        return [""]
    places = [f.path.resolve() if f.archive or f.path.is_dir() else f.path.resolve().parent for f in found]
    for depth in range(0, 5):
        prefixes = ["".join(f"{part}/" for part in place.parts[1:][-depth:]) if depth else "" for place in places]
        names = [p + c.name for p, f in zip(prefixes, found, strict=True) for c in f.chosen]
        if len(set(names)) == len(names):
            return prefixes
    return [f"{number}/" for number in range(1, len(found) + 1)]


def _name(found: Sequence[_Found]) -> str:
    """A name for the world: the folder's or file's own, of several the folder's that holds them."""
    if len(found) == 1:
        path = found[0].path.resolve()
        return path.name if path.is_dir() else path.stem
    common = Path(os.path.commonpath([f.path.resolve().parent for f in found]))
    parts = common.parts
    if "udx" in parts:
        common = Path(*parts[: parts.index("udx")])
    return common.name or "city"


def _city_code(found: Sequence[_Found]) -> str | None:
    codes = set()
    for one in found:
        above = [p.name for p in list(one.path.resolve().parents)[:4]]
        names = [one.path.resolve().name, *above]
        names += {part for c in one.chosen for part in c.name.split("/")[:-1]}
        codes.update(list(dict.fromkeys(c for c in map(municipality_of, names) if c))[:1])
    return codes.pop() if len(codes) == 1 else None


@contextmanager
def _folder_in(work: Path) -> Iterator[str]:
    """A fresh folder below `work`, removed at the end."""
    work.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=".unpacked-", dir=work)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)

"""What lies at one place that the user gave: a file, a folder, a zip archive."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.archive import Archive
from aerialworld_city.sources.files import GML_SUFFIXES, describe
from aerialworld_city.sources.select import Candidate, candidates, select
from aerialworld_core.errors import InputError

KINDS = "a .gml, .obj, .glb or other mesh file, a data set's folder, or its .zip"
_MAX_FOUND = 1_000_000
#: Folders without city files, some with very many others.
_NOT_ENTERED = re.compile(
    r"\..*|__MACOSX|codelists?|metadata|schemas?|specification|.*_appearance|.*_textures?", re.IGNORECASE
)


@dataclass
class Found:
    """What one given path holds: the `chosen` files, in reading order, and lines about the others; `archive` is open
    where the path is one."""

    path: Path
    chosen: list[Candidate]
    passed: list[str]
    archive: Archive | None = None
    notes: list[str] = field(default_factory=list)


def look(path: Path, options: ConversionOptions, stack: ExitStack) -> Found:
    try:
        if path.is_dir():
            return _look_in_folder(path, options)
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; give {KINDS}")
        if not path.is_file():
            raise InputError(f"{path}: a pipe or device, not a file; give {KINDS}")
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
        way = "unpack it first and give the folder" if packed else f"give {KINDS}"
        raise InputError(f"{path}: not a city model that can be read; {way}")
    chosen = select([Candidate(path.name, says, path.stat().st_size)], options)
    return Found(path, chosen.chosen, chosen.passed_over)


def _look_in_folder(folder: Path, options: ConversionOptions) -> Found:
    if (folder / "world.sdf").is_file() and (folder / "city.json").is_file():
        raise InputError(f"{folder}: a world that was converted already; give the city model that it was made from")
    notes: list[str] = []
    names = list(_walk(folder, notes))
    selection = select(candidates(names), options)
    return Found(folder, selection.chosen, selection.passed_over, notes=notes)


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
                if describe(PurePosixPath(name)) or (
                    os.path.isdir(entry.path) and not _NOT_ENTERED.fullmatch(entry.name)
                ):
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


def _look_in_archive(path: Path, options: ConversionOptions, stack: ExitStack) -> Found:
    archive = stack.enter_context(Archive(path))
    names = [(name, member.size) for name, member in sorted(archive.members.items()) if not hidden(name)]
    selection = select(candidates(names), options)
    nested = [f"{n} (an archive within the archive)" for n, _ in names if n.lower().endswith((".zip", ".7z"))]
    return Found(path, selection.chosen, selection.passed_over, archive, nested)


def hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))

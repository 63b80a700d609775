"""What the user pointed at, as a list of files to read: files, folders, data sets, zip archives."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources.files import SourceFile, municipality_of
from aerialworld_city.sources.look import KINDS, Found, look
from aerialworld_city.sources.select import Candidate
from aerialworld_city.sources.unpack import unpack, unpack_alone
from aerialworld_core.errors import InputError

__all__ = ["Each", "SourceFile", "Sources", "each_source", "open_sources"]

MAX_FILES = 20_000


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


@contextmanager
def open_sources(paths: Sequence[Path], options: ConversionOptions, work: Path) -> Iterator[Sources]:
    """The files of one or several files, folders or zip archives that the options select.

    Members of archives are unpacked into a folder of their own below `work`, which is removed at the end. Names are
    unique over all paths. Raises InputError (missing, of another kind, nothing to read: with what there is instead),
    UnsafeInputError (an archive that could harm), StorageError (no room to unpack).
    """
    with ExitStack() as stack:
        found = _look_at_all(paths, options, stack)
        work = _place_to_unpack(found, Path(work), stack)
        files: list[SourceFile] = []
        passed: list[str] = []
        for number, (one, prefix) in enumerate(zip(found, _prefixes(found), strict=True)):
            root = work / str(number) if one.archive else _root(one)
            unpacked = unpack(one, root, options) if one.archive else {}
            for candidate in one.chosen:
                files.append(_file(one, candidate, prefix, root, unpacked.get(candidate.name)))
            passed += [prefix + line for line in one.passed + one.notes]
        yield Sources(files, passed, _name(found), _city_code(found))


class Each:
    """The selected files one after the other, an archive's unpacked only while it is looked at."""

    def __init__(self, found: list[Found], work: Path) -> None:
        self._found, self._work = found, work
        self._prefixes = _prefixes(found)
        self.city_code = _city_code(found)
        self.passed_over = [p + line for p, f in zip(self._prefixes, found, strict=True) for line in f.passed + f.notes]

    def __len__(self) -> int:
        return sum(len(one.chosen) for one in self._found)

    def peek(self) -> list[SourceFile]:
        """Files by which the place can be told: all of folders, the smallest of each archive."""
        files = []
        for number, (one, prefix) in enumerate(zip(self._found, self._prefixes, strict=True)):
            if one.archive is None:
                files += [_file(one, candidate, prefix, _root(one)) for candidate in one.chosen]
            elif one.chosen:
                smallest = min(one.chosen, key=lambda c: (c.says.format != "citygml", c.size))
                root = self._work / f"peek{number}"
                files.append(_file(one, smallest, prefix, root, unpack_alone(one, smallest.name, root)))
        return files

    def __iter__(self) -> Iterator[tuple[SourceFile, Callable[[str], bool]]]:
        """Each file, and whether an image that it names (relative to its folder) is there."""
        for number, (one, prefix) in enumerate(zip(self._found, self._prefixes, strict=True)):
            for candidate in one.chosen:
                if one.archive is None:
                    file = _file(one, candidate, prefix, _root(one))
                    yield file, _beside(file.path)
                    continue
                root = self._work / str(number)
                file = _file(one, candidate, prefix, root, unpack_alone(one, candidate.name, root))
                yield file, _in_archive(one, candidate)
                shutil.rmtree(root)


def _beside(path: Path) -> Callable[[str], bool]:
    return lambda image: (path.parent / image).is_file()


def _in_archive(one: Found, candidate: Candidate) -> Callable[[str], bool]:
    assert one.archive is not None
    members, folder = one.archive.members, candidate.name.rpartition("/")[0]
    return lambda image: os.path.normpath(f"{folder}/{image}" if folder else image) in members


@contextmanager
def each_source(paths: Sequence[Path], options: ConversionOptions, work: Path) -> Iterator[Each]:
    """As `open_sources`, for one look at every file: an archive of any size needs the room of its largest member."""
    with ExitStack() as stack:
        found = _look_at_all(paths, options, stack)
        yield Each(found, _place_to_unpack(found, Path(work), stack))


def _look_at_all(paths: Sequence[Path], options: ConversionOptions, stack: ExitStack) -> list[Found]:
    if not paths:
        raise InputError(f"no source given; give {KINDS}")
    # Each place once, in the order given.
    distinct = {os.path.realpath(path): Path(path) for path in reversed(list(paths))}
    found = [look(path, options, stack) for path in reversed(distinct.values())]
    _refuse_nothing(found, options)
    return found


def _refuse_nothing(found: Sequence[Found], options: ConversionOptions) -> None:
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


def _file(one: Found, candidate: Candidate, prefix: str, root: Path, path: Path | None = None) -> SourceFile:
    if path is None:
        path = one.path / candidate.name if one.path.is_dir() else one.path
    says = candidate.says
    archive = one.path if one.archive else None
    return SourceFile(path, prefix + candidate.name, says.module, says.format, root, says.mesh, says.lod, archive)


def _root(one: Found) -> Path:
    """The folder that references may reach: the folder given; of a single file its data set (above `udx`), else its
    own folder."""
    if one.path.is_dir():
        return one.path
    path = one.path.absolute()
    for parent in list(path.parents)[:4]:
        if parent.name == "udx":
            return parent.parent
    return path.parent


def _place_to_unpack(found: Sequence[Found], work: Path, stack: ExitStack) -> Path:
    """A fresh folder below `work`, removed at the end; none where nothing is to be unpacked."""
    if not any(one.archive for one in found):
        return work
    work.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=".unpacked-", dir=work)
    stack.callback(shutil.rmtree, folder)
    return Path(folder)


# -- names --------------------------------------------------------------------------------------------------------


def _prefixes(found: Sequence[Found]) -> list[str]:
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


def _name(found: Sequence[Found]) -> str:
    """A name for the world: the folder's or file's own, of several the folder's that holds them."""
    if len(found) == 1:
        path = found[0].path.resolve()
        return path.name if path.is_dir() else path.stem
    common = Path(os.path.commonpath([f.path.resolve().parent for f in found]))
    parts = common.parts
    if "udx" in parts:
        common = Path(*parts[: parts.index("udx")])
    return common.name or "city"


def _city_code(found: Sequence[Found]) -> str | None:
    codes = set()
    for one in found:
        above = [p.name for p in list(one.path.resolve().parents)[:4]]
        names = [one.path.resolve().name, *above]
        names += {part for c in one.chosen for part in c.name.split("/")[:-1]}
        codes.update(list(dict.fromkeys(c for c in map(municipality_of, names) if c))[:1])
    return codes.pop() if len(codes) == 1 else None

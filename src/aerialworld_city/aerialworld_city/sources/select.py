"""Which of a source's files are read: by module, region and level; CityGML before OBJ before other meshes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from aerialworld_city.options import ConversionOptions
from aerialworld_city.sources import meshcode
from aerialworld_city.sources.files import Described, describe

#: Buildings overhang the edge of their tile: files whose mesh is this near to the region are read, metres.
OVERHANG = 200.0
#: The order of reading.
_ORDER = ("bldg", "", "brid", "frn", "veg", "tran", "wtr", "dem")
#: Names that are passed over for one reason are listed one by one up to this number, else counted.
_LISTED = 20


@dataclass(frozen=True)
class Candidate:
    """A city file found in a source: `name` within it, what the name says, and its size."""

    name: str
    says: Described
    size: int


@dataclass(frozen=True)
class Selection:
    """`chosen` in reading order; `passed_over` lines for the report; `outside` how many lie outside the region."""

    chosen: list[Candidate]
    passed_over: list[str]
    outside: int


def candidates(names: Iterable[tuple[str, int]]) -> list[Candidate]:
    """The city files among (name, size) pairs."""
    found = []
    for name, size in names:
        says = describe(PurePosixPath(name))
        if says is not None:
            found.append(Candidate(name, says, size))
    return found


def select(found: Sequence[Candidate], options: ConversionOptions) -> Selection:
    """Choose among the files of one folder or archive."""
    passed: dict[str, list[str]] = {}
    kept: list[Candidate] = []
    outside = 0
    for candidate in found:
        reason = _unwanted(candidate.says, options)
        if reason:
            passed.setdefault(reason, []).append(candidate.name)
        elif not near(candidate.says.mesh, options):
            outside += 1
        else:
            kept.append(candidate)
    kept = _best_format(kept, passed)
    kept = _level(kept, options, passed)
    kept.sort(key=lambda c: (_ORDER.index(c.says.module), c.says.lod or 0, c.name))
    return Selection(kept, _lines(passed, outside), outside)


def near(mesh: str | None, options: ConversionOptions) -> bool:
    """Whether a file of this mesh may hold something of the region.

    An asked mesh takes the files of its own ground only, so that one tile of a large archive is one tile; boxes and
    circles take files that come within OVERHANG. Parts of a third mesh count as all of it, because releases number
    parts that are no half meshes in the same way.
    """
    region = options.region
    if region is None or mesh is None:
        return True
    if any(meshcode.same_ground(mesh[:8], asked[:8]) for asked in region.meshes):
        return True
    tiles = {meshcode.bounds(asked) for asked in region.meshes}
    others = replace(region, boxes=tuple(b for b in region.boxes if b not in tiles))
    return others.touches(meshcode.bounds(mesh[:8]), OVERHANG)


def _unwanted(says: Described, options: ConversionOptions) -> str:
    if says.format != "citygml" and says.module not in ("bldg", "dem"):
        return f"{says.module} as a mesh is not converted"
    if says.module and says.module not in _ORDER:
        return f"{says.module} is not converted"
    if says.module and says.module not in options.modules:
        return f"{says.module} was not asked for"
    return ""


class _Covered:
    """The ground that files cover, by module; a file without a mesh code covers all of it."""

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._meshes: set[tuple[str, str]] = set()
        self._around: set[tuple[str, str]] = set()

    def add(self, module: str, mesh: str | None) -> None:
        if mesh is None:
            self._whole.add(module)
            return
        self._meshes.add((module, mesh))
        self._around.update((module, mesh[:digits]) for digits in (4, 6, 8, 9, 10) if digits <= len(mesh))

    def shares(self, module: str, mesh: str | None) -> bool:
        """Whether a file of this module and mesh shares ground with one of these."""
        if module in self._whole:
            return True
        if mesh is None:
            return any(module == other for other, _ in self._meshes)
        below = any((module, mesh[:digits]) in self._meshes for digits in (4, 6, 8, 9, 10) if digits <= len(mesh))
        return below or (module, mesh) in self._around


def _best_format(kept: list[Candidate], passed: dict[str, list[str]]) -> list[Candidate]:
    """Of the same module and mesh, CityGML before OBJ; other meshes only where there is neither."""
    covered = _Covered()
    for candidate in kept:
        if candidate.says.format == "citygml":
            # A file that does not say its module may hold anything.
            for module in (candidate.says.module,) if candidate.says.module else ("bldg", "dem"):
                covered.add(module, candidate.says.mesh)
    single = any(c.says.format != "mesh" for c in kept)
    result = []
    for candidate in kept:
        says = candidate.says
        if says.format == "obj" and covered.shares(says.module, says.mesh):
            passed.setdefault("its CityGML is read", []).append(candidate.name)
        elif says.format == "mesh" and single:
            passed.setdefault("its CityGML or OBJ is read", []).append(candidate.name)
        else:
            result.append(candidate)
    return result


def _level(kept: list[Candidate], options: ConversionOptions, passed: dict[str, list[str]]) -> list[Candidate]:
    """Of an OBJ release's folders, those up to the level asked for; a higher one where it is all there is."""
    if options.lod == "auto":
        return kept
    highest = int(options.lod)
    covered = _Covered()
    for candidate in kept:
        says = candidate.says
        if says.lod is not None and says.lod <= highest:
            covered.add(says.module, says.mesh and says.mesh[:8])
    result = []
    for candidate in kept:
        says = candidate.says
        above = says.lod is not None and says.lod > highest
        if above and covered.shares(says.module, says.mesh and says.mesh[:8]):
            passed.setdefault(f"above LOD{highest}", []).append(candidate.name)
        else:
            result.append(candidate)
    return result


def _lines(passed: dict[str, list[str]], outside: int) -> list[str]:
    lines = []
    for reason in sorted(passed):
        names = sorted(passed[reason])
        if len(names) <= _LISTED:
            lines += [f"{name} ({reason})" for name in names]
        else:
            lines.append(f"{len(names)} files, {names[0]} to {names[-1]} ({reason})")
    if outside:
        lines.append(f"{outside} files outside the region")
    return lines

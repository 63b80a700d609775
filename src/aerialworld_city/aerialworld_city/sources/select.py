"""Which of a source's files are read: by module, region and level; CityGML before OBJ before other meshes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
    """Whether a file of this mesh may hold something of the region. Parts of a third mesh count as all of it, because
    releases number parts that are no half meshes in the same way."""
    if options.region is None or mesh is None:
        return True
    return options.region.touches(meshcode.bounds(mesh[:8]), OVERHANG)


def _unwanted(says: Described, options: ConversionOptions) -> str:
    if says.format != "citygml" and says.module not in ("bldg", "dem"):
        return f"{says.module} as a mesh is not converted"
    if says.module and says.module not in _ORDER:
        return f"{says.module} is not converted"
    if says.module and says.module not in options.modules:
        return f"{says.module} was not asked for"
    return ""


def _best_format(kept: list[Candidate], passed: dict[str, list[str]]) -> list[Candidate]:
    """Of the same module and mesh, CityGML before OBJ; other meshes only where there is neither."""
    gml = [c for c in kept if c.says.format == "citygml"]
    obj = [c for c in kept if c.says.format == "obj"]
    result = list(gml)
    for candidate in obj:
        if any(_same(candidate.says, other.says) for other in gml):
            passed.setdefault("its CityGML is read", []).append(candidate.name)
        else:
            result.append(candidate)
    for candidate in kept:
        if candidate.says.format == "mesh":
            if gml or obj:
                passed.setdefault("its CityGML or OBJ is read", []).append(candidate.name)
            else:
                result.append(candidate)
    return result


def _same(obj: Described, gml: Described) -> bool:
    if gml.module and gml.module != obj.module:
        return False
    return obj.mesh is None or gml.mesh is None or meshcode.same_ground(obj.mesh, gml.mesh)


def _level(kept: list[Candidate], options: ConversionOptions, passed: dict[str, list[str]]) -> list[Candidate]:
    """Of an OBJ release's folders, those up to the level asked for; a higher one where it is all there is."""
    if options.lod == "auto":
        return kept
    highest = int(options.lod)
    within = [c.says for c in kept if c.says.lod is not None and c.says.lod <= highest]
    result = []
    for candidate in kept:
        says = candidate.says
        above = says.lod is not None and says.lod > highest
        if above and any(other.module == says.module and _same_mesh(says, other) for other in within):
            passed.setdefault(f"above LOD{highest}", []).append(candidate.name)
        else:
            result.append(candidate)
    return result


def _same_mesh(one: Described, other: Described) -> bool:
    return one.mesh is None or other.mesh is None or meshcode.same_ground(one.mesh[:8], other.mesh[:8])


def _lines(passed: dict[str, list[str]], outside: int) -> list[str]:
    lines = []
    for reason, names in passed.items():
        names.sort()
        if len(names) <= _LISTED:
            lines += [f"{name} ({reason})" for name in names]
        else:
            lines.append(f"{len(names)} files, {names[0]} to {names[-1]} ({reason})")
    if outside:
        lines.append(f"{outside} files outside the region")
    return lines

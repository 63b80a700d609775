"""What the readers hand on: buildings, road areas and terrain triangles, before they become meshes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from aerialworld_core.frames import Array


class Surface(IntEnum):
    """What part of a building a polygon is. UNKNOWN is decided later by its slope."""

    UNKNOWN = 0
    ROOF = 1
    WALL = 2
    GROUND = 3


@dataclass(eq=False)
class Polygon:
    """An outer ring and its holes, (N, 3) each, closed or not, in the source's coordinates until projected."""

    rings: list[Array]
    surface: Surface = Surface.UNKNOWN


@dataclass(eq=False)
class Building:
    """A building as its source has it. `lod` is the level that was taken; `measured_height` None where unknown."""

    id: str
    source: str
    lod: int
    polygons: list[Polygon]
    usage: str | None = None
    measured_height: float | None = None


@dataclass(eq=False)
class RoadArea:
    """Polygons of one semantic class (`aerialworld_core.labels`) of one road."""

    id: str
    source: str
    label: int
    lod: int
    polygons: list[Polygon]


@dataclass(frozen=True)
class Skipped:
    """Something that was left out, and why."""

    file: str
    id: str
    reason: str


@dataclass(eq=False)
class CityContent:
    """One source file's content in its own coordinates. `terrain` (T, 3, 3); `counts` of what the file holds."""

    source: str
    epsg: int
    buildings: list[Building] = field(default_factory=list)
    roads: list[RoadArea] = field(default_factory=list)
    terrain: Array | None = None
    skipped: list[Skipped] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    namespaces: list[str] = field(default_factory=list)
    generated: bool = False

    def count(self, key: str, by: int = 1) -> None:
        self.counts[key] = self.counts.get(key, 0) + by

"""What the readers hand on: features, materials and polygons of a file, and the tile that is made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.geometry.mesh import Mesh
from aerialworld_core.frames import Array


class Surface(IntEnum):
    """What part of a body a polygon is. UNKNOWN is decided by its slope when the tile is built."""

    UNKNOWN = 0
    ROOF = 1
    WALL = 2
    GROUND = 3


@dataclass(frozen=True)
class Skipped:
    """Something that was left out, and why."""

    file: str
    id: str
    reason: str


@dataclass(eq=False)
class Feature:
    """An object of the city as its source has it, without its geometry.

    `kind` is a key of `aerialworld_city.kinds.KINDS` (a road whose areas are of several kinds becomes several features
    with one id); `source` the file's name within the source; `lod` the level of detail that was taken; `usage` the code
    and `usage_label` its text; `code` PLATEAU's own number of it (uro:buildingID); `measured_height` metres, None where
    unknown; `volume` m³ of its closed shells and `closed`, whether all are, are found when the tile is built.
    """

    id: str
    kind: str
    source: str
    lod: int
    usage: str | None = None
    usage_label: str | None = None
    measured_height: float | None = None
    volume: float = 0.0
    closed: bool = False
    code: str | None = None


@dataclass(frozen=True)
class Material:
    """How the source wants a surface to look: `image` is a path relative to the source file's folder (checked to stay
    inside the source, "/" between parts), `colour` sRGB 0-1 and `opacity` (X3DMaterial, MTL); an image wins.

    `span` (offset, bytes): the image is that part of the file `image` (a mesh file with pictures inside);
    `embedded_image` reads it.
    """

    image: str | None = None
    colour: tuple[float, float, float] | None = None
    opacity: float = 1.0
    span: tuple[int, int] | None = None


@dataclass(eq=False)
class Polygons:
    """Polygons in packed form, in the source's own coordinates.

    points        (P, 3) float64, all rings one after the other, as in the file (closed or not)
    uv            (P, 2) float32 texture coordinates, origin bottom-left; NaN where the ring has none; None: no ring has
    ring_start    (R + 1,) int64 into points
    polygon_start (N + 1,) int64 into rings; the first ring of a polygon is its outer one
    feature       (N,) int32 into the content's features
    surface       (N,) int8 of Surface
    material      (N,) int32 into the content's materials, -1 for none
    """

    points: Array
    uv: NDArray[np.float32] | None
    ring_start: NDArray[np.int64]
    polygon_start: NDArray[np.int64]
    feature: NDArray[np.int32]
    surface: NDArray[np.int8]
    material: NDArray[np.int32]


@dataclass(eq=False)
class Content:
    """What a reader of polygons found in one file, in the file's own coordinates.

    `epsg` is the file's system; `terrain` (K, 3, 3) as the file has it; `counts` of what the file holds, by name;
    `namespaces` of its root; `municipality` the five-digit code of its city where the file states one; `generated` True
    for AerialWorld's made-up city.
    """

    source: str
    epsg: int
    features: list[Feature]
    materials: list[Material]
    polygons: Polygons
    terrain: Array
    skipped: list[Skipped] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    municipality: str | None = None
    generated: bool = False


@dataclass(eq=False)
class Tile:
    """One source file, ready to be placed: triangles in the world's plane system (east, north, height; metres).

    mesh          of all features, sorted by feature, so that a feature's triangles are one slice; closed shells of
                  bodies face outward, surfaces that lie (`Kind.lies`) face up; surface is never UNKNOWN for bodies
    terrain       (K, 3, 3) float64 ground triangles as the source has them (may hold NaN, may face down)
    """

    source: str
    epsg: int
    features: list[Feature]
    materials: list[Material]
    mesh: Mesh
    terrain: Array
    skipped: list[Skipped] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    generated: bool = False

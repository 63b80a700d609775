"""What a conversion may be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from aerialworld_city.kinds import MODULES
from aerialworld_city.sources.region import Region
from aerialworld_core.errors import InputError

LevelOfDetail = Literal["auto", "1", "2", "3"]


@dataclass(frozen=True)
class ConversionOptions:
    """Options of `convert`; the defaults are the command's.

    Geography: `crs` EPSG code of the plane zone (None: found from the city's code or location; it also names the system
    of files that state none), `origin` latitude, longitude of map's origin (None: the middle of the city, to a metre),
    `up` the axis that points up in mesh files (None: y for glTF as its specification says, else z).
    Selection: `region` (None: everything), `modules` (PLATEAU's names), `lod` the highest level of detail that is taken
    ("auto": the best of each object; an object that has only higher levels gives its lowest of those).
    Output: `chunk` edge of the squares that are merged into one model, metres; `per_building` one model per building;
    `terrain` "mesh" or "heightmap"; `textures` False draws every surface instead of using photographs;
    `max_texture_size` longest side in pixels; `target_faces` per model, aimed at as far as no surface moves by more
    than `max_deviation` metres; `preview` the pictures; `attribution` whom the data is owed to, in city.json and in the
    pictures (None: told from the sources).
    Running: `workers` processes (None: by the size of the source); `keep_tiles` leaves what was read beside the models
    (`.tiles`), so that the next run reads only files that changed; `strict` stops at the first broken object.
    """

    crs: int | None = None
    origin: tuple[float, float] | None = None
    up: Literal["y", "z"] | None = None
    region: Region | None = None
    modules: tuple[str, ...] = MODULES
    lod: LevelOfDetail = "auto"
    chunk: float = 250.0
    per_building: bool = False
    terrain: Literal["mesh", "heightmap"] = "mesh"
    textures: bool = True
    max_texture_size: int = 2048
    target_faces: int = 10_000
    max_deviation: float = 0.1
    preview: bool = True
    attribution: str | None = None
    workers: int | None = None
    keep_tiles: bool = True
    strict: bool = False

    def __post_init__(self) -> None:
        """Raises InputError that begins with the option's name."""
        if self.crs is not None and not 1 <= self.crs <= 999_999:
            raise InputError(f"crs {self.crs}: give an EPSG code, for example 6677")
        if self.origin is not None:
            latitude, longitude = self.origin
            if not (abs(latitude) <= 90 and abs(longitude) <= 180):
                raise InputError(f"origin {latitude:g},{longitude:g}: give latitude,longitude in degrees")
        if self.up not in (None, "y", "z"):
            raise InputError(f"up {self.up}: choose y or z")
        if not 10.0 <= self.chunk <= 100_000.0:  # False for NaN too
            raise InputError(f"chunk {self.chunk:g}: give 10 to 100,000 metres")
        unknown = [m for m in self.modules if m not in MODULES]
        if unknown or not self.modules:
            raise InputError(f"modules {','.join(self.modules) or '(none)'}: choose from {','.join(MODULES)}")
        if self.lod not in ("auto", "1", "2", "3"):
            raise InputError(f"lod {self.lod}: choose auto, 1, 2 or 3")
        if self.terrain not in ("mesh", "heightmap"):
            raise InputError(f"terrain {self.terrain}: choose mesh or heightmap")
        if not 16 <= self.max_texture_size <= 16_384:
            raise InputError(f"max_texture_size {self.max_texture_size}: give 16 to 16384 pixels")
        if self.target_faces < 12:
            raise InputError(f"target_faces {self.target_faces}: give at least 12 (a box)")
        if not (np.isfinite(self.max_deviation) and self.max_deviation >= 0):
            raise InputError(f"max_deviation {self.max_deviation}: give metres, 0 or more")
        if self.attribution is not None and not (self.attribution.strip() and len(self.attribution) <= 1000):
            raise InputError("attribution: give 1 to 1000 characters")
        if self.workers is not None and not 1 <= self.workers <= 256:
            raise InputError(f"workers {self.workers}: give 1 to 256")

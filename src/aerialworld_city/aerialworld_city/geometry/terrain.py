"""The ground: the source's terrain triangles exactly as they are, or a smooth surface through the buildings' bases.

Either reaches `EXTENSION` metres beyond the city's bounds, so that the ground does not end at the last wall. The
extension of a terrain model keeps to its border and levels out to the mean of the border nearby.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_city.arrays import write_array
from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_city.geometry.terrain_rows import Rows
from aerialworld_core.files import write_json
from aerialworld_core.frames import Array

if TYPE_CHECKING:
    from aerialworld_city.geometry.evidence import Evidence
    from aerialworld_city.geometry.sheet import Sheet

#: How far the ground reaches beyond the city, metres.
EXTENSION = 75.0


@dataclass(eq=False)
class Terrain:
    """The ground of a city.

    `triangles` (T, 3, 3) float64 in map, facing up (upright ones close steps); the first `source_count` are
    the source's own, those at its border in pieces. `kind` is "dem",
    "dem and fitted", "fitted" or "level"; `dropped` counts what was left out of the source or mended, by reason;
    `notes` say what a reader should know.
    """

    triangles: Array
    source_count: int
    kind: str
    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folder: Path | None = None

    @cached_property
    def index(self) -> TriangleIndex:
        """Of all triangles."""
        return TriangleIndex(self.triangles)

    @cached_property
    def rows(self) -> Rows:
        """Where the triangles lie."""
        return Rows.of(self.triangles)

    def part(self, low: Array, high: Array) -> TriangleIndex:
        """The index of the triangles that touch the box from (2,) low to high, map metres. Cheap: of a terrain that
        was opened from a folder it reads little more than these."""
        rows = self.rows.near(self.triangles, np.asarray(low, np.float64), np.asarray(high, np.float64))
        return TriangleIndex(self.triangles[rows])

    def save(self, folder: Path) -> None:
        """Write it as arrays for `open`; from then on it pickles as the folder's path."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {"triangles": self.triangles, "order": self.rows.order}
        arrays |= {"start": self.rows.start, "bounds": self.rows.bounds}
        for name, array in arrays.items():
            write_array(folder / f"{name}.npy", array)
        about = {name: getattr(self, name) for name in ("source_count", "kind", "dropped", "notes")}
        write_json(folder / "terrain.json", about, sync=False)
        self.folder = folder

    @classmethod
    def open(cls, folder: Path) -> Terrain:
        """A terrain that was saved; its arrays are mapped into memory, not read."""
        about = json.loads((folder / "terrain.json").read_bytes())
        names = ("triangles", "order", "start", "bounds")
        triangles, *rows = (np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in names)
        terrain = cls(triangles, **about, folder=folder)
        terrain.rows = Rows(*rows)
        return terrain

    def __reduce__(self) -> Any:
        if self.folder is not None:
            return Terrain.open, (self.folder,)
        return Terrain, (self.triangles, self.source_count, self.kind, self.dropped, self.notes)


def make_terrain(source: Array, evidence: Array | Evidence, bounds: Array) -> Terrain:
    """The ground of a city.

    `source` (K, 3, 3) terrain triangles in map (maybe none; may hold NaN, face down, repeat or overlap), `evidence`
    what else tells the ground's height (or (N, 3) the bases of what stands; maybe none), `bounds` (2, 2) lowest and
    highest x, y of the city.

    Where the source has terrain, that is the ground, to the millimetre; around it and in its holes the ground is
    extended, joined edge to edge. Beyond the terrain model, ground among bases turns to a surface through them.
    Without any terrain the ground is that surface, without evidence it is level at height 0.
    """
    # Worker processes only open what is made here: they need not load the libraries for it.
    from aerialworld_city.geometry.evidence import Evidence
    from aerialworld_city.geometry.fit import FIT_STEP, fitted_ground
    from aerialworld_city.geometry.sheet import clean

    bounds = np.asarray(bounds, np.float64)
    if not isinstance(evidence, Evidence):
        evidence = Evidence.of(evidence)
    region = np.array([bounds[0] - EXTENSION, bounds[1] + EXTENSION])
    dropped: dict[str, int] = {}
    sheet = clean(source, region, dropped)
    if len(sheet):
        return _from_model(sheet, evidence, region, dropped)
    triangles, step = fitted_ground(evidence, region)
    notes = []
    if not len(evidence):
        notes.append("no heights in the source: the ground is level at height 0")
    elif step > FIT_STEP:
        notes.append(f"the city is wide: its fitted ground has squares of {step:.0f} m and more")
    return Terrain(triangles[Rows.of(triangles).order], 0, "fitted" if len(evidence) else "level", dropped, notes)


def _from_model(sheet: Sheet, evidence: Evidence, region: Array, dropped: dict[str, int]) -> Terrain:
    from aerialworld_city.geometry.extension import extend
    from aerialworld_city.geometry.sheet import steps, without_overlaps

    index = TriangleIndex(sheet.triangles())
    once = without_overlaps(sheet, index, dropped)
    if len(once) < len(sheet):
        sheet, index = once, TriangleIndex(once.triangles())
    bases = evidence.bases
    share = float(np.isfinite(index.height(bases[:, :2])).mean()) if len(bases) else 1.0
    extended = extend(sheet, index, region, evidence)
    del index
    notes = []
    if extended.fitted:
        notes.append(
            f"the terrain model lies under {_percent(share)} of the city; beyond it the ground is fitted to the bases"
        )
    if extended.cracks:
        notes.append(f"{extended.cracks} edges of the terrain model could not be joined to the ground around it")
    own, fill = extended.own, extended.fill
    walls = steps(own.joined(fill))
    if len(walls):
        notes.append(f"{len(walls)} upright triangles close steps in the terrain model")
    own, fill = _by_place(own), _by_place(fill)
    triangles = np.empty((len(own) + len(fill) + len(walls), 3, 3))
    own.triangles(triangles[: len(own)])
    fill.triangles(triangles[len(own) : len(own) + len(fill)])
    triangles[len(own) + len(fill) :] = walls
    return Terrain(triangles, len(own), "dem and fitted" if extended.fitted else "dem", dropped, notes)


def _percent(share: float) -> str:
    """Never 0 % of something nor 100 % of not everything."""
    return f"{min(max(share, 0.01), 0.99):.0%}" if 0 < share < 1 else f"{share:.0%}"


def _by_place(sheet: Sheet) -> Sheet:
    """Neighbours next to each other, so that a part of the ground is few pages of a file."""
    return sheet.take(Rows.of(sheet.triangles()).order)

"""Areas of a world that share no voxel: each split gets its own, with a gap as wide as the grid asks between them.

A world is cut straight through, along x or along y, into one strip per split; the strips' ground areas have the
proportions of the split's shares, and no strip is narrower than the smallest mission needs. Every pose of a session
stays in its strip, so that with the gap no voxel of one split's grids, turned anyhow, lies in another's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.grid import VoxelGrid

Box = tuple[float, float, float, float]
#: A place must be built up at least this much, compared with the whole part of the world.
_LEAST_DENSITY = 0.3
#: Between worlds, metres added to the gap: their map axes differ by the meridians' convergence.
_BETWEEN_WORLDS = 5.0
#: To what boxes are rounded, metres.
_ROUNDED = 0.001
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Place:
    """Where sessions of one split may go: `box` (west, south, east, north) in map, metres, which no pose leaves."""

    name: str
    split: str
    box: Box

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "split": self.split, "box": list(self.box)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Place:
        west, south, east, north = (float(v) for v in data["box"])
        return cls(str(data["name"]), str(data["split"]), (west, south, east, north))


@dataclass(frozen=True)
class Ground:
    """A world seen from above: rasters indexed [row, column], row 0 southernmost, of cells with this edge, metres.

    ground     where there is ground to be over
    building   where something stands on it
    """

    low: tuple[float, float]
    cell: float
    ground: NDArray[np.bool_]
    building: NDArray[np.bool_]

    def within(self, region: Box | None) -> Ground:
        """The part in a box of map; all of it for None."""
        if region is None:
            return self
        rows, columns = self.ground.shape
        c0, c1 = (min(max(round((x - self.low[0]) / self.cell), 0), columns) for x in (region[0], region[2]))
        r0, r1 = (min(max(round((y - self.low[1]) / self.cell), 0), rows) for y in (region[1], region[3]))
        low = (self.low[0] + c0 * self.cell, self.low[1] + r0 * self.cell)
        return Ground(low, self.cell, self.ground[r0:r1, c0:c1], self.building[r0:r1, c0:c1])

    def built_part(self, around: float) -> Box | None:
        """The box of all buildings and `around` metres more; None where there are none."""
        rows, columns = (np.flatnonzero(self.building.any(axis=a)) for a in (1, 0))
        if not len(rows):
            return None
        x = self.low[0] + columns[[0, -1]] * self.cell + np.array([-around, self.cell + around])
        y = self.low[1] + rows[[0, -1]] * self.cell + np.array([-around, self.cell + around])
        return float(x[0]), float(y[0]), float(x[1]), float(y[1])

    def trimmed(self) -> Ground:
        """Without rows and columns that have no ground."""
        rows, columns = (np.flatnonzero(self.ground.any(axis=a)) for a in (1, 0))
        if not len(rows):
            return Ground(self.low, self.cell, self.ground[:0, :0], self.building[:0, :0])
        low = (self.low[0] + columns[0] * self.cell, self.low[1] + rows[0] * self.cell)
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Ground(low, self.cell, self.ground[part], self.building[part])

    @property
    def box(self) -> Box:
        rows, columns = self.ground.shape
        return (*self.low, self.low[0] + columns * self.cell, self.low[1] + rows * self.cell)


def reach(grid: VoxelGrid) -> float:
    """Horizontal distance, metres, from a vehicle to its grid's farthest corner."""
    x0, y0, _, x1, y1, _ = grid.range
    return math.hypot(max(abs(x0), abs(x1)), max(abs(y0), abs(y1)))


def separation(grid: VoxelGrid) -> float:
    """Metres between two vehicles from which their grids, turned anyhow, cannot meet; with a metre to spare."""
    return float(math.ceil(2 * reach(grid) + 1))


def cut(world: str, ground: Ground, shares: Mapping[str, float], gap: float, need: float) -> list[Place]:
    """One place for each split of `shares` (split → share, adding up to anything), or an empty list: it does not fit.

    gap   metres between two places
    need  least edge of a place, metres

    Of all ways to cut (along x or y, in any order) the one whose parts are most evenly built up is taken; one that
    leaves a part with hardly a building does not count.
    """
    ground = ground.trimmed()
    west, south, east, north = ground.box
    mean = float((ground.building & ground.ground).sum()) / max(float(ground.ground.sum()), 1.0)
    best: tuple[float, list[Place]] | None = None
    names = list(shares)
    for along_x in (True, False) if east - west >= north - south else (False, True):
        across = (north - south) if along_x else (east - west)
        if across < need:
            continue
        axis = 0 if along_x else 1
        area = ground.ground.sum(axis=axis).astype(np.float64)
        built = (ground.building & ground.ground).sum(axis=axis).astype(np.float64)
        for order in itertools.permutations(names):
            strips = _strips(area, [shares[n] for n in order], gap / ground.cell, need / ground.cell)
            if strips is None:
                continue
            density = [built[a:b].sum() / max(area[a:b].sum(), 1.0) for a, b in strips]
            uneven = max(density) - min(density)
            if min(density) < _LEAST_DENSITY * mean:
                continue
            if best is None or uneven < best[0] - 1e-9:
                places = []
                for name, (a, b) in zip(order, strips, strict=True):
                    lo, hi = (ground.low[0 if along_x else 1] + k * ground.cell for k in (a, b))
                    box = (lo, south, hi, north) if along_x else (west, lo, east, hi)
                    places.append(Place(f"{world} {name}", name, _rounded(box)))
                best = uneven, sorted(places, key=lambda p: names.index(p.split))
    return best[1] if best else []


def whole(world: str, ground: Ground, split: str) -> Place:
    """The whole world as one place."""
    return Place(world, split, _rounded(ground.trimmed().box))


def _rounded(box: Box) -> Box:
    west, south, east, north = (round(float(v), 3) for v in box)
    return west, south, east, north


def _strips(
    area: NDArray[np.float64], shares: Sequence[float], gap: float, need: float
) -> list[tuple[int, int]] | None:
    """Index ranges of `area` (N,), `gap` apart and at least `need` long, whose sums relate as `shares`; None if the
    array is too short. What one strip's least length takes is taken from the others."""
    count, gap, need = len(area), math.ceil(gap), math.ceil(need)
    before = np.concatenate([[0.0], np.cumsum(area)])

    def lay(total: float) -> list[tuple[int, int]]:
        strips, start = [], 0
        for share in shares:
            target = before[min(start, count)] + share * total
            end = max(int(np.searchsorted(before, target)), start + need)
            strips.append((start, end))
            start = end + gap
        return strips

    if lay(0.0)[-1][1] > count:
        return None
    low, high = 0.0, float(before[-1]) / min(shares) + 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if lay(middle)[-1][1] <= count else (low, middle)
    strips = lay(low)
    return [*strips[:-1], (strips[-1][0], count)]


def distance(a: Box, b: Box) -> float:
    """Least horizontal distance of two boxes, metres; 0 where they meet."""
    dx = max(a[0] - b[2], b[0] - a[2], 0.0)
    dy = max(a[1] - b[3], b[1] - a[3], 0.0)
    return math.hypot(dx, dy)


def leaks(worlds: Sequence[tuple[Place, tuple[float, float]]], gap: float) -> list[tuple[Place, Place, float]]:
    """Pairs of places of different splits, of any two worlds, that lie nearer than `gap`, with their distance.

    Each place comes with its world's (latitude, longitude): worlds beside each other on earth are compared there.
    """
    found = []
    for (a, origin_a), (b, origin_b) in itertools.combinations(worlds, 2):
        if a.split == b.split:
            continue
        same = origin_a == origin_b
        east, north = (0.0, 0.0) if same else _offset(origin_a, origin_b)
        moved = (b.box[0] + east, b.box[1] + north, b.box[2] + east, b.box[3] + north)
        apart = distance(a.box, moved)
        # Two edges of boxes that `cut` laid `gap` apart are each rounded to a millimetre.
        spare = -2 * _ROUNDED if same else _BETWEEN_WORLDS + 0.01 * math.hypot(east, north)
        if apart < gap + spare:
            found.append((a, b, apart))
    return found


def _offset(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    """East and north of b's origin in a's map, metres, to 1 % of the distance."""
    middle = math.radians((a[0] + b[0]) / 2)
    return (b[1] - a[1]) * _METRES_PER_DEGREE * math.cos(middle), (b[0] - a[0]) * _METRES_PER_DEGREE

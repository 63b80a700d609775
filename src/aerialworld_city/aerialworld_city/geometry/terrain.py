"""The ground: the source's terrain triangles exactly as they are, or a smooth surface through the buildings' bases.

Either reaches `EXTENSION` metres beyond the city's bounds, so that the ground does not end at the last wall. The
extension of a terrain model keeps to its border and levels out to the mean of the border nearby.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import Delaunay, QhullError, cKDTree

from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_city.geometry.terrain_rows import Rows
from aerialworld_core.files import write_json
from aerialworld_core.frames import Array

#: How far the ground reaches beyond the city, metres.
EXTENSION = 75.0
#: Spacing of a fitted ground and of the extension, metres.
_FIT_STEP, _EXTENSION_STEP = 10.0, 25.0
#: How far from the nearest building a fitted ground ends, metres.
_FIT_REACH = 500.0
#: A terrain model that covers less than this share of the buildings is not used.
_MIN_COVER = 0.5
_MIN_AREA = 1e-4


@dataclass(eq=False)
class Terrain:
    """The ground of a city.

    `triangles` (T, 3, 3) float64 in map, all facing up; the first `source_count` are the source's own. `kind` is "dem",
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
        arrays = {"triangles": self.triangles, "order": self.rows.order, "start": self.rows.start}
        for name, array in {**arrays, "bounds": self.rows.bounds}.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
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


def make_terrain(source: Array, bases: Array, bounds: Array) -> Terrain:
    """The ground of a city.

    `source` (T, 3, 3) terrain triangles in map (maybe none; may hold NaN), `bases` (N, 3) centres of the buildings'
    bases, `bounds` (2, 2) the buildings' lowest and highest x, y.
    """
    region = np.array([bounds[0] - EXTENSION, bounds[1] + EXTENSION])
    triangles, dropped = _clean(source, region)
    notes = []
    if len(triangles):
        cover = float(np.isfinite(TriangleIndex(triangles).height(bases[:, :2])).mean())
        if cover >= _MIN_COVER:
            extension, overlap = _extend(triangles, region)
            if overlap > 0.005:
                notes.append(f"the ground's extension overlaps the terrain model by {overlap:.1%} of its area")
            return Terrain(np.concatenate([triangles, extension]), len(triangles), "dem", dropped, notes)
        notes.append(f"the terrain model covers {cover:.0%} of the buildings and was not used")
        dropped["terrain that covers too few buildings"] = len(triangles)
    fitted, step = _fit(bases, region)
    if step > _FIT_STEP:
        notes.append(f"the city is wide: its fitted ground has squares of {step:.0f} m")
    return Terrain(fitted, 0, "fitted", dropped, notes)


def _clean(source: Array, region: Array) -> tuple[Array, dict[str, int]]:
    """Finite triangles with an area that touch the region, each once, turned to face up."""
    dropped: dict[str, int] = {}
    triangles = np.array(source, np.float64).reshape(-1, 3, 3)
    finite = np.isfinite(triangles).all(axis=(1, 2))
    triangles = _keep(triangles, np.asarray(finite), "coordinates that are no place", dropped)
    xy = triangles[:, :, :2]
    near = (xy.max(axis=1) >= region[0]).all(axis=1) & (xy.min(axis=1) <= region[1]).all(axis=1)
    triangles = _keep(triangles, np.asarray(near), "outside the city", dropped)
    doubled = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2]
    has_area = np.abs(doubled) > 2 * _MIN_AREA
    triangles = _keep(triangles, np.asarray(has_area), "no area in plan", dropped)
    down = doubled[has_area] < 0
    if down.any():
        triangles[down] = triangles[down][:, ::-1]
        dropped["turned to face up (kept)"] = int(down.sum())
    if len(triangles):
        _, corner = np.unique(np.round(triangles.reshape(-1, 3), 4), axis=0, return_inverse=True)
        _, first = np.unique(np.sort(corner.reshape(-1, 3), axis=1), axis=0, return_index=True)
        once = np.zeros(len(triangles), np.bool_)
        once[first] = True
        triangles = _keep(triangles, once, "the same triangle twice", dropped)
    return triangles, dropped


def _keep(triangles: Array, mask: NDArray[np.bool_], reason: str, dropped: dict[str, int]) -> Array:
    if not mask.all():
        dropped[reason] = int((~mask).sum())
    return triangles[mask]


def _extend(triangles: Array, region: Array) -> tuple[Array, float]:
    """Triangles between the terrain's border (and holes) and the region's edge, and their overlap with the terrain as a
    share of the region."""
    low = np.minimum(region[0], triangles[:, :, :2].min(axis=(0, 1)))
    high = np.maximum(region[1], triangles[:, :, :2].max(axis=(0, 1)))
    border = _border_points(triangles)
    index = TriangleIndex(triangles)
    grid = _grid(low, high, _EXTENSION_STEP)
    tree = cKDTree(border[:, :2])
    distance, nearest = tree.query(grid, k=min(16, len(border)))
    distance, nearest = distance.reshape(len(grid), -1), nearest.reshape(len(grid), -1)
    outside = np.isnan(index.height(grid)) & (distance[:, 0] > _EXTENSION_STEP / 2)
    on_edge = ((grid == low) | (grid == high)).any(axis=1) & np.isnan(index.height(grid)) & (distance[:, 0] > 0.05)
    use = outside | on_edge
    weight = 1.0 / np.maximum(distance[use], 1.0)
    height = (weight * border[nearest[use], 2]).sum(axis=1) / weight.sum(axis=1)
    points = np.concatenate([border, np.column_stack([grid[use], height])])
    try:
        simplices = Delaunay(points[:, :2] - points[0, :2]).simplices
    except QhullError:
        return np.zeros((0, 3, 3)), 0.0
    fill = points[simplices]
    doubled = np.cross(fill[:, 1] - fill[:, 0], fill[:, 2] - fill[:, 0])[:, 2]
    fill[doubled < 0] = fill[doubled < 0][:, ::-1]
    fill = fill[np.abs(doubled) > 2 * _MIN_AREA]
    fill = fill[np.isnan(index.height(fill[:, :, :2].mean(axis=1)))]
    area = _plan_area(fill) + _plan_area(triangles)
    return fill, max(area / float((high - low).prod()) - 1.0, 0.0)


def _plan_area(triangles: Array) -> float:
    return float(np.abs(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])[:, 2]).sum() / 2)


def _border_points(triangles: Array, step: float = 10.0) -> Array:
    """Points (N, 3) along edges that only one triangle has, at most `step` apart, exactly on the edges."""
    corners, inverse = np.unique(np.round(triangles.reshape(-1, 3), 4), axis=0, return_inverse=True)
    exact = np.empty_like(corners)
    exact[inverse.reshape(-1)] = triangles.reshape(-1, 3)
    faces = inverse.reshape(-1, 3)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    single = unique[count == 1]
    if len(single) == 0:
        single = unique
    points = [exact[np.unique(single)]]
    a, b = exact[single[:, 0]], exact[single[:, 1]]
    pieces = np.ceil(np.linalg.norm((b - a)[:, :2], axis=1) / step).astype(int)
    for n in np.unique(pieces[pieces > 1]):
        has = pieces == n
        share = np.arange(1, n) / n
        points.append((a[has][:, None] + share[:, None] * (b - a)[has][:, None]).reshape(-1, 3))
    return np.concatenate(points)


def _grid(low: Array, high: Array, step: float) -> Array:
    """(N, 2) points of an even grid that includes the corners."""
    nx, ny = np.maximum(np.ceil((high - low) / step).astype(int), 1)
    x, y = np.linspace(low[0], high[0], nx + 1), np.linspace(low[1], high[1], ny + 1)
    return np.stack(np.meshgrid(x, y, indexing="xy"), axis=-1).reshape(-1, 2)


def _fit(bases: Array, region: Array) -> tuple[Array, float]:
    """A smooth surface through the bases and its squares' edge: inverse distance over the nearest; outliers above
    neighbours are lowered; far from every building there is no ground."""
    tree = cKDTree(bases[:, :2])
    _, nearest = tree.query(bases[:, :2], k=min(9, len(bases)))
    around = np.median(bases[nearest.reshape(len(bases), -1), 2], axis=1)
    level = np.minimum(bases[:, 2], around + 3.0)
    extent = region[1] - region[0]
    step = max(_FIT_STEP, float(np.sqrt(extent.prod() / 250_000)))
    nx, ny = np.maximum(np.ceil(extent / step).astype(int), 2)
    nodes = np.stack(
        np.meshgrid(np.linspace(region[0, 0], region[1, 0], nx + 1), np.linspace(region[0, 1], region[1, 1], ny + 1)),
        axis=-1,
    )
    distance, near = tree.query(nodes.reshape(-1, 2), k=min(8, len(bases)))
    distance, near = distance.reshape(nodes.shape[0] * nodes.shape[1], -1), near.reshape(len(nodes.reshape(-1, 2)), -1)
    weight = 1.0 / np.maximum(distance, 1.0) ** 2
    height = ((weight * level[near]).sum(axis=1) / weight.sum(axis=1)).reshape(nodes.shape[:2])
    height = gaussian_filter(height, 1.0, mode="nearest")
    p = np.concatenate([nodes, height[..., None]], axis=-1)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    near_city = distance[:, 0].reshape(nodes.shape[:2])[:-1, :-1] < max(_FIT_REACH, 2 * step)
    a, b, c, d = (corner[near_city] for corner in (a, b, c, d))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]), step

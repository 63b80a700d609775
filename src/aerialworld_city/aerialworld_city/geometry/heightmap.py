"""The terrain as a heightmap: a square picture of heights, for simulators that draw large ground faster that way.

Gazebo Harmonic (gz-common 5, gz-rendering 8, read in their sources) wants 2ⁿ + 1 pixels a side, row 0 in the north, and
draws the first 2ⁿ of them, size / 2ⁿ apart, from the north-western corner on; squares are split from north-west to
south-east. A value is a share of the greatest one that occurs. So the ground's whole extent lies within the first 2ⁿ
samples, and value 65,535 occurs. Bodies and surfaces have to meet this ground and not the mesh it was taken from: use
`Heightmap.terrain` in its place.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aerialworld_city.geometry.overlay import TriangleIndex
from aerialworld_city.geometry.terrain import Terrain
from aerialworld_core.frames import Array

#: Samples are at most this share of the terrain's usual edge apart, and at least and at most so many metres, as long as
#: there are no more than `_MOST` a side: half as far apart they would show the same triangles in four times the memory.
_OF_EDGE, _FINEST, _COARSEST = 0.6, 2.0, 8.0
_LEAST, _MOST = 33, 2049
_TOP = 65535
#: Places that are looked up at once, which bounds the memory.
_AT_ONCE = 1_000_000


@dataclass(frozen=True, eq=False)
class Heightmap:
    """`values` (N, N) uint16, row 0 north, column 0 west; `size` x, y, z and `position` (x, y of the middle, z of value
    0) metres, as SDF has them; `worst` metres by which it departs most from the terrain at any of its corners, `usual`
    the same for 95 of 100 corners; `filled` samples where the terrain has no ground."""

    values: NDArray[np.uint16]
    size: tuple[float, float, float]
    position: tuple[float, float, float]
    worst: float
    usual: float
    filled: int

    @property
    def spacing(self) -> float:
        """Metres from sample to sample."""
        return self.size[0] / (len(self.values) - 1)

    def png(self) -> bytes:
        """16-bit grey."""
        out = io.BytesIO()
        Image.fromarray(self.values).save(out, "PNG", optimize=False)
        return out.getvalue()

    def samples(self) -> Array:
        """(N, N, 3) places of the samples in map, as the picture's values give them."""
        count = len(self.values)
        east = self.position[0] - self.size[0] / 2 + np.arange(count) * self.spacing
        north = self.position[1] + self.size[1] / 2 - np.arange(count) * self.spacing
        x, y = np.meshgrid(east, north)
        return np.stack([x, y, self.position[2] + self.values / _TOP * self.size[2]], axis=-1)

    def terrain(self, like: Terrain) -> Terrain:
        """This ground as triangles, with what is known of the terrain that it was made from."""
        p = self.samples()
        nw, ne, sw, se = p[:-1, :-1], p[:-1, 1:], p[1:, :-1], p[1:, 1:]
        triangles = np.stack([np.stack([nw, sw, se], axis=2), np.stack([nw, se, ne], axis=2)], axis=2)
        notes = [*like.notes, self.told()]
        return Terrain(triangles.reshape(-1, 3, 3), 0, like.kind, like.dropped, notes)

    def told(self) -> str:
        """What a reader of the report should know."""
        text = (
            f"the ground is a heightmap with samples {self.spacing:.2f} m apart: it departs from the terrain by up to "
            f"{self.worst:.2f} m ({self.usual:.2f} m for 95 of 100 corners)"
        )
        return text + (f"; {self.filled} samples without ground have the nearest height" if self.filled else "")


def make_heightmap(terrain: Terrain) -> Heightmap:
    """The terrain as a heightmap with samples 2 m to 8 m apart, as its triangles are large, or 2049 × 2049 of
    them where the city is wider.

    Beyond the terrain's bounds and in its gaps the nearest height goes on: a heightmap is square and has no holes.
    """
    low = terrain.triangles.min(axis=(0, 1))[:2]
    high = terrain.triangles.max(axis=(0, 1))[:2]
    extent = float((high - low).max())
    count, wanted = _LEAST, _spacing(terrain)
    while extent / (count - 2) > wanted and count < _MOST:
        count = 2 * count - 1
    spacing = extent / (count - 2)
    corner = np.array([low[0], high[1]])
    heights, filled = _sampled(terrain.index, corner, spacing, count, low, high)
    bottom, top = float(heights.min()), float(heights.max())
    if top - bottom < 1e-3:
        bottom = top - 1.0
    values = np.round((heights - bottom) / (top - bottom) * _TOP).astype(np.uint16)
    side = spacing * (count - 1)
    position = (float(corner[0]) + side / 2, float(corner[1]) - side / 2, bottom)
    decoded = bottom + values / _TOP * (top - bottom)
    error = _errors(terrain.triangles, decoded, corner, spacing)
    return Heightmap(
        values,
        (side, side, top - bottom),
        position,
        float(error.max(initial=0.0)),
        float(np.percentile(error, 95)) if len(error) else 0.0,
        filled,
    )


def _spacing(terrain: Terrain) -> float:
    """The distance of samples that the triangles are worth, metres; of a terrain model its own triangles are asked."""
    xy = terrain.triangles[: terrain.source_count or None, :, :2]
    edge = float(np.median(np.linalg.norm(xy - np.roll(xy, -1, axis=1), axis=2)))
    return min(max(_OF_EDGE * edge, _FINEST), _COARSEST)


def _sampled(
    index: TriangleIndex, corner: Array, spacing: float, count: int, low: Array, high: Array
) -> tuple[Array, int]:
    """Heights (N, N) at the samples, and how many of those within the bounds have no ground."""
    x = corner[0] + np.arange(count) * spacing
    y = corner[1] - np.arange(count) * spacing
    inside_x, inside_y = np.clip(x, low[0], high[0]), np.clip(y, low[1], high[1])
    heights = np.empty((count, count))
    rows = max(_AT_ONCE // count, 1)
    for begin in range(0, count, rows):
        grid = np.stack(np.meshgrid(inside_x, inside_y[begin : begin + rows]), axis=-1)
        heights[begin : begin + rows] = index.height(grid.reshape(-1, 2)).reshape(grid.shape[:2])
    none = np.isnan(heights)
    if none.any():
        from scipy.ndimage import distance_transform_edt  # every conversion would wait for it to load

        nearest = distance_transform_edt(none, return_distances=False, return_indices=True)
        heights = heights[tuple(nearest)]
    within = (x <= high[0])[None] & (y >= low[1])[:, None]
    return heights, int((none & within).sum())


def _errors(triangles: Array, heights: Array, corner: Array, spacing: float) -> Array:
    """|heightmap − terrain| at the corners of the terrain's triangles."""
    result = []
    for begin in range(0, len(triangles), _AT_ONCE):
        points = triangles[begin : begin + _AT_ONCE].reshape(-1, 3)
        result.append(np.abs(height_at(heights, corner, spacing, points[:, :2]) - points[:, 2]))
    return np.concatenate(result) if result else np.zeros(0)


def height_at(heights: Array, corner: Array, spacing: float, xy: Array) -> Array:
    """Heights of the surface through samples (N, N) whose north-western one lies at `corner`, at places (M, 2)."""
    last = len(heights) - 2
    u, v = (xy[:, 0] - corner[0]) / spacing, (corner[1] - xy[:, 1]) / spacing
    i, j = np.clip(u, 0, last).astype(int), np.clip(v, 0, last).astype(int)
    u, v = u - i, v - j
    nw, ne, sw, se = heights[j, i], heights[j, i + 1], heights[j + 1, i], heights[j + 1, i + 1]
    east_first = nw + u * (ne - nw) + v * (se - ne)
    south_first = nw + v * (sw - nw) + u * (se - sw)
    return np.asarray(np.where(u >= v, east_first, south_first))

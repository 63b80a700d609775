"""Oblique pictures of voxel grids: exposed faces in painter's order, coloured by class, without any graphics library.

For boxes on a regular grid, walking every axis from the far side to the near one is an exact back-to-front order, so
the picture has no sorting errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import COLOURS, FREE

#: Brightness of faces that look along x, y and z; the top is the brightest.
SHADES = (0.70, 0.86, 1.0)
EDGE_SHADE = 0.80
SUPERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """An orthographic camera. `azimuth`: from where one looks, radians in the grid's frame (0 = from ahead of the
    vehicle, counter-clockwise); `elevation`: how far above the horizon."""

    azimuth: float = np.deg2rad(212.0)
    elevation: float = np.deg2rad(38.0)

    @property
    def towards(self) -> NDArray[np.float64]:
        """Unit vector from the scene to the camera."""
        ce, se = np.cos(self.elevation), np.sin(self.elevation)
        return np.array([ce * np.cos(self.azimuth), ce * np.sin(self.azimuth), se])

    @property
    def axes(self) -> NDArray[np.float64]:
        """(2, 3): the directions in the grid's frame that go right and down in the picture."""
        ca, sa, ce, se = np.cos(self.azimuth), np.sin(self.azimuth), np.cos(self.elevation), np.sin(self.elevation)
        return np.array([[-sa, ca, 0.0], [se * ca, se * sa, -ce]])


@dataclass(frozen=True)
class Canvas:
    """Where a box of space lies in a picture: pixel = (p · axes − offset) · scale."""

    view: View
    scale: float
    offset: NDArray[np.float64]
    width: int
    height: int

    @classmethod
    def around(cls, low: NDArray[np.float64], high: NDArray[np.float64], view: View, width: int) -> Canvas:
        """A picture `width` pixels wide that holds the box."""
        corners = np.array([[(low, high)[(i >> a) & 1][a] for a in range(3)] for i in range(8)])
        flat = corners @ view.axes.T
        extent = flat.max(axis=0) - flat.min(axis=0)
        scale = (width - 8) / extent[0]
        offset = flat.min(axis=0) - 4 / scale
        return cls(view, float(scale), offset, width, int(np.ceil(extent[1] * scale)) + 8)

    def pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) picture coordinates of points (N, 3)."""
        return np.asarray((points @ self.view.axes.T - self.offset) * self.scale)


def cropped_levels(grid: VoxelGrid, bottom: float, top: float) -> tuple[slice, VoxelGrid]:
    """The levels between two heights (metres in the grid's frame) and the grid that holds just them."""
    size = grid.voxel_size[2]
    first = int(np.clip(np.floor((bottom - grid.minimum[2]) / size), 0, grid.shape[2] - 1))
    last = int(np.clip(np.ceil((top - grid.minimum[2]) / size), first + 1, grid.shape[2]))
    minimum = (grid.minimum[0], grid.minimum[1], grid.minimum[2] + first * size)
    return slice(first, last), VoxelGrid(minimum, grid.voxel_size, (*grid.shape[:2], last - first))


def render_voxels(
    semantics: NDArray[np.uint8],
    grid: VoxelGrid,
    *,
    view: View | None = None,
    width: int = 560,
) -> NDArray[np.uint8]:
    """(H, W, 4) RGBA picture of the voxels that are not FREE; the background is transparent.

    semantics (X, Y, Z) class ids in `grid`; the picture frames the whole grid, so that pictures of one grid compare.
    """
    view = view or View()
    canvas = Canvas.around(np.array(grid.minimum), np.array(grid.maximum), view, width * SUPERSAMPLING)
    solid = semantics != FREE
    ijk = np.argwhere(solid)
    ijk = ijk[np.lexsort([ijk[:, axis] * np.sign(view.towards[axis]) for axis in (2, 1, 0)])]  # far to near
    picture = np.zeros((canvas.height * canvas.width, 4), np.uint8)
    if len(ijk):
        _paint(picture, canvas, ijk, solid, semantics, grid)
    return downsampled(picture.reshape(canvas.height, canvas.width, 4))


def _paint(
    picture: NDArray[np.uint8],
    canvas: Canvas,
    ijk: NDArray[np.int64],
    solid: NDArray[np.bool_],
    semantics: NDArray[np.uint8],
    grid: VoxelGrid,
) -> None:
    size = np.array(grid.voxel_size)
    toward = np.where(canvas.view.towards > 0, 1, -1)
    base = COLOURS[semantics[tuple(ijk.T)]] * _height_shade(ijk[:, 2] * size[2])[:, None]
    voxel, axis_of = [], []
    for axis in range(3):
        edge_on = abs(canvas.view.towards[axis]) < 1e-6
        exposed = _exposed(ijk, solid, axis, int(toward[axis])) & (not edge_on)
        voxel.append(np.flatnonzero(exposed))
        axis_of.append(np.full(len(voxel[-1]), axis))
    row, axes = np.concatenate(voxel), np.concatenate(axis_of)
    sequence = np.argsort(row, kind="stable")
    row, axes = row[sequence], axes[sequence]
    # Each of the three faces looks the same everywhere: one stamp of pixels, moved to the voxel's corner.
    stamps = [_stamp(canvas, size, axis, int(toward[axis])) for axis in range(3)]
    begin = np.cumsum([0, *(len(s[0]) for s in stamps)])
    offsets = np.concatenate([s[0] for s in stamps])
    shades = np.concatenate([s[1] for s in stamps])
    counts = np.diff(begin)
    corner = np.rint(canvas.pixels(np.array(grid.minimum) + ijk * size)).astype(np.int64)
    for start in range(0, len(row), 4096):  # later faces cover earlier ones; chunks bound the memory
        r, a = row[start : start + 4096], axes[start : start + 4096]
        face = np.repeat(np.arange(len(r)), counts[a])
        within = np.arange(len(face)) - np.repeat(np.cumsum(counts[a]) - counts[a], counts[a])
        pixel = begin[a][face] + within
        xy = corner[r][face] + offsets[pixel]
        visible = ((xy >= 0) & (xy < (canvas.width, canvas.height))).all(axis=1)
        target = xy[visible, 1] * canvas.width + xy[visible, 0]
        colour = np.clip(base[r][face[visible]] * shades[pixel[visible]][:, None], 0, 255)
        picture[target, :3] = colour.astype(np.uint8)
        picture[target, 3] = 255


def _height_shade(height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Higher is lighter: gives depth to buildings of one colour."""
    return 0.80 + 0.32 * np.clip(height / max(20.0, float(height.max())), 0, 1)


def _exposed(ijk: NDArray[np.int64], solid: NDArray[np.bool_], axis: int, step: int) -> NDArray[np.bool_]:
    """Which voxels have no neighbour in direction `step` of `axis`."""
    neighbour = ijk.copy()
    neighbour[:, axis] += step
    inside = (neighbour[:, axis] >= 0) & (neighbour[:, axis] < solid.shape[axis])
    exposed = ~inside
    exposed[inside] = ~solid[tuple(neighbour[inside].T)]
    return exposed


def _stamp(
    canvas: Canvas, size: NDArray[np.float64], axis: int, toward: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pixels (K, 2) of a face relative to its voxel's low corner, and their brightness (K,), darker on the edges."""
    scaled = (canvas.view.axes * canvas.scale).T * size[:, None]  # (3, 2): the voxel's edges in pixels
    origin = scaled[axis] if toward > 0 else np.zeros(2)
    e1, e2 = (scaled[a] for a in range(3) if a != axis)
    if abs(canvas.view.towards[axis]) < 1e-6:  # seen edge-on: nothing to paint
        return np.zeros((0, 2), np.int64), np.zeros(0)
    corners = origin + np.array([[0, 0], e1, e2, e1 + e2])
    lo, hi = np.floor(corners.min(axis=0)).astype(int) - 1, np.ceil(corners.max(axis=0)).astype(int) + 1
    grid = np.stack(np.meshgrid(np.arange(lo[0], hi[0] + 1), np.arange(lo[1], hi[1] + 1), indexing="ij"), -1)
    points = grid.reshape(-1, 2)
    st = (points - origin) @ np.linalg.inv(np.stack([e1, e2]))
    slack = 0.75 / np.array([max(np.linalg.norm(e1), 1e-9), max(np.linalg.norm(e2), 1e-9)])  # closes rounding gaps
    inside = ((st >= -slack) & (st <= 1 + slack)).all(axis=1)
    edge = np.asarray(((st < 2 * slack) | (st > 1 - 2 * slack)).any(axis=1))
    edge &= bool((slack < 0.12).all())  # tiny faces would be all edge
    return points[inside], SHADES[axis] * np.where(edge[inside], EDGE_SHADE, 1.0)


def downsampled(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average of SUPERSAMPLING² pixels, colours weighted by their opacity."""
    n = SUPERSAMPLING
    h, w = picture.shape[0] // n * n, picture.shape[1] // n * n
    blocks = picture[:h, :w].reshape(h // n, n, w // n, n, 4).astype(np.float64)
    alpha = blocks[..., 3:].sum(axis=(1, 3))
    colour = (blocks[..., :3] * blocks[..., 3:]).sum(axis=(1, 3)) / np.maximum(alpha, 1)
    return np.concatenate([colour, alpha / n**2], axis=-1).round().astype(np.uint8)

"""Which voxels a surface touches, exactly: every triangle is clipped to every column of voxels that it may cross.

The part of a triangle inside a column is one convex polygon, so the heights it spans are one interval and say exactly
which voxels of the column it meets. The outcome equals the separating-axis test of triangle and box (Akenine-Möller,
"Fast 3D triangle-box overlap testing", 2001), at the cost of columns instead of voxels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.kernels import kernel
from aerialworld_core.labels import FREE
from aerialworld_core.world.world import World

_NONE = 255


def surface_voxels(triangles: NDArray[np.float64], grid: VoxelGrid, grow: float = 0.0) -> NDArray[np.bool_]:
    """Voxels that a triangle meets: triangles (F, 3, 3) in the grid's frame, metres → bool `grid.shape`.

    Boxes are grown by `grow` metres on each side and closed: touching counts. Raises InputError for shapes that do not
    fit and numbers that are not finite.
    """
    return voxel_classes(triangles, np.zeros(len(triangles), np.uint8), grid, grow) != FREE


def voxel_classes(
    triangles: NDArray[np.float64], classes: NDArray[np.uint8], grid: VoxelGrid, grow: float = 0.0
) -> NDArray[np.uint8]:
    """As `surface_voxels`, with the class (F,) of the triangles: uint8 `grid.shape`, FREE where there is no surface.

    Where several classes meet in a voxel the lowest id but `others` (0) is taken, whatever the order of the triangles.
    """
    t = np.ascontiguousarray(triangles, dtype=np.float64)
    if t.ndim != 3 or t.shape[1:] != (3, 3) or len(t) != len(classes) or not np.isfinite(t).all():
        raise InputError(f"triangles must be (F, 3, 3) finite numbers with F classes, not {t.shape} and {len(classes)}")
    # `others` is stored as 254 while classes compete, so that it loses against all.
    rank = np.where(np.asarray(classes) == 0, _NONE - 1, classes).astype(np.uint8)
    out = np.full(grid.shape, _NONE, dtype=np.uint8)
    # Polygons in work: a triangle clipped by four planes has at most seven corners.
    half, slab, rod = np.empty((10, 3)), np.empty((10, 3)), np.empty((10, 3))
    _mark(t, rank, np.array(grid.minimum), np.array(grid.voxel_size), float(grow), half, slab, rod, out)
    out[out == _NONE] = FREE
    out[out == _NONE - 1] = 0
    return out


def world_surface_voxels(world: World, grid: VoxelGrid, grid_from_map: Array, grow: float = 0.0) -> NDArray[np.bool_]:
    """Voxels that any triangle of the world meets. `grid_from_map` 4×4 as `frames.grid_from_map` gives it."""
    return surface_voxels(_near(world, grid, grid_from_map, grow)[0], grid, grow)


def world_voxel_classes(world: World, grid: VoxelGrid, grid_from_map: Array, grow: float = 0.0) -> NDArray[np.uint8]:
    """Full truth: the class of every voxel that a triangle of the world meets, seen or not; FREE elsewhere."""
    triangles, faces = _near(world, grid, grid_from_map, grow)
    return voxel_classes(triangles, world.scene.face_class[faces], grid, grow)


def _near(
    world: World, grid: VoxelGrid, grid_from_map: Array, grow: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The triangles, in the grid's frame, whose boxes meet the grid's, and their indices."""
    m = np.asarray(grid_from_map, dtype=np.float64)
    vertices = world.scene.vertices.astype(np.float64) @ m[:3, :3].T + m[:3, 3]
    # Per axis and side: a triangle is out when all its corners are beyond the same side.
    beyond = np.concatenate(
        [vertices < np.array(grid.minimum) - grow, vertices > np.array(grid.maximum) + grow], axis=1
    )
    faces = world.scene.faces
    out = (beyond[faces[:, 0]] & beyond[faces[:, 1]] & beyond[faces[:, 2]]).any(axis=1)
    near = np.flatnonzero(~out)
    return vertices[faces[near]], near


@kernel
def _clip(source, count, axis, bound, sign, target):  # type: ignore[no-untyped-def]
    """Sutherland–Hodgman: the part of a polygon (count corners) where sign·(p[axis] − bound) ≥ 0."""
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        a = sign * (source[i, axis] - bound)
        b = sign * (source[j, axis] - bound)
        if a >= 0:
            for k in range(3):
                target[kept, k] = source[i, k]
            kept += 1
        if (a > 0 and b < 0) or (a < 0 and b > 0):
            s = a / (a - b)
            for k in range(3):
                target[kept, k] = source[i, k] + s * (source[j, k] - source[i, k])
            target[kept, axis] = bound
            kept += 1
    return kept


@kernel
def _span(polygon, count, axis, minimum, size, grow, cells):  # type: ignore[no-untyped-def]
    """First and last cell whose closed, grown interval the polygon meets along an axis (first > last: none)."""
    low, high = polygon[0, axis], polygon[0, axis]
    for i in range(1, count):
        low = min(low, polygon[i, axis])
        high = max(high, polygon[i, axis])
    first = np.ceil((low - grow - minimum) / size - 1.0)
    last = np.floor((high + grow - minimum) / size)
    return int(max(first, 0.0)), int(min(last, cells - 1.0))


@kernel
def _mark(triangles, rank, minimum, size, grow, half, slab, rod, out):  # type: ignore[no-untyped-def]
    nx, ny, nz = out.shape
    for f in range(len(triangles)):
        i0, i1 = _span(triangles[f], 3, 0, minimum[0], size[0], grow, nx)
        j0, j1 = _span(triangles[f], 3, 1, minimum[1], size[1], grow, ny)
        k0, k1 = _span(triangles[f], 3, 2, minimum[2], size[2], grow, nz)
        if i0 > i1 or j0 > j1 or k0 > k1:
            continue
        for i in range(i0, i1 + 1):
            x = minimum[0] + i * size[0]
            n = _clip(triangles[f], 3, 0, x - grow, 1.0, half)
            n = _clip(half, n, 0, x + size[0] + grow, -1.0, slab)
            if n == 0:
                continue
            j0, j1 = _span(slab, n, 1, minimum[1], size[1], grow, ny)
            for j in range(j0, j1 + 1):
                y = minimum[1] + j * size[1]
                m = _clip(slab, n, 1, y - grow, 1.0, half)
                m = _clip(half, m, 1, y + size[1] + grow, -1.0, rod)
                if m == 0:
                    continue
                k0, k1 = _span(rod, m, 2, minimum[2], size[2], grow, nz)
                for k in range(k0, k1 + 1):
                    out[i, j, k] = min(out[i, j, k], rank[f])

"""Moving a voxel grid rigidly from one vehicle pose to another: the ego-warp baseline.

In a static city the future grid is the present one, seen from elsewhere. The grid's frame is gravity-aligned and its z
is measured from a datum that stays, so only x, y and yaw change and whole columns of voxels move together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE


def column_sources(
    grid: VoxelGrid, past_pose: Pose, future_pose: Pose, datum: float = 0.0
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which column of the past grid lies where each column of the future grid is (nearest voxel, inverse mapping).

    Returns the flat index ix·ny + iy into the past grid's columns, shape (nx, ny), and whether it lies inside (nx, ny);
    the index is 0 where it does not. Datums cancel: both grids share one.
    """
    nx, ny, _ = grid.shape
    past_from_future = grid_from_map(past_pose, datum) @ np.linalg.inv(grid_from_map(future_pose, datum))
    x = grid.minimum[0] + (np.arange(nx) + 0.5) * grid.voxel_size[0]
    y = grid.minimum[1] + (np.arange(ny) + 0.5) * grid.voxel_size[1]
    r, t = past_from_future[:2, :2], past_from_future[:2, 3]
    column = []
    for axis in (0, 1):
        p = r[axis, 0] * x[:, None] + r[axis, 1] * y[None, :] + t[axis]
        # The margin keeps a centre that falls on a voxel's lower face, but for rounding, in that voxel.
        column.append(np.floor((p - grid.minimum[axis]) / grid.voxel_size[axis] + 1e-9))
    inside = (column[0] >= 0) & (column[0] < nx) & (column[1] >= 0) & (column[1] < ny)
    source = np.where(inside, column[0] * ny + column[1], 0).astype(np.int64)
    return source, inside


def warp_columns(
    values: NDArray[Any], source: NDArray[np.int64], inside: NDArray[np.bool_], outside: int | bool
) -> NDArray[Any]:
    """`values` (nx, ny, nz) moved by `column_sources`' answer; columns from outside the past grid hold `outside`."""
    nx, ny, nz = values.shape
    moved = values.reshape(nx * ny, nz)[source]
    moved[~inside] = outside
    return moved


def ego_warp(
    occupancy: NDArray[Any],
    semantics: NDArray[np.uint8] | None,
    grid: VoxelGrid,
    past_pose: Pose,
    future_pose: Pose,
    datum: float,
) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """The past frame's voxels as they would lie in the future pose's grid if nothing moved.

    occupancy    (nx, ny, nz) uint8 or bool, in the grid's frame of `past_pose`; the answer has its dtype
    semantics    (nx, ny, nz) uint8 class ids, or None
    past_pose, future_pose  base_link in map

    Nearest voxel by inverse mapping of the future voxels' centres; what comes from outside the past grid is free (0,
    and FREE in semantics). z never shifts. Raises InputError when a shape is not the grid's.
    """
    for name, array in (("occupancy", occupancy), ("semantics", semantics)):
        if array is not None and array.shape != grid.shape:
            raise InputError(f"ego_warp: {name} has shape {array.shape}, the grid {grid.shape}")
    source, inside = column_sources(grid, past_pose, future_pose, datum)
    warped = warp_columns(occupancy, source, inside, 0)
    return warped, None if semantics is None else warp_columns(semantics, source, inside, FREE)

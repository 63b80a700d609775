"""Occupied voxels as points, for whoever wants to watch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.occupancy import Occupancy

#: A point: x, y, z in map, and the class.
VOXEL_POINT = np.dtype(
    {
        "names": ["x", "y", "z", "class"],
        "formats": ["<f4", "<f4", "<f4", "u1"],
        "offsets": [0, 4, 8, 12],
        "itemsize": 16,
    }
)


def voxel_points(occupancy: Occupancy, grid: VoxelGrid, pose: Pose, datum: float) -> NDArray[np.void]:
    """The centres of the occupied voxels (N,) VOXEL_POINT, of a frame at `pose`, in map, with their classes."""
    ijk = np.argwhere(occupancy.occupancy)
    map_from_grid = np.linalg.inv(grid_from_map(pose, datum))
    centres = grid.centers(ijk) @ map_from_grid[:3, :3].T + map_from_grid[:3, 3]
    points = np.zeros(len(ijk), VOXEL_POINT)
    for axis, name in enumerate("xyz"):
        points[name] = centres[:, axis]
    points["class"] = occupancy.semantics[tuple(ijk.T)]
    return points

"""Occupied voxels as points, for whoever wants to watch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose, grid_pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.occupancy import Occupancy

#: A point's fields and where they lie: x, y, z (m, in map), and the class.
OFFSETS = {"x": 0, "y": 4, "z": 8, "class": 12}
VOXEL_POINT = np.dtype(
    {
        "names": list(OFFSETS),
        "formats": ["<f4", "<f4", "<f4", "u1"],
        "offsets": list(OFFSETS.values()),
        "itemsize": 16,
    }
)


def voxel_points(occupancy: Occupancy, grid: VoxelGrid, pose: Pose, datum: float) -> NDArray[np.void]:
    """The centres of the occupied voxels (N,) VOXEL_POINT, of a frame at `pose`, in map, with their classes."""
    ijk = np.argwhere(occupancy.occupancy)
    centres = grid_pose(pose, datum).transform(grid.centers(ijk))
    points = np.zeros(len(ijk), VOXEL_POINT)
    for axis, name in enumerate("xyz"):
        points[name] = centres[:, axis]
    points["class"] = occupancy.semantics[tuple(ijk.T)]
    return points

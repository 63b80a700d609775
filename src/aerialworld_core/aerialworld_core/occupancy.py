"""One frame's voxels: what is occupied, by which class, and what has been seen at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE


@dataclass(frozen=True, eq=False)
class Occupancy:
    """Voxels of one frame in the grid's frame, index order [x, y, z], all of `grid.shape`.

    occupancy  uint8, 1 where a surface was seen; unknown voxels hold 0
    semantics  uint8 class ids, FREE (17) where not occupied
    observed   bool, True where a ray passed through or hit; False is unknown
    """

    occupancy: NDArray[np.uint8]
    semantics: NDArray[np.uint8]
    observed: NDArray[np.bool_]

    @classmethod
    def empty(cls, grid: VoxelGrid) -> Occupancy:
        """Nothing occupied, nothing observed."""
        return cls(np.zeros(grid.shape, np.uint8), np.full(grid.shape, FREE, np.uint8), np.zeros(grid.shape, np.bool_))

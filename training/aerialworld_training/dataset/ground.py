"""Where the ground lies in a frame, in levels of the grid: what a window's volumes are shifted by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.labels import GROUND

UNKNOWN = -1


def ground_of(levels: NDArray[np.integer], classes: NDArray[np.uint8]) -> int:
    """The 5th percentile of the levels of a frame's ground voxels: road, sidewalk, other flat and terrain, or of
    everything occupied where a frame has no ground; UNKNOWN where nothing is occupied.

    levels and classes (K,) of the occupied voxels.
    """
    if not len(levels):
        return UNKNOWN
    ground = levels[np.isin(classes, GROUND)]
    return int(np.percentile(ground if len(ground) else levels, 5, method="lower"))

"""Ground without gaps: where a point or ray falls into the seam between two triangles (they are micrometres wide),
its neighbour is asked."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array

#: How far from the seam its neighbour is looked for, metres east and north.
BESIDE = np.array([0.003, 0.005])


class _Terrain(Protocol):
    def terrain_height(self, xy: NDArray[Any]) -> Array: ...


def ground_height(world: _Terrain, xy: NDArray[Any]) -> Array:
    """(N,) map z of the ground at points (N, 2), NaN where there is none; seams between triangles count as closed."""
    height = np.array(world.terrain_height(xy), np.float64)
    missed = np.flatnonzero(np.isnan(height))
    if missed.size:
        height[missed] = world.terrain_height(np.asarray(xy)[missed] + BESIDE)
    return height

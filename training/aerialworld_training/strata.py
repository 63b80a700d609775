"""Which voxels of a future frame are asked about: seen before or not, and how high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import NUM_CLASSES

#: Upper edges of the height bands, metres above the window's ground (the session's datum where ground is not aligned);
#: the last is open. Below 6 m includes what lies deeper.
BAND_EDGES = (6.0, 30.0, 75.0)
BAND_NAMES = ("height_0_6", "height_6_30", "height_30_75", "height_above_75")
CELLS = 2 * len(BAND_NAMES)


@dataclass(frozen=True)
class Stratum:
    """A named set of disjoint cells (0–3 persistent by band, 4–7 unseen by band)."""

    name: str
    cells: tuple[int, ...]
    meaning: str


STRATA = (
    Stratum("all", tuple(range(CELLS)), "every voxel observed at t+k"),
    Stratum("persistent", (0, 1, 2, 3), "observed at t+k and in some history frame, moved there by the true motion"),
    Stratum("unseen", (4, 5, 6, 7), "observed at t+k, in no history frame"),
    *(
        Stratum(name, (i, i + 4), meaning)
        for i, (name, meaning) in enumerate(
            zip(
                BAND_NAMES,
                ("voxel centres below 6 m above the ground", "6–30 m", "30–75 m", "75 m and above"),
                strict=True,
            )
        )
    ),
)


def height_bands(grid: VoxelGrid, up: int = 0) -> NDArray[np.int32]:
    """(Z,) band of each level by its voxels' centre height, when the volume is moved up by `up` levels."""
    z = grid.minimum[2] + (np.arange(grid.shape[2]) + up + 0.5) * grid.voxel_size[2]
    return np.searchsorted(BAND_EDGES, z, side="right").astype(np.int32)


def counting_base(
    truth: NDArray[np.uint8], seen_before: NDArray[np.bool_], observed: NDArray[np.bool_], bands: NDArray[np.int32]
) -> NDArray[np.int32]:
    """(cell·18 + truth)·18 for each voxel where `observed` holds, in C order, for `StratifiedCounts.add`."""
    cell = np.where(seen_before, 0, len(BAND_NAMES)).astype(np.int32) + bands
    return ((cell * NUM_CLASSES + truth) * NUM_CLASSES)[observed]

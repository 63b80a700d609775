"""Which voxels of a future frame are asked about: seen before or not, moving or not, changed or not, and how high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, NUM_CLASSES
from aerialworld_training.occupied import Occupied

#: Upper edges of the height bands, metres above the window's ground (the session's datum where ground is not aligned);
#: the last is open. Below 6 m includes what lies deeper.
BAND_EDGES = (6.0, 30.0, 75.0)
BAND_NAMES = ("height_0_6", "height_6_30", "height_30_75", "height_above_75")
_BANDS = len(BAND_NAMES)
#: Disjoint cells that are counted: band + 4·unseen + 8·dynamic + 16·changed.
CELLS = 8 * _BANDS
#: Codes of voxels that are not counted have this bit: above all cells' codes, those against full truth too.
IGNORED = 1 << 12


@dataclass(frozen=True)
class Stratum:
    """A named set of cells."""

    name: str
    cells: tuple[int, ...]
    meaning: str


def _cells(
    unseen: int | None = None, dynamic: int | None = None, changed: int | None = None, band: int | None = None
) -> tuple[int, ...]:
    """The cells with these properties; None is either."""
    wanted = (band, unseen, dynamic, changed)
    return tuple(
        cell
        for cell in range(CELLS)
        if all(
            w is None or w == has
            for w, has in zip(wanted, (cell % _BANDS, cell // 4 % 2, cell // 8 % 2, cell // 16), strict=True)
        )
    )


STRATA = (
    Stratum("all", _cells(), "every voxel observed at t+k"),
    Stratum("persistent", _cells(unseen=0), "observed at t+k and in a history frame, moved there by the true motion"),
    Stratum("unseen", _cells(unseen=1), "observed at t+k, in no history frame"),
    Stratum("dynamic", _cells(dynamic=1), "meets a moving object's true box at t+k, or its box at the last history"),
    Stratum("changed", _cells(changed=1), "occupied at t+k and free in the moved fused history, or the other way"),
    *(
        Stratum(name, _cells(band=i), meaning)
        for i, (name, meaning) in enumerate(
            zip(
                BAND_NAMES,
                ("voxel centres below 6 m above the ground", "6–30 m", "30–75 m", "75 m and above"),
                strict=True,
            )
        )
    ),
)


#: Against full truth alone, with cells of its own above the others: what the rig did not see at t+k.
OCCLUDED = Stratum("occluded", tuple(range(CELLS, 2 * CELLS)), "not observed at t+k, against full truth")


def height_bands(grid: VoxelGrid, up: int = 0) -> NDArray[np.int32]:
    """(Z,) band of each level by its voxels' centre height, when the volume is moved up by `up` levels."""
    z = grid.minimum[2] + (np.arange(grid.shape[2]) + up + 0.5) * grid.voxel_size[2]
    return np.searchsorted(BAND_EDGES, z, side="right").astype(np.int32)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a frame is asked, voxel by voxel, counted once and shared by all rows.

    code (X·Y·Z,) uint16: cell·18 + true class in C order, from `IGNORED` on where nothing is counted; totals
    (cells·18,) int64: how many voxels have each code.
    """

    code: NDArray[np.uint16]
    totals: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        truth: Occupied,
        seen_before: NDArray[np.bool_],
        observed: NDArray[np.bool_] | None,
        bands: NDArray[np.int32],
        dynamic: NDArray[np.int64],
        warped: Occupied,
        occluded: NDArray[np.bool_] | None = None,
    ) -> Asked:
        """truth and the moved fused history; what the history saw and what is observed at t+k (X, Y, Z), None: count
        every voxel; bands (Z,); dynamic: flat indices of what meets a moving object's box, once or more. Against full
        truth `occluded` (X, Y, Z) tells what was not seen at t+k: those cells lie `CELLS` higher."""
        codes = np.multiply(~seen_before, 4 * NUM_CLASSES, dtype=np.uint16)
        codes += (bands * NUM_CLASSES + FREE).astype(np.uint16)
        if occluded is not None:
            codes += np.multiply(occluded, CELLS * NUM_CLASSES, dtype=np.uint16)
        if observed is not None:
            codes |= np.multiply(~observed, IGNORED, dtype=np.uint16)
        flat = codes.reshape(-1)
        flat[truth.cells] -= FREE - truth.classes
        flat[dynamic] += 8 * NUM_CLASSES
        changed = np.zeros(len(flat), np.bool_)
        changed[truth.cells] = True
        changed[warped.cells] ^= True
        for cells in (truth.cells, warped.cells):
            flat[cells[changed[cells]]] += 16 * NUM_CLASSES
        codes_counted = (CELLS if occluded is None else 2 * CELLS) * NUM_CLASSES
        return cls(flat, np.bincount(flat, minlength=codes_counted)[:codes_counted])

"""Which class a voxel has when samples of several fall into it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.labels import DYNAMIC, NUM_CLASSES

_MOVES = np.isin(np.arange(NUM_CLASSES), DYNAMIC)


def majority(cells: NDArray[np.int64], classes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The cells (M,) that hold samples (N,), and each one's class: the most frequent, those that move before those that
    stand, ties to the lower id, as OccupancyProjector decides."""
    pairs, counts = np.unique(cells * NUM_CLASSES + classes, return_counts=True)
    cell, kind = np.divmod(pairs, NUM_CLASSES)
    order = np.lexsort((kind, -counts, ~_MOVES[kind], cell))
    cell, kind = cell[order], kind[order]
    first = np.ones(len(cell), np.bool_)
    first[1:] = cell[1:] != cell[:-1]
    return cell[first], kind[first].astype(np.uint8)

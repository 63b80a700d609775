"""Coarser voxels: blocks of a frame's voxels become one, and what does not fill a block at the top is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import DYNAMIC, FREE, NUM_CLASSES
from aerialworld_core.occupancy import Occupancy

T = TypeVar("T", bound=np.generic)
_IS_DYNAMIC = np.isin(np.arange(NUM_CLASSES), DYNAMIC)


def factors_between(own: VoxelGrid, wanted: VoxelGrid) -> tuple[int, int, int] | None:
    """So many voxels of `own` per axis make one of `wanted`; None where no whole numbers do."""
    whole = np.maximum(np.rint(np.array(wanted.voxel_size) / np.array(own.voxel_size)).astype(int), 1)
    factors = int(whole[0]), int(whole[1]), int(whole[2])
    pooled = own.pooled(factors)
    same = pooled.shape == wanted.shape and np.allclose(pooled.minimum, wanted.minimum, atol=1e-6)
    return factors if same and np.allclose(pooled.voxel_size, wanted.voxel_size, rtol=1e-6) else None


def pool_any(mask: NDArray[np.bool_], factors: Sequence[int]) -> NDArray[np.bool_]:
    """Logical or over blocks of `factors` voxels; remainders at the top are dropped."""
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        n = mask.shape[axis] // factor * factor
        parts = [
            mask[tuple(slice(k, n, factor) if a == axis else slice(None) for a in range(3))] for k in range(factor)
        ]
        mask = parts[0] | parts[1]
        for part in parts[2:]:
            mask |= part
    return mask


def shift_levels(volume: NDArray[T], levels: int, fill: int | bool) -> NDArray[T]:
    """A volume (X, Y, Z) moved up by `levels` (down if negative); what leaves is dropped, what enters is `fill`."""
    if levels == 0:
        return volume
    moved = np.full_like(volume, fill)
    if abs(levels) < volume.shape[2]:
        if levels > 0:
            moved[:, :, levels:] = volume[:, :, :-levels]
        else:
            moved[:, :, :levels] = volume[:, :, -levels:]
    return moved


def pool_occupancy(frame: Occupancy, factors: Sequence[int]) -> Occupancy:
    """Pool one frame by `factors` (x, y, z): occupied if any voxel is, observed if any is.

    The class is the most frequent one among the block's occupied voxels; moving classes win over still ones whatever
    their number (a car must not vanish in the road), and the lower id wins a tie. Raises InputError if an occupied
    voxel bears no class between 0 and 16.
    """
    shape = tuple(n // f for n, f in zip(frame.occupancy.shape, factors, strict=True))
    observed = pool_any(np.asarray(frame.observed, dtype=bool), factors)
    flat = np.flatnonzero(frame.occupancy)
    ijk = np.stack(np.unravel_index(flat, frame.occupancy.shape))
    classes = frame.semantics.reshape(-1)[flat].astype(np.int64)
    if len(classes) and classes.max() >= FREE:
        raise InputError(f"{int((classes >= FREE).sum())} occupied voxels have no class (semantics is 17 or above)")
    block = ijk // np.array(factors)[:, None]
    inside = (block < np.array(shape)[:, None]).all(axis=0)
    cell = np.ravel_multi_index(tuple(block[:, inside]), shape)
    # One entry per (cell, class) with its count; sorted so that the winner is each cell's last entry.
    pairs, counts = np.unique(cell * NUM_CLASSES + classes[inside], return_counts=True)
    cells, labels = pairs // NUM_CLASSES, pairs % NUM_CLASSES
    order = np.lexsort((-labels, counts, _IS_DYNAMIC[labels], cells))
    cells, labels = cells[order], labels[order]
    last = np.append(cells[1:] != cells[:-1], True) if len(cells) else np.zeros(0, bool)
    occupancy = np.zeros(shape, np.uint8)
    semantics = np.full(shape, FREE, np.uint8)
    occupancy.reshape(-1)[cells[last]] = 1
    semantics.reshape(-1)[cells[last]] = labels[last]
    return Occupancy(occupancy, semantics, observed)

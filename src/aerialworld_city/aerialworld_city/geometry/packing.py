"""Indices into packed arrays: slices one after the other, and the cells that boxes touch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def within(sizes: Index) -> Index:
    """0 … sizes[0] − 1, 0 … sizes[1] − 1, and so on: each item's number within its slice."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def ranges(begin: Index, sizes: Index) -> Index:
    """begin[0] … begin[0] + sizes[0] − 1, begin[1] … and so on: the rows of slices, one slice after the other."""
    return np.repeat(begin, sizes) + within(sizes)


def cells_between(first: Index, last: Index) -> tuple[Index, Index]:
    """(M,) box and (M, 2) cell of every cell of boxes (N, 2) that reach from `first` to `last`, both included."""
    span = last - first + 1
    count = span.prod(axis=1)
    box, number = np.repeat(np.arange(len(first)), count), within(count)
    return box, first[box] + np.column_stack([number % span[box, 0], number // span[box, 0]])

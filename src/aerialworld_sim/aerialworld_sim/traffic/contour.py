"""Closed contours of a raster by marching squares, the inside on the right as one goes along them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array

#: By which corners of a square are inside (bit 0 south-west, 1 south-east, 2 north-east, 3 north-west): the sides
#: (0 south, 1 east, 2 north, 3 west) by which a contour comes in and leaves, the inside on its right.
_PASSES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((3, 0),),
    2: ((0, 1),),
    4: ((1, 2),),
    8: ((2, 3),),
    3: ((3, 1),),
    6: ((0, 2),),
    12: ((1, 3),),
    9: ((2, 0),),
    14: ((0, 3),),
    13: ((1, 0),),
    11: ((2, 1),),
    7: ((3, 2),),
    5: ((3, 0), (1, 2)),
    10: ((0, 1), (2, 3)),
}


def contours(field: Array, level: float) -> list[Array]:
    """Closed lines (N, 2) of row, column (fractions of cells, at cell centres whole) around where `field` (R, C) is at
    least `level`; the raster's rim counts as outside."""
    padded = np.pad(np.asarray(field, np.float64), 1, constant_values=min(float(np.min(field)), level - 1.0))
    inside = padded >= level
    columns = padded.shape[1]
    code = inside[:-1, :-1] * 1 + inside[:-1, 1:] * 2 + inside[1:, 1:] * 4 + inside[1:, :-1] * 8
    follows: dict[int, int] = {}
    for value, passes in _PASSES.items():
        r, c = np.nonzero(code == value)
        for enter, leave in passes:
            follows.update(zip(_side(r, c, enter, columns).tolist(), _side(r, c, leave, columns).tolist(), strict=True))
    lines = []
    while follows:
        start = min(follows)
        line = [start]
        at = follows.pop(start)
        while at != start:
            line.append(at)
            at = follows.pop(at)
        lines.append(_points(np.array(line), padded, level) - 1.0)
    return lines


def _side(r: NDArray[np.int64], c: NDArray[np.int64], side: int, columns: int) -> NDArray[np.int64]:
    """Numbers of the squares' sides: even where the side runs along a row, odd along a column."""
    if side in (0, 2):
        return np.asarray(2 * ((r + (side == 2)) * columns + c))
    return np.asarray(2 * (r * columns + c + (side == 1)) + 1)


def _points(sides: NDArray[np.int64], field: Array, level: float) -> Array:
    """(N, 2) row and column where the field reaches the level on each side."""
    columns = field.shape[1]
    r, c = np.divmod(sides // 2, columns)
    upright = sides % 2 == 1
    a, b = field[r, c], field[r + upright, c + ~upright]
    t = (level - a) / (b - a)
    return np.stack([r + t * upright, c + t * ~upright], axis=1)

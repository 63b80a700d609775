"""Heights where no terrain model gives them: a smooth surface through the bases of what stands there."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from aerialworld_core.frames import Array

#: Spacing of a fitted ground, metres, as long as it has no more squares than `_MAX_SQUARES`.
FIT_STEP = 10.0
MAX_SQUARES = 250_000
#: How far from the nearest base a fitted ground ends, metres.
_REACH = 500.0
#: A base this much above (below) the middle of its neighbours is a deck (a pit) and bends no ground around it, metres.
_ABOVE, _BELOW = 3.0, 5.0
#: The ground makes no way down to a base that lies deeper than this below its neighbours, metres.
_ABYSS = 30.0


def grid(low: Array, high: Array, step: float) -> Array:
    """(rows, columns, 2) places of an even grid that includes the corners, at most `step` apart."""
    columns, rows = np.maximum(np.ceil((high - low) / step).astype(int), 1)
    x, y = np.linspace(low[0], high[0], columns + 1), np.linspace(low[1], high[1], rows + 1)
    return np.stack(np.meshgrid(x, y, indexing="xy"), axis=-1)


def step_for(low: Array, high: Array, wanted: float) -> float:
    """The wanted spacing, or a wider one that keeps the number of squares bounded."""
    return max(wanted, float(np.sqrt((high - low).prod() / MAX_SQUARES)))


def fitted_heights(bases: Array, nodes: Array) -> Array:
    """Heights (rows, columns) of an even grid (rows, columns, 2) through the bases (N, 3), which are not none.

    Inverse distance over the nearest, smoothed, and then nowhere above a base that stands in one of the squares around
    a node: so the ground passes at or below the middle of every base (unless it lies 30 m deeper than its neighbours),
    and no building is buried by it.
    """
    tree = cKDTree(bases[:, :2])
    around = _around(bases, tree)
    level = np.clip(bases[:, 2], around - _BELOW, around + _ABOVE)
    places = nodes.reshape(-1, 2)
    distance, near = tree.query(places, k=min(8, len(bases)))
    distance, near = distance.reshape(len(places), -1), near.reshape(len(places), -1)
    weight = 1.0 / np.maximum(distance, 1.0) ** 2
    height = ((weight * level[near]).sum(axis=1) / weight.sum(axis=1)).reshape(nodes.shape[:2])
    height = gaussian_filter(height, 1.0, mode="nearest")
    return lowered_to(bases, nodes, np.asarray(height))


def _around(bases: Array, tree: cKDTree) -> Array:
    """(N,) the middle height of each base and the eight nearest."""
    _, nearest = tree.query(bases[:, :2], k=min(9, len(bases)))
    return np.asarray(np.median(bases[nearest.reshape(len(bases), -1), 2], axis=1))


def lowered_to(bases: Array, nodes: Array, height: Array) -> Array:
    """Heights (rows, columns) of an even grid, lowered where they rise above a base (N, 3) in a square beside them."""
    around = _around(bases, cKDTree(bases[:, :2]))
    rows, columns = nodes.shape[0] - 1, nodes.shape[1] - 1
    size = (nodes[-1, -1] - nodes[0, 0]) / (columns, rows)
    square = np.floor((bases[:, :2] - nodes[0, 0]) / size).astype(int)
    inside = ((square >= 0) & (square < (columns, rows))).all(axis=1)
    column, row = square[inside].T
    cap = np.where(bases[:, 2] > around - _ABYSS, np.minimum(bases[:, 2], around + _ABOVE), np.inf)[inside]
    for i in (0, 1):
        for j in (0, 1):
            np.minimum.at(height, (row + j, column + i), cap)
    return height


def lowest_in_squares(places: Array) -> Array:
    """The lowest of places (N, 3) in each square of the fitted ground's size."""
    square = np.floor(places[:, :2] / FIT_STEP)
    order = np.lexsort((places[:, 2], square[:, 1], square[:, 0]))
    square = square[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (square[1:] != square[:-1]).any(axis=1)
    return np.asarray(places[order[first]])


def fitted_ground(bases: Array, region: Array) -> tuple[Array, float]:
    """Triangles through the bases (N, 3), and their squares' edge; far from every base there is no ground.

    Without bases: level ground at height 0.
    """
    step = step_for(region[0], region[1], FIT_STEP if len(bases) else 2.5 * FIT_STEP)
    nodes = grid(region[0], region[1], step)
    near = np.ones((nodes.shape[0] - 1, nodes.shape[1] - 1), np.bool_)
    height = np.zeros(nodes.shape[:2])
    if len(bases):
        height = fitted_heights(bases, nodes)
        distance, _ = cKDTree(bases[:, :2]).query(nodes[:-1, :-1].reshape(-1, 2))
        near = distance.reshape(near.shape) < max(_REACH, 2 * step)
    p = np.concatenate([nodes, height[..., None]], axis=-1)
    a, b, c, d = (corner[near] for corner in (p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]))
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]), step

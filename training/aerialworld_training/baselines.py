"""Forecasts that learn nothing, or nothing but frequencies: what a world model has to beat.

Moving a frame needs no third dimension: the grid is gravity-aligned and its height is counted from the session's datum,
so columns move rigidly in the plane and keep their levels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose
from aerialworld_core.labels import FREE, NUM_CLASSES
from aerialworld_core.warp import column_sources, warp_columns
from aerialworld_training.dataset.frames import PooledSession
from aerialworld_training.dataset.pooling import shift_levels


def move_frame(session: PooledSession, frame: int, target: int | Pose) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Semantics and observed mask of `frame` as they lie in the grid of frame `target`, by the true motion between
    them, or in the grid of a pose; what comes from outside the frame's grid is free and unobserved."""
    there = target if isinstance(target, Pose) else session.pose(target)
    source, inside = column_sources(session.grid, session.pose(frame), there, session.datum)
    return (
        warp_columns(session.semantics(frame), source, inside, FREE),
        warp_columns(session.observed_mask(frame), source, inside, False),
    )


def fuse_history(
    session: PooledSession, frames: Iterable[int], target: int | Pose
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Semantics and seen mask at frame `target` of what `frames` (oldest first) saw, the latest observation
    winning. `target`: a frame, or a pose."""
    semantics = np.full(session.grid.shape, FREE, np.uint8)
    seen = np.zeros(session.grid.shape, np.bool_)
    for n in frames:
        moved, observed = move_frame(session, n, target)
        np.copyto(semantics, moved, where=observed)
        seen |= observed
    return semantics, seen


def fill_from_neighbours(
    semantics: NDArray[np.uint8], seen: NDArray[np.bool_], steps: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Unseen voxels take the state of the nearest seen one at their height, up to `steps` columns away along x and y
    (counted along the axes; of equals, the one in front, then left, behind, right). What is farther stays as it is.

    semantics and seen (X, Y, Z); returns both anew.
    """
    filled, known = semantics.copy(), seen.copy()
    ahead, behind = slice(1, None), slice(None, -1)
    sides = [((behind,), (ahead,)), ((slice(None), behind), (slice(None), ahead))]
    for _ in range(steps):
        if known.all():
            break
        before, known_before = filled.copy(), known.copy()
        for to, origin in (sides[0], sides[1], sides[0][::-1], sides[1][::-1]):
            take = ~known[to] & known_before[origin]
            np.copyto(filled[to], before[origin], where=take)
            known[to] |= take
    return filled, known


def constant_prediction(sessions: Iterable[PooledSession], ground_level: int | None = None) -> NDArray[np.uint8]:
    """Per voxel of the ego grid the majority over all frames that observed it: free or occupied first, then the class
    (the lower id on a tie). Voxels that no frame observed are free. With `ground_level` every frame is first moved so
    that its ground lies there. Returns (X, Y, Z) class ids."""
    sessions = list(sessions)
    grid = sessions[0].grid
    observed = np.zeros(grid.size, np.int64)
    classes = np.zeros((NUM_CLASSES - 1, grid.size), np.int32)
    for session in sessions:
        for n in range(len(session)):
            up = session.shift(n, ground_level)
            observed += shift_levels(session.observed_mask(n), up, False).reshape(-1)
            part = slice(session.offsets[n], session.offsets[n + 1])
            level = session.cells[part].astype(np.int64) % grid.shape[2] + up
            stays = (level >= 0) & (level < grid.shape[2])
            classes[session.classes[part][stays], session.cells[part][stays].astype(np.int64) + up] += 1
    occupied = 2 * classes.sum(0, dtype=np.int64) > observed
    return np.where(occupied, classes.argmax(0), FREE).astype(np.uint8).reshape(grid.shape)

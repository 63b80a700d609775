"""The fused warp with its moving things moved on at constant velocity: what a forecast of traffic has to beat.

Two rows: the velocities come from the true boxes of the last history frame (an oracle's), or from objects tracked
through the voxels of the last two history frames, as a system without boxes would.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import DYNAMIC, FREE
from aerialworld_training.dataset.actors import Actors, label_boxes
from aerialworld_training.dataset.frames import PooledSession

Array = NDArray[np.float64]
Labels = NDArray[np.int32]
#: Faster than this nothing on the ground is taken to be, m/s.
MAX_SPEED = 25.0
_NEIGHBOURS = [(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if i or j or k]


def move_actors(
    session: PooledSession, fused: NDArray[np.uint8], last: int, target: int, labels: Labels, velocities: Array
) -> NDArray[np.uint8]:
    """Semantics (X, Y, Z) at frame `target`: the fused history (`baselines.fuse_history`) without moving classes, and
    the moving classes of frame `last`, the history's last, where their objects will be.

    labels (X, Y, Z) of that frame's objects, 0 for none; velocities (K + 1, 3) m/s in map by label. Moving classes
    without a label stay where they are.
    """
    semantics = np.where(np.isin(fused, DYNAMIC), np.uint8(FREE), fused)
    seconds = (session.stamps[target] - session.stamps[last]) * 1e-9
    frame = session.semantics(last)
    moving = np.isin(frame, DYNAMIC)
    for label in np.unique(labels[moving]):
        _stamp(session, semantics, frame, moving & (labels == label), last, target, velocities[label] * seconds)
    return semantics


def _stamp(
    session: PooledSession,
    into: NDArray[np.uint8],
    frame: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    last: int,
    target: int,
    shift: Array,
) -> None:
    """Write the classes under `mask` of frame `last`, moved by `shift` (map), into the grid of frame `target`."""
    grid = session.grid
    there = grid_from_map(session.pose(target), session.datum)
    back = np.linalg.inv(grid_from_map(session.pose(last), session.datum))
    points = grid.centers(np.argwhere(mask)) @ back[:3, :3].T + back[:3, 3] + shift
    at = np.floor((points @ there[:3, :3].T + there[:3, 3] - grid.minimum) / grid.voxel_size).astype(int)
    low, high = np.maximum(at.min(0) - 1, 0), np.minimum(at.max(0) + 2, grid.shape)
    if (low >= high).any():
        return
    # By inverse mapping, so that a turn leaves no holes.
    ijk = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1).reshape(
        -1, 3
    )
    from_there = np.linalg.inv(there)
    source = grid.centers(ijk) @ from_there[:3, :3].T + from_there[:3, 3] - shift
    here = grid_from_map(session.pose(last), session.datum)
    old, inside = grid.indices(source @ here[:3, :3].T + here[:3, 3] + 1e-9)
    hit = inside & mask[tuple(old.T)]
    into[tuple(ijk[hit].T)] = frame[tuple(old[hit].T)]


def oracle_objects(session: PooledSession, frame: int) -> tuple[Labels, Array]:
    """Labels (X, Y, Z) and velocities (K + 1, 3) by the true boxes of a frame."""
    actors: Actors = session.actors[frame] if session.actors else Actors.from_rows([])
    labels = label_boxes(session.grid, session.pose(frame), session.datum, actors)
    return labels, np.vstack([np.zeros(3), actors.velocities])


def tracked_objects(session: PooledSession, before: int, frame: int) -> tuple[Labels, Array]:
    """Labels and velocities by what the voxels of two frames show: connected moving classes of one class, matched to
    the nearest of the earlier frame that `MAX_SPEED` allows; what has no match, and all if the two frames are one,
    stands still."""
    labels, classes, centres = clusters(session, frame)
    if before == frame:
        return labels, np.zeros((len(classes) + 1, 3))
    _, old_classes, old_centres = clusters(session, before)
    seconds = (session.stamps[frame] - session.stamps[before]) * 1e-9
    velocities = np.zeros((len(classes) + 1, 3))
    for k, j in match_nearest(classes, centres, old_classes, old_centres, float(seconds)):
        velocities[k + 1, :2] = (centres[k] - old_centres[j])[:2] / seconds
    return labels, velocities


def match_nearest(
    classes: NDArray[np.uint8], centres: Array, old_classes: NDArray[np.uint8], old_centres: Array, seconds: float
) -> list[tuple[int, int]]:
    """Pairs (new, old) of objects of one class, nearest first, each once, no farther apart than `MAX_SPEED` allows."""
    pairs = [
        (float(np.linalg.norm(centres[k] - old_centres[j])), k, j)
        for k in range(len(classes))
        for j in range(len(old_classes))
        if classes[k] == old_classes[j]
    ]
    taken: set[tuple[str, int]] = set()
    matched = []
    for distance, k, j in sorted(pairs):
        if distance <= MAX_SPEED * seconds and not {("new", k), ("old", j)} & taken:
            taken |= {("new", k), ("old", j)}
            matched.append((k, j))
    return matched


def clusters(session: PooledSession, frame: int) -> tuple[Labels, NDArray[np.uint8], Array]:
    """`clusters_of` a frame."""
    return clusters_of(session.semantics(frame), session.grid, session.pose(frame), session.datum)


def clusters_of(
    semantics: NDArray[np.uint8], grid: VoxelGrid, pose: Pose, datum: float
) -> tuple[Labels, NDArray[np.uint8], Array]:
    """Connected voxels (26 neighbours) of one moving class: labels (X, Y, Z) from 1, their classes (K,), and the
    middles (K, 3) of their extents in map. semantics (X, Y, Z) in the grid of a vehicle at `pose`."""
    labels = np.zeros(grid.shape, np.int32)
    classes: list[int] = []
    centres: list[Array] = []
    back = np.linalg.inv(grid_from_map(pose, datum))
    for kind in DYNAMIC:
        left = {cast(tuple[int, int, int], tuple(v)) for v in np.argwhere(semantics == kind).tolist()}
        while left:
            found = [left.pop()]
            for i, j, k in found:
                near = {(i + a, j + b, k + c) for a, b, c in _NEIGHBOURS} & left
                left -= near
                found += sorted(near)
            at = np.array(found)
            labels[tuple(at.T)] = len(classes) + 1
            points = grid.centers(at) @ back[:3, :3].T + back[:3, 3]
            classes.append(kind)
            centres.append((points.min(0) + points.max(0)) / 2)
    return labels, np.array(classes, np.uint8), np.array(centres).reshape(-1, 3)

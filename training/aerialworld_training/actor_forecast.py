"""The fused warp with its moving things moved on at constant velocity: what a forecast of traffic has to beat.

Two rows: the velocities come from the true boxes of the last history frame (an oracle's), or from objects tracked
through the voxels of the last two history frames, as a system without boxes would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_training.dataset.actors import Actors, label_boxes
from aerialworld_training.dataset.frames import PooledSession
from aerialworld_training.occupied import MOVES, Occupied, connected

Array = NDArray[np.float64]
#: Faster than this nothing on the ground is taken to be, m/s.
MAX_SPEED = 25.0


@dataclass(frozen=True, eq=False)
class Bodies:
    """The moving voxels of one frame as objects: voxels (K,), which object each belongs to (K,), −1 for none; classes
    (N,) of the objects."""

    voxels: Occupied
    objects: NDArray[np.int64]
    classes: NDArray[np.uint8]


def move_actors(
    session: PooledSession,
    fused: Occupied,
    last: int,
    target: int,
    bodies: Bodies,
    velocities: Array,
    pose: Pose | None = None,
) -> Occupied:
    """What is occupied at the time of frame `target`: the fused history (`baselines.fuse_history`) without moving
    classes, and the moving classes of frame `last`, the history's last, where their objects will be.

    pose: in whose grid, `fused` too; the frame's own if None. bodies: frame `last`'s; velocities (N, 3) m/s in map of
    its objects. Moving voxels that belong to none stay where they are. Of objects that meet, the later one is seen.
    """
    seconds = (session.stamps[target] - session.stamps[last]) * 1e-9
    there = session.pose(target) if pose is None else pose
    moved: dict[int, int] = {}
    for k in np.unique(bodies.objects):
        shift = velocities[k] * seconds if k >= 0 else np.zeros(3)
        body = _moved(session, bodies.voxels.where(bodies.objects == k), last, there, shift)
        moved |= dict(zip(body.cells.tolist(), body.classes.tolist(), strict=True))
    stamped = Occupied(np.array(list(moved), np.int64), np.array(list(moved.values()), np.uint8))
    still = fused.where(~MOVES[fused.classes])
    hidden = np.zeros(session.grid.size, np.bool_)
    hidden[stamped.cells] = True
    return still.where(~hidden[still.cells]).and_also(stamped)


def _moved(session: PooledSession, body: Occupied, last: int, target: Pose, shift: Array) -> Occupied:
    """Voxels of frame `last`, moved by `shift` (map), in the grid of a vehicle at `target`."""
    grid = session.grid
    here, there = (grid_from_map(pose, session.datum) for pose in (session.pose(last), target))
    back, from_there = np.linalg.inv(here), np.linalg.inv(there)
    points = grid.centers(np.column_stack(np.unravel_index(body.cells, grid.shape)))
    points = points @ back[:3, :3].T + back[:3, 3] + shift
    at = np.floor((points @ there[:3, :3].T + there[:3, 3] - grid.minimum) / grid.voxel_size).astype(int)
    low, high = np.maximum(at.min(0) - 1, 0), np.minimum(at.max(0) + 2, grid.shape)
    if (low >= high).any():
        return body.where(np.zeros(len(body.cells), bool))
    # By inverse mapping, so that a turn leaves no holes.
    ijk = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1).reshape(
        -1, 3
    )
    source = grid.centers(ijk) @ from_there[:3, :3].T + from_there[:3, 3] - shift
    old, inside = grid.indices(source @ here[:3, :3].T + here[:3, 3] + 1e-9)
    order = np.argsort(body.cells)
    wanted = np.ravel_multi_index(tuple(old[inside].T), grid.shape)
    found = order[np.minimum(np.searchsorted(body.cells, wanted, sorter=order), len(order) - 1)]
    hit = body.cells[found] == wanted
    return Occupied(np.ravel_multi_index(tuple(ijk[inside][hit].T), grid.shape), body.classes[found[hit]])


def oracle_objects(session: PooledSession, frame: int) -> tuple[Bodies, Array]:
    """A frame's moving voxels by the true boxes that they meet, and the boxes' velocities (N, 3)."""
    actors: Actors = session.actors[frame] if session.actors else Actors.from_rows([])
    voxels = session.occupied(frame).moving
    labels = label_boxes(session.grid, session.pose(frame), session.datum, actors).reshape(-1)
    return Bodies(voxels, labels[voxels.cells].astype(np.int64) - 1, actors.classes), actors.velocities


def tracked_objects(session: PooledSession, before: int, frame: int) -> tuple[Bodies, Array]:
    """A frame's moving voxels as objects and velocities (N, 3) by what the voxels of two frames show: connected moving
    classes of one class, matched to the nearest of the earlier frame that `MAX_SPEED` allows; what has no match, and
    all if the two frames are one, stands still."""
    bodies, centres = clusters(session, frame)
    velocities = np.zeros((len(centres), 3))
    if before != frame:
        old, old_centres = clusters(session, before)
        seconds = (session.stamps[frame] - session.stamps[before]) * 1e-9
        for k, j in match_nearest(bodies.classes, centres, old.classes, old_centres, float(seconds)):
            velocities[k, :2] = (centres[k] - old_centres[j])[:2] / seconds
    return bodies, velocities


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


def clusters(session: PooledSession, frame: int) -> tuple[Bodies, Array]:
    """`clusters_of` a frame."""
    return clusters_of(session.occupied(frame), session.grid, session.pose(frame), session.datum)


def clusters_of(occupied: Occupied, grid: VoxelGrid, pose: Pose, datum: float) -> tuple[Bodies, Array]:
    """Connected voxels (26 neighbours) of one moving class, by class and then by first voxel, and the middles (N, 3) of
    their extents in map; in the grid of a vehicle at `pose`."""
    moving, back = occupied.moving, np.linalg.inv(grid_from_map(pose, datum))
    voxels, objects, classes, centres, count = [], [], [], [np.zeros((0, 3))], 0
    for kind in np.unique(moving.classes):
        cells = np.sort(moving.cells[moving.classes == kind])
        parts = connected(cells, grid.shape)
        points = grid.centers(np.column_stack(np.unravel_index(cells, grid.shape))) @ back[:3, :3].T + back[:3, 3]
        order = np.argsort(parts, kind="stable")
        starts = np.searchsorted(parts[order], np.arange(parts.max() + 1))
        low, high = (f.reduceat(points[order], starts) for f in (np.minimum, np.maximum))
        voxels.append(Occupied(cells, np.full(len(cells), kind)))
        objects.append(parts + count)
        classes += [kind] * len(starts)
        centres.append((low + high) / 2)
        count += len(starts)
    none = Occupied(np.zeros(0, np.int64), np.zeros(0, np.uint8))
    labels = np.concatenate([np.zeros(0, np.int64), *objects])
    return Bodies(none.and_also(*voxels), labels, np.array(classes, np.uint8)), np.concatenate(centres)

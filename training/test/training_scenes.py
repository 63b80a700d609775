"""Hand-made scenes: a flat grid, a vehicle's poses, boxes that move and walls."""

from __future__ import annotations

import numpy as np

from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, MANMADE
from aerialworld_training.dataset import PooledSession
from aerialworld_training.dataset.actors import Actors, label_boxes

GRID = VoxelGrid((-8, -8, 0), (1, 1, 1), (16, 16, 3))
STEP = 500_000_000


def actor(
    kind: int,
    x: float,
    y: float,
    yaw: float = 0.0,
    velocity: tuple[float, float] = (0, 0),
    size: tuple[float, float, float] = (4, 2, 2),
) -> list[float]:
    return [kind, x, y, size[2] / 2, yaw, *size, *velocity, 0.0]


def scene(poses: list[Pose], actors: list[list[list[float]]], walls: list[tuple[int, int, int]] = ()) -> PooledSession:  # type: ignore[assignment]
    """Frames in which every voxel is observed; walls are voxels of every frame's own grid, boxes are drawn into the
    voxels that their centres lie in, and keep their place in the list as their id."""
    cells, classes, offsets = [], [], [0]
    for pose, rows in zip(poses, actors, strict=True):
        frame = np.full(GRID.shape, FREE, np.uint8)
        for wall in walls:
            frame[wall] = MANMADE
        boxes = Actors.from_rows(rows)
        thin = Actors(boxes.classes, boxes.centres, boxes.yaw, boxes.sizes - 1.0, boxes.velocities)
        labels = label_boxes(GRID, pose, 0.0, thin)  # grown by half a voxel again: centres within the box
        for k, kind in enumerate(boxes.classes):
            frame[labels == k + 1] = kind
        flat = np.flatnonzero(frame != FREE)
        cells.append(flat)
        classes.append(frame.reshape(-1)[flat])
        offsets.append(offsets[-1] + len(flat))
    return PooledSession(
        name="drone_hand", agent_type="drone", grid=GRID, datum=0.0, frame_period_ns=STEP,
        numbers=np.arange(len(poses)), stamps=np.arange(len(poses)) * STEP,
        position=np.array([p.position for p in poses]), orientation=np.array([p.orientation for p in poses]),
        offsets=np.array(offsets), cells=np.concatenate(cells).astype(np.uint32), classes=np.concatenate(classes),
        observed=np.tile(np.packbits(np.ones(GRID.size, bool)), (len(poses), 1)),
        actors=tuple(Actors.from_rows(rows, [f"{k}" for k in range(len(rows))]) for rows in actors),
    )  # fmt: skip

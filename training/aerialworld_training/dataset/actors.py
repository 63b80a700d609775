"""The true boxes of what moves, frame by frame, as sessions record them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose, grid_from_map, yaw_of
from aerialworld_core.grid import VoxelGrid

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Actors:
    """Moving objects of one frame: classes (A,) uint8, centres (A, 3) and velocities (A, 3) in map, yaw (A,) of their
    long axis in map, sizes (A, 3) length, width, height. They stand upright. ids: A names that stay with an object from
    frame to frame; () where not known."""

    classes: NDArray[np.uint8]
    centres: Array
    yaw: Array
    sizes: Array
    velocities: Array
    ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]]) -> Actors:
        """From `Session.actors`."""

        def column(key: str) -> Array:
            return np.array([r[key] for r in records], np.float64).reshape(len(records), 3)

        return cls(
            np.array([r["class"] for r in records], np.uint8),
            column("position"),
            np.array([yaw_of(r["orientation"]) for r in records], np.float64),
            column("size"),
            column("velocity"),
            tuple(str(r["id"]) for r in records),
        )

    def to_rows(self) -> list[list[float]]:
        """(A, 11) plain numbers: class, centre, yaw, size, velocity."""
        rows: list[list[float]] = np.column_stack(
            [self.classes, self.centres, self.yaw, self.sizes, self.velocities]
        ).tolist()
        return rows

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[float]], ids: Sequence[str] = ()) -> Actors:
        """Back from `to_rows` and `ids`."""
        a = np.array(rows, np.float64).reshape(-1, 11)
        return cls(a[:, 0].astype(np.uint8), a[:, 1:4], a[:, 4], a[:, 5:8], a[:, 8:11], tuple(ids))


def box_cells(grid: VoxelGrid, pose: Pose, datum: float, actors: Actors) -> list[NDArray[np.int64]]:
    """The voxels of the grid of a vehicle at `pose` that each actor's box meets: A arrays of flat indices (C order).

    A voxel meets a box when their extents overlap along each of the box's own axes.
    """
    m = grid_from_map(pose, datum)
    half = np.array(grid.voxel_size) / 2
    found = []
    for k in range(len(actors)):
        centre = m[:3, :3] @ actors.centres[k] + m[:3, 3]
        turn = actors.yaw[k] - pose.yaw
        c, s = np.cos(turn), np.sin(turn)
        size = actors.sizes[k] / 2
        reach = np.array([abs(c) * size[0] + abs(s) * size[1], abs(s) * size[0] + abs(c) * size[1], size[2]]) + half
        low = np.ceil((centre - reach - grid.minimum) / grid.voxel_size - 0.5).astype(int)
        high = np.floor((centre + reach - grid.minimum) / grid.voxel_size - 0.5).astype(int) + 1
        low, high = np.maximum(low, 0), np.minimum(high, grid.shape)
        if (low >= high).any():
            found.append(np.zeros(0, np.int64))
            continue
        part = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), -1)
        away = grid.centers(part) - centre
        along, across = c * away[..., 0] + s * away[..., 1], c * away[..., 1] - s * away[..., 0]
        margin = abs(c) * half[0] + abs(s) * half[1], abs(s) * half[0] + abs(c) * half[1]
        meets = (np.abs(along) < size[0] + margin[0]) & (np.abs(across) < size[1] + margin[1])
        meets &= np.abs(away[..., 2]) < size[2] + half[2]
        found.append(np.ravel_multi_index(tuple(part[meets].T), grid.shape).astype(np.int64))
    return found


def label_boxes(grid: VoxelGrid, pose: Pose, datum: float, actors: Actors) -> NDArray[np.int32]:
    """Which actor's box (`box_cells`) each voxel meets: (X, Y, Z) 1 + its index, 0 for none; the later one where two
    overlap."""
    labels = np.zeros(grid.size, np.int32)
    for k, cells in enumerate(box_cells(grid, pose, datum, actors)):
        labels[cells] = k + 1
    return labels.reshape(grid.shape)

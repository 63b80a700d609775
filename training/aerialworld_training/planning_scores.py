"""Planning, as ST-P3 scores it (Hu et al., ECCV 2022): does the path hit anything? How far off it is: `motion_scores`.

At each horizon the vehicle's box stands where the path has it and is looked up in the true occupancy of that time: the
path collides when any voxel that the box meets is occupied by anything but ground. A horizon at which the vehicle's
true box collides as well (a box meets more voxels than it fills) says nothing of a path and is left out, as there.
`at` scores are of one horizon, `up_to` ones the mean of all horizons until then (ST-P3's, and OccWorld's, tables).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose
from aerialworld_core.labels import GROUND
from aerialworld_training.dataset.actors import Actors, box_cells
from aerialworld_training.dataset.frames import PooledSession
from aerialworld_training.motion_ahead import Path

#: Length, width, height of the `body` that the shipped models collide with, and how far above base_link its middle
#: lies, metres (a rover's tyres touch the ground and are left out).
BOXES = {"drone": ((0.7, 0.7, 0.36), -0.07), "rover": ((0.9, 0.45, 0.25), 0.28)}


def hits(session: PooledSession, frame: int, pose: Pose) -> bool:
    """Whether the vehicle's box at `pose` meets an occupied voxel of `frame` that is no ground."""
    size, above = BOXES[session.agent_type]
    middle = pose.position[None] + np.array([0.0, 0.0, above])
    box = Actors(
        np.zeros(1, np.uint8), middle, np.array([pose.yaw]), np.array([size]), np.zeros((1, 3))
    )  # fmt: skip
    (met,) = box_cells(session.grid, session.pose(frame), session.datum, box)
    inside = np.zeros(session.grid.size, np.bool_)
    inside[met] = True
    occupied = session.occupied(frame)
    return bool((inside[occupied.cells] & ~np.isin(occupied.classes, GROUND)).any())


class PlanningScores:
    """Collisions per row and horizon, in integers."""

    def __init__(self, horizons: int) -> None:
        self.horizons, self.left_out = horizons, np.zeros(horizons, np.int64)
        self.collided: dict[str, NDArray[np.int64]] = {}
        self.windows = 0

    def add(self, session: PooledSession, future: Sequence[int], paths: Mapping[str, Path]) -> None:
        """One window's paths (T poses each) against its future frames."""
        self.windows += 1
        counted = ~np.array([hits(session, n, session.pose(n)) for n in future])
        self.left_out += ~counted
        for name, path in paths.items():
            collided = self.collided.setdefault(name, np.zeros(self.horizons, np.int64))
            for k, n in enumerate(future):
                collided[k] += bool(counted[k]) and hits(session, n, path.pose(k))

    def result(self, horizons: Sequence[float]) -> dict[str, Any]:
        """Collision rates by row; null where no window counts."""
        counted = (self.windows - self.left_out).tolist()
        rows = {}
        for name, collided in self.collided.items():
            rates = [c / n if n else None for c, n in zip(collided.tolist(), counted, strict=True)]
            entries = []
            for k, t in enumerate(horizons):
                until = [r for r in rates[: k + 1] if r is not None]
                entries.append(
                    {
                        "t": t,
                        "at": rates[k],
                        "up_to": float(np.mean(until)) if len(until) == k + 1 else None,
                        "collisions": int(collided[k]),
                        "windows": counted[k],
                    }
                )
            rows[name] = entries
        return rows

"""The triangles of everything that moves, in one block: fifty bodies are put in their places by one kernel."""

# numba infers machine types here that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var, misc"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aerialworld_core.frames import Pose
from aerialworld_core.world.scene import Scene
from aerialworld_sim.compiled import kernel
from aerialworld_sim.surfaces import NORMAL, SUN, Surfaces


class Bodies:
    """M bodies, of T triangles together.

    first    (M + 1,) int64 rows of body after body
    corners, normals  (T, 3, 3) float32 in the bodies' own frames; placed (T, 3, 3) float32 in map
    present  (M,) bool: in the scene now; the others stay where they were
    boxes    (M, 6) float32 low and high corner in map, of those present
    matrices (M, 3, 4) float32 rotation and position: body to map
    """

    def __init__(self, scenes: Sequence[Scene], static_count: int) -> None:
        counts = [len(scene.faces) for scene in scenes]
        self.first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._rows = slice(static_count, static_count + int(self.first[-1]))
        nothing = np.zeros((0, 3, 3), np.float32)
        self.corners = np.concatenate([nothing, *(scene.triangles for scene in scenes)]).astype(np.float32)
        self.normals = np.concatenate([nothing, *(scene.normals for scene in scenes)]).astype(np.float32)
        self.placed = self.corners.copy()
        self.present = np.zeros(len(scenes), np.bool_)
        self.boxes = np.zeros((len(scenes), 6), np.float32)
        self.matrices = np.zeros((len(scenes), 3, 4), np.float32)
        self._turn = np.empty((3, 4))

    def place(self, poses: Sequence[Pose | None], surfaces: Surfaces) -> None:
        """Put every body at its pose, None for those that are not there, and light its faces as they stand."""
        if not len(self.placed):
            return
        here = [i for i, pose in enumerate(poses) if pose is not None]
        self.present[:] = False
        self.present[here] = True
        if not here:
            return
        there = [pose for pose in poses if pose is not None]
        position = np.array([pose.position for pose in there])
        orientation = np.array([pose.orientation for pose in there])
        _place(
            np.array(here), position, orientation, self.first, self.corners, self.normals, self._turn,
            surfaces.to_sun.astype(np.float64), bool(surfaces.sun.any()), self.placed, surfaces.records[self._rows],
            self.boxes, self.matrices,
        )  # fmt: skip


@kernel
def _place(
    here: Any, position: Any, orientation: Any, first: Any, corners: Any, normals: Any, turn: Any, to_sun: Any,
    lit: bool, placed: Any, records: Any, boxes: Any, matrices: Any,
) -> None:  # fmt: skip
    """Bodies `here` at positions (N, 3) and quaternions (N, 4); turn (3, 4) float64 is scratch. What is said of
    faces is what `surfaces.relight` says."""
    for n in range(len(here)):
        m = here[n]
        x, y, z, w = orientation[n, 0], orientation[n, 1], orientation[n, 2], orientation[n, 3]
        norm = np.sqrt(x * x + y * y + z * z + w * w)
        x, y, z, w = x / norm, y / norm, z / norm, w / norm
        turn[0, 0], turn[0, 1], turn[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)
        turn[1, 0], turn[1, 1], turn[1, 2] = 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
        turn[2, 0], turn[2, 1], turn[2, 2] = 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)
        for k in range(3):
            turn[k, 3] = position[n, k]
            boxes[m, k], boxes[m, k + 3] = np.inf, -np.inf
            for j in range(4):
                matrices[m, k, j] = turn[k, j]
        for i in range(first[m], first[m + 1]):
            for c in range(3):
                for k in range(3):
                    p = np.float32(
                        turn[k, 0] * corners[i, c, 0] + turn[k, 1] * corners[i, c, 1] + turn[k, 2] * corners[i, c, 2]
                        + turn[k, 3]
                    )  # fmt: skip
                    placed[i, c, k] = p
                    boxes[m, k], boxes[m, k + 3] = min(boxes[m, k], p), max(boxes[m, k + 3], p)
            ax, ay, az = np.float64(placed[i, 0, 0]), np.float64(placed[i, 0, 1]), np.float64(placed[i, 0, 2])
            ux, uy, uz = placed[i, 1, 0] - ax, placed[i, 1, 1] - ay, placed[i, 1, 2] - az
            vx, vy, vz = placed[i, 2, 0] - ax, placed[i, 2, 1] - ay, placed[i, 2, 2] - az
            nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
            length = max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
            records[i, NORMAL], records[i, NORMAL + 1], records[i, NORMAL + 2] = nx / length, ny / length, nz / length
            if not lit:
                continue
            start = 0.0
            for c in range(3):
                cosine = 0.0
                for k in range(3):
                    along = (
                        turn[k, 0] * normals[i, c, 0] + turn[k, 1] * normals[i, c, 1] + turn[k, 2] * normals[i, c, 2]
                    )
                    cosine += along * to_sun[k]
                cosine = min(max(cosine, -1.0), 1.0)
                records[i, SUN + c] = cosine - start
                start = cosine if c == 0 else start

"""Occupancy from a LiDAR's returns alone: for vehicles without depth cameras, and to make old sessions' voxels anew.

Returns are all that a session stores: a beam that came back from nothing is not among them, so the sky is unknown where
depth faces would have carved it. Surfaces are the voxels of returns; between sparse beams gaps stay, which neighbouring
frames can fill (`window`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import FREE, NUM_CLASSES, OTHERS
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import LidarSpec
from aerialworld_recorder.carving import carve_segments
from aerialworld_recorder.faces import NUDGE_METRES
from aerialworld_recorder.occupancy import ProjectionStats
from aerialworld_recorder.votes import majority


class LidarProjector:
    """Turns one LiDAR's returns into voxels of `grid`, whose z = 0 is `datum` in map. Counters of the last frame are in
    `last`: a hit is a return, which covers what its beam's share of the turn does."""

    def __init__(self, spec: LidarSpec, grid: VoxelGrid, datum: float) -> None:
        if not np.isfinite(datum):
            raise InputError(f"the datum must be a finite height in map, not {datum}")
        self.spec, self.grid, self.datum = spec, grid, float(datum)
        self.last: ProjectionStats | None = None
        turn, tilt = spec.max_azimuth - spec.min_azimuth, spec.max_elevation - spec.min_elevation
        self._solid_angle = (turn / max(spec.columns - 1, 1) or 1.0) * (tilt / max(spec.beams - 1, 1) or 1.0)

    def project(
        self,
        pose: Pose,
        points: NDArray[np.float32],
        classes: NDArray[np.uint8] | None = None,
        *,
        around: Pose | None = None,
    ) -> Occupancy:
        """Voxels of a frame: `pose` is base_link in map, `points` (N, ≥ 3) in the LiDAR's frame, `classes` (N,) their
        class ids; without them what is occupied is of class 0 (others), as a LiDAR knows none. `around`: the pose whose
        grid is asked for, if it is another frame's. Raises InputError."""
        if points.ndim != 2 or points.shape[1] < 3 or not np.isfinite(points[:, :3]).all():
            raise InputError(f"LiDAR points of shape {points.shape}; needs (N, 3) finite numbers")
        kinds = np.full(len(points), OTHERS, np.uint8) if classes is None else classes
        if kinds.shape != (len(points),) or kinds.max(initial=0) >= NUM_CLASSES - 1:
            raise InputError("classes must be one id of a surface class for every point")
        size, low = np.array(self.grid.voxel_size), np.array(self.grid.minimum)
        m = grid_from_map(pose if around is None else around, self.datum)
        sensor = m[:3, :3] @ pose.transform(self.spec.pose.position) + m[:3, 3]
        ends = pose.transform(self.spec.pose.transform(points[:, :3])) @ m[:3, :3].T + m[:3, 3]
        strides = (self.grid.shape[1] * self.grid.shape[2], self.grid.shape[2], 1)
        shape = np.array([*self.grid.shape, *strides], np.int64)
        free = np.zeros(self.grid.size, np.uint8)
        carve_segments((sensor - low) / size, (ends - low) / size, shape, free)
        rays = ends - sensor
        length = np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-9)
        ijk, inside = self.grid.indices(ends + rays / length * NUDGE_METRES)
        cells = np.ravel_multi_index(tuple(ijk[inside].T), self.grid.shape)
        cell, kind = majority(cells, kinds[inside])
        occupancy, semantics = np.zeros(self.grid.size, np.uint8), np.full(self.grid.size, FREE, np.uint8)
        occupancy[cell], semantics[cell], free[cell] = 1, kind, 1
        self.last = self._count(ends, length[:, 0], kinds, occupied=len(cell), observed=int(np.count_nonzero(free)))
        shaped = self.grid.shape
        return Occupancy(occupancy.reshape(shaped), semantics.reshape(shaped), free.view(np.bool_).reshape(shaped))

    def _count(
        self,
        ends: NDArray[np.float64],
        length: NDArray[np.float64],
        kinds: NDArray[np.uint8],
        *,
        occupied: int,
        observed: int,
    ) -> ProjectionStats:
        """What the returns at `ends` (N, 3) in the grid's frame, `length` (N,) metres away, tell of the frame."""
        x0, y0, bottom, x1, y1, top = self.grid.range
        within = (ends[:, 0] >= x0) & (ends[:, 0] < x1) & (ends[:, 1] >= y0) & (ends[:, 1] < y1)
        area = np.where(within, length**2, 0.0) * self._solid_angle
        seen, clipped = float(area.sum()), float(area[ends[:, 2] < bottom].sum())
        return ProjectionStats(
            hits=len(ends),
            clipped_share=clipped / seen if seen else 0.0,
            above=int(np.count_nonzero(within & (ends[:, 2] >= top))),
            unlabelled_share=float((kinds == OTHERS).mean()) if len(kinds) else 0.0,
            occupied=occupied,
            observed=observed,
            seen_area=seen,
            clipped_area=clipped,
        )

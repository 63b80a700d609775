"""One depth face as numbers for the kernels: what the rig fixes once, and where its rays run in the grid of a frame.

`view` (VIEW_SIZE,) float64, in voxel units (p − grid.minimum) / voxel_size: voxel (i, j, k) is the unit cube at
(i, j, k). Rays are parametrised by depth t along the optical axis: pixel (u, v)'s is ORIGIN + t · (CORNER + u · DU +
v · DV). The rest is the face's own: 1/f, principal point, NUDGE, TOLERANCE (metres, and metres per metre).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.rig import CameraSpec

ORIGIN, CORNER, DU, DV, INVERSE_FOCAL, CENTRE_X, CENTRE_Y, NUDGE, TOLERANCE, VIEW_SIZE = (
    0, 3, 6, 9, 12, 13, 14, 15, 16, 18,
)  # fmt: skip

#: Metres along the ray from a measured hit to the point whose voxel is marked.
NUDGE_METRES = 1e-3
#: Two neighbouring hits continue one plane if depth differs from the prediction by less: metres, and metres per metre.
PLANE_TOLERANCE = (5e-3, 1e-4)
#: Least width in pixels of the square around a voxel's centre for which `Face.reach` vouches. A little over one: the
#: kernels that rely on it count in single precision.
SQUARE_PIXELS = 1.004


class Face:
    """A depth camera of the rig in a grid; `look` places it for one frame.

    slant        (H, W) float32: depth along the axis per metre of a pixel's ray
    reach        metres of depth within which every voxel that the face sees is met by a ray
    view         (VIEW_SIZE,) float64, see the module
    projection   (3, 4) float64: (u − cx)·t, (v − cy)·t and t of a point (i, j, k, 1) in voxel units, u and v in pixels
                 from the image's corner
    """

    def __init__(self, spec: CameraSpec, grid: VoxelGrid) -> None:
        self.spec, self.grid = spec, grid
        x = (np.arange(spec.width) + 0.5 - spec.width / 2) / spec.focal
        y = (np.arange(spec.height) + 0.5 - spec.height / 2) / spec.focal
        self.slant = (1.0 / np.sqrt(1.0 + x[None] ** 2 + y[:, None] ** 2)).astype(np.float32)
        self.view = np.zeros(VIEW_SIZE)
        self.view[INVERSE_FOCAL] = 1.0 / spec.focal
        self.view[CENTRE_X], self.view[CENTRE_Y] = spec.width / 2, spec.height / 2
        self.view[NUDGE] = NUDGE_METRES
        self.view[TOLERANCE : TOLERANCE + 2] = PLANE_TOLERANCE[0] + 4 * spec.noise_stddev, PLANE_TOLERANCE[1]
        self.projection = np.zeros((3, 4))
        self._optical = spec.optical_pose.rotation
        self.reach = 0.0

    def look(self, pose: Pose, to_grid: NDArray[np.float64]) -> None:
        """Place the face for a vehicle's pose (base_link in map); `to_grid` (4, 4) takes map into the grid's frame."""
        spec, size = self.spec, np.array(self.grid.voxel_size)
        axes = to_grid[:3, :3] @ pose.rotation @ self._optical  # the optical frame's, as columns
        rotation = axes / size[:, None]
        position = to_grid[:3, :3] @ pose.transform(spec.pose.position) + to_grid[:3, 3]
        origin = (position - np.array(self.grid.minimum)) / size
        first = np.array([(0.5 - spec.width / 2) / spec.focal, (0.5 - spec.height / 2) / spec.focal, 1.0])
        self.view[ORIGIN : ORIGIN + 3] = origin
        self.view[CORNER : CORNER + 3] = rotation @ first
        self.view[DU : DU + 3] = rotation[:, 0] / spec.focal
        self.view[DV : DV + 3] = rotation[:, 1] / spec.focal
        turn = (axes * size[:, None]).T  # voxel units to the optical frame, metres
        self.projection[:, :3] = turn * np.array([spec.focal, spec.focal, 1.0])[:, None]
        self.projection[:, 3] = -self.projection[:, :3] @ origin
        # A square parallel to the image around a voxel's centre, with the image's axes and within the voxel, holds a
        # pixel's centre as long as it is at least a pixel wide: its edge is as long as the tightest axis allows.
        span = np.abs(axes[:, 0]) + np.abs(axes[:, 1])
        edge = float((size / np.maximum(span, 1e-9)).min())
        self.reach = min(edge * spec.focal / SQUARE_PIXELS, spec.far * float(self.slant.min()))

    def depth_of_grid(self) -> float:
        """Depth of the farthest corner of the grid."""
        corners = np.array([(x, y, z, 1) for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * [*self.grid.shape, 1]
        return float((corners @ self.projection[2]).max())

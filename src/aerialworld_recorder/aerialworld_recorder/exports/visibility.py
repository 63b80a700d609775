"""Which voxels the cameras see: what Occ3D calls mask_camera.

A voxel is seen by a camera if its centre falls into the picture and nothing occupied lies between it and the camera.
That is decided in the voxels themselves (as Occ3D does, arXiv 2304.14365, section 3.3), not in depth images: every
session has voxels. Unobserved voxels are never seen, whatever lies before them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.kernels import kernel
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import CameraSpec


@kernel
def in_picture(x, y, z, view):  # type: ignore[no-untyped-def]
    """Whether a point of the optical frame falls into the picture; `view` as `_view` has it."""
    if z <= view[0] or x * x + y * y + z * z > view[1]:
        return False
    u, v = x / z, y / z
    if view[8] > 0.0:  # the lens' polynomials (aerialworld_core.lens), which beyond the picture may fold back into it
        r2 = u * u + v * v
        if r2 > view[8]:
            return False
        radial = 1.0 + r2 * (view[9] + r2 * (view[10] + r2 * view[13]))
        p1, p2 = view[11], view[12]
        u, v = (
            u * radial + 2.0 * p1 * u * v + p2 * (r2 + 2.0 * u * u),
            v * radial + p1 * (r2 + 2.0 * v * v) + 2.0 * p2 * u * v,
        )
    px, py = view[2] * u + view[4], view[3] * v + view[5]
    return px >= 0.0 and px < view[6] and py >= 0.0 and py < view[7]


@kernel
def is_clear(i, j, k, camera, occupied):  # type: ignore[no-untyped-def]
    """Whether a voxel's centre is joined to `camera` (3,) (voxel units) by a line that passes no other occupied voxel
    (Amanatides and Woo, 1987)."""
    nx, ny, nz = occupied.shape
    dx, dy, dz = camera[0] - (i + 0.5), camera[1] - (j + 0.5), camera[2] - (k + 0.5)
    sx, sy, sz = (1 if dx > 0 else -1), (1 if dy > 0 else -1), (1 if dz > 0 else -1)
    ax = 1.0 / abs(dx) if dx != 0.0 else np.inf
    ay = 1.0 / abs(dy) if dy != 0.0 else np.inf
    az = 1.0 / abs(dz) if dz != 0.0 else np.inf
    tx, ty, tz = 0.5 * ax, 0.5 * ay, 0.5 * az
    while min(tx, ty, tz) < 1.0:
        if tx <= ty and tx <= tz:
            i += sx
            tx += ax
        elif ty <= tz:
            j += sy
            ty += ay
        else:
            k += sz
            tz += az
        if i < 0 or j < 0 or k < 0 or i >= nx or j >= ny or k >= nz:
            return True
        if occupied[i, j, k]:
            return False
    return True


@kernel
def mark_seen(occupied, observed, to_optical, view, camera, seen):  # type: ignore[no-untyped-def]
    """Mark the observed voxels that one camera sees; `to_optical` (3, 4) takes voxel units to its optical frame."""
    nx, ny, nz = occupied.shape
    m = to_optical
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if seen[i, j, k] or not observed[i, j, k]:
                    continue
                a, b, c = i + 0.5, j + 0.5, k + 0.5
                z = m[2, 0] * a + m[2, 1] * b + m[2, 2] * c + m[2, 3]
                if z <= view[0]:
                    continue
                x = m[0, 0] * a + m[0, 1] * b + m[0, 2] * c + m[0, 3]
                y = m[1, 0] * a + m[1, 1] * b + m[1, 2] * c + m[1, 3]
                if in_picture(x, y, z, view) and is_clear(i, j, k, camera, occupied):
                    seen[i, j, k] = 1


def camera_mask(
    occupancy: Occupancy, grid: VoxelGrid, datum: float, pose: Pose, cameras: tuple[CameraSpec, ...]
) -> NDArray[np.uint8]:
    """(X, Y, Z) uint8, 1 where an observed voxel is seen by a camera of a vehicle at `pose` (base_link in map)."""
    seen = np.zeros(grid.shape, np.uint8)
    m = grid_from_map(pose, datum)
    size, low = np.array(grid.voxel_size), np.array(grid.minimum)
    for camera in cameras:
        optical = m[:3, :3] @ pose.rotation @ camera.optical_pose.rotation
        origin = m[:3, :3] @ pose.transform(camera.pose.position) + m[:3, 3]
        to_optical = np.ascontiguousarray(np.column_stack([optical.T * size, optical.T @ (low - origin)]))
        place = (origin - low) / size
        mark_seen(occupancy.occupancy, occupancy.observed, to_optical, _view(camera), place, seen)
    return seen


def _view(camera: CameraSpec) -> NDArray[np.float64]:
    """(14,) near, far², fx, fy, cx, cy, width, height; the square of the tangent beyond which the lens is not asked, 0
    without distortion; k1, k2, p1, p2, k3."""
    k = camera.intrinsics
    cx, cy, width, height = k[0, 2], k[1, 2], camera.width, camera.height
    corner = 0.0
    if camera.distortion is not None:
        corner = (1.5 * np.hypot(max(cx, width - cx) / k[0, 0], max(cy, height - cy) / k[1, 1])) ** 2
    pinhole = [max(camera.near, 1e-6), camera.far**2, k[0, 0], k[1, 1], cx, cy, width, height, corner]
    return np.array([*pinhole, *(camera.distortion or (0.0,) * 5)], np.float64)

"""Which voxels the cameras see: what Occ3D calls mask_camera.

A voxel is seen by a camera if its centre falls into the picture and nothing occupied lies between it and the camera.
That is decided in the voxels themselves (as Occ3D does, arXiv 2304.14365, section 3.3), not in depth images: every
session has voxels. Unobserved voxels are never seen, whatever lies before them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import lens
from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import CameraSpec
from aerialworld_recorder.kernels import kernel


@kernel
def clear_views(cells, camera, occupied, seen):  # type: ignore[no-untyped-def]
    """Mark in `seen` (X, Y, Z) the `cells` (N, 3) whose centres a ray from `camera` (3,) (voxel units) reaches before
    any other occupied voxel (Amanatides and Woo, 1987, walked from the cell towards the camera)."""
    nx, ny, nz = occupied.shape
    for n in range(len(cells)):
        i, j, k = cells[n, 0], cells[n, 1], cells[n, 2]
        if seen[i, j, k]:
            continue
        ox, oy, oz = i + 0.5, j + 0.5, k + 0.5
        dx, dy, dz = camera[0] - ox, camera[1] - oy, camera[2] - oz
        sx, sy, sz = (1 if dx > 0 else -1), (1 if dy > 0 else -1), (1 if dz > 0 else -1)
        ax = 1.0 / abs(dx) if dx != 0.0 else np.inf
        ay = 1.0 / abs(dy) if dy != 0.0 else np.inf
        az = 1.0 / abs(dz) if dz != 0.0 else np.inf
        tx, ty, tz = 0.5 * ax, 0.5 * ay, 0.5 * az
        clear = True
        while True:
            if tx <= ty and tx <= tz:
                if tx >= 1.0:
                    break
                i += sx
                tx += ax
            elif ty <= tz:
                if ty >= 1.0:
                    break
                j += sy
                ty += ay
            else:
                if tz >= 1.0:
                    break
                k += sz
                tz += az
            if i < 0 or j < 0 or k < 0 or i >= nx or j >= ny or k >= nz:
                break
            if occupied[i, j, k]:
                clear = False
                break
        if clear:
            seen[cells[n, 0], cells[n, 1], cells[n, 2]] = 1


def camera_mask(
    occupancy: Occupancy, grid: VoxelGrid, datum: float, pose: Pose, cameras: tuple[CameraSpec, ...]
) -> NDArray[np.uint8]:
    """(X, Y, Z) uint8, 1 where an observed voxel is seen by a camera of a vehicle at `pose` (base_link in map)."""
    seen = np.zeros(grid.shape, np.uint8)
    observed = np.argwhere(occupancy.observed)
    m = grid_from_map(pose, datum)
    centres = grid.centers(observed)
    size, low = np.array(grid.voxel_size), np.array(grid.minimum)
    for camera in cameras:
        optical = m[:3, :3] @ pose.rotation @ camera.optical_pose.rotation
        origin = m[:3, :3] @ pose.transform(camera.pose.position) + m[:3, 3]
        local = (centres - origin) @ optical
        cells = observed[_in_picture(local, camera)]
        clear_views(cells, (origin - low) / size, occupancy.occupancy, seen)
    return seen


def _in_picture(local: NDArray[np.float64], camera: CameraSpec) -> NDArray[np.bool_]:
    """Which points (N, 3) of the optical frame fall into the picture, within `far`."""
    x, y, z = local.T
    found = (z > max(camera.near, 1e-6)) & (np.einsum("ij,ij->i", local, local) <= camera.far**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = x / z, y / z
    if camera.distortion is not None:
        # Beyond the picture's corner the polynomials may fold back into it: what a pinhole would not show is left out.
        k = camera.intrinsics
        corner = np.hypot(
            max(k[0, 2], camera.width - k[0, 2]) / k[0, 0], max(k[1, 2], camera.height - k[1, 2]) / k[1, 1]
        )
        found &= np.hypot(u, v) < 1.5 * corner
        inside = np.where(found)[0]
        u[inside], v[inside] = lens.distort(u[inside], v[inside], camera.distortion)
    k = camera.intrinsics
    px, py = k[0, 0] * u + k[0, 2], k[1, 1] * v + k[1, 2]
    return found & (px >= 0) & (px < camera.width) & (py >= 0) & (py < camera.height)

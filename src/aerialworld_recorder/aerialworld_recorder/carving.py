"""Free space: the voxels that a depth image's rays pass through (numba kernel).

Coordinates are voxel units: (p − grid.minimum) / voxel_size, so that voxel (i, j, k) is the unit cube at (i, j, k).
Rays are parametrised by depth along the optical axis: p(t) = origin + t · direction, direction affine in the pixel.
"""

from __future__ import annotations

import numba
import numpy as np

from aerialworld_recorder.pixel_rays import axis_depth

#: Rays of coarser lattices may leave out the space near the camera; this many halvings at most.
LEVELS = 4


@numba.njit(nogil=True, cache=True, error_model="numpy", inline="always")
def lattice_level(i, j):  # type: ignore[no-untyped-def]
    """How many times both pixel numbers can be halved, at most LEVELS − 1."""
    level = 0
    while level < LEVELS - 1 and (i & 1) == 0 and (j & 1) == 0:
        i >>= 1
        j >>= 1
        level += 1
    return level


@numba.njit(nogil=True, cache=True, error_model="numpy")
def carve_face(depth, optics, euclidean, far, view, starts, observed):  # type: ignore[no-untyped-def]
    """Set observed (X, Y, Z) uint8 to 1 in every voxel that a ray of the face passes before its hit; returns the steps.

    depth (H, W) float32; optics (1/f, (cx, cy), …); view (origin, corner, du, dv): direction(u, v) = corner + u·du +
    v·dv, voxel units per metre of optical-axis depth. A ray on level l of the lattice (both pixel numbers divisible by
    2^l) is walked from depth starts[l] on: nearer, the rays of the next coarser lattice are close enough together.
    +inf carves to `far` (Euclidean) or the grid's boundary; NaN, −inf, zero and negative carve nothing.
    """
    inverse_focal, centre, _ = optics
    origin, corner, du, dv = view
    height, width = depth.shape
    nx, ny, nz = observed.shape
    flat = observed.reshape(-1)
    steps = 0
    for v in range(height):
        y = (v + 0.5 - centre[1]) * inverse_focal
        for u in range(width):
            value = depth[v, u]
            if not value > 0.0:  # NaN, −inf, zero, negative
                continue
            x = (u + 0.5 - centre[0]) * inverse_focal
            norm = np.sqrt(1.0 + x * x + y * y)
            t1 = far / norm if value == np.inf else axis_depth(value, norm, euclidean)
            t0 = starts[lattice_level(u, v)]
            if t1 <= t0:
                continue
            dx = corner[0] + u * du[0] + v * dv[0]
            dy = corner[1] + u * du[1] + v * dv[1]
            dz = corner[2] + u * du[2] + v * dv[2]
            # The ray's stretch within the grid's box; a ray along an axis' planes is in or out for good.
            ix = 1.0 / dx if dx != 0.0 else np.inf
            iy = 1.0 / dy if dy != 0.0 else np.inf
            iz = 1.0 / dz if dz != 0.0 else np.inf
            if dx != 0.0:
                a, b = -origin[0] * ix, (nx - origin[0]) * ix
                t0, t1 = max(t0, min(a, b)), min(t1, max(a, b))
            elif not 0.0 <= origin[0] < nx:
                continue
            if dy != 0.0:
                a, b = -origin[1] * iy, (ny - origin[1]) * iy
                t0, t1 = max(t0, min(a, b)), min(t1, max(a, b))
            elif not 0.0 <= origin[1] < ny:
                continue
            if dz != 0.0:
                a, b = -origin[2] * iz, (nz - origin[2]) * iz
                t0, t1 = max(t0, min(a, b)), min(t1, max(a, b))
            elif not 0.0 <= origin[2] < nz:
                continue
            if not t0 < t1:
                continue
            kx = min(max(int(np.floor(origin[0] + t0 * dx)), 0), nx - 1)
            ky = min(max(int(np.floor(origin[1] + t0 * dy)), 0), ny - 1)
            kz = min(max(int(np.floor(origin[2] + t0 * dz)), 0), nz - 1)
            # Amanatides & Woo 1987. The counts of voxels left keep the index inside whatever rounding does.
            if dx > 0.0:
                tx, sx, rx = (kx + 1 - origin[0]) * ix, ny * nz, nx - 1 - kx
            else:
                tx, sx, rx = (kx - origin[0]) * ix, -ny * nz, kx
            if dy > 0.0:
                ty, sy, ry = (ky + 1 - origin[1]) * iy, nz, ny - 1 - ky
            else:
                ty, sy, ry = (ky - origin[1]) * iy, -nz, ky
            if dz > 0.0:
                tz, sz, rz = (kz + 1 - origin[2]) * iz, 1, nz - 1 - kz
            else:
                tz, sz, rz = (kz - origin[2]) * iz, -1, kz
            if dx == 0.0:
                tx = np.inf
            if dy == 0.0:
                ty = np.inf
            if dz == 0.0:
                tz = np.inf
            ax, ay, az = abs(ix), abs(iy), abs(iz)
            index = (kx * ny + ky) * nz + kz
            while True:
                flat[np.uint64(index)] = 1
                steps += 1
                if tx < ty:
                    if tx < tz:
                        if tx >= t1:
                            break
                        rx -= 1
                        if rx < 0:
                            break
                        index += sx
                        tx += ax
                        continue
                elif ty < tz:
                    if ty >= t1:
                        break
                    ry -= 1
                    if ry < 0:
                        break
                    index += sy
                    ty += ay
                    continue
                if tz >= t1:
                    break
                rz -= 1
                if rz < 0:
                    break
                index += sz
                tz += az
    return steps

"""The ray of every pixel of a camera that is no ideal pinhole."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import lens
from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array
from aerialworld_core.rig import CameraSpec

Rays = tuple[NDArray[np.float32], NDArray[np.float32]]


def pixel_rays(spec: CameraSpec) -> Rays:
    """(left, up), each (height, width) float32, read-only: a pixel's centre sees along (1, left, up) in the link.

    Found in float64 by inverting `aerialworld_core.lens.distort`: rays distorted again fall on the pixel's centre
    within 1e-6 pixels before they are rounded. Cameras with equal intrinsics share the arrays. Raises WorldError,
    naming the camera and the pixel, where the distortion cannot be inverted.
    """
    k = spec.intrinsics
    try:
        return _rays(spec.width, spec.height, k[0, 0], k[1, 1], k[0, 2], k[1, 2], spec.distortion)
    except _NotInvertible as error:
        raise WorldError(f"camera {spec.name}: {error}") from None


class _NotInvertible(Exception):
    pass


@lru_cache(maxsize=8)
def _rays(
    width: int, height: int, fx: float, fy: float, cx: float, cy: float, distortion: lens.Coefficients | None
) -> Rays:
    """From the row of the principal point upwards and downwards, each row starts at its neighbour's solution."""
    x_d = np.asarray((np.arange(width) + 0.5 - cx) / fx, np.float64)
    y_d = np.asarray((np.arange(height) + 0.5 - cy) / fy, np.float64)
    left, up = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    if distortion is None:
        left[:], up[:] = -x_d, -y_d[:, None]
    else:
        first = int(np.clip(cy, 0, height - 1))
        for rows in (range(first, -1, -1), range(first + 1, height)):
            x: Array | None = None
            y: Array | None = None
            for row in rows:
                x, y, good = lens.undistort(x_d, np.full(width, y_d[row]), distortion, x, y)
                if not good.all():
                    column = int(np.flatnonzero(~good)[0])
                    raise _NotInvertible(f"<distortion> has no ray for the pixel in column {column}, row {row}")
                left[row], up[row] = -x, -y
    left.flags.writeable = up.flags.writeable = False
    return left, up

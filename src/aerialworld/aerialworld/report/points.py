"""LiDAR pictures: points from above and obliquely, coloured by height, nearer ones over farther ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld.report.voxels import SUPERSAMPLING, Canvas, View, downsampled

BACKGROUND = (13, 17, 23, 255)
#: Heights from blue (low) over green to yellow (high).
RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)


def height_colours(height: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """(N, 3) colours of heights between `low` and `high` metres."""
    t = np.clip((height - low) / max(high - low, 1e-6), 0, 1) * (len(RAMP) - 1)
    i = np.minimum(t.astype(int), len(RAMP) - 2)
    return np.asarray(RAMP[i] + (RAMP[i + 1] - RAMP[i]) * (t - i)[:, None]).round().astype(np.uint8)


def render_points(
    points: NDArray[np.float64], *, view: View, width: int = 480, radius: float = 60.0
) -> NDArray[np.uint8]:
    """(H, W, 4) picture of points (N, 3) in a gravity-aligned frame about the vehicle, x forward, z above ground."""
    near = points[np.linalg.norm(points[:, :2], axis=1) <= radius * 1.4]
    low, high = _heights(near)
    box_low, box_high = np.array([-radius, -radius, low]), np.array([radius, radius, high])
    canvas = Canvas.around(box_low, box_high, view, width * SUPERSAMPLING)
    picture = np.empty((canvas.height, canvas.width, 4), np.uint8)
    picture[:] = BACKGROUND
    near = near[np.argsort(near @ view.towards, kind="stable")]
    xy = np.rint(canvas.pixels(near)).astype(np.int64)
    colours = height_colours(near[:, 2], low, high)
    reach = 1 if len(near) > 8000 else 2
    for dx, dy in np.ndindex(2 * reach + 1, 2 * reach + 1):
        _dots(picture, xy + np.array([dx - reach, dy - reach]), colours)
    _dots(picture, xy, colours)
    own = np.rint(canvas.pixels(np.zeros((1, 3)))).astype(np.int64)
    for dx, dy in np.ndindex(11, 11):
        if abs(dx - 5) + abs(dy - 5) <= 5:
            _dots(picture, own + np.array([dx - 5, dy - 5]), np.array([[255, 80, 80]], np.uint8))
    return downsampled(picture)


def _heights(points: NDArray[np.float64]) -> tuple[float, float]:
    if len(points) == 0:
        return 0.0, 10.0
    low, high = (float(v) for v in np.percentile(points[:, 2], [1, 99]))
    return low, max(high, low + 5.0)


def _dots(picture: NDArray[np.uint8], xy: NDArray[np.int64], colours: NDArray[np.uint8]) -> None:
    inside = ((xy >= 0) & (xy < (picture.shape[1], picture.shape[0]))).all(axis=1)
    picture[xy[inside, 1], xy[inside, 0], :3] = colours[inside] if len(colours) > 1 else colours[0]

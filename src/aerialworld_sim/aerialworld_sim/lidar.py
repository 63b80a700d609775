"""The LiDAR's beams, and which rays answer for them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.rig import LidarSpec

LidarSampling = Literal["exact", "gazebo"]


def beam_directions(spec: LidarSpec) -> NDArray[np.float64]:
    """(beams·columns, 3) unit directions in the LiDAR's frame, row by row from the lowest beam."""
    elevation, azimuth = np.meshgrid(spec.elevations, spec.azimuths, indexing="ij")
    c = np.cos(elevation)
    return np.stack([c * np.cos(azimuth), c * np.sin(azimuth), np.sin(elevation)], axis=-1).reshape(-1, 3)


def cube_texels(spec: LidarSpec) -> int:
    """Texels per side of the cube map from which Gazebo's gpu_lidar reads ranges: the next power of two above the
    larger of the horizontal samples per 90° and the vertical samples (per 90° where the vertical field exceeds that),
    within 128–1024."""
    right = np.pi / 2
    step = (spec.max_azimuth - spec.min_azimuth) / max(spec.columns - 1, 1)
    horizontal = right / step if step > 0 else 1.0
    field = spec.max_elevation - spec.min_elevation
    vertical = spec.beams * right / field if field > right else float(spec.beams)
    wanted = max(horizontal, vertical) - 1e-6
    return int(np.clip(2 ** int(np.ceil(np.log2(max(wanted, 1.0)))), 128, 1024))


def texel_directions(directions: NDArray[np.float64], texels: int) -> NDArray[np.float64]:
    """(N, 3) unit directions through the centres of the cube-map texels that the given directions fall into."""
    axis = np.abs(directions).argmax(axis=1)
    rows = np.arange(len(directions))
    major = np.abs(directions[rows, axis])
    snapped = directions / major[:, None]
    index = np.clip(np.floor((snapped + 1.0) * 0.5 * texels), 0, texels - 1)
    centres = (index + 0.5) / texels * 2.0 - 1.0
    centres[rows, axis] = np.sign(directions[rows, axis])
    return centres / np.linalg.norm(centres, axis=1, keepdims=True)


def ray_directions(spec: LidarSpec, sampling: LidarSampling) -> NDArray[np.float32]:
    """(beams·columns, 3) float32: the rays whose ranges the beams report."""
    nominal = beam_directions(spec)
    rays = nominal if sampling == "exact" else texel_directions(nominal, cube_texels(spec))
    return np.ascontiguousarray(rays, dtype=np.float32)

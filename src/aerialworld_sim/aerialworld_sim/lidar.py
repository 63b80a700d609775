"""The LiDAR: its beams, which rays answer for them, when each column fires, what a return's range and intensity read.

A scan's points lie in the LiDAR's frame. Of a rolling scan that is the frame at the moment when the point's column
fired, as a real sensor gives it before motion compensation.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.rig import LidarSpec
from aerialworld_sim import noise
from aerialworld_sim.motion import Motion, rotations, states

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


def measured_ranges(
    spec: LidarSpec, ranges: NDArray[np.float64], beams: NDArray[np.int64], stream: np.uint64
) -> NDArray[np.float64]:
    """True ranges (N,) of the returns of `beams` (N,) (indices of `beam_directions`) with the declared noise, which is
    held within the sensor's limits as gz-sensors does."""
    if not (spec.noise_stddev > 0 or spec.noise_mean):
        return ranges
    error = spec.noise_stddev * noise.normal(stream, spec.beams * spec.columns)[beams] + spec.noise_mean
    return np.clip(ranges + error, spec.min_range, spec.max_range)


def luminances(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M,) relative luminance (ITU-R BT.709) of linear RGB (M, 3), 0–1."""
    return np.asarray(colours, np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def intensities(
    retro: NDArray[np.float32],
    luminance: NDArray[np.float32],
    material: NDArray[np.integer[Any]],
    cosine: NDArray[np.floating[Any]],
    sampling: LidarSampling,
) -> NDArray[np.float32]:
    """(N,) float32: what returns from materials `material` (N,) read, met at an angle of `cosine` (N,) to their normal.

    "gazebo": the material's `laser_retro`, whatever the angle, 0 where the world declares none. Else a Lambertian
    surface: reflectivity · |cosine|, where the reflectivity is `retro` (M,) where that is above 0, and otherwise 100
    times the `luminance` (M,) of the surface's linear colour, percent. The loss with distance is taken as made good, as
    sensors do that report reflectivity.
    """
    if sampling == "gazebo":
        return np.asarray(retro, np.float32)[material]
    reflectivity = np.where(np.asarray(retro) > 0, retro, np.float32(100.0) * luminance).astype(np.float32)
    return reflectivity[material] * np.minimum(np.abs(cosine), 1.0).astype(np.float32)


def column_times(spec: LidarSpec) -> NDArray[np.float64]:
    """(columns,) seconds relative to the scan's stamp at which each column fires, ≤ 0, in order of azimuth.

    A sweep lasts 1 / rate and ends with its last column, at the stamp; sweeps follow one another without a gap.
    """
    return (np.arange(spec.columns) - (spec.columns - 1)) / (spec.columns * spec.rate)


def rolling_poses(
    spec: LidarSpec, motion: Motion, stamp_ns: int, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The LiDAR's poses in map during the sweep that ends at `stamp_ns`.

    origins (K, 3), rotations (K, 3, 3) LiDAR → map, and for every column the index of its pose. K is the lesser of
    `steps` and the columns; neighbouring columns share the pose at the mean of their times, to the nanosecond. Raises
    InputError for fewer than one step.
    """
    if steps < 1:
        raise InputError(f"a rolling scan of {steps} poses; it takes at least one")
    count = min(steps, spec.columns)
    pose_of = np.arange(spec.columns) * count // spec.columns
    times = np.bincount(pose_of, weights=column_times(spec)) / np.bincount(pose_of)
    moments = states(motion, stamp_ns + np.rint(times * 1e9).astype(np.int64))
    base = rotations(moments.orientation)
    return moments.position + base @ spec.pose.position, base @ spec.pose.rotation, pose_of

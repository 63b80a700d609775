"""What the engine asks of a backend: pictures, depth images and scans, as arrays to be filled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array, Pose
from aerialworld_core.rig import CameraSpec

Rays = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(eq=False)
class PictureJob:
    """One RGB camera. `pose` is the camera link in map. Arrays that are None are not wanted.

    rgb       (H, W, 3) uint8
    depth     (H, W) float32 metres along the optical axis, +inf without a surface
    semantic  (H, W) uint8 class, 0 without a surface
    instance  (H, W) uint16, index into the scene's instances + 1, movers after them; 0 without a surface
    rays      (left, up) (H, W) float32 each: pixel directions (1, left, up) in the link of a distorted camera
    viewer    number of the vehicle that carries the camera, whose own body is not seen; −1 for none

    Surfaces nearer than `near` or beyond `far` along the optical axis are clipped, as a rasteriser does.
    """

    spec: CameraSpec
    pose: Pose
    rgb: NDArray[np.uint8] | None
    depth: NDArray[np.float32] | None = None
    semantic: NDArray[np.uint8] | None = None
    instance: NDArray[np.uint16] | None = None
    rays: Rays | None = None
    viewer: int = -1


@dataclass(eq=False)
class DepthJob:
    """One depth camera: `depth` (H, W) float32 metres along the optical axis, −inf where the nearest front face is
    nearer than `near` along the axis, +inf where the Euclidean distance exceeds `far`; `semantic` (H, W) uint8 and
    `instance` (H, W) uint16 or None, 0 where depth is not finite."""

    spec: CameraSpec
    pose: Pose
    depth: NDArray[np.float32]
    semantic: NDArray[np.uint8]
    instance: NDArray[np.uint16] | None = None
    viewer: int = -1


@dataclass(eq=False)
class ScanJob:
    """Rays of a LiDAR.

    directions  (N, 3) float32 unit, in the sensor
    origins     (K, 3) float64 and rotations (K, 3, 3) float64, sensor → map: one pose, or several over a sweep
    pose_of     (N,) int32, which pose a ray starts from; None: the first
    far         metres
    distance    (N,) float32 metres, +inf without a front face before `far`
    cosine      (N,) float32 between the ray reversed and the face's normal, 0 without a face
    face        (N,) int32 row of the scene's surfaces, −1 without a face
    """

    directions: NDArray[np.float32]
    origins: Array
    rotations: Array
    pose_of: NDArray[np.int32] | None
    far: float
    distance: NDArray[np.float32]
    cosine: NDArray[np.float32]
    face: NDArray[np.int32]
    viewer: int = -1


@dataclass(frozen=True, eq=False)
class Picture:
    """One camera's picture without noise, and the truth of the same pixels: see PictureJob."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    semantic: NDArray[np.uint8]
    instance: NDArray[np.uint16]

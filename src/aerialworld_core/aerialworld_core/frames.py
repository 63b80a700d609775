"""Poses, rotations and the frames of REP-103/REP-105.

`map` is east, north, up; `base_link` is forward, left, up; camera links look along +x; optical frames have z forward,
x right, y down. Quaternions are x, y, z, w everywhere and unit length. Rotations from roll, pitch, yaw follow SDF and
REP-103: R = Rz(yaw) Ry(pitch) Rx(roll), radians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Columns are the optical axes (x right, y down, z forward) expressed in the camera link (x forward, y left, z up).
LINK_FROM_OPTICAL: Array = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def rotation_from_rpy(roll: float, pitch: float, yaw: float) -> Array:
    """3×3 rotation Rz(yaw) Ry(pitch) Rx(roll)."""
    cr, sr, cp, sp, cy, sy = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rpy_from_rotation(rotation: Array) -> tuple[float, float, float]:
    """Roll, pitch, yaw of a 3×3 rotation; at pitch ±90° roll is 0."""
    sp = -float(np.clip(rotation[2, 0], -1.0, 1.0))
    pitch = float(np.arcsin(sp))
    if abs(sp) > 1.0 - 1e-12:
        return 0.0, pitch, float(np.arctan2(-rotation[0, 1], rotation[1, 1]))
    return (
        float(np.arctan2(rotation[2, 1], rotation[2, 2])),
        pitch,
        float(np.arctan2(rotation[1, 0], rotation[0, 0])),
    )


def rotation_from_quaternion(quaternion: Array | Sequence[float]) -> Array:
    """3×3 rotation of a quaternion x, y, z, w (normalised here)."""
    q = np.asarray(quaternion, dtype=np.float64)
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: Array) -> Array:
    """Quaternion x, y, z, w with w ≥ 0 of a 3×3 rotation (Shepperd's method)."""
    m = rotation
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    candidates = np.array([m[0, 0], m[1, 1], m[2, 2], trace])
    i = int(np.argmax(candidates))
    if i == 3:
        q = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1.0 + trace])
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        q = np.empty(4)
        q[i] = 1.0 + m[i, i] - m[j, j] - m[k, k]
        q[j] = m[j, i] + m[i, j]
        q[k] = m[k, i] + m[i, k]
        q[3] = m[k, j] - m[j, k]
    q /= np.linalg.norm(q)
    return -q if q[3] < 0 else q


def yaw_of(quaternion: Array | Sequence[float]) -> float:
    """Heading of the x axis of a frame about the vertical, radians, 0 = east, counter-clockwise."""
    r = rotation_from_quaternion(quaternion)
    return float(np.arctan2(r[1, 0], r[0, 0]))


@dataclass(frozen=True, eq=False)
class Pose:
    """A rigid transform: where a frame's origin lies in its parent, and how it is turned there.

    `position` (3,) metres; `orientation` (4,) x, y, z, w; `transform` takes points from the frame to its parent.
    """

    position: Array
    orientation: Array

    def __post_init__(self) -> None:
        position = np.array(self.position, dtype=np.float64)
        orientation = np.array(self.orientation, dtype=np.float64)
        if position.shape != (3,) or orientation.shape != (4,):
            raise ValueError(f"a pose takes 3 + 4 numbers, not {position.shape} + {orientation.shape}")
        # Poses are made by the ten thousand: this is a fifth of what np.linalg.norm and np.isfinite cost, and the same.
        norm = math.sqrt(orientation.dot(orientation))
        if not (math.isfinite(norm) and norm > 1e-9 and all(map(math.isfinite, position.tolist()))):
            raise ValueError(f"a pose must be finite with a non-zero quaternion: {position}, {orientation}")
        object.__setattr__(self, "position", position)
        # What is of unit length already stays as it is, so that a pose that was stored and read again is the same pose.
        object.__setattr__(self, "orientation", orientation if abs(norm - 1.0) < 1e-15 else orientation / norm)

    @classmethod
    def identity(cls) -> Pose:
        return cls(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))

    @classmethod
    def from_rpy(cls, x: float, y: float, z: float, roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> Pose:
        """The pose of an SDF `<pose>` element: metres and radians."""
        return cls(np.array([x, y, z]), quaternion_from_rotation(rotation_from_rpy(roll, pitch, yaw)))

    @classmethod
    def from_matrix(cls, matrix: Array) -> Pose:
        """From a 4×4 homogeneous matrix."""
        return cls(matrix[:3, 3], quaternion_from_rotation(matrix[:3, :3]))

    @cached_property
    def rotation(self) -> Array:
        """3×3 rotation, frame → parent; read-only."""
        rotation = rotation_from_quaternion(self.orientation)
        rotation.flags.writeable = False
        return rotation

    @property
    def matrix(self) -> Array:
        """4×4 homogeneous matrix, frame → parent."""
        m = np.eye(4)
        m[:3, :3] = self.rotation
        m[:3, 3] = self.position
        return m

    @property
    def yaw(self) -> float:
        return yaw_of(self.orientation)

    def inverse(self) -> Pose:
        r = self.rotation.T
        return Pose(-r @ self.position, self.orientation * np.array([-1.0, -1.0, -1.0, 1.0]))

    def __matmul__(self, other: Pose) -> Pose:
        """Composition: `parent_from_a @ a_from_b` is `parent_from_b`."""
        r = self.rotation
        return Pose(self.position + r @ other.position, quaternion_from_rotation(r @ other.rotation))

    def transform(self, points: NDArray[Any]) -> Array:
        """Points (…, 3) from this frame into its parent."""
        return np.asarray(points, dtype=np.float64) @ self.rotation.T + self.position


def grid_from_map(pose: Pose, datum: float) -> Array:
    """4×4 matrix that takes `map` points into the voxel grid's frame of a vehicle at `pose`.

    The grid is gravity-aligned, centred on the vehicle in x and y, turned by its yaw alone (x forward, y left), and its
    z is the height above the session's `datum` (map z), not above the vehicle.
    """
    c, s = np.cos(pose.yaw), np.sin(pose.yaw)
    x, y = pose.position[:2]
    m = np.eye(4)
    m[:2, :2] = [[c, s], [-s, c]]
    m[:2, 3] = -m[:2, :2] @ np.array([x, y])
    m[2, 3] = -datum
    return m


def grid_pose(pose: Pose, datum: float) -> Pose:
    """The voxel grid's frame in map (`grid_from_map`): below the vehicle at the datum's height, turned by its yaw."""
    in_map: Array = np.linalg.inv(grid_from_map(pose, datum)).astype(np.float64)
    return Pose.from_matrix(in_map)


@dataclass(frozen=True)
class Georeference:
    """Where `map`'s origin lies: WGS 84 / JGD2011 latitude and longitude in degrees, `height` in metres.

    PLATEAU heights are orthometric (above T.P., Tokyo Bay mean sea level) and stay so: `height` is above T.P. too.
    """

    latitude: float
    longitude: float
    height: float

    def to_dict(self) -> dict[str, float]:
        return {"latitude": self.latitude, "longitude": self.longitude, "height": self.height}

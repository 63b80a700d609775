"""What a sensor rig is: the cameras, depth faces, LiDAR and IMU of a vehicle and where they sit in base_link.

The rig is written once, in SDF (`models/rig_*/model.sdf`), and read by `aerialworld_core.world.rig_reader`; the engine,
the recorder, the session's calibration and the topic names all start from the objects here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import LINK_FROM_OPTICAL, Array, Pose, quaternion_from_rotation, rotation_from_quaternion

#: The cube's faces and where their x axis looks in base_link: yaw, pitch in radians (SDF's positive pitch looks down).
CUBE_FACES: dict[str, tuple[float, float]] = {
    "front": (0.0, 0.0),
    "left": (np.pi / 2, 0.0),
    "back": (np.pi, 0.0),
    "right": (-np.pi / 2, 0.0),
    "up": (0.0, -np.pi / 2),
    "down": (0.0, np.pi / 2),
}


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole camera, RGB or depth. `pose` is the camera link (x forward) in base_link; `hfov` radians.

    Pixel centres lie at +0.5: the ray of pixel (u, v) in the link is (1, −(u + 0.5 − cx)/f, −(v + 0.5 − cy)/f).
    `near` and `far` are metres: depth is −inf where x < near and +inf where the Euclidean distance exceeds far.
    `noise_stddev` is in depth metres for depth cameras, in units of full scale (0–1) for RGB.
    """

    name: str
    pose: Pose
    width: int
    height: int
    hfov: float
    near: float
    far: float
    rate: float
    noise_stddev: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or self.width > 16384 or self.height > 16384:
            raise WorldError(f"camera {self.name}: {self.width}×{self.height} pixels; need 1 to 16384 on each side")
        if not 0.0 < self.hfov < np.pi:
            raise WorldError(f"camera {self.name}: horizontal field of view {self.hfov} rad; need 0 < hfov < π")
        if not 0.0 <= self.near < self.far:
            raise WorldError(f"camera {self.name}: clip near {self.near} must be below far {self.far}")

    @property
    def focal(self) -> float:
        """Focal length in pixels, the same on both axes."""
        return float(self.width / 2 / np.tan(self.hfov / 2))

    @property
    def intrinsics(self) -> Array:
        """3×3 K of the optical frame."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1.0]])

    @property
    def optical_pose(self) -> Pose:
        """The optical frame (z forward, x right, y down) in base_link."""
        return Pose(self.pose.position, quaternion_from_rotation(self.pose.rotation @ LINK_FROM_OPTICAL))

    def to_dict(self) -> dict[str, Any]:
        """As in session.json: `K`, `position`, `orientation` are of the optical frame in base_link."""
        optical = self.optical_pose
        return {
            "width": self.width,
            "height": self.height,
            "K": self.intrinsics.tolist(),
            "position": optical.position.tolist(),
            "orientation": optical.orientation.tolist(),
            "frame": f"{self.name.lower()}_optical_frame",
            "near": self.near,
            "far": self.far,
            "rate": self.rate,
            "noise_stddev": self.noise_stddev,
        }

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> CameraSpec:
        width, focal = int(data["width"]), float(data["K"][0][0])
        rotation = rotation_from_quaternion(data["orientation"]) @ LINK_FROM_OPTICAL.T
        return cls(
            name=name,
            pose=Pose(np.array(data["position"], float), quaternion_from_rotation(rotation)),
            width=width,
            height=int(data["height"]),
            hfov=float(2 * np.arctan(width / 2 / focal)),
            near=float(data["near"]),
            far=float(data["far"]),
            rate=float(data["rate"]),
            noise_stddev=float(data.get("noise_stddev", 0.0)),
        )


@dataclass(frozen=True)
class LidarSpec:
    """A spinning LiDAR. `pose` in base_link; angles in radians; row 0 is the lowest beam, column 0 the least azimuth.

    Nominal angles are evenly spaced and include both ends: angle_i = min + i·(max − min)/(n − 1).
    """

    name: str
    pose: Pose
    columns: int
    min_azimuth: float
    max_azimuth: float
    beams: int
    min_elevation: float
    max_elevation: float
    min_range: float
    max_range: float
    rate: float
    noise_stddev: float = 0.0

    def __post_init__(self) -> None:
        if self.columns < 1 or self.beams < 1 or self.columns * self.beams > 16_000_000:
            raise WorldError(f"lidar {self.name}: {self.beams} beams × {self.columns} columns is not a usable count")
        if not 0.0 <= self.min_range < self.max_range:
            raise WorldError(f"lidar {self.name}: range {self.min_range} … {self.max_range} is empty")

    @property
    def azimuths(self) -> Array:
        return np.linspace(self.min_azimuth, self.max_azimuth, self.columns)

    @property
    def elevations(self) -> Array:
        return np.linspace(self.min_elevation, self.max_elevation, self.beams)

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            k: getattr(self, k)
            for k in (
                "name columns min_azimuth max_azimuth beams min_elevation max_elevation min_range max_range rate "
                "noise_stddev"
            ).split()
        }
        return {**data, "position": self.pose.position.tolist(), "orientation": self.pose.orientation.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LidarSpec:
        rest = {k: v for k, v in data.items() if k not in ("position", "orientation")}
        return cls(pose=Pose(np.array(data["position"]), np.array(data["orientation"])), **rest)


@dataclass(frozen=True)
class ImuSpec:
    """An IMU. Standard deviations per sample: gyro rad/s, accelerometer m/s²; biases are drawn once per run."""

    name: str
    pose: Pose
    rate: float
    gyro_noise_stddev: float = 0.0
    gyro_bias_stddev: float = 0.0
    accel_noise_stddev: float = 0.0
    accel_bias_stddev: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            k: getattr(self, k)
            for k in "name rate gyro_noise_stddev gyro_bias_stddev accel_noise_stddev accel_bias_stddev".split()
        }
        return {**data, "position": self.pose.position.tolist(), "orientation": self.pose.orientation.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImuSpec:
        rest = {k: v for k, v in data.items() if k not in ("position", "orientation")}
        return cls(pose=Pose(np.array(data["position"]), np.array(data["orientation"])), **rest)


@dataclass(frozen=True)
class Rig:
    """All sensors of one vehicle. RGB cameras bear nuScenes names in lower case in SDF and topics (`cam_front`), and in
    upper case in sessions (`CAM_FRONT`); depth cameras are named by face (`front` … `down`); a face's class image has
    the geometry of its depth image."""

    name: str
    cameras: tuple[CameraSpec, ...]
    depth: tuple[CameraSpec, ...]
    lidar: LidarSpec | None = None
    imu: ImuSpec | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "cameras": {c.name.upper(): c.to_dict() for c in self.cameras},
            "depth": {c.name: c.to_dict() for c in self.depth},
            "lidar": self.lidar.to_dict() if self.lidar else None,
            "imu": self.imu.to_dict() if self.imu else None,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rig:
        try:
            return cls(
                name=str(data["name"]),
                cameras=tuple(CameraSpec.from_dict(k.lower(), v) for k, v in data["cameras"].items()),
                depth=tuple(CameraSpec.from_dict(k, v) for k, v in data["depth"].items()),
                lidar=LidarSpec.from_dict(data["lidar"]) if data.get("lidar") else None,
                imu=ImuSpec.from_dict(data["imu"]) if data.get("imu") else None,
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise WorldError(f"rig: missing or malformed entry: {error!r}") from error

"""What a sensor rig is: the cameras, depth faces, LiDAR, IMU and satellite receiver of a vehicle, placed in base_link.

The rig is written once, in SDF (`models/rig_*/model.sdf`), and read by `aerialworld_core.world.rig_reader`; the engine,
the recorder, the session's calibration and the topic names all start from the objects here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aerialworld_core import lens
from aerialworld_core.errors import WorldError
from aerialworld_core.frames import LINK_FROM_OPTICAL, Array, Pose, quaternion_from_rotation, rotation_from_quaternion
from aerialworld_core.navigation import ImuSpec as ImuSpec
from aerialworld_core.navigation import NavSatSpec as NavSatSpec
from aerialworld_core.navigation import checked_rate, pose_of, with_pose, without_pose

#: The cube's faces and where their x axis looks in base_link: yaw, pitch in radians (SDF's positive pitch looks down).
CUBE_FACES: dict[str, tuple[float, float]] = {
    "front": (0.0, 0.0),
    "left": (np.pi / 2, 0.0),
    "back": (np.pi, 0.0),
    "right": (-np.pi / 2, 0.0),
    "up": (0.0, -np.pi / 2),
    "down": (0.0, np.pi / 2),
}


#: Pixels of one picture, and rays of one LiDAR scan, at most.
MAX_PIXELS, MAX_BEAMS = 100_000_000, 16_000_000


@dataclass(frozen=True)
class CameraSpec:
    """A perspective camera, RGB or depth. `pose` is the camera link (x forward) in base_link; `hfov` radians.

    Pixel centres lie at +0.5: the ray of pixel (u, v) in the link is (1, −(u + 0.5 − cx)/fx, −(v + 0.5 − cy)/fy); with
    `distortion` the pixel is where `aerialworld_core.lens` puts that ray. fx is (width / 2) / tan(hfov / 2): with
    distortion `hfov` is that of the pinhole behind it, not the angle that the picture spans.
    `near` and `far` are metres: depth is −inf where x < near and +inf where the Euclidean distance exceeds far.
    `noise_stddev` and `noise_mean` are in depth metres for depth cameras, in units of full scale (0–1) for RGB.
    `focal_y` (fy), `principal_point` (cx, cy) in pixels and `distortion` (k1, k2, p1, p2, k3) are None where they say
    nothing new: fy = fx, the picture's centre, no distortion.
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
    noise_mean: float = 0.0
    focal_y: float | None = None
    principal_point: tuple[float, float] | None = None
    distortion: lens.Coefficients | None = None

    def __post_init__(self) -> None:
        label = f"camera {self.name}"
        if self.width < 1 or self.height < 1 or self.width > 16384 or self.height > 16384:
            raise WorldError(f"{label}: {self.width}×{self.height} pixels; need 1 to 16384 on each side")
        if self.width * self.height > MAX_PIXELS:
            raise WorldError(f"{label}: {self.width}×{self.height} pixels are more than {MAX_PIXELS:,}")
        if not 0.0 < self.hfov < np.pi:
            raise WorldError(f"{label}: horizontal field of view {self.hfov} rad; need 0 < hfov < π")
        if not 0.0 <= self.near < self.far < np.inf:
            raise WorldError(f"{label}: clip near {self.near} must be below far {self.far}")
        checked_rate(label, self.rate)
        _check_noise(label, self.noise_mean, self.noise_stddev)
        self._check_lens(label)

    def _check_lens(self, label: str) -> None:
        """What says nothing new becomes None; what cannot be is refused."""
        fy, centre = self.focal_y, self.principal_point
        if fy is not None:
            if not 0.0 < fy < np.inf:
                raise WorldError(f"{label}: focal length {fy} pixels; it must be positive")
            if abs(fy - self.focal) <= 1e-9 * self.focal:
                object.__setattr__(self, "focal_y", None)
        if centre is not None:
            if not np.isfinite(centre).all() or np.abs(centre).max() > 10 * max(self.width, self.height):
                raise WorldError(f"{label}: principal point {centre} is far outside {self.width}×{self.height} pixels")
            if tuple(centre) == (self.width / 2, self.height / 2):
                object.__setattr__(self, "principal_point", None)
        if self.distortion is not None:
            coefficients = tuple(float(c) for c in self.distortion)
            if len(coefficients) != 5 or not np.isfinite(coefficients).all():
                raise WorldError(f"{label}: distortion takes five numbers k1 k2 p1 p2 k3, not {self.distortion}")
            object.__setattr__(self, "distortion", coefficients if any(coefficients) else None)
        if self.distortion is not None:
            lens.check(label, self.width, self.height, self.intrinsics, self.distortion)

    @property
    def focal(self) -> float:
        """Focal length fx in pixels; that of both axes unless `focal_y` says otherwise."""
        return float(self.width / 2 / np.tan(self.hfov / 2))

    @property
    def intrinsics(self) -> Array:
        """3×3 K of the optical frame."""
        cx, cy = self.principal_point or (self.width / 2, self.height / 2)
        return np.array([[self.focal, 0, cx], [0, self.focal_y or self.focal, cy], [0, 0, 1.0]])

    @property
    def ideal(self) -> bool:
        """Whether `focal` and the picture's centre say all about its rays."""
        return self.focal_y is None and self.principal_point is None and self.distortion is None

    @property
    def optical_pose(self) -> Pose:
        """The optical frame (z forward, x right, y down) in base_link."""
        return Pose(self.pose.position, quaternion_from_rotation(self.pose.rotation @ LINK_FROM_OPTICAL))

    def to_dict(self) -> dict[str, Any]:
        """As in session.json: `K`, `position`, `orientation` are of the optical frame in base_link; `distortion`
        (plumb_bob: k1, k2, p1, p2, k3) and `noise_mean` only where there is any."""
        optical = self.optical_pose
        data = {
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
        if self.noise_mean:
            data["noise_mean"] = self.noise_mean
        if self.distortion:
            data["distortion"] = list(self.distortion)
        return data

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> CameraSpec:
        width, (fx, _, cx), (_, fy, cy) = int(data["width"]), *(map(float, row) for row in data["K"][:2])
        rotation = rotation_from_quaternion(data["orientation"]) @ LINK_FROM_OPTICAL.T
        distortion = data.get("distortion")
        return cls(
            name=name,
            pose=Pose(np.array(data["position"], float), quaternion_from_rotation(rotation)),
            width=width,
            height=int(data["height"]),
            hfov=float(2 * np.arctan(width / 2 / fx)),
            near=float(data["near"]),
            far=float(data["far"]),
            rate=float(data["rate"]),
            noise_stddev=float(data.get("noise_stddev", 0.0)),
            noise_mean=float(data.get("noise_mean", 0.0)),
            focal_y=fy,
            principal_point=(cx, cy),
            distortion=None if distortion is None else tuple(distortion),
        )


@dataclass(frozen=True)
class LidarSpec:
    """A spinning LiDAR. `pose` in base_link; angles in radians; row 0 is the lowest beam, column 0 the least azimuth.

    Nominal angles are evenly spaced and include both ends: angle_i = min + i·(max − min)/(n − 1). Noise in metres.
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
    noise_mean: float = 0.0

    def __post_init__(self) -> None:
        label = f"lidar {self.name}"
        if self.columns < 1 or self.beams < 1 or self.columns * self.beams > MAX_BEAMS:
            raise WorldError(
                f"{label}: {self.beams} beams × {self.columns} columns is not a usable count; need 1 to {MAX_BEAMS:,}"
            )
        if not 0.0 <= self.min_range < self.max_range < np.inf:
            raise WorldError(f"{label}: range {self.min_range} … {self.max_range} is empty")
        turn, right = 2 * np.pi + 1e-6, np.pi / 2 + 1e-6
        if not -turn <= self.min_azimuth <= self.max_azimuth <= turn or self.max_azimuth - self.min_azimuth > turn:
            raise WorldError(
                f"{label}: azimuth {self.min_azimuth} … {self.max_azimuth} rad must rise, by one turn at most"
            )
        if not -right <= self.min_elevation <= self.max_elevation <= right:
            raise WorldError(
                f"{label}: elevation {self.min_elevation} … {self.max_elevation} rad must rise within −π/2 … π/2"
            )
        checked_rate(label, self.rate)
        _check_noise(label, self.noise_mean, self.noise_stddev)

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
        if self.noise_mean:
            data["noise_mean"] = self.noise_mean
        return with_pose(data, self.pose)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LidarSpec:
        return cls(pose=pose_of(data), **without_pose(data))


def _check_noise(label: str, mean: float, stddev: float) -> None:
    if not np.isfinite(mean) or not 0.0 <= stddev < np.inf:
        raise WorldError(f"{label}: noise of mean {mean} and stddev {stddev}; stddev cannot be negative")


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
    navsat: NavSatSpec | None = None

    def __post_init__(self) -> None:
        for face in self.depth:
            if not face.ideal:
                raise WorldError(
                    f"rig {self.name}: depth {face.name} must be an ideal pinhole: no <distortion>, fx = fy, the "
                    "principal point in the picture's centre"
                )

    def recorded(self, modalities: Collection[str]) -> Rig:
        """The rig as a session of these modalities (images, depth, lidar, imu) holds it; the depth faces always."""
        return Rig(
            name=self.name,
            cameras=self.cameras if "images" in modalities else (),
            depth=self.depth,
            lidar=self.lidar if "lidar" in modalities else None,
            imu=self.imu if "imu" in modalities else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """As in session.json; `navsat` only where the rig has one."""
        data: dict[str, Any] = {
            "name": self.name,
            "cameras": {c.name.upper(): c.to_dict() for c in self.cameras},
            "depth": {c.name: c.to_dict() for c in self.depth},
            "lidar": self.lidar.to_dict() if self.lidar else None,
            "imu": self.imu.to_dict() if self.imu else None,
        }
        if self.navsat:
            data["navsat"] = self.navsat.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Rig:
        try:
            return cls(
                name=str(data["name"]),
                cameras=tuple(CameraSpec.from_dict(k.lower(), v) for k, v in data["cameras"].items()),
                depth=tuple(CameraSpec.from_dict(k, v) for k, v in data["depth"].items()),
                lidar=LidarSpec.from_dict(data["lidar"]) if data.get("lidar") else None,
                imu=ImuSpec.from_dict(data["imu"]) if data.get("imu") else None,
                navsat=NavSatSpec.from_dict(data["navsat"]) if data.get("navsat") else None,
            )
        except (KeyError, TypeError, ValueError, IndexError, ArithmeticError) as error:
            raise WorldError(f"rig: missing or malformed entry: {error!r}") from error

"""Messages of a small rig that flies level over the plane z = 0: what a graph would bring, made by hand."""

from __future__ import annotations

import functools

import numpy as np
import simplejpeg

from aerialworld_core.frames import Georeference, Pose, quaternion_from_rotation, rotation_from_rpy
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import TERRAIN
from aerialworld_core.rig import CUBE_FACES, CameraSpec, ImuSpec, LidarSpec, Rig
from aerialworld_core.sensing import SensorFrame
from aerialworld_core.session import SessionMeta
from aerialworld_recorder import Recorder
from aerialworld_recorder.stream.channels import Channel, vehicle_channels
from aerialworld_recorder.stream.messages import (
    CompressedImage,
    Imu,
    Message,
    Odometry,
    PointCloud,
    PointField,
    RawImage,
)

GRID = VoxelGrid.from_range((-8, -8, -2, 8, 8, 13), (0.4, 0.4, 1.25))
HEIGHT, SPEED = 5.0, 2.0
MS = 1_000_000
VEHICLE = "drone_1"


@functools.cache
def small_rig(face: int = 40) -> Rig:
    """Two cameras, six faces of so many pixels across, LiDAR and IMU."""
    cameras = tuple(
        CameraSpec(n, Pose.from_rpy(0.2, 0, 0, 0, 0.5, yaw), 64, 48, 1.2, 0.1, 300.0, 10.0)
        for n, yaw in (("cam_front", 0.0), ("cam_back", np.pi))
    )
    faces = tuple(
        CameraSpec(n, Pose.from_rpy(0, 0, 0, 0, pitch, yaw), face, face, np.pi / 2, 0.1, 200.0, 10.0)
        for n, (yaw, pitch) in CUBE_FACES.items()
    )
    identity = Pose.identity()
    lidar = LidarSpec("lidar", identity, 16, -3.0, 3.0, 4, -0.5, 0.1, 0.5, 120.0, 10.0)
    return Rig("small", cameras, faces, lidar, ImuSpec("imu", identity, 100.0))


@functools.cache
def channels(vehicle: str = VEHICLE) -> tuple[Channel, ...]:
    return vehicle_channels(vehicle, small_rig())


@functools.cache
def depth_of(face: CameraSpec) -> np.ndarray:
    """(H, W) float32: the down face measures HEIGHT, the side faces HEIGHT / tan(depression), the up face nothing."""
    v = (np.arange(face.height) + 0.5 - face.height / 2) / (face.height / 2)
    depth = np.full((face.height, face.width), np.inf, np.float32)
    if face.name == "down":
        depth[:] = HEIGHT
    elif face.name != "up":
        depth[v > 0] = (HEIGHT / v[v > 0])[:, None]
    return depth


def state_at(stamp_ns: int) -> Odometry:
    """Straight on along map's (cos 0.5, sin 0.5) at SPEED, turned there, level."""
    t = stamp_ns * 1e-9
    q = quaternion_from_rotation(rotation_from_rpy(0, 0, 0.5))
    at = (SPEED * t * np.cos(0.5), SPEED * t * np.sin(0.5), HEIGHT)
    return Odometry("map", f"{VEHICLE}/base_link", at, tuple(q), (SPEED, 0.0, 0.0), (0.0, 0.0, 0.1))


def picture(name: str, stamp_ns: int) -> bytes:
    """A JPEG that tells its camera and stamp by its grey."""
    grey = (stamp_ns // (100 * MS) * 7 + len(name)) % 256
    image = np.full((48, 64, 3), grey, np.uint8)
    return simplejpeg.encode_jpeg(image, quality=95, colorspace="RGB", colorsubsampling="420")


def cloud(stamp_ns: int) -> PointCloud:
    points = np.array([[1, 2, -5, 0.5], [3, 4, -5, 0.25]], "<f4")
    fields = tuple(PointField(n, 4 * i, 7) for i, n in enumerate(("x", "y", "z", "intensity")))
    return PointCloud(1, 2, fields, False, 16, 32, points.tobytes())


def raw(array: np.ndarray, encoding: str) -> RawImage:
    return RawImage(array.shape[0], array.shape[1], encoding, False, array.nbytes // array.shape[0], array.tobytes())


@functools.cache
def payload(channel: Channel, stamp_ns: int):
    """What this channel says at a stamp; None for calibrations."""
    faces = {f.name: f for f in small_rig().depth}
    if channel.kind == "odom":
        return state_at(stamp_ns)
    if channel.kind == "imu":
        return Imu((0.0, 0.0, 0.1), (0.0, 0.0, 9.8))
    if channel.kind == "compressed":
        return CompressedImage("rgb8; jpeg compressed bgr8", picture(channel.sensor, stamp_ns))
    if channel.kind == "depth":
        return raw(depth_of(faces[channel.sensor]), "32FC1")
    if channel.kind == "semantic":
        return raw(np.full((40, 40), TERRAIN, np.uint8), "mono8")
    if channel.kind == "lidar":
        return cloud(stamp_ns)
    return None


def flight(until_ns: int, begin_ns: int = 0, vehicle: str = VEHICLE) -> list[Message]:
    """Everything with begin ≤ stamp ≤ until in the order in which an engine sends it: 100 Hz, 50 Hz, 10 Hz."""
    period = {"imu": 10 * MS, "odom": 20 * MS}
    messages = []
    for stamp in range(begin_ns, until_ns + 1, 10 * MS):
        for channel in channels(vehicle):
            content = payload(channel, stamp)
            if content is not None and stamp % period.get(channel.kind, 100 * MS) == 0:
                messages.append(Message.of(channel.topic, stamp, content))
    return messages


class Plane:
    """Sessions over the plane, under `root`."""

    def __init__(self, root, period_ns: int = 500 * MS, **changes) -> None:
        self.root, self.period_ns, self.changes = root, period_ns, changes

    def begin(self, first: SensorFrame) -> Recorder:
        values = {
            "vehicle": VEHICLE,
            "agent_type": "drone",
            "engine": {"name": "embedded", "version": "0"},
            "world": {"name": "plane", "sha256": "0" * 64},
            "georeference": Georeference(35.0, 139.0, 0.0),
            "grid": GRID,
            "datum": 0.0,
            "rig": small_rig(),
            "frame_period_ns": self.period_ns,
            "seed": 1,
            "mission": "",
            "conditions": {},
            "start_time": "2024-01-15T12:00:00Z",
            "attribution": "",
        }
        return Recorder(self.root, SessionMeta(**{**values, **self.changes}), {}, {})

    def ground(self, x: float, y: float) -> float:
        return 0.0


class Log:
    """What a pipeline tells."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    warn = say

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

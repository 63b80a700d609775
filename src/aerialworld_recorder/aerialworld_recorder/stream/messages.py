"""The edge: messages as the recorder takes them, from a ROS 2 graph, a bag or a test.

The fields are those of the ROS messages of the same names (sensor_msgs, nav_msgs). Large data is a buffer that is not
copied. A message's payload is loaded when somebody needs it: of ten camera frames a second, two may be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aerialworld_core.errors import InputError
from aerialworld_core.markers import Marker

#: What holds bytes: bytes, memoryview, array.array or a NumPy array of uint8.
Buffer = bytes | memoryview


class ContentError(InputError):
    """A payload that cannot be used, and why. Whose it is, says who has the message."""


@dataclass(frozen=True, eq=False, slots=True)
class RawImage:
    """sensor_msgs/Image: `step` is a row's length in bytes."""

    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: Buffer


@dataclass(frozen=True, eq=False, slots=True)
class CompressedImage:
    """sensor_msgs/CompressedImage."""

    format: str
    data: Buffer


@dataclass(frozen=True, slots=True)
class PointField:
    """sensor_msgs/PointField: `datatype` 1 to 8 is INT8, UINT8, INT16, UINT16, INT32, UINT32, FLOAT32, FLOAT64."""

    name: str
    offset: int
    datatype: int
    count: int = 1


@dataclass(frozen=True, eq=False, slots=True)
class PointCloud:
    """sensor_msgs/PointCloud2."""

    height: int
    width: int
    fields: tuple[PointField, ...]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: Buffer
    is_dense: bool = False


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """sensor_msgs/CameraInfo: `k` the nine numbers of K by rows, `d` the distortion of `distortion_model`."""

    height: int
    width: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Odometry:
    """nav_msgs/Odometry: `position` (m) and `orientation` (x, y, z, w) of the child frame in `frame_id`; `linear` (m/s)
    and `angular` (rad/s) in the child frame."""

    frame_id: str
    child_frame_id: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    linear: tuple[float, float, float]
    angular: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Imu:
    """sensor_msgs/Imu: `gyro` rad/s and `accel` m/s² in the sensor's frame."""

    gyro: tuple[float, float, float]
    accel: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Markers:
    """visualization_msgs/MarkerArray."""

    markers: tuple[Marker, ...]


Payload = RawImage | CompressedImage | PointCloud | CameraInfo | Odometry | Imu | Markers


@dataclass(frozen=True, eq=False, slots=True)
class Message:
    """One message: its topic, its header's stamp in nanoseconds (negative ones do not occur), and how to get at the
    rest. `load` may be called from another thread, more than once, and raises ContentError for bytes that cannot be
    read."""

    topic: str
    stamp_ns: int
    load: Callable[[], Payload]

    @classmethod
    def of(cls, topic: str, stamp_ns: int, payload: Payload) -> Message:
        """A message whose payload is there already."""
        return cls(topic, stamp_ns, lambda: payload)

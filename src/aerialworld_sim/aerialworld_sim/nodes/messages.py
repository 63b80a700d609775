"""Engine data as ROS 2 messages: pure functions, no node and no network. Frames and units are REP-103's."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Quaternion, Vector3
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, NavSatStatus, PointCloud2, PointField
from std_msgs.msg import Header

from aerialworld_core import topics
from aerialworld_core.frames import Array, Georeference
from aerialworld_core.rig import CameraSpec, ImuSpec
from aerialworld_core.sensing import VehicleState

JPEG_QUALITY = 95


def time_message(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def header(stamp_ns: int, frame: str) -> Header:
    return Header(stamp=time_message(stamp_ns), frame_id=frame)


def _bytes(data: NDArray[Any]) -> array.array[int]:
    """Message fields take an `array.array` as it is; other sequences are checked element by element."""
    out = array.array("B")
    out.frombytes(np.ascontiguousarray(data).view(np.uint8).reshape(-1).data)
    return out


def image(stamp_ns: int, frame: str, pixels: NDArray[Any]) -> Image:
    """(H, W, 3) uint8 as rgb8, (H, W) float32 as 32FC1, (H, W) uint8 as mono8; row 0 is the top."""
    encodings = {(3, "uint8"): "rgb8", (2, "float32"): "32FC1", (2, "uint8"): "mono8"}
    height, width = pixels.shape[:2]
    return Image(
        header=header(stamp_ns, frame),
        height=height,
        width=width,
        encoding=encodings[pixels.ndim, pixels.dtype.name],
        is_bigendian=0,
        step=pixels.nbytes // height,
        data=_bytes(pixels),
    )


def compressed_image(stamp_ns: int, frame: str, pixels: NDArray[np.uint8]) -> CompressedImage:
    """(H, W, 3) uint8 RGB as JPEG, 4:2:0, of the quality that sessions store."""
    import simplejpeg

    jpeg = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"
    )
    return CompressedImage(
        header=header(stamp_ns, frame), format="rgb8; jpeg compressed bgr8", data=array.array("B", jpeg)
    )


def camera_info(stamp_ns: int, frame: str, spec: CameraSpec) -> CameraInfo:
    """Intrinsics and distortion of a camera. K follows the convention that the centre of the first pixel lies at
    (0.5, 0.5), as Gazebo's does."""
    k = spec.intrinsics
    return CameraInfo(
        header=header(stamp_ns, frame),
        height=spec.height,
        width=spec.width,
        distortion_model="plumb_bob",
        d=list(spec.distortion or [0.0] * 5),
        k=k.reshape(-1).tolist(),
        r=np.eye(3).reshape(-1).tolist(),
        p=np.hstack([k, np.zeros((3, 1))]).reshape(-1).tolist(),
    )


#: x, y, z, intensity float32, ring uint16, two bytes of padding.
_POINT = np.dtype(
    {
        "names": ["x", "y", "z", "intensity", "ring"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<u2"],
        "offsets": [0, 4, 8, 12, 16],
        "itemsize": 20,
    }
)


def point_cloud(stamp_ns: int, frame: str, points: NDArray[np.float32], ring: NDArray[np.uint16]) -> PointCloud2:
    """(N, 4) x, y, z, intensity and (N,) ring as an unordered, dense cloud in the LiDAR's frame."""
    packed = np.zeros(len(points), _POINT)
    for i, name in enumerate(("x", "y", "z", "intensity")):
        packed[name] = points[:, i]
    packed["ring"] = ring
    kinds = [PointField.FLOAT32] * 4 + [PointField.UINT16]
    offsets = (0, 4, 8, 12, 16)
    names = ("x", "y", "z", "intensity", "ring")
    return PointCloud2(
        header=header(stamp_ns, frame),
        height=1,
        width=len(points),
        fields=[
            PointField(name=n, offset=o, datatype=k, count=1) for n, o, k in zip(names, offsets, kinds, strict=True)
        ],
        is_bigendian=False,
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * len(points),
        data=_bytes(packed),
        is_dense=True,
    )


def _vector(v: Any) -> Vector3:
    return Vector3(x=float(v[0]), y=float(v[1]), z=float(v[2]))


def _quaternion(q: Any) -> Quaternion:
    return Quaternion(x=float(q[0]), y=float(q[1]), z=float(q[2]), w=float(q[3]))


def odometry(state: VehicleState, vehicle: str) -> Odometry:
    """True pose in map, twist in the child frame (base_link), as nav_msgs/Odometry asks."""
    message = Odometry(header=header(state.stamp_ns, "map"), child_frame_id=topics.base_frame(vehicle))
    p = state.pose.position
    message.pose.pose.position = Point(x=float(p[0]), y=float(p[1]), z=float(p[2]))
    message.pose.pose.orientation = _quaternion(state.pose.orientation)
    message.twist.twist.linear = _vector(state.pose.rotation.T @ state.linear_velocity)
    message.twist.twist.angular = _vector(state.angular_velocity)
    return message


def imu(stamp_ns: int, frame: str, sample: Array, state: VehicleState, spec: ImuSpec) -> Imu:
    """One sample (7,) t, gyro, specific force; orientation is the true one of the IMU in map (ENU), without noise."""
    message = Imu(header=header(stamp_ns, frame))
    message.orientation = _quaternion((state.pose @ spec.pose).orientation)
    message.angular_velocity, message.linear_acceleration = _vector(sample[1:4]), _vector(sample[4:7])
    message.angular_velocity_covariance = np.diag(spec.noise("gyro").stddev ** 2).reshape(-1).tolist()
    message.linear_acceleration_covariance = np.diag(spec.noise("accel").stddev ** 2).reshape(-1).tolist()
    return message


def navsat(state: VehicleState, vehicle: str, origin: Georeference) -> NavSatFix:
    """The true position on earth; the altitude refers to what the world's height refers to (T.P. for PLATEAU)."""
    from pymap3d import enu2geodetic

    east, north, up = (float(v) for v in state.pose.position)
    latitude, longitude, height = enu2geodetic(east, north, up, origin.latitude, origin.longitude, origin.height)
    message = NavSatFix(header=header(state.stamp_ns, topics.base_frame(vehicle)))
    message.status.status, message.status.service = NavSatStatus.STATUS_FIX, NavSatStatus.SERVICE_GPS
    message.latitude, message.longitude, message.altitude = float(latitude), float(longitude), float(height)
    message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_UNKNOWN
    return message

"""Engine data as ROS 2 messages: pure functions, no node and no network. Frames and units are REP-103's.

The functions that make large messages take the last one of their topic as `into` and fill it again: its memory is warm,
and an array that is assigned to a message is copied once more. A publisher has read a message when `publish` returns.
"""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Quaternion, Transform, TransformStamped, Vector3
from geometry_msgs.msg import Pose as PoseMessage
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix, NavSatStatus, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from aerialworld_core import topics
from aerialworld_core.frames import Array, Pose
from aerialworld_core.markers import FRAME, actor_markers
from aerialworld_core.rig import CameraSpec, ImuSpec, NavSatSpec, Rig
from aerialworld_core.sensing import VehicleState

JPEG_QUALITY = 95
#: rad²: an orientation that is known exactly. 0 would mean "unknown" (sensor_msgs/Imu).
EXACT_VARIANCE = 1e-12


def time_message(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def header(stamp_ns: int, frame: str) -> Header:
    return Header(stamp=time_message(stamp_ns), frame_id=frame)


def _fill(message: Any, data: NDArray[Any]) -> None:
    """Copy `data` into the message's own array, once; in place where the size is the same."""
    flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    if len(message.data) != flat.size:
        message.data = array.array("B")
        message.data.frombytes(flat.data)
    else:
        np.frombuffer(message.data, np.uint8)[:] = flat


def image(stamp_ns: int, frame: str, pixels: NDArray[Any], into: Image | None = None) -> Image:
    """(H, W, 3) uint8 as rgb8, (H, W) float32 as 32FC1, (H, W) uint8 as mono8; row 0 is the top."""
    encodings = {(3, "uint8"): "rgb8", (2, "float32"): "32FC1", (2, "uint8"): "mono8"}
    message = into or Image()
    message.header = header(stamp_ns, frame)
    message.height, message.width = pixels.shape[:2]
    message.encoding = encodings[pixels.ndim, pixels.dtype.name]
    message.is_bigendian = 0
    message.step = pixels.nbytes // message.height
    _fill(message, pixels)
    return message


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG, 4:2:0, of the quality that sessions store. Other threads run meanwhile."""
    import simplejpeg

    return bytes(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"
        )
    )


def compressed_image(stamp_ns: int, frame: str, data: bytes) -> CompressedImage:
    """A JPEG of an rgb8 image; `format` reads as image_transport's compressed plugin writes it."""
    message = CompressedImage(header=header(stamp_ns, frame), format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(data)
    return message


def camera_info(stamp_ns: int, frame: str, spec: CameraSpec) -> CameraInfo:
    """Intrinsics and plumb_bob distortion (k1, k2, p1, p2, k3). K follows the convention that the centre of the first
    pixel lies at (0.5, 0.5), as Gazebo's does: the principal point is the image's centre unless the rig says else."""
    k = spec.intrinsics
    return CameraInfo(
        header=header(stamp_ns, frame),
        height=spec.height,
        width=spec.width,
        distortion_model="plumb_bob",
        d=list(spec.distortion or (0.0,) * 5),
        k=k.reshape(-1).tolist(),
        r=np.eye(3).reshape(-1).tolist(),
        p=np.hstack([k, np.zeros((3, 1))]).reshape(-1).tolist(),
    )


#: x, y, z, intensity float32, ring uint16, two bytes of padding: name → numpy type, PointField type, offset.
_LAYOUT: dict[str, tuple[str, int, int]] = {
    "x": ("<f4", PointField.FLOAT32, 0),
    "y": ("<f4", PointField.FLOAT32, 4),
    "z": ("<f4", PointField.FLOAT32, 8),
    "intensity": ("<f4", PointField.FLOAT32, 12),
    "ring": ("<u2", PointField.UINT16, 16),
}
_POINT = np.dtype(
    {
        "names": list(_LAYOUT),
        "formats": [kind for kind, _, _ in _LAYOUT.values()],
        "offsets": [offset for _, _, offset in _LAYOUT.values()],
        "itemsize": 20,
    }
)
_FIELDS = [PointField(name=n, offset=offset, datatype=kind, count=1) for n, (_, kind, offset) in _LAYOUT.items()]


def point_cloud(
    stamp_ns: int,
    frame: str,
    points: NDArray[np.float32],
    ring: NDArray[np.uint16],
    into: PointCloud2 | None = None,
) -> PointCloud2:
    """(N, 4) x, y, z, intensity and (N,) ring as an unordered, dense cloud in the LiDAR's frame."""
    packed = np.zeros(len(points), _POINT)
    for i, name in enumerate(("x", "y", "z", "intensity")):
        packed[name] = points[:, i]
    packed["ring"] = ring
    message = into or PointCloud2(
        height=1, fields=_FIELDS, is_bigendian=False, point_step=_POINT.itemsize, is_dense=True
    )
    message.header = header(stamp_ns, frame)
    message.width, message.row_step = len(points), packed.nbytes
    _fill(message, packed)
    return message


def _vector(v: Any) -> Vector3:
    return Vector3(x=float(v[0]), y=float(v[1]), z=float(v[2]))


def _quaternion(q: Any) -> Quaternion:
    return Quaternion(x=float(q[0]), y=float(q[1]), z=float(q[2]), w=float(q[3]))


def _diagonal(values: Array) -> list[float]:
    """(3,) variances as a row-major 3×3 covariance."""
    return [float(v) for v in np.diag(values).reshape(-1)]


def transform(stamp_ns: int, parent: str, child: str, pose: Pose) -> TransformStamped:
    """Where `child` is in `parent`, as tf2 carries it."""
    return TransformStamped(
        header=header(stamp_ns, parent),
        child_frame_id=child,
        transform=Transform(translation=_vector(pose.position), rotation=_quaternion(pose.orientation)),
    )


def rig_transforms(vehicle: str, rig: Rig) -> list[TransformStamped]:
    """Every sensor's frame in base_link: the optical frames of cameras, the others as they are mounted."""
    base = topics.base_frame(vehicle)
    frames = [(topics.optical_frame(vehicle, c.name), c.optical_pose) for c in (*rig.cameras, *rig.depth)]
    for spec in (rig.lidar, rig.imu, rig.navsat):
        if spec:
            frames.append((topics.sensor_frame(vehicle, spec.name), spec.pose))
    return [transform(0, base, frame, pose) for frame, pose in frames]


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
    """One sample (7,) t, gyro, specific force; orientation is the true one of the IMU in map (ENU), without noise.

    Covariances are those of the white noise from sample to sample; where there is none they are 0, which
    sensor_msgs/Imu reads as unknown. That of the orientation is EXACT_VARIANCE: it is known to be exact.
    """
    message = Imu(header=header(stamp_ns, frame))
    message.orientation = _quaternion((state.pose @ spec.pose).orientation)
    message.angular_velocity, message.linear_acceleration = _vector(sample[1:4]), _vector(sample[4:7])
    message.orientation_covariance = _diagonal(np.full(3, EXACT_VARIANCE))
    message.angular_velocity_covariance = _diagonal(spec.noise("gyro").stddev ** 2)
    message.linear_acceleration_covariance = _diagonal(spec.noise("accel").stddev ** 2)
    return message


def navsat(state: VehicleState, vehicle: str, place: tuple[float, float, float], spec: NavSatSpec | None) -> NavSatFix:
    """A fix at `place`: latitude and longitude in degrees, altitude in metres (`aerialworld_sim.navsat.fix`). Without
    `spec` it is the true place of base_link. Altitudes refer to what the world's height refers to (PLATEAU: T.P.)."""
    frame = topics.sensor_frame(vehicle, spec.name) if spec else topics.base_frame(vehicle)
    message = NavSatFix(header=header(state.stamp_ns, frame))
    message.status.status, message.status.service = NavSatStatus.STATUS_FIX, NavSatStatus.SERVICE_GPS
    message.latitude, message.longitude, message.altitude = place
    message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_UNKNOWN
    if spec and (spec.horizontal_stddev > 0 or spec.vertical_stddev > 0):
        deviations = np.array([spec.horizontal_stddev, spec.horizontal_stddev, spec.vertical_stddev])
        message.position_covariance = _diagonal(deviations**2)
        message.position_covariance_type = NavSatFix.COVARIANCE_TYPE_DIAGONAL_KNOWN
    return message


def actors(stamp_ns: int, present: list[dict[str, Any]]) -> MarkerArray:
    """What moves nearby, as `aerialworld_core.markers` says; all of one stamp."""
    shared = header(stamp_ns, FRAME)
    return MarkerArray(
        markers=[
            Marker(
                header=shared,
                ns=m.ns,
                id=m.id,
                type=m.type,
                action=m.action,
                pose=PoseMessage(position=_point(m.position), orientation=_turn(m.orientation)),
                scale=Vector3(x=m.scale[0], y=m.scale[1], z=m.scale[2]),
                color=ColorRGBA(r=m.colour[0], g=m.colour[1], b=m.colour[2], a=m.colour[3]),
                points=[_point(p) for p in m.points],
                text=m.text,
            )
            for m in actor_markers(present)
        ]
    )


def _point(p: tuple[float, float, float]) -> Point:
    return Point(x=p[0], y=p[1], z=p[2])


def _turn(q: tuple[float, float, float, float]) -> Quaternion:
    return Quaternion(x=q[0], y=q[1], z=q[2], w=q[3])

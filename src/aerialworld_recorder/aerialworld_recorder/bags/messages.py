"""A session's frame as standard ROS 2 messages: pure functions, no ROS install. Frames and units are REP-103's.

They say what the engine's node says on the same topics (`docs/engine_node.md`), so that a recorder, rviz or Foxglove
sees no difference between a bag of a session and a running simulation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import markers, topics
from aerialworld_core.frames import Georeference, Pose, grid_pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import COLOURS, FREE
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.rig import CameraSpec, Rig
from aerialworld_core.session import PoseRecord
from aerialworld_recorder.bags.library import library, message

_NO_TIME = 0
#: sensor_msgs/PointField and foxglove_msgs/PackedElementField name the same types by other numbers.
_POINT_UINT8, _POINT_FLOAT32, _PACKED_UINT8 = 2, 7, 1
#: One voxel of a VoxelGrid: its colour, its class (17 free) and whether it was observed.
VOXEL = np.dtype([(name, "u1") for name in ("red", "green", "blue", "alpha", "class", "observed")])
_FIX, _GPS = 0, 1  # sensor_msgs/NavSatStatus


def time(stamp_ns: int) -> Any:
    return message("builtin_interfaces/msg/Time", sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def header(stamp_ns: int, frame: str) -> Any:
    return message("std_msgs/msg/Header", stamp=time(stamp_ns), frame_id=frame)


def _vector(values: Any, kind: str = "Vector3") -> Any:
    x, y, z = (float(v) for v in values)
    return message(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)


def _quaternion(values: Any) -> Any:
    x, y, z, w = (float(v) for v in values)
    return message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)


def _pose(pose: Pose) -> Any:
    return message(
        "geometry_msgs/msg/Pose", position=_vector(pose.position, "Point"), orientation=_quaternion(pose.orientation)
    )


def compressed_image(stamp_ns: int, frame: str, jpeg: bytes) -> Any:
    """A JPEG as it is; `format` reads as image_transport's compressed plugin writes it."""
    return message(
        "sensor_msgs/msg/CompressedImage",
        header=header(stamp_ns, frame),
        format="rgb8; jpeg compressed bgr8",
        data=np.frombuffer(jpeg, np.uint8),
    )


def image(stamp_ns: int, frame: str, pixels: NDArray[Any]) -> Any:
    """(H, W) float32 as 32FC1, uint8 as mono8, uint16 as mono16; row 0 is the top."""
    encodings = {"float32": "32FC1", "uint8": "mono8", "uint16": "mono16"}
    plain = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return message(
        "sensor_msgs/msg/Image",
        header=header(stamp_ns, frame),
        height=plain.shape[0],
        width=plain.shape[1],
        encoding=encodings[plain.dtype.name],
        is_bigendian=0,
        step=plain.strides[0],
        data=plain.reshape(-1).view(np.uint8),
    )


def camera_info(stamp_ns: int, frame: str, spec: CameraSpec) -> Any:
    """Intrinsics and plumb_bob distortion; the centre of the first pixel lies at (0.5, 0.5), as Gazebo's does."""
    k = spec.intrinsics
    region = message("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return message(
        "sensor_msgs/msg/CameraInfo",
        header=header(stamp_ns, frame),
        height=spec.height,
        width=spec.width,
        distortion_model="plumb_bob",
        d=np.array(spec.distortion or (0.0,) * 5),
        k=k.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.hstack([k, np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def point_cloud(stamp_ns: int, frame: str, points: NDArray[Any]) -> Any:
    """A structured array of float32 and uint8 fields as an unordered, dense cloud."""
    kinds = {"<f4": _POINT_FLOAT32, "|u1": _POINT_UINT8}
    fields = [
        message("sensor_msgs/msg/PointField", name=name, offset=place[1], datatype=kinds[place[0].str], count=1)
        for name, place in (points.dtype.fields or {}).items()
    ]
    return message(
        "sensor_msgs/msg/PointCloud2",
        header=header(stamp_ns, frame),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=points.dtype.itemsize,
        row_step=points.nbytes,
        data=np.frombuffer(points.tobytes(), np.uint8),
        is_dense=True,
    )


def lidar_cloud(stamp_ns: int, frame: str, points: NDArray[np.float32]) -> Any:
    """(N, 4) x, y, z, intensity in the LiDAR's frame."""
    names = ["x", "y", "z", "intensity"]
    packed = np.zeros(len(points), [(n, "<f4") for n in names])
    for i, name in enumerate(names):
        packed[name] = points[:, i]
    return point_cloud(stamp_ns, frame, packed)


def occupied_cloud(stamp_ns: int, frame: str, occupancy: Occupancy, grid: VoxelGrid) -> Any:
    """The occupied voxels' centres in the grid's frame with their class, for viewers that know no voxels."""
    ijk = np.argwhere(occupancy.occupancy)
    centres = grid.centers(ijk)
    packed = np.zeros(len(ijk), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("class", "u1")])
    for i, name in enumerate("xyz"):
        packed[name] = centres[:, i]
    packed["class"] = occupancy.semantics[tuple(ijk.T)]
    return point_cloud(stamp_ns, frame, packed)


def voxel_grid(stamp_ns: int, frame: str, occupancy: Occupancy, grid: VoxelGrid) -> Any:
    """foxglove_msgs/VoxelGrid in the grid's frame: x fastest, then y, then z; free voxels are transparent."""
    colours = np.column_stack([COLOURS, np.full(len(COLOURS), 255, np.uint8)])
    colours[FREE] = 0
    classes = np.ascontiguousarray(occupancy.semantics.transpose(2, 1, 0))
    cells = np.zeros(classes.shape, VOXEL)
    for channel, name in enumerate(("red", "green", "blue", "alpha")):
        cells[name] = colours[classes, channel]
    cells["class"], cells["observed"] = classes, occupancy.observed.transpose(2, 1, 0)
    nx, ny, _ = grid.shape
    fields = [
        message("foxglove_msgs/msg/PackedElementField", name=name, offset=place[1], type=_PACKED_UINT8)
        for name, place in (VOXEL.fields or {}).items()
    ]
    return message(
        "foxglove_msgs/msg/VoxelGrid",
        timestamp=time(stamp_ns),
        frame_id=frame,
        pose=_pose(Pose(np.array(grid.minimum), np.array([0.0, 0.0, 0.0, 1.0]))),
        row_count=ny,
        column_count=nx,
        cell_size=_vector(grid.voxel_size),
        slice_stride=nx * ny * VOXEL.itemsize,
        row_stride=nx * VOXEL.itemsize,
        cell_stride=VOXEL.itemsize,
        fields=fields,
        data=cells.reshape(-1).view(np.uint8),
    )


def odometry(record: PoseRecord, vehicle: str) -> Any:
    """True pose in map, twist in the child frame (base_link), as nav_msgs/Odometry asks."""
    zeros = np.zeros(36)
    twist = message(
        "geometry_msgs/msg/Twist",
        linear=_vector(record.pose.rotation.T @ record.linear_velocity),
        angular=_vector(record.angular_velocity),
    )
    return message(
        "nav_msgs/msg/Odometry",
        header=header(record.stamp_ns, "map"),
        child_frame_id=topics.base_frame(vehicle),
        pose=message("geometry_msgs/msg/PoseWithCovariance", pose=_pose(record.pose), covariance=zeros),
        twist=message("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=zeros),
    )


def imu(stamp_ns: int, frame: str, sample: NDArray[np.float64]) -> Any:
    """One sample (7,) t, gyro, specific force. A session holds no orientation of the IMU: sensor_msgs/Imu says so by
    a first covariance of −1."""
    unknown = np.zeros(9)
    unknown[0] = -1.0
    return message(
        "sensor_msgs/msg/Imu",
        header=header(stamp_ns, frame),
        orientation=_quaternion((0.0, 0.0, 0.0, 1.0)),
        orientation_covariance=unknown,
        angular_velocity=_vector(sample[1:4]),
        angular_velocity_covariance=np.zeros(9),
        linear_acceleration=_vector(sample[4:7]),
        linear_acceleration_covariance=np.zeros(9),
    )


def navsat(record: PoseRecord, vehicle: str, origin: Georeference) -> Any:
    """The true place of base_link on WGS 84; altitudes refer to what the world's height refers to (PLATEAU: T.P.)."""
    east, north, up = (float(v) for v in record.pose.position)
    place = library("pymap3d").enu2geodetic(east, north, up, origin.latitude, origin.longitude, origin.height)
    latitude, longitude, altitude = (float(v) for v in place)
    return message(
        "sensor_msgs/msg/NavSatFix",
        header=header(record.stamp_ns, topics.base_frame(vehicle)),
        status=message("sensor_msgs/msg/NavSatStatus", status=_FIX, service=_GPS),
        latitude=latitude,
        longitude=longitude,
        altitude=altitude,
        position_covariance=np.zeros(9),
        position_covariance_type=0,
    )


def ground(record: PoseRecord) -> Any:
    """The terrain's point below the vehicle, in map."""
    x, y, _ = record.pose.position
    point = _vector((x, y, record.ground_z), "Point")
    return message("geometry_msgs/msg/PointStamped", header=header(record.stamp_ns, "map"), point=point)


def transform(stamp_ns: int, parent: str, child: str, pose: Pose) -> Any:
    """Where `child` is in `parent`, as tf2 carries it."""
    moved = message(
        "geometry_msgs/msg/Transform", translation=_vector(pose.position), rotation=_quaternion(pose.orientation)
    )
    return message(
        "geometry_msgs/msg/TransformStamped", header=header(stamp_ns, parent), child_frame_id=child, transform=moved
    )


def transforms(parts: list[Any]) -> Any:
    return message("tf2_msgs/msg/TFMessage", transforms=parts)


def rig_transforms(stamp_ns: int, vehicle: str, rig: Rig) -> Any:
    """/tf_static: every sensor's frame in base_link, the optical frames of cameras, the others as they are mounted."""
    frames = [(topics.optical_frame(vehicle, c.name), c.optical_pose) for c in (*rig.cameras, *rig.depth)]
    for spec in (rig.lidar, rig.imu, rig.navsat):
        if spec:
            frames.append((topics.sensor_frame(vehicle, spec.name), spec.pose))
    base = topics.base_frame(vehicle)
    return transforms([transform(stamp_ns, base, frame, pose) for frame, pose in frames])


def vehicle_transforms(record: PoseRecord, vehicle: str, datum: float) -> Any:
    """/tf: base_link and the voxel grid's frame in map."""
    stamp = record.stamp_ns
    return transforms(
        [
            transform(stamp, "map", topics.base_frame(vehicle), record.pose),
            transform(stamp, "map", topics.grid_frame(vehicle), grid_pose(record.pose, datum)),
        ]
    )


def actors(stamp_ns: int, present: list[dict[str, Any]]) -> Any:
    """What moves nearby, as `aerialworld_core.markers` says; all of one stamp."""
    return message(markers.TYPE, markers=[_marker(stamp_ns, m) for m in markers.actor_markers(present)])


def _marker(stamp_ns: int, marker: markers.Marker) -> Any:
    red, green, blue, alpha = marker.colour
    never = message("builtin_interfaces/msg/Duration", sec=0, nanosec=0)
    nothing = message(
        "sensor_msgs/msg/CompressedImage",
        header=header(_NO_TIME, ""), format="", data=np.zeros(0, np.uint8),
    )  # fmt: skip
    return message(
        "visualization_msgs/msg/Marker",
        header=header(stamp_ns, markers.FRAME),
        ns=marker.ns,
        id=marker.id,
        type=marker.type,
        action=marker.action,
        pose=message(
            "geometry_msgs/msg/Pose",
            position=_vector(marker.position, "Point"),
            orientation=_quaternion(marker.orientation),
        ),
        scale=_vector(marker.scale),
        color=message("std_msgs/msg/ColorRGBA", r=red, g=green, b=blue, a=alpha),
        lifetime=never,
        frame_locked=False,
        points=[_vector(p, "Point") for p in marker.points],
        colors=[],
        texture_resource="",
        texture=nothing,
        uv_coordinates=[],
        text=marker.text,
        mesh_resource="",
        mesh_file=message("visualization_msgs/msg/MeshFile", filename="", data=np.zeros(0, np.uint8)),
        mesh_use_embedded_materials=False,
    )

"""Messages from bytes to arrays: against ROS's own serialiser, hand-made layouts, and hostile claims."""

from __future__ import annotations

import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_recorder.stream import cdr
from aerialworld_recorder.stream.calibration import check_calibration
from aerialworld_recorder.stream.clouds import decode_cloud, own_fields
from aerialworld_recorder.stream.images import (
    PICTURES,
    check_jpeg,
    check_raw,
    decode_classes,
    decode_depth,
    decode_picture,
)
from aerialworld_recorder.stream.messages import (
    CameraInfo,
    CompressedImage,
    ContentError,
    PointCloud,
    PointField,
    RawImage,
)

sys.path.insert(0, str(Path(__file__).parent))
from recorder_stream_messages import raw

needs_ros = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")
CAMERA = CameraSpec("cam_front", Pose.identity(), 6, 4, 1.2, 0.1, 100.0, 10.0)
RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (4, 6, 3)).astype(np.uint8)


def padded(array: np.ndarray, encoding: str, padding: int, big: bool = False) -> RawImage:
    """The image with unused bytes behind each row, in either byte order."""
    kind = array.dtype.newbyteorder(">" if big else "<")
    rows = np.ascontiguousarray(array.astype(kind)).view(np.uint8).reshape(len(array), -1)
    rows = np.concatenate([rows, np.full((len(array), padding), 99, np.uint8)], axis=1)
    return RawImage(len(array), array.shape[1], encoding, big, rows.shape[1], rows.tobytes())


@pytest.mark.parametrize("padding", [0, 5])
def test_pictures_of_every_encoding_are_the_same_rgb(padding):
    alpha = np.full((4, 6, 1), 7, np.uint8)
    for encoding, pixels in {
        "rgb8": RGB,
        "bgr8": RGB[..., ::-1],
        "rgba8": np.concatenate([RGB, alpha], axis=2),
        "bgra8": np.concatenate([RGB[..., ::-1], alpha], axis=2),
    }.items():
        assert np.array_equal(decode_picture(padded(pixels, encoding, padding), CAMERA), RGB), encoding
    grey = decode_picture(padded(RGB[..., 0], "mono8", padding), CAMERA)
    assert np.array_equal(grey, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("big", [False, True])
def test_depth_is_metres_and_unknown_where_it_says_nothing(big):
    depth = RNG.uniform(0.5, 90, (4, 6)).astype(np.float32)
    depth[0, :5] = [np.inf, -np.inf, np.nan, 0.0, -3.0]
    expected = depth.copy()
    expected[0, 1:5] = -np.inf
    assert np.array_equal(decode_depth(padded(depth, "32FC1", 3, big), CAMERA), expected)
    millimetres = np.array([[0, 1500, 65535, 1, 2, 3]] * 4, np.uint16)
    got = decode_depth(padded(millimetres, "16UC1", 2, big), CAMERA)
    assert np.allclose(got[0], [-np.inf, 1.5, 65.535, 0.001, 0.002, 0.003], rtol=1e-6)


def test_classes_are_the_red_channel_or_the_only_one():
    assert np.array_equal(decode_classes(padded(RGB[..., 0], "mono8", 1), CAMERA), RGB[..., 0])
    assert np.array_equal(decode_classes(padded(RGB, "rgb8", 1), CAMERA), RGB[..., 0])


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (raw(RGB, "yuv422"), "encoding 'yuv422' is none of rgb8"),
        (raw(RGB[:3], "rgb8"), "6×3 pixels; the rig says 6×4"),
        (RawImage(0, 0, "rgb8", False, 0, b""), "0×0 pixels"),
        (RawImage(4, 2**31, "rgb8", False, 3 * 2**31 % 2**32, bytes(72)), "2147483648×4 pixels"),
        (RawImage(4, 6, "rgb8", False, 17, bytes(68)), "a step of 17 bytes"),
        (RawImage(4, 6, "rgb8", False, 18, bytes(71)), "71 bytes of data"),
        (RawImage(4, 6, "rgb8", False, 2**32 - 1, bytes(72)), "72 bytes of data"),
        (CompressedImage("jpeg", b""), "a CompressedImage, where a raw image is expected"),
    ],
)
def test_images_that_claim_what_is_not_so_are_refused(image, told):
    with pytest.raises(ContentError, match=told.replace("(", r"\(")):
        check_raw(image, CAMERA, PICTURES)


def test_jpegs_pass_as_they_come_and_others_do_not():
    data = simplejpeg.encode_jpeg(RGB, quality=90, colorspace="RGB")
    assert check_jpeg(CompressedImage("jpeg", memoryview(data)), CAMERA) == data
    assert check_jpeg(CompressedImage("jpeg", data + bytes(100)), CAMERA)
    small = simplejpeg.encode_jpeg(RGB[:3].copy(), quality=90, colorspace="RGB")
    for content, told in (
        (data[:-2], "without its end"),
        (b"", "no JPEG"),
        (b"\x89PNG\r\n\x1a\n", "no JPEG"),
        (small, "6×3 pixels"),
        (b"\xff\xd8\xff" + bytes(50) + b"\xff\xd9", "cannot be read"),
    ):
        with pytest.raises(ContentError, match=told):
            check_jpeg(CompressedImage("png", content), CAMERA)


KINDS = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def _readers():
    """Our own view and, where a ROS installation brings it, sensor_msgs_py."""
    if importlib.util.find_spec("sensor_msgs_py") is None or importlib.util.find_spec("sensor_msgs") is None:
        return [own_fields]
    from aerialworld_recorder.nodes.ros_clouds import ros_fields

    return [own_fields, ros_fields]


READERS = _readers()


@pytest.mark.skipif(
    len(READERS) < 2, reason="sensor_msgs_py is not installed: a ROS installation has it, wheels do not"
)
def test_sensor_msgs_py_is_what_the_node_reads_clouds_with():
    from aerialworld_recorder.nodes import ros_clouds

    assert ros_clouds.present() and ros_clouds.fields_reader() is ros_clouds.ros_fields


@st.composite
def clouds(draw):
    """A cloud of any layout, and the points in it."""
    count, height = draw(st.integers(0, 6)), draw(st.sampled_from([1, 2, 3]))
    number = st.floats(-1000, 1000, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
    rows = [[draw(number) for _ in range(4)] for _ in range(count * height)]
    points = np.array(rows, np.float64).reshape(-1, 4)
    names = ["x", "y", "z", *draw(st.lists(st.sampled_from(["intensity", "ring", "time", "rgb"]), unique=True))]
    kinds, offsets, at = [], [], draw(st.integers(0, 3))
    for name in draw(st.permutations(names)):
        kind = draw(st.sampled_from(["f4", "f8"])) if name in ("x", "y", "z") else draw(st.sampled_from(list(KINDS)))
        kinds.append((name, kind))
        offsets.append(at)
        at += np.dtype(kind).itemsize + draw(st.integers(0, 3))
    return points, count, height, kinds, offsets, at, draw(st.integers(0, 5)), draw(st.booleans())


@given(clouds())
@settings(max_examples=80, deadline=None)
def test_clouds_of_any_layout_give_their_finite_points(drawn):
    points, count, height, kinds, offsets, step, padding, big = drawn
    order = ">" if big else "<"
    packed = np.zeros((height, count * step + padding), np.uint8)
    values = {"x": points[:, 0], "y": points[:, 1], "z": points[:, 2]}
    if dict(kinds).get("intensity") in ("f4", "f8"):
        values["intensity"] = points[:, 3]
    elif "intensity" in dict(kinds):
        values["intensity"] = np.arange(len(points)) % 100
    values["ring"] = np.arange(len(points)) % 32
    for (name, kind), offset in zip(kinds, offsets, strict=True):
        for i in range(len(points)):
            at = offset + (i % count) * step
            value = np.array(values.get(name, np.zeros(len(points)))[i]).astype(np.dtype(kind).newbyteorder(order))
            packed[i // count, at : at + value.nbytes] = np.frombuffer(value.tobytes(), np.uint8)
    fields = tuple(PointField(n, o, KINDS[k]) for (n, k), o in zip(kinds, offsets, strict=True))
    message = PointCloud(height, count, fields, big, step, packed.shape[1], packed.tobytes())
    for read in READERS:
        check_points(decode_cloud(message, read), points, values, dict(kinds))


def check_points(found, points, values, kinds):
    got, ring = found
    finite = np.isfinite(points[:, :3]).all(axis=1)
    expected = np.zeros((finite.sum(), 4), np.float32)
    expected[:, :3] = points[finite, :3]
    if "intensity" in values:
        expected[:, 3] = np.nan_to_num(np.asarray(values["intensity"], float)[finite], nan=0, posinf=0, neginf=0)
    assert got.dtype == np.float32 and np.array_equal(got, expected)
    if "ring" in kinds:
        assert ring is not None and np.array_equal(ring, values["ring"][finite])
    else:
        assert ring is None


XYZ = tuple(PointField(n, 4 * i, 7) for i, n in enumerate("xyz"))


@pytest.mark.parametrize(
    ("cloud", "told"),
    [
        (PointCloud(1, 2, XYZ[1:], False, 12, 24, bytes(24)), "a cloud without x; its fields are y, z"),
        (PointCloud(1, 2, (*XYZ, XYZ[0]), False, 12, 24, bytes(24)), "field x is there 2 times"),
        (PointCloud(1, 0, (), False, 12, 0, b""), "a cloud without x, y, z"),
        (PointCloud(1, 2, XYZ, False, 8, 16, bytes(16)), "field z at 8 ends beyond a point of 8 bytes"),
        (PointCloud(1, 2, XYZ, False, 12, 24, bytes(23)), "23 bytes of data"),
        (PointCloud(1, 2, XYZ, False, 12, 12, bytes(12)), "a row of 12 bytes"),
        (PointCloud(2**20, 2**20, XYZ, False, 12, 12, bytes(12)), "points are more than"),
        (PointCloud(1, 1, (*XYZ[:2], PointField("z", 8, 99)), False, 12, 12, bytes(12)), "datatype 99"),
    ],
)
def test_clouds_that_claim_what_is_not_so_are_refused(cloud, told):
    with pytest.raises(ContentError, match=told):
        decode_cloud(cloud)


def test_a_cameras_calibration_must_be_the_rigs():
    k = tuple(CAMERA.intrinsics.reshape(-1))
    check_calibration(CameraInfo(4, 6, "plumb_bob", (0.0,) * 5, k), CAMERA)
    check_calibration(CameraInfo(4, 6, "", (), k), CAMERA)
    check_calibration(CameraInfo(4, 6, "", (), (*k[:2], k[2] - 0.5, *k[3:])), CAMERA)  # counted from pixel centres
    for info, told in (
        (CameraInfo(4, 7, "", (), k), "7×4 pixels"),
        (CameraInfo(4, 6, "", (), (k[0] * 1.01, *k[1:])), "fx "),
        (CameraInfo(4, 6, "", (), (*k[:5], k[5] + 2, *k[6:])), "cy "),
        (CameraInfo(4, 6, "plumb_bob", (0.1, 0, 0, 0, 0), k), "distortion"),
        (CameraInfo(4, 6, "equidistant", (0.1, 0, 0, 0), k), "equidistant"),
        (CameraInfo(4, 6, "", (), (float("nan"), *k[1:])), "fx nan"),
    ):
        with pytest.raises(ContentError, match=told):
            check_calibration(info, CAMERA)


@needs_ros
def test_bytes_of_ros_are_read_as_ros_reads_them():
    """Every field of every type, with texts of all lengths modulo the alignment."""
    from geometry_msgs.msg import Vector3
    from nav_msgs.msg import Odometry
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import CameraInfo as RosInfo
    from sensor_msgs.msg import CompressedImage as RosCompressed
    from sensor_msgs.msg import Image, Imu, PointCloud2
    from sensor_msgs.msg import PointField as RosField

    for length in range(9):
        frame = "f" * length

        def read(kind: str, message, frame=frame):
            message.header.frame_id = frame
            message.header.stamp.sec, message.header.stamp.nanosec = 12, 345_678_901
            got = cdr.message("/t", kind, serialize_message(message))
            assert got.stamp_ns == 12_345_678_901
            return got.load()

        image = Image(height=4, width=6, encoding="rgb8", is_bigendian=1, step=18)
        image.data.frombytes(RGB.tobytes())
        got = read("sensor_msgs/msg/Image", image)
        assert (got.height, got.width, got.encoding, got.is_bigendian, got.step) == (4, 6, "rgb8", True, 18)
        assert bytes(got.data) == RGB.tobytes()
        compressed = RosCompressed(format="jpeg" + frame)
        compressed.data.frombytes(b"\xff\xd8")
        got = read("sensor_msgs/msg/CompressedImage", compressed)
        assert got.format == "jpeg" + frame and bytes(got.data) == b"\xff\xd8"
        cloud = PointCloud2(
            height=1, width=2, is_bigendian=False, point_step=12, row_step=24, is_dense=True,
            fields=[RosField(name="x" * (i + 1), offset=4 * i, datatype=7, count=1) for i in range(5)],
        )  # fmt: skip
        cloud.data.frombytes(bytes(range(24)))
        got = read("sensor_msgs/msg/PointCloud2", cloud)
        assert [(f.name, f.offset, f.datatype, f.count) for f in got.fields] == [
            ("x" * (i + 1), 4 * i, 7, 1) for i in range(5)
        ]
        assert (got.point_step, got.row_step, got.is_dense) == (12, 24, True) and bytes(got.data) == bytes(range(24))
        info = RosInfo(height=4, width=6, distortion_model="plumb_bob" + frame, d=[0.1, 0.2], k=list(range(9)))
        got = read("sensor_msgs/msg/CameraInfo", info)
        assert got == CameraInfo(4, 6, "plumb_bob" + frame, (0.1, 0.2), tuple(map(float, range(9))))
        odometry = Odometry(child_frame_id="base" + frame)
        odometry.pose.pose.position.x, odometry.pose.pose.orientation.w = 1.5, 0.5
        odometry.pose.covariance[35] = 9.0
        odometry.twist.twist.linear, odometry.twist.twist.angular = Vector3(y=2.5), Vector3(z=3.5)
        got = read("nav_msgs/msg/Odometry", odometry)
        assert (got.frame_id, got.child_frame_id) == (frame, "base" + frame)
        assert got.position == (1.5, 0, 0) and got.orientation == (0, 0, 0, 0.5)
        assert got.linear == (0, 2.5, 0) and got.angular == (0, 0, 3.5)
        imu = Imu(angular_velocity=Vector3(x=1.0, z=2.0), linear_acceleration=Vector3(y=3.0, z=4.0))
        got = read("sensor_msgs/msg/Imu", imu)
        assert got.gyro == (1, 0, 2) and got.accel == (0, 3, 4)


def test_big_endian_bytes_are_read_too():
    def text(value: bytes) -> bytes:
        return struct.pack(">I", len(value) + 1) + value + b"\0"

    body = struct.pack(">iI", 1, 2) + text(b"map") + text(b"jpg") + struct.pack(">I", 2) + b"\xff\xd8"
    got = cdr.message("/t", "sensor_msgs/msg/CompressedImage", b"\0\0\0\0" + body)
    assert got.stamp_ns == 1_000_000_002 and got.load().format == "jpg" and bytes(got.load().data) == b"\xff\xd8"


@given(st.binary(max_size=200), st.sampled_from(sorted(cdr.READERS)), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data, kind, headed):
    """Nothing but ContentError, and nothing larger than the bytes is made."""
    try:
        cdr.message("/t", kind, (b"\0\1\0\0" if headed else b"") + data).load()
    except ContentError:
        pass

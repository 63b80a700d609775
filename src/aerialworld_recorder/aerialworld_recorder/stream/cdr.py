"""ROS 2 messages from their serialised bytes, without ROS: the few types that the recorder takes.

The encoding is the classic CDR of the OMG's DDS-RTPS 2.5, chapter 10 (and of bags): four bytes that name the byte
order, then the fields in order, each aligned to its size. Images and clouds stay where they are: their data is a view
of the bytes. A message that says more than it brings is a ContentError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from aerialworld_core.markers import TYPE as MARKERS
from aerialworld_core.markers import Marker
from aerialworld_recorder.stream.messages import (
    CameraInfo,
    CompressedImage,
    ContentError,
    Imu,
    Markers,
    Message,
    Odometry,
    Payload,
    PointCloud,
    PointField,
    RawImage,
)

#: Fields of a point, distortion coefficients, characters of a text, markers and points of one, at most.
MOST_FIELDS, MOST_COEFFICIENTS, LONGEST_TEXT, MOST_MARKERS, MOST_POINTS = 256, 64, 4096, 20_000, 64
_BIG, _LITTLE = 0, 1


class _Reader:
    """Fields one after the other."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data).cast("B")
        if len(self._data) < 4 or self._data[0] != 0 or self._data[1] not in (_BIG, _LITTLE):
            raise ContentError("its bytes are no CDR: they do not begin with a byte order")
        self._order = "<" if self._data[1] == _LITTLE else ">"
        self._at = 4

    def values(self, code: str, count: int) -> tuple[float, ...]:
        """`count` numbers of a struct code."""
        size = struct.calcsize(code)
        self._at += -(self._at - 4) % size
        end = self._at + count * size
        if end > len(self._data):
            raise ContentError(f"it ends after {len(self._data)} bytes, before all it should hold")
        values: tuple[float, ...] = struct.unpack_from(f"{self._order}{count}{code}", self._data, self._at)
        self._at = end
        return values

    def number(self, code: str = "I") -> int:
        return int(self.values(code, 1)[0])

    def view(self) -> memoryview:
        """A sequence of bytes, where it lies."""
        count = self.number()
        if count > len(self._data) - self._at:
            raise ContentError(f"it says {count} bytes of data and holds {len(self._data) - self._at}")
        self._at += count
        return self._data[self._at - count : self._at]

    def text(self) -> str:
        raw = bytes(self.view()[: LONGEST_TEXT + 1])
        if len(raw) > LONGEST_TEXT:
            raise ContentError(f"a text of more than {LONGEST_TEXT} bytes")
        return raw.rstrip(b"\0").decode("utf-8", "replace")

    def count(self, most: int, what: str) -> int:
        """The length of a sequence. Raises ContentError above `most`."""
        count = self.number()
        if count > most:
            raise ContentError(f"{count} {what}; at most {most} are read")
        return count

    def header(self) -> str:
        """std_msgs/Header: its frame."""
        self.values("i", 2)
        return self.text()


def stamp_of(data: bytes | memoryview, kind: str = "") -> int:
    """Nanoseconds of the header's stamp, with which every message here begins; markers (`kind`) with their first one's.
    Raises ContentError."""
    reader = _Reader(data)
    if kind == MARKERS and not reader.count(MOST_MARKERS, "markers"):
        raise ContentError("no marker, so no stamp: an array without objects begins with one that clears the last")
    seconds, nanoseconds = reader.number("i"), reader.number("I")
    if seconds < 0 or nanoseconds >= 1_000_000_000:
        raise ContentError(f"a stamp of {seconds} s and {nanoseconds} ns")
    return seconds * 1_000_000_000 + nanoseconds


def message(topic: str, kind: str, data: bytes | memoryview) -> Message:
    """The message that `data` serialises, of a type in READERS. It is read when it is needed; its stamp is read now:
    raises ContentError where there is none."""
    reader = READERS[kind]
    return Message(topic, stamp_of(data, kind), lambda: reader(_Reader(data)))


def _image(r: _Reader) -> RawImage:
    r.header()
    height, width, encoding = r.number(), r.number(), r.text()
    return RawImage(height, width, encoding, bool(r.number("B")), r.number(), r.view())


def _compressed(r: _Reader) -> CompressedImage:
    r.header()
    return CompressedImage(r.text(), r.view())


def _cloud(r: _Reader) -> PointCloud:
    r.header()
    height, width = r.number(), r.number()
    fields = tuple(
        PointField(r.text(), r.number(), r.number("B"), r.number()) for _ in range(r.count(MOST_FIELDS, "fields"))
    )
    big, point_step, row_step, data = bool(r.number("B")), r.number(), r.number(), r.view()
    return PointCloud(height, width, fields, big, point_step, row_step, data, bool(r.number("B")))


def _info(r: _Reader) -> CameraInfo:
    r.header()
    height, width, model = r.number(), r.number(), r.text()
    d = r.values("d", r.count(MOST_COEFFICIENTS, "coefficients"))
    return CameraInfo(height, width, model, d, r.values("d", 9))


def _odometry(r: _Reader) -> Odometry:
    frame, child = r.header(), r.text()
    pose = r.values("d", 7 + 36)
    twist = r.values("d", 6)
    return Odometry(frame, child, _three(pose), (pose[3], pose[4], pose[5], pose[6]), _three(twist), _three(twist[3:]))


def _imu(r: _Reader) -> Imu:
    r.header()
    v = r.values("d", 4 + 9 + 3 + 9 + 3)
    return Imu(_three(v[13:]), _three(v[25:]))


def _markers(r: _Reader) -> Markers:
    return Markers(tuple(_marker(r) for _ in range(r.count(MOST_MARKERS, "markers"))))


def _marker(r: _Reader) -> Marker:
    r.header()
    name = r.text()
    number, kind, action = (int(v) for v in r.values("i", 3))
    pose, scale, colour = r.values("d", 7), r.values("d", 3), r.values("f", 4)
    r.values("i", 1)  # lifetime
    r.number("I")
    r.number("B")  # frame_locked
    points = tuple(_three(r.values("d", 3)) for _ in range(r.count(MOST_POINTS, "points")))
    for _ in range(r.count(MOST_POINTS, "colours")):
        r.values("f", 4)
    r.text()  # texture_resource; texture
    r.header()
    r.text()
    r.view()
    for _ in range(r.count(MOST_POINTS, "texture coordinates")):
        r.values("f", 2)
    text = r.text()
    r.text()  # mesh_resource; mesh_file
    r.text()
    r.view()
    r.number("B")  # mesh_use_embedded_materials
    turn = (pose[3], pose[4], pose[5], pose[6])
    shade = (colour[0], colour[1], colour[2], colour[3])
    return Marker(name, number, kind, action, _three(pose), turn, _three(scale), shade, points, text)


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]


#: What reads a type.
READERS: dict[str, Callable[[_Reader], Payload]] = {
    "sensor_msgs/msg/Image": _image,
    "sensor_msgs/msg/CompressedImage": _compressed,
    "sensor_msgs/msg/PointCloud2": _cloud,
    "sensor_msgs/msg/CameraInfo": _info,
    "nav_msgs/msg/Odometry": _odometry,
    "sensor_msgs/msg/Imu": _imu,
    MARKERS: _markers,
}

"""Gazebo's sensor messages as the arrays of a `SensorFrame`. Messages are read by their fields (gz.msgs 10 and newer),
so that nothing of Gazebo is needed here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import AerialWorldError

#: gz.msgs.PixelFormatType of what cameras, segmentation cameras and depth cameras send.
RGB_INT8, R_FLOAT32 = 3, 13
#: gz.msgs.PointCloudPacked.Field.DataType → numpy's letter.
_TYPES = {0: "i1", 1: "u1", 2: "i2", 3: "u2", 4: "i4", 5: "u4", 6: "f4", 7: "f8"}


class GazeboMessageError(AerialWorldError):
    """A message is not what its sensor should send."""


def stamp_ns(message: Any) -> int:
    """Simulated nanoseconds of a message."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nsec)


def rgb(message: Any, topic: str) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of a gz.msgs.Image of RGB_INT8. Raises GazeboMessageError for any other."""
    return _pixels(message, topic, RGB_INT8, "u1", 3)


def depth(message: Any, topic: str) -> NDArray[np.float32]:
    """(H, W) float32 metres along the optical axis, as Gazebo sends them: +inf beyond far, −inf nearer than near."""
    return _pixels(message, topic, R_FLOAT32, "<f4", 1)[..., 0].astype(np.float32, copy=False)


def classes(message: Any, topic: str) -> NDArray[np.uint8]:
    """(H, W) uint8 class ids of a segmentation camera's labels_map: the red channel."""
    return np.ascontiguousarray(rgb(message, topic)[..., 0])


def cloud(message: Any, topic: str) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """(N, 4) float32 x, y, z, intensity and (N,) uint16 ring of the returns of a gz.msgs.PointCloudPacked.

    Raises GazeboMessageError without these fields, or with too few bytes.
    """
    order = ">" if message.is_bigendian else "<"
    fields = {f.name: (order + _TYPES[f.datatype], int(f.offset)) for f in message.field if f.datatype in _TYPES}
    lacking = [name for name in ("x", "y", "z", "intensity", "ring") if name not in fields]
    if lacking:
        raise GazeboMessageError(
            f"{topic}: the cloud lacks {', '.join(lacking)}; it has {', '.join(fields) or 'nothing'}"
        )
    points, step = int(message.width) * int(message.height), int(message.point_step)
    if len(message.data) < points * step:
        raise GazeboMessageError(f"{topic}: {len(message.data)} bytes for {points} points of {step} bytes")
    names = list(fields)
    layout = np.dtype(
        {"names": names, "formats": [fields[n][0] for n in names], "offsets": [fields[n][1] for n in names],
         "itemsize": step}
    )  # fmt: skip
    read = np.frombuffer(message.data, layout, points)
    found = np.column_stack([read[n].astype(np.float32) for n in ("x", "y", "z", "intensity")])
    returned = np.isfinite(found[:, :3]).all(axis=1)
    return found[returned], read["ring"][returned].astype(np.uint16)


def _pixels(message: Any, topic: str, format_: int, kind: str, channels: int) -> NDArray[Any]:
    width, height, step = int(message.width), int(message.height), int(message.step)
    row = width * channels * np.dtype(kind).itemsize
    if message.pixel_format_type != format_:
        raise GazeboMessageError(f"{topic}: pixel format {message.pixel_format_type}, not {format_}")
    if step < row or len(message.data) < step * height:
        raise GazeboMessageError(f"{topic}: {len(message.data)} bytes in rows of {step} for {width}×{height} pixels")
    rows = np.frombuffer(message.data, np.uint8, step * height).reshape(height, step)[:, :row]
    return np.array(rows, order="C").view(kind).reshape(height, width, channels)

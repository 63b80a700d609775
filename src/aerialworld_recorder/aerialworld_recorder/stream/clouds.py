"""Point clouds of any layout as the session's (N, 4) points.

What a cloud says of itself is checked here before a byte of it is looked at. The fields are then read through our own
view of the bytes, so that no ROS is needed, or by a reader that is given (`nodes/ros_clouds.py`: sensor_msgs_py's
`read_points`); both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.rig import MAX_BEAMS
from aerialworld_recorder.stream.messages import ContentError, Payload, PointCloud, PointField

#: The fields that are read; PointField's datatypes, from INT8 = 1 on.
_USED = ("x", "y", "z", "intensity", "ring")
_KINDS = dict(enumerate(("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"), start=1))


#: From a checked cloud without padding behind its rows, and those of its fields that are used, to their columns (N,).
ReadFields = Callable[[PointCloud, tuple[PointField, ...]], Mapping[str, NDArray[Any]]]


def check_cloud(payload: Payload) -> PointCloud:
    """The payload as a cloud whose x, y, z can be read. Raises ContentError."""
    if not isinstance(payload, PointCloud):
        raise ContentError(f"a {type(payload).__name__}, where a point cloud is expected")
    names = [field.name for field in payload.fields]
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise ContentError(f"a cloud without {', '.join(missing)}; its fields are {', '.join(names)[:200] or 'none'}")
    for field in payload.fields:
        if field.name in _USED:
            if names.count(field.name) > 1:
                raise ContentError(f"field {field.name} is there {names.count(field.name)} times")
            kind = _KINDS.get(field.datatype)
            if kind is None or field.count not in (0, 1):
                raise ContentError(f"field {field.name}: datatype {field.datatype}, {field.count} times")
            if field.offset + np.dtype(kind).itemsize > payload.point_step:
                raise ContentError(
                    f"field {field.name} at {field.offset} ends beyond a point of {payload.point_step} bytes"
                )
    count = payload.height * payload.width
    if count > MAX_BEAMS:
        raise ContentError(f"{payload.height} × {payload.width} points are more than {MAX_BEAMS:,}")
    if count and payload.row_step < payload.width * payload.point_step:
        raise ContentError(f"a row of {payload.row_step} bytes for {payload.width} points of {payload.point_step}")
    if count and len(payload.data) != payload.height * payload.row_step:
        raise ContentError(
            f"{len(payload.data)} bytes of data; {payload.height} rows of {payload.row_step} bytes are expected"
        )
    return payload


def own_fields(cloud: PointCloud, fields: tuple[PointField, ...]) -> dict[str, NDArray[Any]]:
    """The fields as views of the bytes, with the point's step."""
    count, order = cloud.height * cloud.width, cast(Literal["<", ">"], ">" if cloud.is_bigendian else "<")
    return {
        f.name: np.ndarray(
            (count,), np.dtype(_KINDS[f.datatype]).newbyteorder(order), cloud.data, f.offset, (cloud.point_step,)
        )
        for f in fields
    }


def overlap(fields: tuple[PointField, ...]) -> bool:
    """Whether two fields share bytes of a point."""
    ends = sorted((f.offset, f.offset + np.dtype(_KINDS[f.datatype]).itemsize) for f in fields)
    return any(end > begin for (_, end), (begin, _) in pairwise(ends))


def decode_cloud(
    payload: Payload, read: ReadFields = own_fields
) -> tuple[NDArray[np.float32], NDArray[np.uint16] | None]:
    """(N, 4) float32 x, y, z, intensity (0 without the field) of the finite points in the cloud's order, and their
    rings (N,) uint16 where the cloud has them. A point whose intensity is not finite gets 0. `read` gets the fields'
    columns. Raises ContentError."""
    cloud = check_cloud(payload)
    count = cloud.height * cloud.width
    if count == 0:
        ringed = any(field.name == "ring" for field in cloud.fields)
        return np.zeros((0, 4), np.float32), np.zeros(0, np.uint16) if ringed else None
    rows = np.frombuffer(cloud.data, np.uint8).reshape(cloud.height, cloud.row_step)
    used = cloud.width * cloud.point_step
    data = memoryview(rows[:, :used].tobytes())
    columns = read(replace(cloud, row_step=used, data=data), tuple(f for f in cloud.fields if f.name in _USED))
    points = np.zeros((count, 4), np.float32)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and goes
        for i, name in enumerate(("x", "y", "z", "intensity")):
            if name in columns:
                points[:, i] = columns[name]
    finite = np.isfinite(points[:, :3]).all(axis=1)
    points = points[finite]
    points[~np.isfinite(points[:, 3]), 3] = 0.0
    ring = columns.get("ring")
    return points, None if ring is None else ring[finite].astype(np.uint16)

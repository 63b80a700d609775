"""Structured arrays as PointCloud2, and stamps."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

_KINDS = {"<f4": PointField.FLOAT32, "|u1": PointField.UINT8}


def cloud(points: NDArray[np.void], stamp_ns: int, frame: str = "map") -> PointCloud2:
    """One message of points (N,) whose fields are float32 or uint8. Raises KeyError for fields of another type."""
    fields: Any = points.dtype.fields or {}
    message: Any = PointCloud2(
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=int(offset), datatype=_KINDS[kind.str], count=1)
            for name, (kind, offset) in fields.items()
        ],
        point_step=points.dtype.itemsize,
        row_step=points.nbytes,
    )
    message.header.frame_id, message.is_dense = frame, True
    set_stamp(message.header.stamp, stamp_ns)
    message.data.frombytes(points.tobytes())
    return cast(PointCloud2, message)


def set_stamp(stamp: Any, stamp_ns: int) -> None:
    """Put nanoseconds into a builtin_interfaces/Time."""
    stamp.sec, stamp.nanosec = divmod(stamp_ns, 1_000_000_000)

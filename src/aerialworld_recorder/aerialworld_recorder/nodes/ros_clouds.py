"""A cloud's fields through sensor_msgs_py, where a ROS installation brings it (the pip wheels do not).

`read_points` believes what a message says: it is given clouds that `stream.clouds.check_cloud` has passed, without
padding behind their rows (it knows no row_step), and their used fields alone (others may be of types that it refuses).
"""

from __future__ import annotations

import array
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from sensor_msgs.msg import PointField as RosField

from aerialworld_recorder.stream.clouds import ReadFields, overlap, own_fields
from aerialworld_recorder.stream.messages import ContentError, PointCloud, PointField


def _module() -> Any:
    """sensor_msgs_py.point_cloud2, None where it is not installed."""
    try:
        return importlib.import_module("sensor_msgs_py.point_cloud2")
    except ImportError:
        return None


_POINTS = _module()


def present() -> bool:
    """Whether sensor_msgs_py is there, in a version that heeds point_step (Iron and later)."""
    return hasattr(_POINTS, "dtype_from_fields")


def fields_reader() -> ReadFields:
    """How this node reads clouds: through sensor_msgs_py where it is present, else our own view."""
    return ros_fields if present() else own_fields


def ros_fields(cloud: PointCloud, fields: tuple[PointField, ...]) -> Mapping[str, NDArray[Any]]:
    """The fields as `read_points` gives them. Raises ContentError for what it refuses."""
    if overlap(fields):  # it swaps bytes in place, field by field, and would swap the shared ones twice
        return own_fields(cloud, fields)
    message = PointCloud2(
        height=cloud.height,
        width=cloud.width,
        fields=[RosField(name=f.name, offset=f.offset, datatype=f.datatype, count=1) for f in fields],
        is_bigendian=cloud.is_bigendian,
        point_step=cloud.point_step,
        row_step=cloud.row_step,
        data=array.array("B", bytes(cloud.data)),
        is_dense=cloud.is_dense,
    )
    try:
        points: NDArray[np.void] = _POINTS.read_points(message)
    except (AssertionError, ValueError, TypeError, KeyError) as error:
        raise ContentError(f"a cloud that sensor_msgs_py does not read: {error}") from error
    return {f.name: points[f.name] for f in fields}

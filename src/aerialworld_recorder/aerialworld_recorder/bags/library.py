"""The libraries that read and write bags, imported when they are needed, and the message types that we speak."""

from __future__ import annotations

import importlib
import struct
from functools import cache
from typing import Any

from aerialworld_core.errors import AerialWorldError

#: foxglove_msgs as https://docs.foxglove.dev/docs/sdk/schemas has them; no ROS distribution's base install brings them.
FOXGLOVE = {
    "foxglove_msgs/msg/PackedElementField": """
uint8 UNKNOWN=0
uint8 UINT8=1
uint8 INT8=2
uint8 UINT16=3
uint8 INT16=4
uint8 UINT32=5
uint8 INT32=6
uint8 FLOAT32=7
uint8 FLOAT64=8
string name
uint32 offset
uint8 type
""",
    "foxglove_msgs/msg/VoxelGrid": """
builtin_interfaces/Time timestamp
string frame_id
geometry_msgs/Pose pose
uint32 row_count
uint32 column_count
geometry_msgs/Vector3 cell_size
uint32 slice_stride
uint32 row_stride
uint32 cell_stride
foxglove_msgs/PackedElementField[] fields
uint8[] data
""",
    "foxglove_msgs/msg/Point2": """
float64 x
float64 y
""",
    "foxglove_msgs/msg/Color": """
float64 r
float64 g
float64 b
float64 a
""",
    "foxglove_msgs/msg/KeyValuePair": """
string key
string value
""",
    "foxglove_msgs/msg/CircleAnnotation": """
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position
float64 diameter
float64 thickness
foxglove_msgs/Color fill_color
foxglove_msgs/Color outline_color
foxglove_msgs/KeyValuePair[] metadata
""",
    "foxglove_msgs/msg/PointsAnnotation": """
uint8 UNKNOWN=0
uint8 POINTS=1
uint8 LINE_LOOP=2
uint8 LINE_STRIP=3
uint8 LINE_LIST=4
builtin_interfaces/Time timestamp
uint8 type
foxglove_msgs/Point2[] points
foxglove_msgs/Color outline_color
foxglove_msgs/Color[] outline_colors
foxglove_msgs/Color fill_color
float64 thickness
foxglove_msgs/KeyValuePair[] metadata
""",
    "foxglove_msgs/msg/TextAnnotation": """
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position
string text
float64 font_size
foxglove_msgs/Color text_color
foxglove_msgs/Color background_color
foxglove_msgs/KeyValuePair[] metadata
""",
    "foxglove_msgs/msg/ImageAnnotations": """
builtin_interfaces/Time timestamp
foxglove_msgs/CircleAnnotation[] circles
foxglove_msgs/PointsAnnotation[] points
foxglove_msgs/TextAnnotation[] texts
foxglove_msgs/KeyValuePair[] metadata
""",
}


class MissingLibraryError(AerialWorldError):
    """A library of an extra is not installed."""


def library(module: str) -> Any:
    """Import a module of `rosbags` or `mcap`. Raises MissingLibraryError with the pip line when it is absent."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingLibraryError(
            f"bags need the Python module {error.name!r}, which is not installed here; install it: "
            "pip install 'aerialworld_recorder[bags]'"
        ) from error


@cache
def typestore() -> Any:
    """ROS 2 Jazzy's message types, with Foxglove's VoxelGrid and ImageAnnotations. Not to be changed by its users."""
    typesys = library("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, text in FOXGLOVE.items():
        types |= typesys.get_types_from_msg(text, name)
    store.register(types)
    return store


def message(kind: str, /, **fields: Any) -> Any:
    """A message of the type `kind` (`std_msgs/msg/Header`): all its fields must be given."""
    return typestore().types[kind](**fields)


def decoded(kind: str, data: bytes) -> Any:
    """A message of one of our types from its CDR bytes. Raises ValueError for bytes that are none."""
    store, broken = typestore(), library("rosbags.serde").SerdeError
    try:
        return store.deserialize_cdr(data, kind)
    except (broken, ValueError, KeyError, IndexError, TypeError, AssertionError, struct.error, OverflowError) as error:
        raise ValueError(f"its bytes are no {kind}: {error}") from error

"""A camera's boxes as foxglove_msgs/ImageAnnotations, which Foxglove draws over the picture."""

from __future__ import annotations

from typing import Any

from aerialworld_core.boxes import Box
from aerialworld_core.labels import COLOURS, NAMES
from aerialworld_recorder.bags.library import message
from aerialworld_recorder.bags.messages import time

TYPE = "foxglove_msgs/msg/ImageAnnotations"
_LINE_LOOP = 2
_THICKNESS, _FONT = 2.0, 14.0


def image_annotations(stamp_ns: int, boxes: list[Box]) -> Any:
    """Each box as a closed line in its class's colour, with the id above it. The line's metadata say `id`, `class`,
    what it was made of (`from`), `truncated`, and of pixels `instance`, `pixels`, `hidden`."""
    stamp = time(stamp_ns)
    return message(
        TYPE, timestamp=stamp, circles=[], points=[_outline(stamp, b) for b in boxes],
        texts=[_text(stamp, b) for b in boxes], metadata=[],
    )  # fmt: skip


def _outline(stamp: Any, box: Box) -> Any:
    left, top, right, bottom = box.rectangle
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    told: dict[str, Any] = {"id": box.id, "class": NAMES[box.label], "from": box.source, "truncated": box.truncated}
    if box.pixels is not None:
        told |= {"instance": box.instance, "pixels": box.pixels, "hidden": box.hidden}
    return message(
        "foxglove_msgs/msg/PointsAnnotation",
        timestamp=stamp,
        type=_LINE_LOOP,
        points=[_point(*corner) for corner in corners],
        outline_color=_colour(box, 1.0),
        outline_colors=[],
        fill_color=_colour(box, 0.0),
        thickness=_THICKNESS,
        metadata=[message("foxglove_msgs/msg/KeyValuePair", key=k, value=str(v)) for k, v in told.items()],
    )


def _text(stamp: Any, box: Box) -> Any:
    return message(
        "foxglove_msgs/msg/TextAnnotation",
        timestamp=stamp,
        position=_point(*box.rectangle[:2]),
        text=str(box.id),
        font_size=_FONT,
        text_color=message("foxglove_msgs/msg/Color", r=1.0, g=1.0, b=1.0, a=1.0),
        background_color=_colour(box, 0.6),
        metadata=[],
    )


def _point(x: float, y: float) -> Any:
    return message("foxglove_msgs/msg/Point2", x=x, y=y)


def _colour(box: Box, alpha: float) -> Any:
    red, green, blue = (float(c) / 255.0 for c in COLOURS[box.label])
    return message("foxglove_msgs/msg/Color", r=red, g=green, b=blue, a=alpha)

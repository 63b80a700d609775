"""boxes/*.json: the moving objects that each camera sees, as bytes and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aerialworld_core.boxes import Box
from aerialworld_core.errors import SessionError
from aerialworld_core.files import dump_json, parse_json
from aerialworld_core.frames import Array, Pose
from aerialworld_core.labels import NUM_CLASSES
from aerialworld_core.rig import Rig

#: Of one entry: what is always there, and what is of pixels.
_ALWAYS = ("id", "class", "from", "box", "truncated", "position", "orientation", "size")
_OF_PIXELS = ("instance", "pixels", "hidden", "visible")


def dump_boxes(boxes: Mapping[str, Sequence[Box]], rig: Rig) -> bytes:
    """The boxes of every camera of the rig. Raises SessionError for other cameras, and where one is left out."""
    names = {c.name.upper() for c in rig.cameras}
    if set(boxes) != names:
        raise SessionError(f"boxes of the cameras {sorted(boxes)}, where the rig has {sorted(names)}")
    return dump_json({name: [_entry(box) for box in boxes[name]] for name in sorted(names)})


def _entry(box: Box) -> dict[str, Any]:
    data: dict[str, Any] = {
        "id": box.id if isinstance(box.id, str) else int(box.id),
        "class": box.label,
        "from": box.source,
        "box": list(box.rectangle),
        "truncated": box.truncated,
        "position": box.pose.position.tolist(),
        "orientation": box.pose.orientation.tolist(),
        "size": np.asarray(box.size, np.float64).tolist(),
    }
    if box.pixels is not None:
        data |= {"instance": box.instance, "pixels": box.pixels, "hidden": box.hidden, "visible": box.visible}
    return data


def load_boxes(raw: bytes, rig: Rig, what: str) -> dict[str, list[Box]]:
    """Upper-case camera name → boxes. Raises SessionError for what is not as `dump_boxes` makes it: boxes outside the
    picture, numbers that contradict each other, cameras that the rig has not."""
    try:
        data = parse_json(raw)
        sizes = {c.name.upper(): (c.width, c.height) for c in rig.cameras}
        if not isinstance(data, dict) or set(data) != set(sizes):
            raise ValueError(f"it has boxes of {sorted(data)[:10]}, where the cameras are {sorted(sizes)}")
        return {name: [_box(entry, *sizes[name]) for entry in entries] for name, entries in data.items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise SessionError(f"{what}: no boxes: {error}") from error


def _box(entry: Any, width: int, height: int) -> Box:
    of_pixels = entry["from"] == "pixels"
    if set(entry) != {*_ALWAYS, *(_OF_PIXELS if of_pixels else ())} or entry["from"] not in ("pixels", "projection"):
        raise ValueError(f"box {entry.get('id')!r} is from {entry['from']!r} and has the keys {sorted(entry)}")
    left, top, right, bottom = _numbers(entry, "box", 4)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"box {entry['id']!r} at {entry['box']} is not within {width} × {height} pixels")
    size, truncated = _numbers(entry, "size", 3), float(entry["truncated"])
    if not (size >= 0).all() or not 0 <= truncated <= 1 or not 0 <= entry["class"] < NUM_CLASSES:
        raise ValueError(f"box {entry['id']!r}: size {entry['size']}, truncated {truncated}, class {entry['class']}")
    if not isinstance(entry["id"], str | int):
        raise ValueError(f"a box's id is {entry['id']!r}")
    counts = [int(entry[key]) for key in _OF_PIXELS[:3]] if of_pixels else [None] * 3
    made = Box(
        entry["id"], int(entry["class"]), Pose(_numbers(entry, "position", 3), _numbers(entry, "orientation", 4)), size,
        (float(left), float(top), float(right), float(bottom)), truncated, *counts,
    )  # fmt: skip
    if of_pixels:
        _check_counts(made, entry["visible"])
    return made


def _check_counts(box: Box, visible: Any) -> None:
    left, top, right, bottom = box.rectangle
    assert box.instance is not None and box.pixels is not None and box.hidden is not None
    if not (1 <= box.instance <= 65535 and 1 <= box.pixels <= (right - left) * (bottom - top) and box.hidden >= 0):
        raise ValueError(f"box {box.id!r}: instance {box.instance} in {box.pixels} pixels, {box.hidden} hidden")
    if any(n != int(n) for n in box.rectangle) or visible != box.visible:
        raise ValueError(f"box {box.id!r}: {box.rectangle} of whole pixels, visible {visible}")


def _numbers(entry: Mapping[str, Any], key: str, count: int) -> Array:
    values = np.asarray(entry[key], np.float64)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"box {entry.get('id')!r}: {key} {entry[key]!r} is not {count} finite numbers")
    return values

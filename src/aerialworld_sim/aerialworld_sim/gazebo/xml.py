"""Small words for writing SDF with lxml."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lxml import etree

from aerialworld_core.frames import Pose, rpy_from_rotation


def add(parent: Any, tag: str, text: object = None, **attributes: str) -> Any:
    """A new last child of `parent`; text is written as SDF reads it (true, 0.1, words)."""
    child = etree.SubElement(parent, tag, attributes)
    if text is not None:
        child.text = written(text)
    return child


def add_all(parent: Any, values: Iterable[tuple[str, object]]) -> None:
    for tag, value in values:
        add(parent, tag, value)


def written(value: object) -> str:
    """A number with all its digits (no exponent of numpy's), a truth as true or false, text as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, float) else str(value)


def pose_text(pose: Pose) -> str:
    """x y z roll pitch yaw: metres and radians."""
    return " ".join(repr(float(v)) for v in (*pose.position, *rpy_from_rotation(pose.rotation)))


def plugin(parent: Any, system: str, library: str, values: Iterable[tuple[str, object]] = ()) -> Any:
    """A system of gz-sim: `library` is the middle of gz-sim-…-system."""
    element = add(parent, "plugin", filename=f"gz-sim-{library}-system", name=f"gz::sim::systems::{system}")
    add_all(element, values)
    return element


def document(element: Any) -> str:
    """The element as a document of SDF 1.10."""
    root = etree.Element("sdf", version="1.10")
    root.append(element)
    etree.indent(root)
    return '<?xml version="1.0"?>\n' + etree.tostring(root, encoding="unicode") + "\n"

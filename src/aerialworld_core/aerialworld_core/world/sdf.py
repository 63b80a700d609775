"""SDF elements, numbers and poses: what the world reader and the rig reader share.

Follows the SDFormat specification 1.6–1.12 (sdformat.org/spec) and its pose frame semantics: a pose is given in the
frame that contains it, or in the one that `relative_to` names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array, rotation_from_quaternion, rotation_from_rpy
from aerialworld_core.safexml import parse

_VERSIONS = {f"1.{minor}" for minor in range(6, 13)}


@dataclass(eq=False)
class Document:
    """One SDF file: its root element and the folders that its references may reach.

    `folder` is where relative uris start, `root` the folder that they must not leave, `name` how messages and the
    content hash call the file, `real` its path without links.
    """

    path: Path
    element: Any
    folder: Path
    root: Path
    name: str
    real: Path


@dataclass(eq=False)
class Notes:
    """What could not be honoured, once each, in order."""

    lines: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.lines:
            self.lines.append(text)


def read_document(path: Path, root: Path | None = None, name: str | None = None) -> Document:
    """Parse an SDF file. Raises InputError (missing, not XML, unsafe) or WorldError (not SDF, unknown version)."""
    element = parse(path, what="SDF file")
    if element.tag != "sdf":
        raise WorldError(f"{path}: the root element is <{element.tag}>, not <sdf>: this is no SDF file")
    version = element.get("version", "")
    if version not in _VERSIONS:
        raise WorldError(f"{path}: SDF version {version!r} is not among 1.6 to 1.12; convert it with `gz sdf -p`")
    real = path.resolve()
    return Document(path, element, real.parent, root or real.parent, name or path.name, real)


def where(document: Document, element: Any) -> str:
    """`file:line <tag name>`, for messages."""
    name = element.get("name")
    label = f"{element.tag} {name}" if name else str(element.tag)
    return f"{document.path}:{element.sourceline}: <{label}>"


def text_of(element: Any, tag: str, default: str | None = None) -> str | None:
    """The stripped text of a child element; `default` where there is none."""
    child = element.find(tag)
    return default if child is None or child.text is None else child.text.strip()


def parse_numbers(text: str | None, count: int, context: str) -> Array:
    """`count` finite numbers, separated by white space. Raises WorldError that starts with `context`."""
    words = (text or "").split()
    shown = " ".join(words[: count + 1])[:100]
    try:
        values = np.array([float(w) for w in words], dtype=np.float64)
    except ValueError:
        raise WorldError(f"{context}: {shown!r} is not {count} number{'s' * (count > 1)}") from None
    if len(values) != count:
        raise WorldError(f"{context}: {shown!r} has {len(values)} numbers, need {count}")
    if not np.isfinite(values).all():
        raise WorldError(f"{context}: {shown!r} is not finite")
    return values


def numbers(document: Document, element: Any, tag: str, count: int, default: tuple[float, ...] | None = None) -> Array:
    """Numbers of a child element. Without a default the child is required."""
    child = element.find(tag)
    if child is None:
        if default is None:
            raise WorldError(f"{where(document, element)}: has no <{tag}>")
        return np.array(default, dtype=np.float64)
    return parse_numbers(child.text, count, where(document, child))


def number(document: Document, element: Any, tag: str, default: float | None = None) -> float:
    return float(numbers(document, element, tag, 1, None if default is None else (default,))[0])


def colour(document: Document, element: Any, tag: str, default: tuple[float, float, float]) -> Array:
    """A colour's (3,) linear RGB; SDF allows a fourth number, alpha, which is left out."""
    child = element.find(tag)
    if child is None:
        return np.array(default, dtype=np.float64)
    return parse_colour(child.text, where(document, child))


def parse_colour(text: str | None, context: str) -> Array:
    """(3,) of a colour's text, of which a fourth number, alpha, is left out. Raises WorldError that starts with
    `context`."""
    count = 4 if len((text or "").split()) == 4 else 3
    values = parse_numbers(text, count, context)[:3]
    if (values < 0).any():
        raise WorldError(f"{context}: a colour cannot be negative")
    return values


def boolean(document: Document, element: Any, tag: str, default: bool) -> bool:
    text = text_of(element, tag)
    if text is None:
        return default
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise WorldError(f"{where(document, element)}: <{tag}> is true or false, not {text!r}")


def pose_matrix(document: Document, element: Any | None) -> Array:
    """4×4 of a `<pose>` element (identity for None or empty): roll-pitch-yaw in radians or degrees, or a quaternion
    x y z w with rotation_format="quat_xyzw"."""
    matrix = np.eye(4)
    if element is None or not (element.text or "").strip():
        return matrix
    context = where(document, element)
    layout = element.get("rotation_format", "euler_rpy")
    degrees = element.get("degrees", "false").strip().lower()
    if degrees not in ("true", "false", "1", "0"):
        raise WorldError(f"{context}: degrees is true or false, not {degrees!r}")
    if layout == "euler_rpy":
        values = parse_numbers(element.text, 6, context)
        angles = np.radians(values[3:]) if degrees in ("true", "1") else values[3:]
        matrix[:3, :3] = rotation_from_rpy(*angles)
    elif layout == "quat_xyzw":
        if degrees in ("true", "1"):
            raise WorldError(f"{context}: degrees does not go with a quaternion")
        values = parse_numbers(element.text, 7, context)
        if not math.isclose(float(np.linalg.norm(values[3:])), 1.0, abs_tol=1e-2):
            raise WorldError(f"{context}: the quaternion is not of unit length")
        matrix[:3, :3] = rotation_from_quaternion(values[3:])
    else:
        raise WorldError(f"{context}: rotation_format {layout!r} is unknown; use euler_rpy or quat_xyzw")
    matrix[:3, 3] = values[:3]
    return matrix


def transform(matrix: Array, points: Array) -> Array:
    """Points (…, 3) through a 4×4 matrix, float64."""
    return np.asarray(points, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


def inverse(matrix: Array) -> Array:
    """Inverse of a rigid 4×4 matrix."""
    result = np.eye(4)
    result[:3, :3] = matrix[:3, :3].T
    result[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return result

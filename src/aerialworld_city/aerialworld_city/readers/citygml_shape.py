"""Where an object's geometry stands: by level of detail, its own and that of its boundary surfaces, parts, fixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aerialworld_city.features import Surface
from aerialworld_city.readers import citygml_words as words
from aerialworld_city.readers.citygml_words import level_of, local

#: The boundary surface of water that is seen from above.
_WATER = "WaterSurface"


@dataclass(eq=False)
class Shape:
    """What an element says of its shape: by level of detail, the properties that hold geometry.

    `own` are the element's own properties, `walls` those of its boundary surfaces with their `Surface`, `openings`
    those of doors and windows, which alone make no level.
    """

    own: dict[int, list[Any]] = field(default_factory=dict)
    walls: dict[int, list[tuple[Any, int]]] = field(default_factory=dict)
    openings: dict[int, list[tuple[Any, int]]] = field(default_factory=dict)
    parts: list[Any] = field(default_factory=list)
    installations: list[Any] = field(default_factory=list)

    @property
    def levels(self) -> set[int]:
        return {v for v in (*self.own, *self.walls) if v > 0}


def shape_of(element: Any, count: Callable[..., None]) -> Shape:
    """One look at an element's children; `count` counts the properties and boundary surfaces by their names."""
    shape = Shape()
    for child in element:
        name = local(child)
        if name.startswith("lod"):
            level = level_of(name)
            count(name)
            if level:
                shape.own.setdefault(level[0], []).append(child)
        elif name in words.BOUNDARIES:
            for surface in child:
                _boundary(surface, shape, count)
        elif name in words.PARTS:
            shape.parts += [c for c in child if local(c)]
        elif name in words.INSTALLATIONS:
            shape.installations += [c for c in child if local(c)]
    return shape


def _boundary(element: Any, shape: Shape, count: Callable[..., None]) -> None:
    name = local(element)
    if not name or name == "Envelope":
        return
    count(name)
    if name in words.INTERIOR:
        return
    if name.startswith("Water") and name != _WATER:
        return
    surface = words.SURFACES.get(name, Surface.UNKNOWN)
    for child in element:
        inner = local(child)
        if inner.startswith("lod"):
            level = level_of(inner)
            count(inner)
            if level:
                shape.walls.setdefault(level[0], []).append((child, surface))
        elif inner in words.OPENINGS:
            for opening in child:
                _opening(opening, surface, shape, count)


def _opening(element: Any, surface: int, shape: Shape, count: Callable[..., None]) -> None:
    if local(element):
        count(local(element))
    for child in element:
        level = level_of(local(child))
        if level:
            shape.openings.setdefault(level[0], []).append((child, surface))

"""The wanted part of the earth: meshes of JIS X 0410, boxes, circles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aerialworld_core.frames import Array


@dataclass(frozen=True)
class Region:
    """A union of boxes and circles on the ground.

    `boxes` (west, south, east, north) in degrees; `circles` (latitude, longitude in degrees, radius in metres);
    `meshes` the mesh codes that were asked for (their boxes are in `boxes` as well).
    """

    boxes: tuple[tuple[float, float, float, float], ...] = ()
    circles: tuple[tuple[float, float, float], ...] = ()
    meshes: tuple[str, ...] = ()

    def contains(self, latitude: Array, longitude: Array) -> Any:
        """(N,) bool: which places lie in it."""
        raise NotImplementedError

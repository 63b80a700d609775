"""The outlines that traffic reserves room for, and how sharply each can turn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aerialworld_core.frames import Array


@dataclass(frozen=True)
class Shape:
    """A rectangle around a reference point (a vehicle's rear axle).

    length, width  metres; every body of this shape fits into it
    rear           metres from the rear end to the reference point
    radius         of the sharpest turn of the reference point, metres
    slot           metres of way that are reserved at a time
    """

    name: str
    length: float
    width: float
    rear: float
    radius: float
    slot: float

    @property
    def front(self) -> float:
        """Metres from the reference point to the front end."""
        return self.length - self.rear

    @property
    def middle(self) -> float:
        """Metres from the reference point forward to the rectangle's middle."""
        return 0.5 * self.length - self.rear

    @lru_cache(maxsize=64)  # noqa: B019  # shapes are few, and live as long as the program
    def outline(self, grow: float = 0.0, spacing: float = 0.4) -> Array:
        """(K, 2) points that cover the rectangle, grown by `grow`, no farther than `spacing` apart, in the body's
        frame (x forward) about the reference point."""
        nx = int(np.ceil((self.length + 2 * grow) / spacing)) + 1
        ny = int(np.ceil((self.width + 2 * grow) / spacing)) + 1
        x = np.linspace(-self.rear - grow, self.front + grow, nx)
        y = np.linspace(-0.5 * self.width - grow, 0.5 * self.width + grow, ny)
        return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


#: Radii are those of the rear axle's middle: a car that turns within 10.5 m between kerbs has about 4 m.
TWO_WHEELER = Shape("two_wheeler", 2.2, 0.85, 0.45, 2.0, 1.5)
CAR = Shape("car", 4.9, 1.9, 0.95, 4.2, 1.5)
TRUCK = Shape("truck", 7.8, 2.35, 1.7, 6.0, 1.5)
BUS = Shape("bus", 10.6, 2.5, 2.9, 7.0, 1.5)
WALKER = Shape("walker", 0.6, 0.6, 0.3, 0.3, 1.0)

VEHICLES = (TWO_WHEELER, CAR, TRUCK, BUS)
SHAPES = {shape.name: shape for shape in (*VEHICLES, WALKER)}


def placed(points: Array, xy: Array, yaw: Array) -> Array:
    """(N, K, 2) the points (K, 2) of a body's frame at N places: `xy` (N, 2), `yaw` (N,)."""
    c, s = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x = xy[:, :1] + c * points[:, 0] - s * points[:, 1]
    y = xy[:, 1:] + s * points[:, 0] + c * points[:, 1]
    return np.stack([x, y], axis=-1)

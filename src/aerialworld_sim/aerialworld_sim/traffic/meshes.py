"""Low-polygon bodies that look like what they are: boxes, extruded outlines and wheels, each of its own material.

A body's origin lies on the ground under the middle of its box, x forward; its box is exactly its kind's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.world.scene import Material, Scene
from aerialworld_sim.textures import linear_from_srgb
from aerialworld_sim.traffic.kinds import Kind

_GLASS, _TYRE, _DARK, _LAMP, _TAIL = (38, 48, 58), (24, 24, 26), (52, 54, 58), (240, 236, 214), (168, 24, 22)
_SKIN, _HAIR, _TROUSERS = (212, 168, 138), (30, 26, 24), (44, 48, 62)
_ROUND = 12


class Builder:
    """Collects flat polygons by sRGB colour."""

    def __init__(self) -> None:
        self._triangles: list[tuple[tuple[int, int, int], Array]] = []

    def box(self, low: Sequence[float], high: Sequence[float], colour: tuple[int, int, int]) -> None:
        """An upright box between two corners (3,)."""
        x0, y0, _ = low
        x1, y1, _ = high
        self.extruded([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], low[2], high[2], colour, axis=2)

    def extruded(
        self, outline: Sequence[tuple[float, float]], begin: float, end: float, colour: tuple[int, int, int], axis: int
    ) -> None:
        """A convex outline carried from `begin` to `end`: along z with (x, y) points (axis 2), or along y with (x, z)
        points (axis 1); either way round."""
        points = np.array(outline, np.float64)
        if _area(points) < 0:
            points = points[::-1]
        n = len(points)

        def lifted(value: float) -> Array:
            solid = np.empty((n, 3))
            solid[:, [0, 3 - axis]] = points
            solid[:, axis] = value
            return solid

        bottom, top = lifted(begin), lifted(end)
        if axis == 1:  # x, z, y is left-handed: turn the sides over
            bottom, top = top, bottom
        for k in range(n):
            j = (k + 1) % n
            self._polygon([bottom[k], bottom[j], top[j], top[k]], colour)
        self._polygon(list(top), colour)
        self._polygon(list(bottom[::-1]), colour)

    def wheel(self, x: float, y: float, radius: float, width: float) -> None:
        """A wheel that stands on the ground at (x, y)."""
        # Half a step on, so that a flat side stands on the ground and the wheel is as high as it is wide.
        angle = 2 * np.pi * (np.arange(_ROUND) + 0.5) / _ROUND
        r = radius / np.cos(np.pi / _ROUND)
        outline = [(x + r * float(np.cos(a)), radius + r * float(np.sin(a))) for a in angle]
        self.extruded(outline, y - 0.5 * width, y + 0.5 * width, _TYRE, axis=1)

    def _polygon(self, corners: list[Array], colour: tuple[int, int, int]) -> None:
        fan = [[corners[0], corners[k], corners[k + 1]] for k in range(1, len(corners) - 1)]
        self._triangles.append((colour, np.array(fan)))

    def scene(self, name: str, label: int) -> Scene:
        """Everything as one scene of class `label`."""
        colours = sorted({colour for colour, _ in self._triangles})
        corners = np.concatenate([t for _, t in self._triangles])
        material = np.concatenate([np.full(len(t), colours.index(c)) for c, t in self._triangles])
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        linear = linear_from_srgb(np.array(colours) / 255.0).astype(np.float32)
        count = len(corners)
        return Scene(
            vertices=corners.reshape(-1, 3).astype(np.float32),
            faces=np.arange(3 * count, dtype=np.int32).reshape(-1, 3),
            face_class=np.full(count, label, np.uint8),
            face_instance=np.ones(count, np.uint16),
            face_material=material.astype(np.int32),
            uv=np.zeros((count, 3, 2), np.float32),
            normals=np.repeat(normal[:, None], 3, axis=1).astype(np.float32),
            materials=[Material(f"{name}_{k}", paint) for k, paint in enumerate(linear)],
            instances=[name],
        )


def _area(points: Array) -> float:
    x, y = points.T
    return float(0.5 * (x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def body(kind: Kind, colour: tuple[int, int, int]) -> Scene:
    """The body of a kind in a colour."""
    b = Builder()
    _MAKERS[kind.name](b, *kind.size, colour)
    return b.scene(kind.name, kind.label)


def _car(b: Builder, length: float, width: float, height: float, paint: tuple[int, int, int], cabin: Array) -> None:
    """A car: `cabin` (4,) are where windscreen and rear window begin below and end above, as shares of the length from
    the rear: rear below, rear above, front above, front below."""
    # Lamps and wheels stand out of the sheet metal by two or three centimetres: nothing lies in one plane with another.
    x0, y1 = -0.5 * length + 0.02, 0.5 * width - 0.03
    waist, low = 0.56 * height, 0.18
    x = cabin * length - 0.5 * length
    b.extruded(
        [(x0, low), (x0, waist - 0.06), (x0 + 0.12, waist), (x[3], waist), (-x0 - 0.1, waist - 0.16),
         (-x0, low + 0.3), (-x0, low)],
        -y1, y1, paint, axis=1,
    )  # fmt: skip
    inner = y1 - 0.07
    b.extruded([(x[0], waist), (x[1], height - 0.04), (x[2], height - 0.04), (x[3], waist)], -inner, inner, _GLASS, 1)
    b.box((x[1], -inner, height - 0.04), (x[2], inner, height), paint)
    radius = 0.31
    for fore in (-0.5 * length + 0.82, 0.5 * length - 0.78):
        for side in (-1, 1):
            b.wheel(fore, side * (y1 - 0.07), radius, 0.2)
    for side in (-1, 1):
        y = side * (y1 - 0.25)
        b.box((-x0 - 0.04, y - 0.16, 0.4), (-x0 + 0.02, y + 0.16, 0.46), _LAMP)
        b.box((x0 - 0.02, y - 0.14, 0.56), (x0 + 0.04, y + 0.14, 0.7), _TAIL)


def _sedan(b: Builder, length: float, width: float, height: float, paint: tuple[int, int, int]) -> None:
    _car(b, length, width, height, paint, np.array([0.1, 0.24, 0.56, 0.74]))


def _kei(b: Builder, length: float, width: float, height: float, paint: tuple[int, int, int]) -> None:
    _car(b, length, width, height, paint, np.array([0.01, 0.04, 0.68, 0.84]))


def _van(b: Builder, length: float, width: float, height: float, paint: tuple[int, int, int]) -> None:
    _car(b, length, width, height, paint, np.array([0.01, 0.03, 0.8, 0.95]))


def _truck(b: Builder, length: float, width: float, height: float, paint: tuple[int, int, int]) -> None:
    x0, y1 = -0.5 * length, 0.5 * width - 0.03
    cab = -x0 - 1.6
    b.box((x0, -y1 + 0.25, 0.55), (-x0 - 0.1, y1 - 0.25, 0.8), _DARK)
    b.box((x0, -y1, 0.8), (cab - 0.15, y1, height), (226, 226, 222))
    top = 0.84 * height
    b.extruded([(cab, 0.4), (cab, top), (-x0 - 0.25, top), (-x0, 1.5), (-x0, 0.4)], -y1 + 0.06, y1 - 0.06, paint, 1)
    b.extruded(
        [(-x0 - 0.22, top - 0.1), (-x0 - 0.2, top - 0.08), (-x0 + 0.0, 1.55), (-x0 - 0.02, 1.5)],
        -y1 + 0.2, y1 - 0.2, _GLASS, 1,
    )  # fmt: skip
    for fore in (x0 + 1.6, -x0 - 1.0):
        for side in (-1, 1):
            b.wheel(fore, side * (y1 - 0.11), 0.42, 0.28)


def _bus(b: Builder, length: float, width: float, height: float, paint: tuple[int, int, int]) -> None:
    x0, y1 = -0.5 * length, 0.5 * width - 0.03
    b.box((x0, -y1, 0.32), (-x0, y1, 1.15), paint)
    b.box((x0 + 0.03, -y1 + 0.03, 1.15), (-x0 - 0.03, y1 - 0.03, 2.2), _GLASS)
    b.box((x0, -y1, 2.2), (-x0, y1, height - 0.2), (232, 232, 226))
    b.box((x0 + 1.0, -y1 + 0.3, height - 0.2), (-x0 - 2.5, y1 - 0.3, height), (200, 200, 196))
    for fore in (x0 + 2.9, -x0 - 2.2):
        for side in (-1, 1):
            b.wheel(fore, side * (y1 - 0.11), 0.48, 0.28)


def _rider(b: Builder, seat: float, height: float, shirt: tuple[int, int, int], head: tuple[int, int, int]) -> None:
    b.extruded([(-0.32, seat), (-0.02, seat), (0.16, height - 0.3), (-0.1, height - 0.26)], -0.2, 0.2, shirt, 1)
    b.box((-0.04, -0.11, height - 0.27), (0.2, 0.11, height), head)
    b.extruded([(-0.1, seat), (0.12, seat + 0.06), (0.14, 0.36), (0.0, 0.36)], -0.18, 0.18, _TROUSERS, 1)


def _motorcycle(b: Builder, length: float, width: float, height: float, paint: tuple[int, int, int]) -> None:
    x0 = -0.5 * length
    for fore in (x0 + 0.3, -x0 - 0.3):
        b.wheel(fore, 0.0, 0.3, 0.14)
    b.extruded(
        [(x0 + 0.2, 0.62), (x0 + 0.1, 0.78), (0.35, 0.92), (0.6, 0.6), (0.2, 0.3), (-0.3, 0.3)], -0.15, 0.15, paint, 1
    )
    b.box((0.34, -0.5 * width, 0.98), (0.42, 0.5 * width, 1.04), _DARK)
    b.extruded([(0.34, 1.0), (0.42, 1.0), (-x0 - 0.26, 0.3), (-x0 - 0.34, 0.3)], -0.06, 0.06, _DARK, 1)
    _rider(b, 0.78, height, (60, 62, 70), paint)


def _bicycle(b: Builder, length: float, width: float, height: float, paint: tuple[int, int, int]) -> None:
    x0 = -0.5 * length
    for fore in (x0 + 0.33, -x0 - 0.33):
        b.wheel(fore, 0.0, 0.33, 0.05)
    b.extruded([(x0 + 0.33, 0.31), (x0 + 0.33, 0.35), (-0.12, 0.85), (-0.06, 0.85), (0.02, 0.3)], -0.03, 0.03, _DARK, 1)
    b.extruded([(0.0, 0.3), (-0.1, 0.75), (0.42, 0.8), (-x0 - 0.31, 0.34), (-x0 - 0.35, 0.32)], -0.025, 0.025, _DARK, 1)
    b.box((0.36, -0.5 * width, 0.98), (0.42, 0.5 * width, 1.03), _DARK)
    b.box((0.37, -0.03, 0.78), (0.41, 0.03, 0.98), _DARK)
    _rider(b, 0.86, height, paint, _HAIR)


def _walker(b: Builder, length: float, width: float, height: float, shirt: tuple[int, int, int]) -> None:
    """Mid-stride: one leg before, one behind."""
    half, hip, neck = 0.5 * length, 0.47 * height, 0.83 * height
    leg = 0.32 * width
    b.extruded([(half - 0.16, 0.0), (half, 0.0), (0.09, hip), (-0.07, hip)], 0.02, 0.02 + leg, _TROUSERS, 1)
    b.extruded([(-half, 0.0), (-half + 0.16, 0.0), (0.07, hip), (-0.09, hip)], -0.02 - leg, -0.02, _TROUSERS, 1)
    b.box((-0.11, -0.34 * width, hip), (0.11, 0.34 * width, neck), shirt)
    arm = 0.5 * width
    b.extruded([(-0.05, neck), (0.05, neck), (0.16, hip), (0.06, hip)], -arm, -0.34 * width, shirt, 1)
    b.extruded([(-0.05, neck), (0.05, neck), (-0.06, hip), (-0.16, hip)], 0.34 * width, arm, shirt, 1)
    b.box((-0.09, -0.085, neck), (0.1, 0.085, 0.95 * height), _SKIN)
    b.box((-0.1, -0.09, 0.93 * height), (0.09, 0.09, height), _HAIR)


_MAKERS = {
    "sedan": _sedan, "kei": _kei, "van": _van, "truck": _truck, "bus": _bus, "motorcycle": _motorcycle,
    "bicycle": _bicycle, "adult": _walker, "child": _walker,
}  # fmt: skip

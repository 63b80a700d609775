"""Closed building shapes for the generated city: prisms, gabled and hipped roofs, parapets, courtyards.

Every shape is a list of (surface, rings): outward polygons of a closed solid in local metres, as CityGML has them;
rings are open (without a repeated last point), holes wind the other way. Footprints (N, 2) wind counter-clockwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aerialworld_city.features import Surface
from aerialworld_core.frames import Array

Face = tuple[Surface, list[Array]]


def at(ring: Array, z: float) -> Array:
    """(N, 2) → (N, 3) at one height."""
    return np.column_stack([ring, np.full(len(ring), z)])


def walls(ring: Array, low: float, high: float) -> list[Face]:
    """Upright rectangles along a ring; they face to its right (outward for counter-clockwise rings)."""
    faces: list[Face] = []
    for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        quad = np.array([[*a, low], [*b, low], [*b, high], [*a, high]])
        faces.append((Surface.WALL, [quad]))
    return faces


def prism(ring: Array, low: float, high: float, holes: Sequence[Array] = ()) -> list[Face]:
    """A flat-roofed block; `holes` (counter-clockwise too) are courtyards."""
    turned = [h[::-1] for h in holes]
    faces: list[Face] = [
        (Surface.GROUND, [at(ring[::-1], low), *[at(h, low) for h in holes]]),
        (Surface.ROOF, [at(ring, high), *[at(h, high) for h in turned]]),
    ]
    for outline in [ring, *turned]:
        faces += walls(outline, low, high)
    return faces


def inset(ring: Array, distance: float) -> Array:
    """The ring moved inward by `distance` along the bisectors of its corners."""
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    a = (ring - before) / np.linalg.norm(ring - before, axis=1, keepdims=True)
    b = (after - ring) / np.linalg.norm(after - ring, axis=1, keepdims=True)
    left_a, left_b = np.column_stack([-a[:, 1], a[:, 0]]), np.column_stack([-b[:, 1], b[:, 0]])
    share = 1.0 + (left_a * left_b).sum(axis=1, keepdims=True)
    return np.asarray(ring + distance * (left_a + left_b) / share)


def parapet(ring: Array, low: float, deck: float, rim: float, width: float = 0.4) -> list[Face]:
    """A block whose roof deck at `deck` is framed by a parapet up to `rim`."""
    inner = inset(ring, width)
    faces: list[Face] = [
        (Surface.GROUND, [at(ring[::-1], low)]),
        (Surface.ROOF, [at(ring, rim), at(inner[::-1], rim)]),
        (Surface.ROOF, [at(inner, deck)]),
    ]
    return faces + walls(ring, low, rim) + walls(inner[::-1], deck, rim)


def rectangle(width: float, depth: float, centre: tuple[float, float], turn: float = 0.0) -> Array:
    """(4, 2) counter-clockwise, turned about its centre by `turn` radians."""
    corners = np.array([[-width, -depth], [width, -depth], [width, depth], [-width, depth]]) / 2
    c, s = np.cos(turn), np.sin(turn)
    return np.asarray(corners @ np.array([[c, s], [-s, c]]) + np.array(centre))


def gabled(ring: Array, low: float, eave: float, ridge: float) -> list[Face]:
    """A saddle roof over a rectangle; the ridge runs parallel to its first edge, between the middles of the others."""
    a, b, c, d = ring
    start, end = (d + a) / 2, (b + c) / 2
    top = [np.array([*start, ridge]), np.array([*end, ridge])]
    base = at(ring, eave)
    return [
        (Surface.GROUND, [at(ring[::-1], low)]),
        (Surface.ROOF, [np.array([base[0], base[1], top[1], top[0]])]),
        (Surface.ROOF, [np.array([base[2], base[3], top[0], top[1]])]),
        (Surface.WALL, [np.array([[*a, low], [*b, low], base[1], base[0]])]),
        (Surface.WALL, [np.array([[*b, low], [*c, low], base[2], top[1], base[1]])]),
        (Surface.WALL, [np.array([[*c, low], [*d, low], base[3], base[2]])]),
        (Surface.WALL, [np.array([[*d, low], [*a, low], base[0], top[0], base[3]])]),
    ]


def hipped(ring: Array, low: float, eave: float, ridge: float, share: float = 0.5) -> list[Face]:
    """A hipped roof over a rectangle; the ridge is `share` of the first edge's length, in the middle."""
    a, b = ring[:2]
    middle, along = ring.mean(axis=0), (b - a) * share / 2
    left, right = np.array([*(middle - along), ridge]), np.array([*(middle + along), ridge])
    base = at(ring, eave)
    roofs = [
        [base[0], base[1], right, left],
        [base[1], base[2], right],
        [base[2], base[3], left, right],
        [base[3], base[0], left],
    ]
    faces: list[Face] = [(Surface.GROUND, [at(ring[::-1], low)])]
    faces += [(Surface.ROOF, [np.array(r)]) for r in roofs]
    return faces + walls(ring, low, eave)


def l_shape(width: float, depth: float, cut: float, centre: tuple[float, float]) -> Array:
    """(6, 2) counter-clockwise: a rectangle without its upper right `cut` share."""
    w, d = width / 2, depth / 2
    x, y = w - width * cut, d - depth * cut
    return np.array([[-w, -d], [w, -d], [w, y], [x, y], [x, d], [-w, d]]) + np.array(centre)


def round_tower(radius: float, centre: tuple[float, float], sides: int = 12) -> Array:
    """(sides, 2) counter-clockwise regular polygon."""
    angle = (np.arange(sides) + 0.5) * 2 * np.pi / sides
    return np.asarray(np.column_stack([np.cos(angle), np.sin(angle)]) * radius + np.array(centre))

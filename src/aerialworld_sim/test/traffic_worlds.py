"""Hand-made worlds for traffic: roads of known shape on a plain."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aerialworld_core.frames import Georeference
from aerialworld_core.world import primitives
from aerialworld_core.world.scene import Light, Material, Scene
from aerialworld_core.world.world import World

LIGHT = Light(np.array([-0.5, 0.2, -0.84]), np.full(3, 0.8), np.full(3, 0.4), np.array([0.6, 0.7, 0.9]), False)


def plain(*roads, sidewalks=(), houses=(), half=150.0, slope=0.0) -> World:
    """A plain with rectangles (x0, y0, x1, y1) of carriageway, sidewalk, and houses of 8 m; it rises by `slope` metres
    per metre towards the east."""
    corners, labels = [], []

    def flat(x0, y0, x1, y1, z, label) -> None:
        a, b, c, d = ([x, y, z + slope * x] for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)))
        corners.extend([[a, b, c], [a, c, d]])
        labels.extend([label] * 2)

    flat(-half, -half, half, half, 0.0, 14)
    for road in roads:
        flat(*road, 0.05, 11)
    for sidewalk in sidewalks:
        flat(*sidewalk, 0.05, 13)
    for x0, y0, x1, y1 in houses:
        box = primitives.box(np.array([x1 - x0, y1 - y0, 8.0]))
        corners.extend((box.vertices + np.array([(x0 + x1) / 2, (y0 + y1) / 2, 4.0]))[box.faces])
        labels.extend([15] * len(box.faces))
    triangles = np.array(corners, np.float32)
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    n = len(triangles)
    scene = Scene(
        triangles.reshape(-1, 3), np.arange(3 * n, dtype=np.int32).reshape(-1, 3), np.array(labels, np.uint8),
        np.ones(n, np.uint16), np.zeros(n, np.int32), np.zeros((n, 3, 2), np.float32),
        np.repeat(normal[:, None], 3, axis=1).astype(np.float32), [Material("m", np.full(3, 0.5, np.float32))], ["all"],
    )  # fmt: skip
    return World("plain", Path("plain.sdf"), "0" * 64, Georeference(35.0, 139.0, 0.0), scene, LIGHT)


def crossroads() -> World:
    """Two roads 14 m wide that cross in the middle, with houses in the quarters and sidewalks along one road."""
    return plain(
        (-120, -7, 120, 7), (-7, 7, 7, 120), (-7, -120, 7, -7),
        sidewalks=[(-120, 7, -7, 10.5), (7, 7, 120, 10.5), (-120, -10.5, -7, -7), (7, -10.5, 120, -7)],
        houses=[(20, 20, 60, 60), (-60, 20, -20, 60), (20, -60, 60, -20), (-60, -60, -20, -20)],
    )  # fmt: skip

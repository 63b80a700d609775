"""A world of boxes on analytic ground, with the methods that missions ask of a world, and no ray caster.

Heights come from formulas, not from the scene's triangles, so tests compare the planner with the truth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from aerialworld_core.frames import Georeference
from aerialworld_core.world.scene import Material, Scene

DRIVEABLE, TERRAIN, MANMADE = 11, 14, 15


class BoxWorld:
    """Ground z = ground(x, y) over [0, w] × [0, h], boxes (x0, y0, x1, y1, top), roads (x0, y0, x1, y1)."""

    def __init__(
        self,
        extent: tuple[float, float] = (300.0, 200.0),
        boxes: tuple[tuple[float, float, float, float, float], ...] = (),
        roads: tuple[tuple[float, float, float, float], ...] = (),
        ground: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda x, y: np.zeros_like(x),
    ) -> None:
        self.georeference = Georeference(35.66, 139.74, 12.0)
        self.extent, self.boxes, self.roads, self.ground = extent, boxes, roads, ground
        vertices, faces, classes = [], [], []
        n = 41
        gx, gy = np.meshgrid(np.linspace(0, extent[0], n), np.linspace(0, extent[1], n))
        vertices.append(np.stack([gx, gy, ground(gx, gy)], axis=-1).reshape(-1, 3))
        k = np.arange(n * n).reshape(n, n)
        a, b, c, d = k[:-1, :-1].ravel(), k[:-1, 1:].ravel(), k[1:, 1:].ravel(), k[1:, :-1].ravel()
        faces.append(np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))
        classes.append(np.full(len(faces[0]), TERRAIN))
        quads = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
        for x0, y0, x1, y1, top in boxes:
            low = float(np.min(ground(np.array([x0, x1, x0, x1]), np.array([y0, y1, y1, y0])))) - 5.0
            base = sum(len(v) for v in vertices)
            vertices.append(
                np.array([(x, y, z) for z in (low, top) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))])
            )
            f = np.array([t for q in quads for t in ((q[0], q[1], q[2]), (q[0], q[2], q[3]))]) + base
            faces.append(f)
            classes.append(np.full(len(f), MANMADE))
        v, f, c = np.concatenate(vertices), np.concatenate(faces), np.concatenate(classes)
        # One face of class driveable, far below: what `cast` reports over roads.
        v = np.concatenate([v, [[0, 0, -50], [1, 0, -50], [0, 1, -50]]])
        f = np.concatenate([f, [[len(v) - 3, len(v) - 2, len(v) - 1]]])
        c = np.concatenate([c, [DRIVEABLE]])
        self.scene = Scene(
            vertices=v.astype(np.float32),
            faces=f.astype(np.int32),
            face_class=c.astype(np.uint8),
            face_instance=np.zeros(len(f), np.uint16),
            face_material=np.zeros(len(f), np.int32),
            uv=np.zeros((len(f), 3, 2), np.float32),
            normals=np.zeros((len(f), 3, 3), np.float32),
            materials=[Material("grey", np.ones(3, np.float32))],
        )
        self._face = {cls: int(np.flatnonzero(c == cls)[0]) for cls in np.unique(c)}

    @property
    def bounds(self) -> np.ndarray:
        top = max([float(self.scene.vertices[:, 2].max())])
        return np.array([[0.0, 0.0, -10.0], [*self.extent, top]])

    def _inside(self, xy: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
        return (xy[:, 0] >= box[0]) & (xy[:, 1] >= box[1]) & (xy[:, 0] <= box[2]) & (xy[:, 1] <= box[3])

    def terrain_height(self, xy: np.ndarray) -> np.ndarray:
        xy = np.asarray(xy, float)
        z = np.asarray(self.ground(xy[:, 0], xy[:, 1]), float)
        return np.where(self._inside(xy, (0, 0, *self.extent)), z, np.nan)

    def surface_height(self, xy: np.ndarray) -> np.ndarray:
        xy = np.asarray(xy, float)
        z = self.terrain_height(xy)
        for box in self.boxes:
            z = np.where(self._inside(xy, box), np.fmax(z, box[4]), z)
        return z

    def cast(self, origins: np.ndarray, directions: np.ndarray, *, cull_backfaces: bool = True):
        assert (np.asarray(directions)[:, 2] == -1).all(), "this world casts straight down only"
        xy = np.asarray(origins)[:, :2]
        top, ground = self.surface_height(xy), self.terrain_height(xy)
        face = np.full(len(xy), self._face[TERRAIN])
        for road in self.roads:
            face[self._inside(xy, road)] = self._face[DRIVEABLE]
        if self.boxes:
            face[top > ground] = self._face[MANMADE]
        hit = np.isfinite(top)
        return np.where(hit, np.asarray(origins)[:, 2] - top, np.inf), np.where(hit, face, -1).astype(np.int32)

    def inside_solid(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, float)
        with np.errstate(invalid="ignore"):
            return points[:, 2] < self.surface_height(points[:, :2])

    def datum(self, x: float, y: float, radius: float = 1000.0) -> float:
        gx, gy = np.meshgrid(np.linspace(0, self.extent[0], 101), np.linspace(0, self.extent[1], 101))
        return float(np.min(self.ground(gx, gy)))

    def box_distance(self, points: np.ndarray) -> np.ndarray:
        """(N,) exact distance of points (N, 3) to the nearest box (boxes reach below the ground)."""
        points = np.asarray(points, float)
        best = np.full(len(points), np.inf)
        for x0, y0, x1, y1, top in self.boxes:
            low, high = np.array([x0, y0, -1e3]), np.array([x1, y1, top])
            gap = np.maximum(np.maximum(low - points, points - high), 0.0)
            best = np.minimum(best, np.linalg.norm(gap, axis=1))
        return best


@pytest.fixture(scope="session")
def box_world() -> type[BoxWorld]:
    """The class, for tests to build their worlds with."""
    return BoxWorld

"""Where to look at a world from, if nobody says: over its densest place or in the street there, always the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.labels import DRIVEABLE_SURFACE, GROUND

#: Edges of the squares in which walls are counted, metres; each counts with its eight neighbours.
SQUARE = 50.0
#: How far from the densest place a viewpoint may lie, and how far apart those lie that are tried.
REACH, STEP_AIR, STEP_STREET = 250.0, 10.0, 4.0
#: Metres that must be free around a viewpoint: the first of these for which there is one.
FREE_AIR, FREE_STREET = (25.0, 15.0, 8.0), (10.0, 5.0, 2.5)
#: In the street: within this many metres the ground should rise or fall by no more than so many.
AROUND, RISE = 8.0, 1.0
#: A view longer than this is as good as an endless one.
FARTHEST = 150.0

_AROUND = np.arange(16) * (2 * np.pi / 16)
_LEVEL = np.column_stack([np.cos(_AROUND), np.sin(_AROUND), np.zeros(16)])
_SPHERE = np.array([v for v in np.ndindex(3, 3, 3) if v != (1, 1, 1)], float) - 1.0


def densest_place(world: Any) -> NDArray[np.float64]:
    """(2,) middle of the square with the most wall around it; the world's middle where nothing stands."""
    scene = world.scene
    standing = np.flatnonzero(~np.isin(scene.face_class, GROUND))
    corners = scene.vertices[scene.faces[standing]].astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    wall = np.hypot(cross[:, 0], cross[:, 1]) / 2  # area seen from the side
    if not wall.any():
        return np.asarray(world.bounds[:, :2].mean(axis=0))
    middle = corners.mean(axis=1)[:, :2]
    low = world.bounds[0, :2]
    cell = np.floor((middle - low) / SQUARE).astype(np.int64)
    shape = tuple(cell.max(axis=0) + 1)
    area = np.zeros((shape[0] + 2, shape[1] + 2))
    np.add.at(area, (cell[:, 0] + 1, cell[:, 1] + 1), wall)
    around = sum(area[i : i + shape[0], j : j + shape[1]] for i in range(3) for j in range(3))
    best = np.unravel_index(int(np.argmax(around)), shape)
    return np.asarray(low + (np.array(best) + 0.5) * SQUARE)


def air_viewpoint(world: Any, height: float) -> Pose:
    """`height` metres above the ground, as near the densest place as there is room; it looks where the view is longest.

    Raises InputError where no free place is found.
    """
    xy = _candidates(densest_place(world), STEP_AIR)
    points = np.column_stack([xy, _ground(world, xy) + height])
    points = points[np.isfinite(points[:, 2])]
    clearance = _clearance(world, points, _SPHERE)
    clearance[world.inside_solid(points)] = 0.0
    for room in FREE_AIR:
        free = clearance >= min(room, 0.8 * height)
        if free.any():
            return _looking_far(world, points[int(np.argmax(free))])
    raise InputError(f"{world.path}: no free place {height:g} m above the ground near its densest; give one with --at")


def street_viewpoint(world: Any, eye: float) -> Pose:
    """On a driveable surface, or on the ground in the open where there is none: at `eye` metres above it, with houses
    around and a long view ahead. Raises InputError where no such place is found."""
    xy = _candidates(densest_place(world), STEP_STREET)
    ground, face = _topmost(world, xy)
    label = np.where(face >= 0, world.scene.face_class[face], 255)
    for fit in (label == DRIVEABLE_SURFACE, np.isin(label, GROUND)):
        points = np.column_stack([xy, ground + eye])[fit]
        points = points[~world.inside_solid(points)] if len(points) else points
        if not len(points):
            continue
        distance = _distances(world, points, _LEVEL)
        nearest, longest = distance.min(axis=1), distance.max(axis=1)
        walls = (distance < 60.0).mean(axis=1)
        score = walls + longest / FARTHEST - np.minimum(_unevenness(world, points, eye) / RISE, 3.0)
        for room in FREE_STREET:
            fitting = np.where(nearest >= room, score, -np.inf)
            if np.isfinite(fitting.max()):
                return _looking_far(world, points[int(np.argmax(fitting))])
    raise InputError(f"{world.path}: no free ground near its densest place; give a viewpoint with --at")


def _candidates(centre: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """(N, 2) places around `centre`, the nearest first."""
    line = np.arange(-REACH, REACH + step / 2, step)
    x, y = (a.ravel() for a in np.meshgrid(line, line, indexing="ij"))
    distance = np.hypot(x, y)
    order = np.argsort(distance, kind="stable")
    order = order[distance[order] <= REACH]
    return np.column_stack([x[order], y[order]]) + centre


def _topmost(world: Any, xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Height (N,) and face (N,) of the topmost surface; NaN and −1 where there is none."""
    top = float(world.bounds[1, 2]) + 10.0
    origins = np.column_stack([xy, np.full(len(xy), top)])
    down = np.tile([0.0, 0.0, -1.0], (len(xy), 1))
    distance, face = world.cast(origins, down, cull_backfaces=False)
    return np.where(face >= 0, top - distance, np.nan), face


def _unevenness(world: Any, points: NDArray[np.float64], eye: float) -> NDArray[np.float64]:
    """(N,) metres by which the ground around differs from that under the points."""
    ring = (points[:, None, :2] + AROUND * _LEVEL[::2, :2]).reshape(-1, 2)
    height = _ground(world, ring).reshape(len(points), -1)
    rise = np.abs(height - (points[:, 2:] - eye))
    return np.asarray(np.where(np.isfinite(rise), rise, np.inf).max(axis=1))


def _ground(world: Any, xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Terrain height, else that of the topmost surface."""
    terrain = world.terrain_height(xy)
    return np.where(np.isfinite(terrain), terrain, _topmost(world, xy)[0])


def _distances(world: Any, points: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, D) free metres from points in directions, at most FARTHEST."""
    count = len(directions)
    distance, _ = world.cast(
        np.repeat(points, count, axis=0), np.tile(directions, (len(points), 1)), cull_backfaces=False
    )
    return np.minimum(distance, FARTHEST).reshape(len(points), count)


def _clearance(world: Any, points: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(_distances(world, points, directions).min(axis=1)) if len(points) else np.zeros(0)


def _looking_far(world: Any, point: NDArray[np.float64]) -> Pose:
    distance = _distances(world, point[None], _LEVEL)[0]
    x, y, z = (float(v) for v in point)
    return Pose.from_rpy(x, y, z, yaw=float(_AROUND[int(np.argmax(distance))]))

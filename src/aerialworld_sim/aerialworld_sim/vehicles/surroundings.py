"""What a vehicle stands on and runs into: the world's terrain and solids, and other things that move, as boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array, Pose
from aerialworld_core.labels import GROUND, MANMADE, NAMES, OTHERS
from aerialworld_core.world.scene import Scene
from aerialworld_core.world.seams import ground_height
from aerialworld_sim.vehicles.parameters import Vector


class Solids(Protocol):
    """What is asked of a world (`aerialworld_core.world.World` has it)."""

    @property
    def scene(self) -> Scene: ...
    def terrain_height(self, xy: NDArray[np.float64]) -> NDArray[np.float64]: ...
    def cast(
        self, origins: Array, directions: Array, *, cull_backfaces: bool = True, max_distance: float = np.inf
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]: ...


@dataclass(frozen=True, eq=False)
class MovingBox:
    """Something else that moves: a box of `size` (3,) whose middle is at `pose` in map."""

    name: str
    pose: Pose
    size: Array

    def distance(self, point: Vector) -> float:
        """From a point in map to the box, 0 inside."""
        local = self.pose.rotation.T @ (np.array(point) - self.pose.position)
        return float(np.linalg.norm(np.maximum(np.abs(local) - 0.5 * np.asarray(self.size), 0.0)))


Obstacles = Callable[[int], Sequence[MovingBox]]


class Company(Protocol):
    """Others that want to know where the vehicle is, and say where they are."""

    def meet(self, stamp_ns: int, place: Vector) -> Sequence[MovingBox]:
        """The vehicle is at `place` of map now: what is near it."""
        ...


class Surroundings:
    """The ground and the solids around a vehicle. Without a world: a plane at `ground`. `company` is told where the
    vehicle is whenever it looks around; what it answers counts as `obstacles` do."""

    def __init__(self, world: Solids | None = None, obstacles: Obstacles | None = None, ground: float = 0.0) -> None:
        self.world = world
        self._obstacles = obstacles
        self.company: Company | None = None
        self._ground = ground
        self._origins = np.empty((6, 3))
        self._directions = np.empty((6, 3))

    @property
    def plane(self) -> float:
        """Height of the ground where there is no world."""
        return self._ground

    @property
    def has_obstacles(self) -> bool:
        """Whether other things that move are asked for."""
        return self._obstacles is not None or self.company is not None

    def ground(self, xy: NDArray[np.float64]) -> list[float]:
        """Terrain height at points (N, 2); NaN where there is none."""
        if self.world is None:
            return [self._ground] * len(xy)
        return [float(h) for h in ground_height(self.world, xy)]

    def height_at(self, position: Sequence[float] | Array) -> float:
        """Terrain height at the x and y of a point; NaN where there is none."""
        return self.ground(np.array([position[:2]], np.float64))[0]

    def support(self, position: Vector) -> float:
        """The height of what lies below a point: terrain or a roof; −inf where there is nothing."""
        if self.world is None:
            return self._ground
        x, y, z = position
        height = self.height_at(position)
        if math.isnan(height):
            height = -math.inf
        distance, _ = self.world.cast(np.array([[x, y, z]]), np.array([[0.0, 0.0, -1.0]]))
        return max(height, z - float(distance[0])) if math.isfinite(distance[0]) else height

    def met(self, place: Vector, reach: float, stamp_ns: int) -> str:
        """Which other thing that moves is within `reach` of a place; empty where there is none."""
        boxes = [] if self._obstacles is None else [*self._obstacles(stamp_ns)]
        if self.company is not None:
            boxes += self.company.meet(stamp_ns, place)
        name = next((box.name for box in boxes if box.distance(place) < reach), "")
        return f"hit {name} at {_place(place)}" if name else ""

    def struck(
        self,
        before: Vector,
        after: Vector,
        radius: float,
        height: float,
        stamp_ns: int,
        *,
        ahead: float = 0.0,
        on_ground: bool = False,
    ) -> str:
        """What a body of `radius` and `height` meets on its way and `ahead` metres farther; empty where it is free.

        Five rays along the way: the middle, both sides, top and bottom. What is met from above is no hit: a vehicle
        that sinks lands on it. One that drives `on_ground` does not hit the ground.
        """
        met = self.met(after, radius + ahead, stamp_ns)
        if met or self.world is None:
            return met
        way = after[0] - before[0], after[1] - before[1], after[2] - before[2]
        level = math.hypot(way[0], way[1])
        length = math.hypot(level, way[2])
        if length < 1e-3 or (way[2] < 0 and level < 0.2 * -way[2]):
            return ""
        side = (-way[1] / level * radius, way[0] / level * radius) if level > 1e-6 else (radius, 0.0)
        origins, directions = self._origins[:5], self._directions[:5]
        origins[:] = before
        origins[1, :2] += side
        origins[2, 0] -= side[0]
        origins[2, 1] -= side[1]
        origins[3, 2] += 0.5 * height
        origins[4, 2] -= 0.3 * height
        directions[:] = way
        reach = length + ahead + radius * level / length + 0.5 * height * max(way[2], 0.0) / length
        distance, face = self.world.cast(origins, directions, cull_backfaces=False, max_distance=reach)
        hit = int(np.argmin(distance))
        if face[hit] < 0:
            return ""
        label = int(self.world.scene.face_class[face[hit]])
        if on_ground and label in GROUND:
            return ""
        return f"hit {_thing(label)} at {_place(after)}"


def _thing(label: int) -> str:
    if label == MANMADE:
        return "a building"
    return "something" if label == OTHERS or not 0 <= label < len(NAMES) else f"the {NAMES[label].replace('_', ' ')}"


def _place(position: Any) -> str:
    return f"({position[0]:.1f}, {position[1]:.1f}, {position[2]:.1f})"

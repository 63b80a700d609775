"""A world's whole network for traffic: made once per world, shared by every simulation in it."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from scipy.ndimage import gaussian_filter1d

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.roads.curves import STEP
from aerialworld_core.roads.ground import Ground, World, see_ground
from aerialworld_core.roads.lanes import SIDEWAYS, Carriageways
from aerialworld_core.roads.shapes import SHAPES, WALKER, Shape
from aerialworld_core.roads.ways import FOOTWAY, LANE, Ways
from aerialworld_core.world.seams import ground_height
from aerialworld_sim.traffic.cells import Cells
from aerialworld_sim.traffic.footways import Footways
from aerialworld_sim.traffic.patrols import patrol_ground

#: Slowing down towards a lower limit, m/s².
EASE = 1.5
#: Metres over which a body's springs smooth the ground.
SPRINGS = 0.8


@dataclass(eq=False)
class Samples:
    """How a shape stands on the samples of all ways: z of the ground under the reference point, pitch and roll of the
    body, radians."""

    z: Array
    pitch: Array
    roll: Array


class Network:
    """Ways, cells and ground of a world.

    made_up   the world has no carriageway: the ways are straight patrols over its open ground
    onward    shape → for each way those that follow it
    first     (W + 1,) rows of way after way in what follows; step: (W,) metres between a way's samples
    xy, yaw   (N, 2), (N,) of the reference point at each sample of the ways; limit: (N,) m/s there
    samples   shape → how it stands at each
    """

    def __init__(self, world: World) -> None:
        ground = see_ground(world)
        self.made_up = ground is None or not ground.drive.any()
        if self.made_up:
            ground = patrol_ground(world, ground)
        assert ground is not None
        self.ground: Ground = ground
        self.ways = Ways()
        self.carriageways = Carriageways(ground, self.ways)
        Footways(ground, self.ways)
        self.onward = {name: self.ways.followers(name) for name in SHAPES}
        if not any(any(following) for following in self.onward.values()):
            raise InputError(
                "traffic: no road of this world is wide and long enough for two lanes, and no sidewalk for walking; "
                "simulate without --traffic, or convert a larger part of the city, with roads (--modules bldg,tran,dem)"
            )
        self.cells = Cells(self.ways, ground.low, self.onward)
        counts = [len(way.curve.xy) for way in self.ways.ways]
        self.first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.step = np.array([way.curve.step for way in self.ways.ways])
        self.xy = np.concatenate([way.curve.xy for way in self.ways.ways])
        self.yaw = np.concatenate([way.curve.yaw for way in self.ways.ways])
        self.limit = np.concatenate([_limits(way.curve.yaw, way.curve.step, way.limit) for way in self.ways.ways])
        self.entry = self.limit[self.first[:-1]]
        self.samples = {name: self._samples(world, shape) for name, shape in SHAPES.items()}

    @classmethod
    def of(cls, world: World) -> Network:
        """The network of a world, made on first use and kept as long as the world lives. Raises InputError for a world
        without any place to drive or walk."""
        known = _NETWORKS.get(world)
        if known is None:
            known = _NETWORKS[world] = cls(world)
        return known

    def length(self, shape: str) -> float:
        """Metres of lanes (of footways for walkers) that a shape can use."""
        kind = FOOTWAY if shape == WALKER.name else LANE
        onward = self.onward[shape]
        return sum(way.curve.length for way in self.ways.ways if way.kind == kind and onward[way.number])

    def _samples(self, world: World, shape: Shape) -> Samples:
        """Where a body of this shape stands on each sample of the ways; those that it must not use are left level."""
        z, pitch, roll = (np.zeros(len(self.yaw)) for _ in range(3))
        for way in self.ways.ways:
            if not self.onward[shape.name][way.number]:
                continue
            rows = slice(self.first[way.number], self.first[way.number + 1])
            z[rows], pitch[rows], roll[rows] = stand(world, shape, way.curve.xy, way.curve.yaw)
        return Samples(z, pitch, roll)


def stand(world: World, shape: Shape, xy: Array, yaw: Array) -> tuple[Array, Array, Array]:
    """Height of the ground under the reference point (N,), pitch and roll (N,) of a body along a way (N, 2), (N,).

    A walker stays upright. A vehicle's four wheels stand on the ground, smoothed by its springs. Raises InputError
    where the way has no ground at all.
    """
    smooth = SPRINGS / STEP

    def felt(points: Array) -> Array:
        z = ground_height(world, points)
        known = np.isfinite(z)
        if not known.any():
            raise InputError(f"traffic: the world has no ground near ({points[0, 0]:.0f}, {points[0, 1]:.0f})")
        order = np.arange(len(z))
        # Odd reflection keeps a slope at the ends, where the next way goes on.
        n = min(len(z) - 1, round(4 * smooth))
        padded = np.pad(np.interp(order, order[known], z[known]), n, mode="reflect", reflect_type="odd")
        return np.asarray(gaussian_filter1d(padded, smooth, mode="nearest")[n : n + len(z)])

    if shape is WALKER:
        return felt(xy), np.zeros(len(xy)), np.zeros(len(xy))
    base, track = 0.62 * shape.length, 0.8 * shape.width
    forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    left = np.stack([-forward[:, 1], forward[:, 0]], axis=1) * 0.5 * track
    rear_left, rear_right = felt(xy + left), felt(xy - left)
    front_left, front_right = felt(xy + base * forward + left), felt(xy + base * forward - left)
    rear, front = 0.5 * (rear_left + rear_right), 0.5 * (front_left + front_right)
    pitch = -np.arctan((front - rear) / base)
    roll = np.arctan((rear_left + front_left - rear_right - front_right) / (2 * track))
    return rear, pitch, roll


def _limits(yaw: Array, step: float, limit: float) -> Array:
    """m/s at each sample: the way's limit, less in bends, slowed down towards in time."""
    bend = np.abs(np.gradient(yaw, step))
    speed = np.minimum(limit, np.sqrt(SIDEWAYS / np.maximum(bend, 1e-6)))
    # Each sample allows what can be braked down to what a later one allows.
    squared = speed**2 + 2 * EASE * step * np.arange(len(speed))
    return np.sqrt(np.minimum.accumulate(squared[::-1])[::-1] - 2 * EASE * step * np.arange(len(speed)))


_NETWORKS: WeakKeyDictionary[World, Network] = WeakKeyDictionary()

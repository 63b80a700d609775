"""A made city of boxes and a vehicle moving through it, as sessions: exact columns, no ray casting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aerialworld_core.frames import Pose, grid_from_map
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.labels import DRIVEABLE_SURFACE, FREE, MANMADE, TERRAIN
from aerialworld_core.occupancy import Occupancy


class BoxCity:
    """Random boxes on gently rolling ground with a street grid, drawn from a seed."""

    def __init__(self, seed: int, extent: float = 300.0, count: int = 160) -> None:
        rng = np.random.default_rng(seed)
        block = 34.0
        self.block = block
        centres = rng.uniform(-extent, extent, (count * 3, 2))
        local = np.abs((centres / block + 0.5) % 1 - 0.5) * block
        keep = (local > 9).all(1)
        self.centres = centres[keep][:count]
        n = len(self.centres)
        self.half = rng.uniform(3, 8, (n, 2))
        self.top = rng.uniform(6, 35, n)
        self.phase = rng.uniform(0, 6, 2)

    def heights(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Surface height and class at points."""
        ground = 1.5 * np.sin(x / 60 + self.phase[0]) + 1.5 * np.cos(y / 70 + self.phase[1])
        street = (np.abs((x / self.block + 0.5) % 1 - 0.5) < 0.1) | (np.abs((y / self.block + 0.5) % 1 - 0.5) < 0.1)
        height, label = ground.copy(), np.where(street, DRIVEABLE_SURFACE, TERRAIN)
        near = (np.abs(self.centres[:, 0] - x.mean()) < 80) & (np.abs(self.centres[:, 1] - y.mean()) < 80)
        for (cx, cy), (hx, hy), top in zip(self.centres[near], self.half[near], self.top[near], strict=True):
            inside = (np.abs(x - cx) < hx) & (np.abs(y - cy) < hy)
            height[inside], label[inside] = top, MANMADE
        return height, label

    def frame(self, grid: VoxelGrid, pose: Pose, datum: float) -> Occupancy:
        """The surface shell in the grid of a vehicle at `pose`: everything above the ground is seen, nothing below."""
        nx, ny, nz = grid.shape
        i, j = np.meshgrid(np.arange(nx), np.arange(ny), indexing="ij")
        centres = grid.centers(np.stack([i, j, 0 * i], -1).reshape(-1, 3))
        world = np.linalg.inv(grid_from_map(pose, datum))
        points = centres @ world[:3, :3].T + world[:3, 3]
        height, label = self.heights(points[:, 0], points[:, 1])
        top = np.clip((height - datum - grid.minimum[2]) // grid.voxel_size[2], 0, nz - 1).astype(int).reshape(nx, ny)
        label = label.reshape(nx, ny)
        low = top.copy()  # walls reach down to the lowest neighbour
        low[1:] = np.minimum(low[1:], top[:-1])
        low[:-1] = np.minimum(low[:-1], top[1:])
        low[:, 1:] = np.minimum(low[:, 1:], top[:, :-1])
        low[:, :-1] = np.minimum(low[:, :-1], top[:, 1:])
        low = np.minimum(low + 1, top)
        z = np.arange(nz)
        occupied = (z >= low[..., None]) & (z <= top[..., None])
        semantics = np.where(occupied, label[..., None], FREE).astype(np.uint8)
        return Occupancy(occupied.astype(np.uint8), semantics, z >= low[..., None])


@dataclass
class Meta:
    grid: VoxelGrid
    datum: float
    frame_period_ns: int
    agent_type: str


@dataclass
class Record:
    pose: Pose
    stamp_ns: int


class BoxSession:
    """A run in a box city with the reading side of a session."""

    def __init__(
        self, city: BoxCity, grid: VoxelGrid, *, frames: int, start: tuple[float, float], yaw: float = 0.0,
        speed: float = 4.0, yaw_rate: float = 0.0, height: float = 40.0, period_ns: int = 500_000_000,
    ) -> None:  # fmt: skip
        self.city = city
        self.meta: Any = Meta(grid, -3.0, period_ns, "drone")
        self.frame_indices = list(range(frames))
        x, y = start
        self.records = []
        for n in range(frames):
            self.records.append(Record(Pose.from_rpy(x, y, height, 0.0, 0.0, yaw), n * period_ns))
            x += speed * period_ns * 1e-9 * np.cos(yaw)
            y += speed * period_ns * 1e-9 * np.sin(yaw)
            yaw += yaw_rate * period_ns * 1e-9

    def pose(self, index: int) -> Record:
        return self.records[index]

    def occupancy(self, index: int) -> Occupancy:
        return self.city.frame(self.meta.grid, self.records[index].pose, self.meta.datum)

"""The vehicle's way through a forecast: from displacements to poses, going on as before, and as the model takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from aerialworld_core.frames import Pose, rotation_from_rpy, rpy_from_rotation
from aerialworld_training.dataset.motion import displacements
from aerialworld_training.models.aerial import FutureMotion
from aerialworld_training.models.aerial.motion import ego_features

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Path:
    """Poses of base_link in map at T future frames: position (T, 3), orientation (T, 4) x, y, z, w."""

    position: Array
    orientation: Array

    def __len__(self) -> int:
        return len(self.position)

    def pose(self, k: int) -> Pose:
        return Pose(self.position[k], self.orientation[k])

    @property
    def yaw(self) -> Array:
        return np.array([self.pose(k).yaw for k in range(len(self))])


def follow_steps(start: Pose, moves: Array, turns: Array, climbs: Array) -> Path:
    """The poses after each of T steps from `start`: moves (T, 2) metres right and forward of the frame that a step
    leaves, turns (T,) radians to the left, climbs (T,) metres up. Roll and pitch stay."""
    roll, pitch, yaw = rpy_from_rotation(start.rotation)
    x, y, z = start.position
    poses = []
    for (right, forward), turn, climb in zip(moves, turns, climbs, strict=True):
        x += np.cos(yaw) * forward + np.sin(yaw) * right
        y += np.sin(yaw) * forward - np.cos(yaw) * right
        z, yaw = z + climb, yaw + turn
        poses.append(Pose.from_matrix(_matrix(roll, pitch, yaw, x, y, z)))
    return Path(np.array([p.position for p in poses]), np.array([p.orientation for p in poses]))


def _matrix(roll: float, pitch: float, yaw: float, x: float, y: float, z: float) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation_from_rpy(roll, pitch, yaw), (x, y, z)
    return matrix


def constant_velocity(before: Pose, last: Pose, steps: int) -> Path:
    """Going on as in the step from `before` to `last`: the same way right and forward, the same turn and climb."""
    position = np.stack([before.position, last.position])
    move = displacements(position, np.array([before.yaw, last.yaw]))[0]
    turn = (last.yaw - before.yaw + np.pi) % (2 * np.pi) - np.pi
    climb = last.position[2] - before.position[2]
    return follow_steps(last, np.tile(move, (steps, 1)), np.full(steps, turn), np.full(steps, climb))


def future_motion(last: Pose, path: Path, step: float, datum: float, z_shift: float) -> FutureMotion:
    """A path as AerialOccWorld is given it (batch of 1): steps of `step` seconds, z_shift in metres."""
    position = np.vstack([last.position, path.position])
    orientation = np.vstack([last.orientation, path.orientation])
    yaw = np.append(last.yaw, path.yaw)
    moves = torch.from_numpy(displacements(position, yaw)).to(torch.float32)
    ego = ego_features(position, orientation, step, datum, z_shift)[:-1]
    planar = torch.from_numpy(np.column_stack([path.position[:, :2], path.yaw]))
    return FutureMotion(moves[None], ego[None], planar[None])

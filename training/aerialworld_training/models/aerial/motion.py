"""Ego motion for the occupancy stream: six degrees of freedom, speed, height; all of it begins without effect."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aerialworld_core.frames import rotation_from_quaternion, rpy_from_rotation
from aerialworld_training.models.aerial.config import AerialConfig
from aerialworld_training.models.occworld import OccWorldConfig

#: What a row of `ego` holds, for the step from a frame to its next: metres up; sine and cosine − 1 of the turn to the
#: left; change of roll and pitch [rad]; speed [m/s]; and of the frame itself: height above the datum, and the metres
#: that the window's volumes were moved up.
EGO = ("up", "sin_turn", "cos_turn_less_1", "roll", "pitch", "speed", "height", "z_shift")
_SCALE = (0.5, 1.0, 1.0, 1.0, 1.0, 0.1, 0.02, 0.1)
UP, SIN, COS, ROLL, PITCH, SPEED, HEIGHT, SHIFT = range(len(EGO))


def ego_features(
    position: NDArray[np.float64], orientation: NDArray[np.float64], step: float, datum: float, z_shift: float
) -> Tensor:
    """`ego` (N, 8) float32 of N frames, `step` seconds apart; the last row knows no next frame and holds no motion.

    position (N, 3) and orientation (N, 4) x, y, z, w of base_link in map; datum in map z; z_shift in metres.
    """
    rpy = np.array([rpy_from_rotation(rotation_from_quaternion(q)) for q in orientation])
    turn = np.diff(rpy[:, 2])
    ego = np.zeros((len(position), len(EGO)))
    ego[:-1, UP] = np.diff(position[:, 2])
    ego[:-1, SIN], ego[:-1, COS] = np.sin(turn), np.cos(turn) - 1
    ego[:-1, ROLL], ego[:-1, PITCH] = np.diff(rpy[:, 0]), np.diff(rpy[:, 1])
    ego[:-1, SPEED] = np.linalg.norm(np.diff(position, axis=0), axis=1) / step
    ego[:, HEIGHT], ego[:, SHIFT] = position[:, 2] - datum, z_shift
    return torch.from_numpy(ego).to(torch.float32)


def predicted_ego(displacement: Tensor, up_turn: Tensor, height: Tensor, z_shift: Tensor, step: float) -> Tensor:
    """`ego` (B, 8) of a predicted step: displacement (B, 2) right and forward, up_turn (B, 2) metres and radians to the
    left, height and z_shift (B,). Roll and pitch are not predicted and stay."""
    up, turn = up_turn.unbind(-1)
    speed = torch.cat([displacement, up[:, None]], 1).norm(dim=1) / step
    none = torch.zeros_like(up)
    return torch.stack([up, turn.sin(), turn.cos() - 1, none, none, speed, height, z_shift], 1)


def turn_of(ego: Tensor) -> Tensor:
    """Radians to the left (…) of `ego` (…, 8)."""
    return torch.atan2(ego[..., SIN], ego[..., COS] + 1)


def follow(start: Tensor, displacements: Tensor, turns: Tensor) -> Tensor:
    """Planar poses (B, T, 3) float64 [x, y, yaw] after each of T steps from start (B, 3).

    displacements (B, T, 2) right and forward of the frame that the step leaves, turns (B, T) radians to the left.
    """
    x, y, yaw = start.double().unbind(-1)
    poses = []
    for k in range(displacements.shape[1]):
        right, forward = displacements[:, k].double().unbind(-1)
        x = x + yaw.cos() * forward + yaw.sin() * right
        y = y + yaw.sin() * forward - yaw.cos() * right
        yaw = yaw + turns[:, k].double()
        poses.append(torch.stack([x, y, yaw], 1))
    return torch.stack(poses, 1)


def zero_linear(cin: int, cout: int, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(cin, cout, bias)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class MotionConditioner(nn.Module):
    """Columns that widen the pose encoder, scales and shifts for the U-Net's levels, and a head for climb and turn.

    `columns`, `films`, `head` and `carry` begin at zero: the model then is plain OccWorld, and predicts level, straight
    flight. `carry` says how much of the last step (right, forward, up, turn) goes on in the next, beside what the
    decoders say of it.
    """

    scale: Tensor

    def __init__(self, config: OccWorldConfig, aerial: AerialConfig) -> None:
        super().__init__()
        width = aerial.motion_width
        self.modes = config.num_modes
        self.columns = zero_linear(len(EGO), config.pose_channels, bias=False)
        self.encoder = nn.Sequential(nn.Linear(2 + len(EGO), width), nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.films = nn.ModuleList([zero_linear(width, 2 * c) for c in (*config.unet_inputs, config.channels[-2])])
        self.head = zero_linear(config.pose_channels, 2 * config.num_modes)
        self.carry = nn.Parameter(torch.zeros(4))
        self.register_buffer("scale", torch.tensor(_SCALE), persistent=False)

    def widen(self, ego: Tensor) -> Tensor:
        """ego (…, 8) → what it adds to the pose encoder's first layer (…, C)."""
        return self.columns(ego * self.scale)

    def conditions(self, rel_poses: Tensor, ego: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Scale and shift for each encoder level and the middle, from rel_poses (B, F, 2) and ego (B, F, 8)."""
        hidden = self.encoder(torch.cat([rel_poses * _SCALE[UP], ego * self.scale], -1))
        pairs = [film(hidden).chunk(2, -1) for film in self.films]
        return [(scale, shift) for scale, shift in pairs]

    def climb_and_turn(self, pose: Tensor) -> Tensor:
        """Pose output (…, C) → metres up and radians to the left for each mode (…, modes, 2)."""
        return self.head(pose).unflatten(-1, (self.modes, 2))

    def carried(self, rel_poses: Tensor, ego: Tensor) -> tuple[Tensor, Tensor]:
        """The share of steps, rel_poses (…, 2) and ego (…, 8), that goes on: metres right and forward (…, 1, 2), and
        metres up and radians to the left (…, 1, 2); the same in each mode."""
        up_turn = torch.stack([ego[..., UP], turn_of(ego)], -1)
        return (self.carry[:2] * rel_poses)[..., None, :], (self.carry[2:] * up_turn)[..., None, :]

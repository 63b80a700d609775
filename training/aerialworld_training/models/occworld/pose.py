"""Ego motion in and out of the transformer: two small perceptrons."""

from __future__ import annotations

from torch import Tensor, nn


class PoseEncoder(nn.Module):
    """[dx, dy, mode one-hot] (…, 2 + modes) → (…, channels). dx is right, dy forward, metres to the next frame."""

    def __init__(self, channels: int, modes: int = 3) -> None:
        super().__init__()
        self.pose_encoder = nn.Sequential(nn.Linear(2 + modes, channels), nn.ReLU(), nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.pose_encoder(x)


class PoseDecoder(nn.Module):
    """(…, channels) → the displacement to the next frame for each mode (…, modes, 2)."""

    def __init__(self, channels: int, modes: int = 3) -> None:
        super().__init__()
        self.modes = modes
        self.pose_decoder = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, modes * 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.pose_decoder(x).reshape(*x.shape[:-1], self.modes, 2)

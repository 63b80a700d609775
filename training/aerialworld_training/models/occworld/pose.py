"""Ego motion in and out of the transformer: two small perceptrons."""

from __future__ import annotations

from torch import Tensor, nn


def perceptron(cin: int, width: int, cout: int, layers: int) -> nn.Sequential:
    """`layers` ≥ 2 linear layers with ReLU between."""
    inner = [m for _ in range(layers - 2) for m in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Linear(cin, width), nn.ReLU(), *inner, nn.Linear(width, cout))


class PoseEncoder(nn.Module):
    """[dx, dy, mode one-hot] (…, 2 + modes) → (…, channels). dx is right, dy forward, metres to the next frame."""

    def __init__(self, channels: int, modes: int = 3, layers: int = 2) -> None:
        super().__init__()
        self.pose_encoder = perceptron(2 + modes, channels, channels, layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.pose_encoder(x)


class PoseDecoder(nn.Module):
    """(…, channels) → the displacement to the next frame for each mode (…, modes, 2)."""

    def __init__(self, channels: int, modes: int = 3, layers: int = 2) -> None:
        super().__init__()
        self.modes = modes
        self.pose_decoder = perceptron(channels, channels, modes * 2, layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.pose_decoder(x).reshape(*x.shape[:-1], self.modes, 2)

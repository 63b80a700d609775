"""OccWorld as a whole: VAE, transformer and pose coders, teacher-forced and autoregressive."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aerialworld_training.models.occworld.config import OccWorldConfig
from aerialworld_training.models.occworld.pose import PoseDecoder, PoseEncoder
from aerialworld_training.models.occworld.transformer import PlanUAutoRegTransformer
from aerialworld_training.models.occworld.vae import VAERes2D


@dataclass(frozen=True, eq=False)
class Rollout:
    """A forecast of T frames.

    logits        (B, T, n_e, h, w) code logits
    indices       (B, T, h, w) the codes taken
    displacements (B, T, modes, 2) decoded displacement of each predicted frame to its next, per mode
    fed_back      (B, T, 2) the displacement of the mode that was fed back
    """

    logits: Tensor
    indices: Tensor
    displacements: Tensor
    fed_back: Tensor


class OccWorld(nn.Module):
    """The state dict has the public checkpoint's keys: `vae.`, `transformer.`, `pose_encoder.`, `pose_decoder.`"""

    def __init__(self, config: OccWorldConfig) -> None:
        super().__init__()
        self.config = config
        self.vae = VAERes2D(config)
        self.transformer = PlanUAutoRegTransformer(config)
        self.pose_encoder = PoseEncoder(config.pose_channels, config.num_modes)
        self.pose_decoder = PoseDecoder(config.pose_channels, config.num_modes)

    def encode_pose(self, rel_poses: Tensor, modes: Tensor) -> Tensor:
        """rel_poses (…, 2) metres, modes (…, num_modes) one-hot → (…, C)."""
        return self.pose_encoder(torch.cat([rel_poses, modes], -1))

    def forward(self, zq: Tensor, rel_poses: Tensor, modes: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher-forced: zq (B, F, e_dim, h, w) quantised frames, rel_poses (B, F, 2), modes (B, F, 3) →
        code logits (B, F, n_e, h, w) and displacements (B, F, modes, 2) of frames 1 … F."""
        logits, pose = self.transformer(zq, self.encode_pose(rel_poses, modes))
        return logits, self.pose_decoder(pose)

    @torch.no_grad()
    def rollout(self, zq: Tensor, rel_poses: Tensor, modes: Tensor, future_modes: Tensor) -> Rollout:
        """Forecast T = future_modes.shape[1] frames after the context zq (B, N, e_dim, h, w).

        rel_poses (B, N, 2) holds each context frame's displacement to its next: the last one reaches into the future.
        Take it from `complete_motion` where the future is not given. Every step takes the likeliest codes and feeds
        them back.
        """
        pose = self.encode_pose(rel_poses, modes)
        steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for i in range(future_modes.shape[1]):
            logits, out = self.transformer(zq, pose)
            indices = logits[:, -1].argmax(1)
            displacements = self.pose_decoder(out[:, -1])
            fed = (displacements * future_modes[:, i, :, None]).sum(1)
            zq = torch.cat([zq, self.vae.vqvae.lookup(indices)[:, None]], 1)
            pose = torch.cat([pose, self.encode_pose(fed, future_modes[:, i])[:, None]], 1)
            steps.append((logits[:, -1], indices, displacements, fed))
        return Rollout(*(torch.stack(values, 1) for values in zip(*steps, strict=True)))

    @torch.no_grad()
    def complete_motion(self, zq: Tensor, rel_poses: Tensor, modes: Tensor) -> Tensor:
        """Displacements (B, N, 2) of N context frames from N − 1 known ones, the last decoded instead of looked up.

        `modes` (B, N, 3). The output of frame N − 2 speaks of frame N − 1.
        """
        n = rel_poses.shape[1]
        out = self.transformer(zq[:, :n], self.encode_pose(rel_poses, modes[:, :n]))[1]
        last = (self.pose_decoder(out[:, -1]) * modes[:, n, :, None]).sum(1)
        return torch.cat([rel_poses, last[:, None]], 1)

"""OccWorld as a whole: VAE, transformer and pose coders, teacher-forced and autoregressive."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from aerialworld_core.files import canonical_json
from aerialworld_training.models.occworld.attention import KeyValueCache
from aerialworld_training.models.occworld.config import OccWorldConfig
from aerialworld_training.models.occworld.pose import PoseDecoder, PoseEncoder
from aerialworld_training.models.occworld.state_dict_adapter import inside
from aerialworld_training.models.occworld.transformer import Conditions, PlanUAutoRegTransformer
from aerialworld_training.models.occworld.vae import VAERes2D

#: Voxels that are classified together where no gradient is wanted.
CHUNK = 1 << 20
#: What a frame's codes depend on, AerialOccWorld's parts too.
ENCODING = (
    "vae.encoder", "vae.class_embeds", "vae.vqvae.embedding", "vae.vqvae.quant_conv", "aerial.heights.table",
    "aerial.residual.codebooks",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Rollout:
    """A forecast of T frames.

    logits        (B, T, n_e, h, w) code logits
    indices       (B, T, h, w) the likeliest codes; with residual codes both have an axis of depth after T
    displacements (B, T, modes, 2) decoded displacement of each predicted frame to its next, per mode
    fed_back      (B, T, 2) the displacement of the mode that was fed back
    """

    logits: Tensor
    indices: Tensor
    displacements: Tensor
    fed_back: Tensor


class Quantizer(Protocol):
    """What `VectorQuantizer` is, for codes of any depth. Indices are (N, h, w), or (N, depth, h, w) of residual codes;
    `tables` has the codes (n_e, e_dim) of each depth."""

    n_e: int
    e_dim: int
    quant_conv: nn.Conv2d

    @property
    def tables(self) -> tuple[nn.Parameter, ...]: ...
    def quantize(self, z: Tensor, indices: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]: ...
    def lookup(self, indices: Tensor) -> Tensor: ...
    def indices(self, z: Tensor) -> Tensor: ...
    def encode_indices(self, z: Tensor) -> Tensor: ...


#: Step number and pose output (B, C) of the newest frame → the next frame's pose features (B, 1, C) and conditions.
FeedBack = Callable[[int, Tensor], tuple[Tensor, Conditions]]


class OccWorld(nn.Module):
    """The state dict has the public checkpoint's keys: `vae.`, `transformer.`, `pose_encoder.`, `pose_decoder.`"""

    def __init__(self, config: OccWorldConfig) -> None:
        super().__init__()
        self.config = config
        self.vae = VAERes2D(config)
        self.transformer = PlanUAutoRegTransformer(config)
        self.pose_encoder = PoseEncoder(config.pose_channels, config.num_modes, config.pose_layers)
        self.pose_decoder = PoseDecoder(config.pose_channels, config.num_modes, config.pose_layers)

    def save_memory(self, enabled: bool = True) -> None:
        """Recompute inner values in the backward pass instead of keeping them; equal numbers, about a third slower."""
        self.vae.encoder.recompute = self.vae.decoder.recompute = self.transformer.recompute = enabled

    def freeze_vae(self) -> None:
        """Take `vae.*` out of training, as stage 2 does; nothing else."""
        self.vae.requires_grad_(False)

    @property
    def quantizer(self) -> Quantizer:
        """What turns latents into codes and codes into vectors, whatever their depth."""
        return self.vae.vqvae

    def pick(self, logits: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Code logits (B, n_e, h, w) and the transformer's features (B, C, h, w) of a frame → the logits and likeliest
        codes (B, h, w) of all depths; here there is one."""
        return logits, logits.argmax(1)

    def codes_key(self, augmentation: str) -> str:
        """A hash of all in the model that a frame's codes depend on (`ENCODING`), of the grid and of `augmentation`.
        Codes that were computed under another key are stale."""
        digest = hashlib.sha256(canonical_json([self.coded_grid(), augmentation]))
        for name, value in self.state_dict().items():
            if any(inside(name, part) for part in ENCODING):
                digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def coded_grid(self) -> Any:
        """The grid of the frames that codes stand for, as JSON."""
        return list(self.config.grid_shape)

    def encode_pose(self, rel_poses: Tensor, modes: Tensor) -> Tensor:
        """rel_poses (…, 2) metres, modes (…, num_modes) one-hot → (…, C)."""
        return self.pose_encoder(torch.cat([rel_poses, modes], -1))

    def classify(self, features: Tensor, samples: Tensor | None = None, hints: Tensor | None = None) -> Tensor:
        """Features (M, e) → class logits (M, classes); `samples` and `hints` of the moved past are AerialOccWorld's
        alone."""
        return self.vae.classify(features)

    @torch.no_grad()
    def likeliest(
        self, features: Tensor, samples: Tensor | None = None, hints: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Classes uint8 and the probability of being occupied float16, both (X, Y, levels), of features
        (1, X, Y, levels, e), and samples (K, X, Y, levels) and hints (1, X, Y, levels) of the moved past; chunk by
        chunk."""
        flat = features.reshape(-1, features.shape[-1])
        past = () if samples is None else (samples.flatten(1).T, *(() if hints is None else (hints.flatten(),)))
        classes, occupied = [], []
        for start in range(0, len(flat), CHUNK):
            rows = slice(start, start + CHUNK)
            logits = self.classify(flat[rows], *(part[rows] for part in past))
            classes.append(logits.argmax(1).to(torch.uint8))
            occupied.append((1 - logits.softmax(1)[:, -1]).half())  # the last class is free
        shape = features.shape[1:-1]
        return torch.cat(classes).reshape(shape), torch.cat(occupied).reshape(shape)

    def forward(self, zq: Tensor, rel_poses: Tensor, modes: Tensor) -> tuple[Tensor, Tensor]:
        """Teacher-forced: zq (B, F, e_dim, h, w) quantised frames, rel_poses (B, F, 2), modes (B, F, 3) →
        code logits (B, F, n_e, h, w) and displacements (B, F, modes, 2) of frames 1 … F."""
        logits, pose = self.transformer(zq, self.encode_pose(rel_poses, modes))
        return logits, self.pose_decoder(pose)

    @torch.no_grad()
    def rollout(
        self,
        zq: Tensor,
        rel_poses: Tensor,
        modes: Tensor,
        future_modes: Tensor,
        *,
        cached: bool = True,
        codes: Tensor | None = None,
    ) -> Rollout:
        """Forecast T = future_modes.shape[1] frames after the context zq (B, N, e_dim, h, w).

        rel_poses (B, N, 2) holds each context frame's displacement to its next: the last one reaches into the future.
        Take it from `complete_motion` where the future is not given. Every step takes the likeliest codes and feeds
        them back; with `codes` (B, T, h, w) it feeds those back instead. `cached` keeps the keys and values of passed
        frames; without it every step runs all frames again, with the same numbers.
        """
        displacements: list[Tensor] = []
        fed_back: list[Tensor] = []

        def feed_back(step: int, pose: Tensor) -> tuple[Tensor, Conditions]:
            mode = future_modes[:, step]
            displacements.append(self.pose_decoder(pose))
            fed_back.append((displacements[-1] * mode[..., None]).sum(1))
            return self.encode_pose(fed_back[-1], mode)[:, None], None

        pose = self.encode_pose(rel_poses, modes)
        logits, indices = self.roll(zq, pose, None, future_modes.shape[1], feed_back, cached, codes)
        return Rollout(logits, indices, torch.stack(displacements, 1), torch.stack(fed_back, 1))

    def roll(
        self,
        zq: Tensor,
        pose: Tensor,
        conditions: Conditions,
        steps: int,
        feed_back: FeedBack,
        cached: bool,
        codes: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The loop of `rollout`: logits (B, T, n_e, h, w) and likeliest codes (B, T, h, w)."""
        if zq.shape[1] + steps - 1 > self.config.num_frames:
            raise ValueError(
                f"{zq.shape[1]} context frames and {steps} steps need num_frames ≥ {zq.shape[1] + steps - 1}; this "
                f"model's temporal tables are made for {self.config.num_frames}"
            )
        cache = KeyValueCache() if cached else None
        logits, indices = [], []
        for step in range(steps):
            features, pose_out = self.transformer.features(zq, pose, cache, conditions)
            newest, likeliest = self.pick(self.transformer.code_logits(features)[:, -1], features[:, -1])
            logits.append(newest)
            indices.append(likeliest)
            next_zq = self.quantizer.lookup(likeliest if codes is None else codes[:, step])[:, None]
            next_pose, next_conditions = feed_back(step, pose_out[:, -1])
            if cached:
                zq, pose, conditions = next_zq, next_pose, next_conditions
            else:
                zq, pose = torch.cat([zq, next_zq], 1), torch.cat([pose, next_pose], 1)
                conditions = joined(conditions, next_conditions)
        return torch.stack(logits, 1), torch.stack(indices, 1)

    @torch.no_grad()
    def complete_motion(self, zq: Tensor, rel_poses: Tensor, modes: Tensor) -> Tensor:
        """Displacements (B, N, 2) of N context frames from N − 1 known ones, the last decoded instead of looked up.

        `modes` (B, N, 3). The output of frame N − 2 speaks of frame N − 1.
        """
        n = rel_poses.shape[1]
        out = self.transformer(zq[:, :n], self.encode_pose(rel_poses, modes[:, :n]))[1]
        last = (self.pose_decoder(out[:, -1]) * modes[:, n, :, None]).sum(1)
        return torch.cat([rel_poses, last[:, None]], 1)


def joined(first: Conditions, second: Conditions) -> Conditions:
    """Conditions of frames and of those that follow them."""
    if first is None or second is None:
        return None
    return [(torch.cat([a, c], 1), torch.cat([b, d], 1)) for (a, b), (c, d) in zip(first, second, strict=True)]

"""The two stages of training: the VAE on single frames, then the transformer on the frozen VAE's codes.

A stage gives the loss of a step. What a step sees depends on the seed and the step's number alone, so that a run
resumed at step k goes on exactly as the uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aerialworld_core.labels import FREE
from aerialworld_training.codebook import restart_dead_codes, start_codebook, start_from_free
from aerialworld_training.config import TransformerConfig, VaeConfig
from aerialworld_training.dataset.frames import PooledSession
from aerialworld_training.dataset.pooling import shift_levels
from aerialworld_training.dataset.windows import SessionWindows, evenly
from aerialworld_training.losses import lovasz_softmax, masked_cross_entropy, motion_loss
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.voxels import sample_voxels


@dataclass(frozen=True)
class StepResult:
    """The loss that is minimised, its parts (finite floats) and the samples that made it."""

    loss: Tensor
    parts: dict[str, float]
    samples: list[str]


def shuffled(count: int, batch: int, step: int, seed: int) -> list[int]:
    """The `batch` sample indices of a step: passes over all samples, each in a new order drawn from `seed`."""
    chosen = []
    for k in range(step * batch, (step + 1) * batch):
        epoch, at = divmod(k, count)
        chosen.append(int(np.random.default_rng([seed, epoch]).permutation(count)[at]))
    return chosen


class VaeStage:
    """Stage 1 on single frames of the training sessions."""

    name = "vae"

    def __init__(
        self,
        model: OccWorld,
        config: VaeConfig,
        train: Sequence[PooledSession],
        val: Sequence[PooledSession],
        seed: int,
        ground_level: int | None = None,
    ) -> None:
        self.model, self.config, self.seed, self.ground_level = model, config, seed, ground_level
        self.train = [(s, n) for s in train for n in range(len(s))]
        validation = [(s, n) for s in val for n in range(len(s))]
        self.validation = [validation[i] for i in evenly(len(validation), config.validation_samples)]
        self.module: nn.Module = model.vae
        self.usage = torch.zeros(model.config.n_e, dtype=torch.int64)
        self.used_codes = 0
        if config.free_logit:
            start_from_free(model.vae, config.free_logit)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beyond weights and optimiser."""
        return {"usage": self.usage.clone(), "used_codes": self.used_codes}

    def load_state(self, state: dict[str, Any]) -> None:
        self.usage.copy_(state["usage"])
        self.used_codes = int(state["used_codes"])

    def step(self, step: int) -> StepResult:
        """Loss of one step: see `VaeConfig`."""
        config, vae = self.config, self.model.vae
        chosen = [self.train[i] for i in shuffled(len(self.train), config.batch, step, self.seed)]
        rng = np.random.default_rng([self.seed, 1, step])
        volumes, masks = zip(*(self.volume(s, n, step) for s, n in chosen), strict=True)
        semantics = torch.from_numpy(np.stack(volumes))
        if step == config.codebook_start:
            self.start_codebook(rng)
        if step < config.codebook_start:
            zq = vae.vqvae.quant_conv(vae.encode(semantics))
            embed = zq.new_zeros(())
        else:
            z = vae.encode(semantics)
            zq, embed, indices = vae.vqvae(z)
            self.count_codes(indices, z, step, rng)
        features = vae.decode_features(vae.vqvae.post_quant_conv(zq))
        rows, weights = self.sample_voxels(volumes, masks, rng)
        logits = vae.classify(features.reshape(-1, features.shape[-1]).index_select(0, rows))
        target = semantics.reshape(-1)[rows].long()
        ce = masked_cross_entropy(logits, target, weights)
        loss = config.ce * ce + config.embed * embed
        parts = {"ce": ce.item(), "embed": embed.item(), "codes_used": float(self.used_codes)}
        if config.lovasz:
            lovasz = lovasz_softmax(logits.softmax(-1), target)
            loss = loss + config.lovasz * lovasz
            parts["lovasz"] = lovasz.item()
        return StepResult(loss, parts, [f"{s.name} frame {s.numbers[n]:06d}" for s, n in chosen])

    def volume(
        self, session: PooledSession, n: int, step: int | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Semantics and observed mask of a frame with its ground aligned; turned and mirrored by the seed and `step`
        when frames are augmented."""
        up = session.shift(n, self.ground_level)
        semantics = shift_levels(session.semantics(n), up, FREE)
        observed = shift_levels(session.observed_mask(n), up, False)
        if step is None or not self.config.augment:
            return semantics, observed
        way = int(np.random.default_rng([self.seed, 2, step]).integers(8))
        turns = way % 4 if semantics.shape[0] == semantics.shape[1] else 2 * (way % 2)
        side = -1 if way >= 4 else 1
        return (
            np.ascontiguousarray(np.rot90(semantics, turns)[:, ::side]),
            np.ascontiguousarray(np.rot90(observed, turns)[:, ::side]),
        )

    def sample_voxels(
        self, semantics: Sequence[NDArray[np.uint8]], observed: Sequence[NDArray[np.bool_]], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Rows (M,) into the batch's flattened voxels and their weights (M,): `voxels.sample_voxels` of each frame."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows, weights, size = [], [], semantics[0].size
        for k, (volume, seen) in enumerate(zip(semantics, observed, strict=True)):
            row, weight = sample_voxels(
                torch.from_numpy(volume), torch.from_numpy(seen), self.config.free_samples,
                self.config.occupied_weight, generator,
            )  # fmt: skip
            rows.append(row + k * size)
            weights.append(weight)
        return torch.cat(rows), torch.cat(weights)

    @torch.no_grad()
    def start_codebook(self, rng: np.random.Generator) -> None:
        """Set the codes to k-means centres of encoder outputs (k-means++ would cost more than it gains here)."""
        chosen = [self.train[i] for i in np.sort(rng.permutation(len(self.train))[:12])]
        vae = self.model.vae
        z = torch.cat(
            [vae.vqvae.quant_conv(vae.encode(torch.from_numpy(self.volume(s, n)[0])[None])) for s, n in chosen]
        )
        start_codebook(vae.vqvae, z, torch.Generator().manual_seed(int(rng.integers(2**62))))

    @torch.no_grad()
    def count_codes(self, indices: Tensor, z: Tensor, step: int, rng: np.random.Generator) -> None:
        """Count used codes; now and then move those that nothing used to outputs of the encoder."""
        self.usage += torch.bincount(indices.reshape(-1), minlength=len(self.usage))
        every = self.config.restart_every or self.config.log_every
        if (step - self.config.codebook_start) % every != every - 1:
            return
        self.used_codes = int((self.usage > 0).sum())
        if self.config.restart_every and step < self.config.steps * 2 // 3:
            vq = self.model.vae.vqvae
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            restart_dead_codes(vq, vq.quant_conv(z), self.usage, generator)
        self.usage.zero_()

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Reconstruction IoU of occupied voxels on validation frames, among observed ones."""
        both = either = 0
        for session, n in self.validation:
            volume, observed = self.volume(session, n)
            truth = torch.from_numpy(volume)
            z = self.model.vae.vqvae.quant_conv(self.model.vae.encode(truth[None]))
            if step >= self.config.codebook_start:
                z = self.model.vae.vqvae.quantize(z)[0]
            predicted = self.model.vae.decode_classes(z)[0] != FREE
            seen, occupied = torch.from_numpy(observed), truth != FREE
            both += int((predicted & occupied & seen).sum())
            either += int(((predicted | occupied) & seen).sum())
        return {"val_reconstruction_iou": both / max(either, 1)}


class TransformerStage:
    """Stage 2: the next frame's codes, teacher-forced, over windows of cached codes."""

    name = "transformer"

    def __init__(
        self, model: OccWorld, config: TransformerConfig, train: SessionWindows, val: SessionWindows, seed: int
    ) -> None:
        self.model, self.config, self.seed = model, config, seed
        self.train, self.val = train, val
        self.module: nn.Module = nn.ModuleList([model.transformer, model.pose_encoder, model.pose_decoder])
        for parameter in model.vae.parameters():
            parameter.requires_grad_(False)
        self.codes: dict[tuple[str, int, int], Tensor] = {}
        for windows in (train, val):
            for window in windows.windows:
                self.encode(windows.sessions[window.session], window.frames, windows.shift(window))
        self.validation = evenly(len(val), config.validation_samples)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass

    @torch.no_grad()
    def encode(self, session: PooledSession, frames: Sequence[int], up: int) -> None:
        """Compute the code indices (h, w) int32 of frames moved up by `up` levels, where they are not known yet."""
        new = [n for n in frames if (session.name, n, up) not in self.codes]
        if new:
            volumes = np.stack([shift_levels(session.semantics(n), up, FREE) for n in new])
            indices = self.model.vae.vqvae.encode_indices(self.model.vae.encode(torch.from_numpy(volumes)))
            self.codes |= {(session.name, n, up): i for n, i in zip(new, indices.to(torch.int32), strict=True)}

    def losses(self, windows: SessionWindows, chosen: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy, displacement loss and code accuracy of windows."""
        picked = [windows.windows[i] for i in chosen]
        indices = torch.stack(
            [torch.stack([self.codes[w.session, n, windows.shift(w)] for n in w.frames]) for w in picked]
        ).long()
        motion = [windows.motion(w) for w in picked]
        rel_poses, modes = torch.stack([m[0] for m in motion]), torch.stack([m[1] for m in motion])
        b, f = indices.shape[:2]
        with torch.no_grad():
            zq = self.model.vae.vqvae.lookup(indices[:, :-1].flatten(0, 1))
        logits, displacements = self.model(zq.reshape(b, f - 1, *zq.shape[1:]), rel_poses[:, :-1], modes[:, :-1])
        flat, target = logits.flatten(0, 1), indices[:, 1:].flatten(0, 1)
        ce = F.cross_entropy(flat, target)
        # The last frame's own displacement leads out of the window and may not exist.
        motion_term = motion_loss(displacements[:, :-1], rel_poses[:, 1:-1], modes[:, 1:-1])
        return ce, motion_term, (flat.argmax(1) == target).to(torch.float32).mean()

    def step(self, step: int) -> StepResult:
        chosen = shuffled(len(self.train), self.config.batch, step, self.seed)
        ce, motion, accuracy = self.losses(self.train, chosen)
        parts = {"ce": ce.item(), "motion": motion.item(), "code_accuracy": accuracy.item()}
        return StepResult(ce + self.config.motion * motion, parts, [self.train.describe(i) for i in chosen])

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Teacher-forced loss and code accuracy on validation windows."""
        values = [self.losses(self.val, [i]) for i in self.validation]
        ce, motion, accuracy = (float(np.mean([v[k].item() for v in values])) for k in range(3))
        return {"val_ce": ce, "val_motion": motion, "val_code_accuracy": accuracy}

"""Stages vqvae and adapt: single frames through encoder, codebook and decoder (tall grids: and height adapter)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aerialworld_core.errors import InputError
from aerialworld_core.labels import FREE
from aerialworld_training.binary_losses import BinaryLossWeights, binary_losses, occupied_logit
from aerialworld_training.codebook import restart_dead_codes, start_codebook
from aerialworld_training.dataset.windows import evenly
from aerialworld_training.losses import chunked_cross_entropy, lovasz_softmax
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.models.occworld.recompute import recompute
from aerialworld_training.runconfig import RunConfig
from aerialworld_training.running import coding, data
from aerialworld_training.running.order import EpochOrder, mixed
from aerialworld_training.running.ranks import Ranks
from aerialworld_training.voxels import sample_voxels

#: Frames that the codebook's k-means sees.
START_FRAMES = 12


@dataclass(frozen=True)
class StepResult:
    """The loss that is minimised, its parts, and the samples that made it, in words."""

    loss: Tensor
    parts: dict[str, Tensor | float]
    samples: list[str] = field(default_factory=list)


class AutoencodingStage:
    """Every sample has a loss of its own and the batch their mean, so that it does not matter how they are dealt to
    micro-steps and processes."""

    def __init__(self, model: OccWorld, config: RunConfig, ranks: Ranks) -> None:
        self.model, self.config, self.ranks, self.device = model, config, ranks, ranks.device
        windows = data.windows(config, "train")
        self.content = data.content(windows)
        frames = [w.single_frames() for w in windows]
        self.frames, weights = data.joined(config, frames)
        self.validation, _ = data.joined(config, [w.single_frames() for w in data.windows(config, "val")])
        self.order = EpochOrder(
            len(self.frames), config.runtime.seed, config.data.batch_size, ranks.world, config.optimizer.accumulate,
            weights,
        )  # fmt: skip
        self.total = config.epochs * self.order.iterations
        self.start = self.codebook_start()
        self.depth, self.n_e = len(model.quantizer.tables), model.config.n_e
        self.counts, self.usage = self.no_usage(), self.no_usage()
        self.used = [0] * self.depth
        self.newest: Tensor | None = None

    def codebook_start(self) -> int:
        """The iteration that codebook.start means. Raises InputError where the run ends before."""
        start = self.config.codebook.start
        at = round(start * self.total) if start < 1 else int(start)
        if at >= self.total and start > 0:
            raise InputError(
                f"codebook.start {start:g} is the iteration {at}, and the run has {self.total}: nothing would be "
                "quantised. Lower it (below 1 it is a share of the run), or train longer (epochs)"
            )
        return at

    def is_whole(self, iteration: int) -> bool:
        """Whether a model of so many finished iterations has codes: only then is it of use to stage occworld."""
        return iteration > self.start or self.start == 0

    def micro_batches(self, epoch: int, first: int) -> Iterator[list[Any]]:
        drawn = data.Drawn(self.frames)
        return data.micro_batches(drawn, self.order, epoch, first, self.ranks.rank, self.config.data.workers)

    def no_usage(self) -> Tensor:
        """Counts of every code, depth after depth: (depth · n_e,) int64."""
        return torch.zeros(self.depth * self.n_e, dtype=torch.int64, device=self.device)

    def counted(self, indices: Tensor) -> Tensor:
        """How often indices (N, h, w) or (N, depth, h, w) use each code."""
        deep = indices.reshape(len(indices), self.depth, -1)
        first = self.n_e * torch.arange(self.depth, device=indices.device)
        return torch.bincount((deep + first[:, None]).reshape(-1), minlength=self.depth * self.n_e)

    def in_use(self, usage: Tensor) -> list[int]:
        """Codes with any use, by depth."""
        return [int(n) for n in (usage > 0).view(self.depth, -1).sum(1)]

    def state(self) -> dict[str, Any]:
        return {"usage": self.usage.cpu(), "used": self.used[0] if self.depth == 1 else list(self.used)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.usage.copy_(state["usage"])
        self.used = [int(state["used"])] if self.depth == 1 else [int(n) for n in state["used"]]

    # --- an iteration ---

    def begin(self, iteration: int) -> None:
        """Before the first micro-step."""
        self.counts.zero_()
        if iteration != self.start:
            return
        if iteration > 0:
            self.start_codebook(iteration)
        elif any(not (table != 0).any() for table in self.model.quantizer.tables):
            # Codes that are all alike would stay so: the nearest is always the first, and it alone would learn.
            self.start_codebook(iteration, first=1)

    def end(self, iteration: int) -> None:
        """After the last micro-step's gradients: usage, and codes that nothing used."""
        since, codebook = iteration - self.start, self.config.codebook
        if since < 0:
            return
        # At every iteration, so that what one process keeps in a checkpoint is true of all.
        self.usage += self.ranks.sum(self.counts)
        every = codebook.restart_every or self.config.log.interval
        if since % every != every - 1:
            return
        self.used = self.in_use(self.usage)
        if codebook.restart_every and iteration < self.total * 2 // 3 and self.newest is not None:
            generator = torch.Generator().manual_seed(mixed(self.config.runtime.seed, iteration, 2))
            restart_dead_codes(self.model.quantizer, self.newest, self.usage, generator)
            self.ranks.broadcast([table.data for table in self.model.quantizer.tables])
        self.usage.zero_()

    @torch.no_grad()
    def start_codebook(self, iteration: int, first: int = 0) -> None:
        """By k-means on training frames, from depth `first` on."""
        generator = torch.Generator().manual_seed(mixed(self.config.runtime.seed, iteration, 1))
        chosen = torch.randperm(len(self.frames), generator=generator)[:START_FRAMES].sort().values.tolist()
        z = [self.latent(data.unpacked(self.config, self.frames[i], self.device)) for i in chosen]
        start_codebook(self.model.quantizer, torch.cat(z), generator, first=first)
        self.ranks.broadcast([table.data for table in self.model.quantizer.tables])

    def latent(self, *samples: data.Sample) -> Tensor:
        """Encoder outputs (N, e_dim, h, w) float32 of dense samples of one frame, as the quantiser compares them."""
        semantics = torch.cat([s["history_semantics"] for s in samples])
        observed = torch.cat([s["history_observed"] for s in samples]).bool()
        z = coding.encode(self.model, semantics, observed)
        return self.model.vae.vqvae.quant_conv(z).float()

    def step(self, batch: list[Any], iteration: int) -> StepResult:
        config = self.config
        clean, seen = [], []
        for draw, sample in batch:
            dense = data.unpacked(config, sample, self.device)
            clean.append(data.turned(config.augment, dense, draw.generator(1)))
            seen.append(data.noisy(config.augment, clean[-1], draw.generator(2)))
        z = self.latent(*seen)
        if iteration < self.start:
            zq, embed = z, z.new_zeros(())
        else:
            with torch.autocast(self.device.type, enabled=False):  # codes that lie close are told apart
                zq, embed, indices = self.model.quantizer.quantize(z)
            self.counts += self.counted(indices)
            self.newest = z.detach()
        features = coding.decode(self.model, zq)
        parts: dict[str, Tensor | float] = {"embed": embed.detach(), **coding.by_depth("codes_used", self.used)}
        loss = config.loss.embed * embed
        one = self.binary if config.loss.kind == "binary" else self.classes
        for (draw, _), sample, feature in zip(batch, clean, features, strict=True):
            semantics, observed = sample["history_semantics"][0], sample["history_observed"][0].bool()
            value, of_sample = one(feature.float(), semantics, observed, draw.generator(3, self.device))
            loss = loss + value / len(batch)
            for name, part in of_sample.items():
                parts[name] = parts.get(name, 0.0) + part.detach() / len(batch)
        return StepResult(loss, parts, [data.described(sample) for _, sample in batch])

    def classes(
        self, features: Tensor, semantics: Tensor, observed: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """OccWorld's losses on a frame's surfaces and a sample of its open space; features (X, Y, Z, e)."""
        weights, vae = self.config.loss, self.model.vae
        rows, weight = sample_voxels(semantics, observed, weights.free_samples, weights.occupied_weight, generator)
        chosen = features.reshape(-1, features.shape[-1]).index_select(0, rows)
        target = semantics.reshape(-1)[rows].long()
        ce = chunked_cross_entropy(vae.classify, (chosen,), target, weight)
        loss, parts = weights.recon * ce, {"ce": ce}
        if weights.lovasz > 0:
            parts["lovasz"] = lovasz_softmax(vae.classify(chosen).float().softmax(-1), target)
            loss = loss + weights.lovasz * parts["lovasz"]
        with torch.no_grad():
            occupied = torch.cat([vae.classify(part).argmax(1) != FREE for part in chosen.split(1 << 18)])
            share = weight / torch.where(target != FREE, weights.occupied_weight, 1.0)
            parts["predicted_occupied"] = (occupied * share).sum() / share.sum()
            parts["true_occupied"] = ((target != FREE) * share).sum() / share.sum()
        return loss, parts

    def binary(
        self, features: Tensor, semantics: Tensor, observed: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The guides' losses on every known voxel of a frame; features (X, Y, Z, e)."""
        weights, vae = self.config.loss, self.model.vae
        flat = features.reshape(-1, features.shape[-1])

        def logit(part: Tensor) -> Tensor:
            return occupied_logit(vae.classify(part), FREE)

        logits = torch.cat([recompute(True, logit, part) for part in flat.split(1 << 18)])
        target, known = (semantics != FREE).flatten(), observed.flatten()
        loss, parts = binary_losses(
            logits, target, known,
            BinaryLossWeights(
                weights.focal, weights.focal_alpha, weights.focal_gamma, weights.dice, weights.mean_matching
            ),
        )  # fmt: skip
        with torch.no_grad():
            count = known.sum().clamp(min=1)
            parts["predicted_occupied"] = ((logits > 0) & known).sum() / count
            parts["true_occupied"] = (target & known).sum() / count
        return loss, parts

    # --- scores ---

    @torch.no_grad()
    def validate(self, iteration: int) -> dict[str, float]:
        """Reconstruction IoU of occupied voxels among the observed, over validation frames; before the codebook's start
        of what the decoder makes of latents that are not quantised."""
        overlap, usage = coding.Overlap(self.config.data.grid, self.device), self.no_usage()
        chosen = evenly(len(self.validation), self.config.evaluation.samples)
        for n in chosen[self.ranks.rank :: self.ranks.world]:
            dense = data.unpacked(self.config, self.validation[n], self.device)
            zq = self.latent(dense)
            if self.is_whole(iteration):
                zq, _, indices = self.model.quantizer.quantize(zq)
                usage += self.counted(indices)
            truth = dense["history_semantics"] != FREE
            overlap.add(coding.occupied_of(self.model, zq), truth, dense["history_observed"].bool())
        self.ranks.wait()  # a frame more or less takes long on large grids
        overlap.counts, usage = self.ranks.sum(overlap.counts), self.ranks.sum(usage)
        return {**overlap.scores("val_"), **coding.by_depth("val_codes_used", self.in_use(usage))}

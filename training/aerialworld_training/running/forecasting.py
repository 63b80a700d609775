"""Stage occworld: the next frame's codes, teacher-forced, over windows of codes that were computed once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from aerialworld_core.labels import FREE
from aerialworld_training.dataset.windows import evenly
from aerialworld_training.losses import chunked_cross_entropy, motion_loss
from aerialworld_training.models.aerial import AerialOccWorld, states
from aerialworld_training.models.aerial.config import MOST_DEPTH
from aerialworld_training.models.aerial.motion import UP, turn_of
from aerialworld_training.models.aerial.warp import fuse_history
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.runconfig import RunConfig
from aerialworld_training.running import coding, data
from aerialworld_training.running.autoencoding import StepResult
from aerialworld_training.running.codes import WindowCodes, prepare
from aerialworld_training.running.order import Draw, EpochOrder
from aerialworld_training.running.ranks import Ranks
from aerialworld_training.running.weights import first_command
from aerialworld_training.runtime import StopRequest
from aerialworld_training.voxels import sample_voxels

#: A reconstruction below this makes the codes the limit of every forecast.
CEILING = 0.90
log = logging.getLogger(__name__)


def code_losses(logits: Tensor, codes: Tensor) -> tuple[Tensor, dict[str, Tensor | float]]:
    """Cross-entropy () of code logits (M, n_e, h, w) for codes (M, h, w), and what there is to tell of it. With an axis
    of depth after M it is the mean over depths: each counts as much, and the loss keeps its scale."""
    if logits.ndim == 4:
        logits, codes = logits[:, None], codes[:, None]
    deep = [(logits[:, k].float(), codes[:, k]) for k in range(codes.shape[1])]
    losses = [F.cross_entropy(x, target) for x, target in deep]
    likeliest = [x.detach().argmax(1) for x, _ in deep]
    accuracy = [(best == target).float().mean() for best, (_, target) in zip(likeliest, deep, strict=True)]
    parts: dict[str, Tensor | float] = {
        **coding.by_depth("code_accuracy", accuracy),
        "codes_predicted": float(len(likeliest[0].unique())),
        "codes_true": float(len(codes[:, 0].unique())),
    }
    if len(deep) == 1:
        return losses[0], parts
    parts |= coding.by_depth("ce_of_depth", [loss.detach() for loss in losses])
    return torch.stack(losses).mean(), parts


class CodesAndVoxels(Dataset[tuple[Draw, dict[str, Any], dict[str, Any] | None]]):
    """Windows of several data sets by draw: codes, and the packed voxels where a loss decodes."""

    def __init__(self, codes: Sequence[WindowCodes], voxels: bool) -> None:
        self.codes, self.voxels = list(codes), voxels
        self.starts = [0]
        for part in codes:
            self.starts.append(self.starts[-1] + len(part))

    def __len__(self) -> int:
        return self.starts[-1]

    def find(self, index: int) -> tuple[WindowCodes, int]:
        part = next(k for k in range(len(self.codes)) if index < self.starts[k + 1])
        return self.codes[part], index - self.starts[part]

    def __getitem__(self, draw: Draw) -> tuple[Draw, dict[str, Any], dict[str, Any] | None]:
        codes, index = self.find(draw.sample)
        voxels = codes.dataset.read(codes.dataset.frame_index[index]) if self.voxels else None
        return draw, codes.drawn(draw, index), voxels


class ForecastingStage:
    """Cross-entropy of codes, displacement, climb and turn, and with loss.voxels one decoded frame per window."""

    def __init__(
        self,
        model: OccWorld,
        config: RunConfig,
        ranks: Ranks,
        work_dir: Path,
        tell: Callable[[str], None],
        stop: StopRequest,
    ) -> None:
        self.model, self.config, self.ranks, self.device = model, config, ranks, ranks.device
        train, val = data.windows(config, "train"), data.windows(config, "val")
        self.content = data.content(train)
        tell("ceiling of the codes")
        self.ceiling = self.check_ceiling(val)
        folder = work_dir / "codes"
        self.codes = prepare(model, config, train, folder, config.augment.copies, ranks, tell, stop)
        self.validation = CodesAndVoxels(prepare(model, config, val, folder, 1, ranks, tell, stop), True)
        self.windows = CodesAndVoxels(self.codes, config.loss.voxels > 0)
        _, weights = data.joined(config, train)
        self.order = EpochOrder(
            len(self.windows), config.runtime.seed, config.data.batch_size, ranks.world, config.optimizer.accumulate,
            weights,
        )  # fmt: skip

    def check_ceiling(self, validation: Sequence[Any]) -> dict[str, float]:
        """Reconstruction IoU of real validation frames: no forecast from codes can be better."""
        frames, _ = data.joined(self.config, [w.single_frames() for w in validation])
        overlap = coding.Overlap(self.config.data.grid, self.device)
        chosen = evenly(len(frames), self.config.evaluation.samples)
        self.model.eval()
        for n in chosen[self.ranks.rank :: self.ranks.world]:
            dense = data.unpacked(self.config, frames[n], self.device)
            semantics, observed = dense["history_semantics"], dense["history_observed"].bool()
            zq = self.model.quantizer.lookup(coding.indices_of(self.model, semantics, observed))
            overlap.add(coding.occupied_of(self.model, zq), semantics != FREE, observed)
        self.ranks.wait()
        overlap.counts = self.ranks.sum(overlap.counts)
        scores = overlap.scores("ceiling_")
        bands = ", ".join(f"{k.removeprefix('ceiling_iou_')} {v:.3f}" for k, v in scores.items() if k != "ceiling_iou")
        if self.ranks.first:
            told = "ceiling: the codes reconstruct %d validation frames at IoU %.3f (%s)"
            log.info(told, len(chosen), scores["ceiling_iou"], bands)
            if scores["ceiling_iou"] < CEILING:
                past = isinstance(self.model, AerialOccWorld) and self.config.model.from_past
                limited = "what a forecast adds to the moved past" if past else "every forecast"
                told = "the ceiling %.3f is below %.2f: codes limit %s. %s"
                log.warning(told, scores["ceiling_iou"], CEILING, limited, self.way_up())
        return scores

    def way_up(self) -> str:
        """What raises the ceiling, in words."""
        depth = self.config.model.code_depth
        longer = "Train the VAE longer, or with more codes (model.n_e)"
        if not isinstance(self.model, AerialOccWorld) or depth >= MOST_DEPTH:
            return longer
        return (
            "Residual codes (model.code_depth) say what the codes so far leave. "
            f"{first_command(self.config, depth + 1)}. Or: {longer[0].lower()}{longer[1:]}"
        )

    def micro_batches(self, epoch: int, first: int) -> Iterator[list[Any]]:
        # Codes are read faster here than handed over by a worker.
        workers = self.config.data.workers if self.windows.voxels else 0
        return data.micro_batches(self.windows, self.order, epoch, first, self.ranks.rank, workers)

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass

    def is_whole(self, iteration: int) -> bool:
        return True

    def begin(self, iteration: int) -> None:
        pass

    def end(self, iteration: int) -> None:
        pass

    def step(self, batch: list[Any], iteration: int) -> StepResult:
        weights, samples = self.config.loss, [sample for _, sample, _ in batch]
        indices = torch.stack([s["codes"] for s in samples]).to(self.device).long()
        rel, modes, ego = (torch.stack([s[k] for s in samples]).to(self.device) for k in ("rel_poses", "modes", "ego"))
        with torch.no_grad():
            zq = self.model.quantizer.lookup(indices[:, :-1].flatten(0, 1)).unflatten(0, (len(batch), -1))
        codes = indices[:, 1:]
        features, logits, displacements, turns = self.predict(zq, rel[:, :-1], modes[:, :-1], ego[:, :-1], codes)
        ce, by_code = code_losses(logits.flatten(0, 1), codes.flatten(0, 1))
        # The last frame's own motion leads out of the window.
        motion = motion_loss(displacements[:, :-1].float(), rel[:, 1:-1], modes[:, 1:-1])
        loss = weights.codes * ce + weights.pose * motion
        parts: dict[str, Tensor | float] = {"ce": ce.detach(), "motion": motion.detach(), **by_code}
        if turns is not None:
            truth = torch.stack([ego[..., UP], turn_of(ego)], -1)
            climb_turn = motion_loss(turns[:, :-1].float(), truth[:, 1:-1], modes[:, 1:-1])
            loss = loss + weights.pose * climb_turn
            parts["climb_turn"] = climb_turn.detach()
        if weights.voxels > 0:
            decoded = [
                self.voxel_loss(draw, sample, packed, logits[k], None if features is None else features[k], ego[k])
                for k, (draw, sample, packed) in enumerate(batch)
            ]
            voxels = torch.stack(decoded).mean()
            loss = loss + weights.voxels * voxels
            parts["voxels"] = voxels.detach()
        return StepResult(loss, parts, [data.described(s) for s in samples])

    def predict(
        self, zq: Tensor, rel: Tensor, modes: Tensor, ego: Tensor, codes: Tensor
    ) -> tuple[Tensor | None, Tensor, Tensor, Tensor | None]:
        """Features, code logits with the true codes of the shallower depths, displacements, and climb and turn; None
        for what the model does not have."""
        if isinstance(self.model, AerialOccWorld):
            features, displacements, turns = self.model.features(zq, rel, modes, ego)
            return features, self.model.code_logits(features, codes), displacements, turns
        return (None, *self.model(zq, rel, modes), None)

    def voxel_loss(
        self, draw: Draw, sample: data.Sample, packed: data.Sample, logits: Tensor, features: Tensor | None, ego: Tensor
    ) -> Tensor:
        """CE of one future frame, drawn by the sample's seed: its codes in expectation, decoded, on the moved past
        where the model has it; logits (F − 1, [depth,] n_e, h, w), features (F − 1, C, h, w), ego (F, 8)."""
        config, model, history = self.config, self.model, self.config.data.history_frames
        t = history + int(torch.randint(len(ego) - history, (), generator=draw.generator(4)))
        dense = data.unpacked(config, data.some_frames(packed, [*range(history), t]), self.device)
        maker = self.codes[0].maker
        dense = maker.turn(dense, sample["session"], sample["variant"])
        semantics, observed = dense["history_semantics"], dense["history_observed"].bool()
        first = logits[t - 1 : t] if logits.ndim == 4 else logits[t - 1 : t, 0]
        if isinstance(model, AerialOccWorld) and features is not None:
            # A forecast reads what it chose itself, not the truth: so do the deeper codes here.
            zq = model.soft_lookup(first, features[t - 1 : t])
        else:
            zq = model.vae.vqvae.soft_lookup(first)
        generator = draw.generator(5, self.device)
        truth = semantics[history]
        rows, weight = sample_voxels(
            truth, observed[history], config.loss.free_samples, config.loss.occupied_weight, generator
        )
        target = truth.flatten()[rows].long()
        if not (isinstance(model, AerialOccWorld) and config.model.from_past):
            features = coding.decode(model, zq).flatten(0, 3).index_select(0, rows)
            return chunked_cross_entropy(model.vae.classify, (features.float(),), target, weight)
        poses = sample["planar"].to(self.device)
        seen = states(semantics[:history], observed[:history])
        samples = fuse_history(config.data.grid, seen, poses[:history], poses[t : t + 1], config.model.warp_samples)[0]
        context = model.context(
            poses[history - 1 : history], poses[t : t + 1], ego[history - 1 : history], t - history + 1
        )
        middle = samples[len(samples) // 2 : len(samples) // 2 + 1]
        hints = model.hints(middle)
        features = model.correct(zq, middle, hints, context).flatten(0, 3).index_select(0, rows)
        votes, beside = samples.flatten(1).T[rows], hints.flatten()[rows]
        return chunked_cross_entropy(model.classify, (features.float(), votes, beside), target, weight)

    # --- scores ---

    @torch.no_grad()
    def validate(self, iteration: int) -> dict[str, float]:
        """Teacher-forced loss, and the IoU of forecasts of whole windows from their history alone."""
        grid = self.config.data.grid
        chosen = evenly(len(self.validation), self.config.evaluation.samples)
        depth = len(self.model.quantizer.tables)
        sums = torch.zeros(depth + 2, dtype=torch.float64, device=self.device)
        overlap = coding.Overlap(grid, self.device)
        for n in chosen[self.ranks.rank :: self.ranks.world]:
            _, sample, packed = self.validation[Draw(n, 0, 0, 0)]
            assert packed is not None
            ce, *accuracy = self.teacher_forced(sample)
            sums += torch.tensor([ce, *accuracy, 1.0], dtype=torch.float64, device=self.device)
            dense = data.unpacked(self.config, packed, self.device)
            semantics, observed = dense["history_semantics"], dense["history_observed"].bool()
            history = self.config.data.history_frames
            predicted = self.forecast(sample, semantics[:history], observed[:history])
            overlap.add(predicted, semantics[history:] != FREE, observed[history:])
        self.ranks.wait()  # one forecast more or less takes long on large grids
        overlap.counts, sums = self.ranks.sum(overlap.counts), self.ranks.sum(sums)
        ce, *accuracy = (sums[:-1] / sums[-1].clamp(min=1)).tolist()
        return {**overlap.scores("val_"), "val_ce": ce, **coding.by_depth("val_code_accuracy", accuracy)}

    def teacher_forced(self, sample: data.Sample) -> list[float]:
        """Cross-entropy, and the share of right codes at each depth."""
        indices = sample["codes"][None].to(self.device).long()
        rel, modes, ego = (sample[k][None].to(self.device) for k in ("rel_poses", "modes", "ego"))
        zq = self.model.quantizer.lookup(indices[0, :-1])[None]
        logits = self.predict(zq, rel[:, :-1], modes[:, :-1], ego[:, :-1], indices[:, 1:])[1]
        ce, parts = code_losses(logits[0], indices[0, 1:])
        return [float(ce), *(float(v) for k, v in parts.items() if k.startswith("code_accuracy"))]

    def forecast(self, sample: data.Sample, semantics: Tensor, observed: Tensor) -> Tensor:
        """Occupied voxels (T, X, Y, Z) bool of the future of a window, from its history (H, X, Y, Z); the motion ahead
        is the model's own."""
        history, steps = len(semantics), self.config.data.future_frames
        rel, modes, ego = (sample[k][None, :history].to(self.device) for k in ("rel_poses", "modes", "ego"))
        model = self.model
        if isinstance(model, AerialOccWorld):
            out = model.forecast(
                states(semantics, observed)[None], sample["planar"][None, :history].to(self.device), rel[:, :-1], modes,
                ego, steps, from_past=self.config.model.from_past,
                indices=sample["codes"][None, :history].to(self.device).long(),
            )  # fmt: skip
            return out.classes[0] != FREE
        zq = model.vae.vqvae.lookup(sample["codes"][:history].to(self.device).long())[None]
        rel = model.complete_motion(zq, rel[:, :-1], modes)
        rolled = model.rollout(zq, rel, modes, modes[:, -1:].expand(-1, steps, -1))
        return torch.cat([coding.occupied_of(model, model.vae.vqvae.lookup(i[None])) for i in rolled.indices[0]])

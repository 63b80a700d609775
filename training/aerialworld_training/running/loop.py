"""The loop of a run: epochs of iterations, each forward, backward, clip, step; log, validate, keep, stop when asked."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from aerialworld_training.logbook import Curve
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.runconfig import RunConfig
from aerialworld_training.running import freezing
from aerialworld_training.running.autoencoding import StepResult
from aerialworld_training.running.files import RunFiles
from aerialworld_training.running.order import EpochOrder
from aerialworld_training.running.random_state import random_state, set_random_state
from aerialworld_training.running.ranks import Ranks
from aerialworld_training.running.schedule import learning_rate, make_optimizer
from aerialworld_training.runtime import Interrupted, StopRequest, TrainingError

FORMAT = 1
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
#: Below this share of the true occupied voxels a prediction has collapsed to free.
COLLAPSE = 0.01
#: Below this share of the codebook in use it has collapsed.
FEW_CODES = 0.1
log = logging.getLogger(__name__)


class Stage(Protocol):
    """What the loop needs of a stage."""

    order: EpochOrder
    content: str

    def micro_batches(self, epoch: int, first: int) -> Iterator[list[Any]]: ...
    def begin(self, iteration: int) -> None: ...
    def step(self, batch: list[Any], iteration: int) -> StepResult: ...
    def end(self, iteration: int) -> None: ...
    def validate(self, iteration: int) -> dict[str, float]: ...
    def is_whole(self, iteration: int) -> bool: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: dict[str, Any]) -> None: ...


class Scalars(Protocol):
    def add(self, stage: str, run_step: int, values: dict[str, float]) -> None: ...


class Loop:
    """Runs a stage from where it stands to its last epoch. `epoch` and `iteration` count what is finished."""

    def __init__(
        self,
        model: OccWorld,
        stage: Stage,
        config: RunConfig,
        ranks: Ranks,
        files: RunFiles,
        stop: StopRequest,
        payload: dict[str, Any],
        tell: Callable[[str, float], None],
    ) -> None:
        """`payload` is what every checkpoint holds besides the loop's own; `tell` hears of every iteration."""
        self.model, self.stage, self.config, self.ranks = model, stage, config, ranks
        self.files, self.stop, self.payload, self.tell, self.told = files, stop, payload, tell, ""
        freezing.apply_ever(model, config)
        self.optimizer = make_optimizer(model, config.optimizer)
        self.device = ranks.device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.runtime.precision == "fp16")
        self.per_epoch = stage.order.iterations
        self.total = config.epochs * self.per_epoch
        self.iteration, self.nonfinite, self.best = 0, 0, -1.0
        self.metrics: dict[str, float] = {}
        self.curve: Curve | None = None
        self.sinks: list[Scalars] = []

    # --- checkpoints ---

    def checkpoint(self) -> dict[str, Any]:
        """All that going on needs; tensors and plain values."""
        epoch, within = divmod(self.iteration, self.per_epoch)
        order = self.stage.order
        sampler = {"epoch": epoch, "iteration": within, "samples": order.count, "together": order.together}
        return {
            **self.payload,
            "format": FORMAT,
            "stage": self.config.stage,
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": {"iteration": self.iteration, "total": self.total},
            "scaler": self.scaler.state_dict(),
            "rng": random_state(),
            "sampler": {**sampler, "content": self.stage.content},
            "stage_state": self.stage.state(),
            "epoch": epoch,
            "iteration": self.iteration,
            "nonfinite": self.nonfinite,
            "best": self.best,
            "metrics": self.metrics,
        }

    def load(self, data: dict[str, Any], source: str) -> None:
        """Go on from a checkpoint whose weights the model has. Raises InputError (by the caller's check) never; raises
        TrainingError when the samples or the batch are others, which would not be the same run."""
        order, sampler = self.stage.order, data["sampler"]
        if sampler["samples"] != order.count or sampler["together"] != order.together:
            raise TrainingError(
                f"{source}: was made with {sampler['samples']} samples, {sampler['together']} per iteration over all "
                f"processes, not {order.count} and {order.together}; resume with the same data and the same product of "
                "data.batch_size, optimizer.accumulate and processes"
            )
        if sampler["content"] != self.stage.content:
            raise TrainingError(
                f"{source}: was made with other sessions, or they were recorded anew; resume with the same ones, or "
                "start from its weights with checkpoint.load_from in another --work-dir"
            )
        self.optimizer.load_state_dict(data["optimizer"])
        self.scaler.load_state_dict(data["scaler"])
        self.stage.load_state(data["stage_state"])
        set_random_state(data["rng"])
        self.iteration, self.nonfinite = int(data["iteration"]), int(data["nonfinite"])
        self.best, self.metrics = float(data["best"]), dict(data["metrics"])

    def save(self, *, epoch: int | None = None, best: bool = False) -> None:
        if self.ranks.first:
            self.files.save(self.checkpoint(), epoch=epoch, best=best)
        self.ranks.wait()

    # --- the loop ---

    def run(self) -> dict[str, float]:
        """Train to the end; returns the last scores. Raises TrainingError, Interrupted after a signal (with a
        checkpoint written)."""
        while self.iteration < self.total:
            epoch, first = divmod(self.iteration, self.per_epoch)
            freezing.apply(self.model, self.config, epoch + 1)
            parameters = freezing.parameters_that_train(self.model)
            if not parameters:
                raise TrainingError(f"epoch {epoch + 1}: nothing trains; see freeze.* of the config")
            self.model.train()
            batches = self.stage.micro_batches(epoch, first)
            for _ in range(first, self.per_epoch):
                self.iterate(batches, parameters)
                ended = self.iteration % self.per_epoch == 0
                every = self.config.checkpoint.iterations
                if not ended and every and self.iteration % every == 0:
                    self.save()
                if not ended:
                    self.stop_if_asked(save=True)
            self.end_epoch(epoch + 1)
        return self.metrics

    def iterate(self, batches: Iterator[list[Any]], parameters: list[torch.nn.Parameter]) -> None:
        config, n = self.config, self.iteration
        rate = learning_rate(config.optimizer.lr, config.schedule, n, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.optimizer.zero_grad(set_to_none=True)
        self.stage.begin(n)
        precision, count = PRECISIONS[config.runtime.precision], config.optimizer.accumulate
        bad: list[str] = []
        seen: list[str] = []
        loss_sum, parts = torch.zeros((), device=self.device), dict[str, Tensor | float]()
        for _ in range(count):
            batch = next(batches)
            with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
                result = self.stage.step(batch, n)
            seen += result.samples
            if not bool(torch.isfinite(result.loss)):
                bad += result.samples
                continue
            self.scaler.scale(result.loss / count).backward()
            loss_sum += result.loss.detach() / count
            for name, value in result.parts.items():
                parts[name] = parts.get(name, 0.0) + value / count
        if self.ranks.largest(int(bool(bad))):
            self.skip(bad, "loss")
            return
        self.ranks.average_gradients(parameters)
        self.scaler.unscale_(self.optimizer)
        with_gradient = [p for p in parameters if p.grad is not None]
        norm = float(torch.nn.utils.clip_grad_norm_(with_gradient, config.optimizer.clip))
        # After the exchange all processes have the same gradients, so they decide alike. With fp16 an overflow is a
        # matter of the scale, which the scaler lowers (leaving the step out), until that cannot be the cause.
        if not math.isfinite(norm) and (not self.scaler.is_enabled() or self.scaler.get_scale() < 1):
            if self.scaler.is_enabled():
                self.scaler.update()
            self.skip(seen, "gradient")
            return
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.stage.end(n)
        self.iteration = n + 1
        self.tell(f"epoch {n // self.per_epoch + 1}/{config.epochs}{self.told}", self.iteration / self.total)
        if self.iteration % config.log.interval == 0 or n == 0:
            loss = float(self.ranks.sum(loss_sum) / self.ranks.world)
            values = {"loss": loss, **{k: float(v) for k, v in parts.items()}, "lr": rate}
            if self.scaler.is_enabled():
                values["scale"] = self.scaler.get_scale()
            self.report({**values, "grad_norm": norm} if math.isfinite(norm) else values)

    def skip(self, samples: list[str], what: str) -> None:
        """Leave an iteration out on all processes; stop when there were too many."""
        self.optimizer.zero_grad(set_to_none=True)
        self.nonfinite += 1
        self.iteration += 1
        limit = self.config.runtime.max_nonfinite
        told = f"iteration {self.iteration}: the {what} is not finite"
        if samples:
            told += f" on {'; '.join(samples)}"
        log.warning("%s; skipped, the %d. of at most %d", told, self.nonfinite, limit)
        if self.nonfinite > limit:
            raise TrainingError(
                f"{told}; stopped after {self.nonfinite} such iterations (runtime.max_nonfinite). Check these frames "
                "(aerialworld session validate) or lower optimizer.lr, then resume"
            )

    def end_epoch(self, epoch: int) -> None:
        config = self.config
        best = False
        if epoch % config.evaluation.interval == 0 or epoch == config.epochs:
            self.tell("validating", self.iteration / self.total)
            self.model.eval()
            self.metrics = self.stage.validate(self.iteration)
            self.model.train()
            # Without codes it reconstructs better than with them, and is of no use to the next stage.
            best = self.stage.is_whole(self.iteration) and self.metrics["val_iou"] > self.best
            self.best = self.metrics["val_iou"] if best else self.best
            self.report(self.metrics)
        kept = epoch % config.checkpoint.interval == 0 or epoch == config.epochs
        self.save(epoch=epoch if kept else None, best=best)
        if epoch < config.epochs:
            self.stop_if_asked(save=False)

    def stop_if_asked(self, save: bool) -> None:
        """Processes agree at every iteration whether one of them was told to stop."""
        signum = self.ranks.largest(self.stop.signum or 0)
        if not signum:
            return
        if save:
            self.save()
        raise Interrupted(
            f"stopped after iteration {self.iteration} of {self.total}; {self.files.latest} holds all. Run the same "
            "command with --resume to go on",
            signum,
        )

    def report(self, values: dict[str, float]) -> None:
        epoch = (self.iteration - 1) // self.per_epoch + 1
        self.warn(values)
        if "loss" in values:
            self.told = f", loss {values['loss']:.4g}"
        if not self.ranks.first:
            return
        stage = self.config.stage
        if self.curve is not None:
            self.curve.add(stage=stage, epoch=epoch, run_step=self.iteration, **values)
        for sink in self.sinks:
            sink.add(stage, self.iteration, values)
        shown = ", ".join(f"{k} {v:.4g}" for k, v in values.items() if k not in ("grad_norm",))
        log.info("%s epoch %d, iteration %d/%d: %s", stage, epoch, self.iteration, self.total, shown)

    def warn(self, values: dict[str, float]) -> None:
        """Of predictions and codebooks that have collapsed."""
        if self.iteration <= self.config.schedule.warmup_iters or not self.ranks.first:
            return
        if "predicted_occupied" in values and values["predicted_occupied"] < COLLAPSE * values["true_occupied"]:
            log.warning(
                "collapse: %.2e of the voxels are predicted occupied, %.2e are; raise loss.occupied_weight or look at "
                "loss.kind", values["predicted_occupied"], values["true_occupied"],
            )  # fmt: skip
        if values.get("codes_predicted", 2.0) <= 1 < values.get("codes_true", 0.0):
            log.warning("collapse: one code is predicted for every place")
        all_codes = self.config.model.n_e
        for name, used in values.items():
            if "codes_used" in name and 0 < used < FEW_CODES * all_codes:
                told = "%d of %d codes are used (%s); see codebook.start and codebook.restart_every"
                log.warning(told, used, all_codes, name)

"""The training loop of one stage: forward, backward, clip, step; log, validate, checkpoint; stop when asked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import nn

from aerialworld_training.checkpoint import Checkpoints
from aerialworld_training.config import StageConfig
from aerialworld_training.logbook import Curve, TensorBoard
from aerialworld_training.runtime import Interrupted, StopRequest, TrainingError
from aerialworld_training.stages import StepResult


class Stage(Protocol):
    """What the loop needs of a stage."""

    name: str
    module: nn.Module

    def step(self, step: int) -> StepResult: ...
    def validate(self, step: int) -> dict[str, float]: ...
    def state(self) -> dict[str, Any]: ...
    def load_state(self, state: dict[str, Any]) -> None: ...


def learning_rate(config: StageConfig, step: int) -> float:
    """Linear warm-up from `lr_min`, then half a cosine back to it; a function of the step alone."""
    if step < config.warmup:
        return config.lr_min + (config.lr - config.lr_min) * (step + 1) / config.warmup
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.lr_min + 0.5 * (config.lr - config.lr_min) * (1 + math.cos(math.pi * done))


def make_optimizer(module: nn.Module, config: StageConfig) -> torch.optim.AdamW:
    """AdamW; norms, biases and embedding tables are not decayed."""
    tables = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    named = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in named if p.ndim > 1 and id(p) not in tables]
    rest = [p for p in named if not (p.ndim > 1 and id(p) not in tables)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr)


class Loop:
    """Runs one stage from `first` to its last step."""

    def __init__(
        self,
        stage: Stage,
        config: StageConfig,
        *,
        run_offset: int,
        curve: Curve,
        board: TensorBoard,
        checkpoints: Checkpoints,
        payload: Callable[[], dict[str, Any]],
        stop: StopRequest,
        progress: Callable[[str, int], None],
    ) -> None:
        """`run_offset` is the run step of the stage's step 0; `payload` gives what a checkpoint holds besides the
        loop's."""
        self.stage, self.config, self.run_offset = stage, config, run_offset
        self.curve, self.board, self.checkpoints = curve, board, checkpoints
        self.payload, self.stop, self.progress = payload, stop, progress
        self.optimizer = make_optimizer(stage.module, config)
        self.parameters = [p for g in self.optimizer.param_groups for p in g["params"]]

    def load(self, checkpoint: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.stage.load_state(checkpoint["stage_state"])
        torch.set_rng_state(checkpoint["rng"])

    def save(self, done: int) -> None:
        """Checkpoint after `done` steps of this stage."""
        self.checkpoints.save(
            self.run_offset + done,
            {
                **self.payload(),
                "stage": self.stage.name,
                "stage_step": done,
                "optimizer": self.optimizer.state_dict(),
                "stage_state": self.stage.state(),
                "rng": torch.get_rng_state(),
            },
        )

    def run(self, first: int) -> None:
        """Raises TrainingError on a loss that is not finite, Interrupted after a signal (with a checkpoint written)."""
        config = self.config
        self.stage.module.train()
        for step in range(first, config.steps):
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            self.optimizer.zero_grad(set_to_none=True)
            result = self.stage.step(step)
            loss = result.loss.item()
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{self.stage.name} step {step}: the loss is {loss} on {'; '.join(result.samples)}. "
                    f"Check these frames (aerialworld session validate) or lower {self.stage.name}.lr, then resume"
                )
            result.loss.backward()
            norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, config.clip))
            if not math.isfinite(norm):
                raise TrainingError(
                    f"{self.stage.name} step {step}: the gradient is not finite on {'; '.join(result.samples)}. "
                    f"Lower {self.stage.name}.lr, then resume"
                )
            self.optimizer.step()
            self.report(step, loss, norm, result)
            done = step + 1
            if self.stop.signum is not None or done % config.checkpoint_every == 0 or done == config.steps:
                self.save(done)
            if self.stop.signum is not None:
                raise Interrupted(
                    f"stopped after step {done} of {config.steps} of stage {self.stage.name}; a checkpoint is in "
                    f"{self.checkpoints.folder.name}/. Run the same command with --resume to go on",
                    self.stop.signum,
                )

    def report(self, step: int, loss: float, norm: float, result: StepResult) -> None:
        config, done = self.config, step + 1
        run_step = self.run_offset + done
        values = {"loss": loss, **result.parts, "grad_norm": norm, "lr": learning_rate(config, step)}
        validated = done % config.validate_every == 0 or done == config.steps
        if validated:
            self.stage.module.eval()
            values.update(self.stage.validate(step))
            self.stage.module.train()
        if validated or done % config.log_every == 0 or step == 0:
            self.curve.add(stage=self.stage.name, step=done, run_step=run_step, **values)
            self.board.add(self.stage.name, run_step, values)
        self.progress(f"{self.stage.name} {done}/{config.steps}, loss {loss:.3f}", run_step)

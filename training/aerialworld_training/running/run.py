"""A run, from a config to checkpoints: the story in one place."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from aerialworld_core.errors import InputError
from aerialworld_core.files import make_folder, write_bytes, write_json
from aerialworld_training.building import build
from aerialworld_training.logbook import Curve, TensorBoard
from aerialworld_training.models.occworld import OccWorld
from aerialworld_training.models.occworld.state_dict_adapter import from_original
from aerialworld_training.runconfig import RunConfig
from aerialworld_training.running import data, freezing, weights
from aerialworld_training.running.autoencoding import AutoencodingStage
from aerialworld_training.running.files import RunFiles
from aerialworld_training.running.forecasting import ForecastingStage
from aerialworld_training.running.loop import Loop, Scalars, Stage
from aerialworld_training.running.random_state import random_state, seed_all, set_random_state
from aerialworld_training.running.ranks import Ranks, ranks
from aerialworld_training.running.wandb import WandB
from aerialworld_training.runtime import StopRequest, deterministic

log = logging.getLogger(__name__)
#: What is being done, and the finished share of it all.
Tell = Callable[[str, float], None]


def train(
    config: RunConfig,
    work_dir: Path,
    *,
    resume: bool = False,
    from_scratch: bool = False,
    evaluate_only: bool = False,
    gpu: int | None = None,
    tell: Tell | None = None,
    stop: StopRequest | None = None,
) -> dict[str, float]:
    """Run the config's stage in `work_dir` and return its last scores.

    resume         go on from the newest checkpoint in `work_dir` if there is one; without it such a folder is refused
    from_scratch   begin without checkpoint.load_from
    evaluate_only  score the weights that training would begin with (with `resume` the newest checkpoint's), into
                   validation.json, and train nothing
    gpu            the number of the GPU; None: the first, or that of torchrun's process; the CPU where there is none
    tell           called with a text and the finished fraction, in the first process
    stop           what the caller listens to for signals; None: this run listens itself

    `work_dir` gets config.yaml, metrics.jsonl, logs/ and the checkpoints; stage occworld also codes/. The same config,
    data, machine and one thread give the same bytes, with or without interruptions. Under torchrun every process calls
    this. SIGINT, SIGTERM and SIGUSR1 write a checkpoint and raise Interrupted. Raises InputError for bad input,
    TrainingError when too many losses are not finite or another process is gone, StorageError when the disk is full.
    """
    config.check_loader()
    config = replace(config, work_dir=str(work_dir))
    device = choose_device(gpu)
    before = random_state()
    with ExitStack() as stack:
        stack.callback(set_random_state, before)
        stop = stop or stack.enter_context(StopRequest().listening())
        group = stack.enter_context(ranks(device, config.runtime.timeout))
        stack.enter_context(numerics(config, device))
        told = _nobody if tell is None or not group.first else tell
        run = Run(config, Path(work_dir), group, stop, told)
        return run.go(resume, from_scratch, evaluate_only)


def _nobody(what: str, fraction: float) -> None:
    """Tells nobody."""


def choose_device(gpu: int | None) -> torch.device:
    """Raises InputError for a GPU that is not there."""
    if gpu is None and not torch.cuda.is_available():
        return torch.device("cpu")
    index = int(os.environ.get("LOCAL_RANK", "0")) if gpu is None else gpu
    if index >= torch.cuda.device_count():
        raise InputError(f"--gpu-ids {index}: {torch.cuda.device_count()} GPUs are there")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def numerics(config: RunConfig, device: torch.device) -> Any:
    """Threads and deterministic algorithms: always on the CPU, on a GPU by runtime.deterministic."""
    torch.backends.cudnn.benchmark = config.runtime.cudnn_benchmark and not config.runtime.deterministic
    if device.type == "cuda" and not config.runtime.deterministic:
        return nullcontext()
    return deterministic(config.runtime.threads or torch.get_num_threads(), warn_only=device.type == "cuda")


class Run:
    """One run of `train` in one process."""

    def __init__(self, config: RunConfig, work_dir: Path, group: Ranks, stop: StopRequest, tell: Tell) -> None:
        self.config, self.work_dir, self.ranks, self.stop, self.tell = config, work_dir, group, stop, tell
        self.files = RunFiles(work_dir, config.checkpoint.keep)

    def go(self, resume: bool, from_scratch: bool, evaluate_only: bool) -> dict[str, float]:
        """Train, or score, in the folder; who only scores may look on while another run trains in it."""
        with self.files.held() if self.ranks.first and not evaluate_only else nullcontext():
            return self.work(resume, from_scratch, evaluate_only)

    def work(self, resume: bool, from_scratch: bool, evaluate_only: bool) -> dict[str, float]:
        config = self.config
        for note in (*freezing.notes(config), *data.notes(config)) if self.ranks.first else ():
            log.warning("%s", note)
        seed_all(config.runtime.seed)
        model = build(config)
        going_on = self.find_checkpoint(resume, from_scratch)
        config = self.config  # a warm start has put its file there
        if going_on is None:
            weights.start(model, config, from_scratch)
        else:
            weights.load_weights(model, from_original(going_on[1], going_on[0]), going_on[0])
        model.to(self.ranks.device).save_memory(config.model.save_memory)
        self.tell("reading sessions", 0.0)
        stage = self.make_stage(model)
        loop = Loop(model, stage, config, self.ranks, self.files, self.stop, self.payload(), self.tell)
        if going_on is not None:
            loop.load(going_on[1], going_on[0])
        if evaluate_only:
            model.eval()
            scores = stage.validate(loop.iteration)
            if self.ranks.first:
                make_folder(self.work_dir)
                write_json(self.work_dir / "validation.json", scores)
            return scores
        return self.fit(loop, None if going_on is None else loop.iteration)

    def find_checkpoint(self, resume: bool, from_scratch: bool) -> tuple[str, dict[str, Any]] | None:
        """What to go on from: checkpoint.resume_from, or the newest file of the work folder. Raises InputError."""
        named = self.config.checkpoint.resume_from
        if named:
            found = weights.read(Path(named))
            if not weights.is_ours(found):
                if from_scratch:
                    raise InputError(f"{named}: holds weights and no run of ours; --from-scratch would not use them")
                self.warm_start(named)
                return None
            source = named
        else:
            newest = self.files.newest() if resume else None
            if newest is None:
                if not resume and self.files.any():
                    raise InputError(
                        f"{self.work_dir}: holds checkpoints of an earlier run; use --resume or another --work-dir"
                    )
                return None
            source, found = str(newest[0]), newest[1]
            if not weights.is_ours(found):
                raise InputError(f"{source}: is no checkpoint of a run; move it out of the work folder")
        weights.check_same_run(self.config, found, source)
        return source, found

    def warm_start(self, named: str) -> None:
        """A file without a run to go on with gives its weights alone."""
        log.warning("%s: holds weights and no run of ours to resume: a warm start, from iteration 0", named)
        self.config = replace(
            self.config, checkpoint=replace(self.config.checkpoint, load_from=named, resume_from=None)
        )

    def make_stage(self, model: OccWorld) -> Stage:
        if self.config.stage == "occworld":
            return ForecastingStage(
                model, self.config, self.ranks, self.work_dir, lambda what: self.tell(what, 0.0), self.stop
            )
        return AutoencodingStage(model, self.config, self.ranks)

    def payload(self) -> dict[str, Any]:
        return {"run_config": self.config.to_yaml(), "grid": self.config.data.grid.to_dict()}

    def fit(self, loop: Loop, resumed_at: int | None) -> dict[str, float]:
        config = self.config
        with ExitStack() as stack:
            if self.ranks.first:
                write_bytes(self.work_dir / "config.yaml", config.to_yaml().encode())
                loop.curve = Curve(self.work_dir / "metrics.jsonl", resumed_at)
                sinks: Sequence[Scalars] = self.sinks(resumed_at)
                for sink in sinks:
                    stack.callback(sink.close)  # type: ignore[attr-defined]
                loop.sinks = list(sinks)
            self.ranks.wait()
            return loop.run()

    def sinks(self, resumed_at: int | None) -> list[Scalars]:
        made: list[Scalars] = []
        if self.config.log.tensorboard:
            made.append(TensorBoard(self.work_dir / "logs", (resumed_at or 0) + 1))
        if self.config.log.wandb:
            made.append(WandB(self.config))
        return made

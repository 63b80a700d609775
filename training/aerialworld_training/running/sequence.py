"""The stages of a config one after the other: each starts from the one before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aerialworld_core.errors import InputError
from aerialworld_training.runconfig import RunConfig
from aerialworld_training.running.files import RunFiles
from aerialworld_training.running.run import Tell, train
from aerialworld_training.runtime import StopRequest
from aerialworld_training.trained import STAGE_FOLDER

log = logging.getLogger(__name__)


def train_stages(
    stages: Sequence[RunConfig], work_dir: Path, *, from_scratch: bool = False, tell: Tell | None = None, **options: Any
) -> dict[str, float]:
    """`run.train` for every stage, with its `options`; returns the last one's scores.

    One stage runs in `work_dir` itself, several in `work_dir/1_adapt`, `work_dir/2_occworld`, …; each after the first
    starts from `best.pth` of the one before: its VAE (checkpoint.vqvae_from), or all of it where the first began with a
    whole model (checkpoint.load_from). With `resume` a finished stage is passed over. Raises InputError for several
    stages that are to go on from one named checkpoint, for a later one that names another file than the first, for one
    that is to be scored where the one before was never trained, and for a folder that a run of other stages has used.
    """
    named = next((c.checkpoint.resume_from for c in stages if c.checkpoint.resume_from), None)
    if named and len(stages) > 1:
        raise InputError(
            f"checkpoint.resume_from {named}: this config has {len(stages)} stages, a checkpoint is of one; go on with "
            "--resume, or begin with the file's weights by checkpoint.load_from"
        )
    first = stages[0].checkpoint
    for k, config in enumerate(stages):
        for key in ("load_from", "vqvae_from"):
            if (file := getattr(config.checkpoint, key)) not in (None, getattr(first, key)):
                raise InputError(
                    f"stages.{k}.checkpoint.{key} {file}: each stage after the first starts from the one before; run "
                    "this stage by itself to start from another file"
                )
    check_folder(work_dir, stages)
    scores: dict[str, float] = {}
    before: Path | None = None
    # One for all: what is asked while a stage ends, or between two, stops the next.
    with StopRequest().listening() as stop:
        for k, config in enumerate(stages):
            folder = stage_folder(work_dir, stages, k)
            if before is not None:
                whole = first.load_from is not None and not from_scratch
                best = str(before / "best.pth")
                if not Path(best).is_file():  # nothing was trained: evaluate_only
                    raise InputError(f"{best}: is not there for stage {config.stage} to start from; train first")
                load_from, vqvae_from = (best, None) if whole else (None, best)
                files = replace(config.checkpoint, load_from=load_from, vqvae_from=vqvae_from)
                config = replace(config, checkpoint=files)
            if len(stages) > 1:
                log.info("stage %d of %d, %s, in %s", k + 1, len(stages), config.stage, folder)
            share = _share(tell, config.stage, k, len(stages))
            scores = train(config, folder, tell=share, from_scratch=from_scratch, stop=stop, **options)
            before = folder
    return scores


def check_folder(work_dir: Path, stages: Sequence[RunConfig]) -> None:
    """Raises InputError where whoever reads the folder later could not tell the run's model from another's."""
    own = {stage_folder(work_dir, stages, k).name for k in range(len(stages))} if len(stages) > 1 else set()
    there = sorted(f.name for f in work_dir.iterdir() if STAGE_FOLDER.match(f.name)) if work_dir.is_dir() else []
    others = [name for name in there if name not in own]
    if not others and len(stages) > 1 and RunFiles(work_dir).any():
        others = ["checkpoints"]
    if others:
        raise InputError(f"{work_dir}: holds {', '.join(others)} of a run of other stages; choose another --work-dir")


def stage_folder(work_dir: Path, stages: Sequence[RunConfig], k: int) -> Path:
    """Where the k-th stage runs."""
    return work_dir if len(stages) == 1 else work_dir / f"{k + 1}_{stages[k].stage}"


def _share(tell: Tell | None, stage: str, k: int, count: int) -> Tell | None:
    """`tell` as one of `count` stages calls it."""
    if tell is None:
        return None
    return lambda what, fraction: tell(f"{stage} {what}", (k + fraction) / count)

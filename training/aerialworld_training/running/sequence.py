"""The stages of a config one after the other: each starts with the VAE of the one before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aerialworld_training.runconfig import RunConfig
from aerialworld_training.running.run import Tell, train

log = logging.getLogger(__name__)


def train_stages(
    stages: Sequence[RunConfig], work_dir: Path, *, tell: Tell | None = None, **options: Any
) -> dict[str, float]:
    """`run.train` for every stage, with its `options`; returns the last one's scores.

    One stage runs in `work_dir` itself, several in `work_dir/1_adapt`, `work_dir/2_occworld`, …; each after the first
    takes `best.pth` of the one before as its checkpoint.vqvae_from. With `resume` a finished stage is passed over.
    """
    scores: dict[str, float] = {}
    before: Path | None = None
    for k, config in enumerate(stages):
        folder = stage_folder(work_dir, stages, k)
        if before is not None:
            config = replace(config, checkpoint=replace(config.checkpoint, vqvae_from=str(before / "best.pth")))
        if len(stages) > 1:
            log.info("stage %d of %d, %s, in %s", k + 1, len(stages), config.stage, folder)
        scores = train(config, folder, tell=_share(tell, config.stage, k, len(stages)), **options)
        before = folder
    return scores


def stage_folder(work_dir: Path, stages: Sequence[RunConfig], k: int) -> Path:
    """Where the k-th stage runs."""
    return work_dir if len(stages) == 1 else work_dir / f"{k + 1}_{stages[k].stage}"


def _share(tell: Tell | None, stage: str, k: int, count: int) -> Tell | None:
    """`tell` as one of `count` stages calls it."""
    if tell is None:
        return None
    return lambda what, fraction: tell(f"{stage} {what}", (k + fraction) / count)

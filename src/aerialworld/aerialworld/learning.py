"""The training stage as the commands and the demo call it, with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aerialworld.lazy import stage
from aerialworld.progress import meter
from aerialworld_core.errors import InputError


def require_inputs(sessions: Path, split: Path) -> None:
    """Raises InputError before anything is imported or written."""
    if not sessions.is_dir():
        raise InputError(f"{sessions}: no such folder of sessions")
    if not split.is_file():
        raise InputError(f"{split}: no such split file")


def train_model(
    config: str,
    work_dir: Path,
    keys: list[str],
    *,
    resume: bool = False,
    from_scratch: bool = False,
    evaluate_only: bool = False,
    gpus: list[int] | None = None,
    level: str | None = None,
) -> dict[str, float]:
    """Train (or score) the stages of a config with `key=value` overrides; returns the last one's scores. What happens
    is logged from `level` on, by default the config's."""
    run = stage("aerialworld_training.running.command", "run_config")
    with meter("train", 1.0) as bar:
        scores: dict[str, float] = run(
            config, keys, work_dir, resume=resume, from_scratch=from_scratch, evaluate_only=evaluate_only,
            gpus=gpus or [], level=level, tell=lambda what, fraction: bar.update(fraction, what),
        )  # fmt: skip
    return scores


def evaluate_model(sessions: Path, split: Path, work_dir: Path, out: Path, **options: Any) -> dict[str, Any]:
    """Score the model in `work_dir` (or one checkpoint); writes evaluation.json and prediction_*.npz into `out`.
    `options` are those of `aerialworld_training.evaluate.evaluate`."""
    require_inputs(sessions, split)
    if not work_dir.exists():
        raise InputError(f"{work_dir}: no such training folder or checkpoint; run `aerialworld train` first")
    run = stage("aerialworld_training.evaluate", "evaluate")
    with meter("evaluate", 1.0) as bar:
        result: dict[str, Any] = run(
            sessions=sessions, split=split, work_dir=work_dir, out=out, **options,
            progress=lambda what, fraction: bar.update(fraction, what),
        )  # fmt: skip
    return result

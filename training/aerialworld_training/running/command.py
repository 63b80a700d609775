"""The command line of runs: the published guides' flags."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_training.logbook import Progress
from aerialworld_training.runconfig import load_stages, run_config_names, write_overrides
from aerialworld_training.running.run import Tell
from aerialworld_training.running.sequence import train_stages

#: The flags that stand for keys of the schema.
KEYS = {
    "sessions": "data.root", "split": "data.split_file", "batch_size": "data.batch_size", "lr": "optimizer.lr",
    "epochs": "epochs", "seed": "runtime.seed", "amp": "runtime.precision", "wandb": "log.wandb",
    "wandb_project": "log.wandb_project", "wandb_run_name": "log.wandb_name", "wandb_tags": "log.wandb_tags",
    "resume_from": "checkpoint.resume_from",
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", "--py-config", dest="config", metavar="NAME|FILE", default="demo",
        help=f"a config of the package ({', '.join(run_config_names())}), a Python or a YAML file (default: demo)",
    )  # fmt: skip
    parser.add_argument("--sessions", type=Path, metavar="DIR", help="folder of session folders (data.root)")
    parser.add_argument("--split", type=Path, metavar="FILE", help="JSON with train, val and test (data.split_file)")
    parser.add_argument("--work-dir", type=Path, required=True, help="where checkpoints, curves and logs go")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key; repeatable"
    )
    parser.add_argument("--batch-size", type=int, help="samples per process and micro-step")
    parser.add_argument("--lr", type=float, help="highest learning rate")
    parser.add_argument("--epochs", type=int, help="of every stage")
    parser.add_argument("--seed", type=int, help="random seed; the config's where it is not given")
    parser.add_argument("--resume", action="store_true", help="go on from the work folder's newest checkpoint")
    parser.add_argument(
        "--resume-from", metavar="FILE",
        help="go on from this checkpoint; one of another program's (the public OccWorld) gives its weights alone",
    )  # fmt: skip
    parser.add_argument("--from-scratch", action="store_true", help="without the config's pretrained weights")
    parser.add_argument(
        "--gpu-ids", type=int, nargs="+", metavar="N",
        help="the GPU of this process (several need torchrun, one process each)",
    )  # fmt: skip
    parser.add_argument("--amp", nargs="?", const="bf16", choices=("bf16", "fp16"), help="mixed precision (bf16)")
    parser.add_argument("--eval-only", action="store_true", help="score and train nothing; writes validation.json")
    parser.add_argument("--wandb", action="store_true", help="also to Weights & Biases (off by default)")
    parser.add_argument("--wandb-project", help="its project there")
    parser.add_argument("--wandb-run-name", help="the run's name there")
    parser.add_argument("--wandb-tags", nargs="+", default=[], help="the run's tags there")


def overrides(sets: Sequence[str], **flags: Any) -> list[str]:
    """The guides' flags as overrides by the schema's keys (`KEYS`), after those of --set; None, False and empty lists
    were not given."""
    given = {k: v for k, v in flags.items() if v is not None and v is not False and v != []}
    return [*sets, *write_overrides({KEYS[name]: value for name, value in given.items()})]


def gpu_of(ids: Sequence[int]) -> int | None:
    """This process's GPU among those named. Raises InputError when several are named for one process."""
    if not ids:
        return None
    rank = os.environ.get("LOCAL_RANK")
    if rank is None and len(ids) > 1:
        raise InputError(
            f"--gpu-ids {' '.join(map(str, ids))}: one process uses one GPU; start torchrun "
            f"--nproc_per_node {len(ids)} -m aerialworld_training.train with the same arguments"
        )
    if int(rank or 0) >= len(ids):
        raise InputError(f"--gpu-ids names {len(ids)} GPUs, and this is process {rank} of this machine")
    return ids[int(rank or 0)]


def run_config(
    config: str,
    keys: Sequence[str],
    work_dir: Path,
    *,
    resume: bool = False,
    from_scratch: bool = False,
    evaluate_only: bool = False,
    gpus: Sequence[int] = (),
    tell: Tell | None = None,
    level: str | None = None,
) -> dict[str, float]:
    """Run the stages of a config, by its name or file and `key=value` overrides; returns the last one's scores.

    What happens is told on stderr from `level` on (None: the config's log.level), and to `tell` as a text and the
    finished share. Raises AerialWorldError.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("aerialworld_training")
    logger.addHandler(handler)
    before = logger.level
    try:
        stages = load_stages(config, keys)
        logger.setLevel(level or stages[0][0].log.level)
        for note in dict.fromkeys(note for _, notes in stages for note in notes):
            logger.warning("%s", note)
        return train_stages(
            [settings for settings, _ in stages], work_dir, tell=tell,
            resume=resume, from_scratch=from_scratch, evaluate_only=evaluate_only, gpu=gpu_of(gpus),
        )  # fmt: skip
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def run(options: argparse.Namespace) -> int:
    """Returns the exit code."""
    # Where there is no terminal the log tells how far a run is.
    bar = Progress("training") if sys.stderr.isatty() else None
    try:
        scores = run_config(
            options.config, overrides(options.set, **{name: getattr(options, name) for name in KEYS}),
            options.work_dir, resume=options.resume,
            from_scratch=options.from_scratch, evaluate_only=options.eval_only, gpus=options.gpu_ids or (), tell=bar,
        )  # fmt: skip
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; run the same command with --resume to go on", file=sys.stderr)
        return 130
    finally:
        if bar:
            bar.close()
    for name, value in scores.items() if os.environ.get("RANK", "0") == "0" else ():  # torchrun: once, not per process
        print(f"{name} {value:.4f}")
    return 0

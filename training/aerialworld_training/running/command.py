"""The command line of runs: the published guides' flags."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_training.runconfig import load_run_config, run_config_names
from aerialworld_training.running.run import train


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", "--py-config", dest="config", metavar="NAME|FILE",
        help=f"a config of the package ({', '.join(run_config_names())}; demo and fast: the demo's small model), a "
        "Python or a YAML file",
    )  # fmt: skip
    parser.add_argument("--sessions", type=Path, metavar="DIR", help="folder of session folders (data.root)")
    parser.add_argument("--split", type=Path, metavar="FILE", help="JSON with train, val and test (data.split_file)")
    parser.add_argument("--work-dir", type=Path, required=True, help="where checkpoints, curves and logs go")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key")
    parser.add_argument("--batch-size", type=int, help="samples per process and micro-step")
    parser.add_argument("--lr", type=float, help="highest learning rate")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int)
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
    parser.add_argument("--wandb-project")
    parser.add_argument("--wandb-run-name")
    parser.add_argument("--wandb-tags", nargs="+", default=[])


def overrides(options: argparse.Namespace) -> list[str]:
    """The flags as keys of the schema, after those of --set."""
    given = {
        "data.root": options.sessions, "data.split_file": options.split, "data.batch_size": options.batch_size,
        "optimizer.lr": options.lr, "epochs": options.epochs, "runtime.seed": options.seed,
        "runtime.precision": options.amp, "log.wandb": True if options.wandb else None,
        "log.wandb_project": options.wandb_project, "log.wandb_name": options.wandb_run_name,
        "checkpoint.resume_from": options.resume_from,
    }  # fmt: skip
    told = [f"{key}={value}" for key, value in given.items() if value is not None]
    if options.wandb_tags:
        told.append(f"log.wandb_tags=[{', '.join(options.wandb_tags)}]")
    return [*options.set, *told]


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
) -> dict[str, float]:
    """`train` by a config's name or file and `key=value` overrides, told on stderr. Raises AerialWorldError."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("aerialworld_training")
    logger.addHandler(handler)
    before = logger.level
    try:
        settings, notes = load_run_config(config, keys)
        logger.setLevel(settings.log.level)
        for note in notes:
            logger.warning("%s", note)
        return train(
            settings, work_dir, resume=resume, from_scratch=from_scratch, evaluate_only=evaluate_only, gpu=gpu_of(gpus)
        )
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def run(options: argparse.Namespace) -> int:
    """Returns the exit code."""
    try:
        scores = run_config(
            options.config, overrides(options), options.work_dir, resume=options.resume,
            from_scratch=options.from_scratch, evaluate_only=options.eval_only, gpus=options.gpu_ids or (),
        )  # fmt: skip
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; run the same command with --resume to go on", file=sys.stderr)
        return 130
    for name, value in scores.items() if os.environ.get("RANK", "0") == "0" else ():  # torchrun: once, not per process
        print(f"{name} {value:.4f}")
    return 0

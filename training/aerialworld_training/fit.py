"""Says whether a checkpoint fits the model of a config, key by key, before anything is trained or converted.

python -m aerialworld_training.fit latest.pth --config finetune_tokyo --allow-missing aerial
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from aerialworld_core.errors import AerialWorldError
from aerialworld_training.building import build
from aerialworld_training.checkpoint import save_torch
from aerialworld_training.models.occworld import load_complete
from aerialworld_training.models.occworld.state_dict_adapter import read_checkpoint
from aerialworld_training.runconfig import load_stages

__all__ = ["build", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerialworld_training.fit",
        description=__doc__.split("\n")[0],
        epilog="Exit code 0: every key matches, but for the parts named; 2: the file cannot be read or does not fit.",
    )
    parser.add_argument(
        "checkpoint", type=Path, help="ours or the original's, whole or of stage 1, .pth or .safetensors"
    )
    parser.add_argument(
        "--config",
        default="train_occworld",
        help="a config by name or file; of several stages the last (default: train_occworld)",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key")
    parser.add_argument(
        "--allow-missing", nargs="+", default=[], metavar="PART",
        help="parts that may differ and keep their initial values: aerial, transformer, vae.decoder.conv_out, …",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.pth", help="write the model with these weights in it")
    parser.add_argument("--seed", type=int, default=0, help="of the initial values in --out (default 0)")
    options = parser.parse_args(arguments)
    try:
        config, notes = load_stages(options.config, options.set)[-1]
        for note in notes:
            print(note, file=sys.stderr)
        checkpoint = read_checkpoint(options.checkpoint)
        torch.manual_seed(options.seed)
        model = build(config)
        allowed = [*config.checkpoint.allow_missing, *options.allow_missing]
        report = load_complete(model, checkpoint.state, str(options.checkpoint), allowed, "--allow-missing")
        parts = Counter(key.split(".")[0] for key in checkpoint.state)
        print(f"{options.checkpoint}: {'stage 1, ' if checkpoint.stage_1 else ''}{dict(parts)}")
        let_go = f"; let go: {', '.join(report.allowed)}" if report.allowed else ""
        print(f"{report}{let_go}")
        if options.out:
            save_torch(options.out, {"state_dict": model.state_dict(), "run_config": config.to_yaml()})
            print(options.out)
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

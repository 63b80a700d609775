"""Compares our OccWorld with recorded outputs of the original, and says how far each number is off.

python -m aerialworld_training.reference_check DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.files import write_json
from aerialworld_training.reference.check import check
from aerialworld_training.reference.deviations import TOLERANCE, Deviation, table
from aerialworld_training.reference.form import ReferenceSet

EPILOG = f"""DIR holds model_config.json (which says the sizes), state_dict.pt, inputs.npz and any of outputs_vae.npz,
outputs_teacher_forced.npz, outputs_autoregressive.npz, train_vae_grads.pt and train_worldmodel_grads.pt. Float32 (TF32
off); every number may deviate by {TOLERANCE:g} · max(1, largest reference magnitude); codes and classes must be equal
except where two candidates tie within rounding, and ReLUs at zero within rounding open as recorded. Exit code 0: all
within; 1: something is above; 2: the set cannot be read. The full-size set takes four CPU minutes and 2.6 GB."""


def summary(rows: Sequence[Deviation]) -> str:
    """The verdict in one line."""
    above = [row for row in rows if not row.within]
    if above:
        return (
            f"{len(above)} of {len(rows)} comparisons ABOVE the tolerance: {', '.join(row.name for row in above[:6])}"
        )
    worst = max((row for row in rows if row.limit), key=lambda row: row.largest / row.limit)
    share = worst.largest / worst.limit
    return f"all {len(rows)} comparisons within; the nearest to its limit is {worst.name}, at {share:.1%} of it"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerialworld_training.reference_check", description=__doc__.split("\n")[0], epilog=EPILOG
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the reference set")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, …")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument(
        "--every-gradient", action="store_true", help="a row for every tensor, not the worst of a group"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    options = parser.parse_args(arguments)
    before = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        if options.threads:
            torch.set_num_threads(options.threads)
        rows = check(
            ReferenceSet(options.folder),
            device=options.device,
            every_gradient=options.every_gradient,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        )
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[1:]
    print(table(rows))
    print(summary(rows))
    if options.json:
        write_json(
            options.json, {"folder": options.folder.name, "rows": [{**asdict(r), "within": r.within} for r in rows]}
        )
    return 0 if all(row.within for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

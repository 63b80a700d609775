"""Planning and occupancy scores of a run, with the data that its own config names: what `eval_metric_stp3.py` runs.

python training/eval_metric_stp3.py --py-config finetune_tokyo --work-dir work/finetune_tokyo
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_training.evaluate import evaluate
from aerialworld_training.evaluation_tables import print_evaluation
from aerialworld_training.logbook import Progress
from aerialworld_training.runconfig import load_stages
from aerialworld_training.runconfig.load import parse_resolved
from aerialworld_training.trained import load_trained


def data_of(
    work_dir: Path, config: str | None, sessions: Path | None = None, split: Path | None = None
) -> tuple[Path, Path]:
    """The folder of sessions and the split file: as given, or else as a config names them, or else the run's own. The
    split of given sessions is the one beside them, where none is given or named. Raises InputError."""
    if sessions is not None and split is not None:
        return sessions, split
    if config is not None:
        run = load_stages(config)[-1][0]
    else:
        trained = load_trained(work_dir)
        run = parse_resolved(trained.config, str(trained.path))
    run.check_loader()
    root = sessions or Path(run.data.root)
    split = split or (Path(run.data.split_file) if run.data.split_file else root / "split.json")
    if not split.is_file():
        raise InputError(f"{split}: no such split file; give --split (the scores are of sessions that it names)")
    return root, split


def print_planning(result: dict[str, Any]) -> None:
    """L2 and collision rate of every path, as ST-P3 averages them."""
    print("path                   horizon  L2 up to, m  at, m   collision up to, %  at, %")
    for name, rates in result["planning"].items():
        for rate, l2 in zip(rates, result["motion"][name]["l2"], strict=True):
            upto, at = ("     –" if r is None else f"{100 * r:6.2f}" for r in (rate["up_to"], rate["at"]))
            print(f"{name:22} {rate['t']:5.1f} s  {l2['up_to']:11.3f} {l2['metres']:6.3f}   {upto:>18} {at:>6}")


def arguments_of(description: str, prog: str) -> argparse.ArgumentParser:
    """The flags that the guides' scripts share."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--config", "--py-config", dest="config", help="whose data: a name or file. Default: the run's")
    parser.add_argument("--work-dir", type=Path, required=True, help="the training folder, or one checkpoint of it")
    parser.add_argument("--sessions", type=Path, help="folder of sessions, in place of the config's")
    parser.add_argument("--split", type=Path, help="split file, in place of the config's")
    parser.add_argument("--split-name", default="test", choices=("train", "val", "test"))
    parser.add_argument("--out", type=Path, help="default: WORK_DIR/evaluation")
    parser.add_argument("--max-windows", type=int, help="evenly spread over the split (default 16)")
    return parser


def run_evaluation(options: argparse.Namespace) -> tuple[dict[str, Any], Path]:
    """The evaluation that the flags ask for, and its folder."""
    sessions, split = data_of(options.work_dir, options.config, options.sessions, options.split)
    folder = options.work_dir if options.work_dir.is_dir() else options.work_dir.parent
    out = options.out or folder / "evaluation"
    bar = Progress("evaluation")
    try:
        return evaluate(
            sessions, split, options.work_dir, out, options.split_name, bar, max_windows=options.max_windows
        ), out
    finally:
        bar.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = arguments_of(__doc__.split("\n")[0], "eval_metric_stp3.py").parse_args(arguments)
    try:
        result, out = run_evaluation(options)
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    print_evaluation(result)
    print_planning(result)
    print(out / "evaluation.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())

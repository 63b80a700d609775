"""Training: sessions in, a work folder with checkpoints and curves out.

python -m aerialworld_training.train --config finetune_tokyo --sessions DIR --work-dir DIR [--resume]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from aerialworld_training.running import command


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerialworld_training.train", description=__doc__.split("\n")[0],
        epilog="A config of several stages (demo: adapt, then occworld) runs them one after the other, each in a "
        "folder of its own in --work-dir.",
    )  # fmt: skip
    command.add_options(parser)
    return command.run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())

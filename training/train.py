"""The published guides' `python training/train.py …`: the same as `python -m aerialworld_training.train`."""

import sys

from aerialworld_training.train import main

if __name__ == "__main__":
    sys.exit(main())

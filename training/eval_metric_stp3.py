#!/usr/bin/env python3
"""Scores of a run as the guides ask for them: see `aerialworld_training.stp3`.

python training/eval_metric_stp3.py --py-config finetune_tokyo --work-dir work/finetune_tokyo
"""

import sys

from aerialworld_training.stp3 import main

if __name__ == "__main__":
    sys.exit(main())

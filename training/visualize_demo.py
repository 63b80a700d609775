#!/usr/bin/env python3
"""Films of a run's forecasts under the guides' name: evaluates where that is still to do, then `aerialworld visualize`.

python training/visualize_demo.py --py-config finetune_tokyo --work-dir work/finetune_tokyo
"""

import sys

from aerialworld.film import saved_predictions, write_film
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_training.stp3 import arguments_of, run_evaluation


def main() -> int:
    """The command line; returns the exit code."""
    options = arguments_of("Write an MP4 of each saved forecast of a run.", "visualize_demo.py").parse_args()
    folder = options.work_dir if options.work_dir.is_dir() else options.work_dir.parent
    try:
        try:
            found = saved_predictions(options.out or folder)
        except InputError:
            found = saved_predictions(run_evaluation(options)[1])
        for path in found:
            film = path.with_suffix(".mp4")
            write_film(path, film)
            print(film)
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

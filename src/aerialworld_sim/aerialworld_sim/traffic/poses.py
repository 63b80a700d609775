"""Where a world's traffic is, told over a pipe: `python -m aerialworld_sim.traffic.poses WORLD cars=20,seed=1`.

For programs that have a Python of their own, such as Gazebo (worlds/systems/aerialworld_traffic.py): nothing of ours is
imported there. First comes a line of JSON, the names of those that move. Then each stamp on standard input (int64,
nanoseconds of simulation time from 0) is answered on standard output by x, y, z, qx, qy, qz, qw of each (float64, map).
Numbers are little endian. The end of the input ends it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.frames import Array
from aerialworld_core.traffic import TrafficOptions
from aerialworld_core.world import load_world
from aerialworld_sim.traffic.traffic import Traffic

#: Bytes of a stamp.
STAMP = 8


def moving(traffic: Traffic) -> list[str]:
    """Names of those that do not stand all the time; they come first in `traffic.members`."""
    return [member.name for member in traffic.members if member.parked is None]


def poses(traffic: Traffic, stamp_ns: int) -> Array:
    """(N, 7) x, y, z, qx, qy, qz, qw of those that move."""
    shot, count = traffic.snapshot(stamp_ns), len(moving(traffic))
    return np.column_stack([shot.position, shot.orientation])[:count]


def serve(traffic: Traffic, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the questions end."""
    answers.write(json.dumps(moving(traffic)).encode() + b"\n")
    answers.flush()
    while len(question := questions.read(STAMP)) == STAMP:
        answers.write(poses(traffic, int.from_bytes(question, "little", signed=True)).astype("<f8").tobytes())
        answers.flush()


def main(arguments: list[str]) -> int:
    """0 when the questions have ended; expected errors are one line on stderr and their exit code."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    # What libraries print goes to stderr: standard output carries numbers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        try:
            options = TrafficOptions.parse(arguments[1])
            serve(Traffic(load_world(Path(arguments[0])), options), sys.stdin.buffer, answers)
        except AerialWorldError as error:
            print(f"traffic: {error}", file=sys.stderr)
            return error.exit_code
        except KeyboardInterrupt:
            return 0  # Ctrl-C reaches every process of a terminal; who asks ends us
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

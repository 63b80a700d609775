"""Small sessions of a made city, to try training without recording anything.

python -m aerialworld_training.made_sessions OUT [--sessions 3] [--frames 16] [--seed 0]

Drones fly curves over random boxes on rolling ground; voxels are exact. The grid is 64×64×32 voxels of 1 × 1 × 1.25 m,
that of the config overfit_64. Real sessions come from recording: this proves that a model can learn, nothing more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aerialworld_core.errors import AerialWorldError
from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.grid import VoxelGrid
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.session import SessionMeta, SessionWriter
from aerialworld_training.box_city import BoxCity

GRID = VoxelGrid((-32.0, -32.0, -2.0), (1.0, 1.0, 1.25), (64, 64, 32))
PERIOD_NS = 500_000_000
DATUM = -3.0


def write_sessions(
    root: Path, sessions: int = 3, frames: int = 16, seed: int = 0, *, grid: VoxelGrid = GRID, speed: float = 4.0
) -> list[Path]:
    """Write `sessions` runs of `frames` frames, half a second apart, under `root`; returns their folders. The first
    flies straight, the others turn. Raises SessionError, StorageError."""
    root.mkdir(parents=True, exist_ok=True)
    written = []
    for k in range(sessions):
        city, rng = BoxCity(seed + k // 2), np.random.default_rng([seed, k])
        (x, y), yaw, rate = rng.uniform(-60, 60, 2), rng.uniform(-np.pi, np.pi), 0.08 * k
        meta = SessionMeta(
            f"drone_{k + 1}", "drone", {"name": "made", "version": "1"}, {"name": "boxes", "sha256": ""},
            Georeference(35.6, 139.7, 0.0), grid, DATUM, Rig("none", (), ()), PERIOD_NS, seed, "made", {},
            f"2024-01-15T12:{k:02d}:00Z", "",
        )  # fmt: skip
        with SessionWriter(root, meta, {}, {}, sync=False) as writer:
            for n in range(frames):
                pose = Pose.from_rpy(x, y, 40.0, 0.0, 0.0, yaw)
                velocity = speed * np.array([np.cos(yaw), np.sin(yaw), 0.0])
                state = VehicleState(n * PERIOD_NS, pose, velocity, np.array([0, 0, rate]), np.zeros(3))
                writer.write_frame(n, SensorFrame(state=state, ground_z=0.0), city.frame(grid, pose, DATUM), {})
                step = PERIOD_NS * 1e-9
                x, y, yaw = x + velocity[0] * step, y + velocity[1] * step, yaw + rate * step
        written.append(writer.path)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m aerialworld_training.made_sessions", description=__doc__.split("\n")[0]
    )
    parser.add_argument("out", type=Path, help="folder that gets the session folders")
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        for path in write_sessions(options.out, options.sessions, options.frames, options.seed):
            print(path)
    except AerialWorldError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""CPU time of one frame from depth and classes to files: projecting, checking, encoding, writing; by stage.

    python benchmarks/occupancy.py [--json FILE] [--runs N]

Scenes: a city of two dozen boxes and houses on a plane (`tests/box_city.py`), seen from 2, 30 and 100 m. Figures are
medians over runs and means over scenes, of the process's CPU time (all threads), on the default grid:

    cube_400     six faces of 400×400 pixels
    rig_drone    the same with the drone's 800×800 down face

`cpu_s_per_frame` is the projection; `stages` splits it (place, join, vote, carve, settle) and goes on to the
session's files (check, encode, write; no pictures or LiDAR). `floor_s` is the least a projection could take that
reads the images once and writes the three arrays once, at the speed of a memory copy (measured here). `ratio` =
cpu_s_per_frame / floor_s. `observed_missing` is the share of observed voxels that walking every ray finds beyond the
default's. `first_s` is the wall time of the first projection, which compiles the kernels unless they are on disk
(NUMBA_CACHE_DIR).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _figures import add_json_option, tell

from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.grid import DEFAULT_GRID
from aerialworld_core.occupancy import Occupancy
from aerialworld_core.provenance import machine, versions
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.session import SessionMeta, SessionWriter
from aerialworld_core.stopwatch import Stopwatch
from aerialworld_recorder.occupancy import OccupancyProjector

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from box_city import cube_rig, mixed_city

POSES = [
    Pose.from_rpy(0.3, -0.2, 2.0, 0.0, 0.0, 0.3),
    Pose.from_rpy(3.0, -2.0, 30.0, 0.1, -0.15, 0.7),
    Pose.from_rpy(-5.0, 4.0, 100.0, 0.15, 0.1, -1.0),
]
PERIOD_NS = 500_000_000


def timed(function: Any, runs: int, watch: Stopwatch) -> tuple[float, dict[str, float]]:
    """Median CPU seconds of `function(run)`, all together and by stage."""
    times, stages = [], []
    for run in range(runs):
        watch.read()
        start = time.process_time()
        function(run)
        times.append(time.process_time() - start)
        stages.append(watch.read())
    return float(np.median(times)), {name: float(np.median([s[name] for s in stages])) for name in stages[0]}


def copy_speed(runs: int) -> float:
    """Seconds per copied byte."""
    source = np.ones(64 << 20, np.uint8)
    target = np.empty_like(source)
    return timed(lambda _: np.copyto(target, source), runs, Stopwatch())[0] / source.nbytes


def meta(rig: Rig) -> SessionMeta:
    return SessionMeta(
        vehicle="drone_1",
        agent_type="drone",
        engine={"name": "embedded", "version": "benchmark"},
        world={"name": "boxes", "sha256": "0" * 64},
        georeference=Georeference(35.0, 139.0, 0.0),
        grid=DEFAULT_GRID,
        datum=0.0,
        rig=rig,
        frame_period_ns=PERIOD_NS,
        seed=0,
        mission="hover",
        conditions={},
        start_time="2024-01-15T12:00:00Z",
        attribution="",
    )


def write_frames(rig: Rig, pose: Pose, voxels: Occupancy, runs: int) -> dict[str, float]:
    """CPU seconds of the stages check, encode and write, each step flushed to disk."""
    watch = Stopwatch()

    def write(run: int) -> None:
        state = VehicleState((run + 1) * PERIOD_NS, pose, np.zeros(3), np.zeros(3))
        writer.write_frame(run, SensorFrame(state, 0.0), voxels)

    with tempfile.TemporaryDirectory() as folder:
        with SessionWriter(Path(folder), meta(rig), {}, {}, stopwatch=watch) as writer:
            return timed(write, runs, watch)[1]


def measure(down: int | None, runs: int, per_byte: float) -> dict[str, Any]:
    rig, city = cube_rig(400, down), mixed_city(0)
    seconds, missing, first, stages = [], [], [], []
    read = 0
    for pose in POSES:
        images = city.depth_images(rig, pose)
        read = sum(a.nbytes for kind in images for a in kind.values())
        watch = Stopwatch()
        projector = OccupancyProjector(rig, DEFAULT_GRID, 0.0, workers=1, stopwatch=watch)
        begun = time.perf_counter()
        result = projector.project(pose, *images)  # compiles, warms the caches
        first.append(time.perf_counter() - begun)
        cpu, split = timed(lambda _, p=projector, q=pose, i=images: p.project(q, *i), runs, watch)
        seconds.append(cpu)
        stages.append(split | write_frames(rig, pose, result, runs))
        full = OccupancyProjector(rig, DEFAULT_GRID, 0.0, workers=1, carve_all=True).project(pose, *images)
        missing.append(1.0 - result.observed.sum() / full.observed.sum())
    cpu, floor = float(np.mean(seconds)), (read + 3 * DEFAULT_GRID.size) * per_byte
    return {
        "cpu_s_per_frame": cpu,
        "stages": {name: float(np.mean([s[name] for s in stages])) for name in stages[0]},
        "floor_s": floor,
        "ratio": cpu / floor,
        "bytes_moved": read + 3 * DEFAULT_GRID.size,
        "observed_missing": float(np.max(missing)),
        "first_s": first[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_json_option(parser)
    parser.add_argument("--runs", type=int, default=9, help="runs per scene (default 9)")
    options = parser.parse_args()
    per_byte = copy_speed(options.runs)
    figures = {
        "machine": machine(),
        "versions": versions(),
        "copy_ns_per_byte": per_byte * 1e9,
        "cube_400": measure(None, options.runs, per_byte),
        "rig_drone": measure(800, options.runs, per_byte),
    }
    tell(figures, options.json)


if __name__ == "__main__":
    main()

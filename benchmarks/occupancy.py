"""CPU time of projecting one frame's depth and classes into voxels, carving included.

    python benchmarks/occupancy.py [--json FILE] [--runs N]

Scenes: a city of two dozen boxes and houses on a plane (`tests/box_city.py`), seen from 2, 30 and 100 m. Figures are
medians over runs and means over scenes, of the process's CPU time (all threads), on the default grid:

    cube_400     six faces of 400×400 pixels
    rig_drone    the same with the drone's 800×800 down face

`floor_s` is the least a projection could take that reads the images once, writes the three arrays once and stores one
byte for each voxel walked: the bytes at the speed of a memory copy, the voxels at the speed of a loop that does nothing
but advance along an axis and store, both measured here. `ratio` = cpu_s_per_frame / floor_s. `observed_missing` is
the share of observed voxels that carving along every ray finds beyond the default's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np

from aerialworld.provenance import machine, versions
from aerialworld_core.frames import Pose
from aerialworld_core.grid import DEFAULT_GRID
from aerialworld_recorder.occupancy import OccupancyProjector

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from box_city import cube_rig, mixed_city

POSES = [
    Pose.from_rpy(0.3, -0.2, 2.0, 0.0, 0.0, 0.3),
    Pose.from_rpy(3.0, -2.0, 30.0, 0.1, -0.15, 0.7),
    Pose.from_rpy(-5.0, 4.0, 100.0, 0.15, 0.1, -1.0),
]


@numba.njit
def straight_walks(flat: Any, walks: int, length: int) -> None:
    """Store to `length` voxels in a row, `walks` times along each axis in turn."""
    for w in range(walks):
        for stride in (1, 121, 24200):
            index = (w * 7919) % (flat.size - length * stride)
            for _ in range(length):
                flat[index] = 1
                index += stride


def median_cpu(function: Any, runs: int) -> float:
    times = []
    for _ in range(runs):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return float(np.median(times))


def machine_speed(runs: int) -> tuple[float, float]:
    """Seconds per copied byte, seconds per voxel stored by a straight walk."""
    source = np.ones(64 << 20, np.uint8)
    target = np.empty_like(source)
    copy = median_cpu(lambda: np.copyto(target, source), runs) / source.nbytes
    flat = np.zeros(DEFAULT_GRID.size, np.uint8)
    straight_walks(flat, 1, 1)
    return copy, median_cpu(lambda: straight_walks(flat, 20_000, 120), runs) / (20_000 * 3 * 120)


def measure(down: int | None, runs: int, per_byte: float, per_voxel: float) -> dict[str, float]:
    rig, city = cube_rig(400, down), mixed_city(0)
    seconds, floors, walked, missing = [], [], [], []
    for pose in POSES:
        images = city.depth_images(rig, pose)
        projector = OccupancyProjector(rig, DEFAULT_GRID, 0.0, workers=1)
        result = projector.project(pose, *images)  # compiles, warms the caches
        seconds.append(median_cpu(lambda p=projector, q=pose, i=images: p.project(q, *i), runs))
        assert projector.last is not None
        read = sum(a.nbytes for kind in images for a in kind.values())
        floors.append((read + 3 * DEFAULT_GRID.size) * per_byte + projector.last.steps * per_voxel)
        walked.append(projector.last.steps)
        full = OccupancyProjector(rig, DEFAULT_GRID, 0.0, workers=1, carve_all=True).project(pose, *images)
        missing.append(1.0 - result.observed.sum() / full.observed.sum())
    cpu, floor = float(np.mean(seconds)), float(np.mean(floors))
    return {
        "cpu_s_per_frame": cpu,
        "floor_s": floor,
        "ratio": cpu / floor,
        "bytes_moved": read + 3 * DEFAULT_GRID.size,
        "voxels_walked": float(np.mean(walked)),
        "observed_missing": float(np.max(missing)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--runs", type=int, default=9, help="runs per scene (default 9)")
    options = parser.parse_args()
    per_byte, per_voxel = machine_speed(options.runs)
    figures = {
        "machine": machine(),
        "versions": versions(),
        "copy_ns_per_byte": per_byte * 1e9,
        "walk_ns_per_voxel": per_voxel * 1e9,
        "cube_400": measure(None, options.runs, per_byte, per_voxel),
        "rig_drone": measure(800, options.runs, per_byte, per_voxel),
    }
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

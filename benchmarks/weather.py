"""What weather adds to a frame: CPU seconds of six 1600×900 pictures and a LiDAR scan, clear and in weather.

    python benchmarks/weather.py [--world DIR] [--frames 7] [--json FILE]

Without `--world`, the ready world `small_city`. Medians over frames of the drone's rig; `added_cpu_ms` is against clear
weather where the sun casts shadows and against overcast where it casts none, which is cheaper. Pictures are changed and
streaks are drawn on one thread. `start_s` is the first frame, with whatever kernels are not cached yet.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from _figures import add_json_option, tell

from aerialworld_core.provenance import machine, versions

WEATHERS = {
    "clear": "weather=clear",
    "overcast": "weather=overcast",
    "haze": "weather=haze",
    "fog": "weather=fog",
    "rain 2 mm/h": "weather=rain,rain_mm_h=2",
    "rain 10 mm/h": "weather=rain",
    "rain 50 mm/h": "weather=rain,rain_mm_h=50",
}


def measure(world: Any, frames: int) -> dict[str, Any]:
    """CPU and wall milliseconds per frame and LiDAR returns, by weather."""
    from aerialworld.viewpoint import air_viewpoint
    from aerialworld_core.conditions import Conditions
    from aerialworld_core.world import load_rig
    from aerialworld_sim import Engine, Static, Vehicle

    rig, pose = load_rig("rig_drone"), air_viewpoint(world, 60.0)
    found: dict[str, Any] = {}
    for name, text in WEATHERS.items():
        light = Conditions.parse(text).light(world.light, world.georeference)
        engine = Engine(world, {"v": Vehicle(rig, Static(pose))}, light=light)
        start = time.perf_counter()
        frame = engine.render("v", modalities=("images", "lidar"))
        started = time.perf_counter() - start
        cpu, wall = [], []
        for _ in range(frames):
            engine.step(100_000_000)
            before = time.process_time(), time.perf_counter()
            frame = engine.render("v", modalities=("images", "lidar"))
            cpu.append(1e3 * (time.process_time() - before[0]))
            wall.append(1e3 * (time.perf_counter() - before[1]))
        assert frame.lidar is not None
        base = found.get("clear" if light.sun.any() else "overcast", {"cpu_ms": statistics.median(cpu)})
        found[name] = {
            "cpu_ms": round(statistics.median(cpu), 1),
            "wall_ms": round(statistics.median(wall), 1),
            "added_cpu_ms": round(statistics.median(cpu) - base["cpu_ms"], 1),
            "lidar_returns": len(frame.lidar),
            "start_s": round(started, 2),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path)
    parser.add_argument("--frames", type=int, default=7)
    add_json_option(parser)
    options = parser.parse_args()
    from aerialworld_core.resources import share
    from aerialworld_core.world import load_world

    world = load_world(options.world or share("aerialworld_worlds") / "small_city")
    report = {
        "world": world.name,
        "machine": machine(),
        "versions": versions(),
        "weather": measure(world, options.frames),
    }
    tell(report, options.json)


if __name__ == "__main__":
    main()

"""How long missions take to plan: CPU seconds per plan, after the raster of the world's heights, and of that raster.

    python benchmarks/missions.py [--world DIR] [--plans 30] [--json FILE]

Without `--world`, the city that the project generates is converted first. Each pattern is planned at seeded places all
over the world; places where it cannot be flown (a tower over the ceiling) count in the times and are reported.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _figures import add_json_option, tell, world_or_made

from aerialworld_core.errors import PlanError
from aerialworld_core.provenance import machine, versions
from aerialworld_core.world import load_world
from aerialworld_missions import orbit, plan_demo, road_run, survey
from aerialworld_missions.heightmap import HeightMap


def cpu_seconds(call: Callable[[], object]) -> tuple[float, str]:
    """CPU seconds of a call, and why it was refused ("" if it was not)."""
    begin = time.process_time()
    try:
        call()
    except PlanError as error:
        return time.process_time() - begin, str(error)
    return time.process_time() - begin, ""


def summary(results: list[tuple[float, str]]) -> dict[str, Any]:
    seconds = sorted(t for t, _ in results)
    return {
        "plans": len(results),
        "refused": sum(bool(reason) for _, reason in results),
        "median_cpu_s": round(statistics.median(seconds), 4),
        "p95_cpu_s": round(seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))], 4),
        "max_cpu_s": round(seconds[-1], 4),
    }


def measure(world_folder: Path, plans: int) -> dict[str, Any]:
    world = load_world(world_folder)
    world.terrain_height(np.zeros((1, 2)))  # builds the ray caster, so that the raster is measured alone
    begin = time.process_time()
    heights = HeightMap.of(world)
    raster = time.process_time() - begin
    low, high = world.bounds[:, :2]
    border = np.minimum(120.0, 0.3 * (high - low))
    results: dict[str, list[tuple[float, str]]] = {k: [] for k in ("survey", "survey_whole", "orbit", "road", "demo")}
    for seed in range(plans):
        random = np.random.default_rng(seed)
        centre = low + border + random.random(2) * (high - low - 2 * border)
        speed = float(random.uniform(2, 10))
        common: dict[str, Any] = {"centre": centre, "seed": seed, "jitter": True}
        results["survey"].append(cpu_seconds(lambda: survey(world, size=80, duration=25, speed=speed, **common)))  # noqa: B023
        results["survey_whole"].append(cpu_seconds(lambda: survey(world, size=80, speed=speed, **common)))  # noqa: B023
        results["orbit"].append(cpu_seconds(lambda: orbit(world, duration=25, speed=speed, **common)))  # noqa: B023
        results["road"].append(cpu_seconds(lambda: road_run(world, duration=25, speed=min(speed, 5.0), **common)))  # noqa: B023
    for seed in range(min(plans, 5)):
        seconds, reason = cpu_seconds(lambda: plan_demo(world, seed=seed))  # noqa: B023
        results["demo"].append((seconds / 5, reason))  # five plans
    return {
        "benchmark": "missions",
        "command": f"python benchmarks/missions.py --plans {plans}",
        "world": {"name": world.name, "triangles": len(world.scene.faces), "cells": int(heights.surface.size)},
        "raster_cpu_s": round(raster, 3),
        "per_plan": {name: summary(r) for name, r in results.items()},
        "machine": machine(),
        "versions": versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", type=Path, help="a world folder; the generated city if absent")
    parser.add_argument("--plans", type=int, default=30, help="seeded places per pattern")
    add_json_option(parser)
    arguments = parser.parse_args()
    with world_or_made(arguments.world) as world:
        result = measure(world, arguments.plans)
    tell(result, arguments.json)


if __name__ == "__main__":
    main()

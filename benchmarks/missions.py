"""How long missions take to plan, and how clear they keep: CPU seconds per plan after what is made once per world (the
raster of its heights, its lanes), and every plan checked against the world's triangles by other means than the planner.

    python benchmarks/missions.py [--world DIR] [--plans 100] [--json FILE]

Without `--world`, the city that the project generates is converted first. Seeded missions of all patterns are planned
all over the world in turn; those that cannot be flown there (a tower over the ceiling, a line through a building) count
in the times and are reported.
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
from scipy.spatial import cKDTree

from aerialworld_core.errors import PlanError
from aerialworld_core.labels import GROUND
from aerialworld_core.plan import Plan
from aerialworld_core.provenance import machine, versions
from aerialworld_core.world import load_world
from aerialworld_missions import (
    corridor,
    explore,
    figure8,
    orbit,
    patrol,
    plan_demo,
    road_run,
    roads,
    survey,
    waypoints,
)
from aerialworld_missions.heightmap import HeightMap
from aerialworld_missions.lanemap import LaneMap

#: Metres between the points that stand for the triangles, and between two looks at a motion, seconds.
DENSE, STEP = 0.25, 0.02
#: Farther than this from a building nobody needs to know how far, metres.
REACH = 6.0


def missions(world: Any, seed: int) -> dict[str, Callable[[], Plan]]:
    """One seeded mission of each pattern at a seeded place of the world."""
    random = np.random.default_rng(seed)
    low, high = world.bounds[:, :2]
    border = np.minimum(120.0, 0.3 * (high - low))
    centre = low + border + random.random(2) * (high - low - 2 * border)
    fast, slow = float(random.uniform(2, 10)), float(random.uniform(1, 5))
    line = centre + np.cumsum(random.uniform(-50, 50, (4, 2)), axis=0)
    stops = [(*xy, z) for xy, z in zip(line.tolist(), random.uniform(30, 80, 4).tolist(), strict=True)]
    area = centre + np.array([(-40, -30), (45, -45), (50, 20), (0, 5), (-20, 40)])
    avoid = ("raise", "bend", "refuse")[seed % 3]
    drone: dict[str, Any] = {"seed": seed, "jitter": True, "speed": fast}
    rover: dict[str, Any] = {"seed": seed, "jitter": True, "speed": slow}
    every = {
        "survey": lambda: survey(world, centre=centre, size=80, **drone),
        "survey_area": lambda: survey(world, area=area, spacing=12, **drone),
        "orbit": lambda: orbit(world, centre=centre, **drone),
        "figure8": lambda: figure8(world, centre=centre, radius=25, **drone),
        "corridor": lambda: corridor(world, line=line, altitude=40, avoid=avoid, **drone),
        "random": lambda: explore(world, centre=centre, duration=60, avoid=avoid, **drone),
        "waypoints": lambda: waypoints(world, stops=stops, altitude_frame="home", **drone),
        "road": lambda: road_run(world, centre=centre, duration=60, **rover),
        "patrol": lambda: patrol(world, centre=centre, **rover),
    }
    if any(LaneMap.of(world).onward):
        every["roads"] = lambda: roads(world, duration=60, **rover)
    return every


class Truth:
    """The world's buildings as dense points, for distances that owe nothing to the planner's."""

    def __init__(self, world: Any) -> None:
        self._world = world
        scene = world.scene
        corners = scene.vertices[scene.faces[~np.isin(scene.face_class, GROUND)]].astype(np.float64)
        self._corners, self._low, self._high = corners, corners.min(axis=1), corners.max(axis=1)

    def check(self, plan: Plan) -> dict[str, float]:
        """Metres to the nearest building (at most `REACH`), least metres over the ground, and seconds in a solid."""
        p = plan.trajectory().sample(np.arange(0.0, plan.duration, STEP)).position
        nearest = REACH
        for part in np.array_split(p, max(1, len(p) // 100)):
            low, high = part.min(axis=0) - REACH, part.max(axis=0) + REACH
            points = _points_on(self._corners[((self._low <= high) & (self._high >= low)).all(axis=1)])
            points = points[((points >= low) & (points <= high)).all(axis=1)]
            if len(points):
                nearest = min(nearest, float(cKDTree(points).query(part, distance_upper_bound=REACH)[0].min()))
        down = np.broadcast_to([0.0, 0.0, -1.0], p.shape)
        over, _ = self._world.cast(p + np.array([0.0, 0.0, 0.5]), down, cull_backfaces=False)
        inside = float(self._world.inside_solid(p).sum()) * STEP
        return {"nearest": nearest, "over_ground": float(over.min()) - 0.5, "inside_s": inside}


def _points_on(triangles: np.ndarray) -> np.ndarray:
    """Points on triangles (F, 3, 3), `DENSE` metres apart or nearer along both of two edges."""
    if not len(triangles):
        return np.zeros((0, 3))
    a, u, v = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    counts = np.ceil(np.maximum(np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)) / DENSE).astype(int) + 1
    found = []
    for n in np.unique(counts):
        some = counts == n
        i, j = np.meshgrid(np.linspace(0, 1, n + 1), np.linspace(0, 1, n + 1))
        i, j = i[i + j <= 1 + 1e-9], j[i + j <= 1 + 1e-9]
        found.append((a[some, None] + i[:, None] * u[some, None] + j[:, None] * v[some, None]).reshape(-1, 3))
    return np.concatenate(found)


def cpu_seconds(call: Callable[[], Any]) -> tuple[float, Any, str]:
    """CPU seconds of a call, what it gave, and why it was refused ("" if it was not)."""
    begin = time.process_time()
    try:
        given = call()
    except PlanError as error:
        return time.process_time() - begin, None, str(error)
    return time.process_time() - begin, given, ""


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
    world.terrain_height(np.zeros((1, 2)))  # builds the ray casters, so that the raster is measured alone
    world.inside_solid(np.zeros((1, 3)))
    raster, heights, _ = cpu_seconds(lambda: HeightMap.of(world))
    lanes, _, _ = cpu_seconds(lambda: LaneMap.of(world))
    truth = Truth(world)
    results: dict[str, list[tuple[float, str]]] = {}
    checks: list[tuple[str, dict[str, float]]] = []
    flown, seed, different = 0, 0, set()
    while flown < plans and seed < plans:
        for name, make in missions(world, seed).items():
            seconds, plan, reason = cpu_seconds(make)
            results.setdefault(name, []).append((seconds, reason))
            if plan is not None:
                flown += 1
                different.add(plan.position.tobytes())
                checks.append((f"{name} of seed {seed}", truth.check(plan)))
        seed += 1
    for seed in range(min(plans, 5)):
        seconds, _, reason = cpu_seconds(lambda: plan_demo(world, seed=seed))  # noqa: B023
        results.setdefault("demo", []).append((seconds / 5, reason))  # five plans
    nearest = min(checks, key=lambda c: c[1]["nearest"])
    return {
        "benchmark": "missions",
        "command": f"python benchmarks/missions.py --plans {plans}",
        "world": {"name": world.name, "triangles": len(world.scene.faces), "cells": int(heights.surface.size)},
        "raster_cpu_s": round(raster, 3),
        "lanes_cpu_s": round(lanes, 3),
        "flown": {
            "plans": flown,
            "different": len(different),
            "nearest_building_m": round(nearest[1]["nearest"], 2),
            "nearest_of": nearest[0],
            "nearer_than_2_m": sum(c["nearest"] < 2.0 for _, c in checks),
            "least_over_ground_m": round(min(c["over_ground"] for _, c in checks), 3),
            "below_ground": sum(c["over_ground"] < 0.0 for _, c in checks),
            "seconds_in_solids": round(sum(c["inside_s"] for _, c in checks), 2),
        },
        "all": summary([r for each in results.values() for r in each]),
        "per_plan": {name: summary(r) for name, r in results.items()},
        "machine": machine(),
        "versions": versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--world", type=Path, help="a world folder; the generated city if absent")
    parser.add_argument("--plans", type=int, default=100, help="how many plans are flown, of all patterns in turn")
    add_json_option(parser)
    arguments = parser.parse_args()
    with world_or_made(arguments.world) as world:
        result = measure(world, arguments.plans)
    tell(result, arguments.json)


if __name__ == "__main__":
    main()

"""What traffic costs: CPU milliseconds per step of a tenth of a second and per snapshot, and the network's CPU seconds.

    python benchmarks/traffic.py [--world DIR] [--cars 100] [--pedestrians 100] [--seconds 300] [--json FILE]

Without `--world`, the city that the project generates is converted first. The floor is one search for who is within
30 m of whom (a k-d tree of all positions, per step): the least that any model in which movers heed each other does.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from _figures import add_json_option, tell, world_or_made
from scipy.spatial import cKDTree

from aerialworld_core.provenance import machine, versions
from aerialworld_core.world import load_world
from aerialworld_sim.traffic import Traffic, TrafficOptions
from aerialworld_sim.traffic.network import Network

STEP_NS = 100_000_000


def measure(world_folder: Path, options: TrafficOptions, seconds: int) -> dict[str, Any]:
    world = load_world(world_folder)
    world.terrain_height(np.zeros((1, 2)))
    world.cast(np.array([[0.0, 0.0, 1e3]]), np.array([[0.0, 0.0, -1.0]]))  # builds the ray caster
    begin = time.process_time()
    network = Network.of(world)
    made = time.process_time() - begin
    traffic = Traffic(world, options)
    steps, per_100 = 10 * seconds, []
    for first in range(0, steps, 100):
        begin = time.process_time()
        traffic.simulation.log(first + 100)
        per_100.append((time.process_time() - begin) * 10)
    begin = time.process_time()
    for k in range(0, steps, 10):
        traffic.snapshot(k * STEP_NS + 1)
    snapshot = (time.process_time() - begin) / (steps // 10)
    places = [traffic.snapshot(k * STEP_NS).position[:, :2] for k in range(0, steps, 10)]
    begin = time.process_time()
    for xy in places:
        cKDTree(xy).query_pairs(30.0, output_type="ndarray")
    floor = (time.process_time() - begin) / len(places) * 1e3
    speed = np.stack([traffic.simulation.log(k)[1] for k in range(steps)])
    vehicles = [i for i, m in enumerate(traffic.members) if m.name.startswith("car")]
    median = float(np.median(per_100))
    return {
        "benchmark": "traffic",
        "command": f"python benchmarks/traffic.py --cars {options.cars:g} --pedestrians {options.pedestrians:g} "
        f"--seconds {seconds}",
        "world": {"name": world.name, "triangles": len(world.scene.faces), "lane_km": network.length("car") * 1e-3},
        "members": traffic.summary,
        "network_cpu_s": round(made, 2),
        "step_cpu_ms": {"median": round(median, 3), "max_of_100": round(max(per_100), 3)},
        "snapshot_cpu_ms": round(snapshot * 1e3, 3),
        "floor_cpu_ms": round(floor, 3),
        "ratio_to_floor": round(median / floor, 2),
        "mean_speed_of_vehicles": round(float(speed[:, vehicles].mean()), 2) if vehicles else None,
        "machine": machine(),
        "versions": versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path)
    parser.add_argument("--cars", type=int, default=100)
    parser.add_argument("--pedestrians", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=300)
    add_json_option(parser)
    args = parser.parse_args()
    options = TrafficOptions(cars=args.cars, pedestrians=args.pedestrians, seed=1)
    with world_or_made(args.world) as world:
        result = measure(world, options, args.seconds)
    tell(result, args.json)


if __name__ == "__main__":
    main()

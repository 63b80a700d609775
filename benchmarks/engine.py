"""How fast the embedded engine is: frames per second of the full drone rig, start-up, memory, and the floor beneath it.

    python benchmarks/engine.py [--world DIR] [--frames 7] [--no-large] [--json FILE]

`full_rig` records whole frames (six 1600×900 pictures with depth, class and instance, JPEGs, cube depth and class,
LiDAR, IMU, occupancy and carving, files written); `sensors` only renders them; `occupancy_only` records without
pictures. The floor is Embree's bare traversal of the pictures' rays plus the JPEG encoder; the engine may lie below it,
for it does not trace a ray per pixel. `movers` is what fifty boxes add. Without `--world`, the city that the project
generates is converted first. `large` is a city of two million triangles made here. Each world is measured in a process
of its own, once with an empty cache of compiled kernels (cold) and then with a filled one (warm). Wall times suffer
from whatever else the machine does: compare CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _figures import add_json_option, tell, timed, world_or_made

from aerialworld_core.provenance import machine, versions


@dataclass
class LargeCity:
    """A world in memory: towers with recessed windows on a rough terrain."""

    scene: Any
    light: Any
    georeference: Any
    name: str = "large"
    sha256: str = "0" * 64

    def terrain_height(self, xy: Any) -> Any:
        return np.zeros(len(xy))

    def datum(self, x: float, y: float) -> float:
        return 0.0


def large_city(triangles: int = 2_000_000) -> LargeCity:
    """Towers whose walls are grids of windows: every window pane is set back by 0.3 m."""
    from aerialworld_core.frames import Georeference
    from aerialworld_core.world import Light, Material, Scene

    def facade(width: float, height: float) -> tuple[Any, Any]:
        """Vertices and faces of one wall in the plane y = 0 that looks towards −y, windows of 1.5 m every 3 m."""
        v, f = [], []
        for i in range(int(width // 3)):
            for k in range(int(height // 3)):
                x, z = 3.0 * i, 3.0 * k
                ring = [[0, 0, 0], [3, 0, 0], [3, 0, 3], [0, 0, 3], [0.7, 0, 0.7], [2.3, 0, 0.7], [2.3, 0, 2.3]]
                ring += [[0.7, 0, 2.3], [0.7, 0.3, 0.7], [2.3, 0.3, 0.7], [2.3, 0.3, 2.3], [0.7, 0.3, 2.3]]
                n = len(v)
                v += [[x + a, b, z + c] for a, b, c in ring]
                quads = [(a, (a + 1) % 4, (a + 1) % 4 + 4, a + 4) for a in range(4)]
                quads += [(a + 4, (a + 1) % 4 + 4, (a + 1) % 4 + 8, a + 8) for a in range(4)] + [(8, 9, 10, 11)]
                f += [[n + q[j] for j in t] for q in quads for t in ((0, 1, 2), (0, 2, 3))]
        return np.array(v), np.array(f)

    random = np.random.default_rng(0)
    side, floors = 18.0, 36.0
    wall_v, wall_f = facade(side, floors)
    parts_v, parts_f, count, first = [], [], 0, 0
    spots = [(x, y) for x in range(-15, 16) for y in range(-15, 16)]
    for x, y in random.permutation(spots).tolist():
        if count >= triangles:
            break
        for turn in range(4):
            c, s = np.cos(turn * np.pi / 2), np.sin(turn * np.pi / 2)
            local = wall_v - [side / 2, side / 2, 0]
            parts_v.append(local @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + [x * 30.0, y * 30.0, 0])
            parts_f.append(wall_f + first)
            first += len(wall_v)
            count += len(wall_f)
        roof = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * [side / 2, side / 2, 0]
        parts_v.append(roof + np.array([x * 30.0, y * 30.0, floors]))
        parts_f.append(np.array([[0, 1, 2], [0, 2, 3]]) + first)
        first += 4
    n = 400
    g = np.linspace(-600, 600, n + 1)
    gx, gy = np.meshgrid(g, g, indexing="ij")
    parts_v.append(np.stack([gx, gy, random.uniform(-0.2, 0.0, gx.shape)], -1).reshape(-1, 3))
    a = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel() + first
    ground = np.concatenate([np.stack([a, a + n + 1, a + n + 2], -1), np.stack([a, a + n + 2, a + 1], -1)])
    parts_f.append(ground)
    v, f = np.concatenate(parts_v).astype(np.float32), np.concatenate(parts_f).astype(np.int32)
    t = v[f]
    normal = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    is_ground = np.arange(len(f)) >= len(f) - len(ground)
    texture = random.integers(60, 220, (512, 512, 3), dtype=np.uint8)
    materials = [
        Material("wall", np.full(3, 0.8, np.float32), texture),
        Material("ground", np.full(3, 0.5, np.float32)),
    ]
    scene = Scene(
        v,
        f,
        np.where(is_ground, 14, 15).astype(np.uint8),
        np.ones(len(f), np.uint16),
        is_ground.astype(np.int32),
        (t[:, :, [0, 2]] / 10.0).astype(np.float32),
        np.repeat(normal[:, None], 3, axis=1).astype(np.float32),
        materials,
        ["city"],
    )
    light = Light(np.array([-0.45, 0.45, -0.77]), np.full(3, 0.9), np.full(3, 0.8), np.array([0.45, 0.62, 0.85]), True)
    return LargeCity(scene, light, Georeference(35.0, 139.0, 0.0))


def bare_traversal(engine: Any, pose: Any, cameras: Any) -> Callable[[int], None]:
    """Embree alone on the rays of the pictures, a packet per block of pixels: no shading, no culling."""
    from aerialworld_core.kernels import kernel
    from aerialworld_sim.packets import DIR_X, GEOM, NO_HIT, TFAR, TNEAR, PacketScratch, intersect

    @kernel
    def trace(scene, plain, lanes, origin, axes, focal, width, height, packet, bits, valid):  # type: ignore[no-untyped-def]
        valid[:] = -1
        bw = 4 if lanes > 4 else 2
        bh = lanes // bw
        for k in range(3):
            packet[k][:] = origin[k]
        packet[TNEAR][:] = np.float32(0.1)
        for y0 in range(0, height, bh):
            for x0 in range(0, width, bw):
                for i in range(lanes):
                    left = np.float32((width * 0.5 - 0.5 - x0 - i % bw) / focal)
                    up = np.float32((height * 0.5 - 0.5 - y0 - i // bw) / focal)
                    for k in range(3):
                        packet[DIR_X + k, i] = axes[0, k] + left * axes[1, k] + up * axes[2, k]
                    packet[TFAR, i] = np.float32(300.0)
                    bits[GEOM, i] = NO_HIT
                intersect(lanes, valid.ctypes.data, scene, packet.ctypes.data, plain)

    backend = engine.backend
    scene, plain, *_ = backend._traced()
    scratch = PacketScratch(backend.lanes, 0xFFFFFFFF)

    def run(_: int) -> None:
        for spec in cameras:
            p = pose @ spec.pose
            axes = np.ascontiguousarray(p.rotation.T, np.float32)
            origin = p.position.astype(np.float32)
            size = (spec.focal, spec.width, spec.height)
            trace(scene, plain, backend.lanes, origin, axes, *size, scratch.packet, scratch.bits, scratch.valid)

    run(0)
    return run


def with_movers(world: Any, rig: Any, plan: Any, frames: int) -> dict[str, float]:
    """What fifty moving boxes around the vehicle add to a frame of sensors: medians of frames in turns."""
    from aerialworld_core.frames import Pose
    from aerialworld_core.world.body import box_body
    from aerialworld_sim import Actor, Engine, Static, Vehicle

    body = box_body(np.array([4.0, 2.0, 1.5]), 4, np.full(3, 0.5))
    x, y, z = plan.position[0]
    spots = [
        Pose.from_rpy(x + 8.0 * (i % 10) - 36, y + 8.0 * (i // 10) - 16, z - 44.0, 0, 0, 0.1 * i) for i in range(50)
    ]
    actors = [Actor(f"box_{i}", body, Static(p), 4) for i, p in enumerate(spots)]
    vehicle = {"drone_1": Vehicle(rig, plan.trajectory())}
    empty, busy = Engine(world, vehicle), Engine(world, vehicle, actors=actors)
    cost: dict[str, list[float]] = {"without": [], "with": [], "place": []}
    for turn in range(frames + 2):
        for name, engine in (("without", empty), ("with", busy)):
            engine.step(100_000_000)
            start = time.process_time()
            if engine is busy:
                engine._place()
                placed = time.process_time() - start
            engine.render("drone_1", modalities=("images", "depth", "lidar"))
            if turn > 1:
                cost[name].append(time.process_time() - start)
                if engine is busy:
                    cost["place"].append(placed)
    medians = {name: statistics.median(values) for name, values in cost.items()}
    added = medians["with"] - medians["without"]
    return {"place_cpu_s": round(medians["place"], 5), "frame_cpu_s": round(added, 5), "boxes": 50}


def measure(source: str, frames: int, begun: float) -> dict[str, Any]:
    """All figures of one world, in this process; `begun` is the wall time at which the process was started."""
    from aerialworld_core.plan import Plan
    from aerialworld_core.world import load_rig, load_world

    loading = time.perf_counter()
    world: Any = large_city() if source == "large" else load_world(Path(source))
    loaded = time.perf_counter() - loading
    x, y = (15.0, 15.0) if source == "large" else (0.0, 0.0)
    ground = float(np.nan_to_num(world.terrain_height(np.array([[x, y]]))[0]))
    t = np.linspace(0.0, 30.0, 31)
    position = np.stack([x + 2.0 * t, np.full_like(t, y), np.full_like(t, ground + 45.0)], -1)
    plan = Plan("bench", "drone_1", "drone", "line", "all", 0, t, position, np.tile([0.0, 0.0, 0.0, 1.0], (31, 1)))
    rig = load_rig("rig_drone")
    made = loaded if source == "large" else 0.0  # making the large city is not the engine's work
    # The engine lives within: the peak of what follows is that of one engine.
    result: dict[str, Any] = {"triangles": len(world.scene.faces), **alone(world, rig, plan, frames, begun + made)}
    sensors, floor = result["sensors"], result["floor"]
    result["full_rig"] = record(world, plan, rig, frames, ("images", "depth", "lidar", "imu", "truth"))
    least = floor["traversal"]["cpu_s"] + floor["jpeg"]["cpu_s"]
    result["full_rig"]["floor_ratio"] = round(result["full_rig"]["cpu_s_per_frame"] / least, 2)
    result["occupancy_only"] = record(world, plan, rig, frames, ("depth", "lidar"))
    result["occupancy_only"]["stages_cpu_s"]["rays"] = sensors["depth"]["cpu_s"] + sensors["lidar"]["cpu_s"]
    result["memory"] = {"peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
    result["movers"] = with_movers(world, rig, plan, frames)
    return result


def alone(world: Any, rig: Any, plan: Any, frames: int, begun: float) -> dict[str, Any]:
    """Sensors without a recorder, the floor beneath them, and the start: from `begun` to the first frame."""
    import simplejpeg

    from aerialworld_sim import Engine, Vehicle

    engine = Engine(world, {"drone_1": Vehicle(rig, plan.trajectory())})
    engine.render("drone_1")
    start = time.time() - begun

    def render(*modalities: str) -> Callable[[int], None]:
        def call(_: int) -> None:
            engine.step(100_000_000)
            engine.render("drone_1", modalities=modalities)

        return call

    sensors: dict[str, Any] = {m: timed(render(m), frames) for m in ("images", "depth", "lidar", "imu")}
    sensors["all"] = timed(render("images", "depth", "lidar", "imu"), frames)
    sensors["frames_per_s"] = round(1.0 / sensors["all"]["wall_s"], 2)
    pictures = engine.render("drone_1", modalities={"images"}).images
    floor = {
        "traversal": timed(bare_traversal(engine, engine.state("drone_1").pose, rig.cameras), 3),
        "jpeg": timed(lambda _: [simplejpeg.encode_jpeg(p, 95, "RGB", "420") for p in pictures.values()], 3),
    }
    return {"renderer": engine.renderer, "start_s": round(start, 3), "sensors": sensors, "floor": floor}


def record(world: Any, plan: Any, rig: Any, frames: int, modalities: tuple[str, ...]) -> dict[str, Any]:
    """Whole frames into a session: rendering, occupancy, encoding, files."""
    from aerialworld_core.grid import DEFAULT_GRID
    from aerialworld_core.rig import Rig
    from aerialworld_core.session import SessionMeta
    from aerialworld_core.stopwatch import Stopwatch
    from aerialworld_recorder import Recorder
    from aerialworld_sim import Engine, Vehicle

    full = "images" in modalities
    kept = Rig(rig.name, rig.cameras if full else (), rig.depth, rig.lidar, rig.imu if full else None)
    engine = Engine(world, {"drone_1": Vehicle(kept, plan.trajectory())})
    x, y = plan.position[0, :2]
    meta = SessionMeta(
        vehicle="drone_1",
        agent_type="drone",
        engine=dict(Engine.ENGINE),
        world={"name": world.name, "sha256": world.sha256},
        georeference=world.georeference,
        grid=DEFAULT_GRID,
        datum=float(world.datum(float(x), float(y))),
        rig=kept,
        frame_period_ns=500_000_000,
        seed=0,
        mission=plan.name,
        conditions={"weather": "clear"},
        start_time="2024-01-15T12:00:00Z",
        attribution="",
    )
    watch = Stopwatch()
    with (
        tempfile.TemporaryDirectory() as folder,
        Recorder(Path(folder), meta, plan.to_dict(), {}, stopwatch=watch) as recorder,
    ):
        for index in range(frames + 2):
            if index == 2:  # two frames to compile and to fill caches
                wall, cpu = time.perf_counter(), time.process_time()
                watch.read()
            engine.step(500_000_000)
            recorder.record(index, engine.render("drone_1", modalities=modalities))
        recorder.close()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    stages = {name: round(seconds / frames, 4) for name, seconds in sorted(watch.read().items())}
    return {"frames_per_s": round(frames / wall, 2), "cpu_s_per_frame": round(cpu / frames, 4), "stages_cpu_s": stages}


def in_own_process(source: str, frames: int, cache: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", source, "--frames", str(frames), "--begun", repr(time.time())]
    output = subprocess.run(
        command, env={**os.environ, "NUMBA_CACHE_DIR": cache}, capture_output=True, text=True, check=False
    )
    if output.returncode:
        sys.exit(f"{source}: {output.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(output.stdout.splitlines()[-1])
    return result


def both_starts(source: str, frames: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as cache:
        cold = in_own_process(source, 1, cache)
        warm = in_own_process(source, frames, cache)
    warm["start"] = {"cold_s": cold["start_s"], "warm_s": warm.pop("start_s")}
    return warm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path)
    parser.add_argument("--frames", type=int, default=7)
    parser.add_argument("--no-large", action="store_true")
    add_json_option(parser)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--begun", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.frames, options.begun)))
        return
    with world_or_made(options.world) as world:
        result = {
            "machine": {**machine(), "load": os.getloadavg()[0]},
            "versions": versions(),
            "world": world.name,
            **both_starts(str(world), options.frames),
        }
        if not options.no_large:
            result["large"] = both_starts("large", options.frames)
    tell(result, options.json)


if __name__ == "__main__":
    main()

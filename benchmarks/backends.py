"""What rendering backends take for each kind of job: warp on its CPU device, on GPUs where there are any, and Embree.

    python benchmarks/backends.py [--triangles 200000] [--repeats 5] [--no-cpu] [--json FILE]

The city is made here: towers with recessed windows on rough ground, with 50 boxes that drive about. Jobs are those of
the drone's rig: pictures of 1600×900 with depth, class and instance, the depth cube (five faces of 400 and one of 800
pixels), a LiDAR of 32×1024 rays, and the placing of the 50 boxes. A frame is six pictures, the cube and the LiDAR after
the boxes have moved, in one call; frames per second are given for GPUs and Embree. Warp's CPU device runs in one thread
and is there for tests: one picture is measured. `compile_s` is the loading of warp's kernels, per device: a fraction of
a second once they are cached; `start_s` a backend's making after that. Wall times suffer from whatever else the machine
does: compare CPU seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from _figures import add_json_option, tell, timed
from engine import large_city  # beside this script

from aerialworld_core.frames import Pose
from aerialworld_core.provenance import machine, versions
from aerialworld_core.rig import CUBE_FACES, CameraSpec
from aerialworld_core.world.body import box_body
from aerialworld_sim import warp_runtime
from aerialworld_sim.backend import Backend, make_backend
from aerialworld_sim.jobs import DepthJob, PictureJob, ScanJob
from aerialworld_sim.render_scene import Body, RenderScene

_MOVERS = 50


def pictures(pose: Pose) -> list[PictureJob]:
    """Six cameras of 1600×900 around the vehicle, with every array."""
    jobs = []
    for i in range(6):
        spec = CameraSpec(f"cam_{i}", Pose.from_rpy(0, 0, 0, 0, 0.25, i * np.pi / 3), 1600, 900, 1.22, 0.1, 300.0, 10)
        shape = (900, 1600)
        truth = np.empty(shape, np.float32), np.empty(shape, np.uint8), np.empty(shape, np.uint16)
        jobs.append(PictureJob(spec, pose @ spec.pose, np.empty((*shape, 3), np.uint8), *truth))
    return jobs


def cube(pose: Pose) -> list[DepthJob]:
    jobs = []
    for name, (yaw, pitch) in CUBE_FACES.items():
        n = 800 if name == "down" else 400
        spec = CameraSpec(name, Pose.from_rpy(0, 0, 0, 0, pitch, yaw), n, n, np.pi / 2, 0.1, 200.0, 10)
        arrays = np.empty((n, n), np.float32), np.empty((n, n), np.uint8), np.empty((n, n), np.uint16)
        jobs.append(DepthJob(spec, pose @ spec.pose, *arrays))
    return jobs


def lidar(pose: Pose) -> ScanJob:
    azimuth, elevation = np.meshgrid(np.linspace(-np.pi, np.pi, 1024), np.linspace(-0.52, 0.26, 32))
    level = np.cos(elevation)
    rays = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], -1).reshape(-1, 3)
    n = len(rays)
    arrays = np.empty(n, np.float32), np.empty(n, np.float32), np.empty(n, np.int32)
    return ScanJob(rays.astype(np.float32), pose.position[None], pose.rotation[None], None, 100.0, *arrays)


def warm(call: Callable[[int], Any], repeats: int) -> dict[str, float]:
    """`timed`, after a call that is not measured."""
    call(-1)
    return timed(call, repeats)


def measure(make: Callable[[RenderScene], Backend], triangles: int, repeats: int, whole: bool) -> dict[str, Any]:
    """All figures of one backend; `whole` measures six pictures and whole frames, else one picture."""
    world = large_city(triangles)
    box = box_body(np.array([4.0, 2.0, 1.6]), 12, np.array([0.6, 0.1, 0.1]))
    bodies = [Body(f"box_{i}", box) for i in range(_MOVERS)]
    begin = time.perf_counter()
    scene = RenderScene(world.scene, world.light, bodies)
    prepared = time.perf_counter() - begin
    backend = make(scene)
    started = time.perf_counter() - begin - prepared
    pose = Pose.from_rpy(15.0, 15.0, 45.0, 0.02, -0.03, 0.4)
    shots, faces, scan = pictures(pose), cube(pose), lidar(pose)
    shots = shots if whole else shots[:1]
    random = np.random.default_rng(0)
    lanes = random.integers(-8, 8, (_MOVERS, 2)) * 30.0 + 15.0

    def move(index: int) -> None:
        drive = (1.5 * index) % 25.0
        scene.place({f"box_{i}": Pose.from_rpy(x + drive, y, 0.8) for i, (x, y) in enumerate(lanes)})
        backend.moved()

    def frame(index: int) -> None:
        move(index)
        backend.render([*shots, *faces, scan])

    move(0)
    result: dict[str, Any] = {
        "name": backend.name,
        "triangles": len(scene.surfaces.records),
        "scene_s": round(prepared, 3),
        "start_s": round(started, 3),
        "moved": warm(move, repeats),
        f"pictures_{len(shots)}": warm(lambda _: backend.render(shots), repeats),
        "depth_cube": warm(lambda _: backend.render(faces), repeats),
        "lidar": warm(lambda _: backend.render([scan]), repeats),
    }
    if whole:
        result["frame"] = warm(frame, repeats)
        result["frames_per_s"] = round(1.0 / result["frame"]["wall_s"], 2)
    result["checks"] = {
        "seen": round(float(np.isfinite(shots[0].depth).mean()), 4),
        "mean_grey": round(float(shots[0].rgb.mean()), 2),
        "scan_hits": int((scan.face >= 0).sum()),
    }
    return result


def backends(cpu: bool) -> Sequence[tuple[str, Callable[[RenderScene], Backend], bool]]:
    found: list[tuple[str, Callable[[RenderScene], Backend], bool]] = []
    if importlib.util.find_spec("warp") is not None:
        from aerialworld_sim.warp_backend import WarpBackend

        if warp_runtime.cuda_available():
            for device in warp_runtime.load().get_cuda_devices():
                name = str(device)
                found.append((f"warp {name}", lambda scene, name=name: WarpBackend(scene, device=name), True))
        if cpu:
            found.append(("warp cpu", lambda scene: WarpBackend(scene, device="cpu"), False))
    found.append(("embree", lambda scene: make_backend("embree", scene), True))
    return found


def compile_seconds() -> dict[str, float]:
    """Seconds that warp's kernels take to load, per device."""
    from aerialworld_sim.warp_runtime import load

    warp = load()
    from aerialworld_sim import warp_kernels

    seconds = {}
    for device in warp.get_devices():
        begin = time.perf_counter()
        warp.load_module(warp_kernels, device=device)
        seconds[str(device)] = round(time.perf_counter() - begin, 3)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triangles", type=int, default=200_000, help="of the towers; the ground has 320,000 more")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-cpu", action="store_true", help="leave warp's CPU device out")
    add_json_option(parser)
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": {**machine(), "load": os.getloadavg()[0]}, "versions": versions()}
    if importlib.util.find_spec("warp") is not None:
        result["versions"]["warp-lang"] = metadata.version("warp-lang")
        result["compile_s"] = compile_seconds()
    for name, make, whole in backends(not options.no_cpu):
        result[name] = measure(make, options.triangles, options.repeats, whole)
    result["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    tell(result, options.json)


if __name__ == "__main__":
    main()

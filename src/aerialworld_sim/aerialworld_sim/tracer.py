"""Renders single sensors of a world on a pool of threads: the engine's only way to Embree and the kernels."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_core.world.scene import Light, Scene
from aerialworld_sim import embree
from aerialworld_sim.surfaces import build_surfaces
from aerialworld_sim.textures import DECODE, ENCODE

#: Rows of a picture, and rays of a scan, that one task renders: fixed, so that results do not depend on thread counts.
ROWS, RAYS = 64, 2048


class Lit(Protocol):
    """What the tracer needs of a world."""

    @property
    def scene(self) -> Scene: ...
    @property
    def light(self) -> Light: ...


@dataclass(eq=False)
class Picture:
    """One camera's picture without noise. `rgb` (H, W, 3) uint8; the others are empty unless asked for: `depth` (H, W)
    float32 metres along the axis (+inf without a surface), `semantic` (H, W) uint8, `instance` (H, W) uint16, index
    into the scene's instances + 1, 0 for the sky."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    semantic: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 0), np.uint8))
    instance: NDArray[np.uint16] = field(default_factory=lambda: np.empty((0, 0), np.uint16))


def default_threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Tracer:
    """A world ready for tracing. `lanes` overrides the packet width that suits the processor (16, 8 or 4).

    Tasks run on plain threads: kernels release the GIL, and unlike numba's own thread pools this is safe from several
    Python threads at once. Raises EngineError when Embree is missing or wrong, WorldError for unusable geometry.
    """

    def __init__(
        self, world: Lit, *, threads: int | None = None, lanes: int | None = None, light: Light | None = None
    ) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; need at least 1")
        if lanes not in (None, 4, 8, 16):
            raise InputError(f"packets have 4, 8 or 16 lanes, not {lanes}")
        self.device = embree.Device()
        self.lanes = lanes or self.device.lanes
        from aerialworld_sim import colour_kernel, depth_kernel, packets, ray_kernel  # need Embree's symbols

        self._colour_kernel = colour_kernel.render_colour
        self._depth_kernel = depth_kernel.render_depth
        self._ray_kernel = ray_kernel.cast_rays
        self._plain = embree.query_arguments()
        self._culling = embree.query_arguments(filter_address=packets.cull_back_faces.address)
        self._self_test()
        embree.check_scene(world.scene)
        self.scene = world.scene
        self._bvh = embree.TriangleScene(self.device, world.scene.vertices, world.scene.faces)
        self.surfaces = build_surfaces(world.scene, light or world.light)
        s = self.surfaces
        self._lights = np.stack([s.sun, s.ambient, s.background, s.to_sun, s.zenith - s.background]).astype(np.float32)
        self._face_class = np.ascontiguousarray(world.scene.face_class, np.uint8)
        self._face_instance = np.ascontiguousarray(world.scene.face_instance, np.uint16)
        self.threads = threads or default_threads()
        self._pool: ThreadPoolExecutor | None = None
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="render")
            weakref.finalize(self, self._pool.shutdown, wait=False)

    def _queries(self, bvh: embree.TriangleScene) -> tuple[int, int, int, int]:
        return bvh.handle, self._plain.ctypes.data, self._culling.ctypes.data, self.lanes

    def _self_test(self) -> None:
        """Two triangles, the nearer one seen from behind: proves packet layout, distance and culling here."""
        vertices = np.array([[5, -9, -9], [5, 9, -9], [5, 0, 9], [7, -9, -9], [7, 9, -9], [7, 0, 9]], np.float32)
        bvh = embree.TriangleScene(self.device, vertices, np.array([[0, 1, 2], [3, 5, 4]], np.int32))
        rays = np.tile(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], np.float32), (11, 1))
        distance, triangle = np.zeros(33, np.float32), np.zeros(33, np.int32)
        origin, turn = np.zeros(3, np.float32), np.eye(3, dtype=np.float32)
        self._ray_kernel(*self._queries(bvh), origin, turn, rays, 100.0, 0, 33, distance, triangle)
        expected = np.tile(np.array([7.0, np.inf, np.inf], np.float32), 11)
        if not np.allclose(distance, expected, atol=1e-5) or (triangle != np.tile([1, -1, -1], 11)).any():
            raise embree.EngineError(
                f"Embree {self.device.version} answers the self-test wrongly with packets of {self.lanes} "
                f"({distance[:3].tolist()} instead of [7, inf, inf]); reinstall it: {embree.PIP_LINE} --force-reinstall"
            )

    def run(self, tasks: Iterable[Callable[[], Any]]) -> None:
        """Run tasks on the pool and wait; the first error is raised."""
        if self._pool is None:
            for task in tasks:
                task()
            return
        futures = [self._pool.submit(task) for task in tasks]
        for future in futures:
            future.result()

    def picture_tasks(
        self, spec: CameraSpec, pose: Pose, *, truth: bool = False
    ) -> tuple[Picture, list[Callable[[], Any]]]:
        """A picture from camera link `pose` in map and the tasks that fill it; with `truth`, depth and labels too."""
        shape = (spec.height, spec.width)
        picture = Picture(np.empty((*shape, 3), np.uint8))
        if truth:
            picture.depth, picture.semantic = np.empty(shape, np.float32), np.empty(shape, np.uint8)
            picture.instance = np.empty(shape, np.uint16)
        s, t = self.surfaces, self.surfaces.textures
        origin, axes = pose.position.astype(np.float32), np.ascontiguousarray(pose.rotation.T, np.float32)
        before = (
            *self._queries(self._bvh),
            *(origin, axes, spec.focal, spec.near, spec.far),
            *(s.records, s.colour, t.first_level, t.levels, t.texels, t.level_offset, t.level_width, t.level_height),
            *(self._lights, s.shadows, DECODE, ENCODE),
        )
        after = (picture.rgb, picture.depth, picture.semantic, picture.instance)
        return picture, [
            lambda a=a: self._colour_kernel(*before, a, min(a + ROWS, spec.height), *after)  # type: ignore[misc]
            for a in range(0, spec.height, ROWS)
        ]

    def depth_tasks(
        self, spec: CameraSpec, pose: Pose, *, truth: bool = False
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint16], list[Callable[[], Any]]]:
        """Depth (H, W) float32, class (H, W) uint8 and, with `truth`, instance (H, W) uint16 (else empty) from camera
        link `pose` in map, and the tasks that fill them."""
        depth = np.empty((spec.height, spec.width), np.float32)
        semantic = np.empty((spec.height, spec.width), np.uint8)
        instance = np.empty((spec.height, spec.width) if truth else (0, 0), np.uint16)
        origin, axes = pose.position.astype(np.float32), np.ascontiguousarray(pose.rotation.T, np.float32)
        labels = (self._face_class, self._face_instance)
        before = (*self._queries(self._bvh), origin, axes, spec.focal, spec.near, spec.far, *labels)
        return (
            depth,
            semantic,
            instance,
            [
                lambda a=a: self._depth_kernel(  # type: ignore[misc]
                    *before, a, min(a + ROWS, spec.height), depth, semantic, instance
                )
                for a in range(0, spec.height, ROWS)
            ],
        )

    def ray_tasks(
        self, directions: NDArray[np.float32], pose: Pose, far: float
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], list[Callable[[], Any]]]:
        """Distances (N,) float32 (+inf for none) and triangles (N,) int32 (−1) along rays from `pose`, and tasks."""
        distance, triangle = np.empty(len(directions), np.float32), np.empty(len(directions), np.int32)
        origin, turn = pose.position.astype(np.float32), np.ascontiguousarray(pose.rotation, np.float32)
        before = (*self._queries(self._bvh), origin, turn, directions, far)
        return (
            distance,
            triangle,
            [
                lambda a=a: self._ray_kernel(*before, a, min(a + RAYS, len(directions)), distance, triangle)  # type: ignore[misc]
                for a in range(0, len(directions), RAYS)
            ],
        )

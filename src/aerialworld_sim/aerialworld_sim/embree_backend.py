"""The CPU backend: pictures by rasterised tiles, scans by Embree's ray packets, on a pool of threads.

Tasks run on plain threads: kernels release the GIL. A task is a fixed band of rows or rays, so results do not depend on
the number of threads.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.processors import processors
from aerialworld_sim import embree, raster, shading
from aerialworld_sim.bvh import build_tree
from aerialworld_sim.jobs import DepthJob, PictureJob, ScanJob
from aerialworld_sim.labels import label_rows
from aerialworld_sim.movers import (
    Placed,
    ShadowMask,
    Shadows,
    box_corners,
    in_band,
    placed_for,
    screen_seen,
    shadows_of,
)
from aerialworld_sim.render_scene import RenderScene
from aerialworld_sim.sun_map import SunMap

#: Rows of a picture, and rays of a scan, that one task renders.
ROWS, RAYS = 64, 2048
_NOTHING = np.zeros((0, 0), np.float32)
#: Directions of a pinhole's pixels, which need no table.
_NO_RAYS = np.zeros((0, 0), np.float32)
#: Bits of a ray's mask, one for each vehicle whose own body its rays do not see.
_MASK_BITS = 32
Tasks = list[Callable[[], Any]]


def camera_numbers(job: PictureJob | DepthJob) -> NDArray[np.float64]:
    """A camera as `raster.see_rows` takes it."""
    spec, k = job.spec, job.spec.intrinsics
    numbers = np.empty(raster.CAMERA_NUMBERS)
    numbers[:3] = job.pose.position
    numbers[3:12] = job.pose.rotation.T.ravel()
    numbers[12:] = k[0, 0], k[1, 1], k[0, 2] - 0.5, k[1, 2] - 0.5, spec.near, spec.far
    return numbers


def _pinhole(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """(cx, cy, 1/focal, 1/focal_y)."""
    return np.array([camera[raster.CX], camera[raster.CY], 1.0 / camera[raster.FOCAL], 1.0 / camera[raster.FOCAL_Y]])


class _Workspace(threading.local):
    """Each thread's scratch memory, kept from task to task."""

    def __init__(self) -> None:
        self.tile = raster.Scratch()
        self._bands: dict[int, tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]] = {}
        self._shaders: dict[int, shading.Shader] = {}

    def band(self, rows: int, width: int) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """Room for faces and barycentrics of rows ≤ ROWS of a picture."""
        if width not in self._bands:
            shape = (ROWS, width)
            self._bands[width] = np.empty(shape, np.int32), np.empty(shape, np.float32), np.empty(shape, np.float32)
        face, u, v = self._bands[width]
        return face[:rows], u[:rows], v[:rows]

    def shader(self, width: int) -> shading.Shader:
        if width not in self._shaders:
            self._shaders[width] = shading.Shader(width)
        return self._shaders[width]


class EmbreeBackend:
    """See `backend.Backend`. `lanes` (16, 8, 4) overrides the packet width that suits the processor.

    Raises EngineError when Embree is missing or wrong.
    """

    def __init__(self, scene: RenderScene, *, threads: int | None = None, lanes: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; need at least 1")
        if lanes not in (None, 4, 8, 16):
            raise InputError(f"packets have 4, 8 or 16 lanes, not {lanes}")
        if any(m.owner >= _MASK_BITS for m in scene.movers):
            raise InputError(f"a vehicle beyond the {_MASK_BITS}nd has a body; more cannot hide from their own rays")
        self.device = embree.Device()
        self.lanes = lanes or self.device.lanes
        from aerialworld_sim import packets  # needs Embree's symbols

        self._cast_rays, self._trace_rows = packets.cast_rays, packets.trace_rows
        self._new_packet = packets.PacketScratch
        self._plain = embree.query_arguments()
        self._culling = embree.query_arguments(filter_address=packets.cull_back_faces.address)
        self._self_test()
        self.scene = scene
        self.tree = build_tree(scene.scene.vertices, scene.scene.faces)
        self.threads = threads or processors()
        self._placed: dict[int, Placed] = {}
        self._fallen: Shadows | None = None
        self.workspace = _Workspace()
        self._pool: ThreadPoolExecutor | None = None
        if self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="render")
            weakref.finalize(self, self._pool.shutdown, wait=False)

    @property
    def name(self) -> str:
        return f"embree {self.device.version}, {self.lanes} lanes"

    def moved(self) -> None:
        self._placed.clear()
        self._fallen = None
        if self.scene.movers and "_instances" in self.__dict__:
            self._place_instances(self._instances)

    def render(self, jobs: Sequence[PictureJob | DepthJob | ScanJob]) -> None:
        tasks: Tasks = []
        for job in jobs:
            if isinstance(job, PictureJob):
                tasks += self._picture(job)
            elif isinstance(job, DepthJob):
                tasks += self._depth(job)
            else:
                tasks += self._scan(job)
        self.run(tasks)

    def run(self, tasks: Iterable[Callable[[], Any]]) -> None:
        """Run tasks on the pool and wait; the first error is raised."""
        if self._pool is None:
            for task in tasks:
                task()
            return
        for future in [self._pool.submit(task) for task in tasks]:
            future.result()

    @cached_property
    def _static(self) -> embree.TriangleScene:
        """Embree's own hierarchy, built when a scan or a distorted camera first needs it."""
        return embree.TriangleScene(self.device, self.scene.scene.vertices, self.scene.scene.faces)

    @cached_property
    def _instances(self) -> embree.InstanceScene:
        bodies = [
            embree.TriangleScene(
                self.device, m.corners.reshape(-1, 3), np.arange(3 * m.count, dtype=np.int32).reshape(-1, 3)
            )
            for m in self.scene.movers
        ]
        masks = [embree.ALL_RAYS, *(embree.ALL_RAYS if m.owner < 0 else 1 << m.owner for m in self.scene.movers)]
        instances = embree.InstanceScene(self.device, [self._static, *bodies], masks)
        self._place_instances(instances)
        return instances

    def _place_instances(self, instances: embree.InstanceScene) -> None:
        instances.place(self.scene.bodies.present, self.scene.bodies.matrices)

    def _traced(self) -> tuple[int, int, int, int, NDArray[np.int32], NDArray[np.float32]]:
        """The scene as kernels that trace rays take it."""
        movers = self.scene.movers
        handle = self._instances.handle if movers else self._static.handle
        rows = np.array([0, *(m.first for m in movers)], np.int32)
        arguments = self._plain.ctypes.data, self._culling.ctypes.data
        return handle, *arguments, self.lanes, rows, self.scene.surfaces.records

    def _mask(self, viewer: int) -> int:
        return embree.ALL_RAYS if viewer < 0 or not self.scene.movers else embree.ALL_RAYS & ~(1 << viewer)

    def _movers(self, viewer: int) -> Placed:
        if viewer not in self._placed:
            self._placed[viewer] = placed_for(self.scene, viewer)
        return self._placed[viewer]

    def _shadows(self, placed: Placed) -> Shadows:
        """Where the movers' shadows fall, which is the same for every viewer."""
        if self._fallen is None:
            self._fallen = shadows_of(placed, self.tree, self._sun_map.axes)
        return self._fallen

    @cached_property
    def _sun_map(self) -> SunMap:
        return SunMap(self.scene.scene.bounds, self.scene.surfaces.to_sun.astype(np.float64))

    def see(
        self, camera: NDArray[np.float64], movers: Placed, rows: NDArray[np.float64], first: int, last: int,
        face: Any, depth: Any, u: Any, v: Any,
    ) -> None:  # fmt: skip
        """`raster.see_rows` for rows first … last − 1 of a picture, with the movers that `rows` (see `screen_seen`)
        touch; the arrays' first row is `first`."""
        tree, chosen = self.tree, np.flatnonzero(in_band(rows, first, last) & movers.visible)
        raster.see_rows(
            tree.nodes, tree.links, tree.corners, tree.face, chosen, movers.boxes, movers.first, movers.corners,
            movers.face, camera, *self.workspace.tile.fields, first, first, last, face, depth, u, v,
        )  # fmt: skip

    def _picture(self, job: PictureJob) -> Tasks:
        picture = _PictureTask(self, job)
        return [lambda a=a: picture.rows(a) for a in range(0, job.spec.height, ROWS)]  # type: ignore[misc]

    def _depth(self, job: DepthJob) -> Tasks:
        spec, movers = job.spec, self._movers(job.viewer)
        camera = camera_numbers(job)
        seen = screen_seen(box_corners(movers.boxes), camera, (spec.width, spec.height))
        camera[raster.NEAR] = 0.0  # what is nearer hides what is behind it, and is told apart below
        pinhole, labels = _pinhole(camera), self.scene.surfaces.labels
        instance = np.zeros((0, 0), np.uint16) if job.instance is None else job.instance

        def rows(first: int) -> None:
            last = min(first + ROWS, spec.height)
            (face, *_), depth = self.workspace.band(last - first, spec.width), job.depth[first:last]
            self.see(camera, movers, seen, first, last, face, depth, _NOTHING, _NOTHING)
            label_rows(face, depth, pinhole, spec.near, spec.far, True, labels, first, job.semantic, instance)

        return [lambda a=a: rows(a) for a in range(0, spec.height, ROWS)]  # type: ignore[misc]

    def _scan(self, job: ScanJob) -> Tasks:
        traced, mask = self._traced(), self._mask(job.viewer)
        origins = np.ascontiguousarray(job.origins, np.float64)
        rotations = np.ascontiguousarray(job.rotations, np.float64)
        pose_of = np.zeros(0, np.int32) if job.pose_of is None else job.pose_of
        count = len(job.directions)

        def rays(first: int) -> None:
            self._cast_rays(
                *traced, origins, rotations, pose_of, job.directions, float(job.far),
                *self._new_packet(self.lanes, mask).fields, first, min(first + RAYS, count), job.distance, job.cosine,
                job.face,
            )  # fmt: skip

        return [lambda a=a: rays(a) for a in range(0, count, RAYS)]  # type: ignore[misc]

    def _self_test(self) -> None:
        """Two triangles, the nearer one seen from behind: proves packet layout, distance and culling here."""
        vertices = np.array([[5, -9, -9], [5, 9, -9], [5, 0, 9], [7, -9, -9], [7, 9, -9], [7, 0, 9]], np.float32)
        scene = embree.TriangleScene(self.device, vertices, np.array([[0, 1, 2], [3, 5, 4]], np.int32))
        rays = np.tile(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], np.float32), (11, 1))
        distance, cosine, face = np.zeros(33, np.float32), np.zeros(33, np.float32), np.zeros(33, np.int32)
        arguments = self._plain.ctypes.data, self._culling.ctypes.data
        self._cast_rays(
            scene.handle, *arguments, self.lanes, np.zeros(1, np.int32), np.zeros((2, 16), np.float32),
            np.zeros((1, 3)), np.eye(3)[None], np.zeros(0, np.int32), rays, 100.0,
            *self._new_packet(self.lanes, embree.ALL_RAYS).fields, 0, 33, distance, cosine, face,
        )  # fmt: skip
        expected = np.tile(np.array([7.0, np.inf, np.inf], np.float32), 11)
        if not np.allclose(distance, expected, atol=1e-5) or (face != np.tile([1, -1, -1], 11)).any():
            raise embree.EngineError(
                f"Embree {self.device.version} answers the self-test wrongly with packets of {self.lanes} "
                f"({distance[:3].tolist()} instead of [7, inf, inf]); reinstall it: {embree.PIP_LINE} --force-reinstall"
            )


class _PictureTask:
    """One camera's picture, band of rows by band of rows: what is seen, how it looks, what it is."""

    def __init__(self, backend: EmbreeBackend, job: PictureJob) -> None:
        self.backend, self.job = backend, job
        self.camera = camera_numbers(job)
        self.pinhole = _pinhole(self.camera)
        self.movers = backend._movers(job.viewer)
        self.seen = screen_seen(box_corners(self.movers.boxes), self.camera, (job.spec.width, job.spec.height))
        self.traced = backend._traced() if job.rays else None
        surfaces = backend.scene.surfaces
        self.axes = job.pose.rotation.T
        self.look = shading.picture_look(job.pose.position, self.axes, job.spec.focal, surfaces, backend._sun_map)
        self.shadows = surfaces.shadows and bool(len(backend.tree.nodes))
        self.mask: ShadowMask | None = None
        if self.shadows and self.movers.present.any():
            rays = job.rays or (_NO_RAYS, _NO_RAYS)
            self.mask = ShadowMask(
                self.movers, backend._shadows(self.movers), backend._sun_map.axes, self.camera, self.pinhole, rays,
                (job.spec.width, job.spec.height),
            )  # fmt: skip

    def rows(self, first: int) -> None:
        job, spec = self.job, self.job.spec
        last = min(first + ROWS, spec.height)
        shape = (last - first, spec.width)
        face, u, v = self.backend.workspace.band(*shape)
        depth = np.empty(shape, np.float32) if job.depth is None else job.depth[first:last]
        self._see(first, last, face, depth, u, v)
        if job.rgb is not None:
            self._shade(first, face, depth, u, v)
        if job.semantic is not None or job.instance is not None:
            semantic = np.zeros((0, 0), np.uint8) if job.semantic is None else job.semantic
            instance = np.zeros((0, 0), np.uint16) if job.instance is None else job.instance
            labels = self.backend.scene.surfaces.labels
            label_rows(face, depth, self.pinhole, spec.near, spec.far, False, labels, first, semantic, instance)

    def _see(self, first: int, last: int, face: Any, depth: Any, u: Any, v: Any) -> None:
        b = self.backend
        if self.traced is None or self.job.rays is None:
            b.see(self.camera, self.movers, self.seen, first, last, face, depth, u, v)
        else:
            packet = b._new_packet(b.lanes, b._mask(self.job.viewer))
            b._trace_rows(*self.traced, self.camera, *self.job.rays, *packet.fields, first, face, depth, u, v)

    def _shade(self, first: int, face: Any, depth: Any, u: Any, v: Any) -> None:
        b, sun_map = self.backend, self.backend._sun_map
        rays = self.job.rays or (_NO_RAYS, _NO_RAYS)
        hidden = np.zeros(0, np.uint8)
        if self.mask is not None and self.mask.any(first, first + len(face)):
            hidden = self.mask.rows(first, depth)
        wanted, shader = np.ones(len(face), np.uint8), b.workspace.shader(face.shape[1])
        while True:
            shader.look_at(self.look, *sun_map.kept)
            missing = shader.shade(
                wanted, face, depth, u, v, self.pinhole, rays, hidden, self.shadows, first, self.job.rgb
            )
            if not len(missing):
                return
            sun_map.fill(b.tree, missing)

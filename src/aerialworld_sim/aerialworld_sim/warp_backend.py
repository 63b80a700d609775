"""The engine's rays on NVIDIA GPUs: the model of the Embree backend as CUDA kernels written in warp.

The same kernels run on warp's "cpu" device, in one thread; there they are compared with the Embree backend. **They have
never run on a GPU here**: they keep to what warp documents as the same on both devices, but neither their results nor
their speed on CUDA were measured. Where there is a GPU, the tests run on it too, and `python benchmarks/backends.py`
measures its speed. Depths are computed in float64 from the face that a float32 query finds.

Of rays that are aimed exactly at the edges of axis-aligned faces, warp's own traversal lets 1 to 2 % slip through;
`warp_rays` casts again what met nothing or a back face, and let none of 18 million slip. Shadow rays go but once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import CameraSpec
from aerialworld_core.world.scene import Light, Material, Scene
from aerialworld_sim import warp_runtime
from aerialworld_sim.embree import EngineError
from aerialworld_sim.jobs import DepthJob, PictureJob, Rays, ScanJob
from aerialworld_sim.render_scene import Body, RenderScene
from aerialworld_sim.warp_runtime import cuda_available

__all__ = ["WarpBackend", "cuda_available"]

Job = PictureJob | DepthJob | ScanJob
#: Cameras whose tables of rays stay on the device.
_KEPT_TABLES = 64


class WarpBackend:
    """Renders `scene` on a warp device: `device` ("cuda:1", "cpu"), else the first CUDA device, else the processor.

    World and textures are copied to the device once, results come back in one copy per job. Tables of rays (PictureJob)
    are copied when they are first seen and taken as unchanging while they are in use. Not shared between threads.
    Raises EngineError when warp is missing, of another version, answers a self-test wrongly, or lacks memory.
    """

    def __init__(self, scene: RenderScene, *, device: str | None = None) -> None:
        self._wp: Any = warp_runtime.load()
        self._device = warp_runtime.choose_device(device)
        from aerialworld_sim import warp_kernels, warp_results, warp_world  # need warp, configured

        self._kernels, self._new_results, self._new_world = warp_kernels, warp_results.Results, warp_world.DeviceWorld
        self._results: list[Any] = []
        self._tables: OrderedDict[tuple[int, int], tuple[Rays, Any, Any]] = OrderedDict()
        try:
            self._wp.load_module(warp_kernels, device=self._device)
        except Exception as error:  # what warp raises when a compiler fails has no type of its own
            raise EngineError(
                f"{self.name}: its kernels do not compile into {self._wp.config.kernel_cache_dir}: {error}"
            ) from error
        with self._named_errors():
            self._world = self._new_world(_two_triangles(), self._device)
            self._self_test()
            self._world = self._new_world(scene, self._device)

    @property
    def name(self) -> str:
        """E.g. "warp 1.19.0, NVIDIA H100 80GB HBM3" or "warp 1.19.0, cpu"."""
        return f"warp {self._wp.__version__}, {self._device.name if self._device.is_cuda else 'cpu'}"

    def moved(self) -> None:
        """The scene's movers have been placed anew (RenderScene.place)."""
        with self._named_errors():
            self._world.moved()

    def render(self, jobs: Sequence[Job]) -> None:
        """Fill the arrays of all jobs. Raises InputError for arrays that do not fit their job."""
        while len(self._results) < len(jobs):
            self._results.append(self._new_results(self._device))
        with self._named_errors():
            for job, results in zip(jobs, self._results, strict=False):
                if isinstance(job, ScanJob):
                    self._scan(job, results)
                elif isinstance(job, PictureJob):
                    self._picture(job, results)
                else:
                    self._depth(job, results)
                results.fetch()
            self._wp.synchronize_device(self._device)
            for results in self._results[: len(jobs)]:
                results.deliver()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            raise EngineError(
                f"{self.name}: {error} (a world needs about 200 bytes per triangle and 4 per texel on the device; "
                "where it has less, choose the backend embree)"
            ) from error

    def _launch(self, kernel: Any, dim: Any, inputs: Sequence[Any]) -> None:
        world = (self._world.geometry, self._world.look)
        self._wp.launch(kernel, dim=dim, inputs=[*world, *inputs], device=self._device)

    def _picture(self, job: PictureJob, results: Any) -> None:
        height, width = job.spec.height, job.spec.width
        _check("picture", job.rgb, (height, width, 3), np.uint8)
        _check("picture's depth", job.depth, (height, width), np.float32)
        _check("picture's semantic", job.semantic, (height, width), np.uint8)
        _check("picture's instance", job.instance, (height, width), np.uint16)
        outputs = results.begin([job.rgb, job.depth, job.semantic, job.instance])
        view = self._view(job.spec, job.pose, job.viewer)
        if job.rays is not None:
            view.left_of, view.up_of = self._table(job.rays, (height, width))
        self._launch(self._kernels.picture, self._blocks(job.spec), [view, *outputs])

    def _depth(self, job: DepthJob, results: Any) -> None:
        shape = (job.spec.height, job.spec.width)
        _check("depth", job.depth, shape, np.float32)
        _check("depth's semantic", job.semantic, shape, np.uint8)
        _check("depth's instance", job.instance, shape, np.uint16)
        outputs = results.begin([job.depth, job.semantic, job.instance])
        view = self._view(job.spec, job.pose, job.viewer)
        self._launch(self._kernels.depth_image, self._blocks(job.spec), [view, *outputs])

    def _scan(self, job: ScanJob, results: Any) -> None:
        count, poses = len(job.directions), len(job.origins)
        _check("directions", job.directions, (count, 3), np.float32)
        if job.origins.shape != (poses, 3) or job.rotations.shape != (poses, 3, 3) or not poses:
            raise InputError(f"scan: origins {job.origins.shape} and rotations {job.rotations.shape} are no poses")
        _check("pose_of", job.pose_of, (count,), np.int32)
        if job.pose_of is not None and count and not 0 <= job.pose_of.min() <= job.pose_of.max() < poses:
            raise InputError(f"scan: pose_of names a pose outside the {poses} there are")
        for name, target, dtype in (
            ("distance", job.distance, np.float32),
            ("cosine", job.cosine, np.float32),
            ("face", job.face, np.int32),
        ):
            _check(name, target, (count,), dtype)
        outputs = results.begin([job.distance, job.cosine, job.face])
        if not count:
            return
        wp = self._wp
        inputs = [
            self._array(job.directions, wp.vec3),
            self._array(job.origins, wp.vec3d),
            self._array(job.rotations, wp.mat33d),
            None if job.pose_of is None else self._array(job.pose_of, wp.int32),
            job.far,
            job.viewer,
        ]
        self._launch(self._kernels.scan, count, [*inputs, *outputs])

    def _array(self, data: NDArray[Any], dtype: Any) -> Any:
        return self._wp.array(np.ascontiguousarray(data), dtype=dtype, device=self._device)

    def _view(self, spec: CameraSpec, pose: Pose, viewer: int) -> Any:
        vec3d = self._wp.vec3d
        view: Any = self._kernels.View()
        view.origin = vec3d(*pose.position.tolist())
        view.forward, view.left, view.up = (vec3d(*axis) for axis in pose.rotation.T.tolist())
        view.width, view.height = spec.width, spec.height
        view.cx, view.cy = spec.width * 0.5 - 0.5, spec.height * 0.5 - 0.5
        view.inverse, view.near, view.far = 1.0 / spec.focal, spec.near, spec.far
        view.viewer = viewer
        return view

    def _blocks(self, spec: CameraSpec) -> tuple[int, int, int]:
        w, h = self._kernels.BLOCK_WIDTH, self._kernels.BLOCK_HEIGHT
        return -(-spec.height // h), -(-spec.width // w), w * h

    def _table(self, rays: Rays, shape: tuple[int, int]) -> tuple[Any, Any]:
        """A camera's directions on the device; the arrays are held as long, so that their ids stay theirs."""
        key = (id(rays[0]), id(rays[1]))
        if key not in self._tables:
            for name, table in zip(("left", "up"), rays, strict=True):
                _check(f"rays' {name}", table, shape, np.float32)
            self._tables[key] = (rays, *(self._array(table, self._wp.float32) for table in rays))
            if len(self._tables) > _KEPT_TABLES:
                self._tables.popitem(last=False)
        self._tables.move_to_end(key)
        _, left, up = self._tables[key]
        if left.shape != shape:
            raise InputError(f"rays' left is {left.shape}, should be {shape}")
        return left, up

    def _self_test(self) -> None:
        """The nearest face stands with its back to the ray, the next belongs to the viewer or not: proves which side
        warp calls the front, distances, and that movers are passed, on this device."""
        rays = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], np.float32)
        answers = []
        for viewer in (-1, 0):
            distance, cosine, face = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.int32)
            poses = np.zeros((1, 3)), np.eye(3)[None]
            self.render([ScanJob(rays, *poses, None, 100.0, distance, cosine, face, viewer)])
            answers.append((distance.tolist(), face.tolist()))
        (seen, row), (passed, row_passed) = answers
        right = row == [2, -1, -1] and row_passed == [1, -1, -1]
        if not right or not np.allclose([seen, passed], [[6.0, np.inf, np.inf], [7.0, np.inf, np.inf]], atol=1e-5):
            raise EngineError(
                f"{self.name} answers the self-test wrongly ({seen} and {passed} instead of [6, inf, inf] and "
                f"[7, inf, inf]); reinstall it: {warp_runtime.PIP_LINE} --force-reinstall"
            )


def _check(name: str, array: NDArray[Any] | None, shape: tuple[int, ...], dtype: type) -> None:
    if array is not None and (array.shape != shape or array.dtype != dtype):
        raise InputError(f"{name} is {array.shape} {array.dtype}, should be {shape} {np.dtype(dtype)}")


def _two_triangles() -> RenderScene:
    """Static triangles 5 m and 7 m along x, of which the nearer turns its back, and vehicle 0's own at 6 m."""

    def facing(*distances: float) -> Scene:
        n = len(distances)
        corners = np.array(
            [[[abs(x), y, z] for y, z in ((-9, -9), (0, 9), (9, -9))][:: int(np.sign(x))] for x in distances]
        )
        return Scene(
            corners.reshape(-1, 3).astype(np.float32),
            np.arange(3 * n, dtype=np.int32).reshape(n, 3),
            np.zeros(n, np.uint8),
            np.zeros(n, np.uint16),
            np.zeros(n, np.int32),
            np.zeros((n, 3, 2), np.float32),
            np.tile(np.array([-1, 0, 0], np.float32), (n, 3, 1)),
            [Material("plain", np.ones(3, np.float32))],
        )

    light = Light(np.array([0.0, 0.0, -1.0]), np.zeros(3), np.ones(3), np.zeros(3), False)
    scene = RenderScene(facing(-5.0, 7.0), light, [Body("own", facing(6.0), owner="v")], ["v"])
    scene.place({"own": Pose.identity()})
    return scene

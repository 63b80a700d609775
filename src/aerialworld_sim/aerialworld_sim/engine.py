"""The embedded engine: simulation time, vehicles on their motions, and what their rigs see.

A pure function of world, vehicles and seed: no wall clock, no global state; equal inputs give equal bytes on any number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.rig import CameraSpec, LidarSpec
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.world.scene import Light
from aerialworld_sim import __version__, noise
from aerialworld_sim.imu import sample_stamps, simulate_imu
from aerialworld_sim.lidar import LidarSampling, beam_directions, ray_directions
from aerialworld_sim.motion import Vehicle
from aerialworld_sim.tracer import Lit, Picture, Tracer

IMAGES, DEPTH, LIDAR, IMU, TRUTH = "images", "depth", "lidar", "imu", "truth"
ALL: frozenset[str] = frozenset({IMAGES, DEPTH, LIDAR, IMU})

Tasks = list[Callable[[], Any]]


class World(Lit, Protocol):
    """What the engine needs of a world; `aerialworld_core.world.load_world` returns one."""

    def terrain_height(self, xy: NDArray[np.float64]) -> NDArray[np.float64]: ...


@dataclass(frozen=True, eq=False)
class _Scan:
    """A LiDAR's directions, computed once: `rays` are traced, `beams` are reported."""

    beams: NDArray[np.float64]
    rays: NDArray[np.float32]


class Engine:
    """Simulates the rigs of `vehicles` (name → Vehicle) in `world`.

    `lidar_sampling` "gazebo" reads ranges as Gazebo's gpu_lidar does (nearest texel of a cube map), for comparison;
    "exact" traces the beams themselves. `light` replaces the world's own.
    `threads` defaults to the processors available. `lanes` forces a packet width.
    Raises EngineError when Embree is missing or wrong, WorldError for an unusable scene, InputError for bad arguments.
    """

    ENGINE: ClassVar[dict[str, str]] = {"name": "embedded", "version": __version__}

    def __init__(
        self,
        world: World,
        vehicles: Mapping[str, Vehicle],
        *,
        seed: int = 0,
        threads: int | None = None,
        lidar_sampling: LidarSampling = "exact",
        lanes: int | None = None,
        light: Light | None = None,
    ) -> None:
        if lidar_sampling not in ("exact", "gazebo"):
            raise InputError(f"lidar_sampling is exact or gazebo, not {lidar_sampling!r}")
        self.world = world
        self.vehicles = dict(vehicles)
        self.seed = int(seed)
        self.tracer = Tracer(world, threads=threads, lanes=lanes, light=light)
        self._retro = np.array([m.laser_retro for m in world.scene.materials], np.float32)
        self._lidar_sampling: LidarSampling = lidar_sampling
        self._scans: dict[int, _Scan] = {}
        self.reset()

    @property
    def renderer(self) -> str:
        """What renders, in words: library, version, packet width."""
        return f"embree {self.tracer.device.version}, {self.tracer.lanes} lanes"

    @property
    def stamp_ns(self) -> int:
        """Simulation time, integer nanoseconds."""
        return self._stamp_ns

    def reset(self) -> None:
        """Back to time 0; IMU samples start anew, with the sample at time 0 as the first."""
        self._stamp_ns = 0
        self._imu_until = dict.fromkeys(self.vehicles, -1)

    def step(self, dt_ns: int) -> dict[str, VehicleState]:
        """Advance simulation time by `dt_ns` > 0 and return every vehicle's state there."""
        if dt_ns <= 0:
            raise InputError(f"a step of {dt_ns} ns does not advance time")
        self._stamp_ns += int(dt_ns)
        return {name: self.state(name) for name in self.vehicles}

    def state(self, vehicle: str) -> VehicleState:
        """The true state of one vehicle now."""
        return self._vehicle(vehicle).motion.state(self._stamp_ns)

    def render(self, vehicle: str, *, modalities: Collection[str] = ALL) -> SensorFrame:
        """What one vehicle's rig senses now. What the rig has not, or `modalities` does not name, is absent.

        "depth" brings the class images of the same rays; "truth", which must be asked for, brings depth, class and
        instance of the RGB cameras with "images", and the instances of the faces with "depth".
        `ground_z` is NaN where the world has no ground. IMU samples
        are those since the last render that asked for them.
        """
        unknown = set(modalities) - ALL - {TRUTH}
        if unknown:
            raise InputError(f"unknown modalities {sorted(unknown)}; there are {sorted(ALL | {TRUTH})}")
        truth = TRUTH in modalities
        rig = self._vehicle(vehicle).rig
        frame = SensorFrame(state=self.state(vehicle), ground_z=self._ground(vehicle))
        tasks: Tasks = []
        finish: list[Callable[[], None]] = []
        if IMAGES in modalities:
            for camera in rig.cameras:
                finish.append(self._begin_image(frame, vehicle, camera, tasks, truth))
        if DEPTH in modalities:
            for face in rig.depth:
                finish.append(self._begin_depth(frame, vehicle, face, tasks, truth))
        if LIDAR in modalities and rig.lidar:
            finish.append(self._begin_lidar(frame, vehicle, rig.lidar, tasks))
        self.tracer.run(tasks)
        self.tracer.run(finish)
        if IMU in modalities and rig.imu:
            frame.imu = self.imu_samples(vehicle)
        return frame

    def render_camera(self, vehicle: str, camera: str) -> Picture:
        """One RGB camera without noise, with depth, class and instance of the same rays."""
        specs = {c.name: c for c in self._vehicle(vehicle).rig.cameras}
        if camera not in specs:
            raise InputError(f"{vehicle} has no camera {camera!r}; it has {', '.join(specs) or 'none'}")
        pose = self.state(vehicle).pose @ specs[camera].pose
        picture, tasks = self.tracer.picture_tasks(specs[camera], pose, truth=True)
        self.tracer.run(tasks)
        return picture

    def imu_samples(self, vehicle: str) -> NDArray[np.float64]:
        """(K, 7) IMU samples in (previous call's time, now], as in SensorFrame. Raises InputError without an IMU."""
        v = self._vehicle(vehicle)
        if v.rig.imu is None:
            raise InputError(f"{vehicle}'s rig {v.rig.name} has no IMU")
        stamps = sample_stamps(v.rig.imu.rate, self._imu_until[vehicle], self._stamp_ns)
        self._imu_until[vehicle] = self._stamp_ns
        return simulate_imu(v.rig.imu, v.motion, stamps, self.seed, vehicle)

    def _vehicle(self, name: str) -> Vehicle:
        if name not in self.vehicles:
            raise InputError(f"no vehicle {name!r}; there are {', '.join(self.vehicles) or 'none'}")
        return self.vehicles[name]

    def _ground(self, vehicle: str) -> float:
        xy = self.state(vehicle).pose.position[:2]
        return float(np.asarray(self.world.terrain_height(xy[None])).ravel()[0])

    def _begin_image(
        self, frame: SensorFrame, vehicle: str, spec: CameraSpec, tasks: Tasks, truth: bool
    ) -> Callable[[], None]:
        picture, camera_tasks = self.tracer.picture_tasks(spec, frame.state.pose @ spec.pose, truth=truth)
        frame.images[spec.name] = picture.rgb
        if truth:
            frame.camera_depth[spec.name] = picture.depth
            frame.camera_semantic[spec.name] = picture.semantic
            frame.camera_instance[spec.name] = picture.instance
        tasks += camera_tasks
        stream = noise.key(self.seed, vehicle, spec.name, "rgb", self._stamp_ns)

        def finish() -> None:
            if spec.noise_stddev > 0:
                noise.add_to_image(stream, noise.table(), 255.0 * spec.noise_stddev, 0, picture.rgb.reshape(-1))

        return finish

    def _begin_depth(
        self, frame: SensorFrame, vehicle: str, spec: CameraSpec, tasks: Tasks, truth: bool
    ) -> Callable[[], None]:
        depth, semantic, instance, face_tasks = self.tracer.depth_tasks(spec, frame.state.pose @ spec.pose, truth=truth)
        frame.depth[spec.name], frame.semantic[spec.name] = depth, semantic
        if truth:
            frame.instance[spec.name] = instance
        tasks += face_tasks
        stream = noise.key(self.seed, vehicle, spec.name, "depth", self._stamp_ns)

        def finish() -> None:
            if spec.noise_stddev > 0:
                seen = np.isfinite(depth)
                error = noise.normal(stream, depth.size).reshape(depth.shape)[seen] * np.float32(spec.noise_stddev)
                depth[seen] = np.maximum(depth[seen] + error, np.float32(spec.near))

        return finish

    def _begin_lidar(self, frame: SensorFrame, vehicle: str, spec: LidarSpec, tasks: Tasks) -> Callable[[], None]:
        if id(spec) not in self._scans:
            self._scans[id(spec)] = _Scan(beam_directions(spec), ray_directions(spec, self._lidar_sampling))
        scan = self._scans[id(spec)]
        distance, triangle, ray_tasks = self.tracer.ray_tasks(
            scan.rays, frame.state.pose @ spec.pose, spec.max_range * 1.0001
        )
        tasks += ray_tasks
        stream = noise.key(self.seed, vehicle, spec.name, "lidar", self._stamp_ns)

        def finish() -> None:
            returned = np.flatnonzero((distance >= spec.min_range) & (distance <= spec.max_range))
            ranges = distance[returned].astype(np.float64)
            if spec.noise_stddev > 0:
                ranges += spec.noise_stddev * noise.normal(stream, len(distance))[returned]
                ranges = np.clip(ranges, spec.min_range, spec.max_range)
            points = np.empty((len(returned), 4), np.float32)
            points[:, :3] = scan.beams[returned] * ranges[:, None]
            points[:, 3] = self._retro[self.world.scene.face_material[triangle[returned]]]
            frame.lidar = points
            frame.lidar_ring = (returned // spec.columns).astype(np.uint16)

        return finish

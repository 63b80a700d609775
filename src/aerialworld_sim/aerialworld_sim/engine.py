"""The embedded engine: simulation time, vehicles on their motions, and what their rigs see.

A pure function of world, vehicles and seed: no wall clock, no global state; equal inputs give equal bytes on any number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.air import Air
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Pose
from aerialworld_core.rig import CameraSpec, LidarSpec
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_core.world.scene import Light, Scene
from aerialworld_sim import __version__, noise
from aerialworld_sim.backend import make_backend
from aerialworld_sim.distortion import pixel_rays
from aerialworld_sim.imu import ImuModel, sample_stamps
from aerialworld_sim.jobs import DepthJob, Picture, PictureJob, ScanJob
from aerialworld_sim.lidar import (
    LidarSampling,
    beam_directions,
    intensities,
    luminances,
    measured_ranges,
    ray_directions,
    rolling_poses,
)
from aerialworld_sim.lidar_weather import LidarWeather
from aerialworld_sim.motion import Actor, Vehicle, recorded, restart
from aerialworld_sim.render_scene import Body, RenderScene

IMAGES, DEPTH, LIDAR, IMU, TRUTH = "images", "depth", "lidar", "imu", "truth"
#: What `render` brings unless told otherwise.
ALL: frozenset[str] = frozenset({IMAGES, DEPTH, LIDAR, IMU})
#: Everything that can be asked for.
MODALITIES: frozenset[str] = ALL | {TRUTH}


Finish = list[Callable[[], None]]


class World(Protocol):
    """What the engine needs of a world; `aerialworld_core.world.load_world` returns one."""

    @property
    def scene(self) -> Scene: ...
    @property
    def light(self) -> Light: ...
    def terrain_height(self, xy: NDArray[np.float64]) -> NDArray[np.float64]: ...


@dataclass(frozen=True, eq=False)
class _Scan:
    """A LiDAR's directions, computed once: `rays` are traced, `beams` are reported."""

    beams: NDArray[np.float64]
    rays: NDArray[np.float32]


def _named(specs: Sequence[CameraSpec], names: Collection[str] | None) -> list[CameraSpec]:
    """The sensors of these names; all of them without names."""
    return [s for s in specs if names is None or s.name in names]


class Engine:
    """Simulates the rigs of `vehicles` (name → Vehicle) in `world`.

    backend         "embree" (CPU), "warp" (CUDA) or "auto"; `renderer` says which it became
    lidar_sampling  "gazebo" reads ranges as Gazebo's gpu_lidar does (nearest texel of a cube map), for comparison;
                    "exact" traces the beams themselves
    rolling_lidar   the LiDAR moves on during its sweep, which ends at the stamp: a point is in the frame that the
                    sensor had when its column fired; else a scan is of one moment, as Gazebo's
    light           instead of the world's own; the air in it is seen by cameras and LiDARs, never by truth
    actors          what else moves; each is seen by every sensor
    threads         of the CPU backend, by default the processors available; `lanes` forces Embree's packet width

    Raises EngineError when a library is missing or wrong, WorldError for an unusable scene, InputError for bad
    arguments.
    """

    ENGINE: ClassVar[dict[str, str]] = {"name": "embedded", "version": __version__}

    def __init__(
        self,
        world: World,
        vehicles: Mapping[str, Vehicle],
        *,
        seed: int = 0,
        threads: int | None = None,
        backend: str = "auto",
        lidar_sampling: LidarSampling = "exact",
        rolling_lidar: bool = False,
        light: Light | None = None,
        actors: Sequence[Actor] = (),
        lanes: int | None = None,
    ) -> None:
        if lidar_sampling not in ("exact", "gazebo"):
            raise InputError(f"lidar_sampling is exact or gazebo, not {lidar_sampling!r}")
        self.world = world
        self.vehicles = dict(vehicles)
        self.actors = tuple(actors)
        self.seed = int(seed)
        bodies = [Body(name, v.body, owner=name) for name, v in self.vehicles.items() if v.body is not None]
        bodies += [Body(a.name, a.body, label=a.label) for a in self.actors]
        shining = light or world.light
        self._air = shining.air
        self.scene = RenderScene(world.scene, shining, bodies, list(self.vehicles))
        self.backend = make_backend(backend, self.scene, threads=threads, lanes=lanes)
        self._lidar_sampling: LidarSampling = lidar_sampling
        self._rolling = rolling_lidar
        self._imus = {
            name: ImuModel(v.rig.imu, self.seed, name) for name, v in self.vehicles.items() if v.rig.imu is not None
        }
        self._luminance = luminances(self.scene.surfaces.mean_colour)
        self._scans: dict[int, _Scan] = {}
        self._lidar_weather: dict[int, LidarWeather] = {}
        self._begin()

    @property
    def renderer(self) -> str:
        """What renders: the library, its version and the device, as sessions record it."""
        return self.backend.name

    @property
    def stamp_ns(self) -> int:
        """Simulation time, integer nanoseconds."""
        return self._stamp_ns

    def reset(self) -> None:
        """Back to time 0, with motions that came to be as time passed; IMU samples start anew, from time 0."""
        restart(vehicle.motion for vehicle in self.vehicles.values())
        restart(actor.motion for actor in self.actors)
        self._begin()

    def _begin(self) -> None:
        self._stamp_ns = 0
        self._forget()
        self._imu_until = dict.fromkeys(self.vehicles, -1)

    def step(self, dt_ns: int) -> dict[str, VehicleState]:
        """Advance simulation time by `dt_ns` > 0 and return every vehicle's state there."""
        if dt_ns <= 0:
            raise InputError(f"a step of {dt_ns} ns does not advance time")
        self._stamp_ns += int(dt_ns)
        self._forget()
        return {name: self.state(name) for name in self.vehicles}

    def _forget(self) -> None:
        """Time has changed: where everything is must be asked anew."""
        self._states: dict[str, VehicleState] = {}
        self._actors_now: list[tuple[Actor, VehicleState | None]] | None = None
        self._placed = False

    def state(self, vehicle: str) -> VehicleState:
        """The true state of one vehicle now."""
        if vehicle not in self._states:
            self._states[vehicle] = self._vehicle(vehicle).motion.state(self._stamp_ns)
        return self._states[vehicle]

    def render(
        self, vehicle: str, *, modalities: Collection[str] = ALL, sensors: Collection[str] | None = None
    ) -> SensorFrame:
        """What one vehicle's rig senses now. What the rig has not, or `modalities` does not name, is absent; so are
        cameras and faces that `sensors` does not name, where it is given.

        "depth" brings the class images of the same rays; "truth", with "images" or "depth", depth, class and instance
        of the cameras' own pixels and the instances of the depth faces, and which of these are the actors'. `ground_z`
        is NaN where the world has no ground. IMU samples are those since the last render that asked for them.
        """
        unknown = set(modalities) - MODALITIES
        if unknown:
            raise InputError(f"unknown modalities {sorted(unknown)}; there are {sorted(MODALITIES)}")
        rig = self._vehicle(vehicle).rig
        self._place()
        state = self.state(vehicle)
        here = state.pose.position
        frame = SensorFrame(state=state, ground_z=self._ground(here), actors=recorded(self._present(), here))
        truth = TRUTH in modalities
        if truth:
            frame.instances = {a["id"]: self.scene.numbers[a["id"]] for a in frame.actors}
        jobs: list[PictureJob | DepthJob | ScanJob] = []
        finish: Finish = []
        if IMAGES in modalities:
            for camera in _named(rig.cameras, sensors):
                jobs.append(self._image(frame, vehicle, camera, truth, finish))
        if DEPTH in modalities:
            for face in _named(rig.depth, sensors):
                jobs.append(self._depth(frame, vehicle, face, truth, finish))
        if LIDAR in modalities and rig.lidar:
            jobs.append(self._lidar(frame, vehicle, rig.lidar, finish))
        self.backend.render(jobs)
        for end in finish:
            end()
        if IMU in modalities and rig.imu:
            frame.imu = self.imu_samples(vehicle)
        return frame

    def render_camera(self, vehicle: str, camera: str) -> Picture:
        """One RGB camera without noise, with depth, class and instance of the same rays."""
        specs = {c.name: c for c in self._vehicle(vehicle).rig.cameras}
        if camera not in specs:
            raise InputError(f"{vehicle} has no camera {camera!r}; it has {', '.join(specs) or 'none'}")
        self._place()
        state = self.state(vehicle)
        job = self._picture_job(vehicle, specs[camera], state, truth=True)
        self.backend.render([job])
        self._through_air(vehicle, job, state)
        assert job.rgb is not None and job.depth is not None and job.semantic is not None and job.instance is not None
        return Picture(job.rgb, job.depth, job.semantic, job.instance)

    def imu_samples(self, vehicle: str) -> NDArray[np.float64]:
        """(K, 7) IMU samples in (previous call's time, now], as in SensorFrame. Raises InputError without an IMU."""
        v = self._vehicle(vehicle)
        if v.rig.imu is None:
            raise InputError(f"{vehicle}'s rig {v.rig.name} has no IMU")
        stamps = sample_stamps(v.rig.imu.rate, self._imu_until[vehicle], self._stamp_ns)
        self._imu_until[vehicle] = self._stamp_ns
        return self._imus[vehicle].samples(v.motion, stamps)

    def _vehicle(self, name: str) -> Vehicle:
        if name not in self.vehicles:
            raise InputError(f"no vehicle {name!r}; there are {', '.join(self.vehicles) or 'none'}")
        return self.vehicles[name]

    def _ground(self, here: Array) -> float:
        return float(np.asarray(self.world.terrain_height(here[None, :2])).ravel()[0])

    def _place(self) -> None:
        """Put everything that moves where it is now."""
        if not self.scene.movers or self._placed:
            return
        poses: dict[str, Pose | None] = {
            name: self.state(name).pose for name, v in self.vehicles.items() if v.body is not None
        }
        for actor, state in self._present():
            poses[actor.name] = None if state is None else state.pose
        self.scene.place(poses)
        self.backend.moved()
        self._placed = True

    def _present(self) -> list[tuple[Actor, VehicleState | None]]:
        """Every actor with its state now, None while it is not there; asked once a step."""
        if self._actors_now is None:
            self._actors_now = [(actor, actor.motion.state(self._stamp_ns)) for actor in self.actors]
        return self._actors_now

    def _number(self, vehicle: str) -> int:
        return list(self.vehicles).index(vehicle)

    def _picture_job(self, vehicle: str, spec: CameraSpec, state: VehicleState, truth: bool) -> PictureJob:
        shape = (spec.height, spec.width)
        job = PictureJob(spec, state.pose @ spec.pose, np.empty((*shape, 3), np.uint8), viewer=self._number(vehicle))
        if spec.distortion is not None:
            job.rays = pixel_rays(spec)
        if truth or self._air is not None:  # air is as thick as it is deep
            job.depth = np.empty(shape, np.float32)
        if truth:
            job.semantic, job.instance = np.empty(shape, np.uint8), np.empty(shape, np.uint16)
        return job

    def _through_air(self, vehicle: str, job: PictureJob, state: VehicleState) -> None:
        """What the air does to a picture that is rendered."""
        if self._air is not None:
            from aerialworld_sim import weather  # compiles its kernels: only where there is any

            stream = noise.key(self.seed, vehicle, job.spec.name, "weather", self._stamp_ns)
            weather.change(job, self._air, state.linear_velocity, stream)

    def _image(self, frame: SensorFrame, vehicle: str, spec: CameraSpec, truth: bool, finish: Finish) -> PictureJob:
        job = self._picture_job(vehicle, spec, frame.state, truth)
        picture = job.rgb
        assert picture is not None
        frame.images[spec.name] = picture
        if job.depth is not None and job.semantic is not None and job.instance is not None:
            frame.camera_depth[spec.name], frame.camera_semantic[spec.name] = job.depth, job.semantic
            frame.camera_instance[spec.name] = job.instance
        stream = noise.key(self.seed, vehicle, spec.name, "rgb", self._stamp_ns)
        finish.append(lambda: self._through_air(vehicle, job, frame.state))
        finish.append(lambda: noise.disturb_picture(spec, stream, picture))
        return job

    def _depth(self, frame: SensorFrame, vehicle: str, spec: CameraSpec, truth: bool, finish: Finish) -> DepthJob:
        shape = (spec.height, spec.width)
        depth, semantic = np.empty(shape, np.float32), np.empty(shape, np.uint8)
        job = DepthJob(spec, frame.state.pose @ spec.pose, depth, semantic, viewer=self._number(vehicle))
        frame.depth[spec.name], frame.semantic[spec.name] = depth, semantic
        if truth:
            job.instance = frame.instance[spec.name] = np.empty(shape, np.uint16)
        stream = noise.key(self.seed, vehicle, spec.name, "depth", self._stamp_ns)

        finish.append(lambda: noise.disturb_depth(spec, stream, depth))
        return job

    def _lidar(self, frame: SensorFrame, vehicle: str, spec: LidarSpec, finish: Finish) -> ScanJob:
        if id(spec) not in self._scans:
            self._scans[id(spec)] = _Scan(beam_directions(spec), ray_directions(spec, self._lidar_sampling))
        scan = self._scans[id(spec)]
        pose, count = frame.state.pose @ spec.pose, len(scan.rays)
        origins, rotations, pose_of = pose.position[None], pose.rotation[None], None
        if self._rolling:
            motion = self._vehicle(vehicle).motion
            origins, rotations, column = rolling_poses(spec, motion, self._stamp_ns, spec.columns)
            pose_of = np.tile(column.astype(np.int32), spec.beams)
        distance, cosine = np.empty(count, np.float32), np.empty(count, np.float32)
        face = np.empty(count, np.int32)
        job = ScanJob(
            scan.rays, origins, rotations, pose_of, spec.max_range * 1.0001, distance, cosine, face,
            viewer=self._number(vehicle),
        )  # fmt: skip
        stream = noise.key(self.seed, vehicle, spec.name, "lidar", self._stamp_ns)

        def points() -> None:
            returned = np.flatnonzero((distance >= spec.min_range) & (distance <= spec.max_range))
            true, surfaces = distance[returned].astype(np.float64), self.scene.surfaces
            met = surfaces.retro, self._luminance, surfaces.material[face[returned]], cosine[returned]
            intensity = intensities(*met, self._lidar_sampling)
            if self._air is not None:
                reflectivity = intensities(*met, "exact") / np.float32(100.0)
                key = noise.key(self.seed, vehicle, spec.name, "weather", self._stamp_ns)
                seen = self._weather_of(spec, self._air).scan(returned, true, reflectivity, intensity, key)
                returned, true, intensity = seen.beams, seen.ranges, seen.intensity
            ranges = measured_ranges(spec, true, returned, stream)
            cloud = np.empty((len(returned), 4), np.float32)
            cloud[:, :3] = scan.beams[returned] * ranges[:, None]
            cloud[:, 3] = intensity
            frame.lidar = cloud
            frame.lidar_ring = (returned // spec.columns).astype(np.uint16)

        finish.append(points)
        return job

    def _weather_of(self, spec: LidarSpec, air: Air) -> LidarWeather:
        if id(spec) not in self._lidar_weather:
            self._lidar_weather[id(spec)] = LidarWeather(air, spec)
        return self._lidar_weather[id(spec)]

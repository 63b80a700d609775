"""Gazebo as an engine in process: vehicles on their motions, seen by Gazebo's sensors; used as the embedded engine is.

The world stands still but for vehicles and actors: each frame sets their poses, steps Gazebo by one sensor period, and
takes what its sensors send after that. So a frame is exact at its pose, whatever it costs, and time is that of the
motions. IMU samples are computed from the motion, as the embedded engine does: what stands does not accelerate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import topics
from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.frames import Pose
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import SensorFrame, VehicleState
from aerialworld_sim.gazebo import decode
from aerialworld_sim.gazebo.sensors import LABELS
from aerialworld_sim.imu import ImuModel, sample_stamps
from aerialworld_sim.motion import Actor, Vehicle, recorded, restart

IMAGES, DEPTH, LIDAR, IMU = "images", "depth", "lidar", "imu"
ALL: frozenset[str] = frozenset({IMAGES, DEPTH, LIDAR, IMU})
#: Wall seconds for one period's messages, and periods that a sensor may be silent for: the renderer starts with them.
PATIENCE, TRIES = 20.0, 6

IMAGE, CLOUD = "Image", "PointCloudPacked"


class SilentSensor(AerialWorldError):
    """A sensor of Gazebo sends nothing."""


class Link(Protocol):
    """A Gazebo that stands paused: `server.GazeboServer`."""

    @property
    def version(self) -> str: ...
    def listen(self, topic: str, kind: str) -> None:
        """Keep the newest message of a topic; `kind` is the last part of its type."""
        ...

    def place(self, poses: Mapping[str, Pose]) -> None:
        """Set models' poses in map, from the next step on."""
        ...

    def advance(self) -> int:
        """One sensor period; returns the simulated nanoseconds before it, which its messages' stamps exceed."""
        ...

    def wait(self, topics: Collection[str], after_ns: int, seconds: float) -> dict[str, Any]:
        """The newest message of each topic that has one with a later stamp, when all have or the time is over."""
        ...

    def close(self) -> None: ...


class GazeboEngine:
    """What the rigs of `vehicles` (name → Vehicle, as the embedded engine takes them) see in a running Gazebo.

    world  of which the ground's height is asked; link  the Gazebo that has the same world, vehicles and actors in it
    actors  what else moves, and is there all the time
    """

    def __init__(
        self, world: Any, vehicles: Mapping[str, Vehicle], link: Link, *, seed: int = 0, actors: Sequence[Actor] = ()
    ) -> None:
        self.world, self.vehicles, self.link, self.seed = world, dict(vehicles), link, int(seed)
        self.actors = tuple(actors)
        self._imus = {n: ImuModel(v.rig.imu, self.seed, n) for n, v in self.vehicles.items() if v.rig.imu is not None}
        self._begin()

    @property
    def entry(self) -> dict[str, str]:
        """`engine` of session.json."""
        return {"name": "gazebo", "version": self.link.version, "renderer": self.renderer}

    @property
    def renderer(self) -> str:
        return "ogre2"

    @property
    def stamp_ns(self) -> int:
        """Simulation time of the motions, integer nanoseconds."""
        return self._stamp_ns

    def reset(self) -> None:
        """Back to time 0, with motions that came to be as time passed."""
        restart(vehicle.motion for vehicle in self.vehicles.values())
        restart(actor.motion for actor in self.actors)
        self._begin()

    def _begin(self) -> None:
        self._stamp_ns = 0
        self._imu_until = dict.fromkeys(self.vehicles, -1)

    def step(self, dt_ns: int) -> dict[str, VehicleState]:
        """Advance the motions by `dt_ns` > 0 and return every vehicle's state there."""
        if dt_ns <= 0:
            raise InputError(f"a step of {dt_ns} ns does not advance time")
        self._stamp_ns += int(dt_ns)
        return {name: self.state(name) for name in self.vehicles}

    def state(self, vehicle: str) -> VehicleState:
        """The true state of one vehicle now."""
        return self._vehicle(vehicle).motion.state(self._stamp_ns)

    def render(
        self, vehicle: str, *, modalities: Collection[str] = ALL, sensors: Collection[str] | None = None
    ) -> SensorFrame:
        """What one vehicle's rig senses now, as `Engine.render`; Gazebo has no true pixels of cameras ("truth").

        Raises SilentSensor, naming them, when sensors send nothing.
        """
        unknown = set(modalities) - ALL
        if unknown:
            raise InputError(f"Gazebo has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(ALL))}")
        rig = self._vehicle(vehicle).rig
        state = self.state(vehicle)
        ground = float(np.asarray(self.world.terrain_height(state.pose.position[None, :2])).ravel()[0])
        frame = SensorFrame(state=state, ground_z=ground, actors=recorded(self._present(), state.pose.position))
        wanted = _wanted(vehicle, rig, frame, modalities, sensors)
        for topic, (kind, _) in wanted.items():
            self.link.listen(topic, kind)
        for topic, message in self._shoot(list(wanted)).items():
            wanted[topic][1](message)
        if IMU in modalities and rig.imu:
            frame.imu = self.imu_samples(vehicle)
        return frame

    def imu_samples(self, vehicle: str) -> NDArray[np.float64]:
        """(K, 7) IMU samples in (previous call's time, now], computed from the motion."""
        v = self._vehicle(vehicle)
        if v.rig.imu is None:
            raise InputError(f"{vehicle}'s rig {v.rig.name} has no IMU")
        stamps = sample_stamps(v.rig.imu.rate, self._imu_until[vehicle], self._stamp_ns)
        self._imu_until[vehicle] = self._stamp_ns
        return self._imus[vehicle].samples(v.motion, stamps)

    def close(self) -> None:
        self.link.close()

    def __enter__(self) -> GazeboEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shoot(self, wanted: list[str]) -> dict[str, Any]:
        """One message of every topic that was rendered at the present poses."""
        if not wanted:
            return {}
        moved = {actor.name: state.pose for actor, state in self._present() if state is not None}
        self.link.place({name: self.state(name).pose for name in self.vehicles} | moved)
        after: int | None = None
        found: dict[str, Any] = {}
        for _ in range(TRIES):
            before = self.link.advance()
            after = before if after is None else after
            found = self.link.wait(wanted, after, PATIENCE)
            if len(found) == len(wanted):
                return found
        silent = [topic for topic in wanted if topic not in found]
        raise SilentSensor(f"Gazebo sends nothing on {', '.join(silent)} at {self._stamp_ns * 1e-9:.3f} s")

    def _present(self) -> list[tuple[Actor, VehicleState | None]]:
        return [(actor, actor.motion.state(self._stamp_ns)) for actor in self.actors]

    def _vehicle(self, name: str) -> Vehicle:
        if name not in self.vehicles:
            raise InputError(f"no vehicle {name!r}; there are {', '.join(self.vehicles) or 'none'}")
        return self.vehicles[name]


def _wanted(
    vehicle: str, rig: Rig, frame: SensorFrame, modalities: Collection[str], sensors: Collection[str] | None
) -> dict[str, tuple[str, Callable[[Any], None]]]:
    """Gazebo topic → kind of its message and what puts that into the frame."""

    def store(into: dict[str, Any], name: str, read: Callable[[Any, str], Any], topic: str) -> Callable[[Any], None]:
        return lambda message: into.__setitem__(name, read(message, topic))

    found: dict[str, tuple[str, Callable[[Any], None]]] = {}
    if IMAGES in modalities:
        for camera in rig.cameras:
            if sensors is None or camera.name in sensors:
                topic = topics.camera(vehicle, camera.name)
                found[topic] = (IMAGE, store(frame.images, camera.name, decode.rgb, topic))
    if DEPTH in modalities:
        for face in rig.depth:
            if sensors is None or face.name in sensors:
                topic = topics.depth(vehicle, face.name)
                found[topic] = (IMAGE, store(frame.depth, face.name, decode.depth, topic))
                topic = topics.semantic(vehicle, face.name) + LABELS
                found[topic] = (IMAGE, store(frame.semantic, face.name, decode.classes, topic))
    if LIDAR in modalities and rig.lidar:
        topic = topics.lidar(vehicle)

        def scan(message: Any, topic: str = topic) -> None:
            frame.lidar, frame.lidar_ring = decode.cloud(message, topic)

        found[topic] = (CLOUD, scan)
    return found


def placed_rig(rig: Rig) -> Rig:
    """What of a rig Gazebo is to simulate for a vehicle that is placed: all but what senses motion."""
    return replace(rig, imu=None, navsat=None)

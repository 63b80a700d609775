"""Where a vehicle is at any time: the engine asks a motion for true states and never integrates by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import plan
from aerialworld_core.frames import Array, Pose
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import VehicleState
from aerialworld_core.world.scene import Scene

#: Actors so near the vehicle (metres, horizontally) are listed in a frame.
NEIGHBOURHOOD = 150.0


class Motion(Protocol):
    """True motion as a function of simulation time, e.g. `aerialworld_core.plan.Trajectory`."""

    def state(self, stamp_ns: int) -> VehicleState:
        """The state at `stamp_ns` (integer nanoseconds of simulation time)."""
        ...


@runtime_checkable
class SampledMotion(Protocol):
    """A motion that knows many moments at once, which is far cheaper than one after the other."""

    def states(self, stamps: NDArray[np.int64]) -> plan.Motion:
        """The states at `stamps` (N,) nanoseconds, equal to `state` of each."""
        ...


@runtime_checkable
class Restarting(Protocol):
    """A motion that came to be as time passed, and must begin anew when time does."""

    def restart(self) -> None:
        """Back to the state of time 0."""
        ...


def restart(motions: Iterable[object]) -> None:
    """Time begins anew: so do the motions that came to be as it passed."""
    for motion in motions:
        if isinstance(motion, Restarting):
            motion.restart()


def states(motion: Motion, stamps: NDArray[np.int64]) -> plan.Motion:
    """The states of any motion at `stamps` (N,) nanoseconds."""
    stamps = np.asarray(stamps, np.int64)
    if isinstance(motion, SampledMotion):
        return motion.states(stamps)
    single = [motion.state(int(stamp)) for stamp in stamps]
    return plan.Motion(
        t=np.asarray(stamps * 1e-9, np.float64),
        position=np.array([s.pose.position for s in single]).reshape(-1, 3),
        orientation=np.array([s.pose.orientation for s in single]).reshape(-1, 4),
        linear_velocity=np.array([s.linear_velocity for s in single]).reshape(-1, 3),
        linear_acceleration=np.array([s.linear_acceleration for s in single]).reshape(-1, 3),
        angular_velocity=np.array([s.angular_velocity for s in single]).reshape(-1, 3),
    )


def rotations(orientation: Array) -> Array:
    """(N, 3, 3) rotations of unit quaternions (N, 4) x, y, z, w."""
    x, y, z, w = orientation.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


@dataclass(frozen=True, eq=False)
class Static:
    """A vehicle that stands or hovers still at `pose` (base_link in map)."""

    pose: Pose

    def state(self, stamp_ns: int) -> VehicleState:
        return VehicleState(stamp_ns, self.pose, np.zeros(3), np.zeros(3), np.zeros(3))

    def states(self, stamps: NDArray[np.int64]) -> plan.Motion:
        still = np.zeros((len(stamps), 3))
        return plan.Motion(
            t=np.asarray(stamps * 1e-9, np.float64),
            position=still + self.pose.position,
            orientation=np.tile(self.pose.orientation, (len(stamps), 1)),
            linear_velocity=still,
            linear_acceleration=still,
            angular_velocity=still,
        )


@dataclass(frozen=True, eq=False)
class Vehicle:
    """A vehicle in the engine: what it carries, how it moves, and what others see of it (its own sensors do not):
    `body` holds triangles in base_link, None where it is not to be seen."""

    rig: Rig
    motion: Motion
    body: Scene | None = None


class Presence(Protocol):
    """The motion of something that need not be there all the time."""

    def state(self, stamp_ns: int) -> VehicleState | None:
        """The state of its body's frame at `stamp_ns`, None while it is not there."""
        ...


@dataclass(frozen=True, eq=False)
class Actor:
    """Something else that moves: `body` holds triangles in its own frame, which `motion` places in map; `label` is its
    class (None: the body's own classes)."""

    name: str
    body: Scene
    motion: Motion | Presence
    label: int | None = None

    def record(self, state: VehicleState) -> dict[str, Any]:
        """As `actors/*.json` of a session holds it: `position` is the middle of the box around the body, map."""
        label = self.label if self.label is not None else int(self.body.face_class[0]) if len(self.body.faces) else 0
        low, high = self.body.bounds
        return {
            "id": self.name,
            "class": label,
            "position": [float(v) for v in state.pose.transform(0.5 * (low + high))],
            "orientation": [float(v) for v in state.pose.orientation],
            "size": [float(v) for v in high - low],
            "velocity": [float(v) for v in state.linear_velocity],
        }


def recorded(present: Iterable[tuple[Actor, VehicleState | None]], here: Array) -> list[dict[str, Any]]:
    """The actors around a point (3,), as sessions store them; a state is None while its actor is not there."""
    return [
        actor.record(state)
        for actor, state in present
        if state is not None and np.hypot(*(state.pose.position - here)[:2]) <= NEIGHBOURHOOD
    ]

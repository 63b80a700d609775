"""Where a vehicle is at any time: the engine asks a motion for true states and never integrates by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from aerialworld_core.frames import Pose
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import VehicleState
from aerialworld_core.world.scene import Scene


class Motion(Protocol):
    """True motion as a function of simulation time, e.g. `aerialworld_core.plan.Trajectory`."""

    def state(self, stamp_ns: int) -> VehicleState:
        """The state at `stamp_ns` (integer nanoseconds of simulation time)."""
        ...


@dataclass(frozen=True, eq=False)
class Static:
    """A vehicle that stands or hovers still at `pose` (base_link in map)."""

    pose: Pose

    def state(self, stamp_ns: int) -> VehicleState:
        return VehicleState(stamp_ns, self.pose, np.zeros(3), np.zeros(3), np.zeros(3))


@dataclass(frozen=True, eq=False)
class Vehicle:
    """A vehicle in the engine: what it carries, how it moves, and what others see of it (its own sensors do not):
    `body` holds triangles in base_link, None where it is not to be seen."""

    rig: Rig
    motion: Motion
    body: Scene | None = None


@dataclass(frozen=True, eq=False)
class Actor:
    """Something else that moves: `body` in its own frame, of class `label` (None: the body's own classes), of `size`
    (3,) length, width, height in metres, centred on its frame's origin in the plane."""

    name: str
    body: Scene
    motion: Motion
    size: tuple[float, float, float]
    label: int | None = None

    def record(self, state: VehicleState) -> dict[str, Any]:
        """As `actors/*.json` of a session holds it, in map."""
        label = self.label if self.label is not None else int(self.body.face_class[0]) if len(self.body.faces) else 0
        return {
            "id": self.name,
            "class": label,
            "position": [float(v) for v in state.pose.position],
            "orientation": [float(v) for v in state.pose.orientation],
            "size": [float(v) for v in self.size],
            "velocity": [float(v) for v in state.linear_velocity],
        }

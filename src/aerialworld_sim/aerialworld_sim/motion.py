"""Where a vehicle is at any time: the engine asks a motion for true states and never integrates by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from aerialworld_core.frames import Pose
from aerialworld_core.rig import Rig
from aerialworld_core.sensing import VehicleState


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
    """A vehicle in the engine: what it carries and how it moves."""

    rig: Rig
    motion: Motion

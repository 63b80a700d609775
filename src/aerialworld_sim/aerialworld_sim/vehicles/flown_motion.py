"""A vehicle with dynamics as the engine's motion: it is advanced on demand, and its recent past is kept, so that
pictures, IMU samples and sweeping scans of one frame all see the same motion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aerialworld_core import plan
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array, Pose
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.interface import SimulatedVehicle
from aerialworld_sim.vehicles.moments import TICK_NS

#: Columns of the log: position, velocity, acceleration in map, attitude x, y, z, w, body rate.
_COLUMNS = 16


class FlownMotion:
    """Implements `motion.Motion` and `motion.SampledMotion` for a `SimulatedVehicle`.

    keep    seconds of the past that can still be asked for; memory is bounded by it (some 100 kB a second). It must
            cover the engine's longest frame interval
    before  called with the stamp before every tick, e.g. an autopilot's step that commands the vehicle

    The vehicle is advanced in its own ticks (10 ms), up to one tick beyond the latest stamp that was asked for; between
    ticks acceleration and body rate are linear, velocity, position and attitude their integrals. Before the start it
    stands as it starts.
    """

    def __init__(
        self, vehicle: SimulatedVehicle, *, keep: float = 10.0, before: Callable[[int], None] | None = None
    ) -> None:
        if not keep > 0:
            raise InputError(f"a motion keeps more than {keep!r} s of its past")
        self.vehicle = vehicle
        self._keep = max(2, round(keep * 1e9 / TICK_NS))
        self._before = before
        self.reset()

    def reset(self) -> None:
        """Forget the past: begin anew with the state that the vehicle has now."""
        state = self.vehicle.state
        self._start_ns = state.stamp_ns
        self._first = 0
        self._rows: list[list[float]] = [_row(state)]

    def state(self, stamp_ns: int) -> VehicleState:
        """The state at `stamp_ns`; raises InputError for a stamp older than what is kept."""
        m = self.states(np.array([stamp_ns], np.int64))
        return VehicleState(
            int(stamp_ns),
            Pose(m.position[0], m.orientation[0]),
            m.linear_velocity[0],
            m.angular_velocity[0],
            m.linear_acceleration[0],
        )

    def states(self, stamps: NDArray[np.int64]) -> plan.Motion:
        """The states at `stamps` (N,) nanoseconds, in any order."""
        stamps = np.asarray(stamps, np.int64)
        if not len(stamps):
            empty = np.empty((0, 3))
            return plan.Motion(np.empty(0), empty, np.empty((0, 4)), empty, empty, empty)
        self.advance(int(stamps.max()))
        since = np.maximum(stamps - self._start_ns, 0)
        number = since // TICK_NS
        oldest = int(number.min())
        if oldest < self._first:
            raise InputError(
                f"the motion at {int(stamps.min())} ns is forgotten: {self._keep * TICK_NS * 1e-9:g} s are kept, up to "
                f"{self._start_ns + (self._first + len(self._rows) - 1) * TICK_NS} ns"
            )
        last = int(number.max())
        rows = np.array(self._rows[oldest - self._first : last + 2 - self._first])
        here = number - oldest
        begin, end = rows[here], rows[np.minimum(here + 1, len(rows) - 1)]
        return _between(stamps, (since - number * TICK_NS) * 1e-9, begin, end)

    def advance(self, stamp_ns: int) -> None:
        """Advance the vehicle so that the motion is known at `stamp_ns`."""
        needed = -(-(stamp_ns - self._start_ns) // TICK_NS)
        while self._first + len(self._rows) - 1 < needed:
            if self._before is not None:
                self._before(self._start_ns + (self._first + len(self._rows) - 1) * TICK_NS)
            state = self.vehicle.step(TICK_NS)
            due = self._start_ns + (self._first + len(self._rows)) * TICK_NS
            if state.stamp_ns != due:
                raise InputError(
                    f"the vehicle is at {state.stamp_ns} ns where its motion is at {due} ns: who steps or resets it "
                    "besides must reset the motion"
                )
            self._rows.append(_row(state))
        if len(self._rows) > 2 * self._keep:
            self._first += len(self._rows) - self._keep
            del self._rows[: -self._keep]


def _row(state: VehicleState) -> list[float]:
    return [
        *state.pose.position.tolist(),
        *state.linear_velocity.tolist(),
        *state.linear_acceleration.tolist(),
        *state.pose.orientation.tolist(),
        *state.angular_velocity.tolist(),
    ]


def _between(stamps: NDArray[np.int64], after: Array, begin: Array, end: Array) -> plan.Motion:
    """The motion `after` (N,) seconds past rows `begin` (N, 16), a tick before rows `end`."""
    t = after[:, None]
    share = t / (TICK_NS * 1e-9)
    position, velocity, acceleration, orientation, rate = np.split(begin, [3, 6, 9, 13], axis=1)
    change, turn = end[:, 6:9] - acceleration, end[:, 13:16] - rate
    mean = rate + 0.5 * share * turn
    return plan.Motion(
        t=np.asarray(stamps * 1e-9, np.float64),
        position=position + t * (velocity + t * (0.5 * acceleration + share * change / 6.0)),
        orientation=_turned(orientation, t * mean),
        linear_velocity=velocity + t * (acceleration + 0.5 * share * change),
        linear_acceleration=acceleration + share * change,
        angular_velocity=rate + share * turn,
    )


def _turned(orientation: Array, rotation: Array) -> Array:
    """Quaternions (N, 4) x, y, z, w after rotations by vectors (N, 3) in their own frames."""
    angle = np.linalg.norm(rotation, axis=1, keepdims=True)
    v, w = 0.5 * np.sinc(0.5 * angle / np.pi) * rotation, np.cos(0.5 * angle)
    qv, qw = orientation[:, :3], orientation[:, 3:]
    turned = np.hstack([qw * v + w * qv + np.cross(qv, v), qw * w - (qv * v).sum(axis=1, keepdims=True)])
    out: Array = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    return out

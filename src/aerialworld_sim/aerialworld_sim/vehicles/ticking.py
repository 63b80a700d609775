"""What vehicles with dynamics have in common: time that passes in ticks, looks around every few of them, and a state at
any moment between two ticks."""

from __future__ import annotations

from abc import ABC, abstractmethod

from aerialworld_core.errors import InputError
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.interface import Goal
from aerialworld_sim.vehicles.moments import Moment, between
from aerialworld_sim.vehicles.parameters import Vector

#: Ticks between two looks at ground and solids: 50 ms.
LOOK_EVERY = 5


class TickingVehicle(ABC):
    """The part of `interface.SimulatedVehicle` that passes time. A vehicle says how it looks and how it moves."""

    _goal: Goal | None
    _before: Moment
    _now: Moment
    _looked: Vector
    _ticks: int
    _stamp_ns: int
    _state: VehicleState | None
    _throttle: float
    _incident: str

    @property
    def state(self) -> VehicleState:
        if self._state is None or self._state.stamp_ns != self._stamp_ns:
            self._state = between(self._before, self._now, self._stamp_ns).state()
        return self._state

    @property
    def incident(self) -> str:
        return self._incident

    @property
    def throttle(self) -> float:
        return self._throttle

    def step(self, dt_ns: int) -> VehicleState:
        if dt_ns <= 0:
            raise InputError(f"a step of {dt_ns} ns does not advance time")
        self._stamp_ns += int(dt_ns)
        while self._now.stamp_ns < self._stamp_ns:
            if self._ticks % LOOK_EVERY == 0:
                self._look(self._now)
            self._ticks += 1
            self._tick(self._now)
        return self.state

    def _begin(self, now: Moment) -> None:
        """Start anew from `now`."""
        self._before = self._now = now
        self._looked = now.position
        self._ticks = 0
        self._stamp_ns = now.stamp_ns
        self._state = None
        self._throttle = 0.0
        self._incident = ""

    def _advance(self, after: Moment) -> None:
        """A tick has passed."""
        self._before, self._now = self._now, after

    @abstractmethod
    def _look(self, now: Moment) -> None:
        """Ask the world what lies below and whether the way since the last look was free."""

    @abstractmethod
    def _tick(self, now: Moment) -> None:
        """Move on from `now` by one tick."""

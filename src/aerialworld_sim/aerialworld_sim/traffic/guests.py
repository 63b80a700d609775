"""Vehicles that are not traffic's own (the recorded rovers), as traffic sees them: it keeps out of their way, and they
are told where it is.

What is known of a vehicle's future is used: a plan's next seconds. Of a vehicle that is piloted only its present place
is known, which it says each time that it looks around; traffic sees the last place said by then, so that the same
flight meets the same traffic, whoever asks for it, and when.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from aerialworld_core.frames import Array, Pose
from aerialworld_core.roads.shapes import Shape
from aerialworld_sim.motion import Motion
from aerialworld_sim.vehicles.parameters import RoverParameters, Vector
from aerialworld_sim.vehicles.surroundings import MovingBox

_BODY = RoverParameters().body_radius
#: A rover's outline about its middle.
ROVER = Shape("rover", 2.0 * _BODY, 2.0 * _BODY, _BODY, 1.0, 1.0)
#: How far ahead a plan is known, and how densely it is looked at, seconds. Whoever goes 50 km/h stops within 3 s.
FORESIGHT, LOOK = 3.0, 0.25


class Guest(Protocol):
    """A vehicle on the ground that is not traffic's own. `live` when its way depends on traffic or on who steers it."""

    live: bool

    def places(self, stamp_ns: int) -> tuple[Array, Array]:
        """(K, 2) of map and (K,) yaw: where it is at a stamp, and where it is known to be soon, in order."""
        ...


class PlannedGuest:
    """A vehicle whose whole motion is known."""

    live = False

    def __init__(self, motion: Motion) -> None:
        self._motion = motion

    def places(self, stamp_ns: int) -> tuple[Array, Array]:
        stamps = stamp_ns + np.arange(0.0, FORESIGHT + 1e-9, LOOK) * 1e9
        poses = [self._motion.state(round(stamp)).pose for stamp in stamps]
        return np.array([p.position[:2] for p in poses]), np.array([p.yaw for p in poses])


class PilotedGuest:
    """A vehicle that is steered as time passes. `meet` tells it what is around."""

    live = True

    def __init__(self, start: Pose) -> None:
        #: Tells what of traffic is near a place (3,) of map at a stamp.
        self.around: Callable[[int, Array], Sequence[MovingBox]] | None = None
        self._start = np.array(start.position)
        self.restart()

    def restart(self) -> None:
        """It is back at its start, and time at 0."""
        self._stamps, self._places = [0], [self._start]

    def meet(self, stamp_ns: int, place: Vector) -> Sequence[MovingBox]:
        """It is at `place` now: what of traffic is near."""
        here = np.array(place)
        if stamp_ns > self._stamps[-1]:
            self._stamps.append(stamp_ns)
            self._places.append(here)
            if len(self._stamps) > 400:
                del self._stamps[:200], self._places[:200]
        return () if self.around is None else self.around(stamp_ns, here)

    def places(self, stamp_ns: int) -> tuple[Array, Array]:
        place = self._places[max(bisect_right(self._stamps, stamp_ns) - 1, 0)]
        return place[None, :2], np.zeros(1)  # its outline is a square: its heading does not matter

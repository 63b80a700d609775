"""One mover on the network: its route, the room that it holds, and the room that it asks for next."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.roads.ways import FOOT_CROSSING, TURN
from aerialworld_sim.traffic.cells import Track
from aerialworld_sim.traffic.kinds import Kind
from aerialworld_sim.traffic.network import Network

#: How likely a pedestrian crosses where it can.
CROSSES = 0.3
#: A stretch without any place to stop is at most so many slots long; else the mover looks for another way.
LONGEST_STRETCH = 400


@dataclass(eq=False)
class Stretch:
    """Slots that are asked for at once: from the last place to stop to the next. `ends` is how far along the route each
    slot's end is, metres; `cells` those of all slots that are not held already."""

    slots: list[NDArray[np.int32]]
    ends: list[float]
    cells: NDArray[np.int32]


class Agent:
    """A mover's route and holdings. Distances are metres along the whole route, from where it began.

    route, starts  numbers of the ways that it takes, and where each begins
    held           (cells, ticket, end) of each slot that it holds, in order
    claimed        how far the slots that it holds reach
    halts          where it must come to a stop before going on (a change of gear)
    """

    def __init__(self, number: int, kind: Kind, network: Network, random: np.random.Generator) -> None:
        self.number, self.kind, self._network, self._random = number, kind, network, random
        self._onward = network.onward[kind.shape.name]
        self._tracks: list[Track | None] = network.cells.tracks[kind.shape.name]
        self.route: list[int] = []
        self.starts: list[float] = []
        self.held: deque[tuple[NDArray[np.int32], int, float]] = deque()
        self.halts: deque[float] = deque()
        self.claimed = 0.0
        self._next = (0, 0)  # place on the route and slot of the first slot not held
        self._asked: Stretch | None = None

    def begin(self, way: int, slot: int) -> Stretch:
        """Start on a way, in one of its slots; the stretch that it stands in."""
        track = self._track(way)
        self.route, self.starts, self._asked = [], [], None
        self.halts.clear()
        self._append(way, -slot * track.length)
        self._next = (0, slot)
        self.claimed = 0.0
        return self.ask()

    def ask(self) -> Stretch:
        """The next stretch up to where it may stop again; the same until it is granted or given up. Empty where no such
        place was found."""
        if self._asked is None:
            self._asked = self._stretch()
        return self._asked

    def granted(self, first_ticket: int) -> None:
        """The stretch is its own now; `first_ticket` and those after it are its slots'."""
        stretch = self.ask()
        for k, (cells, end) in enumerate(zip(stretch.slots, stretch.ends, strict=True)):
            self.held.append((cells, first_ticket + k, end))
        self.claimed = stretch.ends[-1]
        self._next = self._after
        self._asked = None

    def turn_elsewhere(self, at: int) -> None:
        """Give up the stretch that is asked for, and choose anew what follows the last way on which room is held; `at`
        is the place on the route where the mover is."""
        place, slot = self._next
        keep = max(place if slot == 0 else place + 1, at + 1)
        for start in self.starts[keep:]:
            while self.halts and self.halts[-1] > start:
                self.halts.pop()
        del self.route[keep:], self.starts[keep:]
        self._asked = None

    def end_of(self, place: int) -> float:
        """Where the way at a place of the route ends."""
        return self.starts[place] + self._network.ways.ways[self.route[place]].curve.length

    def extend(self) -> None:
        """Choose the way after the last."""
        self._append(self._choose(self.route[-1]), self.end_of(len(self.route) - 1))

    def _track(self, way: int) -> Track:
        track = self._tracks[way]
        assert track is not None
        return track

    def _append(self, way: int, start: float) -> None:
        self.route.append(way)
        self.starts.append(start)
        if self._network.ways.ways[way].halt:
            self.halts.append(self.end_of(len(self.route) - 1))

    def _choose(self, way: int) -> int:
        ways, following = self._network.ways.ways, self._onward[way]
        crossing = [n for n in following if ways[n].kind == FOOT_CROSSING]
        if crossing and len(crossing) < len(following):
            if self._random.random() < CROSSES:
                return crossing[int(self._random.integers(len(crossing)))]
            following = [n for n in following if n not in crossing]
        onward = [n for n in following if ways[n].kind != TURN] or following
        return onward[int(self._random.integers(len(onward)))]

    def _stretch(self) -> Stretch:
        place, slot = self._next
        if place < len(self.route):  # mostly: the next slot of the same way, where one may stop
            track = self._track(self.route[place])
            if slot < len(track.cells) and track.stop[slot]:
                self._after = (place, slot + 1)
                # The slot before is its own: only what is new in this one need be free.
                cells = track.cells[slot]
                new = track.fresh[slot] if slot and self.held else cells
                return Stretch([cells], [self.starts[place] + (slot + 1) * track.length], new)
        slots: list[NDArray[np.int32]] = []
        ends: list[float] = []
        while len(slots) < LONGEST_STRETCH:
            while place >= len(self.route):
                self.extend()
            track = self._track(self.route[place])
            if slot >= len(track.cells):
                place, slot = place + 1, 0
                continue
            slots.append(track.cells[slot])
            ends.append(self.starts[place] + (slot + 1) * track.length)
            slot += 1
            if track.stop[slot - 1]:
                self._after = (place, slot)
                return Stretch(slots, ends, slots[0] if len(slots) == 1 else np.unique(np.concatenate(slots)))
        return Stretch([], [], np.zeros(0, np.int32))

"""Traffic as a function of time: steps of a tenth of a second, each a function of the one before and of the seed.

Each step has three parts. Movers that come near the end of the room that they hold ask for more, in turn, and get it
where no other holds any of it (`cells`). Then all choose their speed: as fast as they like, as the road allows, and
such that they can stop within their room at an easy braking (the safe speed of P. G. Gipps, "A behavioural
car-following model for computer simulation", 1981). Last, room that they have left is given back. Between steps
accelerations are constant, so that the state at any stamp is exact; all steps are logged, so that it does not matter in
which order, or how often, stamps are asked for.

Whoever has waited long for a crossing that it could leave books it: others that do not hold it must let it through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_sim.traffic.agent import Agent
from aerialworld_sim.traffic.guests import ROVER, Guest
from aerialworld_sim.traffic.network import Network

#: Simulated time of a step, nanoseconds and seconds.
STEP_NS = 100_000_000
DT = STEP_NS * 1e-9
#: m/s²: the hardest braking that room is left for, that of emergencies, and how fast a pull builds up (m/s³).
HARDEST, EMERGENCY, JERK = 7.0, 6.0, 3.0
#: Seconds: standing before a change of gear, after an emergency; before booking (up to as much again is added), until a
#: booking ends, and before looking for another way.
SHIFT, SHOCK, PATIENCE, BOOKED, ANOTHER_WAY = 0.6, 2.5, 5.0, 12.0, 30.0
#: Steps until a mover that got no room asks again; twice as many while it stands.
AGAIN = 3
#: Metres within which a guest matters to a mover.
FARTHEST = 80.0
_CHUNK = 1024


@dataclass(eq=False)
class _Present:
    """A guest at a step: its cells, the same as a mask of all cells, and which movers have it ahead of them (N,)."""

    cells: NDArray[np.int64]
    mask: NDArray[np.bool_]
    ahead: NDArray[np.bool_]


class Simulation:
    """Movers on a network. `agents` have begun, and hold no room yet; `speed` (N,) is what each likes to go, m/s.

    `emergencies` full brakings per second (N,). `warm` steps are made before the first that is logged: traffic that has
    just begun stands still. `guests` are vehicles from outside: no room is taken where they are or will be, and who has
    them ahead stops before them, braking as hard as it can where it must.
    """

    def __init__(
        self,
        network: Network,
        agents: list[Agent],
        speed: Array,
        emergencies: Array,
        random: np.random.Generator,
        warm: int = 300,
        guests: Sequence[Guest] = (),
    ) -> None:
        self._network, self._agents, self._random = network, agents, random
        n = len(agents)
        #: Number + 1 of the mover that holds a cell, 0 for none; likewise for what is booked.
        self._owner = np.zeros(network.cells.count, np.int32)
        self._ticket = np.zeros(network.cells.count, np.int32)
        self._booked = np.zeros(network.cells.count, np.int32)
        self._bookings: dict[int, tuple[float, NDArray[np.int32]]] = {}
        self._tickets = 1
        self._guests = guests
        self._present: list[_Present] = []
        self._free = np.full(n, np.inf)
        self._last_sample = np.diff(network.first) - 1
        self._like = speed
        self._pull = np.array([a.kind.pull for a in agents])
        self._brake = np.array([a.kind.brake for a in agents])
        self._slot = np.array([a.kind.shape.slot for a in agents])
        self._rate = emergencies
        self._gear = np.array([way.curve.gear for way in network.ways.ways], np.float64)
        self.position, self.velocity = np.zeros(n), np.zeros(n)
        self._acceleration = np.zeros(n)
        self._claimed, self._oldest = np.zeros(n), np.zeros(n)
        self._halt, self._resume = np.full(n, np.inf), np.zeros(n)
        self._place = np.zeros(n, np.int64)
        self._way, self._start = np.zeros(n, np.int64), np.zeros(n)
        self._next_start, self._next_limit = np.zeros(n), np.zeros(n)
        self._braking = np.zeros(n, bool)
        self._waiting = np.full(n, np.inf)
        self._again = np.zeros(n, np.int64)
        self._patience = PATIENCE * (1.0 + random.random(n)) if n else np.zeros(0)
        self._next_emergency = self._drawn_emergencies(0.0, np.arange(n))
        self.steps = 0
        self._log: list[tuple[Array, Array]] = []
        for agent in agents:
            if not self._claim(agent):
                raise AssertionError("movers begin where there is room")
            self._enter(agent.number, 0)
        self._warm = warm
        if warm == 0:
            self._record()
        for _ in range(warm):
            self.step()

    @property
    def logged(self) -> int:
        """How many steps are known."""
        return self.steps - self._warm + 1

    def log(self, step: int) -> tuple[Array, Array]:
        """Distances (N,) along the routes and speeds (N,) at a logged step; steps are made as far as needed."""
        while self.steps - self._warm < step:
            self.step()
        chunk, row = divmod(step, _CHUNK)
        return self._log[chunk][0][row], self._log[chunk][1][row]

    def step(self) -> None:
        """One step of all movers, which is logged once they are warm."""
        now = self.steps * DT
        if self._agents:
            self._meet()
            self._ask(now)
            self._move(now)
            self._leave()
        self.steps += 1
        if self.steps >= self._warm:
            self._record()

    def _record(self) -> None:
        chunk, row = divmod(self.steps - self._warm, _CHUNK)
        if row == 0:
            n = len(self._agents)
            self._log.append((np.zeros((_CHUNK, n)), np.zeros((_CHUNK, n))))
        self._log[chunk][0][row] = self.position
        self._log[chunk][1][row] = self.velocity

    # -- guests -------------------------------------------------------------------------------------------------------

    def _meet(self) -> None:
        """Where guests are and will be: whoever has them ahead of it gets no room there, and stops before them."""
        if not self._guests:
            return
        for present in self._present:
            present.mask[present.cells] = False
        net, stamp = self._network, max(self.steps - self._warm, 0) * STEP_NS
        sample = ((self.position - self._start) / net.step[self._way]).astype(np.int64)
        row = net.first[self._way] + np.minimum(np.maximum(sample, 0), self._last_sample[self._way])
        here, forward = net.xy[row], np.stack([np.cos(net.yaw[row]), np.sin(net.yaw[row])], axis=1)
        forward *= self._gear[self._way][:, None]
        masks = [p.mask for p in self._present] or [np.zeros(net.cells.count, bool) for _ in self._guests]
        self._present = []
        self._free[:] = np.inf
        for guest, mask in zip(self._guests, masks, strict=True):
            xy, yaw = guest.places(stamp)
            cells = net.cells.numbers(np.unique(net.cells.touched(ROVER, xy, yaw)[1]))
            mask[cells] = True
            way = xy[0] - here
            present = _Present(cells, mask, (way * forward).sum(axis=1) > 0.0)
            self._present.append(present)
            for i in np.flatnonzero(present.ahead & ((way * way).sum(axis=1) < FARTHEST**2)).tolist():
                self._free[i] = min(self._free[i], self._free_until(self._agents[i], mask))

    def _free_until(self, agent: Agent, mask: NDArray[np.bool_]) -> float:
        """How far along its route a mover may go before it enters a slot that a guest is in."""
        begin = float(self.position[agent.number])
        for cells, _, end in agent.held:
            if mask[cells].any():
                return begin
            begin = end
        return float("inf")

    # -- room ---------------------------------------------------------------------------------------------------------

    def _ask(self, now: float) -> None:
        """Let those that near the end of their room ask for more, in an order that goes round."""
        for number in [n for n, (until, _) in self._bookings.items() if until <= now]:
            self._unbook(number)
            self._patience[number] = min(2 * self._patience[number], 60.0)
        soon = self.velocity + self._pull * 0.3
        need = soon**2 / (2 * self._brake) + 0.4 * soon + 1.5 * self._slot
        wanting = np.flatnonzero((self._claimed - self.position < need) & (self._again <= self.steps))
        if not len(wanting):
            return
        turn = int(np.searchsorted(wanting, self.steps % len(self._agents)))
        for i in (*wanting[turn:].tolist(), *wanting[:turn].tolist()):
            agent = self._agents[i]
            while self._claimed[i] - self.position[i] < need[i]:
                if not self._claim(agent):
                    self._again[i] = self.steps + (AGAIN if self.velocity[i] > 0.3 else 2 * AGAIN)
                    self._wait(i, now)
                    break
                self._waiting[i] = np.inf
                if i in self._bookings:
                    self._unbook(i)

    def _claim(self, agent: Agent) -> bool:
        """Take the stretch that a mover asks for, if all of it is free."""
        stretch, me = agent.ask(), agent.number
        cells = stretch.cells
        if not len(stretch.slots) or _others(self._owner.take(cells), me):
            return False
        if any(p.ahead[me] and p.mask[cells].any() for p in self._present):
            return False
        if self._bookings and len(stretch.slots) > 1 and _others(self._booked.take(cells), me):
            return False
        self._owner[cells] = me + 1
        ticket = self._tickets
        for slot in stretch.slots:
            self._ticket[slot] = ticket
            ticket += 1
        agent.granted(self._tickets)
        self._tickets = ticket
        self._claimed[me] = agent.claimed
        self._oldest[me] = agent.held[0][2]
        return True

    def _wait(self, i: int, now: float) -> None:
        """Somebody is in the way: book the stretch after a while, look for another way after a longer one."""
        if self.velocity[i] > 0.3:
            return
        self._waiting[i] = min(self._waiting[i], now)
        waited, agent = now - self._waiting[i], self._agents[i]
        if waited > ANOTHER_WAY:
            if i in self._bookings:
                self._unbook(i)
            agent.turn_elsewhere(int(self._place[i]))
            self._refresh(i)
            self._waiting[i] = now
        elif waited > self._patience[i] and i not in self._bookings and len(agent.ask().slots) > 1:
            stretch = agent.ask()
            cells = stretch.cells
            if not self._booked[cells].any() and not _others(self._owner[stretch.slots[-1]], i):
                self._booked[cells] = i + 1
                self._bookings[i] = now + BOOKED, cells
                self._waiting[i] = now

    def _unbook(self, i: int) -> None:
        _, cells = self._bookings.pop(i)
        self._booked[cells] = 0

    def _leave(self) -> None:
        """Give back the slots that movers have left."""
        for i in np.flatnonzero(self.position >= self._oldest).tolist():
            held = self._agents[i].held
            while len(held) > 1 and held[0][2] <= self.position[i]:
                cells, ticket, _ = held.popleft()
                self._owner[cells[self._ticket.take(cells) == ticket]] = 0
            self._oldest[i] = held[0][2] if len(held) > 1 else np.inf

    # -- motion -------------------------------------------------------------------------------------------------------

    def _move(self, now: float) -> None:
        net, v = self._network, self.velocity
        way = self._way
        sample = ((self.position - self._start) / net.step[way]).astype(np.int64)
        row = net.first[way] + np.minimum(np.maximum(sample, 0), self._last_sample[way])
        target = np.minimum(self._like, net.limit[row])
        room = np.maximum(np.minimum(self._claimed, self._halt) - self.position, 0.0)
        target = np.minimum(target, _stopping(room, v, self._brake))
        free = np.maximum(self._free - self.position, 0.0)
        target = np.minimum(target, _stopping(free, v, self._brake))
        # Who cannot stop at ease before a guest brakes as hard as it can.
        hard = self._braking | (v * v > 2.0 * self._brake * free)
        ahead = np.maximum(self._next_start - self.position, 0.0)
        target = np.minimum(target, np.sqrt(self._next_limit**2 + 2 * self._brake * ahead))
        self._emergencies(now)
        target[self._braking | (self._resume > now)] = 0.0
        most = np.minimum(np.maximum(self._acceleration, 0.0) + JERK * DT, self._pull)
        least = np.where(hard, -EMERGENCY, -1.5 * self._brake)
        a = np.minimum(np.maximum((target - v) / DT, least), most)
        after = np.maximum(v + a * DT, 0.0)
        # Whatever is wished: one can always stop within the room that one holds.
        after = np.minimum(after, _stopping(room, v, HARDEST))
        self._acceleration = (after - v) / DT
        self.position = self.position + 0.5 * (v + after) * DT
        self.velocity = after
        for i in np.flatnonzero(self.position > self._next_start + 1e-6).tolist():
            self._enter(i, int(self._place[i]) + 1)
        for i in np.flatnonzero((self._halt - self.position < 0.03) & (after < 0.05)).tolist():
            self._agents[i].halts.popleft()
            self._resume[i] = now + SHIFT
            self._refresh(i)

    def _emergencies(self, now: float) -> None:
        done = np.flatnonzero(self._braking & (self.velocity <= 0.0))
        self._braking[done] = False
        self._resume[done] = now + SHOCK
        due = np.flatnonzero(self._next_emergency <= now)
        if len(due):
            self._braking[due] = True
            self._next_emergency[due] = self._drawn_emergencies(now, due)

    def _drawn_emergencies(self, now: float, which: NDArray[np.int64]) -> Array:
        rate = self._rate[which]
        waits = self._random.exponential(1.0, len(which)) / np.maximum(rate, 1e-12)
        return np.where(rate > 0, now + waits, np.inf)

    def _enter(self, i: int, place: int) -> None:
        """Mover `i` goes on to the way at a place of its route."""
        agent = self._agents[i]
        self._place[i] = place
        self._way[i], self._start[i] = agent.route[place], agent.starts[place]
        self._next_start[i] = agent.end_of(place)
        self._refresh(i)

    def _refresh(self, i: int) -> None:
        """What lies ahead of mover `i`: where it must halt, how fast it may go on."""
        agent, place = self._agents[i], int(self._place[i])
        if place + 1 >= len(agent.route):
            agent.extend()
        self._halt[i] = agent.halts[0] if agent.halts else np.inf
        self._next_limit[i] = self._network.entry[agent.route[place + 1]]


def _others(holders: NDArray[np.int32], me: int) -> bool:
    """Whether anybody but mover `me` is among the holders (number + 1, 0 for none)."""
    return np.count_nonzero(holders) != np.count_nonzero(holders == me + 1)


def _stopping(room: Array, speed: Array, brake: Array | float) -> Array:
    """(N,) the greatest speed after a step from `speed` with which one can still stop within `room` metres, braking at
    `brake` m/s² from then on, or within the next step where that is sooner."""
    half = 0.5 * brake * DT
    square = half**2 + brake * (2 * room - speed * DT)
    by_braking = np.sqrt(np.maximum(square, 0.0)) - half
    return np.maximum(np.minimum(by_braking, room / DT - 0.5 * speed), 0.0)

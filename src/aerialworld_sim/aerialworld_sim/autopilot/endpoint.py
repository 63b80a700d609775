"""Autopilots with their vehicles and links, run in real time times a speed-up.

One thread does all: it lets simulation time follow the wall clock as far as it is able to, and listens meanwhile, so
that a command is answered within a millisecond or two at any speed.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from aerialworld_core.mavlink.signing import Signer
from aerialworld_sim.autopilot.channel import TRIES_PER_STEP
from aerialworld_sim.autopilot.core import Autopilot
from aerialworld_sim.autopilot.links import Link, Place, TcpServer, open_link
from aerialworld_sim.vehicles.moments import TICK_NS

#: Wall seconds of work after which the links are looked at although time is behind.
PATIENCE = 0.05
#: Wall seconds behind from which on lost time is given up instead of caught up with.
HOPELESS = 0.25
#: Seconds that are none.
TINY = 1e-9
#: Wall seconds between looks at the links when no message comes.
NAP = 0.02


@dataclass
class Served:
    """One vehicle: its autopilot (which holds the vehicle), its links, and the signer of those."""

    autopilot: Autopilot
    links: list[Link] = field(default_factory=list)
    signer: Signer | None = None

    def open(self, places: Iterable[Place], allow_remote: bool = False) -> None:
        """Be reached at `places` too; where one cannot be had, everything is closed. Raises AutopilotError."""
        try:
            for place in places:
                channel = self.autopilot.open_channel(place.way, self.signer)
                self.links.append(open_link(channel, place, allow_remote))
        except BaseException:
            self.close()
            raise

    def step(self, tries: int) -> None:
        """10 ms of simulation."""
        self.advance(tries)
        self.autopilot.vehicle.step(TICK_NS)

    def advance(self, tries: int = TRIES_PER_STEP) -> None:
        """10 ms of the autopilot, between taking what has come and sending what is due; the vehicle's own follow."""
        for link in self.links:
            link.receive()
        self.autopilot.advance(TICK_NS, tries)
        for link in self.links:
            link.send()

    def listen(self, tries: int = TRIES_PER_STEP) -> None:
        """Answer what has come without time passing."""
        for link in self.links:
            link.receive()
        if tries and any(link.channel.pending() for link in self.links):
            self.autopilot.listen(tries)
        for link in self.links:
            link.send()

    def close(self) -> None:
        for link in self.links:
            link.close()
        if self.signer is not None:
            self.signer.close()


class Allowance:
    """How many frames may be tried by now: `rate` for each second of the wall clock, and no more than `burst` at once.

    So that a client that sends ten thousand messages a second takes a share of the time and not all of it: its messages
    wait in its own socket (TCP) or are lost (UDP).
    """

    def __init__(self, now: float, rate: float = 2500.0, burst: float = 300.0) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, now

    def left(self, now: float) -> int:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        return min(int(self._left), TRIES_PER_STEP)

    def spend(self, tries: int) -> None:
        self._left -= tries


class Endpoint:
    """Serves vehicles until it is stopped. The first vehicle's SIM_SPEEDUP is the pace of all.

    `wait`: as a simulated ArduPilot, do not boot before a client has connected to a TCP port.
    `clock` gives seconds and `doze` waits for sockets for some seconds at most; tests put their own in.
    """

    def __init__(
        self,
        served: Sequence[Served],
        wait: bool = True,
        clock: Callable[[], float] = time.monotonic,
        doze: Callable[[list[int], float], None] | None = None,
    ) -> None:
        self.served = list(served)
        self._clock = clock
        self._doze = doze or _poll
        self._wait = wait
        self._stopped = False
        self._allowance = [Allowance(clock()) for _ in self.served]
        self.sim_seconds = 0.0

    @property
    def waiting(self) -> bool:
        """Whether the boot still waits for a client."""
        servers = [link for s in self.served for link in s.links if isinstance(link, TcpServer)]
        self._wait = self._wait and bool(servers) and not any(server.met for server in servers)
        return self._wait

    @property
    def speedup(self) -> float:
        """Simulated seconds for each second of the wall clock."""
        return max(0.01, self.served[0].autopilot.parameters["SIM_SPEEDUP"])

    def stop(self) -> None:
        """End `run` at its next turn; may be called from elsewhere."""
        self._stopped = True

    def run(self, duration: float | None = None, report: Callable[[], None] | None = None) -> None:
        """Serve for `duration` simulated seconds, or until `stop`. `report` is called at each turn."""
        step, anchor, base, pace = TICK_NS * 1e-9, self._clock(), self.sim_seconds, self.speedup
        while not self._stopped and not self._over(duration):
            if report is not None:
                report()
            now = self._clock()
            behind = base + (now - anchor) * pace - self.sim_seconds
            if self.waiting or pace != self.speedup or behind > HOPELESS * pace + step:
                anchor, base, pace = now, self.sim_seconds, self.speedup
                behind = step if not self.waiting else 0.0
            if behind < step - TINY:
                self._listen_until(now + (NAP if self.waiting else min(NAP, (step - behind) / pace)))
            else:
                self._catch_up(behind, duration, now + PATIENCE)

    def _catch_up(self, behind: float, duration: float | None, limit: float) -> None:
        step = TICK_NS * 1e-9
        while behind >= step - TINY and not self._stopped and not self._over(duration):
            self._each(Served.step)
            self.sim_seconds += step
            behind -= step
            if self._clock() >= limit:
                return

    def _over(self, duration: float | None) -> bool:
        return duration is not None and self.sim_seconds >= duration - TINY

    def _listen_until(self, moment: float) -> None:
        """Answer what comes until a moment of the clock."""
        sockets = [s.fileno() for served in self.served for link in served.links for s in link.sockets()]
        if not all(allowance.left(self._clock()) for allowance in self._allowance):
            sockets = []  # what arrives cannot be handled yet: do not wake up for it
        self._doze(sockets, max(0.0, moment - self._clock()))
        self._each(Served.listen)

    def _each(self, turn: Callable[[Served, int], None]) -> None:
        """A vehicle's turn after the other, each within its allowance of messages."""
        now = self._clock()
        for served, allowance in zip(self.served, self._allowance, strict=True):
            before = served.autopilot.tried
            turn(served, allowance.left(now))
            allowance.spend(served.autopilot.tried - before)

    def close(self) -> None:
        for served in self.served:
            served.close()


def _poll(descriptors: list[int], seconds: float) -> None:
    watch = select.poll()
    for descriptor in descriptors:
        watch.register(descriptor, select.POLLIN)
    watch.poll(seconds * 1000.0)

"""A vehicle that a real ArduPilot flies: SITL sends motor outputs over UDP, the body moves, the state goes back.

Strict lock-step: a packet with a new frame count is one step; one with the same count (SITL resends every second while
it waits) gets the same answer again; one with a lower count is an autopilot that was started anew, and begins anew.
Nothing moves while nobody steps: SITL waits, and goes on unharmed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.frames import Array
from aerialworld_core.piloting import PHYSICS_PORT
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.interface import Contact, Goal, Kind
from aerialworld_sim.vehicles.moments import Moment
from aerialworld_sim.vehicles.parameters import Vector
from aerialworld_sim.vehicles.physics.json_protocol import LONGEST, Servos, encode_state, parse_servos

#: A peer that was silent for so long may be replaced by another address, seconds.
_GONE = 2.0


class Body(Protocol):
    """What is moved by PWM in periods of `period_ns`."""

    period_ns: int
    moment: Moment

    @property
    def incident(self) -> str: ...
    @property
    def home(self) -> Vector: ...
    @property
    def on_ground(self) -> bool: ...
    @property
    def throttle(self) -> float: ...
    def step(self, pwm: Sequence[int]) -> None: ...
    def reset(self) -> None: ...


class SilentAutopilot(AerialWorldError):
    """No servo packet came within the time that was given."""


@dataclass
class Counts:
    """What came in: packets that stepped, that were answered again, and that were ignored, with the reason."""

    steps: int = 0
    resent: int = 0
    restarts: int = 0
    skipped_frames: int = 0
    malformed: int = 0
    foreign: int = 0


class SitlVehicle:
    """Implements `interface.SimulatedVehicle`, so that `FlownMotion` and the engine take it as any other.

    address  loopback address to bind (port 0: any); other addresses are refused
    timeout  seconds to wait for a packet before SilentAutopilot is raised; the vehicle can be stepped on afterwards

    Start SITL with `--model JSON:127.0.0.1`. Its first packet decides who the peer is; others are ignored until it has
    been silent for 2 s.
    """

    def __init__(
        self,
        body: Body,
        kind: Kind = "drone",
        *,
        address: tuple[str, int] = ("127.0.0.1", PHYSICS_PORT),
        timeout: float = 10.0,
    ) -> None:
        if not ip_address(address[0]).is_loopback:
            raise InputError(f"the JSON physics peer speaks on loopback only, not on {address[0]}")
        self.kind: Kind = kind
        self.body = body
        self.counts = Counts()
        self.timeout = timeout
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            raise InputError(
                f"UDP {address[0]}:{address[1]} cannot be opened ({error.strerror}): does another simulator run there?"
            ) from error
        self._peer: tuple[str, int] | None = None
        self._heard = 0.0
        self._last: Servos | None = None
        self._answer = b""
        self._stamp_ns = body.moment.stamp_ns

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._socket.getsockname()
        return host, port

    def close(self) -> None:
        """Close the socket; SITL then waits for ever."""
        self._socket.close()

    @property
    def state(self) -> VehicleState:
        state = self.body.moment.state()
        return VehicleState(
            self._stamp_ns, state.pose, state.linear_velocity, state.angular_velocity, state.linear_acceleration
        )

    @property
    def contact(self) -> Contact:
        if self.incident and self.kind == "drone":
            return Contact.CRASHED
        return Contact.GROUND if self.body.on_ground else Contact.AIR

    @property
    def incident(self) -> str:
        return self.body.incident

    @property
    def throttle(self) -> float:
        return self.body.throttle

    @property
    def circled(self) -> float:
        """Nothing: what ArduPilot circles, it counts itself."""
        return 0.0

    def stopping_point(self) -> Array:
        """Where it is: what its ArduPilot means to do is not known here."""
        return self.state.pose.position

    def command(self, goal: Goal) -> None:
        raise InputError(f"{type(goal).__name__}: this vehicle is commanded by its ArduPilot, over MAVLink")

    def arrived(self) -> bool:
        return False

    def step(self, dt_ns: int) -> VehicleState:
        """Advance by `dt_ns`, a multiple of the body's period, packet by packet. Raises SilentAutopilot."""
        if dt_ns <= 0 or dt_ns % self.body.period_ns:
            raise InputError(f"a step is a multiple of {self.body.period_ns} ns, not {dt_ns}")
        end = self._stamp_ns + dt_ns
        while self._stamp_ns < end:
            self.body.step(self._receive().pwm)
            self._stamp_ns += self.body.period_ns
            self._reply()
        return self.state

    def reset(self, state: VehicleState | None = None) -> None:
        """The body back at its start. The timestamp goes back to 0, which SITL takes for a physics reset."""
        if state is not None:
            raise InputError("a vehicle flown by SITL starts where SITL's home is: it cannot be put elsewhere")
        self.body.reset()
        self._stamp_ns = self.body.moment.stamp_ns

    def _receive(self) -> Servos:
        """The next packet that asks for a step; raises SilentAutopilot after `timeout`."""
        deadline = time.monotonic() + self.timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SilentAutopilot(
                    f"no servo packet on {self.address[0]}:{self.address[1]} within {self.timeout:g} s: start SITL "
                    "with --model JSON:127.0.0.1, or see whether it still runs"
                )
            self._socket.settimeout(left)
            try:
                packet, sender = self._socket.recvfrom(LONGEST + 1)
            except TimeoutError:
                continue
            servos = parse_servos(packet)
            if servos is None:
                self.counts.malformed += 1
            elif not self._is_peer(sender):
                self.counts.foreign += 1
            elif self._is_new(servos):
                return servos

    def _is_peer(self, sender: tuple[str, int]) -> bool:
        now = time.monotonic()
        if sender != self._peer:
            if self._peer is not None and now - self._heard < _GONE:
                return False
            self._peer, self._last = sender, None
        self._heard = now
        return True

    def _is_new(self, servos: Servos) -> bool:
        last, self._last = self._last, servos
        if last is None or servos.frame_count == last.frame_count + 1:
            pass
        elif servos.frame_count == last.frame_count:
            self.counts.resent += 1
            self._send()
            return False
        elif servos.frame_count < last.frame_count:
            self.counts.restarts += 1
            self.body.reset()
        else:
            self.counts.skipped_frames += servos.frame_count - last.frame_count - 1
        self.counts.steps += 1
        return True

    def _reply(self) -> None:
        self._answer = encode_state(self.body.moment.stamp_ns * 1e-9, self.body.moment, self.body.home)
        self._send()

    def _send(self) -> None:
        if self._peer is not None and self._answer:
            self._socket.sendto(self._answer, self._peer)

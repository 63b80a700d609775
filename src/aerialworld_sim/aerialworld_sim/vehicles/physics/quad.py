"""A rigid quadrotor that PWM moves: four motors in an X, thrust, reaction, drag, the ground and what stands on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.sensing import GRAVITY
from aerialworld_sim.vehicles.moments import Moment, facing, inverse, resting, rotated, turned
from aerialworld_sim.vehicles.parameters import Vector, Wind, check_parameters
from aerialworld_sim.vehicles.surroundings import Surroundings
from aerialworld_sim.vehicles.wind import Air

#: Motors as ArduPilot numbers them in a quad X: forward, left (signs), and the body's turn by reaction (left positive).
_MOTORS = ((1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (1.0, 1.0, 1.0), (-1.0, -1.0, 1.0))
_LOOK_NS = 50_000_000
_STIFF, _DAMPED = 2000.0, 60.0


@dataclass(frozen=True)
class QuadParameters:
    """A quadrotor of ArduPilot's default size.

    mass             kg; `inertia` (3,) kg m² about forward, left, up (half of the mass on a ring of 0.35 m, as SITL's)
    arm              metres from the middle to a motor, forward and sideways alike
    hover            share of full PWM travel that holds the weight; thrust is proportional to it (recorded: 0.389)
    reaction         metres: a motor's torque about the vertical per thrust
    motor_time       time constant of a motor, seconds
    drag             deceleration by air per m/s, per axis of the body (recorded vertically: 0.15)
    spin_drag        deceleration of body rates, 1/s
    stand            base_link above what it stands on, metres
    body_radius, body_height, hard_landing
                     as `MultirotorParameters`
    """

    mass: float = 3.0
    inertia: Vector = (0.023, 0.023, 0.046)
    arm: float = 0.124
    hover: float = 0.389
    reaction: float = 0.05
    motor_time: float = 0.02
    drag: Vector = (0.3, 0.3, 0.15)
    spin_drag: float = 0.4
    stand: float = 0.25
    body_radius: float = 0.35
    body_height: float = 0.2
    hard_landing: float = 3.0

    def __post_init__(self) -> None:
        check_parameters(self, free=("drag", "spin_drag"))
        if self.hover >= 0.9:
            raise InputError(f"QuadParameters.hover must be below 0.9, not {self.hover!r}")


class QuadBody:
    """Implements `sitl.Body`: `step` by PWM, `moment` now."""

    period_ns = 1_000_000

    def __init__(
        self,
        start: Pose | None = None,
        *,
        parameters: QuadParameters | None = None,
        wind: Wind | None = None,
        seed: int = 0,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.parameters = parameters or QuadParameters()
        self.surroundings = surroundings or Surroundings()
        self._start = start or Pose.identity()
        self._wind, self._seed = wind or Wind(), seed
        self.reset()

    def reset(self) -> None:
        """On the ground at the start, motors still, time 0."""
        x, y, z = (float(v) for v in self._start.position)
        self._support = self.surroundings.support((x, y, z + 0.5))
        height = self._support + self.parameters.stand if math.isfinite(self._support) else z
        self.moment = resting(0, (x, y, height), facing(self._start.yaw))
        #: Where positions count from.
        self.home: Vector = self.moment.position
        self._speeds = [0.0] * 4
        self._air = Air(self._wind, self._seed, self.period_ns * 1e-9)
        self._looked: Vector = self.moment.position
        self.incident = ""

    @property
    def on_ground(self) -> bool:
        return self.moment.position[2] <= self._support + self.parameters.stand + 0.01

    @property
    def throttle(self) -> float:
        return sum(self._speeds) / 4.0

    def step(self, pwm: Sequence[int]) -> None:
        """One period under the first four channels' PWM (1000 … 2000 µs)."""
        p, now, dt = self.parameters, self.moment, self.period_ns * 1e-9
        share = 1.0 - math.exp(-dt / p.motor_time)
        for k in range(4):
            wanted = 0.0 if self.incident else min(max((pwm[k] - 1000) / 1000.0, 0.0), 1.0)
            self._speeds[k] += (wanted - self._speeds[k]) * share
        per_motor = p.mass * GRAVITY / (4.0 * p.hover)
        thrust = [per_motor * s for s in self._speeds]
        roll = p.arm * sum(left * t for (_, left, _), t in zip(_MOTORS, thrust, strict=True))
        pitch = -p.arm * sum(forward * t for (forward, _, _), t in zip(_MOTORS, thrust, strict=True))
        yaw = p.reaction * sum(turn * t for (_, _, turn), t in zip(_MOTORS, thrust, strict=True))
        wx, wy, wz = now.rate
        ix, iy, iz = p.inertia
        # Euler's equations; the rotors' own spin is left out.
        rate = (
            wx + dt * ((roll - (iz - iy) * wy * wz) / ix - p.spin_drag * wx),
            wy + dt * ((pitch - (ix - iz) * wz * wx) / iy - p.spin_drag * wy),
            wz + dt * ((yaw - (iy - ix) * wx * wy) / iz - p.spin_drag * wz),
        )
        self._move(now, sum(thrust) / p.mass, rate, dt)
        if self.moment.stamp_ns % _LOOK_NS == 0:
            self._look()

    def _move(self, now: Moment, lift: float, rate: Vector, dt: float) -> None:
        p = self.parameters
        air = self._air.next()
        pressed = self._support + p.stand + GRAVITY / _STIFF - now.position[2]
        if pressed > 0.0 and lift < 1.1 * GRAVITY:
            rate = (0.0, 0.0, 0.0)
        mean = tuple(0.5 * dt * (a + b) for a, b in zip(now.rate, rate, strict=True))
        orientation = turned(now.orientation, mean[0], mean[1], mean[2])
        vx, vy, vz = now.velocity
        flow = rotated(inverse(orientation), (vx - air[0], vy - air[1], vz - air[2]))
        force = [-d * f for d, f in zip(p.drag, flow, strict=True)]
        ax, ay, az = rotated(orientation, (force[0], force[1], force[2] + lift))
        az -= GRAVITY
        if pressed > 0.0:
            if vz < -p.hard_landing and not self.incident:
                self.incident = f"hit the ground at {-vz:.1f} m/s"
            az += max(0.0, _STIFF * pressed - _DAMPED * vz)
            if lift < GRAVITY:
                ax, ay = ax - 20.0 * vx, ay - 20.0 * vy
        velocity = vx + dt * ax, vy + dt * ay, vz + dt * az
        x, y, z = now.position
        height = z + dt * velocity[2]
        floor = self._support + p.stand - 0.1
        if height < floor:
            height, velocity, az = floor + 0.1, (0.0, 0.0, 0.0), 0.0
        self.moment = Moment(
            now.stamp_ns + self.period_ns,
            (x + dt * velocity[0], y + dt * velocity[1], height),
            velocity,
            (ax, ay, az),
            orientation,
            rate,
        )

    def _look(self) -> None:
        p, now = self.parameters, self.moment
        if not self.incident:
            self.incident = self.surroundings.struck(
                self._looked, now.position, p.body_radius, p.body_height, now.stamp_ns
            )
            if self.incident:
                self.moment = now = resting(now.stamp_ns, self._looked, now.orientation)
                self._speeds = [0.0] * 4
        self._looked = now.position
        x, y, z = now.position
        self._support = self.surroundings.support((x, y, max(z, self._support)))

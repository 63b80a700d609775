"""Targets that move as a vehicle can: a point is led to where it is wanted within speed, acceleration and jerk.

The laws are those of ArduPilot's control library (square-root controller, shaped velocity and position): proportional
near the goal, constant deceleration farther out. A circle that is followed this way comes out smaller than asked, as
recorded.
"""

from __future__ import annotations

import math

#: Share of the acceleration that the approach to a position plans with: so recorded climbs end, and so a followed
#: circle of 40 m becomes one of 37.8 m.
_PLANNED = 0.5


def root_speed(error: float, gain: float, acceleration: float) -> float:
    """The speed with which an `error` ≥ 0 may be closed: `gain` · error near, else so that `acceleration` stops it."""
    linear = acceleration / (gain * gain)
    return gain * error if error <= linear else math.sqrt(2.0 * acceleration * (error - 0.5 * linear))


class Shaped:
    """A target point in map: position, velocity, acceleration, moved by one tick at a time."""

    __slots__ = ("ax", "ay", "az", "vx", "vy", "vz", "x", "y", "z")

    def __init__(self) -> None:
        self.x = self.y = self.z = self.vx = self.vy = self.vz = self.ax = self.ay = self.az = 0.0

    def place(self, position: tuple[float, float, float], velocity: tuple[float, float, float]) -> None:
        self.x, self.y, self.z = position
        self.vx, self.vy, self.vz = velocity
        self.ax = self.ay = self.az = 0.0

    def level_to(
        self, x: float, y: float, vx: float, vy: float, speed: float, acceleration: float, jerk: float, dt: float
    ) -> None:
        """Towards (x, y), which itself moves with (vx, vy), no faster than `speed` relative to it."""
        dx, dy = x - self.x, y - self.y
        distance = math.sqrt(dx * dx + dy * dy)
        if distance > 0:
            want = min(speed, root_speed(distance, 0.5 * jerk / acceleration, _PLANNED * acceleration)) / distance
            vx, vy = vx + want * dx, vy + want * dy
        self.level_velocity(vx, vy, acceleration, jerk, dt)

    def level_velocity(self, vx: float, vy: float, acceleration: float, jerk: float, dt: float) -> None:
        """Towards the horizontal velocity (vx, vy)."""
        dx, dy = vx - self.vx, vy - self.vy
        change = math.sqrt(dx * dx + dy * dy)
        ax = ay = 0.0
        if change > 0:
            want = min(acceleration, root_speed(change, jerk / acceleration, jerk)) / change
            ax, ay = want * dx, want * dy
        dx, dy = ax - self.ax, ay - self.ay
        change = math.sqrt(dx * dx + dy * dy)
        if change > jerk * dt:
            dx, dy = dx * jerk * dt / change, dy * jerk * dt / change
        self.ax += dx
        self.ay += dy
        self.x += dt * (self.vx + 0.5 * dt * self.ax)
        self.y += dt * (self.vy + 0.5 * dt * self.ay)
        self.vx += dt * self.ax
        self.vy += dt * self.ay

    def height_to(
        self, z: float, vz: float, up: float, down: float, acceleration: float, jerk: float, dt: float
    ) -> None:
        """Towards height z, which itself moves with vz."""
        error = z - self.z
        want = root_speed(abs(error), 0.5 * jerk / acceleration, _PLANNED * acceleration)
        want = min(want, up) if error > 0 else -min(want, down)
        self.height_velocity(vz + want, acceleration, jerk, dt)

    def height_velocity(self, vz: float, acceleration: float, jerk: float, dt: float) -> None:
        """Towards the vertical velocity vz."""
        change = vz - self.vz
        want = math.copysign(min(acceleration, root_speed(abs(change), jerk / acceleration, jerk)), change)
        self.az += min(max(want - self.az, -jerk * dt), jerk * dt)
        self.z += dt * (self.vz + 0.5 * dt * self.az)
        self.vz += dt * self.az

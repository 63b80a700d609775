"""From a target point and a heading to thrust and body rates: the cascade of ArduCopter's position and attitude control
(position, velocity with an integral, acceleration, lean), with its gains. Drag is not fed forward."""

from __future__ import annotations

import math

from aerialworld_core.sensing import GRAVITY
from aerialworld_sim.vehicles.goals import wrap
from aerialworld_sim.vehicles.moments import TICK, Moment, axes
from aerialworld_sim.vehicles.parameters import MultirotorParameters, Vector
from aerialworld_sim.vehicles.shaping import Shaped, root_speed

#: Filter of the velocity error and of its derivative, 5 Hz (PSC_VELXY_FLTE, _FLTD).
_FILTER = 1.0 - math.exp(-2.0 * math.pi * 5.0 * TICK)


class MultirotorControl:
    """Keeps the integral and the filters of one multirotor."""

    def __init__(self, parameters: MultirotorParameters) -> None:
        self._p = parameters
        self._most = GRAVITY * math.tan(parameters.lean_max)
        self._integral = [0.0, 0.0]
        self._error = [0.0, 0.0]
        self._change = [0.0, 0.0]
        self._asked = [0.0, 0.0]
        self._begins = False

    def begin(self) -> None:
        """The target jumps to another movement: what was asked until now is handed to the integral, as ArduCopter's
        controller begins, so that a lean goes on and fades."""
        self._integral = [*self._asked]
        self._begins = True

    def relax(self) -> None:
        """Forget what was integrated: a new flight begins."""
        self._integral = [0.0, 0.0]
        self._asked = [0.0, 0.0]

    def acceleration(self, point: Shaped, now: Moment) -> Vector:
        """What thrust is asked for at `now` to follow `point`: acceleration in map without gravity, within the lean."""
        p = self._p
        dx, dy = point.x - now.position[0], point.y - now.position[1]
        distance = math.sqrt(dx * dx + dy * dy)
        vx, vy = point.vx, point.vy
        if distance > 0:
            want = min(root_speed(distance, p.position_gain, p.acceleration), p.speed) / distance
            vx, vy = vx + want * dx, vy + want * dy
        most = self._most
        out = [point.ax, point.ay]
        for axis, target in enumerate((vx, vy)):
            error = target - now.velocity[axis]
            if self._begins:
                self._error[axis], self._change[axis] = error, 0.0
            step = _FILTER * (error - self._error[axis])
            self._error[axis] += step
            self._change[axis] += _FILTER * (step / TICK - self._change[axis])
            out[axis] += (
                p.velocity_gain * self._error[axis]
                + self._integral[axis]
                + p.derivative_gain * self._change[axis]
            )  # fmt: skip
        self._begins = False
        size = math.sqrt(out[0] * out[0] + out[1] * out[1])
        for axis in range(2):
            # A saturated lean must not wind up what it cannot give.
            if size < most or out[axis] * self._error[axis] < 0:
                self._integral[axis] += p.integral_gain * self._error[axis] * TICK
        if size > most:
            out = [out[0] * most / size, out[1] * most / size]
        self._asked = out
        error = point.z - now.position[2]
        climb = math.copysign(root_speed(abs(error), p.height_gain, p.vertical_acceleration), error)
        up = point.az + p.climb_gain * (point.vz + climb - now.velocity[2])
        return out[0], out[1], min(max(up, -0.8 * GRAVITY), 1.2 * GRAVITY)

    def rate(self, now: Moment, ax: float, ay: float, heading: float, heading_rate: float) -> Vector:
        """The body rate at the next tick, on the way to the lean that gives (ax, ay) and to the heading."""
        p = self._p
        (fx, fy, fz), (lx, ly, lz), (ux, uy, uz) = axes(now.orientation)
        n = 1.0 / math.sqrt(ax * ax + ay * ay + GRAVITY * GRAVITY)
        tx, ty, tz = ax * n, ay * n, GRAVITY * n
        cx, cy, cz = uy * tz - uz * ty, uz * tx - ux * tz, ux * ty - uy * tx  # axis that turns body z to the target
        roll = p.attitude_gain * (cx * fx + cy * fy + cz * fz)
        pitch = p.attitude_gain * (cx * lx + cy * ly + cz * lz)
        error = wrap(heading - math.atan2(fy, fx))
        yaw = (p.attitude_gain * error + heading_rate) * uz
        # Turning about the vertical while leaning takes roll and pitch as well.
        roll += heading_rate * fz
        pitch += heading_rate * lz
        share, lean, turn = TICK / p.rate_time, p.lean_acceleration * TICK, p.yaw_acceleration * TICK
        return (
            now.rate[0] + min(max(share * (roll - now.rate[0]), -lean), lean),
            now.rate[1] + min(max(share * (pitch - now.rate[1]), -lean), lean),
            now.rate[2] + min(max(share * (yaw - now.rate[2]), -turn), turn),
        )

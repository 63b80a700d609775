"""A vehicle's motion between ticks: acceleration and body rate change linearly, so that velocity, position and attitude
are their exact integrals, and an IMU that is read anywhere integrates back to the motion."""

from __future__ import annotations

import math

import numpy as np

from aerialworld_core.frames import Pose
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.vehicles.parameters import Vector

#: Vehicles are computed at multiples of this since their start: what a step is cut into changes nothing.
TICK_NS = 10_000_000
TICK = TICK_NS * 1e-9

Quaternion = tuple[float, float, float, float]


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def turned(q: Quaternion, x: float, y: float, z: float) -> Quaternion:
    """q after a rotation by the vector (x, y, z), radians, in its own frame; of unit length."""
    angle2 = x * x + y * y + z * z
    if angle2 < 1e-8:
        share, w = 0.5 - angle2 / 48.0, 1.0 - angle2 / 8.0
    else:
        angle = math.sqrt(angle2)
        share, w = math.sin(0.5 * angle) / angle, math.cos(0.5 * angle)
    r = multiply(q, (share * x, share * y, share * z, w))
    n = 1.0 / math.sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2] + r[3] * r[3])
    return r[0] * n, r[1] * n, r[2] * n, r[3] * n


def inverse(q: Quaternion) -> Quaternion:
    return -q[0], -q[1], -q[2], q[3]


def rotated(q: Quaternion, v: Vector) -> Vector:
    """A vector of a body with attitude q in the frame around it: v + 2 w (u × v) + 2 u × (u × v), q being u, w."""
    x, y, z, w = q
    cx, cy, cz = 2 * (y * v[2] - z * v[1]), 2 * (z * v[0] - x * v[2]), 2 * (x * v[1] - y * v[0])
    return (
        v[0] + w * cx + y * cz - z * cy,
        v[1] + w * cy + z * cx - x * cz,
        v[2] + w * cz + x * cy - y * cx,
    )


def up_axis(q: Quaternion) -> Vector:
    """The body's z axis in the frame around it."""
    x, y, z, w = q
    return 2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)


def axes(q: Quaternion) -> tuple[Vector, Vector, Vector]:
    """The body's x, y and z axes in the frame around it."""
    x, y, z, w = q
    forward = 1 - 2 * (y * y + z * z), 2 * (x * y + z * w), 2 * (x * z - y * w)
    left = 2 * (x * y - z * w), 1 - 2 * (x * x + z * z), 2 * (y * z + x * w)
    return forward, left, up_axis(q)


def heading(q: Quaternion) -> float:
    """Where the body's x axis points on the level, radians from x."""
    x, y, z, w = q
    return math.atan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z))


def facing(yaw: float) -> Quaternion:
    """Upright, with that heading."""
    return 0.0, 0.0, math.sin(0.5 * yaw), math.cos(0.5 * yaw)


class Moment:
    """The motion at one tick in plain numbers: position, velocity, acceleration in map, attitude x, y, z, w, rate."""

    __slots__ = ("acceleration", "orientation", "position", "rate", "stamp_ns", "velocity")

    def __init__(
        self,
        stamp_ns: int,
        position: Vector,
        velocity: Vector,
        acceleration: Vector,
        orientation: Quaternion,
        rate: Vector,
    ) -> None:
        self.stamp_ns = stamp_ns
        self.position = position
        self.velocity = velocity
        self.acceleration = acceleration
        self.orientation = orientation
        self.rate = rate

    def state(self) -> VehicleState:
        return VehicleState(
            self.stamp_ns,
            Pose(np.array(self.position), np.array(self.orientation)),
            np.array(self.velocity),
            np.array(self.rate),
            np.array(self.acceleration),
        )


def resting(stamp_ns: int, position: Vector, orientation: Quaternion) -> Moment:
    still = (0.0, 0.0, 0.0)
    return Moment(stamp_ns, position, still, still, orientation, still)


def of_state(state: VehicleState) -> Moment:
    """A given state as a moment."""
    px, py, pz = (float(v) for v in state.pose.position)
    qx, qy, qz, qw = (float(v) for v in state.pose.orientation)
    vx, vy, vz = (float(v) for v in state.linear_velocity)
    wx, wy, wz = (float(v) for v in state.angular_velocity)
    ax, ay, az = (float(v) for v in state.linear_acceleration)
    return Moment(int(state.stamp_ns), (px, py, pz), (vx, vy, vz), (ax, ay, az), (qx, qy, qz, qw), (wx, wy, wz))


def orientation_after(before: Moment, rate: Vector) -> Quaternion:
    """The attitude a tick later, to which the body rate changes linearly."""
    half, w = 0.5 * TICK, before.rate
    return turned(before.orientation, half * (w[0] + rate[0]), half * (w[1] + rate[1]), half * (w[2] + rate[2]))


def integrate(before: Moment, acceleration: Vector, rate: Vector, orientation: Quaternion | None = None) -> Moment:
    """The next moment, to which acceleration and body rate change linearly. `orientation` as `orientation_after` has
    it, where it is known already."""
    t, (px, py, pz), (vx, vy, vz), (ax, ay, az) = TICK, before.position, before.velocity, before.acceleration
    bx, by, bz = acceleration
    third, half = t * t / 6.0, 0.5 * t
    return Moment(
        before.stamp_ns + TICK_NS,
        (
            px + t * vx + third * (2.0 * ax + bx),
            py + t * vy + third * (2.0 * ay + by),
            pz + t * vz + third * (2.0 * az + bz),
        ),
        (vx + half * (ax + bx), vy + half * (ay + by), vz + half * (az + bz)),
        acceleration,
        orientation_after(before, rate) if orientation is None else orientation,
        rate,
    )


def between(before: Moment, after: Moment, stamp_ns: int) -> Moment:
    """The motion at `stamp_ns` between two moments a tick apart."""
    if stamp_ns == after.stamp_ns:
        return after
    t = (stamp_ns - before.stamp_ns) * 1e-9
    share = t / TICK
    p, v, a, w = before.position, before.velocity, before.acceleration, before.rate
    b, u = after.acceleration, after.rate
    mean = [x + 0.5 * share * (y - x) for x, y in zip(w, u, strict=True)]
    position = [p[i] + t * (v[i] + t * (0.5 * a[i] + share * (b[i] - a[i]) / 6.0)) for i in range(3)]
    velocity = [v[i] + t * (a[i] + 0.5 * share * (b[i] - a[i])) for i in range(3)]
    acceleration = [a[i] + share * (b[i] - a[i]) for i in range(3)]
    rate = [w[i] + share * (u[i] - w[i]) for i in range(3)]
    return Moment(
        stamp_ns,
        (position[0], position[1], position[2]),
        (velocity[0], velocity[1], velocity[2]),
        (acceleration[0], acceleration[1], acceleration[2]),
        turned(before.orientation, t * mean[0], t * mean[1], t * mean[2]),
        (rate[0], rate[1], rate[2]),
    )

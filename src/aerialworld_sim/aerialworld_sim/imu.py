"""The IMU: angular rate and specific force of the true motion, with bias and white noise."""

from __future__ import annotations

import numpy as np

from aerialworld_core.frames import Array
from aerialworld_core.rig import ImuSpec
from aerialworld_core.sensing import GRAVITY
from aerialworld_sim import noise
from aerialworld_sim.motion import Motion

#: Half the span over which angular acceleration is differenced for an IMU that sits off the base's origin.
_HALF_SPAN_NS = 500_000


def sample_stamps(rate: float, after_ns: int, until_ns: int) -> list[int]:
    """Stamps k / rate (rounded to nanoseconds) with after_ns < stamp ≤ until_ns."""
    period = 1e9 / rate
    k = int(np.floor(after_ns / period)) - 1
    stamps = []
    while round(k * period) <= until_ns:
        if round(k * period) > after_ns:
            stamps.append(round(k * period))
        k += 1
    return stamps


def simulate_imu(spec: ImuSpec, motion: Motion, stamps: list[int], seed: int, vehicle: str) -> Array:
    """(K, 7) float64: t [s], gyro xyz [rad/s], specific force xyz [m/s²] in the IMU's frame.

    Specific force is Rᵀ(a + g ẑ) at the IMU's mount: +g up at rest. Biases are drawn once per run from the seed; noise
    is a function of seed, vehicle, sensor and the sample's stamp, so it does not depend on when samples are collected.
    """
    out = np.empty((len(stamps), 7))
    bias = noise.normal(noise.key(seed, vehicle, spec.name, "imu bias"), 6).astype(np.float64)
    bias[:3] *= spec.gyro_bias_stddev
    bias[3:] *= spec.accel_bias_stddev
    scale = np.array([spec.gyro_noise_stddev] * 3 + [spec.accel_noise_stddev] * 3)
    mount, arm = spec.pose.rotation, spec.pose.position
    for row, stamp in zip(out, stamps, strict=True):
        state = motion.state(stamp)
        rotation = state.pose.rotation
        omega = np.asarray(state.angular_velocity, np.float64)
        force = rotation.T @ (np.asarray(state.linear_acceleration) + np.array([0.0, 0.0, GRAVITY]))
        if arm.any():
            first, last = max(stamp - _HALF_SPAN_NS, 0), stamp + _HALF_SPAN_NS  # motion begins at 0
            change = np.asarray(motion.state(last).angular_velocity) - motion.state(first).angular_velocity
            alpha = change / ((last - first) * 1e-9)
            force = force + np.cross(alpha, arm) + np.cross(omega, np.cross(omega, arm))
        white = noise.normal(noise.key(seed, vehicle, spec.name, "imu", stamp), 6)
        row[0] = stamp * 1e-9
        row[1:4] = mount.T @ omega
        row[4:7] = mount.T @ force
        row[1:7] += bias + scale * white
    return out

"""The IMU: angular rate and specific force of the true motion, with the noise and the biases that SDF declares.

What the noise is, and how data sheets map to it, is said in `aerialworld_core.navigation`.
"""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="call-overload"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Array
from aerialworld_core.rig import ImuSpec
from aerialworld_core.sensing import GRAVITY
from aerialworld_sim import noise
from aerialworld_sim.compiled import kernel
from aerialworld_sim.motion import Motion, rotations, states

#: Half the span over which angular acceleration is differenced for an IMU that sits off the base's origin.
_HALF_SPAN_NS = 500_000
#: Samples whose drifting bias is computed at once; the bias at the end of every block is kept.
_BLOCK = 4096


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


class ImuModel:
    """One IMU of one vehicle in one run.

    Samples are a function of seed, vehicle, sensor and stamp: the order of calls, and what was asked before, do not
    matter. What is kept between calls only saves time.
    """

    def __init__(self, spec: ImuSpec, seed: int, vehicle: str) -> None:
        self.spec = spec
        self._white = noise.key(seed, vehicle, spec.name, "imu")
        self._drift = noise.key(seed, vehicle, spec.name, "imu drift")
        gyro, accel = spec.noise("gyro"), spec.noise("accel")
        self._mean, self._stddev, mean, stddev, density, time, self._precision = (
            np.concatenate([getattr(gyro, k), getattr(accel, k)])
            for k in ("mean", "stddev", "bias_mean", "bias_stddev", "drift_stddev", "drift_time", "precision")
        )
        first = noise.normal(noise.key(seed, vehicle, spec.name, "imu bias"), 12).astype(np.float64)
        self._first_bias = np.copysign(1.0, first[6:]) * mean + stddev * first[:6]  # ± mean; stddev is symmetric
        drifts = density > 0
        time, step = np.where(drifts, time, 1.0), 1.0 / spec.rate
        self._decay = np.where(drifts, np.exp(-step / time), 1.0)
        self._step = np.where(drifts, density * np.sqrt(-time / 2 * np.expm1(-2 * step / time)), 0.0)
        self._drifts = bool(drifts.any())
        self._ends = [self._first_bias]  # bias before block 0, and at the end of block 0, 1, …
        self._kept: tuple[int, Array] = (-1, np.empty((0, 6)))

    def samples(self, motion: Motion, stamps: Sequence[int] | NDArray[np.int64]) -> Array:
        """(K, 7) float64: t [s], gyro xyz [rad/s], specific force xyz [m/s²] in the IMU's frame, at `stamps` (K,) ns.

        Specific force is Rᵀ(a + g ẑ) at the IMU's mount: +g up at rest. Raises InputError for a stamp that is not one
        of `sample_stamps`.
        """
        stamps = np.asarray(stamps, np.int64)
        out = np.empty((len(stamps), 7))
        out[:, 0] = stamps * 1e-9
        out[:, 1:] = self._true_readings(motion, stamps) + self.errors(self._numbers(stamps))
        rounded = self._precision > 0
        if rounded.any():
            grain = self._precision[rounded]
            out[:, 1:][:, rounded] = np.rint(out[:, 1:][:, rounded] / grain) * grain
        return out

    def errors(self, numbers: NDArray[np.int64]) -> Array:
        """(K, 6) noise and bias, gyro then accelerometer, of samples number `numbers` (K,) (stamp · rate)."""
        runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
        return np.concatenate([self._run(int(run[0]), len(run)) if len(run) else np.empty((0, 6)) for run in runs])

    def _numbers(self, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
        period = 1e9 / self.spec.rate
        numbers = np.rint(stamps / period).astype(np.int64)
        wrong = (np.rint(numbers * period).astype(np.int64) != stamps) | (stamps < 0)
        if wrong.any():
            raise InputError(
                f"imu {self.spec.name}: {stamps[wrong][0]} ns is no sample time at {self.spec.rate:g} Hz; samples are "
                "taken at k / rate from time 0 on"
            )
        return numbers

    def _true_readings(self, motion: Motion, stamps: NDArray[np.int64]) -> Array:
        mount, arm = self.spec.pose.rotation, self.spec.pose.position
        n = len(stamps)
        first, last = np.maximum(stamps - _HALF_SPAN_NS, 0), stamps + _HALF_SPAN_NS  # motion begins at 0
        lever = bool(arm.any())
        moments = states(motion, np.concatenate([stamps, first, last]) if lever else stamps)
        omega = moments.angular_velocity[:n]
        rotation = rotations(moments.orientation[:n])
        against = moments.linear_acceleration[:n] + np.array([0.0, 0.0, GRAVITY])
        force = np.einsum("nji,nj->ni", rotation, against)
        if lever:
            change = moments.angular_velocity[2 * n :] - moments.angular_velocity[n : 2 * n]
            alpha = change / ((last - first) * 1e-9)[:, None]
            force = force + np.cross(alpha, arm) + np.cross(omega, np.cross(omega, arm))
        return np.hstack([omega @ mount, force @ mount])

    def _run(self, first: int, count: int) -> Array:
        """Errors of samples first … first + count."""
        white = noise.normal(self._white, 8 * count, first=8 * first).reshape(count, 8)[:, :6]
        errors = white * self._stddev + self._mean
        if not self._drifts:
            return errors + self._first_bias
        for block in range(first // _BLOCK, (first + count - 1) // _BLOCK + 1):
            start = block * _BLOCK
            low, high = max(first, start), min(first + count, start + _BLOCK)
            errors[low - first : high - first] += self._biases(block)[low - start : high - start]
        return errors

    def _biases(self, block: int) -> Array:
        """(_BLOCK, 6) biases of a block of samples; the blocks before it are run through once."""
        for number in range(min(len(self._ends) - 1, block), block + 1):
            if self._kept[0] == number:
                continue
            steps = noise.normal(self._drift, 8 * _BLOCK, first=8 * _BLOCK * number).reshape(_BLOCK, 8)
            biases = np.empty((_BLOCK, 6))
            _gauss_markov(steps, self._step, self._decay, self._ends[number], number == 0, biases)
            self._kept = (number, biases)
            if len(self._ends) == number + 1:
                self._ends.append(biases[-1].copy())
        return self._kept[1]


@kernel
def _gauss_markov(steps: Any, scale: Any, decay: Any, before: Any, begins: bool, out: Any) -> None:
    """out (N, 6): b_k = decay · b_{k−1} + scale · steps_k, from b_{−1} = `before`, or b_0 = `before`."""
    for axis in range(6):
        bias = before[axis]
        for k in range(len(out)):
            if k > 0 or not begins:
                bias = decay[axis] * bias + scale[axis] * steps[k, axis]
            out[k, axis] = bias

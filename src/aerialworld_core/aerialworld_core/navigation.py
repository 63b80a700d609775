"""What an IMU and a satellite receiver are: their noise, as SDF declares it and Gazebo applies it.

Gazebo's Gaussian noise (gz-sensors, GaussianNoiseModel), per axis, with n standard normal and Δt = 1 / rate:

    reading_k = truth_k + mean + stddev · n_k + b_k          rounded to a multiple of `precision` where that is > 0
    b_0 = ± (bias_mean + bias_stddev · n)                     drawn once per run, both signs equally likely
    b_k = φ b_{k−1} + σ_d n_k,   φ = exp(−Δt / T),  σ_d² = σ_b² T/2 (1 − exp(−2 Δt / T))

T is `dynamic_bias_correlation_time`, σ_b `dynamic_bias_stddev`; without them b stays b_0. From the figures of a data
sheet or of an Allan deviation plot (IEEE Std 952; units of a gyroscope, for an accelerometer read m/s² for rad/s):

    angular random walk N [rad/s/√Hz], slope −1/2, read at τ = 1 s     stddev = N √rate
    rate random walk K [rad/s²/√Hz], slope +1/2, read at τ = 3 s       σ_b = K, T longer than the run
    bias instability B [rad/s], the flat part is 0.664 B, at τ₀        σ_b = 1.52 B / √T, T = τ₀ / 1.89

The last line makes the top of the correlated noise (0.437 σ_b √T at τ = 1.89 T) as high as the flat part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from aerialworld_core.errors import WorldError
from aerialworld_core.frames import Array, Pose

#: One number for all three axes, or one for each of x, y, z.
Axes = float | tuple[float, float, float]

MAX_RATE = 10_000.0


def checked_rate(label: str, rate: float) -> None:
    """Raise WorldError, which starts with `label`, for a rate in Hz that no sensor of ours can have."""
    if not 0.0 < rate <= MAX_RATE:
        raise WorldError(f"{label}: a rate of {rate:g} Hz; need more than 0 and at most {MAX_RATE:g}")


@dataclass(frozen=True, eq=False)
class AxisNoise:
    """Gazebo's Gaussian noise of the three axes of one quantity; each (3,) float64, in the quantity's unit (the drift's
    `drift_stddev` per √s, `drift_time` in seconds)."""

    mean: Array
    stddev: Array
    bias_mean: Array
    bias_stddev: Array
    drift_stddev: Array
    drift_time: Array
    precision: Array


#: The fields of `AxisNoise` as `ImuSpec` names them after `gyro_` or `accel_`.
_FIELDS = {
    "mean": "noise_mean",
    "stddev": "noise_stddev",
    "bias_mean": "bias_mean",
    "bias_stddev": "bias_stddev",
    "drift_stddev": "dynamic_bias_stddev",
    "drift_time": "dynamic_bias_correlation_time",
    "precision": "precision",
}


@dataclass(frozen=True)
class ImuSpec:
    """An IMU at `pose` in base_link, `rate` in Hz. Noise of the gyroscope in rad/s, of the accelerometer in m/s², as
    this module's first lines say; a number holds for all three axes of the IMU, three numbers for x, y, z."""

    name: str
    pose: Pose
    rate: float
    gyro_noise_stddev: Axes = 0.0
    gyro_bias_stddev: Axes = 0.0
    accel_noise_stddev: Axes = 0.0
    accel_bias_stddev: Axes = 0.0
    gyro_noise_mean: Axes = 0.0
    gyro_bias_mean: Axes = 0.0
    gyro_dynamic_bias_stddev: Axes = 0.0
    gyro_dynamic_bias_correlation_time: Axes = 0.0
    gyro_precision: Axes = 0.0
    accel_noise_mean: Axes = 0.0
    accel_bias_mean: Axes = 0.0
    accel_dynamic_bias_stddev: Axes = 0.0
    accel_dynamic_bias_correlation_time: Axes = 0.0
    accel_precision: Axes = 0.0

    _ALWAYS: ClassVar[tuple[str, ...]] = (
        "gyro_noise_stddev", "gyro_bias_stddev", "accel_noise_stddev", "accel_bias_stddev",
    )  # fmt: skip

    def __post_init__(self) -> None:
        checked_rate(f"imu {self.name}", self.rate)
        for quantity in ("gyro", "accel"):
            for suffix in _FIELDS.values():
                self._set_axes(f"{quantity}_{suffix}", signed=suffix.endswith("mean"))
            noise = self.noise(quantity)
            if ((noise.drift_stddev > 0) & (noise.drift_time <= 0)).any():
                raise WorldError(
                    f"imu {self.name}: {quantity}: dynamic_bias_stddev needs a dynamic_bias_correlation_time above 0"
                )

    def _set_axes(self, field: str, *, signed: bool) -> None:
        value = getattr(self, field)
        axes = tuple(float(v) for v in (value if isinstance(value, list | tuple) else (value,) * 3))
        if len(axes) != 3 or not np.isfinite(axes).all() or (not signed and min(axes) < 0):
            raise WorldError(
                f"imu {self.name}: {field} must be one number or three for x, y, z"
                f"{'' if signed else ', not negative'}: {value}"
            )
        object.__setattr__(self, field, axes[0] if len(set(axes)) == 1 else axes)

    def noise(self, quantity: str) -> AxisNoise:
        """The noise of the gyroscope (`gyro`) or of the accelerometer (`accel`), per axis of the IMU."""
        values = {k: getattr(self, f"{quantity}_{suffix}") for k, suffix in _FIELDS.items()}
        return AxisNoise(**{k: np.broadcast_to(np.array(v, np.float64), 3) for k, v in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """As in session.json; what is zero and was unknown to older readers is left out."""
        data: dict[str, Any] = {"name": self.name, "rate": self.rate}
        names = [*self._ALWAYS, *(f"{q}_{s}" for q in ("gyro", "accel") for s in _FIELDS.values())]
        for key in dict.fromkeys(names):
            value = getattr(self, key)
            if key in self._ALWAYS or value != 0.0:
                data[key] = list(value) if isinstance(value, tuple) else value
        return with_pose(data, self.pose)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ImuSpec:
        return cls(pose=pose_of(data), **without_pose(data))


@dataclass(frozen=True)
class NavSatSpec:
    """A satellite receiver whose antenna sits at `pose` in base_link; `rate` in Hz. The position's error is Gaussian
    and independent from fix to fix: metres to the east and to the north (each `horizontal_stddev`) and upwards."""

    name: str
    pose: Pose
    rate: float
    horizontal_stddev: float = 0.0
    vertical_stddev: float = 0.0

    def __post_init__(self) -> None:
        checked_rate(f"navsat {self.name}", self.rate)
        for value in (self.horizontal_stddev, self.vertical_stddev):
            if not 0.0 <= value < np.inf:
                raise WorldError(f"navsat {self.name}: a standard deviation of {value} m; it cannot be negative")

    def to_dict(self) -> dict[str, Any]:
        data = {k: getattr(self, k) for k in ("name", "rate", "horizontal_stddev", "vertical_stddev")}
        return with_pose(data, self.pose)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NavSatSpec:
        return cls(pose=pose_of(data), **without_pose(data))


def with_pose(data: Mapping[str, Any], pose: Pose) -> dict[str, Any]:
    """A sensor's entries of session.json, with its pose in base_link."""
    return {**data, "position": pose.position.tolist(), "orientation": pose.orientation.tolist()}


def pose_of(data: Mapping[str, Any]) -> Pose:
    """The pose that `with_pose` put into a sensor's entries."""
    return Pose(np.array(data["position"], float), np.array(data["orientation"], float))


def without_pose(data: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that `with_pose` found."""
    return {k: v for k, v in data.items() if k not in ("position", "orientation")}

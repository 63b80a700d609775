"""The IMU's noise against theory: Allan deviation, the drift's correlation, Gazebo's recursion; its repeatability."""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, quaternion_from_rotation, rotation_from_rpy
from aerialworld_core.plan import Plan
from aerialworld_core.rig import ImuSpec
from aerialworld_core.sensing import GRAVITY, VehicleState
from aerialworld_sim import Static, noise
from aerialworld_sim.imu import ImuModel, sample_stamps

RATE = 100.0


def imu(**noise_of) -> ImuSpec:
    return ImuSpec("imu", Pose.identity(), RATE, **noise_of)


def allan_deviation(readings: np.ndarray, lengths: list[int]) -> np.ndarray:
    """(lengths, axes): overlapping Allan deviation (IEEE Std 952) of (N, axes) readings at lengths / RATE seconds."""
    angle = np.vstack([np.zeros(readings.shape[1]), np.cumsum(readings, axis=0)]) / RATE
    out = []
    for m in lengths:
        second = angle[2 * m :] - 2 * angle[m:-m] + angle[: -2 * m]
        out.append(np.sqrt((second**2).mean(axis=0) / (2 * (m / RATE) ** 2)))
    return np.array(out)


def test_white_noise_has_slope_minus_one_half_and_reads_n_at_one_second():
    """stddev = N √rate: the Allan deviation is N / √τ."""
    n = np.array([0.002, 0.004, 0.001])
    model = ImuModel(imu(gyro_noise_stddev=tuple(n * np.sqrt(RATE))), 1, "v")
    readings = model.errors(np.arange(400_000))[:, :3]
    lengths = [1, 10, 100, 1000]
    assert np.allclose(allan_deviation(readings, lengths), n / np.sqrt(np.array(lengths)[:, None] / RATE), rtol=0.08)


def test_correlated_noise_has_the_bump_that_theory_gives():
    """IEEE Std 952, C.1.5: exponentially correlated noise; its top is 0.437 σ_b √T at 1.89 T."""
    density, time = 0.01, 2.0
    model = ImuModel(imu(gyro_dynamic_bias_stddev=density, gyro_dynamic_bias_correlation_time=time), 2, "v")
    readings = model.errors(np.arange(2_000_000))[:, :3]
    lengths = [30, 100, 189, 378, 800, 2000]
    tau = np.array(lengths) / RATE
    ratio = tau / time
    theory = density * time / np.sqrt(tau) * np.sqrt(1 - (3 - 4 * np.exp(-ratio) + np.exp(-2 * ratio)) / (2 * ratio))
    measured = np.sqrt((allan_deviation(readings, lengths) ** 2).mean(axis=1))
    assert np.allclose(measured, theory, rtol=0.04)
    assert theory[3] == pytest.approx(0.437 * density * np.sqrt(time), rel=2e-3) and theory.argmax() == 3
    assert measured.argmax() == 3 and readings[1000:].std() == pytest.approx(density * np.sqrt(time / 2), rel=0.03)


def test_a_long_correlation_time_is_a_rate_random_walk():
    """σ(τ) = K √(τ/3) while τ is far below T."""
    k = 0.003
    model = ImuModel(imu(accel_dynamic_bias_stddev=k, accel_dynamic_bias_correlation_time=1e6), 3, "v")
    readings = model.errors(np.arange(1_000_000))[:, 3:]
    tau = np.array([30, 100, 300]) / RATE
    measured = np.sqrt((allan_deviation(readings, [30, 100, 300]) ** 2).mean(axis=1))
    assert np.allclose(measured, k * np.sqrt(tau / 3), rtol=0.04)


def test_the_drift_is_gazebos_recursion_from_the_first_bias():
    """As GaussianNoiseModel::ApplyImpl writes it, over block borders, with one axis that does not drift."""
    from scipy.signal import lfilter

    density, time, count = np.array([0.02, 0.0, 0.05]), np.array([30.0, 0.0, 5.0]), 10_000
    spec = imu(
        gyro_bias_mean=0.3, gyro_bias_stddev=0.01, gyro_dynamic_bias_stddev=tuple(density),
        gyro_dynamic_bias_correlation_time=tuple(time),
    )  # fmt: skip
    bias = ImuModel(spec, 4, "v").errors(np.arange(count))[:, :3]
    steps = noise.normal(noise.key(4, "v", "imu", "imu drift"), 8 * count).reshape(count, 8)[:, :3]
    assert np.allclose(np.abs(bias[0]), 0.3, atol=0.05) and (bias[:, 1] == bias[0, 1]).all()
    for axis in (0, 2):
        phi = np.exp(-1 / RATE / time[axis])
        sigma = np.sqrt(-(density[axis] ** 2) * time[axis] / 2 * np.expm1(-2 / RATE / time[axis]))
        drive = np.r_[bias[0, axis], sigma * steps[1:, axis].astype(np.float64)]
        assert np.allclose(lfilter([1.0], [1.0, -phi], drive), bias[:, axis], rtol=1e-12, atol=1e-14)


def test_biases_have_both_signs_and_the_declared_spread():
    spec = imu(gyro_bias_mean=0.5, gyro_bias_stddev=0.02, accel_bias_stddev=(0.1, 0.2, 0.3))
    first = np.array([ImuModel(spec, seed, "v").errors(np.arange(1))[0] for seed in range(600)])
    assert np.abs((first[:, :3] > 0).mean() - 0.5) < 0.05
    assert np.abs(first[:, :3]).mean() == pytest.approx(0.5, abs=0.005)
    assert np.abs(first[:, :3]).std() == pytest.approx(0.02, rel=0.1)
    assert np.allclose(first[:, 3:].std(axis=0), [0.1, 0.2, 0.3], rtol=0.1)


def test_mean_and_precision():
    spec = imu(gyro_noise_mean=(0.1, 0.2, -0.3), accel_precision=0.25, accel_noise_stddev=0.3)
    samples = ImuModel(spec, 0, "v").samples(Static(Pose.identity()), sample_stamps(RATE, -1, 1_000_000_000))
    assert np.allclose(samples[:, 1:4], [0.1, 0.2, -0.3], atol=1e-15)
    quarters = samples[:, 4:7] / 0.25
    assert (quarters == np.rint(quarters)).all() and len(np.unique(quarters[:, 0])) > 3
    assert np.abs(samples[:, 6].mean() - GRAVITY) < 0.1


def test_samples_do_not_depend_on_the_order_of_calls_or_on_what_was_asked_before():
    spec = imu(
        gyro_noise_stddev=0.01, accel_noise_stddev=(0.1, 0.2, 0.3), gyro_bias_stddev=0.1,
        accel_dynamic_bias_stddev=0.01, accel_dynamic_bias_correlation_time=100.0,
    )  # fmt: skip
    whole = ImuModel(spec, 7, "v").errors(np.arange(13_000))
    resumed, parts = ImuModel(spec, 7, "v"), ImuModel(spec, 7, "v")
    assert resumed.errors(np.arange(12_500, 12_600)).tobytes() == whole[12_500:12_600].tobytes()
    assert resumed.errors(np.arange(10)).tobytes() == whole[:10].tobytes()
    assert (
        np.concatenate([parts.errors(np.arange(i, i + 100)) for i in range(0, 13_000, 100)]).tobytes()
        == whole.tobytes()
    )
    picked = np.array([4095, 4096, 9, 8192, 12_999, 0])
    assert parts.errors(picked).tobytes() == whole[picked].tobytes()
    assert ImuModel(spec, 8, "v").errors(np.arange(9)).tobytes() != whole[:9].tobytes()
    assert ImuModel(spec, 7, "w").errors(np.arange(9)).tobytes() != whole[:9].tobytes()


def test_stamps_that_are_no_sample_times_are_refused():
    for stamp in (5_000_000, -10_000_000):
        with pytest.raises(InputError, match=rf"imu imu: {stamp} ns is no sample time at 100 Hz"):
            ImuModel(imu(), 0, "v").samples(Static(Pose.identity()), [0, stamp])
    third = ImuSpec("imu", Pose.identity(), 30.0)
    stamps = sample_stamps(30.0, -1, 10_000_000_000)
    assert len(ImuModel(third, 0, "v").samples(Static(Pose.identity()), stamps)) == 301
    assert ImuModel(third, 0, "v").samples(Static(Pose.identity()), []).shape == (0, 7)


def test_many_moments_at_once_are_those_one_by_one():
    """The trajectory's batch, and a motion that has none: IMU on a lever arm, over the ends of the plan."""
    t = np.linspace(0.0, 4.0, 41)
    a = 0.7 * t**1.2
    position = np.stack([9 * np.cos(a), 9 * np.sin(a), 30 + 0.2 * t**2], -1)
    turn = np.array([quaternion_from_rotation(rotation_from_rpy(0.3, -0.1, x)) for x in a])
    trajectory = Plan("circle", "drone_1", "drone", "orbit", "block", 0, t, position, turn).trajectory()

    class OneByOne:
        def state(self, stamp_ns: int) -> VehicleState:
            return trajectory.state(stamp_ns)

    spec = ImuSpec("imu", Pose.from_rpy(0.3, -0.2, 0.1, 0.1, 0.2, 0.3), RATE, 0.01, 0.01, 0.1, 0.1)
    stamps = sample_stamps(RATE, -1, 4_200_000_000)
    batch = ImuModel(spec, 0, "v").samples(trajectory, stamps)
    single = ImuModel(spec, 0, "v").samples(OneByOne(), stamps)
    assert np.allclose(batch, single, rtol=0, atol=1e-12)
    states = trajectory.states(np.array(stamps))
    for i in (0, 13, 400, 401, 415):
        state = trajectory.state(stamps[i])
        for key in ("linear_velocity", "linear_acceleration", "angular_velocity"):
            assert np.allclose(getattr(states, key)[i], getattr(state, key), rtol=0, atol=1e-12)
        assert np.allclose(states.position[i], state.pose.position, rtol=0, atol=1e-12)
        assert abs(states.orientation[i] @ state.pose.orientation) == pytest.approx(1, abs=1e-12)
    assert not states.linear_velocity[401:].any() and states.linear_velocity[:401].any(axis=1).all()

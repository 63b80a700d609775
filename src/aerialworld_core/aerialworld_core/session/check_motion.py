"""Does the motion hold together: stamps, velocity against position, body rates against orientation, IMU against
both?"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import SessionError
from aerialworld_core.frames import Array, quaternion_from_rotation, rotation_from_quaternion
from aerialworld_core.sensing import GRAVITY
from aerialworld_core.session.frame_files import PoseRecord
from aerialworld_core.session.reader import Session
from aerialworld_core.session.report import ValidationReport

#: Stamps may deviate from the frame period by this share of it.
STAMP_TOLERANCE = 0.01
#: Between frames that are further apart (seconds) a vehicle may stop, turn and start again: what both ends say of
#: velocity, rates and forces tells nothing of what was in between, so it is not compared.
LONGEST_COMPARED = 1.0
#: Displacement against the mean of both ends' velocities: metres, share of the distance, share of (change of velocity
#: × interval): 0 would be right for constant acceleration, 0.5 for a sudden change at one end.
POSITION_TOLERANCE = (0.10, 0.02, 0.3)
#: Likewise for orientation: radians, share of the angle, share of (change of rate × interval).
ANGLE_TOLERANCE = (0.05, 0.05, 0.5)
#: What the gyro says of a turn: radians, share of the angle; and of the rates at both ends, rad/s.
GYRO_TURN_TOLERANCE, GYRO_END_TOLERANCE = (0.05, 0.05), 0.25
#: Σ displacement·velocity / Σ velocity²: a systematic lie of 3 % shows over a run of at least `SCALE_DISTANCE_M`.
SCALE_TOLERANCE, SCALE_DISTANCE_M = 0.03, 5.0
#: Mean of the IMU's specific force, turned into map, minus gravity and true acceleration: m/s²; mean gyro: rad/s.
ACCELERATION_TOLERANCE, GYRO_TOLERANCE = 0.5, 0.05
#: The same over one interval, m/s²: orientation between two frames is only interpolated.
INTERVAL_ACCELERATION_TOLERANCE = 3.0


def check_motion(session: Session, poses: dict[int, PoseRecord], report: ValidationReport) -> None:
    """Compares every frame with its neighbour; a gap is bridged over as many periods. Where frames are too far apart to
    be compared, a warning says so."""
    indices = sorted(poses)
    pairs = list(itertools.pairwise(indices))
    period = session.meta.frame_period_ns
    stamps, jumps, turns = [], [], []
    errors, distance, compared, dot, square = [0.0], 0.0, 0.0, 0.0, 0.0
    apart: list[str] = []
    for a, b in pairs:
        p, q = poses[a], poses[b]
        dt_ns = q.stamp_ns - p.stamp_ns
        if abs(dt_ns - (b - a) * period) > STAMP_TOLERANCE * period * (b - a):
            stamps.append(f"frames {a} and {b} are {dt_ns} ns apart, not {(b - a) * period}")
        if dt_ns <= 0 or b - a > 1:
            continue
        dt = dt_ns * 1e-9
        moved, mean, change = (
            q.pose.position - p.pose.position,
            (p.linear_velocity + q.linear_velocity) / 2 * dt,
            float(np.linalg.norm(q.linear_velocity - p.linear_velocity)) * dt,
        )
        length, error = float(np.linalg.norm(moved)), float(np.linalg.norm(moved - mean))
        distance += length
        if dt > LONGEST_COMPARED + 1e-9:
            apart.append(f"frames {a} and {b} are {dt:.3g} s apart")
            continue
        compared += length
        errors.append(error)
        dot, square = dot + float(moved @ mean), square + float(mean @ mean)
        if error > np.dot(POSITION_TOLERANCE, [1.0, length, change]):
            jumps.append(
                f"frames {a} and {b}: moved {length:.2f} m in {dt:.3g} s, "
                f"but the stated velocities say {np.linalg.norm(mean):.2f} m (off by {error:.2f} m)"
            )
        turned = _check_turn(a, b, p, q, dt)
        if turned and not _gyro_agrees(session, b, p, q):
            turns += turned
    report.errors_of(stamps, "intervals that are not the frame period")
    report.errors_of(jumps, "intervals in which velocity is not dx/dt")
    report.errors_of(turns, "intervals in which angular velocity is not the change of orientation")
    scale = dot / square if square > 0 else None
    if apart:
        report.warn(
            "velocity, angular velocity and the IMU were not compared with the motion over "
            f"{len(apart)} of {len(pairs)} intervals, which are longer than {LONGEST_COMPARED:g} s: {apart[0]}"
        )
    if compared > SCALE_DISTANCE_M and (scale is None or abs(scale - 1) > SCALE_TOLERANCE):
        report.error(f"positions change {scale or float('inf'):.3f} times as fast as the stated velocity")
    seconds = sum((poses[b].stamp_ns - poses[a].stamp_ns) * 1e-9 for a, b in pairs)
    report.figures |= {
        "seconds": seconds,
        "distance_m": distance,
        "velocity_scale": scale,
        "velocity_error_max_m": max(errors),
    }


def _check_turn(a: int, b: int, p: PoseRecord, q: PoseRecord, dt: float) -> list[str]:
    if max(np.linalg.norm(p.angular_velocity), np.linalg.norm(q.angular_velocity)) * dt > np.pi:
        return []  # more than half a turn between frames: the difference of orientations is ambiguous
    turned = _rotation_vector(p.pose.rotation.T @ q.pose.rotation)
    mean = (p.angular_velocity + q.angular_velocity) / 2 * dt
    change = float(np.linalg.norm(q.angular_velocity - p.angular_velocity)) * dt
    angle, error = float(np.linalg.norm(turned)), float(np.linalg.norm(turned - mean))
    if error <= np.dot(ANGLE_TOLERANCE, [1.0, angle, change]):
        return []
    return [
        f"frames {a} and {b}: turned {np.degrees(angle):.1f}° in {dt:.3g} s, but the stated rates say "
        f"{np.degrees(np.linalg.norm(mean)):.1f}° (off by {np.degrees(error):.1f}°)"
    ]


def _gyro_agrees(session: Session, b: int, p: PoseRecord, q: PoseRecord) -> bool:
    """Whether the IMU of the interval that ends at frame `b` says the turn and the rates at both ends: a vehicle that
    has turned to and fro between two frames has not lied about the rates at them."""
    spec = session.meta.rig.imu
    samples = session.imu(b) if spec is not None else None
    if spec is None or samples is None or len(samples) < 0.9 * spec.rate * (q.stamp_ns - p.stamp_ns) * 1e-9:
        return False
    rates = samples[:, 1:4] @ spec.pose.rotation.T
    ends = max(np.linalg.norm(rates[0] - p.angular_velocity), np.linalg.norm(rates[-1] - q.angular_velocity))
    if ends > GYRO_END_TOLERANCE:
        return False
    rotation = p.pose.rotation
    for rate, seconds in zip(rates, np.diff(samples[:, 0], prepend=p.stamp_ns * 1e-9), strict=True):
        rotation = rotation @ _rotation_of(rate * seconds)
    angle = float(np.linalg.norm(_rotation_vector(p.pose.rotation.T @ q.pose.rotation)))
    error = np.linalg.norm(_rotation_vector(rotation.T @ q.pose.rotation))
    return bool(error <= np.dot(GYRO_TURN_TOLERANCE, [1.0, angle]))


def _rotation_of(vector: Array) -> Array:
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 1e-12 else np.zeros(3)
    return rotation_from_quaternion(np.array([*(np.sin(angle / 2) * axis), np.cos(angle / 2)]))


def _rotation_vector(rotation: Array) -> Array:
    q = quaternion_from_rotation(rotation)
    sine = float(np.linalg.norm(q[:3]))
    return q[:3] * (2 * np.arctan2(sine, q[3]) / sine if sine > 1e-12 else 2.0)


def check_heights(session: Session, poses: dict[int, PoseRecord], report: ValidationReport) -> None:
    """Not below the terrain; within the grid's height, else what is around the vehicle is not recorded."""
    below = [i for i, p in poses.items() if p.ground_z is not None and p.pose.position[2] < p.ground_z - 0.5]
    if below:
        report.error(f"{len(below)} poses lie more than 0.5 m below the terrain, the first at frame {below[0]}")
    grid, datum = session.meta.grid, session.meta.datum
    height = [p.pose.position[2] - datum for p in poses.values()]
    outside = sum(not grid.minimum[2] <= h < grid.maximum[2] for h in height)
    report.figures["frames_outside_grid_height"] = outside
    if outside:
        report.warn(f"in {outside} frames the vehicle flies above or below the grid")


def check_imu(session: Session, poses: dict[int, PoseRecord], report: ValidationReport) -> None:
    """Sample count and times per interval; mean force and rate against gravity and the true motion."""
    spec = session.meta.rig.imu
    if spec is None:
        return
    missing, counts, times, forces = 0, [], [], []
    worst = 0.0
    force, rate, seconds = np.zeros(3), np.zeros(3), 0.0
    norms: list[NDArray[np.float64]] = []
    for index in sorted(poses):
        try:
            samples = session.imu(index)
        except SessionError as error:
            counts.append(str(error))
            continue
        if samples is None:
            missing += 1
            continue
        if index - 1 not in poses:
            continue
        p, q = poses[index - 1], poses[index]
        dt = (q.stamp_ns - p.stamp_ns) * 1e-9
        expected = spec.rate * dt
        if abs(len(samples) - expected) > max(1.0, 0.02 * expected):
            counts.append(f"frame {index}: {len(samples)} IMU samples in {dt:.3g} s, not {expected:.0f}")
        t, slack = samples[:, 0], 1.0 / spec.rate
        if len(t) == 0:
            continue
        if (np.diff(t) <= 0).any() or t[0] < p.stamp_ns * 1e-9 - slack or t[-1] > q.stamp_ns * 1e-9 + slack:
            times.append(f"frame {index}: IMU times do not increase within the frame's interval")
            continue
        if dt > LONGEST_COMPARED + 1e-9:
            continue  # told by check_motion
        body = samples[:, 1:].reshape(-1, 2, 3) @ spec.pose.rotation.T
        share = (t - p.stamp_ns * 1e-9) / dt
        measured = np.stack([r @ f for r, f in zip(_rotations_between(p, q, share), body[:, 1], strict=True)])
        accelerated = (q.linear_velocity - p.linear_velocity) / dt + np.array([0, 0, GRAVITY])
        off = measured.mean(axis=0) - accelerated
        worst = max(worst, float(np.linalg.norm(off)))
        if np.linalg.norm(off) > INTERVAL_ACCELERATION_TOLERANCE:
            forces.append(
                f"frames {index - 1} and {index}: the IMU's mean force is {np.linalg.norm(off):.1f} m/s² off from "
                "gravity and the change of the stated velocity"
            )
        force += off * dt
        rate += (body[:, 0].mean(axis=0) - (p.angular_velocity + q.angular_velocity) / 2) * dt
        norms.append(np.linalg.norm(samples[:, 4:7], axis=1))
        seconds += dt
    if missing:
        report.error(f"{missing} frames lack the IMU that the rig has")
    report.errors_of(counts, "intervals with a wrong number of IMU samples")
    report.errors_of(times, "intervals with wrong IMU times")
    report.errors_of(forces, "intervals in which IMU and velocity disagree")
    if seconds <= 0:
        return
    force_off, rate_off = float(np.linalg.norm(force / seconds)), float(np.linalg.norm(rate / seconds))
    report.figures |= {
        "imu_specific_force_mean": float(np.concatenate(norms).mean()),
        "imu_force_residual": force_off,
        "imu_force_residual_max": worst,
        "imu_rate_residual": rate_off,
    }
    if force_off > ACCELERATION_TOLERANCE:
        report.error(f"the IMU's mean force is {force_off:.2f} m/s² off from gravity and the true acceleration")
    if rate_off > GYRO_TOLERANCE:
        report.error(f"the IMU's mean rate is {rate_off:.3f} rad/s off from the true angular velocity")


def _rotations_between(p: PoseRecord, q: PoseRecord, share: Array) -> list[Array]:
    a, b = p.pose.orientation, q.pose.orientation
    b = -b if a @ b < 0 else b
    return [rotation_from_quaternion((1 - s) * a + s * b) for s in np.clip(share, 0.0, 1.0)]

"""From a line on the map to motion in time: travelled at limited speed, then smoothed.

Smoothing is a moving average in time with a window of unit area. It never exceeds the limits that the samples keep, so
limits of speed and acceleration hold for the smooth motion as well, and the motion has no jumps of acceleration.
"""

from __future__ import annotations

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_missions.path import Path

#: Seconds between two knots of a plan, and between two samples while planning and checking.
KNOT = 0.1
SAMPLE = 0.05
#: Samples from one knot to the next.
PER_KNOT = round(KNOT / SAMPLE)


def window(seconds: float) -> Array:
    """Hann window of unit sum with samples `SAMPLE` seconds apart; an odd number of them, zero at both ends."""
    half = max(1, round(seconds / SAMPLE / 2))
    weights = 0.5 + 0.5 * np.cos(np.pi * np.arange(-half, half + 1) / half)
    return np.asarray(weights / weights.sum())


def margin(smooth: float, speed: float) -> float:
    """Metres of path that smoothing over `smooth` seconds needs before and after the part that is travelled."""
    return speed * (smooth / 2 + 2 * SAMPLE) + 0.5


def travel(path: Path, speeds: Array, *, begin: float, end: float, seconds: float | None, smooth: float) -> Array:
    """(N, 2) positions every `SAMPLE` seconds, smoothed over `smooth` seconds.

    The flown part lies between arc lengths `begin` and `end`, is a whole number of knots long and at most `seconds`.
    """
    passed = path.times(speeds)
    first, last = np.interp([begin, end], path.s, passed)
    if seconds is not None:
        last = min(last, first + seconds)
    knots = int(np.floor((last - first) / KNOT + 1e-6))
    if knots < 3:
        raise PlanError(f"the path is too short: {last - first:.2f} s of motion; plans need at least {3 * KNOT:.1f} s")
    half = len(window(smooth)) // 2
    at = first + SAMPLE * np.arange(-half, knots * PER_KNOT + half + 1)
    return smoothed(path.at(distance(passed, path.s, speeds, at)), smooth)


def distance(t: Array, s: Array, v: Array, at: Array) -> Array:
    """Metres along a path at times `at` (M,), when its sample `s` (N,) is passed at `t` (N,) with speed `v` (N,)."""
    # v² is linear in s between samples: within a step, travel with constant acceleration.
    k = np.clip(np.searchsorted(t, at, side="right") - 1, 0, len(t) - 2)
    span = t[k + 1] - t[k]
    u = at - t[k]
    return np.asarray(s[k] + v[k] * u + 0.5 * (v[k + 1] - v[k]) / span * u**2)


def smoothed(signal: Array, seconds: float) -> Array:
    """(M − 2h, …) moving average over `seconds` of samples (M, …) `SAMPLE` apart, of which h lie before the first that
    is wanted and h after the last."""
    weights = window(seconds)
    if signal.ndim == 1:
        return np.convolve(signal, weights, mode="valid")
    return np.stack([np.convolve(signal[:, i], weights, mode="valid") for i in range(signal.shape[1])], axis=1)


def heading_along(xy: Array) -> Array:
    """(N,) direction of travel, radians, without jumps."""
    v = np.gradient(xy, axis=0, edge_order=2)
    return np.unwrap(np.arctan2(v[:, 1], v[:, 0]))

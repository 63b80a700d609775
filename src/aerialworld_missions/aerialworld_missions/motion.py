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
    weights = window(smooth)
    half = len(weights) // 2
    at = first + SAMPLE * np.arange(-half, knots * PER_KNOT + half + 1)
    # v² is linear in s between samples: within a step, travel with constant acceleration.
    k = np.clip(np.searchsorted(passed, at, side="right") - 1, 0, len(passed) - 2)
    span = passed[k + 1] - passed[k]
    u = at - passed[k]
    s = path.s[k] + speeds[k] * u + 0.5 * (speeds[k + 1] - speeds[k]) / span * u**2
    xy = path.at(s)
    return np.stack([np.convolve(xy[:, i], weights, mode="valid") for i in range(2)], axis=1)


def heading_along(xy: Array) -> Array:
    """(N,) direction of travel, radians, without jumps."""
    v = np.gradient(xy, axis=0, edge_order=2)
    return np.unwrap(np.arctan2(v[:, 1], v[:, 0]))

"""Speed along a straight leg: from one speed to rest, limited in speed, acceleration, jerk and snap.

The jerk rises and falls as a raised cosine, so that acceleration is smooth (the shape of ArduPilot's SCurve, whose
limits and order of phases are kept; the times are found here by bisection on the cruising speed).
"""

from __future__ import annotations

import math
from bisect import bisect_right

#: Bisections of a peak: 60 halve any interval below a float's resolution.
_HALVINGS = 60


class _Pulse:
    """A change of speed: acceleration rises to `peak`, stays for `hold`, falls. The jerk takes `edge` to rise to `jerk`
    and stays there for `flat`."""

    __slots__ = ("change", "duration", "edge", "flat", "hold", "jerk", "peak")

    def __init__(self, change: float, acceleration: float, jerk: float, snap: float) -> None:
        self.change = change
        top = _largest_peak(change, acceleration, jerk, snap)
        self.peak = top
        self.edge = min(math.pi * jerk / (2.0 * snap), math.sqrt(math.pi * top / (2.0 * snap)))
        self.jerk = 2.0 * snap * self.edge / math.pi
        self.flat = max(0.0, top / self.jerk - self.edge) if self.jerk > 0 else 0.0
        self.hold = max(0.0, change / top - _rise(top, jerk, snap)) if top > 0 else 0.0
        self.duration = 2.0 * (2.0 * self.edge + self.flat) + self.hold


def _rise(peak: float, jerk: float, snap: float) -> float:
    """Seconds in which acceleration rises to `peak`."""
    edge = math.pi * jerk / (2.0 * snap)
    return peak / jerk + edge if peak >= jerk * edge else 2.0 * math.sqrt(math.pi * peak / (2.0 * snap))


def _largest_peak(change: float, acceleration: float, jerk: float, snap: float) -> float:
    """The acceleration that a change of speed reaches: the limit, or what fits into a rise and a fall."""
    if change <= 0:
        return 0.0
    if acceleration * _rise(acceleration, jerk, snap) <= change:
        return acceleration
    low, high = 0.0, acceleration
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if middle * _rise(middle, jerk, snap) < change:
            low = middle
        else:
            high = middle
    return high


class Profile:
    """Distance, speed and acceleration over time along a leg of `length` metres that begins with `speed` and ends at
    rest.

    A leg that is too short to stop in is overrun: `length` is then what the stop takes.
    """

    def __init__(
        self, length: float, top: float, acceleration: float, jerk: float, snap: float, speed: float = 0.0
    ) -> None:
        self._limits = acceleration, jerk, snap
        least = self._distance(speed, speed)
        self.length = max(length, least)
        cruise = top if self._distance(speed, top) <= self.length else self._cruise(speed, top)
        self.top = cruise
        self._ends: list[float] = []
        self._starts: list[tuple[float, float, float, float, float, float, float]] = []
        t, s, v, a = 0.0, 0.0, speed, 0.0
        begin = _Pulse(abs(cruise - speed), *self._limits)
        t, s, v, a = self._add(begin, 1.0 if cruise >= speed else -1.0, t, s, v, a)
        self.accelerated = t
        left = self.length - self._distance(speed, cruise)
        if cruise > 0:
            t, s, v, a = self._segment(left / cruise, 0.0, 0.0, t, s, v, a)
        self.decelerates = t
        t, s, v, a = self._add(_Pulse(cruise, *self._limits), -1.0, t, s, v, a)
        self.duration = t

    def _distance(self, speed: float, cruise: float) -> float:
        """Length of both changes of speed: a pulse is symmetric, so its mean speed is the middle one."""
        first, last = _Pulse(abs(cruise - speed), *self._limits), _Pulse(cruise, *self._limits)
        return 0.5 * (speed + cruise) * first.duration + 0.5 * cruise * last.duration

    def _cruise(self, speed: float, top: float) -> float:
        low, high = speed, top
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if self._distance(speed, middle) < self.length:
                low = middle
            else:
                high = middle
        return low

    def _add(
        self, pulse: _Pulse, sign: float, t: float, s: float, v: float, a: float
    ) -> tuple[float, float, float, float]:
        if pulse.change <= 0:
            return t, s, v, a
        jerk = sign * pulse.jerk
        for direction, hold in ((jerk, 0.0), (-jerk, pulse.hold)):
            t, s, v, a = self._segment(hold, 0.0, 0.0, t, s, v, a)
            t, s, v, a = self._segment(pulse.edge, 0.5 * direction, 1.0, t, s, v, a)
            t, s, v, a = self._segment(pulse.flat, direction, 0.0, t, s, v, a)
            t, s, v, a = self._segment(pulse.edge, 0.5 * direction, -1.0, t, s, v, a)
        return t, s, v, 0.0

    def _segment(
        self, duration: float, jerk: float, shape: float, t: float, s: float, v: float, a: float
    ) -> tuple[float, float, float, float]:
        """Jerk `jerk` · (1 − shape · cos(π τ / duration)) for `duration`."""
        if duration <= 0:
            return t, s, v, a
        start = (t, s, v, a, jerk, shape, math.pi / duration)
        self._starts.append(start)
        self._ends.append(t + duration)
        s, v, a = _at(start, t + duration)
        return t + duration, s, v, a

    def at(self, t: float) -> tuple[float, float, float]:
        """Distance, speed and acceleration at `t` seconds; before and after it stands."""
        if t >= self.duration or not self._starts:
            return (self.length, 0.0, 0.0) if t >= self.duration else (0.0, 0.0, 0.0)
        return _at(self._starts[bisect_right(self._ends, max(t, 0.0))], max(t, 0.0))


def _at(start: tuple[float, float, float, float, float, float, float], t: float) -> tuple[float, float, float]:
    """Distance, speed and acceleration at `t` in a segment that begins with `start`."""
    begin, s, v, a, jerk, shape, rate = start
    x = t - begin
    distance = s + x * (v + x * (0.5 * a + x * jerk / 6.0))
    speed = v + x * (a + 0.5 * x * jerk)
    acceleration = a + x * jerk
    if shape != 0.0:
        sine, cosine = math.sin(rate * x), math.cos(rate * x)
        amount = shape * jerk / rate
        acceleration -= amount * sine
        speed += amount * (cosine - 1.0) / rate
        distance += amount * (sine / rate - x) / rate
    return distance, speed, acceleration

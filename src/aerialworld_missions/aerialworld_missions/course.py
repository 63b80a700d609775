"""A line of waypoints as motion in time: rounded where one flies by, stopped at where one stays or turns sharply."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_missions.flight import DroneLimits
from aerialworld_missions.motion import KNOT, PER_KNOT, SAMPLE, distance, smoothed, window
from aerialworld_missions.path import Arc, Line, Path
from aerialworld_missions.requests import MOST_POINTS

#: One stands to turn sharper than this, radians; to bend with a smaller radius than this, metres, by more than a
#: little; and to look elsewhere by more than this.
SHARP, TIGHTEST, LITTLE, LOOK = math.radians(100.0), 1.0, math.radians(15.0), math.radians(25.0)
#: Share of the limits with which one turns and climbs.
EASY = 0.7
#: Points nearer to each other than this, metres, are one.
_ONE = 0.05


@dataclass(frozen=True)
class Corner:
    """A point of a course.

    x, y    map, metres
    speed   m/s towards it
    height  metres on arrival, in whatever frame the caller counts
    leave   metres on leaving; None: the same
    yaw     where to look on the way here and here, radians; None: ahead
    hold    seconds to stay
    """

    x: float
    y: float
    speed: float
    height: float
    leave: float | None = None
    yaw: float | None = None
    hold: float = 0.0

    @property
    def left(self) -> float:
        return self.height if self.leave is None else self.leave

    def apart(self, other: Corner) -> float:
        """Metres between two corners on the map."""
        return math.hypot(other.x - self.x, other.y - self.y)

    def towards(self, other: Corner) -> float:
        """Radians."""
        return math.atan2(other.y - self.y, other.x - self.x)


@dataclass(frozen=True, eq=False)
class Travelled:
    """A course in time, samples `SAMPLE` apart, from rest to rest unless it was cut: `xy` (N, 2), `yaw` (N,) without
    jumps, `height` (N,) smooth and in the corners' frame."""

    xy: Array
    yaw: Array
    height: Array


def merged(name: str, corners: Sequence[Corner]) -> list[Corner]:
    """Corners without two at one place: what happens there is one stop. Raises PlanError where less than two remain."""
    result: list[Corner] = []
    for corner in corners:
        if result and corner.apart(result[-1]) < _ONE:
            last = result[-1]
            yaw = last.yaw if corner.yaw is None else corner.yaw
            result[-1] = replace(last, leave=corner.left, hold=last.hold + corner.hold, yaw=yaw)
        else:
            result.append(corner)
    if len(result) < 2:
        raise PlanError(f"{name}: needs two points that lie apart")
    if len(result) > MOST_POINTS:
        raise PlanError(f"{name}: {len(result)} points are more than {MOST_POINTS}")
    return result


def length(corners: Sequence[Corner]) -> float:
    """Metres."""
    return sum(a.apart(b) for a, b in pairwise(corners))


def there_and_back(corners: Sequence[Corner], least: float) -> list[Corner]:
    """The corners, then back, then there again, until the line is `least` metres long."""
    back = [replace(c, height=c.left, leave=c.height) for c in corners[::-1]]
    back = [replace(c, speed=before.speed) for c, before in zip(back, [back[0], *back[:-1]], strict=True)]
    result, once, forth = list(corners), length(corners), False
    while once > 0 and length(result) < least and len(result) <= MOST_POINTS:
        result += (list(corners) if forth else back)[1:]
        forth = not forth
    return result


def travel_course(
    name: str,
    corners: Sequence[Corner],
    *,
    radius: float,
    cut: float,
    limits: DroneLimits,
    duration: float | None = None,
) -> Travelled:
    """Fly `corners` (as `merged` gives them): bends of at most `radius` metres that pass a corner within `cut` metres;
    slower where the line bends or climbs; standing where the turn is sharp or there is something to wait for. At most
    `duration` seconds of it. Raises PlanError where less than three knots of motion remain."""
    looks = [b.yaw if b.yaw is not None else a.towards(b) for a, b in pairwise(corners)]
    bends = _bends(corners, radius, cut)
    stops = _stops(corners, looks, bends)
    path, at = _rounded(corners, bends, stops)
    t, s, v, sample, second = _clocked(path, corners, looks, stops, at, limits)
    # The leg that each sample of the line is on; of two samples at one stop, the second is on the next leg.
    leg = np.clip(np.searchsorted(at, sample, side="left") - 1 + second, 0, len(corners) - 2)
    yaw = np.unwrap(_headings(path, corners, sample, second, leg))
    low, high = np.array([a.left for a in corners[:-1]]), np.array([b.height for b in corners[1:]])
    begin, end = path.s[at[:-1]], path.s[at[1:]]
    height = low[leg] + (high - low)[leg] * np.clip((s - begin[leg]) / (end - begin)[leg], 0.0, 1.0)
    turn, climb = len(window(limits.turn_window)) // 2, len(window(limits.climb_window)) // 2
    seconds = float(t[-1]) + 2 * turn * SAMPLE
    knots = math.floor((seconds if duration is None else min(seconds, duration)) / KNOT + 1e-6)
    if knots < 3:
        raise PlanError(f"{name}: too short: {seconds:.2f} s of motion; plans need {3 * KNOT:.1f} s")
    clock = np.clip(SAMPLE * (np.arange(-climb, knots * PER_KNOT + climb + 1) - turn), 0.0, t[-1])
    near = clock[climb - turn : len(clock) - (climb - turn)]
    return Travelled(
        xy=smoothed(path.at(distance(t, s, v, near)), limits.turn_window),
        yaw=smoothed(np.interp(near, t, yaw), limits.turn_window),
        height=smoothed(np.interp(clock, t, height), limits.climb_window),
    )


def _wrapped(angle: float) -> float:
    return math.remainder(angle, 2 * math.pi)


def _bends(corners: Sequence[Corner], radius: float, cut: float) -> list[tuple[float, float, float]]:
    """Per corner how far it turns, radians, the radius of the bend and its length on each leg, metres; the radius is 0
    where there is no bend to fly."""
    bends = [(0.0, 0.0, 0.0)]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        turn = _wrapped(corner.towards(after) - before.towards(corner))
        tangent = math.tan(min(abs(turn), SHARP) / 2)
        if abs(turn) > SHARP or tangent < 1e-4:
            bends.append((turn, 0.0, 0.0))
            continue
        room = 0.5 * min(before.apart(corner), corner.apart(after))
        flown = min(radius, cut / (1 / math.cos(turn / 2) - 1), room / tangent)
        good = flown >= TIGHTEST or abs(turn) <= LITTLE
        bends.append((turn, flown, flown * tangent) if good else (turn, 0.0, 0.0))
    return [*bends, (0.0, 0.0, 0.0)]


def _stops(corners: Sequence[Corner], looks: list[float], bends: list[tuple[float, float, float]]) -> list[int]:
    """The corners at which one stands; the first and the last among them."""
    last = len(corners) - 1
    stops = [0]
    for i in range(1, last):
        turn, radius, _ = bends[i]
        elsewhere = corners[i].yaw is not None or corners[i + 1].yaw is not None
        turns_on = elsewhere and abs(_wrapped(looks[i] - looks[i - 1])) > LOOK
        waits = corners[i].hold > 0 or corners[i].left != corners[i].height
        if waits or turns_on or (radius == 0 and abs(turn) > 1e-3):
            stops.append(i)
    return [*stops, last]


def _rounded(
    corners: Sequence[Corner], bends: list[tuple[float, float, float]], stops: list[int]
) -> tuple[Path, list[int]]:
    """The line, and the sample of it at (or nearest to) each corner."""
    standing = set(stops)
    along, points, curvatures, at = [np.zeros(1)], [np.array([[corners[0].x, corners[0].y]])], [np.zeros(1)], [0.0]
    total = 0.0
    for first, last in pairwise(stops):
        segments: list[Line | Arc] = []
        marks: list[int] = []
        for i in range(first, last):
            used = sum(bends[k][2] for k in (i, i + 1) if k not in standing)
            # In halves, so that even between two stops there is a sample at which one moves.
            segments += [Line((corners[i].apart(corners[i + 1]) - used) / 2)] * 2
            if i + 1 < last:
                turn, radius, _ = bends[i + 1]
                segments += [Arc(radius, turn / 2)] if radius else []
                marks.append(len(segments))
                segments += [Arc(radius, turn / 2)] if radius else []
        a = corners[first]
        piece = Path.trace((a.x, a.y), a.towards(corners[first + 1]), segments)
        lengths = [p.length if isinstance(p, Line) else p.radius * abs(p.angle) for p in segments]
        done = np.concatenate([[0.0], np.cumsum(np.maximum(lengths, 0.0))])
        at += [total + float(done[m]) for m in marks] + [total + piece.length]
        along.append(total + piece.s[1:])
        points.append(piece.xy[1:])
        curvatures.append(piece.curvature[1:])
        total += piece.length
    path = Path(np.concatenate(along), np.concatenate(points), np.concatenate(curvatures))
    return path, [int(np.argmin(np.abs(path.s - s))) for s in at]


def _clocked(
    path: Path,
    corners: Sequence[Corner],
    looks: list[float],
    stops: list[int],
    at: list[int],
    limits: DroneLimits,
) -> tuple[Array, Array, Array, NDArray[np.int64], NDArray[np.bool_]]:
    """When the samples are passed (t, s, v), which samples they are, and which of them are the second of two: a stop
    has one on arrival and one on leaving."""
    leg = np.clip(np.searchsorted(at, np.arange(len(path.s)), side="left") - 1, 0, len(corners) - 2)
    fast = np.empty(len(corners) - 1)
    for i, (a, b) in enumerate(pairwise(corners)):
        rise = abs(b.height - a.left)
        fast[i] = min(b.speed, EASY * limits.climb * a.apart(b) / rise) if rise > 0 else b.speed
    v = path.speeds(
        fast[leg], lateral=limits.lateral, longitudinal=limits.longitudinal, yaw_rate=EASY * limits.yaw_rate,
        stops=[at[i] for i in stops],
    )  # fmt: skip
    counts = np.ones(len(path.s), np.int64)
    wait = np.zeros(len(path.s))
    for i in stops:
        k = at[i]
        counts[k] = 2
        turn = 0.0
        if 0 < i < len(corners) - 1:
            turn = abs(_wrapped(looks[i] - looks[i - 1])) / (EASY * limits.yaw_rate)
        climb = abs(corners[i].left - corners[i].height) / (EASY * limits.climb)
        settle = limits.turn_window if corners[i].hold > 0 or climb > 0 else 0.0
        wait[k] = max(corners[i].hold + max(turn, climb) + settle, 1e-3)
    sample = np.repeat(np.arange(len(path.s)), counts)
    second = np.concatenate([[False], sample[1:] == sample[:-1]])
    t = path.times(v)[sample] + np.cumsum(np.where(second, wait[sample], 0.0))
    return t, path.s[sample], v[sample], sample, second


def _headings(
    path: Path,
    corners: Sequence[Corner],
    sample: NDArray[np.int64],
    second: NDArray[np.bool_],
    leg: NDArray[np.int64],
) -> Array:
    """(M,) where one looks at each sample, radians."""
    step = np.diff(path.xy, axis=0)
    ahead = np.arctan2(step[:, 1], step[:, 0])
    stop = second | np.concatenate([second[1:], [False]])
    arriving = ahead[np.clip(sample - 1, 0, len(ahead) - 1)]
    leaving = ahead[np.clip(sample, 0, len(ahead) - 1)]
    between = arriving + 0.5 * np.remainder(leaving - arriving + np.pi, 2 * np.pi) - np.pi / 2
    yaw = np.where(stop, np.where(second, leaving, arriving), between)
    asked = np.array([math.nan if c.yaw is None else c.yaw for c in corners[1:]])[leg]
    return np.asarray(np.where(np.isnan(asked), yaw, asked))

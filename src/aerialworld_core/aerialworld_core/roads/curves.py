"""The lines that traffic follows: heading-continuous curves, Dubins' shortest turns, and the turn in three moves.

A curve is the way of a body's reference point. For a vehicle that is the middle of the rear axle, whose heading is
tangent to its way in the kinematic bicycle model: the body then swings through a bend as a real one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from aerialworld_core.frames import Array

#: Metres between the samples of a curve.
STEP = 0.25
#: Metres over which vehicles steer into a turn.
EASING = 3.0
#: x, y, heading.
State = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Curve:
    """Evenly spaced samples of a reference point's way.

    xy      (N, 2) map, metres
    yaw     (N,) heading of the body, radians, unwrapped
    step    metres between samples
    gear    +1 forwards, −1 in reverse: the body then moves against its heading
    """

    xy: Array
    yaw: Array
    step: float
    gear: int = 1

    @property
    def length(self) -> float:
        """Metres."""
        return self.step * (len(self.xy) - 1)

    @property
    def start(self) -> State:
        return float(self.xy[0, 0]), float(self.xy[0, 1]), float(self.yaw[0])

    @property
    def end(self) -> State:
        return float(self.xy[-1, 0]), float(self.xy[-1, 1]), float(self.yaw[-1])

    @property
    def sharpest(self) -> float:
        """1/m, the greatest curvature to either side."""
        return float(np.abs(np.diff(self.yaw)).max() / self.step)

    def at(self, s: Array) -> tuple[Array, Array]:
        """Positions (M, 2) and headings (M,) at distances `s` (M,) along the curve."""
        grid = self.step * np.arange(len(self.xy))
        return (
            np.stack([np.interp(s, grid, self.xy[:, 0]), np.interp(s, grid, self.xy[:, 1])], axis=1),
            np.interp(s, grid, self.yaw),
        )

    def part(self, begin: float, end: float) -> Curve:
        """The curve from `begin` to `end` metres."""
        count = max(2, round((end - begin) / STEP) + 1)
        xy, yaw = self.at(np.linspace(begin, end, count))
        return Curve(xy, yaw, (end - begin) / (count - 1), self.gear)


def travelled(points: Array) -> Array:
    """(N,) metres along the line through points (N, 2), from the first."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def through(points: Array, *, closed: bool = False) -> Curve:
    """A smooth curve through points (N, 2) that lie a metre or so apart; `closed` joins the last to the first."""
    points = points[np.r_[True, np.linalg.norm(np.diff(points, axis=0), axis=1) > 1e-3]]
    if closed:
        points = np.concatenate([points, points[:1]])
    along = travelled(points)
    spline = CubicSpline(along, points, bc_type="periodic" if closed else "natural")
    fine = np.linspace(0.0, along[-1], max(2, round(along[-1] / 0.05) + 1))
    xy, slope = spline(fine), spline(fine, 1)
    yaw = np.unwrap(np.arctan2(slope[:, 1], slope[:, 0]))
    return _even(xy, yaw)


def beside(curve: Curve, offset: float) -> Curve:
    """The curve `offset` metres to the left of `curve`, in the same direction."""
    left = np.stack([-np.sin(curve.yaw), np.cos(curve.yaw)], axis=1)
    return _even(curve.xy + offset * left, curve.yaw)


def reverse(curve: Curve) -> Curve:
    """The same line driven the other way, forwards."""
    return Curve(curve.xy[::-1], curve.yaw[::-1] + np.pi, curve.step)


def _even(xy: Array, yaw: Array) -> Curve:
    """Evenly spaced samples of a line that is known at points (N, 2) with headings (N,)."""
    along = travelled(xy)
    count = max(2, round(along[-1] / STEP) + 1)
    s = np.linspace(0.0, along[-1], count)
    even = np.stack([np.interp(s, along, xy[:, 0]), np.interp(s, along, xy[:, 1])], axis=1)
    return Curve(even, np.interp(s, along, yaw), float(along[-1] / (count - 1)))


def arcs(start: State, pieces: Sequence[tuple[float, float]], gear: int = 1) -> Curve:
    """Arcs of (curvature [1/m], length [m]) one after the other from `start`; curvature positive to the left."""
    lengths = np.array([length for _, length in pieces])
    total = float(lengths.sum())
    count = max(2, round(total / STEP) + 1)
    s = np.linspace(0.0, total, count)
    xy, yaw = np.empty((count, 2)), np.empty(count)
    x, y, heading = start
    begin = 0.0
    for curvature, length in pieces:
        inside = (s >= begin - 1e-9) & (s <= begin + length + 1e-9)
        xy[inside], yaw[inside] = _arc((x, y, heading), curvature, s[inside] - begin, gear)
        (end,), (heading,) = _arc((x, y, heading), curvature, np.array([length]), gear)
        x, y = float(end[0]), float(end[1])
        begin += length
    return Curve(xy, yaw, total / (count - 1), gear)


def _arc(start: State, curvature: float, s: Array, gear: int) -> tuple[Array, Array]:
    x, y, heading = start
    turn = gear * curvature * s
    if abs(curvature) < 1e-9:
        return np.stack([x + gear * s * np.cos(heading), y + gear * s * np.sin(heading)], axis=1), heading + turn
    radius = 1.0 / curvature
    yaw = heading + turn
    dx = radius * (np.sin(yaw) - np.sin(heading))
    dy = -radius * (np.cos(yaw) - np.cos(heading))
    return np.stack([x + dx, y + dy], axis=1), yaw


def dubins(start: State, end: State, radius: float, longest: float = np.inf) -> Iterator[Curve]:
    """Dubins' candidates (up to six) from `start` to `end` with turns of `radius` metres, the shortest first, none
    longer than `longest` metres.

    L. E. Dubins, "On curves of minimal length…", 1957; closed forms after Shkel and Lumelsky, 2001.
    """
    dx, dy = (end[0] - start[0]) / radius, (end[1] - start[1]) / radius
    d, theta = float(np.hypot(dx, dy)), float(np.arctan2(dy, dx))
    a, b = _turn(start[2] - theta), _turn(end[2] - theta)
    sa, ca, sb, cb, cab = np.sin(a), np.cos(a), np.sin(b), np.cos(b), np.cos(a - b)
    words: list[tuple[str, float, float, float]] = []
    square = 2 + d * d - 2 * cab + 2 * d * (sa - sb)
    if square >= 0:
        t = np.arctan2(cb - ca, d + sa - sb)
        words.append(("LSL", _turn(t - a), np.sqrt(square), _turn(b - t)))
    square = 2 + d * d - 2 * cab + 2 * d * (sb - sa)
    if square >= 0:
        t = np.arctan2(ca - cb, d - sa + sb)
        words.append(("RSR", _turn(a - t), np.sqrt(square), _turn(t - b)))
    square = -2 + d * d + 2 * cab + 2 * d * (sa + sb)
    if square >= 0:
        p = np.sqrt(square)
        t = np.arctan2(-ca - cb, d + sa + sb) - np.arctan2(-2.0, p)
        words.append(("LSR", _turn(t - a), p, _turn(t - b)))
    square = -2 + d * d + 2 * cab - 2 * d * (sa + sb)
    if square >= 0:
        p = np.sqrt(square)
        t = np.arctan2(ca + cb, d - sa - sb) - np.arctan2(2.0, p)
        words.append(("RSL", _turn(a - t), p, _turn(b - t)))
    cosine = (6 - d * d + 2 * cab + 2 * d * (sa - sb)) / 8
    if abs(cosine) <= 1:
        p = 2 * np.pi - np.arccos(cosine)
        t = _turn(a - np.arctan2(ca - cb, d - sa + sb) + p / 2)
        words.append(("RLR", t, p, _turn(a - b - t + p)))
    cosine = (6 - d * d + 2 * cab + 2 * d * (sb - sa)) / 8
    if abs(cosine) <= 1:
        p = 2 * np.pi - np.arccos(cosine)
        t = _turn(-a - np.arctan2(ca - cb, d + sa - sb) + p / 2)
        words.append(("LRL", t, p, _turn(b - a - t + p)))
    bend = {"L": 1.0 / radius, "R": -1.0 / radius, "S": 0.0}
    for word, *parts in sorted(words, key=lambda w: w[1] + w[2] + w[3]):
        if sum(parts) * radius > longest:
            return
        pieces = [(bend[letter], float(p) * radius) for letter, p in zip(word, parts, strict=True) if p * radius > 1e-6]
        if not pieces:
            continue
        curve = arcs(start, pieces)
        if np.hypot(curve.end[0] - end[0], curve.end[1] - end[1]) < 1e-3:
            yield curve


def fillet(start: State, end: State, radius: float) -> Curve | None:
    """Straight on, one arc of `radius` metres, straight on; None where the two straights do not meet so."""
    turn = float(np.arctan2(np.sin(end[2] - start[2]), np.cos(end[2] - start[2])))
    if not 0.05 < abs(turn) < 2.8:
        return None
    dx, dy = end[0] - start[0], end[1] - start[1]
    # Where the line from `start` meets the line that leads to `end`: so far from the one and from the other.
    before = (dx * np.sin(end[2]) - dy * np.cos(end[2])) / np.sin(turn)
    after = (dy * np.cos(start[2]) - dx * np.sin(start[2])) / np.sin(turn)
    tangent = radius * np.tan(abs(turn) / 2)
    if min(before, after) < tangent:
        return None
    pieces = [(0.0, before - tangent), (np.sign(turn) / radius, radius * abs(turn)), (0.0, after - tangent)]
    return arcs(start, [(float(k), float(length)) for k, length in pieces if length > 1e-6])


def eased(start: State, turn: Callable[[State, State], Iterable[Curve | None]], end: State) -> Iterator[Curve]:
    """Turns from `start` to `end` into which one steers, instead of jumping to an arc's curvature at once.

    `turn` gives turns of arcs between two states: here those `EASING` / 2 inside both ends. Averaging a turn's
    curvature over `EASING` metres displaces its end a little (a clothoid's shift, L² / 24 R); that is spread over its
    length.
    """
    lead = 0.5 * EASING
    inner = (start[0] + lead * np.cos(start[2]), start[1] + lead * np.sin(start[2]), start[2])
    outer = (end[0] - lead * np.cos(end[2]), end[1] - lead * np.sin(end[2]), end[2])
    for curve in turn(inner, outer):
        if curve is None:
            continue
        count = max(4, round((curve.length + EASING) / STEP))
        step = (curve.length + EASING) / count
        s = step * np.arange(count + 1)
        # The heading's average over a window is the integral of the curvature's: it starts and ends tangent.
        fine = np.linspace(-0.5, 0.5, 25) * EASING
        heading = np.interp(s[:, None] + fine - lead, curve.step * np.arange(len(curve.xy)), curve.yaw)
        yaw = heading.mean(axis=1)
        middle = 0.5 * (yaw[1:] + yaw[:-1])
        moved = np.cumsum(step * np.stack([np.cos(middle), np.sin(middle)], axis=1), axis=0)
        xy = np.array(start[:2]) + np.concatenate([[[0.0, 0.0]], moved])
        t = s[:, None] / s[-1]
        xy = xy + (np.array(end[:2]) - xy[-1]) * (3 * t**2 - 2 * t**3)
        slope = np.gradient(xy, axis=0)
        tangent = np.unwrap(np.arctan2(slope[:, 1], slope[:, 0]))
        tangent += 2 * np.pi * np.round((yaw[0] - tangent[0]) / (2 * np.pi))
        tangent[[0, -1]] = yaw[[0, -1]]
        yield _even(xy, tangent)


def three_moves(start: State, across: float, radius: float) -> tuple[Curve, Curve, Curve] | None:
    """A turn about by forwards right, back left, forwards right, which ends `across` metres to the right of where it
    began, facing back; None where the lanes are so far apart that no reversing is needed."""
    if across >= 2 * radius:
        return None
    # Each forward move leads R (1 − cos a) to the right, the one between 2 R cos a to the left.
    angle = float(np.arccos(0.5 * (1.0 - across / (2 * radius))))
    first = arcs(start, [(-1.0 / radius, radius * angle)])
    second = arcs(first.end, [(1.0 / radius, radius * (np.pi - 2 * angle))], gear=-1)
    return first, second, arcs(second.end, [(-1.0 / radius, radius * angle)])


def _turn(angle: float) -> float:
    """The angle in [0, 2π); what rounding made a whole turn is none."""
    value = float(np.mod(angle, 2 * np.pi))
    return 0.0 if value > 2 * np.pi - 1e-9 else value

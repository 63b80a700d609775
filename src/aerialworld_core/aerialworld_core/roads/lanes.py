"""Carriageways to lanes: one on each side of the middle line (traffic keeps left, as in Japan), joined by turns.

A lane exists where a car's whole body, with a hand's breadth around it, stays on the carriageway. At a crossing every
arriving lane is joined to every leaving one by the widest of Dubins' turns that stays on the carriageway; at a dead end
vehicles turn about, in one sweep where there is room and in three moves else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.frames import Array
from aerialworld_core.roads.curves import Curve, State, beside, dubins, eased, fillet, reverse, three_moves, through
from aerialworld_core.roads.ground import Ground
from aerialworld_core.roads.shapes import BUS, CAR, TRUCK, VEHICLES, Shape, placed
from aerialworld_core.roads.skeleton import Line, join_nodes, resample, simplify, smoothed, split_at_bends, thin, trace
from aerialworld_core.roads.ways import CROSSING, LANE, TURN, Way, Ways

#: Half widths of the narrowest road with two lanes, metres; and how far lanes lie from the middle line.
LEAST_HALF_WIDTH = 2.75
OFFSET = (1.6, 3.4)
#: Metres around a body that stay on the carriageway too.
AROUND = 0.1
#: Shortest lane, metres.
SHORTEST = 16.0
#: How long before a crossing a lane ends: so many times the widest circle in it, and so many metres more. The middle
#: line bends towards a side road as far as that.
BEFORE_CROSSING = (1.3, 3.0)
#: Radii of turns that are tried, metres, the widest first.
RADII = (18.0, 13.0, 10.0, 8.0, 7.0, 6.0, 5.0, 4.2)
#: Longest turn over a crossing, metres.
LONGEST_TURN = 90.0
#: Speed limits in m/s by half width: 30, 40 and 50 km/h.
LIMITS = ((4.0, 8.3), (7.0, 11.1), (np.inf, 13.9))
#: Sideways acceleration in turns, m/s².
SIDEWAYS = 2.0


@dataclass(eq=False)
class _Run:
    """A stretch of road with two lanes `offset` metres from its `middle`; `nodes` of its two ends, None for dead ends;
    `trim` metres by which the lanes are shorter at each end."""

    middle: Curve
    offset: float
    limit: float
    nodes: tuple[int | None, int | None]
    trim: list[float]

    def lane(self, forward: bool) -> Curve:
        """The lane on the left of the middle line, as one goes."""
        middle = self.middle.part(self.trim[0], self.middle.length - self.trim[1])
        return beside(middle if forward else reverse(middle), self.offset)

    def about(self, end: int, cut: float) -> tuple[State, State]:
        """Where the lane that arrives at an end stops, and the other begins, when both are `cut` metres shorter."""
        (x, y), yaw = (a[0] for a in self.middle.at(np.array([self.middle.length - cut if end else cut])))
        yaw = float(yaw) if end else float(yaw) + np.pi
        left = np.array([-np.sin(yaw), np.cos(yaw)]) * self.offset
        return (float(x + left[0]), float(y + left[1]), yaw), (float(x - left[0]), float(y - left[1]), yaw + np.pi)


class Carriageways:
    """Adds the vehicles' ways over `ground` to `ways`; `lanes` are those that are no turns."""

    def __init__(self, ground: Ground, ways: Ways) -> None:
        self._ground, self._ways = ground, ways
        self._mask = ground.drive
        self._room = ground.room(self._mask)
        self.lanes: list[Way] = []
        self._build()

    def fits(self, curve: Curve, shape: Shape) -> bool:
        """Whether a body stays on the carriageway all along, and need not turn more sharply than it can."""
        if curve.sharpest > 1.02 / shape.radius:
            return False
        if float(self._width(curve.xy[::2]).min()) < 0.4 * shape.width:
            return False  # most are refused by this look at the middle alone
        return bool(self._on_road(curve, shape).all())

    def _on_road(self, curve: Curve, shape: Shape) -> NDArray[np.bool_]:
        every = max(1, round(0.5 / curve.step))
        xy, yaw = curve.xy[::every], curve.yaw[::every]
        if (len(curve.xy) - 1) % every:
            xy, yaw = np.concatenate([xy, curve.xy[-1:]]), np.append(yaw, curve.yaw[-1])
        points = placed(shape.outline(AROUND), xy, yaw)
        return np.asarray(self._ground.look(self._mask, points).all(axis=1))

    def _width(self, points: Array) -> Array:
        return np.asarray(self._ground.look(self._room, points))

    def _before(self, tip: Array) -> float:
        """Metres before a crossing at `tip` (2,) at which lanes end."""
        times, more = BEFORE_CROSSING
        return times * float(self._width(tip[None])[0]) + more

    def _build(self) -> None:
        graph = trace(thin(self._mask), lambda rc: self._ground.low + (rc[:, ::-1] + 0.5) * self._ground.cell)
        simplify(graph, self._width)
        graph.lines = [Line(line.a, line.b, smoothed(line.points, 4.0)) for line in graph.lines]
        split_at_bends(graph, lambda line: (self._before(line.points[0]), self._before(line.points[-1])))
        degree = graph.degree()
        for line in list(graph.lines):
            # Two crossings so near each other that no lane fits between them are one.
            between = self._before(line.points[0]) + self._before(line.points[-1]) + SHORTEST
            if line.length < between and line.a != line.b and min(degree[line.a], degree[line.b]) > 1:
                graph.lines.remove(line)
                join_nodes(graph, line.a, line.b)
        degree = graph.degree()
        runs = [run for line in graph.lines for run in self._runs(line, degree)]
        turns: list[tuple[_Run, int, list[Curve]]] = []
        for run in runs:
            for end in (0, 1):
                if run.nodes[end] is None:
                    found = self._about(run, end)
                    if found:
                        turns.append((run, end, found))
        lanes: dict[tuple[int, bool], Way] = {}
        for run in runs:
            for forward in (True, False):
                curve = run.lane(forward)
                way = self._ways.add(curve, LANE, run.limit, self._users(curve))
                lanes[id(run), forward] = way
                self.lanes.append(way)
        for run, end, curves in turns:
            arriving, leaving = lanes[id(run), end == 1], lanes[id(run), end == 0]
            self._join(arriving, leaving, curves, TURN)
        self._crossings(runs, lanes)
        self._ways_back(runs, lanes)

    def _users(self, curve: Curve) -> frozenset[str]:
        return frozenset(shape.name for shape in VEHICLES if self.fits(curve, shape))

    def _runs(self, line: Line, degree: dict[int, int]) -> list[_Run]:
        """The stretches of a line that are wide and straight enough for two lanes."""
        points = resample(line.points, 1.0)
        width = self._width(points)
        ends: list[float] = []
        for node, tip in ((line.a, points[0]), (line.b, points[-1])):
            joined = degree[node] > 1 or line.a == line.b
            ends.append(self._before(tip) if joined else 0.0)
        n = len(points)
        first, last = round(ends[0]), n - 1 - round(ends[1])
        if last - first < SHORTEST:
            return []
        inner = width[first : last + 1]
        offset = (
            float(np.clip(0.45 * np.percentile(inner[inner >= LEAST_HALF_WIDTH], 20), *OFFSET))
            if (inner >= LEAST_HALF_WIDTH).any()
            else OFFSET[0]
        )
        limit = next(v for most, v in LIMITS if float(np.median(inner)) < most)
        good = np.zeros(n, bool)
        good[first : last + 1] = inner >= LEAST_HALF_WIDTH
        middle = through(points)
        at = np.linspace(0.0, middle.length, n)
        yaw = middle.at(at)[1]
        left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)
        for side in (1.0, -1.0):
            body = placed(CAR.outline(AROUND), points + side * offset * left, yaw + (0.0 if side > 0 else np.pi))
            good &= np.asarray(self._ground.look(self._mask, body).all(axis=1))
        runs = []
        edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]]).astype(int)))
        for begin, end in zip(edges[::2], edges[1::2] - 1, strict=True):
            if end - begin < SHORTEST:
                continue
            at_a, at_b = begin == first and ends[0] > 0, end == last and ends[1] > 0
            nodes = (line.a if at_a else None, line.b if at_b else None)
            runs.append(_Run(middle.part(at[begin], at[end]), offset, limit, nodes, [0.0, 0.0]))
        return runs

    def _about(self, run: _Run, end: int) -> list[Curve] | None:
        """The turn at a dead end of `run`, which is shortened as far as the turn needs."""
        longest = run.middle.length - SHORTEST - run.trim[1 - end]
        best: tuple[float, float, list[Curve]] | None = None
        for cut in np.arange(0.0, min(max(longest, 0.0), 30.0) + 0.1, 3.0):
            if best is not None and cut + SHORTEST > best[0]:
                break
            found = self._sweeps(*run.about(end, float(cut)))
            if found is None:
                continue
            cost = found[0] + cut
            if best is None or cost < best[0]:
                best = cost, float(cut), found[1]
        if best is None:
            return None
        run.trim[end] = best[1]
        return best[2]

    def _sweeps(self, arriving: State, leaving: State) -> tuple[float, list[Curve]] | None:
        """A turn about that fits, and how little it is liked: in one sweep for a bus, a truck or a car, else in three
        moves for a car."""
        for dislike, shape in enumerate((BUS, TRUCK, CAR)):
            for radius in (9.0, 8.0, 7.0, 6.0, 5.0, 4.2):
                if radius < shape.radius:
                    break
                for curve in islice(eased(arriving, partial(_arcs, radius, 7.0 * radius), leaving), 2):
                    if self.fits(curve, shape):
                        return 20.0 * dislike + curve.length, [curve]
        across = float(np.hypot(arriving[0] - leaving[0], arriving[1] - leaving[1]))
        for radius in (5.0, 4.2):
            moves = three_moves(arriving, across, radius)
            if moves and np.hypot(*np.subtract(moves[2].end[:2], leaving[:2])) < 0.1:
                if np.cos(moves[2].end[2] - leaving[2]) > 0.995 and all(self.fits(move, CAR) for move in moves):
                    return 100.0, list(moves)
        return None

    def _crossings(self, runs: list[_Run], lanes: dict[tuple[int, bool], Way]) -> None:
        """Join the lanes that meet in each node."""
        meeting: dict[int, list[tuple[_Run, int]]] = {}
        for run in runs:
            for end, node in enumerate(run.nodes):
                if node is not None:
                    meeting.setdefault(node, []).append((run, end))
        for ends in meeting.values():
            for one in ends:
                arriving = lanes[id(one[0]), one[1] == 1]
                for other in ends:
                    if other == one:
                        continue
                    leaving = lanes[id(other[0]), other[1] == 0]
                    curve = self._turn(arriving.curve, leaving.curve)
                    if curve is not None:
                        self._join(arriving, leaving, [curve], CROSSING)

    def _ways_back(self, runs: list[_Run], lanes: dict[tuple[int, bool], Way]) -> None:
        """Turns about at crossings from which no lane leads on, or to which none leads back."""
        onward = self._ways.followers(CAR.name)
        reached = {n for following in onward for n in following}
        for run in runs:
            for end in (0, 1):
                arriving, leaving = lanes[id(run), end == 1], lanes[id(run), end == 0]
                if run.nodes[end] is not None and not (onward[arriving.number] and leaving.number in reached):
                    found = self._sweeps(arriving.curve.end, leaving.curve.start)
                    if found is not None:
                        self._join(arriving, leaving, found[1], TURN)

    def _turn(self, arriving: Curve, leaving: Curve) -> Curve | None:
        """From lane to lane over a crossing: as wide as fits, for as large a vehicle as fits."""
        candidates = []
        for radius in RADII:
            for curve in islice(eased(arriving.end, partial(_turns, radius), leaving.start), 2):
                if np.ptp(curve.yaw) < 1.2 * np.pi:
                    candidates.append(curve)
        for shape in (BUS, TRUCK, CAR):
            for curve in candidates:
                if self.fits(curve, shape):
                    return curve
        return None

    def _join(self, arriving: Way, leaving: Way, curves: list[Curve], kind: str) -> None:
        users = arriving.shapes & leaving.shapes
        for curve in curves:
            users = users & self._users(curve)
        last = arriving
        for k, curve in enumerate(curves):
            limit = min(float(np.sqrt(SIDEWAYS / max(curve.sharpest, 1e-3))), 8.3) if len(curves) == 1 else 1.0
            way = self._ways.add(curve, kind, limit, users, halt=k + 1 < len(curves))
            last.after.append(way.number)
            last = way
        last.after.append(leaving.number)


def _arcs(radius: float, longest: float, start: State, end: State) -> Iterator[Curve]:
    return dubins(start, end, radius, longest)


def _turns(radius: float, start: State, end: State) -> Iterator[Curve | None]:
    """From lane to lane over a crossing: one arc between straights first."""
    yield fillet(start, end, radius)
    yield from dubins(start, end, radius, LONGEST_TURN)

"""Where pedestrians walk: round and round each sidewalk, and over the carriageway where two face each other.

Footways are closed lines half a metre within a sidewalk's edge, walked with the edge on the left: on every sidewalk one
goes up on one side and down on the other, and nobody meets anybody head on. A carriageway without a sidewalk has
footways along its edges, as far from where vehicles pass as two walkers need.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter1d
from scipy.spatial import cKDTree

from aerialworld_core.roads.curves import Curve, dubins, through
from aerialworld_core.roads.ground import Ground
from aerialworld_core.roads.shapes import SHAPES, VEHICLES, WALKER, placed
from aerialworld_core.roads.skeleton import resample
from aerialworld_core.roads.ways import FOOT_CROSSING, FOOTWAY, Way, Ways
from aerialworld_sim.traffic.contour import contours

#: Metres between a footway and the edge, between the two directions' lines (half), and from vehicles.
EDGE, HALF_APART, FROM_VEHICLES = 0.5, 0.72, 0.95
#: Metres around a sidewalk within which nobody walks on the carriageway; metres of a carriageway's edge that are walked
#: on elsewhere.
SIDEWALK_SERVES, ROADSIDE = 12.0, 3.4
#: Shortest round, metres.
SHORTEST_ROUND = 12.0
#: Crossings: longest, and metres between two along a footway.
LONGEST_CROSSING, BETWEEN_CROSSINGS = 32.0, 25.0
#: m/s.
WALKING = 2.0


@dataclass(frozen=True)
class _Link:
    """A crossing from footway `a` at `s` metres to footway `b` at `t` metres."""

    a: int
    s: float
    b: int
    t: float
    curve: Curve


class Footways:
    """Adds the pedestrians' ways over `ground` to `ways`, which hold the vehicles' already."""

    def __init__(self, ground: Ground, ways: Ways) -> None:
        self._ground, self._ways = ground, ways
        self._floor = ground.drive | ground.walk
        taken = self._taken_by_vehicles()
        rounds = self._rounds(taken)
        if rounds:
            self._add(rounds, self._links(rounds, taken))

    def _taken_by_vehicles(self) -> NDArray[np.bool_]:
        taken = np.zeros_like(self._floor)
        rows, columns = taken.shape
        for way in self._ways.ways:
            shape = next((s for s in reversed(VEHICLES) if s.name in way.shapes), None)
            if shape is None:
                continue
            points = placed(SHAPES[shape.name].outline(), way.curve.xy, way.curve.yaw).reshape(-1, 2)
            column, row = np.floor((points - self._ground.low) / self._ground.cell).astype(int).T
            inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
            taken[row[inside], column[inside]] = True
        return taken

    def _rounds(self, taken: NDArray[np.bool_]) -> list[Curve]:
        """Closed curves, the edge on the left."""
        cell = self._ground.cell
        region = self._ground.drive & (self._ground.room(self._ground.drive) <= ROADSIDE)
        if self._ground.walk.any():
            region &= distance_transform_edt(~self._ground.walk) * cell > SIDEWALK_SERVES
            region |= self._ground.walk
        if taken.any():
            region &= distance_transform_edt(~taken) * cell >= FROM_VEHICLES
        core = self._ground.room(region) >= EDGE + HALF_APART
        if not core.any():
            return []
        field = HALF_APART - distance_transform_edt(~core) * cell
        rounds = []
        for line in contours(field, 0.0):
            points = self._ground.low + (line[:, ::-1] + 0.5) * cell
            points = resample(np.concatenate([points, points[:1]]), 0.4)[:-1]
            if 0.4 * len(points) < SHORTEST_ROUND:
                continue
            curve = through(gaussian_filter1d(points, 1.0, axis=0, mode="wrap"), closed=True)
            if curve.sharpest < 1.0 / WALKER.radius and self._on_floor(curve):
                rounds.append(curve)
        return rounds

    def _on_floor(self, curve: Curve) -> bool:
        points = placed(WALKER.outline(), curve.xy, curve.yaw)
        return bool(self._ground.look(self._floor, points).all())

    def _links(self, rounds: list[Curve], taken: NDArray[np.bool_]) -> list[_Link]:
        """Crossings, in pairs there and back."""
        opposite = _Opposite(self._ground, self._floor, taken, rounds)
        links: list[_Link] = []
        used: list[list[float]] = [[] for _ in rounds]

        def free(k: int, s: float, apart: float) -> bool:
            length = rounds[k].length
            return all(min(abs(s - at), length - abs(s - at)) >= apart for at in used[k])

        def tried(a: int, s: float, wanted: int | None, apart: float) -> _Link | None:
            if not free(a, s, apart):
                return None
            for b, t in opposite.of(a, s):
                if (wanted is None or b == wanted) and free(b, t, apart) and (b != a or abs(s - t) > 2 * apart):
                    link = self._link(rounds, a, s, b, t)
                    if link is not None:
                        return link
            return None

        for a, curve in enumerate(rounds):
            for s in np.arange(2.0, curve.length - 2.0, 3.0):
                there = tried(a, float(s), None, BETWEEN_CROSSINGS)
                if there is None:
                    continue
                before = [list(of) for of in used]
                used[a].append(there.s)
                used[there.b].append(there.t)
                length = rounds[there.b].length
                for shift in (4.5, -4.5, 6.0, -6.0):
                    back = tried(there.b, float((there.t + shift) % length), a, 1.7)
                    if back is not None:
                        links += [there, back]
                        used[back.a].append(back.s)
                        used[back.b].append(back.t)
                        break
                else:
                    used = before
        return links

    def _link(self, rounds: list[Curve], a: int, s: float, b: int, t: float) -> _Link | None:
        (p,), (yaw,) = rounds[a].at(np.array([s]))
        (q,), (end,) = rounds[b].at(np.array([t]))
        start, goal = (float(p[0]), float(p[1]), float(yaw)), (float(q[0]), float(q[1]), float(end))
        for curve in islice(dubins(start, goal, 0.5, LONGEST_CROSSING + 6.0), 2):
            if self._on_floor(curve):
                return _Link(a, s, b, t, curve)
        return None

    def _add(self, rounds: list[Curve], links: list[_Link]) -> None:
        """Cut the rounds where crossings begin and end, and join everything."""
        only = frozenset([WALKER.name])
        ends_at: dict[tuple[int, float], Way] = {}
        begins_at: dict[tuple[int, float], Way] = {}
        for k, curve in enumerate(rounds):
            cuts = sorted({link.s for link in links if link.a == k} | {link.t for link in links if link.b == k})
            cuts = cuts or [0.0]
            pieces = []
            for begin, end in zip(cuts, [*cuts[1:], cuts[0] + curve.length], strict=True):
                piece = _wrapped(curve, begin, end)
                way = self._ways.add(piece, FOOTWAY, WALKING, only)
                begins_at[k, begin], ends_at[k, end if end <= curve.length else cuts[0]] = way, way
                pieces.append(way)
            for way, following in zip(pieces, [*pieces[1:], pieces[0]], strict=True):
                way.after.append(following.number)
        for link in links:
            way = self._ways.add(link.curve, FOOT_CROSSING, WALKING, only)
            ends_at[link.a, link.s].after.append(way.number)
            way.after.append(begins_at[link.b, link.t].number)


class _Opposite:
    """Which footway lies across the road from a point of another."""

    def __init__(self, ground: Ground, floor: NDArray[np.bool_], taken: NDArray[np.bool_], rounds: list[Curve]) -> None:
        self._ground, self._floor, self._taken, self._rounds = ground, floor, taken, rounds
        self._which = np.concatenate([np.full(len(c.xy), k) for k, c in enumerate(rounds)])
        self._along = np.concatenate([c.step * np.arange(len(c.xy)) for c in rounds])
        self._tree = cKDTree(np.concatenate([c.xy for c in rounds]))
        self._far = np.arange(2.0, LONGEST_CROSSING, 0.4)

    def of(self, a: int, s: float) -> list[tuple[int, float]]:
        """(footway, metres along it) straight to the left and to the right of footway `a` at `s` metres: the first that
        is another, or the same farther along and beyond where vehicles pass."""
        (here,), (yaw,) = self._rounds[a].at(np.array([s]))
        length, found = self._rounds[a].length, []
        for side in (1.0, -1.0):
            ray = here + self._far[:, None] * np.array([-np.sin(yaw), np.cos(yaw)]) * side
            distance, nearest = self._tree.query(ray, distance_upper_bound=0.4)
            hit = np.flatnonzero(np.isfinite(distance))
            gap = np.abs(self._along[nearest[hit]] - s)
            hit = hit[(self._which[nearest[hit]] != a) | (np.minimum(gap, length - gap) > 30.0)]
            if not len(hit) or not self._ground.look(self._floor, ray[: hit[0]]).all():
                continue
            b = int(self._which[nearest[hit[0]]])
            if b != a or self._ground.look(self._taken, ray[: hit[0]]).any():
                found.append((b, float(self._along[nearest[hit[0]]])))
        return found


def _wrapped(curve: Curve, begin: float, end: float) -> Curve:
    """A part of a closed curve; `end` may lie beyond its length."""
    if end <= curve.length:
        return curve.part(begin, end)
    turn = curve.yaw[-1] - curve.yaw[0]
    twice = Curve(
        np.concatenate([curve.xy, curve.xy[1:]]), np.concatenate([curve.yaw, curve.yaw[1:] + turn]), curve.step
    )
    return twice.part(begin, end)

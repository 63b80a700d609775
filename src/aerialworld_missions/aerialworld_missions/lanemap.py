"""The lanes of a world's roads as missions use them: the line of a road, and routes that a rover can drive."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.roads.curves import Curve
from aerialworld_core.roads.ground import see_ground
from aerialworld_core.roads.lanes import Carriageways
from aerialworld_core.roads.shapes import CAR
from aerialworld_core.roads.ways import LANE, Ways
from aerialworld_missions.heightmap import Geometry

#: A lane farther than this from where a road is asked for is not meant, metres.
NEAR = 60.0
#: Metres between the points of a road's line.
_STEP = 8.0


class LaneMap:
    """The ways of a world's roads, in cars' traffic (keeping left), made on first use and kept as long as the world
    lives: seconds for a square kilometre.

    curves   (W,) the ways: lanes, crossings and turns
    kinds    (W,) LANE, CROSSING or TURN
    onward   (W,) numbers of the ways that may follow each, empty for those that cannot be left again
    halts    (W,) whether each ends with a change of gear
    """

    def __init__(self, world: Geometry) -> None:
        ground = see_ground(world)
        ways = Ways()
        if ground is not None and ground.drive.any():
            Carriageways(ground, ways)
        self.curves = [way.curve for way in ways.ways]
        self.kinds = [way.kind for way in ways.ways]
        self.halts = [way.halt for way in ways.ways]
        self.onward = ways.followers(CAR.name)

    @classmethod
    def of(cls, world: Geometry) -> LaneMap:
        known = _MAPS.get(world)
        if known is None:
            known = _MAPS[world] = cls(world)
        return known

    def require(self, name: str) -> None:
        """Raises PlanError for a world without lanes."""
        if not any(self.onward):
            raise PlanError(
                f"{name}: this world has no road that is wide and long enough for lanes; convert the city's roads as "
                "well (--modules bldg,tran,dem), or drive over open ground (pattern road or patrol)"
            )

    def nearest(self, name: str, at: Array) -> int:
        """The lane that passes nearest to a point (2,). Raises PlanError where there is none near."""
        self.require(name)
        best, away = -1, NEAR
        for number, curve in enumerate(self.curves):
            if self.kinds[number] == LANE and self.onward[number]:
                apart = float(np.min(np.hypot(*(curve.xy - at).T)))
                if apart < away:
                    best, away = number, apart
        if best < 0:
            raise PlanError(f"{name}: no lane within {NEAR:g} m of ({at[0]:.0f}, {at[1]:.0f})")
        return best

    def along(self, name: str, at: Array, length: float) -> Array:
        """(N, 2) points along the lane nearest to `at` and those that lie most straight ahead of it, until `length`
        metres are done or it would drive where it has been. Raises PlanError where there is none near."""
        number = self.nearest(name, at)
        seen, pieces, done = {number}, [self.curves[number]], self.curves[number].length
        while done < length:
            ahead = [n for n in self.onward[number] if n not in seen and self.curves[n].gear > 0]
            if not ahead:
                break
            number = min(ahead, key=lambda n: _turn(self.curves[n]))
            seen.add(number)
            pieces.append(self.curves[number])
            done += self.curves[number].length
        line = np.concatenate([piece.xy for piece in pieces])
        gone = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
        whole = min(length, float(gone[-1]))
        s = np.linspace(0.0, whole, max(2, round(whole / _STEP) + 1))
        return np.column_stack([np.interp(s, gone, line[:, k]) for k in range(2)])


def _turn(curve: Curve) -> float:
    """Radians by which a way turns in all."""
    return float(abs(curve.yaw[-1] - curve.yaw[0]))


_MAPS: WeakKeyDictionary[Geometry, LaneMap] = WeakKeyDictionary()

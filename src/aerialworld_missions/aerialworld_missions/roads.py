"""A rover on the lanes of the city's roads, as traffic drives them: on the left, through crossings, turning at dead
ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_core.roads.ways import LANE
from aerialworld_missions.heightmap import Geometry, HeightMap
from aerialworld_missions.lanemap import LaneMap
from aerialworld_missions.lattice import FreeSpace
from aerialworld_missions.path import STEP, Path
from aerialworld_missions.requests import pair, point
from aerialworld_missions.rover import Common, Rover

#: Metres over which the joints of ways are smoothed, and around a place where something stood in the way that no way
#: may pass.
_SMOOTH, _AVOID = 3.0, 3.0


def roads(
    world: Geometry,
    *,
    centre: Sequence[float] | None = None,
    size: float | Sequence[float] = 400.0,
    **common: Unpack[Common],
) -> Plan:
    """A rover's drive on the lanes of the world's roads, as a `Plan`; the seed draws the lane it starts in and where it
    turns, lanes it has not driven first.

    centre   (x, y) in map: only lanes and crossings within a box of `size` metres (one edge, or two) around it are
             driven; None: all of the world's
    common   see `Rover`; `duration` is 60 seconds unless given

    Raises PlanError with its reason: a world without lanes, or none in the box that are `clearance` away from
    everything and lead on.
    """
    rover = Rover(world, "roads", **common)
    seconds = rover.duration = 60.0 if rover.duration is None else rover.duration
    name = rover.name
    lanes = LaneMap.of(world)
    lanes.require(name)
    allowed = _clear(rover, lanes)
    parameters: dict[str, object] = {}
    if centre is not None:
        middle = np.array(point(name, "centre", centre))
        edges = np.array(pair(name, "size", size, least=20.0, most=1e5))
        low, high = middle - edges / 2, middle + edges / 2
        allowed = allowed & np.array([bool(((c.xy >= low) & (c.xy <= high)).all()) for c in lanes.curves])
        parameters = {"centre": middle.tolist(), "size": edges.tolist()}
    if rover.fence is not None:
        allowed = allowed & np.array([bool(rover.fenced(c.xy).all()) for c in lanes.curves])
    length = rover.speed * seconds + 2 * rover.margin + 15.0

    def route(blocked: Array) -> Path:
        free = allowed.copy()
        for number in np.flatnonzero(free):
            curve = lanes.curves[number]
            if len(blocked) and np.hypot(*(curve.xy[:, None] - blocked[None]).reshape(-1, 2).T).min() < _AVOID:
                free[number] = False
        return _joined(_drive(rover, lanes, free, length))

    return rover.drive(rover.heights, route, parameters, way_out="move the centre or enlarge the box")


def _clear(rover: Rover, lanes: LaneMap) -> NDArray[np.bool_]:
    """(W,) ways that keep the rover's clearance on the height map, on ground that it can drive, forwards."""
    known = _CLEAR.setdefault(rover.world, {})
    if rover.clearance not in known:
        heights: HeightMap = rover.heights
        space = FreeSpace.within(
            heights, heights.low, heights.high, clearance=rover.clearance, slope=rover.limits.slope,
            blocked=np.zeros((0, 2)),
        )  # fmt: skip
        known[rover.clearance] = np.array(
            [c.gear > 0 and not halt and space.fits(c.xy) for c, halt in zip(lanes.curves, lanes.halts, strict=True)],
            bool,
        )
    return known[rover.clearance]


def _drive(rover: Rover, lanes: LaneMap, free: NDArray[np.bool_], length: float) -> list[Array]:
    """The lines of a seeded drive, at least `length` metres. Raises PlanError where there is none."""
    onward = [[n for n in following if free[n] and free[k]] for k, following in enumerate(lanes.onward)]
    source = [k for k, following in enumerate(onward) for _ in following]
    target = [n for following in onward for n in following]
    graph = csr_matrix((np.ones(len(source)), (source, target)), shape=(len(onward), len(onward)))
    _, part = connected_components(graph, directed=True, connection="strong")
    # Only what can be driven for ever: a part with a way that leads on within it.
    onward = [[n for n in following if part[n] == part[k]] for k, following in enumerate(onward)]
    metres: dict[int, float] = {}
    for k, following in enumerate(onward):
        if following and lanes.kinds[k] == LANE:
            metres[int(part[k])] = metres.get(int(part[k]), 0.0) + lanes.curves[k].length
    if not metres:
        raise PlanError(
            f"{rover.name}: no lanes here that lead on and stay {rover.clearance:g} m from everything; move the "
            "centre, enlarge the box, or roam freely (pattern road)"
        )
    widest = max(sorted(metres), key=lambda p: metres[p])
    starts = [k for k, f in enumerate(onward) if f and part[k] == widest and lanes.kinds[k] == LANE]
    way = starts[int(rover.random.integers(len(starts)))]
    driven = [way]
    done = lanes.curves[way].length
    times = np.zeros(len(onward), int)
    times[way] = 1
    while done < length:
        choices = np.array(onward[way])
        # A turn is as new as the lane that it leads to.
        seen = np.array([min([times[n], *(times[m] for m in onward[n])]) for n in choices], float)
        way = int(choices[int(np.argmin(seen + rover.random.random(len(choices)) * 0.5))])
        driven.append(way)
        times[way] += 1
        done += lanes.curves[way].length
    return [lanes.curves[k].xy for k in driven]


def _joined(lines: Sequence[Array]) -> Path:
    """One smooth path through lines that follow one another."""
    dense = Path.through(np.concatenate([lines[0], *(line[1:] for line in lines[1:])]))
    half = round(_SMOOTH / STEP / 2)
    weights = 0.5 + 0.5 * np.cos(np.pi * np.arange(-half, half + 1) / half)
    weights /= weights.sum()
    return Path.through(np.stack([np.convolve(dense.xy[:, k], weights, mode="valid") for k in range(2)], axis=1))


_CLEAR: WeakKeyDictionary[Geometry, dict[float, NDArray[np.bool_]]] = WeakKeyDictionary()

"""A patrol: a rover drives round points of a site, again and again, by the shortest way that it can drive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.errors import PlanError
from aerialworld_core.frames import Array
from aerialworld_core.plan import Plan
from aerialworld_missions.driving import rounded
from aerialworld_missions.heightmap import Geometry
from aerialworld_missions.lattice import DIRECTIONS, Lattice
from aerialworld_missions.path import Path
from aerialworld_missions.requests import number, pair, point, points
from aerialworld_missions.rover import Common, Rover

#: A post farther than this from any ground that can be driven is refused, metres.
NEAR = 15.0
#: Metres around the posts in which ways are looked for.
_AROUND = 30.0
MOST_POSTS = 200
#: Drawn places per post where nobody gave any.
_DRAWN = 4
#: Metres that rounding a route takes from each of its ends, at most.
_ROUNDED = 5.5


def patrol(
    world: Geometry,
    *,
    posts: Any = None,
    centre: Sequence[float] | None = None,
    size: float | Sequence[float] = 100.0,
    turns: float = 1.0,
    closed: bool = True,
    **common: Unpack[Common],
) -> Plan:
    """A rover's round of posts, as a `Plan`; it passes each within a few metres.

    posts     points (N, 2) in map; one that stands where nobody can drive is passed as near as possible, at most 15 m
              off
    centre    instead: four posts are drawn by the seed near the corners of a box around (x, y), of `size` metres; the
              rover never leaves it
    turns     rounds; `duration` in place of it
    closed    from the last post on to the first; else it ends at the last
    common    see `Rover`; `jitter` turns the direction and draws at which post it begins

    Raises PlanError with its reason: a post out of reach, no driveable ground, no room to turn.
    """
    rover = Rover(world, "patrol", **common)
    name, v = rover.name, rover.variation
    number(name, "turns", turns, least=0.0, most=1000.0, above=True)
    if (posts is None) == (centre is None):
        raise PlanError(f"{name}: give either posts or the centre of a box")
    if posts is not None:
        given = points(name, "posts", posts, least=2, most=MOST_POSTS)
        low, high = given.min(axis=0) - _AROUND, given.max(axis=0) + _AROUND
    else:
        assert centre is not None
        middle = np.array(point(name, "centre", centre))
        edges = np.array(pair(name, "size", size, least=20.0, most=2000.0))
        low, high = middle - edges / 2, middle + edges / 2
        given = _drawn(rover, low, high)
    if not closed and turns > 1:
        raise PlanError(f"{name}: a way that is not closed is driven once; turns would need closed")
    if v.reverse:
        given = given[::-1]
    if closed and rover.jitter:
        given = np.roll(given, -int(v.start * len(given)), axis=0)
    heights = rover.heights_of(low, high)
    parameters = {"posts": given.tolist(), "closed": closed, "turns": None if rover.duration else float(turns)}

    def route(blocked: Array) -> Path:
        lattice = rover.lattice(heights, low, high, blocked)
        return rounded(_round(rover, lattice, given, turns, closed, posts is not None), lattice.space)

    return rover.drive(heights, route, parameters, way_out="move the posts")


def _drawn(rover: Rover, low: Array, high: Array) -> Array:
    """(4, 2) places, one in each quarter of the box, counter-clockwise."""
    half = (high - low) / 2
    quarters = low + np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * half
    return np.asarray(quarters + (0.15 + 0.7 * rover.random.random((_DRAWN, 2))) * half)


def _round(rover: Rover, lattice: Lattice, posts: Array, turns: float, closed: bool, exact: bool) -> Array:
    """(N, 2) the route from post to post, long enough for what is asked. Raises PlanError for a post out of reach."""
    where = lattice.positions(lattice.states)
    cells = lattice.states % lattice.space.free.size
    targets = []
    for i, post in enumerate(posts, 1):
        away = np.hypot(*(where - post).T)
        nearest = int(np.argmin(away))
        if exact and away[nearest] > NEAR:
            raise PlanError(
                f"{rover.name}: post {i} at ({post[0]:.0f}, {post[1]:.0f}) lies {away[nearest]:.0f} m from the nearest "
                "ground that can be driven to from the others; move it"
            )
        targets.append(lattice.states[cells == cells[nearest]])
    distinct = {int(t[0] % lattice.space.free.size) for t in targets}
    if len(distinct) < 2:
        raise PlanError(f"{rover.name}: all posts are one place on the ground that can be driven; enlarge the box")
    rounds = math.ceil(turns) if closed else 1
    order = [*range(len(posts))] * rounds + ([0] if closed else [])
    seconds = rover.duration
    # The rover is on its way before it passes the first post, and after it has passed the last: smoothing needs that.
    more = rover.margin + _ROUNDED
    needed = math.inf if seconds is None else rover.speed * seconds + 2 * more
    route = [_towards(lattice, targets[0], posts[1] - posts[0])]
    i, done, one = 1, 0.0, 0.0
    while i < len(order) if seconds is None else done < needed and (closed or i < len(posts)):
        post = order[i] if seconds is None else i % len(posts)
        leg = lattice.way(route[-1], targets[post])
        if leg is None:
            raise PlanError(f"{rover.name}: post {post + 1} cannot be reached from the one before")
        done += float(np.hypot(*np.diff(lattice.positions(np.array(leg)), axis=0).T).sum())
        route += leg[1:]
        i += 1
        if i == len(posts) + 1:
            one = done
    before = lattice.onward(lattice.reversed(route[0]), more)[:0:-1]
    xy = np.concatenate([before, lattice.positions(np.array(route)), lattice.onward(route[-1], more)[1:]])
    if seconds is None and closed and turns % 1.0:
        gone = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
        xy = xy[gone <= one * turns + 2 * more]
    return xy


def _towards(lattice: Lattice, states: NDArray[np.int64], direction: Array) -> int:
    """The one of `states`, of one cell, that looks most in a direction (2,)."""
    looks = DIRECTIONS[states // lattice.space.free.size]
    looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    return int(states[int(np.argmax(looks @ direction))])

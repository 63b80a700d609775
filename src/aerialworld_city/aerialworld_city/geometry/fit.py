"""Heights where no terrain model gives them: the smoothest surface through what tells the ground's height.

A thin plate under tension over an even grid, drawn to the evidence by springs: between houses it bends as little as it
can, far from them it levels out. It is found from coarse grids to fine ones. In each round

- a body holds the ground at the corner of its foot that lies deepest (the foot has the height of the lowest ground
  below it) and wherever else the ground is lower than the foot, for it must not float;
- what stands out of the rest (a deck, a shed on a roof) lets go the more, the farther it is above.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array, kron, vstack
from scipy.spatial import cKDTree

from aerialworld_city.geometry.evidence import Evidence, thinned
from aerialworld_city.geometry.quadtree import triangulated
from aerialworld_core.frames import Array

Index = NDArray[np.int64]

#: Spacing of a fitted ground's finest points, metres, as long as it has no more squares than `MAX_SQUARES`.
FIT_STEP = 5.0
MAX_SQUARES = 60_000
#: A surface with heights lies this far above the ground, metres: more than surfaces are laid above it, and than the
#: ground is simplified by.
CLEARANCE = 0.12
#: How stiff the plate is, m², against a spring of 1 per piece of evidence; beyond `_TENSION` metres it is a membrane.
_STIFF, _TENSION = 1.0, 100.0
#: Evidence this far above (below) the surface has half of its weight, metres.
_ABOVE, _BELOW = 3.0, 15.0
#: A body (a surface: an underpass) that lies deeper than this below its surroundings is no evidence, metres.
_ABYSS, _UNDERPASS = 30.0, 8.0
#: A surface this far above the ground among the bodies this near to it is a deck, metres.
_DECK, _BESIDE = 4.0, 60.0
#: The ground may rise this much above a foot, metres.
_BURIED = 0.1
#: The coarsest grid's spacing, metres; rounds on every grid; steps of the solver, and below which of
#: its steps, metres, it stops.
_COARSEST, _ROUNDS, _STEPS, _ENOUGH = 80.0, 3, 80, 1e-3
#: A region larger than this, m², has ground only so far from the evidence, metres.
_FILLED, _REACH = 26e6, 500.0
#: By how much the ground's triangles may depart from the fitted surface, metres; beyond so many metres from all
#: evidence by so much more per metre, for there it is a guess.
_EVEN, _NEAR, _EVENER = 0.03, 50.0, 0.01


def grid(low: Array, high: Array, step: float) -> Array:
    """(rows, columns, 2) places of an even grid that includes the corners, at most `step` apart."""
    columns, rows = np.maximum(np.ceil((high - low) / step).astype(int), 1)
    x, y = np.linspace(low[0], high[0], columns + 1), np.linspace(low[1], high[1], rows + 1)
    return np.stack(np.meshgrid(x, y, indexing="xy"), axis=-1)


def step_for(low: Array, high: Array, wanted: float) -> float:
    """The wanted spacing, or a wider one that keeps the number of squares bounded."""
    return max(wanted, float(np.sqrt((high - low).prod() / MAX_SQUARES)))


def fitted_heights(evidence: Evidence, nodes: Array) -> Array:
    """Heights (rows, columns) of an even grid (rows, columns, 2) by the evidence, which is not none.

    Nowhere above a surface that has heights, and at most 0.1 m above the foot of a body at its deepest corner.
    """
    low, high = nodes[0, 0], nodes[-1, -1]
    finest = np.array(nodes.shape[:2]) - 1
    springs = thinned(evidence.surfaces - [0.0, 0.0, CLEARANCE], FIT_STEP / 2)
    doublings = 0
    while float(((high - low) / finest[::-1]).max()) * 2 ** (doublings + 1) <= _COARSEST:
        doublings += 1
    start = float(np.median(np.concatenate([evidence.bases[:, 2], springs[:, 2]])))
    height, plane = np.full((2, 2), start), _Plane(low, high, (1, 1))
    alone = len(evidence.bases) > 0 and len(springs) > 0
    for turn, coarser in enumerate([doublings] * alone + list(range(doublings, -1, -1))):
        shape = np.maximum(-(-finest // 2**coarser), 1)
        finer = _Plane(low, high, (int(shape[0]), int(shape[1])))
        height = plane.at(height, finer.nodes().reshape(-1, 2)).reshape(finer.rows + 1, finer.columns + 1)
        plane = finer
        if alone and turn == 0:  # bodies alone, to know decks by
            height = _relaxed(plane, height, evidence, springs[:0], sceptic=False)
            springs = springs[_credible(springs, plane.at(height, springs[:, :2]), evidence)]
        else:
            height = _relaxed(plane, height, evidence, springs, sceptic=turn > 0)
    # A plate runs on beyond the outermost feet as it leaned at them; nothing says that the ground does.
    known = np.concatenate([evidence.bases[:, 2], evidence.surfaces[:, 2] - CLEARANCE])
    return lowered_to(evidence, nodes, np.clip(height, known.min(), known.max()))


def _credible(springs: Array, ground: Array, evidence: Evidence) -> NDArray[np.bool_]:
    """Which places of surfaces (K, 3) may tell the ground's height: those that stand out of the ground (K,) among the
    bodies beside them are decks and underpasses."""
    beside = cKDTree(evidence.bases[:, :2]).query(springs[:, :2])[0] < _BESIDE
    above = springs[:, 2] - ground
    return np.asarray(~beside | ((above < _DECK) & (above > -_UNDERPASS)))


class _Plane:
    """A grid of rows × columns squares, each two triangles that meet along the diagonal from its lowest corner."""

    def __init__(self, low: Array, high: Array, shape: tuple[int, int]) -> None:
        self.low, self.high = low, high
        self.rows, self.columns = shape
        self.size = (high - low) / (self.columns, self.rows)

    def nodes(self) -> Array:
        x, y = (np.linspace(self.low[k], self.high[k], n + 1) for k, n in enumerate((self.columns, self.rows)))
        return np.stack(np.meshgrid(x, y, indexing="xy"), axis=-1)

    def corners(self, xy: Array) -> tuple[Index, Array]:
        """The three nodes (M, 3) around places (M, 2), and how much of each (M, 3)."""
        at = np.clip((xy - self.low) / self.size, 0.0, (self.columns, self.rows))
        cell = np.minimum(np.floor(at).astype(np.int64), (self.columns - 1, self.rows - 1))
        u, v = (at - cell).T
        first = cell[:, 1] * (self.columns + 1) + cell[:, 0]
        east = u >= v
        middle = np.where(east, first + 1, first + self.columns + 1)
        share = np.stack([1 - np.maximum(u, v), np.abs(u - v), np.minimum(u, v)], axis=1)
        return np.stack([first, middle, first + self.columns + 2], axis=1), share

    def at(self, height: Array, xy: Array) -> Array:
        node, share = self.corners(xy)
        return np.asarray((height.reshape(-1)[node] * share).sum(axis=1))

    def springs(self, xy: Array) -> csr_array:
        """(M, nodes) the matrix that takes heights of nodes to heights of places."""
        node, share = self.corners(xy)
        count = (self.rows + 1) * (self.columns + 1)
        return csr_array((share.reshape(-1), node.reshape(-1), np.arange(len(xy) + 1) * 3), shape=(len(xy), count))

    def plate(self) -> csr_array:
        """(nodes, nodes) the energy of bending and of tension."""
        step = float(self.size.mean())
        one = [eye_array(n + 1, format="csr") for n in (self.rows, self.columns)]
        first = [_differences(n + 1) for n in (self.rows, self.columns)]
        second = [_differences(n) @ d for n, d in zip((self.rows, self.columns), first, strict=True)]
        bent = vstack([
            kron(second[0], one[1]), kron(one[0], second[1]), np.sqrt(2.0) * kron(first[0], first[1])
        ], format="csr")  # fmt: skip
        drawn = vstack([kron(first[0], one[1]), kron(one[0], first[1])], format="csr")
        energy = (bent.T @ bent) * (_STIFF / step**2) + (drawn.T @ drawn) * (_STIFF / _TENSION**2)
        return csr_array(energy)


def _differences(count: int) -> csr_array:
    """(count − 1, count) each value less the one before."""
    ones = np.ones(max(count - 1, 0))
    return csr_array(diags_array([-ones, ones], offsets=[0, 1], shape=(max(count - 1, 0), count)))


def _relaxed(plane: _Plane, height: Array, evidence: Evidence, springs: Array, *, sceptic: bool) -> Array:
    """Heights after some rounds of springs and plate; in the first of them all evidence is believed, unless `sceptic`:
    only heights that are about right tell what stands out of them."""
    energy, flat = plane.plate(), height.reshape(-1)
    level = evidence.bases[evidence.owner, 2]
    held = np.zeros(len(evidence.owner), np.bool_)
    whole = plane.springs(np.concatenate([evidence.corners, springs[:, :2]]))
    target = np.concatenate([level, springs[:, 2]])
    abyss = np.concatenate([np.full(len(held), _ABYSS), np.full(len(springs), _UNDERPASS)])
    for turn in range(_ROUNDS):
        now = whole @ flat
        held |= now[: len(held)] < level
        held[_deepest(now[: len(held)], evidence)] = True
        used = np.concatenate([held, np.ones(len(springs), np.bool_)])
        off = target - now
        weight = used.astype(np.float64)
        if sceptic or turn:
            weight /= 1.0 + (off / np.where(off > 0, _ABOVE, _BELOW)) ** 2
            weight[off < -abyss] = 0.0
        system = csr_array(energy + whole.T @ (diags_array(weight) @ whole))
        flat = _solved(system, whole.T @ (weight * target), flat)
    return flat.reshape(height.shape)


def _deepest(height: Array, evidence: Evidence) -> Index:
    """The corner of each body's foot where the ground (M,) is lowest."""
    order = np.lexsort((height, evidence.owner))
    first = np.ones(len(order), np.bool_)
    first[1:] = evidence.owner[order[1:]] != evidence.owner[order[:-1]]
    return order[first]


def _solved(system: csr_array, right: Array, start: Array) -> Array:
    """The solution of a positive system, by conjugate gradients from a start near it.

    Sums are numpy's own and no BLAS is asked, whose threads would sum in another order on another machine.
    """
    scale = 1.0 / system.diagonal()
    x = start.copy()
    rest = right - system @ x
    ahead = scale * rest
    direction, norm = ahead.copy(), float((rest * ahead).sum())
    for _ in range(_STEPS):
        if float(np.abs(ahead).max(initial=0.0)) < _ENOUGH:
            break
        image = system @ direction
        share = norm / float((direction * image).sum())
        x += share * direction
        rest -= share * image
        ahead = scale * rest
        norm, before = float((rest * ahead).sum()), norm
        direction = ahead + norm / before * direction
    return x


def lowered_to(evidence: Evidence, nodes: Array, height: Array) -> Array:
    """Heights (rows, columns) of an even grid, lowered where they rise above surfaces or bury feet; those that lie in
    an abyss lower nothing."""
    plane = _Plane(nodes[0, 0], nodes[-1, -1], (nodes.shape[0] - 1, nodes.shape[1] - 1))
    flat = height.reshape(-1).copy()
    foot = _deepest(plane.at(flat, evidence.corners), evidence)
    feet = np.column_stack([evidence.corners[foot], evidence.bases[evidence.owner[foot], 2] + _BURIED])
    caps = np.concatenate([feet, evidence.surfaces - [0.0, 0.0, CLEARANCE]])
    abyss = np.concatenate([np.full(len(feet), _ABYSS), np.full(len(caps) - len(feet), _UNDERPASS)])
    node, share = plane.corners(caps[:, :2])
    for _ in range(3):
        above = (flat[node] * share).sum(axis=1) - caps[:, 2]
        rows = np.flatnonzero((above > 1e-3) & (above < abyss))
        if not len(rows):
            break
        # Lowering a triangle's corners by as much as it has to sink at a place sinks that place by as much.
        lower = np.zeros(len(flat))
        np.maximum.at(lower, node[rows], np.where(share[rows] > 1e-9, above[rows, None], 0.0))
        flat -= lower
    return flat.reshape(height.shape)


def fitted_ground(evidence: Evidence, region: Array) -> tuple[Array, float]:
    """Triangles (T, 3, 3) over the region (2, 2) by the evidence, and the edge of their smallest squares.

    They fill the region where it is no larger than 5 km × 5 km or so; in a larger one there is no ground farther than
    500 m from all evidence. Without evidence: level ground at height 0.
    """
    step = step_for(region[0], region[1], FIT_STEP)
    nodes = grid(region[0], region[1], step)
    shape = (nodes.shape[0] - 1, nodes.shape[1] - 1)
    height, even, wanted = np.zeros(nodes.shape[:2]), np.full(shape, np.inf), np.ones(shape, np.bool_)
    if len(evidence):
        height = fitted_heights(evidence, nodes)
        middle = (nodes[:-1, :-1] + nodes[1:, 1:]) / 2
        places = np.concatenate([evidence.corners, evidence.surfaces[:, :2]])
        distance = cKDTree(places).query(middle.reshape(-1, 2))[0].reshape(shape)
        even = _EVEN + _EVENER * np.maximum(distance - _NEAR, 0.0)
        if (region[1] - region[0]).prod() > _FILLED:
            wanted = distance < max(_REACH, 2 * step)
    return triangulated(np.concatenate([nodes, height[..., None]], axis=-1), even, wanted), step

"""From a road's shape to its middle line: thinning to a skeleton, and the skeleton as a graph of lines.

Thinning after T. Y. Zhang and C. Y. Suen, "A fast parallel algorithm for thinning digital patterns", 1984.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter1d, label

from aerialworld_core.frames import Array
from aerialworld_core.roads.curves import travelled

_EIGHT = np.ones((3, 3), int)


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The skeleton (R, C) of a mask: one cell wide, connected as the mask is."""
    image = np.pad(mask, 1).astype(np.uint8)
    width = image.shape[1]
    flat = image.ravel()
    # North, north-east, east … as the paper counts its neighbours P2 … P9 (north is a lower row there; any turn does).
    around = np.array([-width, -width + 1, 1, width + 1, width, width - 1, -1, -width - 1])
    alive = np.flatnonzero(flat)
    changed = True
    while changed:
        changed = False
        for first, second in (((0, 2, 4), (2, 4, 6)), ((0, 2, 6), (0, 4, 6))):
            n = flat[alive[:, None] + around]
            count = n.sum(axis=1)
            rises = ((n == 0) & (np.roll(n, -1, axis=1) == 1)).sum(axis=1)
            gone = (count >= 2) & (count <= 6) & (rises == 1)
            gone &= (n[:, first].prod(axis=1) == 0) & (n[:, second].prod(axis=1) == 0)
            if gone.any():
                flat[alive[gone]] = 0
                alive = alive[~gone]
                changed = True
    return image[1:-1, 1:-1].astype(bool)


@dataclass(eq=False)
class Line:
    """A line between two nodes: points (N, 2) in map, from node `a` to node `b`."""

    a: int
    b: int
    points: Array

    @cached_property
    def length(self) -> float:
        """Metres."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


@dataclass(eq=False)
class Graph:
    """Lines between numbered nodes."""

    lines: list[Line] = field(default_factory=list)

    def degree(self) -> dict[int, int]:
        """How many ends of lines meet in each node."""
        count: dict[int, int] = {}
        for line in self.lines:
            for node in (line.a, line.b):
                count[node] = count.get(node, 0) + 1
        return count


def trace(skeleton: NDArray[np.bool_], place: Callable[[Array], Array]) -> Graph:
    """The graph of a skeleton; `place` takes (N, 2) row, column to (N, 2) map."""
    neighbours = convolve(skeleton.astype(int), _EIGHT, mode="constant") - 1
    crossing = skeleton & (neighbours >= 3)
    cluster, nodes = label(crossing, _EIGHT)
    chains, count = label(skeleton & ~crossing, _EIGHT)
    row, column = np.nonzero(chains)
    order = np.argsort(chains[row, column], kind="stable")
    row, column = row[order], column[order]
    bounds = np.searchsorted(chains[row, column], np.arange(1, count + 2))
    rows, columns = np.nonzero(cluster)
    which = cluster[rows, columns]
    size = np.bincount(which, minlength=nodes + 1)[1:]
    centre = np.stack(
        [np.bincount(which, weights=v, minlength=nodes + 1)[1:] / np.maximum(size, 1) for v in (rows, columns)], axis=1
    )
    graph, padded, fresh = Graph(), np.pad(cluster, 1), nodes
    for k in range(count):
        cells = _ordered(np.stack([row[bounds[k] : bounds[k + 1]], column[bounds[k] : bounds[k + 1]]], axis=1))
        ends: list[int] = []
        for r, c in (cells[0], cells[-1]):
            touching = padded[r : r + 3, c : c + 3]
            found = [int(v) - 1 for v in np.unique(touching[touching > 0]) if len(cells) > 1 or int(v) - 1 not in ends]
            ends.append(found[0] if found else -1)
        if ends == [-1, -1] and len(cells) > 3 and np.abs(cells[0] - cells[-1]).max() <= 1:
            ends = [fresh, fresh]  # a ring without a crossing
            cells = np.concatenate([cells, cells[:1]])
            fresh += 1
        points = [place(cells.astype(np.float64))]
        for end in (0, 1):
            if ends[end] < 0:
                ends[end] = fresh
                fresh += 1
            elif ends[end] < nodes:
                tip = place(centre[ends[end]][None])
                points = [tip, *points] if end == 0 else [*points, tip]
        graph.lines.append(Line(ends[0], ends[1], np.concatenate(points)))
    return graph


def _ordered(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cells (N, 2) of a chain from one end to the other."""
    left = {(int(r), int(c)) for r, c in cells}

    def near(cell: tuple[int, int]) -> list[tuple[int, int]]:
        r, c = cell
        steps = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
        return [(r + i, c + j) for i, j in steps if (r + i, c + j) in left]

    ends = [cell for cell in sorted(left) if len(near(cell)) <= 1]
    at = ends[0] if ends else min(left)
    chain = [at]
    left.discard(at)
    while following := near(at):
        at = following[0]
        chain.append(at)
        left.discard(at)
    return np.array(chain)


def simplify(graph: Graph, room: Callable[[Array], Array]) -> None:
    """Remove spurs towards corners, join crossings that lie within each other, and lines that meet in twos.

    `room` gives the road's half width at points (N, 2), metres.
    """
    while _prune(graph, room) or _contract(graph, room) or _merge(graph):
        pass


def _prune(graph: Graph, room: Callable[[Array], Array]) -> bool:
    degree = graph.degree()
    for line in sorted(graph.lines, key=lambda one: one.length):
        loose = [end for end, node in ((0, line.a), (-1, line.b)) if degree[node] == 1]
        if len(loose) == 1:
            other = line.points[-1 if loose[0] == 0 else 0]
            if line.length < 1.5 * float(room(other[None])[0]) + 4.0:
                graph.lines.remove(line)
                return True
        if line.a == line.b and line.length < 6.0 * float(room(line.points[:1])[0]):
            graph.lines.remove(line)
            return True
    return False


def _contract(graph: Graph, room: Callable[[Array], Array]) -> bool:
    degree = graph.degree()
    for line in graph.lines:
        if line.a == line.b or degree[line.a] < 3 or degree[line.b] < 3:
            continue
        if line.length < float(room(line.points[[0, -1]]).sum()) + 2.0:
            graph.lines.remove(line)
            join_nodes(graph, line.a, line.b)
            return True
    return False


def _merge(graph: Graph) -> bool:
    for node, count in graph.degree().items():
        if count != 2:
            continue
        pair = [line for line in graph.lines if node in (line.a, line.b)]
        if len(pair) != 2:
            continue  # a ring: both ends are its own
        one, two = pair
        first = one.points if one.b == node else one.points[::-1]
        second = two.points if two.a == node else two.points[::-1]
        joined = Line(
            one.a if one.b == node else one.b, two.b if two.a == node else two.a, np.concatenate([first, second])
        )
        graph.lines = [line for line in graph.lines if line not in pair] + [joined]
        return True
    return False


def resample(points: Array, spacing: float) -> Array:
    """Points (M, 2) about `spacing` metres apart along a line (N, 2), both ends kept."""
    along = travelled(points)
    s = np.linspace(0.0, along[-1], max(2, round(along[-1] / spacing) + 1))
    return np.stack([np.interp(s, along, points[:, k]) for k in range(2)], axis=1)


def smoothed(points: Array, metres: float) -> Array:
    """Points at 1 m along the line, averaged over about `metres` (a Gaussian); the ends stay where they are."""
    even = resample(points, 1.0)
    n = min(len(even) - 1, round(4 * metres))
    if n < 1:
        return even
    # Odd reflection about the ends keeps them in place and straight.
    before, after = 2 * even[0] - even[n:0:-1], 2 * even[-1] - even[-2 : -n - 2 : -1]
    filtered = gaussian_filter1d(np.concatenate([before, even, after]), metres, axis=0, mode="nearest")
    return np.asarray(filtered[n:-n])


def split_at_bends(
    graph: Graph, keep: Callable[[Line], tuple[float, float]], angle: float = np.radians(35.0), reach: int = 8
) -> None:
    """Cut lines (points at 1 m) where they turn by more than `angle` within 2 · `reach` metres: there vehicles turn on
    an arc of their own, as at a crossing. `keep` gives how many metres at each end of a line stay uncut."""
    fresh = max((node for line in graph.lines for node in (line.a, line.b)), default=-1) + 1
    result: list[Line] = []
    for line in graph.lines:
        rest, a = line.points, line.a
        first, last = keep(line)
        while len(rest) > 4 * reach:
            ahead, behind = rest[2 * reach :] - rest[reach:-reach], rest[reach:-reach] - rest[: -2 * reach]
            turn = np.abs(
                np.arctan2(behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0], (behind * ahead).sum(axis=1))
            )
            middle = np.arange(reach, len(rest) - reach)
            sharp = np.flatnonzero((turn > angle) & (middle > first) & (middle < len(rest) - last))
            if not len(sharp):
                break
            breaks = np.flatnonzero(np.diff(sharp) > 1)
            run = sharp[: breaks[0] + 1] if len(breaks) else sharp
            at = int(run[np.argmax(turn[run])]) + reach
            result.append(Line(a, fresh, rest[: at + 1]))
            rest, a, first = rest[at:], fresh, float(reach)
            fresh += 1
        result.append(Line(a, line.b, rest))
    graph.lines = result


def join_nodes(graph: Graph, a: int, b: int) -> None:
    """Node `b` becomes node `a`."""
    for line in graph.lines:
        line.a = a if line.a == b else line.a
        line.b = a if line.b == b else line.b

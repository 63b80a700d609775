"""What a network of ways is: curves that follow one another, and who may use each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from aerialworld_core.roads.curves import Curve

LANE, CROSSING, TURN, FOOTWAY, FOOT_CROSSING = "lane", "crossing", "turn", "footway", "foot_crossing"


@dataclass(eq=False)
class Way:
    """One curve of the network.

    kind     LANE and FOOTWAY are waited on; CROSSING, TURN and FOOT_CROSSING are passed in one go
    limit    m/s; shapes the names of those that may go here; `halt` ends with a stop (a change of gear)
    after    numbers of the ways that can follow
    """

    number: int
    curve: Curve
    kind: str
    limit: float
    shapes: frozenset[str]
    halt: bool = False
    after: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Ways:
    """All ways, by number, and the parts within which each shape can go round for ever."""

    ways: list[Way] = field(default_factory=list)

    def add(self, curve: Curve, kind: str, limit: float, shapes: frozenset[str], halt: bool = False) -> Way:
        way = Way(len(self.ways), curve, kind, limit, shapes, halt)
        self.ways.append(way)
        return way

    def followers(self, shape: str) -> list[list[int]]:
        """For each way the ways that a body of this shape can go on to without ever being stuck; empty for those that
        it must not use."""
        count = len(self.ways)
        source = [w.number for w in self.ways for n in w.after if self._open(w.number, n, shape)]
        target = [n for w in self.ways for n in w.after if self._open(w.number, n, shape)]
        if not source:
            return [[] for _ in self.ways]
        graph = csr_matrix((np.ones(len(source)), (source, target)), shape=(count, count))
        _, part = connected_components(graph, directed=True, connection="strong")
        return [
            [n for n in way.after if self._open(way.number, n, shape) and part[n] == part[way.number]]
            for way in self.ways
        ]

    def _open(self, a: int, b: int, shape: str) -> bool:
        return shape in self.ways[a].shapes and shape in self.ways[b].shapes

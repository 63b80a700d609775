"""A bounding volume hierarchy over triangles, laid out for finding what a tile of a picture sees, front to back.

Built by the surface-area heuristic over 16 bins of the widest axis of the centroids (Wald 2007, "On fast construction
of SAH-based bounding volume hierarchies").
"""

# Kernels have machine types that annotations cannot say.
# mypy: disable-error-code="arg-type, assignment, call-arg, call-overload, operator, type-var"

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_sim.compiled import aligned, kernel

#: Triangles that a leaf may hold; leaves of up to LEAF are never split.
LEAF, MAX_LEAF = 4, 16
_BINS = 16
_ROW = 8  # of a box while building: lowest corner, highest corner, triangle (int32), unused
_NODE = 8  # numbers of a node
#: Where a node's links stand among its numbers: first triangle or left child; number of triangles, 0 for an inner node.
FIRST, COUNT = 6, 7
#: Deepest tree that traversal has room for; deeper ranges become leaves however large.
MAX_DEPTH = 62


@dataclass(frozen=True, eq=False)
class Tree:
    """nodes (N, 8) float32: box low xyz, high xyz; links (N, 8) int32, the same memory, has at FIRST and COUNT a leaf's
    triangles, or the left child, whose sibling follows it, and 0; node 0 is the root. Siblings share a cache line of
    64 bytes: to find one's way down is to wait for memory. corners (F, 9) float32 and face (F,) int32: the triangles
    in the leaves' order."""

    nodes: NDArray[np.float32]
    links: NDArray[np.int32]
    corners: NDArray[np.float32]
    face: NDArray[np.int32]


@kernel
def _triangle_boxes(vertices: Any, faces: Any, boxes: Any, numbers: Any) -> None:
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        for k in range(3):
            x, y, z = vertices[a, k], vertices[b, k], vertices[c, k]
            boxes[f, k] = min(x, min(y, z))
            boxes[f, k + 3] = max(x, max(y, z))
        numbers[f, 6] = f


@kernel
def _fill_corners(vertices: Any, faces: Any, order: Any, corners: Any) -> None:
    for i in range(len(order)):
        f = order[i]
        for c in range(3):
            v = faces[f, c]
            for k in range(3):
                corners[i, 3 * c + k] = vertices[v, k]


@kernel
def _bounds(boxes: Any, first: int, last: int, out: Any) -> None:
    """Box (0 … 5) and box of twice the centroids (6 … 11) of boxes first … last − 1."""
    for k in range(3):
        out[k] = np.inf
        out[k + 3] = -np.inf
        out[k + 6] = np.inf
        out[k + 9] = -np.inf
    for i in range(first, last):
        for k in range(3):
            low, high = boxes[i, k], boxes[i, k + 3]
            middle = low + high
            out[k] = min(out[k], low)
            out[k + 3] = max(out[k + 3], high)
            out[k + 6] = min(out[k + 6], middle)
            out[k + 9] = max(out[k + 9], middle)


@kernel
def _half_area(box: Any) -> float:
    x, y, z = box[3] - box[0], box[4] - box[1], box[5] - box[2]
    return x * y + y * z + z * x


@kernel
def _best_split(boxes: Any, first: int, last: int, bounds: Any, bins: Any, sizes: Any, right: Any, side: Any) -> Any:
    """(axis, bin) after which the cheapest split lies and its cost in triangle tests per half area; bin −1: none."""
    axis = 0
    for k in range(1, 3):
        if bounds[k + 9] - bounds[k + 6] > bounds[axis + 9] - bounds[axis + 6]:
            axis = k
    width = bounds[axis + 9] - bounds[axis + 6]
    if not width > 0.0:
        return axis, -1, 0.0
    scale = np.float32(_BINS * 0.9999) / width
    for b in range(_BINS):
        sizes[b] = 0
        for k in range(3):
            bins[b, k] = np.inf
            bins[b, k + 3] = -np.inf
    for i in range(first, last):
        b = np.int64((boxes[i, axis] + boxes[i, axis + 3] - bounds[axis + 6]) * scale)
        sizes[b] += 1
        for k in range(3):
            bins[b, k] = min(bins[b, k], boxes[i, k])
            bins[b, k + 3] = max(bins[b, k + 3], boxes[i, k + 3])
    for k in range(3):
        side[k] = np.inf
        side[k + 3] = -np.inf
    count = 0
    for b in range(_BINS - 1, 0, -1):
        count += sizes[b]
        for k in range(3):
            side[k] = min(side[k], bins[b, k])
            side[k + 3] = max(side[k + 3], bins[b, k + 3])
        right[b] = _half_area(side) * count if count else 0.0
    for k in range(3):
        side[k] = np.inf
        side[k + 3] = -np.inf
    count, best, cost = 0, -1, np.inf
    for b in range(_BINS - 1):
        count += sizes[b]
        for k in range(3):
            side[k] = min(side[k], bins[b, k])
            side[k + 3] = max(side[k + 3], bins[b, k + 3])
        if count == 0 or count == last - first:
            continue
        here = _half_area(side) * count + right[b + 1]
        if here < cost:
            best, cost = b, here
    return axis, best, cost


@kernel
def _partition(boxes: Any, first: int, last: int, axis: int, split: int, bounds: Any) -> int:
    scale = np.float32(_BINS * 0.9999) / (bounds[axis + 9] - bounds[axis + 6])
    i, j = first, last - 1
    while i <= j:
        if np.int64((boxes[i, axis] + boxes[i, axis + 3] - bounds[axis + 6]) * scale) <= split:
            i += 1
        else:
            for k in range(_ROW):
                boxes[i, k], boxes[j, k] = boxes[j, k], boxes[i, k]
            j -= 1
    return i


@kernel
def _build(
    boxes: Any, nodes: Any, links: Any, bounds: Any, bins: Any, sizes: Any, right: Any, side: Any, stack: Any
) -> int:
    """Sort `boxes` into leaves and write `nodes` and `links`; returns how many nodes there are."""
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, 0, len(boxes), 0
    top, used = 1, 1
    while top > 0:
        top -= 1
        node, first, last, depth = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
        _bounds(boxes, first, last, bounds)
        for k in range(6):
            nodes[node, k] = bounds[k]
        count = last - first
        middle = -1
        if count > LEAF and depth < MAX_DEPTH:
            axis, split, cost = _best_split(boxes, first, last, bounds, bins, sizes, right, side)
            if split >= 0 and (count > MAX_LEAF or cost < _half_area(bounds) * (count - 1.0)):
                middle = _partition(boxes, first, last, axis, split, bounds)
            elif count > MAX_LEAF:
                middle = (first + last) // 2  # all centroids in one place
        if middle <= first or middle >= last:
            links[node, 0], links[node, 1] = first, count
            continue
        links[node, 0], links[node, 1] = used, 0
        for half in range(2):
            stack[top, 0] = used + half
            stack[top, 1] = first if half == 0 else middle
            stack[top, 2] = middle if half == 0 else last
            stack[top, 3] = depth + 1
            top += 1
        used += 2
    return used


def build_tree(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> Tree:
    """The hierarchy of triangles `faces` (F, 3) into `vertices` (V, 3)."""
    count = len(faces)
    if count == 0:
        none = _together(np.zeros((0, 6), np.float32), np.zeros((0, 2), np.int32))
        return Tree(*none, np.zeros((0, 9), np.float32), np.zeros(0, np.int32))
    boxes = np.empty((count, _ROW), np.float32)
    _triangle_boxes(vertices, faces, boxes, boxes.view(np.int32))
    nodes, links = np.empty((2 * count, 6), np.float32), np.empty((2 * count, 2), np.int32)
    bins, sizes, right = np.empty((_BINS, 6), np.float32), np.empty(_BINS, np.int64), np.empty(_BINS, np.float64)
    stack = np.empty((2 * MAX_DEPTH + 2, 4), np.int64)  # node, first, last, depth
    side, bounds = np.empty(6, np.float32), np.empty(12, np.float32)
    used = _build(boxes, nodes, links, bounds, bins, sizes, right, side, stack)
    order = np.ascontiguousarray(boxes.view(np.int32)[:, 6])
    del boxes
    corners = np.empty((count, 9), np.float32)
    _fill_corners(vertices, faces, order, corners)
    return Tree(*_together(nodes[:used], links[:used]), corners, order)


def _together(nodes: NDArray[np.float32], links: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Boxes and links of `Tree`: one block, as floats and as integers."""
    block = aligned(_NODE * (len(nodes) + 1))[_NODE:].reshape(-1, _NODE)  # siblings follow the root, pair by pair
    both = block.view(np.int32)
    block[:, :6], both[:, FIRST:] = nodes, links
    return block, both

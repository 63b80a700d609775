"""Edge collapse that knows what must not be lost: numba kernels over many features' triangles at once.

A corner u is pulled onto a neighbour v that stays where it is (half-edge collapse), the cheapest first by quadric error
(Garland and Heckbert 1997). A collapse is taken only where all of these hold:

- every original corner that lay on the triangles around u stays within its own limit of those that come instead;
- corners between two groups of triangles (outlines, materials, kinds of surface, texture seams, open borders) move only
  along that line, and the line stays within the limit too; where three such lines meet nothing moves;
- the mesh stays as manifold as it was (link condition), no triangle turns over or becomes a sliver;
- the volume of a feature changes within its room;
- texture coordinates go on as the same affine map.
"""

from __future__ import annotations

import heapq

import numba
import numpy as np

from aerialworld_city.geometry.collapse_rules import LOSSLESS, keeps_shape, settle, stays_near, volume_change
from aerialworld_city.geometry.distances import distance_to_segment
from aerialworld_city.geometry.fans import MAX_STAR, lines_at, source_of_uv, star_of
from aerialworld_city.geometry.quadrics import edge_cost, quadrics


@numba.njit(cache=True)
def collapse(  # type: ignore[no-untyped-def]
    position, face, group, uv, textured, feature, frozen, closed, limit, room, faces_left, target, ground
):
    """Collapse edges until `target` triangles are left or nothing more may be.

    position (V, 3) float64, best about a middle near each feature; face (F, 3) int64; group (F,) int64; uv (F, 3, 2)
    float64; textured (F,) bool; feature (V,) int64; frozen (V,) bool; limit (V,) metres for each original corner; per
    feature: closed bool, room m³ (infinite where there is none), faces_left int64 (those with 12 or fewer stay).
    `ground` measures heights, not distances. face and uv are changed in place.

    Returns alive (F,) bool, touched (F,) bool (triangles that are not what they were).
    """
    faces = len(face)
    alive, touched = np.ones(faces, np.bool_), np.zeros(faces, np.bool_)
    head, following = _corner_lists(len(position), face)
    points, chain, place = _point_lists(len(position), face)
    q = quadrics(position, face, group, textured, uv, head, following, ground)
    heap = _first_heap(position, face, q, frozen)
    stamp, gone = np.zeros(len(position), np.int64), np.zeros(len(position), np.bool_)
    line_error, moved = np.zeros(len(position)), np.zeros(len(room))
    star_u, star_v, ends = np.empty(MAX_STAR, np.int64), np.empty(MAX_STAR, np.int64), np.empty(2, np.int64)
    left = faces
    while left > target and len(heap) > 0:
        _, u, v, su, sv = heapq.heappop(heap)
        owner = feature[u]
        if gone[u] or gone[v] or stamp[u] != su or stamp[v] != sv or faces_left[owner] <= 12:
            continue
        nu = star_of(u, face, alive, head, following, star_u)
        nv = star_of(v, face, alive, head, following, star_v)
        if nu <= 0 or nv <= 0 or nu + nv > MAX_STAR:
            continue
        lines, is_open = lines_at(star_u, nu, face, group, textured, uv, ends)
        if lines != 0 and (lines != 2 or (v != ends[0] and v != ends[1])):
            continue
        bound = limit[u]
        if is_open and closed[owner]:
            bound = min(bound, LOSSLESS)
        error = 0.0
        if lines == 2:
            other = ends[0] if v == ends[1] else ends[1]
            error = line_error[u] + distance_to_segment(position[u], position[other], position[v])
            if other == v or error > bound:
                continue
        if not keeps_shape(u, v, star_u, nu, star_v, nv, face, position, uv, textured, group, bound, ground):
            continue
        if not stays_near(u, v, star_u, nu, star_v, nv, face, position, bound, limit, points, chain, place, ground):
            continue
        change = volume_change(u, v, star_u, nu, face, position)
        if abs(moved[owner] + change) > room[owner]:
            continue
        moved[owner] += change
        line_error[v] = max(line_error[v], error)
        settle(star_u, nu, points, chain, place)
        removed = _pull(u, v, star_u, nu, face, uv, textured, group, alive, touched, head, following)
        left -= removed
        faces_left[owner] -= removed
        gone[u] = True
        q[v] += q[u]
        stamp[v] += 1
        nv = star_of(v, face, alive, head, following, star_v)
        for i in range(max(nv, 0)):
            f, k = star_v[i] // 3, star_v[i] % 3
            for step in range(1, 3):
                w = face[f, (k + step) % 3]
                if not frozen[v]:
                    heapq.heappush(heap, (edge_cost(q[v], q[w], position[w], position[v]), v, w, stamp[v], stamp[w]))
                if not frozen[w]:
                    heapq.heappush(heap, (edge_cost(q[v], q[w], position[v], position[w]), w, v, stamp[w], stamp[v]))
    return alive, touched


@numba.njit(cache=True)
def _corner_lists(vertices, face):  # type: ignore[no-untyped-def]
    """The triangles at each corner as a linked list: its first (V,), the one after each (3F,)."""
    head, following = np.full(vertices, -1, np.int64), np.full(3 * len(face), -1, np.int64)
    for corner in range(3 * len(face) - 1, -1, -1):
        u = face[corner // 3, corner % 3]
        following[corner] = head[u]
        head[u] = corner
    return head, following


@numba.njit(cache=True)
def _point_lists(vertices, face):  # type: ignore[no-untyped-def]
    """The original corners nearest to each triangle as a linked list: its first (F,), the one after each (V,); and the
    triangle of each (V,). At the start any triangle that a corner belongs to."""
    points, chain = np.full(len(face), -1, np.int64), np.full(vertices, -1, np.int64)
    place = np.full(vertices, -1, np.int64)
    for f in range(len(face)):
        for k in range(3):
            u = face[f, k]
            if place[u] < 0:
                place[u] = f
                chain[u] = points[f]
                points[f] = u
    return points, chain, place


@numba.njit(cache=True)
def _first_heap(position, face, q, frozen):  # type: ignore[no-untyped-def]
    """Every edge both ways: (cost, corner that goes, corner that stays, their stamps)."""
    heap = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0))]
    heap.pop()
    for f in range(len(face)):
        for k in range(3):
            u, v = face[f, k], face[f, (k + 1) % 3]
            if not frozen[u]:
                heap.append((edge_cost(q[u], q[v], position[v], position[u]), u, v, np.int64(0), np.int64(0)))
            if not frozen[v]:
                heap.append((edge_cost(q[u], q[v], position[u], position[v]), v, u, np.int64(0), np.int64(0)))
    heapq.heapify(heap)
    return heap


@numba.njit(cache=True)
def _pull(u, v, star_u, nu, face, uv, textured, group, alive, touched, head, following):  # type: ignore[no-untyped-def]
    """Do it. Returns how many triangles went."""
    removed = 0
    new_uv = np.zeros((nu, 2))
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        if textured[f] and face[f, (k + 1) % 3] != v and face[f, (k + 2) % 3] != v:
            g, m = source_of_uv(f, k, v, star_u, nu, face, uv, textured, group)
            new_uv[i] = uv[g, m]
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        if face[f, (k + 1) % 3] == v or face[f, (k + 2) % 3] == v:
            alive[f] = False
            removed += 1
            continue
        face[f, k] = v
        touched[f] = True
        if textured[f]:
            uv[f, k] = new_uv[i]
        following[star_u[i]] = head[v]
        head[v] = star_u[i]
    return removed

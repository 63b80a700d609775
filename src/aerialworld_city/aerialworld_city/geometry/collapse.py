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

from aerialworld_city.geometry.distances import area_vector, distance_to_segment, squared_gap, tetrahedron
from aerialworld_city.geometry.fans import MAX_STAR, lines_at, source_of_uv, star_of, uv_goes_on

#: What counts as no change, metres.
LOSSLESS = 1e-3
#: New triangles are no thinner than this unless the old one was, metres.
_THIN = 2e-3
#: Triangles thinner than this have no area, metres.
_NO_HEIGHT = 1e-4
#: Cosine of the most that a triangle turns in one collapse; where nothing may change; for textured ones the same.
_TURN, _TURN_LOSSLESS = 0.6, 0.9


@numba.njit(cache=True)
def _add_plane(q, nx, ny, nz, d, weight):  # type: ignore[no-untyped-def]
    q[0] += weight * nx * nx
    q[1] += weight * nx * ny
    q[2] += weight * nx * nz
    q[3] += weight * nx * d
    q[4] += weight * ny * ny
    q[5] += weight * ny * nz
    q[6] += weight * ny * d
    q[7] += weight * nz * nz
    q[8] += weight * nz * d
    q[9] += weight * d * d


@numba.njit(cache=True)
def _cost(q, r, p, o):  # type: ignore[no-untyped-def]
    """Error of two quadrics at p, plus a trace of the edge's length so that short edges go first among equals."""
    x, y, z = p[0], p[1], p[2]
    s = q + r
    e = s[0] * x * x + s[4] * y * y + s[7] * z * z + s[9]
    e += 2 * (s[1] * x * y + s[2] * x * z + s[5] * y * z + s[3] * x + s[6] * y + s[8] * z)
    return max(e, 0.0) + 1e-9 * ((x - o[0]) ** 2 + (y - o[1]) ** 2 + (z - o[2]) ** 2)


@numba.njit(cache=True)
def _quadrics(position, face, group, textured, uv, head, following, ground):  # type: ignore[no-untyped-def]
    """(V, 10) of each corner: its triangles' planes by area, and upright planes along lines that must stay."""
    q = np.zeros((len(position), 10))
    alive = np.ones(len(face), np.bool_)
    star = np.empty(MAX_STAR, np.int64)
    ends = np.empty(2, np.int64)
    for f in range(len(face)):
        a, b, c = position[face[f, 0]], position[face[f, 1]], position[face[f, 2]]
        nx, ny, nz = area_vector(a, b, c)
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length <= 0:
            continue
        weight = length / 6.0
        nx, ny, nz = nx / length, ny / length, nz / length
        d = -(nx * a[0] + ny * a[1] + nz * a[2])
        if ground:  # vertical distance, not that across the slope
            weight /= max(nz * nz, 1e-3)
        for k in range(3):
            _add_plane(q[face[f, k]], nx, ny, nz, d, weight)
    for u in range(len(position)):
        count = star_of(u, face, alive, head, following, star)
        if count <= 0:
            continue
        lines, _ = lines_at(star, count, face, group, textured, uv, ends)
        if lines != 2:
            continue
        for e in ends:
            for i in range(count):
                f, k = star[i] // 3, star[i] % 3
                if face[f, (k + 1) % 3] != e and face[f, (k + 2) % 3] != e:
                    continue
                nx, ny, nz = area_vector(position[face[f, 0]], position[face[f, 1]], position[face[f, 2]])
                ex, ey, ez = (
                    position[e, 0] - position[u, 0],
                    position[e, 1] - position[u, 1],
                    position[e, 2] - position[u, 2],
                )
                mx, my, mz = ny * ez - nz * ey, nz * ex - nx * ez, nx * ey - ny * ex
                length = np.sqrt(mx * mx + my * my + mz * mz)
                if length > 0:
                    mx, my, mz = mx / length, my / length, mz / length
                    d = -(mx * position[u, 0] + my * position[u, 1] + mz * position[u, 2])
                    _add_plane(q[u], mx, my, mz, d, ex * ex + ey * ey + ez * ez)
    return q


@numba.njit(cache=True)
def _turns_over(a, b, c, p, cosine, ground):  # type: ignore[no-untyped-def]
    """Whether triangle (a, b, c) turned too far, or grew too thin, with p in place of a."""
    ox, oy, oz = area_vector(a, b, c)
    nx, ny, nz = area_vector(p, b, c)
    before, after = np.sqrt(ox * ox + oy * oy + oz * oz), np.sqrt(nx * nx + ny * ny + nz * nz)
    longest, old_longest = 0.0, 0.0
    for axis in range(3):
        longest += (b[axis] - c[axis]) ** 2
    old_longest = longest
    bp = (b[0] - p[0]) ** 2 + (b[1] - p[1]) ** 2 + (b[2] - p[2]) ** 2
    cp = (c[0] - p[0]) ** 2 + (c[1] - p[1]) ** 2 + (c[2] - p[2]) ** 2
    ab = (b[0] - a[0]) ** 2 + (b[1] - a[1]) ** 2 + (b[2] - a[2]) ** 2
    ac = (c[0] - a[0]) ** 2 + (c[1] - a[1]) ** 2 + (c[2] - a[2]) ** 2
    longest, old_longest = np.sqrt(max(longest, bp, cp)), np.sqrt(max(old_longest, ab, ac))
    if before / max(old_longest, 1e-12) < _NO_HEIGHT:
        # A triangle without area closes a line; its normal says nothing, so it has to stay without.
        return after / longest >= _NO_HEIGHT
    if after / longest < min(_THIN, 0.99 * before / old_longest):
        return True
    if ground and nz <= 1e-3 * longest:
        return True
    return ox * nx + oy * ny + oz * nz < cosine * before * after


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
    q = _quadrics(position, face, group, textured, uv, head, following, ground)
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
        if not _may(u, v, star_u, nu, star_v, nv, face, position, uv, textured, group, bound, ground):
            continue
        if not _near(u, v, star_u, nu, star_v, nv, face, position, bound, limit, points, chain, place, ground):
            continue
        change = _volume_change(u, v, star_u, nu, face, position)
        if abs(moved[owner] + change) > room[owner]:
            continue
        moved[owner] += change
        line_error[v] = max(line_error[v], error)
        _settle(star_u, nu, points, chain, place)
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
                    heapq.heappush(heap, (_cost(q[v], q[w], position[w], position[v]), v, w, stamp[v], stamp[w]))
                if not frozen[w]:
                    heapq.heappush(heap, (_cost(q[v], q[w], position[v], position[w]), w, v, stamp[w], stamp[v]))
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
                heap.append((_cost(q[u], q[v], position[v], position[u]), u, v, np.int64(0), np.int64(0)))
            if not frozen[v]:
                heap.append((_cost(q[u], q[v], position[u], position[v]), v, u, np.int64(0), np.int64(0)))
    heapq.heapify(heap)
    return heap


@numba.njit(cache=True)
def _volume_change(u, v, star_u, nu, face, position):  # type: ignore[no-untyped-def]
    """By how much a closed shell's volume grows when u is pulled onto v, m³."""
    change = 0.0
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
        change -= tetrahedron(position[u], position[b], position[c])
        if b != v and c != v:
            change += tetrahedron(position[v], position[b], position[c])
    return change / 6.0


@numba.njit(cache=True)
def _may(u, v, star_u, nu, star_v, nv, face, position, uv, textured, group, bound, ground):  # type: ignore[no-untyped-def]
    """Whether u may be pulled onto v as far as topology, turning and texture go."""
    shared = 0
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        if face[f, (k + 1) % 3] == v or face[f, (k + 2) % 3] == v:
            shared += 1
    if shared == 0 or shared == nu or shared == nv:
        return False
    # The link condition: no neighbours in common but the shared triangles' third corners, no edge across from both.
    common = 0
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        for place in range(1, 3):
            w = face[f, (k + place) % 3]
            if w == v:
                continue
            seen = False
            for j in range(i):
                g, m = star_u[j] // 3, star_u[j] % 3
                seen = seen or face[g, (m + 1) % 3] == w or face[g, (m + 2) % 3] == w
            if place == 2 and face[f, (k + 1) % 3] == w:
                seen = True
            if seen:
                continue
            for j in range(nv):
                g, m = star_v[j] // 3, star_v[j] % 3
                if face[g, (m + 1) % 3] == w or face[g, (m + 2) % 3] == w:
                    common += 1
                    break
    if common != shared:
        return False
    cosine = _TURN_LOSSLESS if bound <= LOSSLESS else _TURN
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
        if b == v or c == v:
            continue
        for j in range(nv):
            g, m = star_v[j] // 3, star_v[j] % 3
            d, e = face[g, (m + 1) % 3], face[g, (m + 2) % 3]
            if (d == b and e == c) or (d == c and e == b):
                return False
        if _turns_over(position[u], position[b], position[c], position[v], cosine, ground):
            return False
        if textured[f]:
            g, m = source_of_uv(f, k, v, star_u, nu, face, uv, textured, group)
            if g < 0 or not uv_goes_on(f, k, uv[g, m], position, face, uv, v):
                return False
    return True


@numba.njit(cache=True)
def _near(u, v, star_u, nu, star_v, nv, face, position, bound, limit, points, chain, place, ground):  # type: ignore[no-untyped-def]
    """Whether all original corners on u's triangles stay near those that come, and the middles of these near what was
    there; `place` is told which triangle is nearest to each corner."""
    square = bound * bound
    middle = np.empty(3)
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
        if b == v or c == v:
            continue
        for axis in range(3):
            middle[axis] = (position[v, axis] + position[b, axis] + position[c, axis]) / 3.0
        best = np.inf
        for j in range(nu):
            g, m = star_u[j] // 3, star_u[j] % 3
            d, e = face[g, (m + 1) % 3], face[g, (m + 2) % 3]
            best = min(best, squared_gap(middle, position[u], position[d], position[e], ground))
        if best > square and (not ground or best < np.inf):
            return False
    for s in range(nu):
        point = points[star_u[s] // 3]
        while point >= 0:
            best = np.inf
            for i in range(nu):
                f, k = star_u[i] // 3, star_u[i] % 3
                b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
                if b != v and c != v:
                    gap = squared_gap(position[point], position[v], position[b], position[c], ground)
                    if gap < best:
                        best, place[point] = gap, f
            for j in range(nv):
                g, m = star_v[j] // 3, star_v[j] % 3
                d, e = face[g, (m + 1) % 3], face[g, (m + 2) % 3]
                if d != u and e != u:
                    gap = squared_gap(position[point], position[v], position[d], position[e], ground)
                    if gap < best:
                        best, place[point] = gap, g
            if best > min(square, limit[point] * limit[point]):
                return False
            point = chain[point]
    return True


@numba.njit(cache=True)
def _settle(star_u, nu, points, chain, place):  # type: ignore[no-untyped-def]
    """Move the original corners on u's triangles to the triangles that `_near` found."""
    moving = np.int64(-1)
    for s in range(nu):
        f = star_u[s] // 3
        point = points[f]
        points[f] = -1
        while point >= 0:
            after = chain[point]
            chain[point] = moving
            moving = point
            point = after
    while moving >= 0:
        after = chain[moving]
        f = place[moving]
        chain[moving] = points[f]
        points[f] = moving
        moving = after


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

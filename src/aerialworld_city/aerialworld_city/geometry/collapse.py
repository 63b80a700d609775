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

#: Corners with more triangles than this stay.
_STAR = 96
#: What counts as no change, metres and image sizes.
LOSSLESS, UV_STEP = 1e-3, 5e-4
#: New triangles are no thinner than this unless the old one was, metres.
_THIN = 2e-3
#: Cosine of the most that a triangle turns in one collapse; where nothing may change; for textured ones the same.
_TURN, _TURN_LOSSLESS = 0.6, 0.9


@numba.njit(cache=True)
def distance_to_triangle(p, a, b, c):  # type: ignore[no-untyped-def]  # numba infers
    """Squared distance of a point to a triangle (Ericson, Real-Time Collision Detection, 5.1.5)."""
    ab0, ab1, ab2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    ac0, ac1, ac2 = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    ap0, ap1, ap2 = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1 = ab0 * ap0 + ab1 * ap1 + ab2 * ap2
    d2 = ac0 * ap0 + ac1 * ap1 + ac2 * ap2
    if d1 <= 0 and d2 <= 0:
        return ap0 * ap0 + ap1 * ap1 + ap2 * ap2
    bp0, bp1, bp2 = p[0] - b[0], p[1] - b[1], p[2] - b[2]
    d3 = ab0 * bp0 + ab1 * bp1 + ab2 * bp2
    d4 = ac0 * bp0 + ac1 * bp1 + ac2 * bp2
    if d3 >= 0 and d4 <= d3:
        return bp0 * bp0 + bp1 * bp1 + bp2 * bp2
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0 and d1 - d3 > 0:
        t = d1 / (d1 - d3)
        x, y, z = ap0 - t * ab0, ap1 - t * ab1, ap2 - t * ab2
        return x * x + y * y + z * z
    cp0, cp1, cp2 = p[0] - c[0], p[1] - c[1], p[2] - c[2]
    d5 = ab0 * cp0 + ab1 * cp1 + ab2 * cp2
    d6 = ac0 * cp0 + ac1 * cp1 + ac2 * cp2
    if d6 >= 0 and d5 <= d6:
        return cp0 * cp0 + cp1 * cp1 + cp2 * cp2
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0 and d2 - d6 > 0:
        t = d2 / (d2 - d6)
        x, y, z = ap0 - t * ac0, ap1 - t * ac1, ap2 - t * ac2
        return x * x + y * y + z * z
    va = d3 * d6 - d5 * d4
    if va <= 0 and (d4 - d3) >= 0 and (d5 - d6) >= 0 and (d4 - d3) + (d5 - d6) > 0:
        t = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        x, y, z = bp0 - t * (c[0] - b[0]), bp1 - t * (c[1] - b[1]), bp2 - t * (c[2] - b[2])
        return x * x + y * y + z * z
    total = va + vb + vc
    if total <= 0:
        return min(
            ap0 * ap0 + ap1 * ap1 + ap2 * ap2, bp0 * bp0 + bp1 * bp1 + bp2 * bp2, cp0 * cp0 + cp1 * cp1 + cp2 * cp2
        )
    v, w = vb / total, vc / total
    x, y, z = ap0 - v * ab0 - w * ac0, ap1 - v * ab1 - w * ac1, ap2 - v * ab2 - w * ac2
    return x * x + y * y + z * z


@numba.njit(cache=True)
def _height_gap(p, a, b, c):  # type: ignore[no-untyped-def]
    """Squared vertical distance of a point to the triangle over or under it; infinite beside it."""
    doubled = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if doubled <= 0:
        return np.inf
    v = ((p[0] - a[0]) * (c[1] - a[1]) - (p[1] - a[1]) * (c[0] - a[0])) / doubled
    w = ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])) / doubled
    slack = 1e-9
    if v < -slack or w < -slack or v + w > 1 + slack:
        return np.inf
    gap = p[2] - (a[2] + v * (b[2] - a[2]) + w * (c[2] - a[2]))
    return gap * gap


@numba.njit(cache=True)
def _gap(p, a, b, c, ground):  # type: ignore[no-untyped-def]
    if ground:
        return _height_gap(p, a, b, c)
    return distance_to_triangle(p, a, b, c)


@numba.njit(cache=True)
def _distance_to_segment(p, a, b):  # type: ignore[no-untyped-def]
    ab = b - a
    length = ab[0] * ab[0] + ab[1] * ab[1] + ab[2] * ab[2]
    t = 0.0
    if length > 0:
        t = ((p[0] - a[0]) * ab[0] + (p[1] - a[1]) * ab[1] + (p[2] - a[2]) * ab[2]) / length
        t = min(1.0, max(0.0, t))
    x, y, z = p[0] - a[0] - t * ab[0], p[1] - a[1] - t * ab[1], p[2] - a[2] - t * ab[2]
    return np.sqrt(x * x + y * y + z * z)


@numba.njit(cache=True)
def _normal(a, b, c):  # type: ignore[no-untyped-def]
    """Twice the area's vector."""
    x1, y1, z1 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    x2, y2, z2 = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2


@numba.njit(cache=True)
def _tetrahedron(a, b, c):  # type: ignore[no-untyped-def]
    """Six times the signed volume with the origin."""
    return a[0] * (b[1] * c[2] - b[2] * c[1]) + a[1] * (b[2] * c[0] - b[0] * c[2]) + a[2] * (b[0] * c[1] - b[1] * c[0])


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
def _star(u, face, alive, head, following, out):  # type: ignore[no-untyped-def]
    """Corners (3·face + place) of the living triangles at u; −1 when there are too many. Cleans the list on the way."""
    count = 0
    before = -1
    corner = head[u]
    while corner >= 0:
        after = following[corner]
        if alive[corner // 3] and face[corner // 3, corner % 3] == u:
            if count == _STAR:
                return -1
            out[count] = corner
            count += 1
            before = corner
        elif before >= 0:
            following[before] = after
        else:
            head[u] = after
        corner = after
    return count


@numba.njit(cache=True)
def _seam(f, i, j, g, k, m, group, textured, uv):  # type: ignore[no-untyped-def]
    """Whether the edge that triangle f has at places i, j and g at k, m parts two groups or two texture charts."""
    if group[f] != group[g]:
        return True
    if not textured[f]:
        return False
    for axis in range(2):
        if abs(uv[f, i, axis] - uv[g, k, axis]) > UV_STEP or abs(uv[f, j, axis] - uv[g, m, axis]) > UV_STEP:
            return True
    return False


@numba.njit(cache=True)
def _lines(star, count, face, group, textured, uv, ends):  # type: ignore[no-untyped-def]
    """How many of a corner's edges part groups or are open, the first two's other ends in `ends`, whether any is open.

    −1 for a corner whose triangles are no single fan.
    """
    lines, is_open = 0, False
    start = 0
    for i in range(count):
        f, k = star[i] // 3, star[i] % 3
        b = face[f, (k + 1) % 3]
        mates, mate = 0, -1
        for j in range(count):
            g, m = star[j] // 3, star[j] % 3
            if face[g, (m + 2) % 3] == b:
                mates += 1
                mate = j
            if j != i and face[g, (m + 1) % 3] == b:
                return -1, False
        if mates > 1:
            return -1, False
        if mates == 0:
            is_open = True
            start = i
        line = mates == 0
        if mates == 1:
            g, m = star[mate] // 3, star[mate] % 3
            line = _seam(f, k, (k + 1) % 3, g, m, (m + 2) % 3, group, textured, uv)
        if line:
            if lines < 2:
                ends[lines] = b
            lines += 1
    # Once round from the open end (or anywhere): every triangle must be met.
    at, met = start, 1
    while met < count:
        f, k = star[at] // 3, star[at] % 3
        c = face[f, (k + 2) % 3]
        found = -1
        for j in range(count):
            g, m = star[j] // 3, star[j] % 3
            if face[g, (m + 1) % 3] == c:
                found = j
        if found < 0 or found == start:
            break
        at = found
        met += 1
    if met < count:
        return -1, False
    if is_open:
        f, k = star[at] // 3, star[at] % 3
        if lines < 2:
            ends[lines] = face[f, (k + 2) % 3]
        lines += 1
    return lines, is_open


@numba.njit(cache=True)
def _quadrics(position, face, group, textured, uv, head, following, ground):  # type: ignore[no-untyped-def]
    """(V, 10) of each corner: its triangles' planes by area, and upright planes along lines that must stay."""
    q = np.zeros((len(position), 10))
    alive = np.ones(len(face), np.bool_)
    star = np.empty(_STAR, np.int64)
    ends = np.empty(2, np.int64)
    for f in range(len(face)):
        a, b, c = position[face[f, 0]], position[face[f, 1]], position[face[f, 2]]
        nx, ny, nz = _normal(a, b, c)
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
        count = _star(u, face, alive, head, following, star)
        if count <= 0:
            continue
        lines, _ = _lines(star, count, face, group, textured, uv, ends)
        if lines != 2:
            continue
        for e in ends:
            for i in range(count):
                f, k = star[i] // 3, star[i] % 3
                if face[f, (k + 1) % 3] != e and face[f, (k + 2) % 3] != e:
                    continue
                nx, ny, nz = _normal(position[face[f, 0]], position[face[f, 1]], position[face[f, 2]])
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
def _uv_goes_on(f, k, v_uv, position, face, uv, target):  # type: ignore[no-untyped-def]
    """Whether triangle f's own affine texture map gives v_uv at the place of corner `target`."""
    a, b, c = position[face[f, k]], position[face[f, (k + 1) % 3]], position[face[f, (k + 2) % 3]]
    nx, ny, nz = _normal(a, b, c)
    square = nx * nx + ny * ny + nz * nz
    if square < 1e-12:
        return False
    p = position[target]
    px, py, pz = _normal(a, p, c)
    v = (px * nx + py * ny + pz * nz) / square
    px, py, pz = _normal(a, b, p)
    w = (px * nx + py * ny + pz * nz) / square
    for axis in range(2):
        ua, ub, uc = uv[f, k, axis], uv[f, (k + 1) % 3, axis], uv[f, (k + 2) % 3, axis]
        if abs(ua + v * (ub - ua) + w * (uc - ua) - v_uv[axis]) > UV_STEP:
            return False
    return True


@numba.njit(cache=True)
def _turns_over(a, b, c, p, cosine, ground):  # type: ignore[no-untyped-def]
    """Whether triangle (a, b, c) turned too far, or grew too thin, with p in place of a."""
    ox, oy, oz = _normal(a, b, c)
    nx, ny, nz = _normal(p, b, c)
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
    if after <= 0:
        return True
    if after / longest < min(_THIN, 0.99 * before / max(old_longest, 1e-12)):
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
    vertices, faces = len(position), len(face)
    head = np.full(vertices, -1, np.int64)
    following = np.full(3 * faces, -1, np.int64)
    for corner in range(3 * faces - 1, -1, -1):
        u = face[corner // 3, corner % 3]
        following[corner] = head[u]
        head[u] = corner
    alive = np.ones(faces, np.bool_)
    touched = np.zeros(faces, np.bool_)
    q = _quadrics(position, face, group, textured, uv, head, following, ground)
    stamp = np.zeros(vertices, np.int64)
    gone = np.zeros(vertices, np.bool_)
    # Original corners that lie nearest to a triangle: a linked list for each.
    points, chain = np.full(faces, -1, np.int64), np.full(vertices, -1, np.int64)
    place = np.full(vertices, -1, np.int64)
    for f in range(faces):
        for k in range(3):
            u = face[f, k]
            if place[u] < 0:
                place[u] = f
                chain[u] = points[f]
                points[f] = u
    line_error = np.zeros(vertices)
    moved = np.zeros(len(room))
    star_u, star_v = np.empty(_STAR, np.int64), np.empty(_STAR, np.int64)
    ends = np.empty(2, np.int64)
    heap = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0))]
    heap.pop()
    for f in range(faces):
        for k in range(3):
            u, v = face[f, k], face[f, (k + 1) % 3]
            if not frozen[u]:
                heap.append((_cost(q[u], q[v], position[v], position[u]), u, v, np.int64(0), np.int64(0)))
            if not frozen[v]:
                heap.append((_cost(q[u], q[v], position[u], position[v]), v, u, np.int64(0), np.int64(0)))
    heapq.heapify(heap)
    left = faces
    while left > target and len(heap) > 0:
        _, u, v, su, sv = heapq.heappop(heap)
        if gone[u] or gone[v] or stamp[u] != su or stamp[v] != sv:
            continue
        owner = feature[u]
        if faces_left[owner] <= 12:
            continue
        nu = _star(u, face, alive, head, following, star_u)
        nv = _star(v, face, alive, head, following, star_v)
        if nu <= 0 or nv <= 0 or nu + nv > _STAR:
            continue
        lines, is_open = _lines(star_u, nu, face, group, textured, uv, ends)
        if lines != 0 and lines != 2:
            continue
        if lines == 2 and v != ends[0] and v != ends[1]:
            continue
        bound = limit[u]
        if is_open and closed[owner]:
            bound = min(bound, LOSSLESS)
        for i in range(nu):
            if textured[star_u[i] // 3]:
                bound = min(bound, LOSSLESS)
        error = 0.0
        if lines == 2:
            other = ends[0] if v == ends[1] else ends[1]
            error = line_error[u] + _distance_to_segment(position[u], position[other], position[v])
            if other == v or error > bound:
                continue
        if not _may(u, v, star_u, nu, star_v, nv, face, position, uv, textured, group, bound, ground):
            continue
        if not _near(u, v, star_u, nu, star_v, nv, face, position, bound, limit, points, chain, place, ground):
            continue
        change = 0.0
        for i in range(nu):
            f, k = star_u[i] // 3, star_u[i] % 3
            b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
            change -= _tetrahedron(position[u], position[b], position[c])
            if b != v and c != v:
                change += _tetrahedron(position[v], position[b], position[c])
        if abs(moved[owner] + change / 6.0) > room[owner]:
            continue
        moved[owner] += change / 6.0
        line_error[v] = max(line_error[v], error)
        _settle(star_u, nu, points, chain, place)
        removed = _pull(u, v, star_u, nu, face, uv, textured, group, alive, touched, head, following)
        left -= removed
        faces_left[owner] -= removed
        gone[u] = True
        q[v] += q[u]
        stamp[v] += 1
        nv = _star(v, face, alive, head, following, star_v)
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
            g, m = _source_of_uv(f, k, v, star_u, nu, face, uv, textured, group)
            if g < 0 or not _uv_goes_on(f, k, uv[g, m], position, face, uv, v):
                return False
    return True


@numba.njit(cache=True)
def _near(u, v, star_u, nu, star_v, nv, face, position, bound, limit, points, chain, place, ground):  # type: ignore[no-untyped-def]
    """Whether all original corners on u's triangles stay near those that come; `place` is told which is nearest."""
    square = bound * bound
    for s in range(nu):
        point = points[star_u[s] // 3]
        while point >= 0:
            best = np.inf
            for i in range(nu):
                f, k = star_u[i] // 3, star_u[i] % 3
                b, c = face[f, (k + 1) % 3], face[f, (k + 2) % 3]
                if b != v and c != v:
                    gap = _gap(position[point], position[v], position[b], position[c], ground)
                    if gap < best:
                        best, place[point] = gap, f
            for j in range(nv):
                g, m = star_v[j] // 3, star_v[j] % 3
                d, e = face[g, (m + 1) % 3], face[g, (m + 2) % 3]
                if d != u and e != u:
                    gap = _gap(position[point], position[v], position[d], position[e], ground)
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
def _source_of_uv(f, k, v, star_u, nu, face, uv, textured, group):  # type: ignore[no-untyped-def]
    """The triangle at the collapsing edge on f's own side of any seam, and v's place in it; (−1, 0) when unclear."""
    u_axis0, u_axis1 = uv[f, k, 0], uv[f, k, 1]
    found, place = -1, 0
    for i in range(nu):
        g, m = star_u[i] // 3, star_u[i] % 3
        if group[g] != group[f] or not textured[g]:
            continue
        if abs(uv[g, m, 0] - u_axis0) > UV_STEP or abs(uv[g, m, 1] - u_axis1) > UV_STEP:
            continue
        for step in range(1, 3):
            n = (m + step) % 3
            if face[g, n] == v:
                if found >= 0 and (
                    abs(uv[g, n, 0] - uv[found, place, 0]) > UV_STEP or abs(uv[g, n, 1] - uv[found, place, 1]) > UV_STEP
                ):
                    return -1, 0
                found, place = g, n
    return found, place


@numba.njit(cache=True)
def _pull(u, v, star_u, nu, face, uv, textured, group, alive, touched, head, following):  # type: ignore[no-untyped-def]
    """Do it. Returns how many triangles went."""
    removed = 0
    new_uv = np.zeros((nu, 2))
    for i in range(nu):
        f, k = star_u[i] // 3, star_u[i] % 3
        if textured[f] and face[f, (k + 1) % 3] != v and face[f, (k + 2) % 3] != v:
            g, m = _source_of_uv(f, k, v, star_u, nu, face, uv, textured, group)
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

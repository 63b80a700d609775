"""Nearest front faces in warp: the static world as a `wp.Mesh`, the movers as a `wp.Bvh`.

`wp.mesh_query_ray` gives the nearest hit of all, from either side; it tests triangles watertight (Woop, Benthin and
Wald, 2013) but its boxes have no margin, so that a ray within a rounding of a box's edge may slip past it. Both are
mended here: a ray that meets nothing, or meets a face from behind, is cast again a few roundings aside and goes on
behind each face that it may not see, and what is found is measured along the ray itself, in float64. Movers are few:
all boxes on the ray are looked through, with a margin, so that the answer does not depend on how their tree is built.
"""

# Warp compiles these bodies; its types are not Python's.
# mypy: disable-error-code="arg-type, assignment, attr-defined, call-overload, index, misc, no-any-return, operator"
# mypy: disable-error-code="return-value, type-var"

import warp as wp

#: Faces that one ray may pass from behind; one that passes more has met nothing.
MOST_PASSED = 1000
#: How far aside a ray is cast again, as a part of its length: some float32 roundings.
ASIDE = 1e-6


@wp.struct
class Geometry:
    """`city` is the id of a wp.Mesh, `movers` of a wp.Bvh over the F triangles of those present (0: none), which have
    `corners` (3 F,) in map, the `owner` (F,) that does not see them and `rows` (F,) of the scene's surfaces, ascending,
    all from `first` on."""

    city: wp.uint64
    movers: wp.uint64
    corners: wp.array[wp.vec3]
    owner: wp.array[wp.int32]
    rows: wp.array[wp.int32]
    first: wp.int32


@wp.struct
class Hit:
    """`row` of the scene's surfaces (−1: none), `t` in units of the ray's direction, `u`, `v` the weights of the second
    and third corner."""

    row: wp.int32
    t: wp.float32
    u: wp.float32
    v: wp.float32


@wp.struct
class Meeting:
    """A ray and one triangle: `side` is 1 from the front, −1 from behind, 0 beside it; t, u, v are its plane's."""

    side: wp.int32
    t: wp.float32
    u: wp.float32
    v: wp.float32


@wp.func
def doubled(v: wp.vec3) -> wp.vec3d:
    return wp.vec3d(wp.float64(v[0]), wp.float64(v[1]), wp.float64(v[2]))


@wp.func
def single(v: wp.vec3d) -> wp.vec3:
    return wp.vec3(wp.float32(v[0]), wp.float32(v[1]), wp.float32(v[2]))


@wp.func
def meet(o: wp.vec3d, d: wp.vec3d, first: wp.vec3, second: wp.vec3, third: wp.vec3) -> Meeting:
    """Signed volumes of the ray with the three edges: two triangles that share an edge judge it alike."""
    a, b, c = doubled(first) - o, doubled(second) - o, doubled(third) - o
    along_a = wp.dot(d, wp.cross(c, b))
    along_b = wp.dot(d, wp.cross(a, c))
    along_c = wp.dot(d, wp.cross(b, a))
    whole = along_a + along_b + along_c
    zero = wp.float64(0.0)
    meeting = Meeting()
    meeting.side = 0
    meeting.t = -1.0
    if whole != zero:
        normal = wp.cross(b - a, c - a)
        slope = wp.dot(d, normal)
        if slope != zero:
            meeting.t = wp.float32(wp.dot(a, normal) / slope)
        meeting.u = wp.float32(along_b / whole)
        meeting.v = wp.float32(along_c / whole)
        if along_a >= zero and along_b >= zero and along_c >= zero:
            meeting.side = 1
        if along_a <= zero and along_b <= zero and along_c <= zero:
            meeting.side = -1
    return meeting


@wp.func
def meet_static(mesh: wp.uint64, face: wp.int32, o: wp.vec3d, d: wp.vec3d) -> Meeting:
    return meet(
        o,
        d,
        wp.mesh_get_point(mesh, 3 * face),
        wp.mesh_get_point(mesh, 3 * face + 1),
        wp.mesh_get_point(mesh, 3 * face + 2),
    )


@wp.func
def meet_found(mesh: wp.uint64, face: wp.int32, o: wp.vec3d, d: wp.vec3d, coarse: wp.float32) -> Meeting:
    """As meet_static, for a face that a query has found about `coarse` away: the plane of a sliver is not to be
    trusted."""
    m = meet_static(mesh, face, o, d)
    if wp.abs(m.t - coarse) > 1e-4 * coarse + 0.01:
        m.t = coarse
    return m


@wp.func
def rounding(o: wp.vec3, d: wp.vec3, t: wp.float32) -> wp.float32:
    """More than float32 rounds o + t·d by, in units of t."""
    return 1e-5 / wp.length(d) + 5e-7 * (wp.length(o) / wp.length(d) + t)


@wp.func
def turned_aside(d: wp.vec3, again: wp.bool) -> wp.vec3:
    """The direction a few roundings beside `d`, along no axis; `again`, square to the first."""
    other = wp.vec3(0.36, 0.48, 0.8)
    if wp.abs(wp.dot(other, d)) > 0.9 * wp.length(d):
        other = wp.vec3(0.48, 0.8, -0.36)
    first = wp.cross(d, other)
    if again:
        return d + (ASIDE / wp.length(d)) * wp.cross(d, first)
    return d + ASIDE * first


@wp.func
def front_between(
    mesh: wp.uint64, o: wp.vec3d, d: wp.vec3d, low: wp.float32, high: wp.float32, margin: wp.float32
) -> Hit:
    """The nearest front face with low ≤ t ≤ high, a short way that a ray is about to be carried over."""
    p, q = single(o + wp.float64(low) * d), single(o + wp.float64(high) * d)
    pad = margin * wp.length(single(d))
    around = wp.vec3(pad, pad, pad)
    hit = Hit()
    hit.row = -1
    hit.t = high
    face = wp.int32(0)
    query = wp.mesh_query_aabb(mesh, wp.min(p, q) - around, wp.max(p, q) + around)
    while wp.mesh_query_aabb_next(query, face):
        m = meet_static(mesh, face, o, d)
        if m.side > 0 and m.t >= low and (m.t < hit.t or (m.t == hit.t and (hit.row < 0 or face < hit.row))):
            hit.row = face
            hit.t = m.t
            hit.u = m.u
            hit.v = m.v
    return hit


@wp.func
def static_front(mesh: wp.uint64, o: wp.vec3d, d: wp.vec3d, near: wp.float32, far: wp.float32) -> Hit:
    """The nearest front face of the static world with near ≤ t ≤ far; without one, t is far.

    Most rays meet one at once. The others are cast again to two sides, and go on behind what they may not see.
    """
    hit = Hit()
    hit.row = -1
    hit.t = far
    if mesh == wp.uint64(0):
        return hit
    start, straight = single(o), single(d)
    ray = straight
    limit = far * 1.000001  # queries exclude their limit
    at = wp.float32(0.0)
    step = wp.float32(0.0)
    last = wp.int32(-1)
    tries = wp.int32(0)
    while tries < MOST_PASSED and at <= far:
        query = wp.mesh_query_ray(mesh, start + at * ray, ray, limit - at)
        m = Meeting()
        coarse = at + query.t
        if query.result:
            m = meet_found(mesh, query.face, o, d, coarse)
            if query.sign > 0.0 and m.t >= near:
                if m.t <= far:
                    hit.row = query.face
                    hit.t = m.t
                    hit.u = m.u
                    hit.v = m.v
                return hit
        if tries < 2:
            ray = turned_aside(straight, tries == 1)
        elif not query.result:
            return hit
        else:
            little = rounding(start, ray, coarse)
            if query.face == last:
                step = 2.0 * step  # a face that is grazed is met again a little further on
            else:
                step = little
            last = query.face
            at = wp.max(wp.max(coarse, m.t) + step, near - little)
            # A face with the same corners that faces the ray, or one that just follows, is not to be lost.
            low = wp.max(wp.min(coarse, m.t) - little, near)
            close = front_between(mesh, o, d, low, wp.min(at, far), little)
            if close.row >= 0:
                return close
        tries += 1
    return hit


@wp.func
def without_zeros(d: wp.vec3) -> wp.vec3:
    """`d` for tests against boxes, which divide by each component."""
    return wp.vec3(
        wp.where(d[0] == 0.0, 1e-20, d[0]), wp.where(d[1] == 0.0, 1e-20, d[1]), wp.where(d[2] == 0.0, 1e-20, d[2])
    )


@wp.func
def meet_mover(g: Geometry, item: wp.int32, o: wp.vec3d, d: wp.vec3d) -> Meeting:
    return meet(o, d, g.corners[3 * item], g.corners[3 * item + 1], g.corners[3 * item + 2])


@wp.func
def front(g: Geometry, o: wp.vec3d, d: wp.vec3d, near: wp.float32, far: wp.float32, viewer: wp.int32) -> Hit:
    """The nearest front face with near ≤ t ≤ far, of the static world or of movers that the viewer does not own."""
    hit = static_front(g.city, o, d, near, far)
    if g.movers == wp.uint64(0):
        return hit
    item = wp.int32(0)
    query = wp.bvh_query_ray(g.movers, single(o), without_zeros(single(d)))
    while wp.bvh_query_next(query, item, hit.t * 1.000001):
        if viewer < 0 or g.owner[item] != viewer:
            m = meet_mover(g, item, o, d)
            row = g.rows[item]
            if m.side > 0 and m.t >= near:
                # Of faces at the same distance the first of the movers counts, whatever the order of the tree.
                if m.t < hit.t or (m.t == hit.t and (hit.row < 0 or (hit.row >= g.first and row < hit.row))):
                    hit.row = row
                    hit.t = m.t
                    hit.u = m.u
                    hit.v = m.v
    return hit


@wp.func
def occluded(g: Geometry, o: wp.vec3, d: wp.vec3) -> wp.bool:
    """Whether anything lies on the ray, from whichever side."""
    if g.city != wp.uint64(0):
        if wp.mesh_query_ray_anyhit(g.city, o, d, 1.0e9):
            return True
    if g.movers != wp.uint64(0):
        item = wp.int32(0)
        query = wp.bvh_query_ray(g.movers, o, without_zeros(d))
        while wp.bvh_query_next(query, item):
            m = meet_mover(g, item, doubled(o), doubled(d))
            if m.side != 0 and m.t >= 0.0:
                return True
    return False

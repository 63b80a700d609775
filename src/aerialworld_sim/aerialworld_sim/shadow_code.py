"""Shadows of bodies that move, eight pixels at a time: where pixels lie towards the sun, and what stands over them."""

# mypy: disable-error-code="no-untyped-def, misc, unused-ignore"

from __future__ import annotations

from typing import Any

from aerialworld_core.kernels import counting, intrinsic, types
from aerialworld_sim.lanes import BYTE, FLOAT, LANES, LONG, Code, Term, eight

#: Pixels that are held against the bodies together.
CHUNK = 64
#: What is said of them: places across the sun's direction (two planes), heights towards it, then least and greatest
#: place of either, and the least height.
BOUNDS = 3 * CHUNK
PLACES = BOUNDS + LANES
#: Metres by which a triangle must stand above a point: it does not hide itself.
_ABOVE = 0.01
#: Depths beyond are nothing's.
_FAR = 1e30


@intrinsic
def sun_places(typing_context, depth, lefts, ups, left, step, up, turned, places, n):
    """Where n ≤ CHUNK pixels lie along the sun's axes, from the camera, into `places` (PLACES,).

    depth  address of theirs; lefts, ups  those of their directions, or 0: then they look along (1, left + i·step, up)
    turned address of (3, 3): the camera's axes along the sun's
    """
    f, p = types.float32, types.uintp
    signature = types.void(p, p, p, f, f, f, p, p, types.intp)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        depth, lefts, ups, left, step, up, turned, places, n = arguments
        c = Code(builder)
        left, step, up = (Term(builder, value) for value in (left, step, up))
        axes = [[c.single(turned, 3 * k + j) for k in range(3)] for j in range(3)]
        ramp = c.constant(eight(FLOAT), [float(i) for i in range(LANES)])
        none = c.constant(eight(FLOAT), [float("nan")] * LANES)
        ends = [c.variable(c.constant(eight(FLOAT), [v] * LANES)) for v in (_FAR, -_FAR, _FAR, -_FAR, _FAR)]
        tables = builder.icmp_unsigned("!=", lefts, LONG(0))
        count = Term(builder, builder.sitofp(n, FLOAT))
        with c.steps(n) as i:
            place = ramp + Term(builder, builder.sitofp(i, FLOAT))
            some = place < count
            side, rise = c.variable(left + place * step), c.variable(up.spread())
            with builder.if_then(tables):
                side.set(c.load_some(lefts, i, some))
                rise.set(c.load_some(ups, i, some))
            t = c.load_some(depth, i, some)
            t = (some & (t < _FAR)).where(t, none)
            for k, axis in enumerate(axes):
                value = t * (axis[0] + side.get() * axis[1] + rise.get() * axis[2])
                c.store(value, c.at(places, k * CHUNK, 4), i, align=4 * LANES)
                ends[2 * k].set(value.least(ends[2 * k].get()))
                if k < 2:
                    ends[2 * k + 1].set(value.greatest(ends[2 * k + 1].get()))
        for k, end in enumerate(ends):
            best = Term(builder, end.get().lane(0))
            for j in range(1, LANES):
                other = Term(builder, end.get().lane(j))
                best = other.greatest(best) if k in (1, 3) else other.least(best)
            c.store(best, places, LONG(BOUNDS + k))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def hide_run(typing_context, places, n, corners, count, mask):
    """1 in the bytes at `mask` for those of n pixels (see `sun_places`) over which one of `count` triangles (9 floats
    each, along the sun's axes) stands; either side of a triangle casts a shadow."""
    p = types.uintp
    signature = types.void(p, types.intp, p, types.intp, p)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        places, n, corners, count, mask = arguments
        c = Code(builder)
        with counting(builder, count) as number:
            triangle = c.at(corners, number, 36)
            across, along, height = ([c.single(triangle, 3 * i + k) for i in range(3)] for k in range(3))
            bounds = [c.single(places, BOUNDS + k) for k in range(5)]
            meets = _meets(across, along, height, bounds)
            with builder.if_then(meets.value), c.steps(n) as i:
                a, b, h = (c.load(c.at(places, k * CHUNK, 4), i, align=4 * LANES) for k in range(3))
                x, y = [v - a for v in across], [v - b for v in along]
                edges = [x[i] * y[j] - x[j] * y[i] for i, j in ((1, 2), (2, 0), (0, 1))]
                total = edges[0] + edges[1] + edges[2]
                front = (edges[0] >= 0.0) & (edges[1] >= 0.0) & (edges[2] >= 0.0)
                back = (edges[0] <= 0.0) & (edges[1] <= 0.0) & (edges[2] <= 0.0)
                over = (edges[0] * height[0] + edges[1] * height[1] + edges[2] * height[2]) / total
                hidden = (front | back) & (over > h + _ABOVE)  # a total of 0 is no number, and over nothing
                with builder.if_then(hidden.any()):
                    pointer = builder.inttoptr(c.at(mask, i, 1), eight(BYTE).as_pointer())
                    before = builder.load(pointer)
                    before.align = 1
                    marked = builder.or_(before, builder.zext(hidden.value, eight(BYTE)))
                    builder.store(marked, pointer).align = 1
        return context.get_dummy_value()

    return signature, generate


def _meets(across: list[Term], along: list[Term], height: list[Term], bounds: list[Term]) -> Term:
    """Whether a triangle may stand over a place within the bounds."""
    least = [of[0].least(of[1]).least(of[2]) for of in (across, along)]
    greatest = [of[0].greatest(of[1]).greatest(of[2]) for of in (across, along, height)]
    inside = (least[0] <= bounds[1]) & (greatest[0] >= bounds[0])
    inside = inside & (least[1] <= bounds[3]) & (greatest[1] >= bounds[2])
    return inside & (greatest[2] > bounds[4])

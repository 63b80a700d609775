"""Eight pixels at a time: the few vector instructions that the rasteriser is made of, built by `lanes` for kernels.

Results are the same on every processor; see `lanes`.
"""

# mypy: disable-error-code="no-untyped-def, misc, unused-ignore"

from __future__ import annotations

from typing import Any

from aerialworld_core.kernels import intrinsic, types
from aerialworld_sim.lanes import BYTE, FLOAT, INT, LANES, LONG, Code, Term, eight

#: Tiles, the unit in which pictures are made, are TILE × TILE pixels.
TILE = 32
PIXELS = TILE * TILE
#: Bytes on which a tile's planes and a frustum's vectors lie.
_ALIGNED = 4 * LANES
_F = types.float32


def _plane(c: Code, base: Any, number: int) -> Any:
    """The address of a tile's plane of PIXELS fields."""
    return c.at(base, number * PIXELS, 4)


@intrinsic
def cover8(typing_context, base, offset, e0, e1, e2, z, a0, a1, a2, az, scale, face, nearest):
    """Test eight pixels against a triangle and keep where it is nearer; returns whether any was.

    `base` is the address of four planes of PIXELS fields: inverse depth, face (int32), and edge functions 1 and 2 times
    `scale`, which are the barycentrics u and v over the depth. `offset` (a multiple of 8) is the first pixel; e0, e1,
    e2, z are edge functions and inverse depth there and a0 … az their change per pixel. Inside: all edges ≥ 0, z ≤
    `nearest`, and z greater than what is stored.
    """
    signature = types.boolean(types.uintp, types.intp, *[_F] * 9, types.int32, _F)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        base, offset, *rest = arguments
        e0, e1, e2, z, a0, a1, a2, az, scale, face, nearest = (Term(builder, value) for value in rest)
        c = Code(builder)
        ramp = c.constant(eight(FLOAT), [float(i) for i in range(LANES)])
        edges = [e + a * ramp for e, a in ((e0, a0), (e1, a1), (e2, a2))]
        depth = z + az * ramp
        planes = [_plane(c, base, number) for number in range(4)]
        stored = c.load(planes[0], offset, align=_ALIGNED)
        inside = (edges[0] >= 0.0) & (edges[1] >= 0.0) & (edges[2] >= 0.0) & (depth > stored) & (depth <= nearest)
        found = inside.any()
        with builder.if_then(found):
            new = [depth, Term(builder, builder.bitcast(face.value, FLOAT)), edges[1] * scale, edges[2] * scale]
            for number, (plane, after) in enumerate(zip(planes, new, strict=True)):
                before = stored if number == 0 else c.load(plane, offset, align=_ALIGNED)
                c.store(inside.where(after, before), c.apart(plane), offset, align=_ALIGNED)
        return found

    return signature, generate


@intrinsic
def resolve8(typing_context, base, offset, face, depth, u, v):
    """Write eight pixels of a tile (see `cover8`) to the addresses given: face (int32), depth along the axis (+inf for
    face −1), and barycentrics u, v unless their addresses are 0."""
    signature = types.void(types.uintp, types.intp, *[types.uintp] * 4)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        base, offset, face, depth, u, v = arguments
        c = Code(builder)
        inverse, first, second = (c.load(_plane(c, base, k), offset, align=_ALIGNED) for k in (0, 2, 3))
        whole = c.load(_plane(c, base, 1), offset, INT, align=_ALIGNED)
        far = 1.0 / inverse
        c.store(whole, face)
        c.store((whole < 0).where(float("inf"), far), depth)
        with builder.if_then(builder.icmp_unsigned("!=", u, LONG(0))):
            c.store(first * far, u)
            c.store(second * far, v)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def least(typing_context, base, count):
    """The least of `count` (a multiple of 8, at least 8) floats at the 32-byte aligned address `base`."""
    signature = _F(types.uintp, types.intp)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        base, count = arguments
        c = Code(builder)
        lowest = c.variable(c.load(base, align=_ALIGNED))
        with c.steps(count) as i:
            lowest.set(c.load(base, i, align=_ALIGNED).least(lowest.get()))
        lanes = lowest.get()
        result = Term(builder, lanes.lane(0))
        for i in range(1, LANES):
            result = Term(builder, lanes.lane(i)).least(result)
        return result.value

    return signature, generate


@intrinsic
def box_meets(typing_context, planes, mx, my, mz, ex, ey, ez):
    """Least depth (float32) of a box that lies inside a frustum's sides, −inf to inf; inf where it is outside.

    `planes` is the address of seven vectors: normals x, y, z of eight planes, their absolute values, and what is added.
    m = low + high and e = high − low of the box. Planes 0 … 4 keep what is ≥ 0 (the sides and the front), plane 5 is
    minus the depth; values are doubled, as m and e are.
    """
    signature = _F(types.uintp, *[_F] * 6)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        base, *numbers = arguments
        c = Code(builder)
        value = c.load(base, 6 * LANES, align=_ALIGNED)
        for i, number in enumerate(numbers):
            value = value + c.load(base, i * LANES, align=_ALIGNED) * Term(builder, number)
        bits = builder.and_(builder.bitcast((value >= 0.0).value, BYTE), BYTE(0x1F))
        inside = Term(builder, builder.icmp_unsigned("==", bits, BYTE(0x1F)))
        return inside.where(Term(builder, value.lane(5)) * -0.5, float("inf")).value

    return signature, generate


@intrinsic
def prefetch(typing_context, address):
    """Ask for the memory at an address ahead of its use."""

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        Code(builder).prefetch(arguments[0])
        return context.get_dummy_value()

    return types.void(types.uintp), generate

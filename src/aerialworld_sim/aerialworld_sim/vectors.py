"""Eight pixels at a time: the few vector instructions that the rasteriser is made of, as LLVM code for numba.

LLVM lowers vectors of eight floats to whatever the processor has (AVX, AVX-512, two SSE or NEON halves), and every
operation is IEEE single precision without contraction, so results are the same everywhere.
"""

# mypy: disable-error-code="no-untyped-def, misc, unused-ignore"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
#: Pixels of a tile's edge; tiles, the unit in which pictures are made, are TILE × TILE.
TILE = 32
PIXELS = TILE * TILE
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_RAMP = ir.Constant(_VECTOR, [float(i) for i in range(LANES)])
_F = types.float32


def _splat(builder: Any, value: Any) -> Any:
    single = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(single, ir.Constant(_VECTOR, ir.Undefined), mask)


def _place(builder: Any, base: Any, plane: int, offset: Any) -> Any:
    """Pointer to eight floats of a plane (of 4 · size bytes) at an offset in floats."""
    address = builder.add(base, builder.add(ir.IntType(64)(plane), builder.mul(offset, ir.IntType(64)(4))))
    return builder.inttoptr(address, _VECTOR.as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 32
    return value


def _any(builder: Any, mask: Any) -> Any:
    return builder.icmp_unsigned("!=", builder.bitcast(mask, ir.IntType(8)), ir.IntType(8)(0))


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
        base, offset, e0, e1, e2, z, a0, a1, a2, az, scale, face, nearest = arguments

        def along(start: Any, step: Any) -> Any:
            return builder.fadd(_splat(builder, start), builder.fmul(_splat(builder, step), _RAMP))

        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        edges = [along(e, a) for e, a in ((e0, a0), (e1, a1), (e2, a2))]
        depth = along(z, az)
        inside = builder.fcmp_ordered(">=", edges[0], zero)
        for edge in edges[1:]:
            inside = builder.and_(inside, builder.fcmp_ordered(">=", edge, zero))
        where = [_place(builder, base, 4 * PIXELS * plane, offset) for plane in range(4)]
        stored = _load(builder, where[0])
        inside = builder.and_(inside, builder.fcmp_ordered(">", depth, stored))
        inside = builder.and_(inside, builder.fcmp_ordered("<=", depth, _splat(builder, nearest)))
        found = _any(builder, inside)
        with builder.if_then(found):
            bits = builder.bitcast(face, _FLOAT)
            grow = _splat(builder, scale)
            new = [depth, _splat(builder, bits), *(builder.fmul(e, grow) for e in edges[1:])]
            for plane, (pointer, after) in enumerate(zip(where, new, strict=True)):
                before = stored if plane == 0 else _load(builder, pointer)
                builder.store(builder.select(inside, after, before), pointer).align = 32
        return found

    return signature, generate


@intrinsic
def resolve8(typing_context, base, offset, face, depth, u, v):
    """Write eight pixels of a tile (see `cover8`) to the addresses given: face (int32), depth along the axis (+inf for
    face −1), and barycentrics u, v unless their addresses are 0."""
    signature = types.void(types.uintp, types.intp, *[types.uintp] * 4)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        base, offset, face, depth, u, v = arguments

        def store(value: Any, address: Any) -> None:
            builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 4

        inverse, bits, first, second = (
            _load(builder, _place(builder, base, 4 * PIXELS * plane, offset)) for plane in range(4)
        )
        whole = builder.bitcast(bits, ir.VectorType(ir.IntType(32), LANES))
        far = builder.fdiv(ir.Constant(_VECTOR, [1.0] * LANES), inverse)
        none = builder.icmp_signed("<", whole, ir.Constant(whole.type, [0] * LANES))
        store(whole, face)
        store(builder.select(none, ir.Constant(_VECTOR, [float("inf")] * LANES), far), depth)
        with builder.if_then(builder.icmp_unsigned("!=", u, ir.IntType(64)(0))):
            store(builder.fmul(first, far), u)
            store(builder.fmul(second, far), v)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def least(typing_context, base, count):
    """The least of `count` (a multiple of 8, at least 8) floats at the 32-byte aligned address `base`."""
    signature = _F(types.uintp, types.intp)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        base, count = arguments
        store = cgutils.alloca_once(builder, _VECTOR)
        zero = ir.IntType(64)(0)
        builder.store(_load(builder, _place(builder, base, 0, zero)), store)
        blocks = builder.lshr(count, ir.IntType(64)(3))
        with cgutils.for_range(builder, blocks) as loop:
            here = _load(builder, _place(builder, base, 0, builder.shl(loop.index, ir.IntType(64)(3))))
            so_far = builder.load(store)
            smaller = builder.fcmp_ordered("<", here, so_far)
            builder.store(builder.select(smaller, here, so_far), store)
        lanes = builder.load(store)
        result = builder.extract_element(lanes, ir.IntType(32)(0))
        for i in range(1, LANES):
            other = builder.extract_element(lanes, ir.IntType(32)(i))
            result = builder.select(builder.fcmp_ordered("<", other, result), other, result)
        return result

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
        zero = ir.IntType(64)(0)
        value = _load(builder, _place(builder, base, 4 * LANES * 6, zero))
        for i, number in enumerate(numbers):
            plane = _load(builder, _place(builder, base, 4 * LANES * i, zero))
            value = builder.fadd(value, builder.fmul(plane, _splat(builder, number)))
        kept = builder.fcmp_ordered(">=", value, ir.Constant(_VECTOR, [0.0] * LANES))
        bits = builder.and_(builder.bitcast(kept, ir.IntType(8)), ir.IntType(8)(0x1F))
        inside = builder.icmp_unsigned("==", bits, ir.IntType(8)(0x1F))
        depth = builder.fmul(builder.extract_element(value, ir.IntType(32)(5)), _FLOAT(-0.5))
        return builder.select(inside, depth, _FLOAT(float("inf")))

    return signature, generate

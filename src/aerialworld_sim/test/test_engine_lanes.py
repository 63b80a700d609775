"""Eight lanes at a time: what `lanes` builds computes what numpy computes, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import ir

from aerialworld_core.kernels import intrinsic, kernel, types
from aerialworld_sim.lanes import BYTE, INT, LANES, Code, Term

F = np.float32
floats = st.lists(st.floats(-1e6, 1e6, width=32), min_size=LANES, max_size=LANES).map(lambda v: np.array(v, F))
TABLE = np.arange(0, 500, 5, dtype=np.int32)
CODES = np.arange(256, dtype=np.uint8)[::-1].copy()


def lane_function(formula):
    """A function of two arrays of eight floats and a float, whose body `formula(code, a, b, s, table, codes)` is."""

    @intrinsic
    def body(typing_context, a, b, s, table, codes, out):
        def generate(context, builder, sig, arguments):
            a, b, s, table, codes, out = arguments
            code = Code(builder)
            code.store(formula(code, code.load(a), code.load(b), Term(builder, s), table, codes), out)
            return context.get_dummy_value()

        p = types.uintp
        return types.void(p, p, types.float32, p, p, p), generate

    @kernel
    def run(a, b, s, table, codes, out):
        body(a.ctypes.data, b.ctypes.data, s, table.ctypes.data, codes.ctypes.data, out.ctypes.data)

    def call(a, b, s, kind=F):
        out = np.zeros(LANES, kind)
        run(a, b, F(s), TABLE, CODES, out)
        return out

    return call


def equal(got, expected):
    assert got.tobytes() == np.asarray(expected, got.dtype).tobytes(), (got, expected)


ARITHMETIC = lane_function(lambda c, a, b, s, *_: (a * s - b) / (b * b + 1.0) + 2.0 * (1.0 - a))
CHOICE = lane_function(lambda c, a, b, s, *_: ((a < b) | (a > s)).where(a.floor(), b.greatest(s).least(7.5)))
ROOT = lane_function(lambda c, a, b, s, *_: 1.0 / (a * a + b * b + 1.0).sqrt())


@settings(deadline=None)  # the first call compiles
@given(floats, floats, st.floats(-1e3, 1e3, width=32))
def test_arithmetic_is_single_precision(a, b, s):
    s = F(s)
    equal(ARITHMETIC(a, b, s), (a * s - b) / (b * b + F(1)) + F(2) * (F(1) - a))
    equal(CHOICE(a, b, s), np.where((a < b) | (a > s), np.floor(a), np.minimum(np.maximum(b, s), F(7.5))))
    equal(ROOT(a, b, s), F(1) / np.sqrt(a * a + b * b + F(1)))


def test_no_number_takes_the_other():
    nan = np.full(LANES, np.nan, F)
    equal(lane_function(lambda c, a, b, s, *_: a.greatest(b))(nan, np.arange(8, dtype=F), 0), np.arange(8, dtype=F))
    equal(lane_function(lambda c, a, b, s, *_: a.least(s))(nan, nan, 3), np.full(8, 3, F))


def test_tables_are_read_at_every_lane():
    places = np.array([0, 99, 3, 3, 50, 7, 98, 1], F)
    found = lane_function(lambda c, a, b, s, table, _: c.gather(table, a.integer(), INT))(places, places, 0, np.int32)
    equal(found, TABLE[places.astype(int)])
    bits = lane_function(
        lambda c, a, b, s, table, codes: Term(
            c.builder, c.builder.zext(c.gather(codes, a.integer(), BYTE).value, ir.VectorType(INT, LANES))
        )
    )(places, places, 0, np.int32)
    equal(bits, CODES[places.astype(int)])


@pytest.mark.parametrize("count", range(LANES + 1))
def test_memory_beyond_the_mask_is_not_read(count):
    """The array ends where a page ends that may be read: reading on would stop the process."""
    import ctypes
    import mmap

    pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
    whole = np.frombuffer(pages, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    second = ctypes.c_void_p(whole.ctypes.data + mmap.PAGESIZE)
    assert libc.mprotect(second, mmap.PAGESIZE, 0) == 0
    try:
        tail = whole[mmap.PAGESIZE - 4 * count : mmap.PAGESIZE].view(F) if count else np.zeros(0, F)
        tail[:] = np.arange(1, count + 1)

        def some(c, a, b, s, *_):
            import llvmlite.ir as llvm

            address = c.builder.add(
                llvm.IntType(64)(whole.ctypes.data + mmap.PAGESIZE - 4 * count), llvm.IntType(64)(0)
            )
            return c.load_some(address, 0, c.ramp() < s.integer())

        zero = np.zeros(LANES, F)
        got = lane_function(some)(zero, zero, count)
        equal(got, np.concatenate([np.arange(1, count + 1), np.zeros(LANES - count)]))
    finally:
        libc.mprotect(second, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)

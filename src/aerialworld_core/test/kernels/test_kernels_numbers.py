"""Arithmetic of kernels: numba's results to the last bit, and Python's where both are exact."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aerialworld_core.kernels import KernelError, kernel


def mixture(b, i8, u8, i32, u32, i, u, f, d, floats, wholes):
    """Numbers of every kind, mixed in every way that changes a result's kind."""
    floats[0], floats[1], floats[2] = f * d, f * f, f * u8
    floats[3], floats[4], floats[5] = f * i32, f + i, i / 3
    floats[6], floats[7], floats[8] = u8 / f, d - u, f / (f * f + 1)
    floats[9], floats[10], floats[11] = b * f, np.sqrt(abs(f)), np.floor(d * 0.37)
    floats[12], floats[13], floats[14] = min(f, d), max(d, f, 0.5), np.ceil(f)
    floats[15], floats[16] = np.float32(d), -f
    floats[17] = f if b else d
    floats[18], floats[19] = np.float32(i) * f, np.sqrt(u8)
    wholes[0], wholes[1], wholes[2] = i32 * i32, u8 - i32, i8 - u8
    wholes[3], wholes[4], wholes[5] = u32 + u32, i // 7, i % 7
    wholes[6], wholes[7], wholes[8] = i // -5, i % -5, i32 // (i8 if i8 != 0 else 1)
    wholes[9], wholes[10], wholes[11] = u8 << 3, i32 >> 2, (u32 >> 5) ^ u32
    wholes[12], wholes[13], wholes[14] = i & 255, i8 | 64, ~i32
    wholes[15], wholes[16], wholes[17] = np.int32(i), np.uint8(i), abs(i32)
    wholes[18], wholes[19], wholes[20] = b + b, (i < u32) + (f < i32), (b & (f > 0)) | (i8 == u8)
    wholes[21], wholes[22] = np.int64(np.uint64(u) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(7)), -i
    wholes[23], wholes[24] = np.int64(d), np.int32(f)
    wholes[25], wholes[26] = min(i32, i), max(u8, u32)
    wholes[27], wholes[28] = not b, 0.0 <= f < 1.0


_kernel, _numba = kernel(mixture), numba.njit(error_model="numpy")(mixture)


def whole(kind):
    return st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max)).map(kind)


@settings(deadline=None, max_examples=200)  # the first call compiles
@given(st.tuples(
    st.booleans(), whole(np.int8), whole(np.uint8), whole(np.int32), whole(np.uint32), st.integers(-(2**62), 2**62),
    whole(np.uint64), st.floats(-1e9, 1e9, width=32).map(np.float32), st.floats(-1e9, 1e9),
))  # fmt: skip
@example((True, np.int8(-128), np.uint8(255), np.int32(-1), np.uint32(0), 0, np.uint64(0), np.float32(-0.0), -0.0))
def test_results_are_numbas_to_the_last_bit(numbers):
    ours, theirs = (np.zeros(20), np.zeros(29, np.int64)), (np.zeros(20), np.zeros(29, np.int64))
    _kernel(*numbers, *ours)
    _numba(*numbers, *theirs)
    for one, two in zip(ours, theirs, strict=True):
        assert one.tobytes() == two.tobytes(), (one, two)


@kernel
def divided(a, b):
    return a // b, a % b


@settings(deadline=None)
@given(st.integers(-(2**40), 2**40), st.integers(-50, 50))
def test_whole_division_is_pythons_and_by_zero_it_is_zero(a, b):
    assert divided(a, b) == ((a // b, a % b) if b else (0, 0))


@kernel
def extremes(a, b):
    return min(a, b), max(a, b)


@pytest.mark.parametrize("a", [1.0, -0.0, 0.0, math.nan, math.inf])
@pytest.mark.parametrize("b", [1.0, -0.0, 0.0, math.nan, -math.inf])
def test_min_and_max_choose_as_python_does(a, b):
    for got, expected in zip(extremes(a, b), (min(a, b), max(a, b)), strict=True):
        assert np.float64(got).tobytes() == np.float64(expected).tobytes()


@kernel
def same(x):
    return x


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_numbers_of_every_kind_go_in_and_come_out(kind):
    for number in (np.iinfo(kind).min, np.iinfo(kind).max):
        assert same(np.dtype(kind).type(number)) == number
    assert [same(x) for x in (True, np.float32(0.1), 0.1)] == [True, float(np.float32(0.1)), 0.1]


@kernel
def compared(a, b):
    return a < b, a <= b, a == b, a != b, a >= b, a > b


@settings(deadline=None)
@given(st.floats(), st.floats())
def test_comparisons_are_pythons_with_what_is_no_number_too(a, b):
    assert compared(a, b) == (a < b, a <= b, a == b, a != b, a >= b, a > b)


@kernel
def functions(x, out):
    out[0], out[1], out[2], out[3] = np.exp(x), np.log(x), np.sin(x), np.cos(x)


@settings(deadline=None)
@given(st.floats(1e-3, 50.0))
def test_functions_of_floats(x):
    out = np.zeros(4)
    functions(x, out)
    np.testing.assert_array_max_ulp(out, [math.exp(x), math.log(x), math.sin(x), math.cos(x)], 2)


@kernel
def mixed_up(signed, unsigned):
    return signed < unsigned


def test_a_comparison_that_has_no_common_kind_is_refused():
    with pytest.raises(KernelError, match=r"test_kernels_numbers\.py:\d+: mixed_up: .*convert"):
        mixed_up(-1, np.uint64(1))

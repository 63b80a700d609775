"""What kernels may say: loops, choices, arrays and their parts, several results, calls; and what they may not."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.kernels import KernelError, callback, external, kernel, memory, types

small = st.integers(-9, 9)


@kernel
def counted(start, stop, step, out):
    n = 0
    for i in range(start, stop, step):
        out[n] = i
        n += 1
    for i in range(stop, start, -2):
        out[n] = i
        n += 1
    return n


@settings(deadline=None)  # the first call compiles
@given(small, small, small.filter(bool))
def test_loops_count_as_ranges_do(start, stop, step):
    out = np.zeros(40, np.int64)
    n = counted(start, stop, step, out)
    assert out[:n].tolist() == [*range(start, stop, step), *range(stop, start, -2)]


@kernel
def first_multiple(values, divisor):
    """The first value that is a multiple, doubled; −1 if there is none. Zeros are left out."""
    i = 0
    while True:
        if i >= len(values):
            return -1
        value = values[i]
        i += 1
        if value == 0:
            continue
        if value % divisor == 0:
            break
    return 2 * value


@settings(deadline=None)
@given(st.lists(small, max_size=6), st.integers(1, 5))
def test_loops_are_left_and_gone_on_with(values, divisor):
    found = [v for v in values if v != 0 and v % divisor == 0]
    assert first_multiple(np.array(values, np.int32), divisor) == (2 * found[0] if found else -1)


@kernel
def each(x, y):
    total = 0
    for value, weight in ((x, 1), (y, 10), (x + y, 100)):
        if value == 3:
            continue
        if value > 5:
            break
        total += weight * value
    return total


@settings(deadline=None)
@given(small, small)
def test_loops_over_a_few_values(x, y):
    assert each(x, y) == each.python(x, y)


@kernel
def guarded(values, i):
    inside = i >= 0 and i < len(values) and values[i] > 0
    outside = i < 0 or i >= len(values) or values[i] <= 0
    return values[i] if inside else -1, inside, outside


def test_what_does_not_matter_is_not_looked_at():
    values = np.array([5, -3])
    for i, value in enumerate((5, -1)):
        assert guarded(values, i) == (value, i == 0, i != 0)
    assert guarded(values, 1 << 40) == (-1, False, True)  # would be far outside of memory


@kernel
def parts(table, out):
    height, width = table.shape
    for row in range(height):
        here = table[row]
        for column in range(len(here)):
            out[column] += here[column]
    some = out[1:3]
    some[:] = 7.0
    out[3:] = table[0][3:]
    flat = table.reshape(-1)
    table[0, 0], table[height - 1, width - 1] = table[height - 1, width - 1], table[0, 0]
    return flat[width], table.shape[1]


def test_parts_of_arrays_are_the_arrays_own_memory():
    table = np.arange(15, dtype=np.float32).reshape(3, 5)
    before, out = table.copy(), np.zeros(5)
    assert parts(table, out) == (5.0, 5)
    assert out.tolist() == [15.0, 7.0, 7.0, 3.0, 4.0]
    before[0, 0], before[2, 4] = before[2, 4], before[0, 0]
    assert (table == before).all()


@kernel
def widened(values):
    total = values[0]  # an int32, until it is more than one
    for i in range(1, len(values)):
        total = total + values[i]
    return total


def test_whole_numbers_grow_to_64_bits():
    assert widened(np.full(3, 2**31 - 1, np.int32)) == 3 * (2**31 - 1)


@kernel
def turned(x, y):
    return -y, x


@kernel
def spun(x, y, times):
    for _ in range(times):
        x, y = turned(x, y)
    return x, y


def test_kernels_call_kernels_and_return_several_numbers():
    assert [spun(1.0, 2.0, n) for n in range(4)] == [(1.0, 2.0), (-2.0, 1.0), (-1.0, -2.0), (2.0, -1.0)]
    assert spun(1, 2, 1) == (-2, 1)  # of other kinds


@kernel
def inverted(flags):
    for i in range(len(flags)):
        flags[i] = not flags[i]


def test_truth_values_in_arrays():
    flags = np.array([True, False, True])
    inverted(flags)
    assert flags.tolist() == [False, True, False]


_labs = external("labs", types.int64(types.int64))


@callback
def double_both(address):
    numbers = memory(address, 2, np.int64)
    for i in range(2):
        numbers[i] = _labs(numbers[i]) * 2


def test_c_calls_kernels_and_kernels_call_c():
    numbers = np.array([-4, 5])
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(double_both.address)(numbers.ctypes.data)
    assert numbers.tolist() == [8, 10]


@kernel
def summed(values):
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total


def test_first_calls_from_many_threads_agree():
    values = [np.full(1000, n, kind) for n in range(8) for kind in (np.float32, np.float64, np.uint8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(summed, values)) == [float(v.sum()) for v in values]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4))[:, 1], "values must be a C-contiguous"),
        (np.frombuffer(bytes(17), np.uint8)[1:].view(np.float64), "values must be a C-contiguous, aligned"),
        (np.zeros(3, np.complex128), "values is an array of complex128"),
        (np.zeros(3, ">f8"), "values is an array of >f8"),
        (np.zeros(()), "values is an array of float64"),
        (1.0, "the len of a number"),
        ([1.0], "values is list"),
    ],
)
def test_arrays_that_kernels_cannot_take_are_refused_by_name(array, message):
    with pytest.raises(KernelError, match=message):
        summed(array)


def test_what_is_written_to_must_be_writeable():
    table = np.zeros((1, 4))
    table.flags.writeable = False
    with pytest.raises(KernelError, match=r"table must be .* writeable"):
        parts(table, np.zeros(4))
    assert guarded(np.frombuffer(b"\1" * 8, np.int64), 0)[1]  # reading is no writing


def two_kinds(x):
    y = np.float32(x)
    y = y * 2.0
    return y


def of_itself(x):
    return of_itself_kernel(x)


of_itself_kernel = kernel(of_itself)


def from_the_end(values):
    return values[-1]


def unknown_thing(x):
    with x:
        return 1


def undefined(x):
    return x + no_such_name  # noqa: F821


def returned_sometimes(x):
    if x > 0:
        return x


def set_too_late(x):
    for _ in range(3):
        x += later  # noqa: F821
        later = x
    return later


@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [
        (two_kinds, 1.0, "y is float32 here and float64 there"),
        (from_the_end, np.zeros(3), "count from an array's end"),
        (unknown_thing, 1.0, "kernels have no With"),
        (undefined, 1.0, "no_such_name is not known"),
        (set_too_late, 1, "later is used before it is set"),
        (of_itself, 1, "calls itself"),
        (returned_sometimes, 1, "0 values are returned here, 1 elsewhere"),
    ],
)
def test_what_kernels_cannot_do_is_said_with_file_and_line(function, argument, message):
    called = of_itself_kernel if function is of_itself else kernel(function)
    with pytest.raises(KernelError, match=rf"test_kernels_language\.py:\d+: .*{message}"):
        called(argument)


def test_kernels_made_in_a_function_are_each_their_own():
    def adding(step):
        @kernel
        def add(x):
            return x + step

        return add

    assert [adding(step)(10) for step in (1, 2)] == [11, 12]


def test_arrays_of_types_derived_from_numpys_are_arrays(tmp_path):
    (tmp_path / "numbers").write_bytes(np.arange(5.0).tobytes())
    mapped = np.memmap(tmp_path / "numbers", np.float64)
    assert [summed(a) for a in (mapped, np.arange(4.0), mapped)] == [10.0, 6.0, 10.0]

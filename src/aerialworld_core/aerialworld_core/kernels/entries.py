"""The way into a kernel from C: arrays come as Python's objects, and are looked at before the kernel is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from aerialworld_core.kernels.functions import Kinds, Unit
from aerialworld_core.kernels.kinds import BOOL, INT64, Array, KernelError, Number, Value, convert

#: Where numpy's PyArrayObject has what, in bytes behind the object's head: data, dimensions, flags.
_DATA, _SHAPE, _FLAGS = 0, 16, 48
_PLAIN, _WRITEABLE = 0x1 | 0x100, 0x400  # numpy's flags: C-contiguous and aligned; may be written to


def passed(kind: Number | Array) -> Number:
    """As what an argument is passed: an array as its object's address, whole numbers with 64 bits."""
    if isinstance(kind, Number) and (not kind.whole or kind == Number("uint", 64)):
        return kind
    return INT64


def write_entry(python: Callable[..., Any], kinds: Kinds, symbol: str, head: int) -> tuple[Any, list[str], set[str]]:
    """A module with the function `symbol`(arguments…, address of the results): the kinds of its results, and the names
    of the modules that its code comes from. It returns 0, or the number (from 1 on) of an array that is not
    C-contiguous and aligned, or that cannot be written to. `head` is the size of a Python object's head."""
    unit = Unit()
    inner = unit.function(python, kinds)
    arguments = [passed(k).llvm for k in kinds]
    function = ir.Function(unit.module, ir.FunctionType(ir.IntType(32), [*arguments, INT64.llvm]), symbol)
    b = ir.IRBuilder(function.append_basic_block())
    raw: list[Any] = []
    for number, (kind, argument) in enumerate(zip(kinds, function.args, strict=False)):
        if isinstance(kind, Number):
            raw.append(convert(b, Value(passed(kind), argument), kind).llvm)
        else:
            _check(b, argument, number, number in inner.written, head)
            raw += _opened(b, argument, kind, head)
    result = b.call(inner.llvm, raw)
    returned = inner.returned
    for i, kind in enumerate(returned):
        one = result if len(returned) == 1 else b.extract_value(result, i)
        wide = INT64 if kind == BOOL else kind
        place = b.add(function.args[-1], INT64.llvm(8 * i))
        b.store(convert(b, Value(kind, one), wide).llvm, b.inttoptr(place, wide.llvm.as_pointer()))
    b.ret(ir.IntType(32)(0))
    return unit.module, [str(k) for k in returned], unit.sources


def write_callback(python: Callable[..., Any], count: int, symbol: str) -> tuple[Any, set[str]]:
    """A module with a C function `symbol` of `count` addresses, which returns nothing, for C code to call."""
    unit = Unit()
    inner = unit.function(python, (INT64,) * count)
    if inner.returned:
        raise KernelError(f"{python.__name__} is called back from C: it returns nothing")
    function = ir.Function(unit.module, ir.FunctionType(ir.VoidType(), [INT64.llvm] * count), symbol)
    b = ir.IRBuilder(function.append_basic_block())
    b.call(inner.llvm, function.args)
    b.ret_void()
    return unit.module, unit.sources


def _field(b: Any, array: Any, offset: int, kind: Any) -> Any:
    return b.load(b.inttoptr(b.add(array, INT64.llvm(offset)), kind.as_pointer()))


def _check(b: Any, array: Any, number: int, written: bool, head: int) -> None:
    wanted = ir.IntType(32)(_PLAIN | (_WRITEABLE if written else 0))
    flags = _field(b, array, head + _FLAGS, ir.IntType(32))
    with b.if_then(b.icmp_unsigned("!=", b.and_(flags, wanted), wanted), likely=False):
        b.ret(ir.IntType(32)(number + 1))


def _opened(b: Any, array: Any, kind: Array, head: int) -> list[Any]:
    """A kernel's arguments for an array: the place of its first element, and its sizes."""
    shape = _field(b, array, head + _SHAPE, INT64.llvm)
    sizes = [_field(b, shape, 8 * i, INT64.llvm) for i in range(kind.dimensions)]
    place = _field(b, array, head + _DATA, INT64.llvm)
    return [b.inttoptr(place, kind.element.stored.as_pointer()), *sizes]

"""What values a kernel works on, and what becomes of two that meet: numba's rules, so that a kernel computes the same.

Whole numbers of any width meet as 64 bits; a float32 and a float32 (or at most 16 bits of a whole number) stay float32,
everything else that has a float in it becomes float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir


class KernelError(TypeError):
    """A kernel uses what kernels cannot do; the message names file and line."""


@dataclass(frozen=True)
class Number:
    """A single number: `family` is "bool", "int", "uint" or "float"."""

    family: str
    bits: int

    @property
    def llvm(self) -> Any:
        if self.family == "float":
            return ir.FloatType() if self.bits == 32 else ir.DoubleType()
        return ir.IntType(1 if self.family == "bool" else self.bits)

    @property
    def stored(self) -> Any:
        """As it lies in memory: a truth value takes a byte."""
        return ir.IntType(8) if self.family == "bool" else self.llvm

    @property
    def size(self) -> int:
        return max(self.bits // 8, 1)

    @property
    def whole(self) -> bool:
        return self.family != "float"

    def __str__(self) -> str:
        return self.family if self.family == "bool" else f"{self.family}{self.bits}"


@dataclass(frozen=True)
class Array:
    """A C-contiguous array of `dimensions` ≥ 1."""

    element: Number
    dimensions: int

    def __str__(self) -> str:
        return f"{self.element}[{self.dimensions}d]"


BOOL, INT32, INT64, UINT64 = Number("bool", 1), Number("int", 32), Number("int", 64), Number("uint", 64)
FLOAT32, FLOAT64 = Number("float", 32), Number("float", 64)

#: numpy's scalar types, and Python's.
NUMBERS: dict[type, Number] = {
    **{t: Number("int", 8 * np.dtype(t).itemsize) for t in (np.int8, np.int16, np.int32, np.int64)},
    **{t: Number("uint", 8 * np.dtype(t).itemsize) for t in (np.uint8, np.uint16, np.uint32, np.uint64)},
    np.float32: FLOAT32, np.float64: FLOAT64, np.bool_: BOOL, bool: BOOL, int: INT64, float: FLOAT64,
}  # fmt: skip
#: … and the types of arrays' elements, in the machine's own byte order.
ELEMENTS: dict[Any, Number] = {np.dtype(t): kind for t, kind in NUMBERS.items() if issubclass(t, np.generic)}


def arithmetic(a: Number, b: Number) -> Number:
    """What + − · // % of the two is computed in."""
    if a.whole and b.whole:
        return UINT64 if a.family == b.family == "uint" else INT64
    narrow = all(k == FLOAT32 or (k.whole and k.bits <= 16) for k in (a, b))
    return FLOAT32 if narrow else FLOAT64


def either(a: Number, b: Number) -> Number:
    """What holds one of the two, as a choice between them does."""
    if a == b:
        return a
    if not (a.whole and b.whole):
        return arithmetic(a, b)
    if "bool" in (a.family, b.family):
        return b if a.family == "bool" else a
    if a.family == b.family:
        return a if a.bits > b.bits else b
    if UINT64 in (a, b):
        raise KernelError("a uint64 and a signed number have no common kind: convert one of them")
    return INT64


def compared(a: Number, b: Number) -> Number:
    """What the two are compared in."""
    return either(a, b) if a.whole and b.whole else arithmetic(a, b)


@dataclass(frozen=True)
class Value:
    """A number under construction; `llvm` is LLVM's."""

    kind: Number
    llvm: Any


@dataclass(frozen=True)
class View:
    """An array under construction: where its first element lies and how many there are along each dimension. `origin`
    is the number of the argument that it is, or is a part of, −1 for other memory."""

    kind: Array
    pointer: Any
    shape: tuple[Any, ...]
    origin: int


#: Several values that are passed around together.
Group = tuple[Any, ...]


def convert(builder: Any, value: Value, kind: Number) -> Value:
    """The same number as another kind: towards zero where it loses a fraction, and by its lowest bits."""
    before, raw = value.kind, value.llvm
    if before == kind:
        return value
    if kind == BOOL:
        zero = ir.Constant(raw.type, 0)
        compare = builder.icmp_unsigned if before.whole else builder.fcmp_unordered
        return Value(BOOL, compare("!=", raw, zero))
    if before.whole and kind.whole:
        if kind.bits < before.bits:
            return Value(kind, builder.trunc(raw, kind.llvm))
        if kind.bits == before.bits:
            return Value(kind, raw)
        return Value(kind, (builder.sext if before.family == "int" else builder.zext)(raw, kind.llvm))
    if before.whole:
        return Value(kind, (builder.sitofp if before.family == "int" else builder.uitofp)(raw, kind.llvm))
    if kind.whole:
        return Value(kind, (builder.fptosi if kind.family == "int" else builder.fptoui)(raw, kind.llvm))
    return Value(kind, (builder.fptrunc if kind.bits < before.bits else builder.fpext)(raw, kind.llvm))


def constant(number: Any) -> Value:
    """A number that is written in a kernel, or that a name outside of it stands for."""
    kind = NUMBERS[type(number)]
    plain = number.item() if isinstance(number, np.generic) else number
    if kind == INT64 and not -(2**63) <= plain < 2**63:
        kind = UINT64
        if not 0 <= plain < 2**64:
            raise KernelError(f"{plain} does not fit into 64 bits")
    if kind.whole:
        return Value(kind, ir.Constant(kind.llvm, int(plain) & (2**kind.bits - 1 if kind != BOOL else 1)))
    return Value(kind, ir.Constant(kind.llvm, plain))


def known(value: Value) -> int | None:
    """A whole number's value where it is a constant."""
    if value.kind.whole and isinstance(value.llvm, ir.Constant):
        number = int(value.llvm.constant)
        return number - 2**value.kind.bits if value.kind.family == "int" and number >> value.kind.bits - 1 else number
    return None

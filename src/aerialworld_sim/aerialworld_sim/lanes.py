"""Arithmetic on eight values at once, written as Python and built as LLVM code for kernels' intrinsics.

A `Term` is a float32, an int32 or a truth value, single or eight of them; operators build instructions, and a single
value that meets eight is spread. LLVM lowers eight lanes to whatever the processor has (AVX, AVX-512, two SSE or NEON
halves); every operation is IEEE single precision without contraction, so that results are the same everywhere. Plain
loops over such arithmetic do not vectorise where tables are looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from aerialworld_core.kernels import alloca_once, counting, declared

LANES = 8
FLOAT, INT, LONG, BYTE, BIT = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(8), ir.IntType(1)


def eight(kind: Any) -> ir.VectorType:
    return ir.VectorType(kind, LANES)


def _element(kind: Any) -> Any:
    return kind.element if isinstance(kind, ir.VectorType) else kind


class Term:
    """A value under construction; `value` is LLVM's."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def like(self, other: Any) -> tuple[Term, Term]:
        """This and another value or Python number, both of one shape."""
        if not isinstance(other, Term):
            other = Term(self.builder, ir.Constant(_element(self.value.type), other))
        if isinstance(other.value.type, ir.VectorType) and not isinstance(self.value.type, ir.VectorType):
            return self.spread(), other
        if isinstance(self.value.type, ir.VectorType) and not isinstance(other.value.type, ir.VectorType):
            return self, other.spread()
        return self, other

    def spread(self) -> Term:
        """The same value in eight lanes."""
        kind = eight(self.value.type)
        if isinstance(self.value, ir.Constant):
            return Term(self.builder, ir.Constant(kind, [self.value.constant] * LANES))
        none = ir.Constant(kind, ir.Undefined)
        single = self.builder.insert_element(none, self.value, INT(0))
        return Term(self.builder, self.builder.shuffle_vector(single, none, ir.Constant(eight(INT), [0] * LANES)))

    def _binary(self, other: Any, floats: str, integers: str, swapped: bool = False) -> Term:
        a, b = self.like(other)
        if swapped:
            a, b = b, a
        name = floats if _element(a.value.type) == FLOAT else integers
        return Term(self.builder, getattr(self.builder, name)(a.value, b.value))

    def __add__(self, other: Any) -> Term:
        return self._binary(other, "fadd", "add")

    __radd__ = __add__

    def __sub__(self, other: Any) -> Term:
        return self._binary(other, "fsub", "sub")

    def __rsub__(self, other: Any) -> Term:
        return self._binary(other, "fsub", "sub", swapped=True)

    def __mul__(self, other: Any) -> Term:
        return self._binary(other, "fmul", "mul")

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Term:
        return self._binary(other, "fdiv", "")

    def __rtruediv__(self, other: Any) -> Term:
        return self._binary(other, "fdiv", "", swapped=True)

    def __and__(self, other: Any) -> Term:
        return self._binary(other, "", "and_")

    def __or__(self, other: Any) -> Term:
        return self._binary(other, "", "or_")

    def __rshift__(self, other: Any) -> Term:
        return self._binary(other, "", "lshr")

    def _compare(self, sign: str, other: Any) -> Term:
        a, b = self.like(other)
        floats = _element(a.value.type) == FLOAT
        compare = self.builder.fcmp_ordered if floats else self.builder.icmp_signed
        return Term(self.builder, compare(sign, a.value, b.value))

    def __lt__(self, other: Any) -> Term:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Term:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Term:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Term:
        return self._compare(">=", other)

    def where(self, yes: Any, no: Any) -> Term:
        """`yes` where this is true, else `no`; at least one of them a Term."""
        if isinstance(yes, Term):
            yes, no = yes.like(no)
        else:
            no, yes = no.like(yes)
        if isinstance(self.value.type, ir.VectorType) and not isinstance(yes.value.type, ir.VectorType):
            yes, no = yes.spread(), no.spread()
        return Term(self.builder, self.builder.select(self.value, yes.value, no.value))

    def least(self, other: Any) -> Term:
        """The smaller; `other` where this is no number."""
        return (self < other).where(self, other)

    def greatest(self, other: Any) -> Term:
        """The greater; `other` where this is no number."""
        return (self > other).where(self, other)

    def _call(self, name: str) -> Term:
        kind = self.value.type
        suffix = f"v{LANES}f32" if isinstance(kind, ir.VectorType) else "f32"
        signature = ir.FunctionType(kind, [kind])
        function = declared(self.builder.module, signature, f"llvm.{name}.{suffix}")
        return Term(self.builder, self.builder.call(function, [self.value]))

    def floor(self) -> Term:
        return self._call("floor")

    def sqrt(self) -> Term:
        return self._call("sqrt")

    def bits(self, kind: Any) -> Term:
        """The same bits, as another kind of value of equal size."""
        return Term(self.builder, self.builder.bitcast(self.value, self._shaped(kind)))

    def _shaped(self, kind: Any) -> Any:
        return eight(kind) if isinstance(self.value.type, ir.VectorType) else kind

    def integer(self) -> Term:
        """Towards zero; the value must fit."""
        return Term(self.builder, self.builder.fptosi(self.value, self._shaped(INT)))

    def real(self) -> Term:
        return Term(self.builder, self.builder.sitofp(self.value, self._shaped(FLOAT)))

    def any(self) -> Any:
        """LLVM's truth value: whether any of eight is true."""
        return self.builder.icmp_unsigned("!=", self.builder.bitcast(self.value, BYTE), BYTE(0))

    def lane(self, i: int) -> Any:
        return self.builder.extract_element(self.value, INT(i))


class Code:
    """What code of eight lanes is made with: memory, constants, loops. Addresses are 64-bit integers of LLVM's."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def constant(self, kind: Any, value: Any) -> Term:
        return Term(self.builder, ir.Constant(kind, value))

    def ramp(self) -> Term:
        """0 … 7 as int32."""
        return self.constant(eight(INT), list(range(LANES)))

    def at(self, address: Any, index: Any, size: int) -> Any:
        """The address `index` elements of `size` bytes further."""
        if isinstance(index, int):
            return self.builder.add(address, LONG(index * size))
        return self.builder.add(address, self.builder.mul(index, LONG(size)))

    def single(self, address: Any, index: Any = 0, kind: Any = FLOAT) -> Term:
        pointer = self.builder.inttoptr(self.at(address, index, 4), kind.as_pointer())
        return Term(self.builder, self.builder.load(pointer))

    def load(self, address: Any, index: Any = 0, kind: Any = FLOAT, align: int = 4) -> Term:
        """Eight values from `index` on, which lie on `align` bytes."""
        value = self.builder.load(self.builder.inttoptr(self.at(address, index, 4), eight(kind).as_pointer()))
        value.align = align
        return Term(self.builder, value)

    def load_some(self, address: Any, index: Any, mask: Term) -> Term:
        """Eight floats from `index` on, where `mask` holds; 0 elsewhere, whose memory is not touched."""
        pointer = self.builder.inttoptr(self.at(address, index, 4), eight(FLOAT).as_pointer())
        signature = ir.FunctionType(eight(FLOAT), [eight(FLOAT).as_pointer(), INT, eight(BIT), eight(FLOAT)])
        name = f"llvm.masked.load.v{LANES}f32.p0"
        function = declared(self.builder.module, signature, name)
        arguments = [pointer, INT(4), mask.value, ir.Constant(eight(FLOAT), [0.0] * LANES)]
        return Term(self.builder, self.builder.call(function, arguments))

    def bytes(self, address: Any, index: Any = 0) -> Term:
        """Eight bytes from `index` on, as int32."""
        value = self.builder.load(self.builder.inttoptr(self.at(address, index, 1), eight(BYTE).as_pointer()))
        value.align = 1
        return Term(self.builder, self.builder.zext(value, eight(INT)))

    def store(self, value: Term, address: Any, index: Any = 0, align: int = 4) -> None:
        pointer = self.builder.inttoptr(self.at(address, index, 4), value.value.type.as_pointer())
        self.builder.store(value.value, pointer).align = align

    def gather(self, address: Any, index: Term, kind: Any = FLOAT) -> Term:
        """Eight table entries; every index must lie in the table: none is negative. (Eight loads: processors' own
        gathers are slower, or as fast at best.)"""
        size = 1 if kind == BYTE else 4
        found = ir.Constant(eight(kind), ir.Undefined)
        for i in range(LANES):
            where = self.at(address, self.builder.zext(index.lane(i), LONG), size)
            entry = self.builder.load(self.builder.inttoptr(where, kind.as_pointer()))
            found = self.builder.insert_element(found, entry, INT(i))
        return Term(self.builder, found)

    def pairs(self, address: Any, index: Term, kind: Any = FLOAT) -> tuple[Term, Term]:
        """Eight table entries and the eight that follow each of them; every index must lie in the table."""
        found = []
        for i in range(LANES):
            where = self.at(address, self.builder.zext(index.lane(i), LONG), 4)
            two = self.builder.load(self.builder.inttoptr(where, ir.VectorType(kind, 2).as_pointer()))
            two.align = 4
            found.append(two)
        # Halves in the order in which two shuffles take them apart.
        low, high = (
            self._joined(self._joined(found[k], found[k + 1]), self._joined(found[k + 4], found[k + 5])) for k in (0, 2)
        )
        return (
            self._shuffled(low, high, [0, 2, 8, 10, 4, 6, 12, 14]),
            self._shuffled(low, high, [1, 3, 9, 11, 5, 7, 13, 15]),
        )

    def _joined(self, a: Any, b: Any) -> Any:
        """Two of LLVM's vectors as one."""
        return self._shuffled(a, b, list(range(2 * a.type.count))).value

    def _shuffled(self, a: Any, b: Any, order: list[int]) -> Term:
        mask = ir.Constant(ir.VectorType(INT, len(order)), order)
        return Term(self.builder, self.builder.shuffle_vector(a, b, mask))

    def transposed(self, rows: Sequence[Term]) -> list[Term]:
        """Eight times eight values, rows for columns."""
        pairs = [[0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]]
        fours = [[0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]]
        halves = [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]]
        # By twos: columns 0, 1 (4, 5) and 2, 3 (6, 7) of rows 0 and 1, 2 and 3 …
        twos = [[self._shuffled(rows[k].value, rows[k + 1].value, order) for order in pairs] for k in (0, 2, 4, 6)]
        quarters = [
            [self._shuffled(twos[k][p].value, twos[k + 1][p].value, order) for p in (0, 1) for order in fours]
            for k in (0, 2)
        ]
        return [self._shuffled(quarters[0][c].value, quarters[1][c].value, half) for half in halves for c in range(4)]

    def apart(self, address: Any) -> Any:
        """The same address, unknown to be so. Of eight values that are loaded, changed in part and stored where they
        came from, LLVM makes a masked store, which some processors carry out lane by lane."""
        kind = ir.FunctionType(LONG, [LONG])
        return self.builder.asm(kind, "", "=r,0", [address], side_effect=False)

    def prefetch(self, address: Any) -> None:
        """Bring what lies at an address near; it need not be there."""
        kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), INT, INT, INT])
        function = declared(self.builder.module, kind, "llvm.prefetch.p0")
        pointer = self.builder.inttoptr(address, BYTE.as_pointer())
        self.builder.call(function, [pointer, INT(0), INT(3), INT(1)])  # to be read, kept, data

    def variable(self, first: Term) -> Variable:
        return Variable(self.builder, first)

    @contextmanager
    def steps(self, count: Any) -> Iterator[Any]:
        """A loop over 0, 8, 16 … < count (64-bit integers of LLVM's)."""
        groups = self.builder.lshr(self.builder.add(count, LONG(LANES - 1)), LONG(3))
        with counting(self.builder, groups) as group:
            yield self.builder.shl(group, LONG(3))


class Variable:
    """A value that branches change."""

    def __init__(self, builder: Any, first: Term) -> None:
        self.builder = builder
        self._slot = alloca_once(builder, first.value.type)
        self.set(first)

    def set(self, value: Term) -> None:
        self.builder.store(value.value, self._slot)

    def get(self) -> Term:
        return Term(self.builder, self.builder.load(self._slot))

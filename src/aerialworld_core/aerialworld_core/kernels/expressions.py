"""From Python's expressions to LLVM's instructions."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from aerialworld_core.kernels.arrays import Arrays
from aerialworld_core.kernels.intrinsics import declared
from aerialworld_core.kernels.kinds import (
    BOOL,
    FLOAT32,
    FLOAT64,
    INT64,
    NUMBERS,
    UINT64,
    Array,
    KernelError,
    Number,
    Value,
    View,
    arithmetic,
    compared,
    constant,
    convert,
    either,
    known,
)

_FLOATS = {"Add": "fadd", "Sub": "fsub", "Mult": "fmul"}
_WHOLES = {"Add": "add", "Sub": "sub", "Mult": "mul", "BitAnd": "and_", "BitOr": "or_", "BitXor": "xor"}
_ORDER = {"Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!="}
#: Functions of one float and their names in LLVM.
_MATHS: dict[Any, str] = {
    np.floor: "floor", np.ceil: "ceil", np.sqrt: "sqrt", np.exp: "exp", np.log: "log", np.sin: "sin", np.cos: "cos",
}  # fmt: skip
_BUILTINS: dict[str, Any] = {"abs": abs, "min": min, "max": max, "len": len, "int": int, "float": float, "bool": bool}


def memory(address: int, count: int, element: type) -> Any:
    """In kernels only: (count,) array of `element` at an address."""
    raise KernelError("memory() is for kernels")


class Expressions(Arrays):
    """Expressions of one function. What names mean is `Function`'s, who inherits this."""

    def name(self, node: ast.Name) -> Any:
        raise NotImplementedError

    def outside(self, name: str) -> Any:
        """What a name outside of the kernel stands for."""
        raise NotImplementedError

    def call(self, called: Any, arguments: Sequence[Any]) -> Any:
        """A call of another kernel, or of an intrinsic."""
        raise NotImplementedError

    def expression(self, node: ast.expr) -> Any:
        made = getattr(self, f"_{type(node).__name__}", None)
        if made is None:
            raise KernelError(f"kernels have no {type(node).__name__}")
        return made(node)

    def truth(self, node: ast.expr) -> Any:
        """LLVM's truth value of an expression."""
        return convert(self.builder, self.number(node), BOOL).llvm

    def _Name(self, node: ast.Name) -> Any:
        return self.name(node)

    def _Constant(self, node: ast.Constant) -> Any:
        if type(node.value) not in NUMBERS:
            raise KernelError(f"kernels have no {type(node.value).__name__}")
        return constant(node.value)

    def _Tuple(self, node: ast.Tuple) -> Any:
        return tuple(self.expression(e) for e in node.elts)

    def _BinOp(self, node: ast.BinOp) -> Value:
        return self.binary(type(node.op).__name__, self.number(node.left), self.number(node.right))

    def binary(self, name: str, a: Value, b: Value) -> Value:
        kind = arithmetic(a.kind, b.kind)
        if name in ("LShift", "RShift"):
            kind = UINT64 if a.kind.family == "uint" else INT64
        elif name.startswith("Bit") and a.kind == b.kind == BOOL:
            kind = BOOL
        elif name == "Div" and kind.whole:
            kind = FLOAT64
        if not kind.whole and (name.startswith("Bit") or "Shift" in name):
            raise KernelError(f"{name} of {a.kind} and {b.kind}")
        one, two = convert(self.builder, a, kind).llvm, convert(self.builder, b, kind).llvm
        signed = kind.family == "int"
        if name == "Div":
            return Value(kind, self.builder.fdiv(one, two))
        if name in ("LShift", "RShift"):
            shift = self.builder.shl if name == "LShift" else self.builder.ashr if signed else self.builder.lshr
            return Value(kind, shift(one, two))
        if name in ("FloorDiv", "Mod"):
            return self._divided(name, kind, one, two, known(b))
        table = _WHOLES if kind.whole else _FLOATS
        if name not in table:
            raise KernelError(f"kernels have no {name} of {a.kind} and {b.kind}")
        return Value(kind, getattr(self.builder, table[name])(one, two))

    def _divided(self, name: str, kind: Number, one: Any, two: Any, divisor: int | None) -> Value:
        """Whole quotient, rounded down, or the remainder, which has the divisor's sign; 0 where it is 0."""
        b = self.builder
        if not kind.whole:
            raise KernelError(f"{name} of floats: write np.floor(a / b)")
        if divisor is None:
            none = b.icmp_signed("==", two, ir.Constant(kind.llvm, 0))
            two = b.select(none, ir.Constant(kind.llvm, 1), two)
            one = b.select(none, ir.Constant(kind.llvm, 0), one)
        if kind.family == "uint":
            return Value(kind, b.udiv(one, two) if name == "FloorDiv" else b.urem(one, two))
        rest = b.srem(one, two)
        zero = ir.Constant(kind.llvm, 0)
        down = b.and_(b.icmp_signed("!=", rest, zero), b.icmp_signed("<", b.xor(rest, two), zero))
        if name == "FloorDiv":
            return Value(kind, b.sub(b.sdiv(one, two), b.zext(down, kind.llvm)))
        return Value(kind, b.add(rest, b.select(down, two, zero)))

    def _UnaryOp(self, node: ast.UnaryOp) -> Value:
        value, b = self.number(node.operand), self.builder
        if isinstance(node.op, ast.Not):
            return Value(BOOL, b.not_(convert(b, value, BOOL).llvm))
        if isinstance(node.op, ast.USub):
            if not value.kind.whole:
                if isinstance(value.llvm, ir.Constant):
                    return Value(value.kind, ir.Constant(value.kind.llvm, -value.llvm.constant))
                return Value(value.kind, b.fneg(value.llvm))
            if (number := known(value)) is not None and value.kind == INT64:
                return constant(-number)
            return self.binary("Sub", constant(0), value)
        if isinstance(node.op, ast.Invert) and value.kind.whole:
            wide = value if value.kind == BOOL else self.binary("BitOr", value, value)
            return Value(wide.kind, b.not_(wide.llvm))
        raise KernelError(f"kernels have no {ast.unparse(node)}")

    def _Compare(self, node: ast.Compare) -> Value:
        """Chained comparisons: each operand is computed once, all of them always (nothing in kernels has an effect)."""
        values = [self.number(node.left), *(self.number(c) for c in node.comparators)]
        result = None
        for op, a, b in zip(node.ops, values, values[1:], strict=False):
            one = self._ordered(_ORDER.get(type(op).__name__), a, b)
            result = one if result is None else self.builder.and_(result, one)
        return Value(BOOL, result)

    def _ordered(self, sign: str | None, a: Value, b: Value) -> Any:
        if sign is None:
            raise KernelError("kernels have no such comparison")
        if UINT64 in (a.kind, b.kind) and "int" in (a.kind.family, b.kind.family):
            literal = known(b if a.kind == UINT64 else a)
            if literal is None or literal < 0:
                raise KernelError("a uint64 compared with a signed number: convert one of them")
            a, b = convert(self.builder, a, UINT64), convert(self.builder, b, UINT64)
        kind = compared(a.kind, b.kind)
        one, two = convert(self.builder, a, kind).llvm, convert(self.builder, b, kind).llvm
        if not kind.whole:
            compare = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
            return compare(sign, one, two)
        return (self.builder.icmp_signed if kind.family == "int" else self.builder.icmp_unsigned)(sign, one, two)

    def _BoolOp(self, node: ast.BoolOp) -> Value:
        """`and`, `or`: what comes later is only computed where it matters."""
        b, both = self.builder, isinstance(node.op, ast.And)
        end = b.append_basic_block()
        incoming = []
        for i, part in enumerate(node.values):
            truth = self.truth(part)
            incoming.append((truth, b.block))
            if i == len(node.values) - 1:
                b.branch(end)
                break
            further = b.append_basic_block()
            b.cbranch(truth, further if both else end, end if both else further)
            b.position_at_end(further)
        b.position_at_end(end)
        phi = b.phi(ir.IntType(1))
        for truth, block in incoming:
            phi.add_incoming(truth, block)
        return Value(BOOL, phi)

    def _IfExp(self, node: ast.IfExp) -> Any:
        return self.choice(
            self.truth(node.test), lambda: self.expression(node.body), lambda: self.expression(node.orelse)
        )

    def choice(self, truth: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
        """One of two values or groups of values, of which only one is computed."""
        b = self.builder
        starts = b.append_basic_block(), b.append_basic_block()
        end = b.append_basic_block()
        b.cbranch(truth, *starts)
        ends, made = [], []
        for start, make in zip(starts, (yes, no), strict=True):
            b.position_at_end(start)
            made.append(make())
            ends.append(b.block)
        group = isinstance(made[0], tuple)
        ones, twos = (m if isinstance(m, tuple) else (m,) for m in made)
        if len(ones) != len(twos) or not all(isinstance(v, Value) for v in (*ones, *twos)):
            raise KernelError("the two sides of a choice are not alike")
        kinds = [either(one.kind, two.kind) for one, two in zip(ones, twos, strict=True)]
        incoming = []
        for stop, values in zip(ends, (ones, twos), strict=True):
            b.position_at_end(stop)
            incoming.append([convert(b, v, k).llvm for v, k in zip(values, kinds, strict=True)])
            b.branch(end)
        b.position_at_end(end)
        results = []
        for kind, one, two in zip(kinds, *incoming, strict=True):
            phi = b.phi(kind.llvm)
            phi.add_incoming(one, ends[0])
            phi.add_incoming(two, ends[1])
            results.append(Value(kind, phi))
        return tuple(results) if group else results[0]

    def _Attribute(self, node: ast.Attribute) -> Any:
        if ast.unparse(node).endswith(".ctypes.data") and isinstance(node.value, ast.Attribute):
            array = self.array(node.value.value)
            return Value(INT64, self.builder.ptrtoint(array.pointer, INT64.llvm))
        if isinstance(node.value, ast.Name) and node.value.id == "np":
            return self.global_value(getattr(np, node.attr))
        if node.attr == "shape":
            return tuple(Value(INT64, n) for n in self.array(node.value).shape)
        raise KernelError(f"kernels have no {ast.unparse(node)}")

    def global_value(self, found: Any) -> Any:
        return constant(found) if type(found) in NUMBERS else found

    def _Subscript(self, node: ast.Subscript) -> Any:
        value = self.expression(node.value)
        if isinstance(value, tuple):
            index = known(self.number(node.slice))
            if index is None:
                raise KernelError("a group of values is indexed by a number written out")
            return value[index]
        place = self.place(node)
        if isinstance(place, View):
            return place
        element, pointer = place
        return self.load(element, pointer)

    def _Call(self, node: ast.Call) -> Any:
        if node.keywords:
            raise KernelError("kernels are called without keywords")
        if isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
            array = self.array(node.func.value)
            flat = array.shape[0]
            for size in array.shape[1:]:
                flat = self.builder.mul(flat, size)
            return View(Array(array.kind.element, 1), array.pointer, (flat,), array.origin)
        called = self._called(node.func)
        if called is memory:
            return self._memory(node)
        arguments = [self.expression(a) for a in node.args]
        if called is len:
            if not isinstance(arguments[0], View):
                raise KernelError("the len of a number")
            return Value(INT64, arguments[0].shape[0])
        if isinstance(called, type) and called in NUMBERS:
            return convert(self.builder, arguments[0], NUMBERS[called])
        if called in (min, max):
            return self._extreme("Lt" if called is min else "Gt", arguments)
        if called is abs:
            return self._absolute(arguments[0])
        if called in _MATHS:
            value = arguments[0]
            floats = value if not value.kind.whole else convert(self.builder, value, arithmetic(value.kind, FLOAT32))
            return Value(floats.kind, self._llvm_call(_MATHS[called], floats))
        return self.call(called, arguments)

    def _called(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return _BUILTINS[node.id] if node.id in _BUILTINS else self.outside(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "np":
                return getattr(np, node.attr)
            return getattr(self.outside(node.value.id), node.attr)
        raise KernelError(f"kernels cannot call {ast.unparse(node)}")

    def _memory(self, node: ast.Call) -> View:
        address, count = (self.long(self.number(a)) for a in node.args[:2])
        kind = NUMBERS[self._called(node.args[2])]
        pointer = self.builder.inttoptr(address, kind.stored.as_pointer())
        return View(Array(kind, 1), pointer, (count,), -1)

    def _extreme(self, op: str, values: Sequence[Value]) -> Value:
        found = values[0]
        for value in values[1:]:
            kind = either(found.kind, value.kind)
            found, other = convert(self.builder, found, kind), convert(self.builder, value, kind)
            better = self._ordered(_ORDER[op], other, found)
            found = Value(kind, self.builder.select(better, other.llvm, found.llvm))
        return found

    def _absolute(self, value: Value) -> Value:
        if not value.kind.whole:
            return Value(value.kind, self._llvm_call("fabs", value))
        if value.kind.family == "uint":
            return value
        zero = ir.Constant(value.kind.llvm, 0)
        negative = self.builder.icmp_signed("<", value.llvm, zero)
        return Value(value.kind, self.builder.select(negative, self.builder.sub(zero, value.llvm), value.llvm))

    def _llvm_call(self, name: str, value: Value) -> Any:
        kind = value.kind.llvm
        function = declared(self.builder.module, ir.FunctionType(kind, [kind]), f"llvm.{name}.f{value.kind.bits}")
        return self.builder.call(function, [value.llvm])

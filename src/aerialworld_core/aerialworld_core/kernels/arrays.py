"""Arrays in kernels: where their elements and parts lie."""

from __future__ import annotations

import ast
from typing import Any

from llvmlite import ir

from aerialworld_core.kernels.kinds import BOOL, INT64, Array, KernelError, Number, Value, View, convert, known


class Arrays:
    """What expressions do with arrays."""

    builder: Any

    def expression(self, node: ast.expr) -> Any:
        raise NotImplementedError

    def number(self, node: ast.expr) -> Value:
        value = self.expression(node)
        if not isinstance(value, Value):
            raise KernelError(f"{ast.unparse(node)} is no number")
        return value

    def long(self, value: Value) -> Any:
        return convert(self.builder, value, INT64).llvm

    def array(self, node: ast.expr) -> View:
        value = self.expression(node)
        if not isinstance(value, View):
            raise KernelError(f"{ast.unparse(node)} is no array")
        return value

    def load(self, element: Number, pointer: Any) -> Value:
        raw = self.builder.load(pointer)
        return (
            Value(BOOL, self.builder.icmp_unsigned("!=", raw, ir.Constant(raw.type, 0)))
            if element == BOOL
            else Value(element, raw)
        )

    def store(self, value: Value, element: Number, pointer: Any) -> None:
        raw = convert(self.builder, value, element).llvm
        self.builder.store(self.builder.zext(raw, ir.IntType(8)) if element == BOOL else raw, pointer)

    def place(self, node: ast.Subscript) -> Any:
        """Where a[i, j] lies, as (kind, pointer); or the part a[i] of an array of more dimensions."""
        array = self.array(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if len(parts) == 1 and isinstance(parts[0], ast.Slice):
            return self._part(array, parts[0])
        indices = []
        for part in parts:
            index = self.number(part)
            if not index.kind.whole:
                raise KernelError(f"{ast.unparse(part)} is no whole number")
            if (number := known(index)) is not None and number < 0:
                raise KernelError("kernels do not count from an array's end")
            indices.append(self.long(index))
        if len(indices) > array.kind.dimensions:
            raise KernelError(f"{len(indices)} indices for {array.kind}")
        b, flat = self.builder, indices[0]
        for index, size in zip(indices[1:], array.shape[1:], strict=False):
            flat = b.add(b.mul(flat, size, flags=("nsw",)), index, flags=("nsw",))
        rest = array.shape[len(indices) :]
        for size in rest:
            flat = b.mul(flat, size, flags=("nsw",))
        pointer = b.gep(array.pointer, [flat], inbounds=True)
        if not rest:
            return array.kind.element, pointer
        return View(Array(array.kind.element, len(rest)), pointer, tuple(rest), array.origin)

    def _part(self, array: View, part: ast.Slice) -> View:
        """The rows begin … end − 1 of an array, which must lie in it; all of it without bounds."""
        if part.step is not None:
            raise KernelError("kernels have no steps in slices")
        b = self.builder
        begin = ir.Constant(INT64.llvm, 0) if part.lower is None else self.long(self.number(part.lower))
        end = array.shape[0] if part.upper is None else self.long(self.number(part.upper))
        step = begin
        for size in array.shape[1:]:
            step = b.mul(step, size)
        pointer = b.gep(array.pointer, [step], inbounds=True)
        return View(array.kind, pointer, (b.sub(end, begin), *array.shape[1:]), array.origin)

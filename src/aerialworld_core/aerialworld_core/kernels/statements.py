"""From Python's statements to LLVM's blocks."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from aerialworld_core.kernels.expressions import Expressions
from aerialworld_core.kernels.intrinsics import alloca_once
from aerialworld_core.kernels.kinds import INT64, KernelError, Value, View, convert, known


class Statements(Expressions):
    """Statements of one function. What is done with names and results is `Function`'s, who inherits this. `written` is
    the numbers of the arguments that are written to, `_loops` where `continue` and `break` lead to."""

    python: Callable[..., Any]
    written: set[int]
    _first_line: int
    _loops: list[tuple[Any, Any]]

    def assign(self, name: str, value: Any) -> None:
        raise NotImplementedError

    def _leave(self, values: list[Value]) -> None:
        raise NotImplementedError

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if self.builder.block.is_terminated:
                return  # behind a return, break or continue
            try:
                handler = getattr(self, f"_{type(statement).__name__}", None)
                if handler is None:
                    raise KernelError(f"kernels have no {type(statement).__name__}")
                handler(statement)
            except (KernelError, KeyError, AttributeError) as error:
                raise self._located(error, statement) from error

    def _located(self, error: Exception, statement: ast.stmt) -> KernelError:
        if getattr(error, "located", False):
            assert isinstance(error, KernelError)
            return error
        line = self._first_line + statement.lineno - 1
        located = KernelError(f"{self.python.__code__.co_filename}:{line}: {self.python.__name__}: {error}")
        located.located = True  # type: ignore[attr-defined]
        return located

    def _Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.expression(node.value)

    def _Pass(self, node: ast.Pass) -> None:
        pass

    def _Return(self, node: ast.Return) -> None:
        value = () if node.value is None else self.expression(node.value)
        self._leave(list(value) if isinstance(value, tuple) else [value])

    def _Assign(self, node: ast.Assign) -> None:
        value = self.expression(node.value)
        for target in node.targets:
            self._set(target, value)

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._set(node.target, self.expression(node.value))

    def _set(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self.assign(target.id, value)
        elif isinstance(target, ast.Tuple):
            if not isinstance(value, tuple) or len(value) != len(target.elts):
                raise KernelError(f"{ast.unparse(target)} takes {len(target.elts)} values")
            for one, part in zip(target.elts, value, strict=True):
                self._set(one, part)
        elif isinstance(target, ast.Subscript):
            place = self.place(target)
            self.written.add(self.array(target.value).origin)
            if isinstance(place, View):
                self._fill(place, value)
            else:
                self.store(value, *place)
        else:
            raise KernelError(f"kernels cannot set {ast.unparse(target)}")

    def _fill(self, target: View, value: Any) -> None:
        """All elements of an array: one number, or the elements of another array of one dimension."""
        b = self.builder
        count = target.shape[0]
        for size in target.shape[1:]:
            count = b.mul(count, size)
        if isinstance(value, View) and (value.kind.dimensions, target.kind.dimensions) != (1, 1):
            raise KernelError("only arrays of one dimension are copied as a whole")

        def one(i: Any) -> None:
            found = value
            if isinstance(value, View):
                found = self.load(value.kind.element, b.gep(value.pointer, [i], inbounds=True))
            self.store(found, target.kind.element, b.gep(target.pointer, [i], inbounds=True))

        self._count(ir.Constant(INT64.llvm, 0), count, ir.Constant(INT64.llvm, 1), one)

    def _AugAssign(self, node: ast.AugAssign) -> None:
        name, target = type(node.op).__name__, node.target
        if isinstance(target, ast.Subscript):
            place = self.place(target)
            if isinstance(place, View):
                raise KernelError("an array is changed element by element")
            self.written.add(self.array(target.value).origin)
            self.store(self.binary(name, self.load(*place), self.number(node.value)), *place)
        elif isinstance(target, ast.Name):
            self.assign(target.id, self.binary(name, self.number(ast.Name(target.id)), self.number(node.value)))
        else:
            raise KernelError(f"kernels cannot change {ast.unparse(target)}")

    def _If(self, node: ast.If) -> None:
        b = self.builder
        yes, end = b.append_basic_block(), b.append_basic_block()
        no = b.append_basic_block() if node.orelse else end
        b.cbranch(self.truth(node.test), yes, no)
        reached = not node.orelse
        for start, statements in ((yes, node.body), (no, node.orelse)):
            if not statements:
                continue
            b.position_at_end(start)
            self._block(statements)
            if not b.block.is_terminated:
                b.branch(end)
                reached = True
        b.position_at_end(end)
        if not reached:
            b.unreachable()

    def _While(self, node: ast.While) -> None:
        b = self.builder
        head, body, end = (b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        b.cbranch(self.truth(node.test), body, end)
        b.position_at_end(body)
        self._loop(node, head, end)
        if not b.block.is_terminated:
            b.branch(head)
        b.position_at_end(end)
        forever = isinstance(node.test, ast.Constant) and node.test.value is True
        if forever and not any(isinstance(n, ast.Break) for n in ast.walk(node)):
            b.unreachable()

    def _loop(self, node: ast.While | ast.For, again: Any, end: Any) -> None:
        if node.orelse:
            raise KernelError("kernels' loops have no else")
        self._loops.append((again, end))
        self._block(node.body)
        self._loops.pop()

    def _Break(self, node: ast.Break) -> None:
        self.builder.branch(self._loops[-1][1])

    def _Continue(self, node: ast.Continue) -> None:
        self.builder.branch(self._loops[-1][0])

    def _For(self, node: ast.For) -> None:
        call, target = node.iter, node.target
        if isinstance(call, ast.Tuple):
            self._for_each(node, self.expression(call))
            return
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise KernelError("kernels' for loops run over a range() or a tuple")
        if not isinstance(target, ast.Name):
            raise KernelError("kernels' for loops have one variable")
        numbers = [convert(self.builder, self.number(a), INT64) for a in call.args]
        start = numbers[0].llvm if len(numbers) > 1 else ir.Constant(INT64.llvm, 0)
        step = numbers[2].llvm if len(numbers) > 2 else ir.Constant(INT64.llvm, 1)
        stop = numbers[1 if len(numbers) > 1 else 0].llvm

        def body(i: Any) -> None:
            self.assign(target.id, Value(INT64, i))

        self._count(start, stop, step, body, node)

    def _for_each(self, node: ast.For, values: tuple[Any, ...]) -> None:
        """The statements once for each of a few values."""
        b = self.builder
        end = b.append_basic_block()
        for value in values:
            after = b.append_basic_block()
            self._set(node.target, value)
            self._loop(node, after, end)
            if not b.block.is_terminated:
                b.branch(after)
            b.position_at_end(after)
        b.branch(end)
        b.position_at_end(end)

    def _count(
        self, start: Any, stop: Any, step: Any, body: Callable[[Any], None], node: ast.For | None = None
    ) -> None:
        """A loop over range(start, stop, step): `body`, then the statements of `node`."""
        b = self.builder
        head, inside, more, end = (b.append_basic_block() for _ in range(4))
        place = alloca_once(b, INT64.llvm)
        b.store(start, place)
        b.branch(head)
        b.position_at_end(head)
        i = b.load(place)
        way = known(Value(INT64, step))
        if way is None:
            up = b.icmp_signed(">", step, ir.Constant(INT64.llvm, 0))
            goes_on = b.select(up, b.icmp_signed("<", i, stop), b.icmp_signed(">", i, stop))
        else:
            goes_on = b.icmp_signed("<" if way > 0 else ">", i, stop)
        b.cbranch(goes_on, inside, end)
        b.position_at_end(inside)
        body(i)
        if node is not None:
            self._loop(node, more, end)
        if not b.block.is_terminated:
            b.branch(more)
        b.position_at_end(more)
        b.store(b.add(b.load(place), step, flags=("nsw",)), place)
        b.branch(head)
        b.position_at_end(end)

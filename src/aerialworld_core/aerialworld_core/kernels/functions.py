"""From a Python function to LLVM's: its statements and variables, and the module that it and what it calls make up.

A variable has one kind wherever it is used. Whole numbers of different kinds share one that holds both; a variable that
were float32 here and float64 there is an error, for where it is which would depend on what runs before.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from aerialworld_core.kernels.expressions import Expressions
from aerialworld_core.kernels.intrinsics import Intrinsic, alloca_once
from aerialworld_core.kernels.kinds import BOOL, INT64, Array, KernelError, Number, Value, View, convert, either, known

Kinds = tuple[Number | Array, ...]


@dataclass(frozen=True)
class _Held:
    """A name for an array that was not passed: where its place and sizes are kept, for a loop may change them."""

    view: View


class _Wider(Exception):
    """A variable turned out to hold another kind as well: the function is written anew with the wider one."""


class Function(Expressions):
    """One Python function for arguments of certain kinds, in the module of `unit`. `returned` is the kinds of what it
    returns (none for None), `written` the numbers of the arguments that it writes to."""

    def __init__(self, unit: Unit, python: Callable[..., Any], kinds: Kinds, name: str) -> None:
        self.unit, self.python, self.kinds, self.symbol = unit, python, kinds, name
        self.tree, self._first_line = parsed(python)
        names = [a.arg for a in self.tree.args.args]
        if len(names) != len(kinds):
            raise KernelError(f"{python.__qualname__} takes {len(names)} arguments, not {len(kinds)}")
        self._globals, self._enclosing = python.__globals__, inspect.getclosurevars(python).nonlocals
        self._kept: dict[str, Number] = {}
        self._locals = {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        while True:
            try:
                self._write(names)
                return
            except _Wider:
                del unit.module.globals[self.llvm.name]

    def _write(self, names: list[str]) -> None:
        self.returned: tuple[Number, ...] | None = None
        self.written: set[int] = set()
        self._slots: dict[str, Any] = {}
        self._loops: list[tuple[Any, Any]] = []
        self.llvm = body = self._declare([])
        # What is returned is known at the end only: statements go into a function without a result first.
        self.builder = ir.IRBuilder(body.append_basic_block("entry"))
        self._returns: list[tuple[Any, list[Value]]] = []
        arguments = iter(body.args)
        for number, (name, kind) in enumerate(zip(names, self.kinds, strict=True)):
            if isinstance(kind, Number):
                self.assign(name, Value(kind, next(arguments)))
            else:
                pointer = next(arguments)
                self._slots[name] = View(kind, pointer, tuple(next(arguments) for _ in range(kind.dimensions)), number)
        self._block(self.tree.body)
        if not self.builder.block.is_terminated:
            self._leave([])
        kinds = self.returned or ()
        body.ftype = ir.FunctionType(_packed(kinds), body.ftype.args)
        body.type = body.ftype.as_pointer()
        body.return_value = ir.values.ReturnValue(body, body.ftype.return_type)
        for block, values in self._returns:
            self.builder.position_at_end(block)
            if len(values) != len(kinds):
                raise KernelError(
                    f"{self.python.__qualname__} returns {len(kinds)} values here and {len(values)} there"
                )
            self._return(values, kinds)

    def _declare(self, kinds: Sequence[Number]) -> Any:
        arguments: list[Any] = []
        for kind in self.kinds:
            if isinstance(kind, Number):
                arguments.append(kind.llvm)
            else:
                arguments += [kind.element.stored.as_pointer(), *[INT64.llvm] * kind.dimensions]
        name = self.unit.module.get_unique_name(self.symbol)
        function = ir.Function(self.unit.module, ir.FunctionType(_packed(kinds), arguments), name)
        function.linkage = "internal"
        function.attributes.add("nounwind")
        return function

    def _return(self, values: list[Value], kinds: tuple[Number, ...]) -> None:
        b = self.builder
        raw = [convert(b, v, k).llvm for v, k in zip(values, kinds, strict=True)]
        if not raw:
            b.ret_void()
        elif len(raw) == 1:
            b.ret(raw[0])
        else:
            group = ir.Constant(_packed(kinds), ir.Undefined)
            for i, one in enumerate(raw):
                group = b.insert_value(group, one, i)
            b.ret(group)

    # Names

    def name(self, node: ast.Name) -> Any:
        if node.id in self._slots:
            slot = self._slots[node.id]
            return self._read(slot)
        if node.id in self._locals:
            raise KernelError(f"{node.id} is used before it is set")
        return self.global_value(self.outside(node.id))

    def _read(self, slot: Any) -> Any:
        if isinstance(slot, tuple):
            return tuple(self._read(s) for s in slot)
        if isinstance(slot, View):
            return slot
        if isinstance(slot, _Held):
            pointer, *shape = (self.builder.load(p) for p in (slot.view.pointer, *slot.view.shape))
            return View(slot.view.kind, pointer, tuple(shape), slot.view.origin)
        return Value(slot.kind, self.builder.load(slot.llvm))

    def outside(self, name: str) -> Any:
        for known_names in (self._enclosing, self._globals):
            if name in known_names:
                return known_names[name]
        raise KernelError(f"{name} is not known")

    def assign(self, name: str, value: Any) -> None:
        if isinstance(value, tuple):
            for i, part in enumerate(value):
                self.assign(f"{name}.{i}", part)
            self._slots[name] = tuple(self._slots[f"{name}.{i}"] for i in range(len(value)))
            return
        if isinstance(value, View):
            self._assign_view(name, value)
            return
        if not isinstance(value, Value):
            raise KernelError(f"{name} cannot stand for {type(value).__name__}")
        kind = self._kept.get(name, value.kind)
        if value.kind != kind:
            wider = either(kind, value.kind)
            if not (kind.whole and value.kind.whole and BOOL not in (kind, value.kind)):
                raise KernelError(f"{name} is {kind} here and {value.kind} there: two names, or convert it")
            if wider != kind:
                self._kept[name] = wider
                raise _Wider
        self._kept[name] = kind
        if name not in self._slots:
            self._slots[name] = Value(kind, alloca_once(self.builder, kind.llvm))
        self.builder.store(convert(self.builder, value, kind).llvm, self._slots[name].llvm)

    def _assign_view(self, name: str, value: View) -> None:
        b, held = self.builder, self._slots.get(name)
        if held is None:
            shape = tuple(alloca_once(b, INT64.llvm) for _ in value.shape)
            held = _Held(View(value.kind, alloca_once(b, value.pointer.type), shape, value.origin))
            self._slots[name] = held
        if not isinstance(held, _Held) or (held.view.kind, held.view.origin) != (value.kind, value.origin):
            raise KernelError(f"{name} already stands for something else")
        b.store(value.pointer, held.view.pointer)
        for place, size in zip(held.view.shape, value.shape, strict=True):
            b.store(size, place)

    # Statements

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

    def _leave(self, values: list[Value]) -> None:
        kinds = tuple(v.kind for v in values)
        if self.returned and len(self.returned) == len(kinds):
            kinds = tuple(either(a, b) for a, b in zip(self.returned, kinds, strict=True))
        self.returned = kinds if self.returned is None or kinds else self.returned
        block = self.builder.block
        self._returns.append((block, values))
        self.builder.position_at_end(self.builder.append_basic_block())
        self.builder.unreachable()

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
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
            raise KernelError("kernels' for loops run over a range()")
        if not isinstance(target, ast.Name):
            raise KernelError("kernels' for loops have one variable")
        numbers = [convert(self.builder, self.number(a), INT64) for a in call.args]
        start = numbers[0].llvm if len(numbers) > 1 else ir.Constant(INT64.llvm, 0)
        step = numbers[2].llvm if len(numbers) > 2 else ir.Constant(INT64.llvm, 1)
        stop = numbers[1 if len(numbers) > 1 else 0].llvm

        def body(i: Any) -> None:
            self.assign(target.id, Value(INT64, i))

        self._count(start, stop, step, body, node)

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

    # Calls

    def call(self, called: Any, arguments: Sequence[Any]) -> Any:
        if isinstance(called, Intrinsic):
            self.unit.sources.add(called.__module__)
            return called.build(self.builder, arguments)
        python = getattr(called, "python", None)
        if python is None:
            raise KernelError(f"kernels cannot call {called!r}")
        function = self.unit.function(python, tuple(a.kind for a in arguments))
        raw: list[Any] = []
        for number, argument in enumerate(arguments):
            if isinstance(argument, View):
                raw += [argument.pointer, *argument.shape]
                if number in function.written:
                    self.written.add(argument.origin)
            else:
                raw.append(argument.llvm)
        result = self.builder.call(function.llvm, raw)
        kinds = function.returned or ()
        if len(kinds) == 1:
            return Value(kinds[0], result)
        return tuple(Value(k, self.builder.extract_value(result, i)) for i, k in enumerate(kinds))


def _packed(kinds: Sequence[Number]) -> Any:
    if not kinds:
        return ir.VoidType()
    return kinds[0].llvm if len(kinds) == 1 else ir.LiteralStructType([k.llvm for k in kinds])


def parsed(python: Callable[..., Any]) -> tuple[ast.FunctionDef, int]:
    """A function's syntax tree, and the line of its file that is the tree's first."""
    lines, first = inspect.getsourcelines(python)
    tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    return tree, first


class Unit:
    """One LLVM module: a kernel for arguments of certain kinds, and all that it calls."""

    def __init__(self) -> None:
        self.module = ir.Module("kernels")
        self.functions: dict[tuple[Any, Kinds], Function] = {}
        #: Names of the Python modules that went in.
        self.sources: set[str] = set()
        self._under_way: list[Any] = []

    def function(self, python: Callable[..., Any], kinds: Kinds) -> Function:
        """The function for arguments of these kinds; written at the first call. Raises KernelError."""
        key = python, kinds
        if key not in self.functions:
            if python in self._under_way:
                raise KernelError(f"{python.__name__} calls itself")
            self._under_way.append(python)
            self.sources.add(python.__module__)
            self.functions[key] = Function(self, python, kinds, f"{python.__name__}.{len(self.functions)}")
            self._under_way.pop()
        return self.functions[key]

"""From a Python function to LLVM's: its variables and results, and the module that it and what it calls make up.

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

from aerialworld_core.kernels.intrinsics import Intrinsic, alloca_once
from aerialworld_core.kernels.kinds import BOOL, INT64, Array, KernelError, Number, Value, View, convert, either
from aerialworld_core.kernels.statements import Statements

Kinds = tuple[Number | Array, ...]


@dataclass(frozen=True)
class _Held:
    """A name for an array that was not passed: where its place and sizes are kept, for a loop may change them."""

    view: View


class _Wider(Exception):
    """A variable, or what is returned, turned out to hold another kind as well: the function is written anew for it."""


class Function(Statements):
    """One Python function for arguments of certain kinds, in the module of `unit`. `returned` is the kinds of what it
    returns (none for None), `written` the numbers of the arguments that it writes to."""

    def __init__(self, unit: Unit, python: Callable[..., Any], kinds: Kinds, name: str) -> None:
        self.unit, self.python, self.kinds, self.symbol = unit, python, kinds, name
        self.tree, self._first_line = parsed(python)
        names = [a.arg for a in self.tree.args.args]
        if len(names) != len(kinds):
            raise KernelError(f"{python.__qualname__} takes {len(names)} arguments, not {len(kinds)}")
        self._globals, self._enclosing = python.__globals__, inspect.getclosurevars(python).nonlocals
        self.returned: tuple[Number, ...] = ()
        self._kept: dict[str, Number] = {}
        self._locals = {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        while True:
            try:
                self._write(names)
                return
            except _Wider:
                del unit.module.globals[self.llvm.name]

    def _write(self, names: list[str]) -> None:
        self.written: set[int] = set()
        self._slots: dict[str, Any] = {}
        self._loops: list[tuple[Any, Any]] = []
        self._leaves = False
        self.llvm = self._declare()
        self.builder = ir.IRBuilder(self.llvm.append_basic_block("entry"))
        arguments = iter(self.llvm.args)
        for number, (name, kind) in enumerate(zip(names, self.kinds, strict=True)):
            if isinstance(kind, Number):
                self.assign(name, Value(kind, next(arguments)))
            else:
                pointer = next(arguments)
                self._slots[name] = View(kind, pointer, tuple(next(arguments) for _ in range(kind.dimensions)), number)
        self._block(self.tree.body)
        if not self.builder.block.is_terminated:
            try:
                self._leave([])
            except KernelError as error:
                raise self._located(error, self.tree.body[-1]) from error

    def _declare(self) -> Any:
        arguments: list[Any] = []
        for kind in self.kinds:
            if isinstance(kind, Number):
                arguments.append(kind.llvm)
            else:
                arguments += [kind.element.stored.as_pointer(), *[INT64.llvm] * kind.dimensions]
        name = self.unit.module.get_unique_name(self.symbol)
        function = ir.Function(self.unit.module, ir.FunctionType(_packed(self.returned), arguments), name)
        function.linkage = "internal"
        function.attributes.add("nounwind")
        return function

    def _leave(self, values: list[Value]) -> None:
        """Return these values. What kinds a function returns is known when it has been read once: then it is written
        anew for them."""
        kinds = tuple(v.kind for v in values)
        if self._leaves and len(kinds) != len(self.returned):
            raise KernelError(f"{len(kinds)} values are returned here, {len(self.returned)} elsewhere")
        if len(kinds) == len(self.returned):
            kinds = tuple(either(a, b) for a, b in zip(self.returned, kinds, strict=True))
        if kinds != self.returned:
            self.returned = kinds
            raise _Wider
        self._leaves = True
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
        kinds = function.returned
        if len(kinds) == 1:
            return Value(kinds[0], result)
        return tuple(Value(k, self.builder.extract_value(result, i)) for i, k in enumerate(kinds))


def _packed(kinds: Sequence[Number]) -> Any:
    if not kinds:
        return ir.VoidType()
    return kinds[0].llvm if len(kinds) == 1 else ir.LiteralStructType([k.llvm for k in kinds])


def parsed(python: Callable[..., Any]) -> tuple[ast.FunctionDef, int]:
    """A function's syntax tree, and the line of its file that is the tree's first."""
    try:
        lines, first = inspect.getsourcelines(python)
    except OSError as error:
        raise KernelError(f"{python.__qualname__}: a kernel is compiled from its file, and there is none") from error
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

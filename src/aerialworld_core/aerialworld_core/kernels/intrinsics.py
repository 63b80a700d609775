"""Functions that are written as LLVM code, for kernels to call: by numba's protocol, so that they read as its do.

@intrinsic
def twice(context, x):
    def generate(context, builder, signature, arguments):
        return builder.fadd(arguments[0], arguments[0])

    return types.float32(types.float32), generate
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from aerialworld_core.kernels.kinds import (
    BOOL,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    UINT64,
    KernelError,
    Number,
    Value,
    convert,
)


@dataclass(frozen=True)
class Signature:
    """What a function takes, and what it returns (None: nothing)."""

    returns: Number | None
    arguments: tuple[Number, ...]


class _Kind:
    """A kind that is called with those of the arguments to say a signature, as numba's types are."""

    def __init__(self, kind: Number | None) -> None:
        self.kind = kind

    def __call__(self, *arguments: _Kind) -> Signature:
        kinds = tuple(a.kind for a in arguments)
        return Signature(self.kind, tuple(k for k in kinds if k is not None))


class types:
    """The kinds that signatures are made of, by numba's names."""

    void, boolean = _Kind(None), _Kind(BOOL)
    int32, int64, intp, uintp, uint64 = _Kind(INT32), _Kind(INT64), _Kind(INT64), _Kind(INT64), _Kind(UINT64)
    float32, float64 = _Kind(FLOAT32), _Kind(FLOAT64)


class _Context:
    def get_dummy_value(self) -> None:
        """What a function generates that returns nothing."""


class Intrinsic:
    """A function for kernels; `python` is what it was written as, for whoever asks where."""

    def __init__(self, define: Callable[..., tuple[Signature, Callable[..., Any]]]) -> None:
        self.define, self.__name__, self.__doc__ = define, define.__name__, define.__doc__
        self.__module__ = define.__module__
        count = len(inspect.signature(define).parameters) - 1
        self.signature, self._generate = define(_Context(), *[None] * count)

    def build(self, builder: Any, arguments: Sequence[Value]) -> Any:
        wanted = self.signature.arguments
        if len(wanted) != len(arguments) or not all(isinstance(a, Value) for a in arguments):
            raise KernelError(f"{self.__name__} takes {len(wanted)} numbers")
        raw = [convert(builder, a, kind).llvm for a, kind in zip(arguments, wanted, strict=True)]
        made = self._generate(_Context(), builder, self.signature, raw)
        return () if self.signature.returns is None else Value(self.signature.returns, made)


def intrinsic(define: Callable[..., tuple[Signature, Callable[..., Any]]]) -> Intrinsic:
    """Make a function of LLVM instructions callable by kernels; see the module's text."""
    return Intrinsic(define)


def external(name: str, signature: Signature) -> Intrinsic:
    """A C function of a library that is loaded before a kernel that calls it."""

    def define(context: Any, *arguments: Any) -> tuple[Signature, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Signature, arguments: Sequence[Any]) -> Any:
            returns = ir.VoidType() if signature.returns is None else signature.returns.llvm
            kind = ir.FunctionType(returns, [k.llvm for k in signature.arguments])
            return builder.call(declared(builder.module, kind, name), arguments)

        return signature, generate

    return Intrinsic(define)


def declared(module: Any, signature: Any, name: str) -> Any:
    """A function of that name in the module: the one there is, or a new declaration."""
    found = module.globals.get(name)
    return ir.Function(module, signature, name) if found is None else found


def alloca_once(builder: Any, kind: Any) -> Any:
    """Room for one value in the function's frame, wherever the builder is."""
    with builder.goto_entry_block():
        return builder.alloca(kind)


@contextmanager
def counting(builder: Any, count: Any) -> Iterator[Any]:
    """A loop over 0 … count − 1, of 64-bit integers of LLVM's."""
    kind = ir.IntType(64)
    place = alloca_once(builder, kind)
    head, body, end = (builder.append_basic_block() for _ in range(3))
    builder.store(kind(0), place)
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.load(place)
    builder.cbranch(builder.icmp_signed("<", i, count), body, end)
    builder.position_at_end(body)
    yield i
    builder.store(builder.add(i, kind(1), flags=("nsw",)), place)
    builder.branch(head)
    builder.position_at_end(end)

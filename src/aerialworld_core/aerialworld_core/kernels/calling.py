"""Functions that run as machine code: compiled when first called with arguments of new kinds, and kept on disk.

A kernel is called as the Python function that it is written as. Arrays go in as the objects they are: the compiled
entry reads their places and sizes from numpy's own structure (PyArrayObject, part of numpy's stable C interface), which
is faster than to read them in Python.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import threading
import uuid
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from aerialworld_core.kernels import store
from aerialworld_core.kernels.kinds import ELEMENTS, NUMBERS, Array, KernelError, Number

_HEAD = object.__basicsize__
_PASSED: dict[str, Any] = {"float32": ctypes.c_float, "float64": ctypes.c_double, "uint64": ctypes.c_uint64}
_RETURNED: dict[str, Any] = {
    "float32": ctypes.c_float, "float64": ctypes.c_double, "uint64": ctypes.c_uint64, "int32": ctypes.c_int32,
    "uint32": ctypes.c_uint32, "uint8": ctypes.c_uint8, "bool": ctypes.c_int64, "int64": ctypes.c_int64,
}  # fmt: skip
_compiling = threading.RLock()
#: What code depends on beside its sources and the processor: how Python and numpy lay out their objects.
_LAYOUT = f"{sys.implementation.cache_tag} {_HEAD} {np.__version__.partition('.')[0]}"


class Kernel:
    """A compiled function; `python` is what it was written as."""

    def __init__(self, python: Callable[..., Any]) -> None:
        self.python = python
        self.__name__, self.__doc__, self.__module__ = python.__name__, python.__doc__, python.__module__
        self._entries: dict[tuple[Any, ...], Callable[[tuple[Any, ...]], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        key = tuple([(a.dtype, a.ndim) if isinstance(a, np.ndarray) else type(a) for a in arguments])
        entry = self._entries.get(key)
        if entry is None:
            entry = self._enter(key)
        return entry(arguments)

    def _enter(self, key: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], Any]:
        with _compiling:
            if key not in self._entries:
                self._entries[key] = self._entry(tuple(self._kind(i, k) for i, k in enumerate(key)))
            return self._entries[key]

    def _kind(self, number: int, key: Any) -> Number | Array:
        if isinstance(key, tuple) and key[1] > 0 and key[0] in ELEMENTS:
            return Array(ELEMENTS[key[0]], key[1])
        if not isinstance(key, tuple) and key in NUMBERS:
            return NUMBERS[key]
        what = f"an array of {key[0]}" if isinstance(key, tuple) else key.__name__
        raise KernelError(f"{self.__name__}: {self._name(number)} is {what}, which kernels do not take")

    def _name(self, number: int) -> str:
        names = list(inspect.signature(self.python).parameters)
        return names[number] if number < len(names) else f"argument {number + 1}"

    def _entry(self, kinds: tuple[Number | Array, ...]) -> Callable[[tuple[Any, ...]], Any]:
        address, returned = resolve(
            f"{self.__module__}.{self.python.__qualname__}", self.__module__, " ".join(map(str, kinds)),
            lambda symbol: _write_entry(self.python, kinds, symbol),
        )  # fmt: skip
        passed = [ctypes.c_int64 if isinstance(k, Array) else _PASSED.get(str(k), ctypes.c_int64) for k in kinds]
        function = ctypes.CFUNCTYPE(ctypes.c_int32, *passed, ctypes.c_int64)(address)
        opened = [id if isinstance(k, Array) else int if k.whole else float for k in kinds]
        results = [_RETURNED[kind] for kind in returned]

        def enter(arguments: tuple[Any, ...]) -> None:
            refused = function(*[o(a) for o, a in zip(opened, arguments, strict=True)], 0)
            if refused:
                self._refuse(refused - 1)

        if not results:
            return enter

        def ask(arguments: tuple[Any, ...]) -> Any:
            room = (ctypes.c_int64 * len(results))()
            here = ctypes.addressof(room)
            refused = function(*[o(a) for o, a in zip(opened, arguments, strict=True)], here)
            if refused:
                self._refuse(refused - 1)
            found = [kind.from_address(here + 8 * i).value for i, kind in enumerate(results)]
            found = [bool(v) if name == "bool" else v for v, name in zip(found, returned, strict=True)]
            return found[0] if len(found) == 1 else tuple(found)

        return ask

    def _refuse(self, number: int) -> None:
        raise KernelError(
            f"{self.__name__}: {self._name(number)} must be a C-contiguous array, and writeable where it is written to"
        )


class Callback:
    """A function of addresses that C code may call at `address`."""

    def __init__(self, python: Callable[..., Any]) -> None:
        self.python, self.__doc__ = python, python.__doc__

    @cached_property
    def address(self) -> int:
        with _compiling:
            name, module = f"{self.python.__module__}.{self.python.__qualname__}", self.python.__module__
            return resolve(name, module, "callback", lambda symbol: _write_callback(self.python, symbol))[0]


def _write_entry(python: Any, kinds: Any, symbol: str) -> tuple[Any, list[str], set[str]]:
    from aerialworld_core.kernels.entries import write_entry

    return write_entry(python, kinds, symbol, _HEAD)


def _write_callback(python: Any, symbol: str) -> tuple[Any, list[str], set[str]]:
    from aerialworld_core.kernels.entries import write_callback

    module, sources = write_callback(python, len(inspect.signature(python).parameters), symbol)
    return module, [], sources


def resolve(
    name: str, module_name: str, kinds: str, write: Callable[[str], tuple[Any, list[str], set[str]]]
) -> tuple[int, list[str]]:
    """The address of a compiled function and the kinds that it returns: from the store, or else compiled."""
    from aerialworld_core.kernels import machine

    entry = None
    if "<locals>" not in name:  # what is made inside a function may mean something else every time
        entry = store.Entry(name, kinds, machine.machine_name(), store.source(module_name), _LAYOUT)
        kept = entry.read()
        if kept is not None:
            about, code = kept
            return machine.loaded(code, about["symbol"]), about["returns"]
    symbol = f"kernel_{uuid.uuid4().hex}"
    module, returned, modules = write(symbol)
    code = machine.compiled(module)
    if entry is not None:
        entry.write({"symbol": symbol, "returns": returned}, code, {store.source(m) for m in modules})
    return machine.loaded(code, symbol), returned


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function: without the GIL, and without checks of bounds; arithmetic stays IEEE, so that results do not
    depend on the width of vectors. Kernels may call each other."""
    return Kernel(function)


def callback(function: Callable[..., Any]) -> Any:
    """Compile a function of addresses that returns nothing for C code to call (`.address`)."""
    return Callback(function)

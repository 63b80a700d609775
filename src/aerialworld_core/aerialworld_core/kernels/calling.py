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

_ARRAY = np.ndarray
_HEAD = object.__basicsize__
_PASSED: dict[str, Any] = {"float32": ctypes.c_float, "float64": ctypes.c_double, "uint64": ctypes.c_uint64}
_RETURNED: dict[str, Any] = {
    **_PASSED, "bool": ctypes.c_int64,
    "int8": ctypes.c_int8, "int16": ctypes.c_int16, "int32": ctypes.c_int32, "int64": ctypes.c_int64,
    "uint8": ctypes.c_uint8, "uint16": ctypes.c_uint16, "uint32": ctypes.c_uint32,
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
        key = tuple([(a.dtype, a.ndim) if type(a) is _ARRAY else type(a) for a in arguments])
        entry = self._entries.get(key)
        return entry(arguments) if entry is not None else self._first(arguments)

    def _first(self, arguments: tuple[Any, ...]) -> Any:
        """The first call with arguments of these types, or one with arrays of types derived from numpy's."""
        plain = tuple(np.asarray(a) if isinstance(a, _ARRAY) else a for a in arguments)
        key = tuple((a.dtype, a.ndim) if isinstance(a, _ARRAY) else type(a) for a in plain)
        with _compiling:
            if key not in self._entries:
                self._entries[key] = self._entry(tuple(self._kind(i, k) for i, k in enumerate(key)), key)
        return self._entries[key](plain)

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

    def _entry(self, kinds: tuple[Number | Array, ...], key: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], Any]:
        address, returned = resolve(
            f"{self.__module__}.{self.python.__qualname__}", self.__module__, " ".join(map(str, kinds)),
            lambda symbol: _write_entry(self.python, kinds, symbol),
        )  # fmt: skip
        passed = [ctypes.py_object if isinstance(k, Array) else _PASSED.get(str(k), ctypes.c_int64) for k in kinds]
        function = ctypes.CFUNCTYPE(ctypes.c_int32, *passed, ctypes.c_int64)(address)
        of_numpy = [isinstance(k, type) and issubclass(k, np.generic) for k in key]
        results = [_RETURNED[kind] for kind in returned]

        def call(arguments: tuple[Any, ...], results_at: int) -> None:
            refused = function(*arguments, results_at)
            if refused:
                self._refuse(refused - 1)

        def call_plain(arguments: tuple[Any, ...], results_at: int) -> None:
            call(tuple([a.item() if n else a for a, n in zip(arguments, of_numpy, strict=True)]), results_at)

        made = call_plain if any(of_numpy) else call
        if not results:
            return lambda arguments: made(arguments, 0)

        def ask(arguments: tuple[Any, ...]) -> Any:
            room = (ctypes.c_int64 * len(results))()
            here = ctypes.addressof(room)
            made(arguments, here)
            found = [kind.from_address(here + 8 * i).value for i, kind in enumerate(results)]
            found = [bool(v) if name == "bool" else v for v, name in zip(found, returned, strict=True)]
            return found[0] if len(found) == 1 else tuple(found)

        return ask

    def _refuse(self, number: int) -> None:
        wanted = "must be a C-contiguous, aligned array, and writeable where it is written to"
        raise KernelError(f"{self.__name__}: {self._name(number)} {wanted}")


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

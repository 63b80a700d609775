"""Loops at native speed: Python functions over numbers and arrays, compiled by LLVM (extra `aerialworld_core[world]`).

numba could compile them too, and their results are its results to the last bit; but it takes a second to import, and
most of half a minute to infer the types of the engine's and the recorder's functions. These are written in a small part
of Python that needs no inference: numbers and C-contiguous arrays; `for` over a `range()` or a tuple, `while`, `if`;
indices from 0 on; numpy's scalar types and a few functions. Everything has a kind from where it is first set, and what
is not understood is an error at the first call, with file and line.

    @kernel
    def total(values):
        result = 0.0
        for i in range(len(values)):
            result += values[i]
        return result

`arrays`, `expressions`, `statements` and `functions` translate, `machine` has LLVM optimise and run, `store` keeps the
outcome on disk.
"""

from __future__ import annotations

from aerialworld_core.kernels.calling import callback, kernel
from aerialworld_core.kernels.expressions import memory
from aerialworld_core.kernels.intrinsics import Intrinsic, alloca_once, counting, declared, external, intrinsic, types
from aerialworld_core.kernels.kinds import KernelError

__all__ = [
    "Intrinsic",
    "KernelError",
    "alloca_once",
    "callback",
    "counting",
    "declared",
    "external",
    "intrinsic",
    "kernel",
    "memory",
    "types",
]

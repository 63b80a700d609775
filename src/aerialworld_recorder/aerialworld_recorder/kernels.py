"""How the room's compiled functions are compiled: small, so that a first start does not take long.

`kernel` is called from Python and kept on disk. `helper` is called by kernels of its own file only: it needs no way
in from Python, and the file's change date renews what is on disk. Each set of argument types is compiled anew, and a
number written out in a call counts as a type of its own: pass it in a variable. Constants of other files are compiled
in: who changes those of `faces` or `labels` deletes what is on disk (NUMBA_CACHE_DIR, or __pycache__).
"""

from __future__ import annotations

from typing import Any

import numba

_njit: Any = numba.njit  # typed loosely: numba's stubs know neither all options nor a compiled function's arguments
kernel: Any = _njit(nogil=True, cache=True, error_model="numpy")
helper: Any = _njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)

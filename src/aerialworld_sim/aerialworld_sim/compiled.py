"""Where compiled kernels are cached, so that a second start takes a fraction of a second.

numba's cache holds pickles: a folder that others can write to would let them run code in this process. The cache is
therefore only used in a folder of mode 0700 that belongs to the user; without one, kernels are compiled at every start.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


def _private_folder() -> Path | None:
    """`$XDG_CACHE_HOME/aerialworld/numba`, made with mode 0700; None when it cannot be made or is open to others."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "aerialworld" / "numba"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return folder if private and os.access(folder, os.W_OK) else None


def _cache_is_usable() -> bool:
    settings: Any = numba.config
    if settings.CACHE_DIR:  # the user chose one (NUMBA_CACHE_DIR)
        return True
    folder = _private_folder()
    if folder is None:
        return False
    settings.CACHE_DIR = str(folder)
    return True


_CACHE = _cache_is_usable()


def kernel(function: Callable[..., Any]) -> Any:
    """Compile without the GIL and without checks; arithmetic stays IEEE, so results do not depend on vector width."""
    return numba.njit(nogil=True, cache=_CACHE, error_model="numpy")(function)


def callback(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function that C code may call (`.address`)."""
    return numba.cfunc(signature, cache=_CACHE)


def aligned(count: int) -> NDArray[np.float32]:
    """(count,) float32 zeros on a 64-byte boundary, for vector instructions."""
    raw = np.zeros(count + 16, np.float32)
    skip = -raw.ctypes.data % 64 // 4
    return raw[skip : skip + count]

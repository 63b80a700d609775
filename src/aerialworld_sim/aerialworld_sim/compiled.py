"""What this package's kernels are made with: `kernel`, and memory as their vector instructions want it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.kernels import kernel

__all__ = ["aligned", "kernel"]


def aligned(count: int) -> NDArray[np.float32]:
    """(count,) float32 zeros on a 64-byte boundary, for vector instructions."""
    raw = np.zeros(count + 16, np.float32)
    skip = -raw.ctypes.data % 64 // 4
    return raw[skip : skip + count]

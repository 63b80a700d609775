"""Blocks of megabytes, again and again: their memory is taken again, and not given back to the system in between.

glibc maps each large block anew and unmaps it when it is freed, so that the kernel clears every page of every message
and every sample: a third of what listening costs, and more than half of a loader's time. Elsewhere (no glibc) nothing
is changed.
"""

from __future__ import annotations

import ctypes

#: mallopt's names (malloc.h): how much free memory at the heap's end is kept, and how many blocks may be mapped on
#: their own.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
MOST_KEPT = 256 << 20


def keep_freed_memory() -> bool:
    """Let the process keep freed blocks for the next ones, up to MOST_KEPT bytes. Says whether that is so."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or a system without one to be found so
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, MOST_KEPT))

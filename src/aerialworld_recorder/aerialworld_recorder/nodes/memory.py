"""Messages of megabytes, ten times a second: their memory is taken again, and not given back to the system in between.

glibc maps each large block anew and unmaps it when it is freed, so that the kernel clears every page of every message:
a third of what listening costs. Elsewhere (no glibc) nothing is changed.
"""

from __future__ import annotations

import ctypes

#: mallopt's names (malloc.h), and what they are set to: the largest block that is not mapped on its own (as much as
#: glibc allows), and how much free memory at the heap's end is kept.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT, MOST_KEPT = 32 << 20, 256 << 20


def keep_freed_memory() -> bool:
    """Let the process keep freed blocks of up to LARGEST_KEPT bytes for the next ones. Says whether that is so."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or a system without one to be found so
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(_M_TRIM_THRESHOLD, MOST_KEPT))

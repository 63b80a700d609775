"""Memory of large messages is taken again, not asked of the system anew: told by the pages that the system clears."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")

#: Blocks of 3 MiB, as a depth image's: taken, filled, let go; prints the share of the filled pages that came anew.
SCRIPT = """
import resource
from aerialworld_core.memory import keep_freed_memory

SIZE, ROUNDS, BLOCKS = 3 << 20, 50, 4

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        held = [bytes(b"x" * SIZE) for _ in range(BLOCKS)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

assert keep_freed_memory()
new_pages()
print(new_pages() * resource.getpagesize() / (ROUNDS * BLOCKS * SIZE))
"""


def test_freed_blocks_are_taken_again():
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120)
    assert float(told.stdout) < 0.05

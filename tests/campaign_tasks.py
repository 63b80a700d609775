"""Work that the tests of campaigns give to worker processes; a module of its own, so that those can import it."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np


def describe(world: Any, argument: Any, tell: Any) -> dict[str, Any]:
    """Who works, and where the world's arrays lie."""
    tell("begun")
    time.sleep(float(argument or 0.0))
    return {
        "pid": os.getpid(),
        "mother": os.getppid(),
        "faces": len(world.scene.faces),
        "at": world.scene.vertices.ctypes.data,
    }


def private_share(world: Any, _argument: Any, _tell: Any) -> float:
    """Share of the pages of the world's large arrays that this process alone has (Linux): each page's own flags, for
    what else lies in the same mapping is not the world's."""
    arrays = [world.scene.vertices, world.scene.uv, world.scene.normals, world.scene.faces]
    arrays += [m.texture for m in world.scene.materials if m.texture is not None]
    page = resource.getpagesize()
    private = total = 0
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for array in (a for a in arrays if a.nbytes > 1 << 18):
            array.sum()
            first = -(-array.ctypes.data // page)
            count = (array.ctypes.data + array.nbytes) // page - first
            flags = np.frombuffer(os.pread(pagemap.fileno(), 8 * count, 8 * first), np.uint64)
            present = (flags >> np.uint64(63)) & np.uint64(1)
            total += int(present.sum())
            private += int((present & (flags >> np.uint64(56))).sum())
    return private / total


def mothers_threads(_world: Any, _argument: Any, _tell: Any) -> int:
    """How many threads the process has that forked this one."""
    return len(os.listdir(f"/proc/{os.getppid()}/task"))


def die_once(_world: Any, marker: str, _tell: Any) -> str:
    """Killed the first time, well the second."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die(_world: Any, _argument: Any, _tell: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_mother(_world: Any, marker: str, _tell: Any) -> str:
    """The process that holds the world is killed the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(30)
    return "alive"


def starve_mother(_world: Any, _argument: Any, _tell: Any) -> None:
    """From now on the process that holds the world can open no file, and so start no worker (Linux)."""
    hard = resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)[1]
    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, hard))


def out_of_memory(_world: Any, marker: str, _tell: Any) -> str:
    with open(marker, "a") as handle:
        handle.write("x")
    raise MemoryError("no room for 3 GiB")


def fail(_world: Any, _argument: Any, _tell: Any) -> None:
    from aerialworld_core.errors import PlanError

    raise PlanError("there is no way")


def defect(_world: Any, _argument: Any, _tell: Any) -> None:
    raise KeyError("oops")


def end_in_order(_world: Any, marker: str, tell: Any) -> None:
    """Notes that it was asked to end, as a recorder notes its last frame."""
    try:
        tell("begun")
        time.sleep(60)
    finally:
        Path(marker).write_text("ended in order")


def gone(pid: int, seconds: float = 15.0) -> bool:
    """Whether a process ends within so many seconds; one that only waits to be reaped has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False

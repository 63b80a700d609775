"""Work that the tests of campaigns give to worker processes; a module of its own, so that those can import it."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any


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


def shared_share(world: Any, _argument: Any, _tell: Any) -> float:
    """Share of the memory of the world's large arrays that is private to this process (Linux)."""
    arrays = [world.scene.vertices, world.scene.uv, world.scene.normals, world.scene.faces]
    arrays += [m.texture for m in world.scene.materials if m.texture is not None]
    large = [a for a in arrays if a.nbytes > 1 << 18]
    private = total = 0
    for array in large:
        array.sum()
        for line in _mapping(array.ctypes.data):
            name, value = line.split(":")
            if name == "Private_Dirty":
                private += int(value.split()[0])
            if name == "Rss":
                total += int(value.split()[0])
    return private / total


def _mapping(address: int) -> list[str]:
    """The smaps entry of the mapping that holds an address."""
    lines, found = [], False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            low, high = (int(v, 16) for v in first.split("-"))
            found = low <= address < high
        elif found and line.startswith(("Private_Dirty", "Rss")):
            lines.append(line)
    return lines


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

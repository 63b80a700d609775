"""What differs between equal runs: wall-clock time, host, versions of what was installed."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from aerialworld_core.processors import processors

PACKAGES = (
    "aerialworld", "aerialworld_core", "aerialworld_city", "aerialworld_sim", "aerialworld_missions",
    "aerialworld_recorder", "aerialworld_training", "numpy", "scipy", "numba", "llvmlite", "embreex", "lxml", "pyproj",
    "torch", "pillow", "simplejpeg", "isal", "warp-lang",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Installed versions of the packages that shape the results; absent ones are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as handle:
            for line in handle:
                if line.lower().startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux: platform knows a shorter name
    return platform.processor() or platform.machine()


def memory_bytes() -> int | None:
    """Physical memory, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def machine() -> dict[str, Any]:
    """The machine in words, without its name."""
    memory = memory_bytes()
    return {
        "cpu": cpu_model(),
        "cores": processors(),
        "memory_gb": round(memory / 1e9, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def provenance() -> dict[str, Any]:
    """For a session's provenance.json."""
    return {
        "wall_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "machine": machine(),
        "versions": versions(),
    }

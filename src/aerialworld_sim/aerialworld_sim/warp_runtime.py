"""Finding NVIDIA's warp and its device: versions, drivers, the folder of compiled kernels, and a quiet start.

Facts from warp 1.19's documentation and sources: the wheels on PyPI are built with CUDA 13 and need an NVIDIA driver
R580 or newer and a Turing GPU or newer; wheels marked +cu12 in warp's releases take R525. Without a driver warp says so
once and offers its "cpu" device, which runs a kernel in one thread. Compiled kernels are loaded from a cache folder: as
with ours (`aerialworld_core.kernels`), it must not be open to others.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import shutil
import sys
import tempfile
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any

from aerialworld_core.kernels.store import private_folder
from aerialworld_sim.embree import EngineError

PIP_LINE = 'pip install "aerialworld_sim[gpu]"'
_FLOOR = (1, 19)


def _version() -> tuple[int, int] | None:
    """Major and minor of the warp-lang that is installed; None without one."""
    try:
        text = metadata.version("warp-lang")
    except metadata.PackageNotFoundError:
        return None
    numbers = re.match(r"(\d+)\.(\d+)", text)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _usable(version: tuple[int, int]) -> bool:
    return _FLOOR <= version < (_FLOOR[0] + 1, 0)


@cache
def driver_devices() -> int:
    """How many GPUs the NVIDIA driver offers to this process (CUDA_VISIBLE_DEVICES counts); 0 without a driver.

    Asks the driver itself, so that machines without one need not load warp (0.4 s).
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
        if driver.cuInit(0) != 0:
            return 0
        count = ctypes.c_int(0)
        return int(count.value) if driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0
    except (OSError, AttributeError):
        return 0


def cuda_available() -> bool:
    """Whether a warp that this engine can use is installed and sees a CUDA device. Says nothing, whatever it finds."""
    version = _version()
    if version is None or not _usable(version) or driver_devices() == 0:
        return False
    return bool(load().is_cuda_available())


@cache
def load() -> ModuleType:
    """Warp, started. Raises EngineError, with the pip line, where it is missing, of another version or broken."""
    version = _version()
    if version is None:
        raise EngineError(f"the warp backend needs NVIDIA's warp (warp-lang): {PIP_LINE}")
    if not _usable(version):
        raise EngineError(
            f"warp-lang {metadata.version('warp-lang')} is not {_FLOOR[0]}.{_FLOOR[1]} or a later {_FLOOR[0]}.x: "
            f"{PIP_LINE} --upgrade"
        )
    try:
        import warp
    except (ImportError, OSError) as error:
        raise EngineError(f"warp-lang does not load: {error}; {PIP_LINE} --force-reinstall") from error
    config: Any = warp.config
    if config.log_level == warp.LOG_INFO:  # the default: a greeting, and a line for every compiled module
        config.log_level = warp.LOG_WARNING
    if config.kernel_cache_dir is None and not os.environ.get("WARP_CACHE_PATH"):  # else the user chose one
        config.kernel_cache_dir = _cache_folder()
    try:
        warp.init()
    except (RuntimeError, OSError) as error:
        raise EngineError(f"warp {warp.__version__} does not start: {error}; {PIP_LINE} --force-reinstall") from error
    return warp


def _cache_folder() -> str:
    """A folder of mode 0700 for compiled kernels; where none can be kept, one that goes with this process."""
    folder = private_folder("warp")
    if folder is not None:
        return str(folder)
    passing = tempfile.mkdtemp(prefix="aerialworld-warp-")
    atexit.register(shutil.rmtree, passing, ignore_errors=True)
    return passing


def choose_device(name: str | None) -> Any:
    """Warp's device of that name; None: the first CUDA device, or without a GPU the processor.

    Raises EngineError for an unknown name, and where there is a GPU that warp cannot use.
    """
    warp = load()
    if name is not None:
        try:
            return warp.get_device(name)
        except (RuntimeError, ValueError) as error:
            raise EngineError(
                f"warp has no device {name!r} ({error}); there are {', '.join(d.alias for d in warp.get_devices())}"
            ) from error
    if driver_devices() and not warp.is_cuda_available():
        raise EngineError(
            f"there is an NVIDIA GPU, but warp {warp.__version__} cannot use it: its wheels on PyPI need driver R580 "
            "or newer; update the driver, install the +cu12 wheel of warp's releases, or choose the backend embree"
        )
    return warp.get_preferred_device()

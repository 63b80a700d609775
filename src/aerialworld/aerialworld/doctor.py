"""What is installed, what is missing, and what each thing is needed for."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from aerialworld.checks import Check, State, output_of, version_numbers
from aerialworld.doctor_gazebo import gazebo
from aerialworld.lazy import INSTALL
from aerialworld_core.processors import processors
from aerialworld_core.provenance import cpu_model, memory_bytes

#: First patch release of each Python without the known archive-reading flaws (CVE-2026-11940, CVE-2026-82049).
PYTHON_FLOORS = {(3, 11): (3, 11, 17), (3, 12): (3, 12, 15), (3, 13): (3, 13, 16)}

MINIMUM_FREE_DISK = 5e9
MINIMUM_MEMORY = 4e9


@dataclass(frozen=True)
class Library:
    """A library, the version below which it is not used (floor), and what it is needed for."""

    name: str
    floor: tuple[int, ...]
    purpose: str
    install: str
    required: bool = True
    below_floor: State = "error"


LOCAL = INSTALL["aerialworld_sim"]
BAGS = "pip install 'aerialworld_recorder[bags]'"
TRAINING = INSTALL["aerialworld_training"]

LIBRARIES = (
    Library("numpy", (2, 0), "all arrays", LOCAL),
    Library("scipy", (1, 13), "trajectories, missions", LOCAL),
    Library("lxml", (6, 1, 1), "reading SDF and CityGML (older ones resolve external entities)", LOCAL),
    Library("embreex", (4, 4), "ray casting", LOCAL),
    Library("llvmlite", (0, 44), "sensors and occupancy at native speed", LOCAL),
    Library("numba", (0, 61), "simplifying city models at native speed", LOCAL),
    Library("pyproj", (3, 7), "geographic coordinates of city models", LOCAL),
    Library("pymap3d", (3, 1), "local frames", LOCAL),
    Library("mapbox_earcut", (1, 0), "polygons with holes", LOCAL),
    Library(
        "pillow",
        (13, 0, 0),
        "textures, pictures (older ones have memory errors)",
        LOCAL,
        below_floor="warning",
    ),
    Library("isal", (1, 7), "writing sessions", LOCAL),
    Library("simplejpeg", (1, 8), "recording camera images", LOCAL),
    Library("matplotlib", (3, 9), "maps and curves of the report", LOCAL),
    Library("jinja2", (3, 1, 6), "the report", LOCAL),
    Library("pymavlink", (2, 4, 50), "the autopilot's MAVLink links", 'pip install "aerialworld_sim[autopilot]"'),
    Library("warp-lang", (1, 19), "rendering on an NVIDIA GPU", 'pip install "aerialworld_sim[gpu]"', required=False),
    Library("rosbags", (0, 11), "reading bags", BAGS, required=False),
    Library("mcap", (1, 3), "reading and writing MCAP", BAGS, required=False),
    Library("rerun-sdk", (0, 28), "session view", "pip install 'aerialworld[view]'", required=False),
    Library("torch", (2, 11), "training and evaluation", TRAINING, required=False),
    Library("PyYAML", (6, 0), "training configs", TRAINING, required=False),
    Library("tensorboard", (2, 18), "watching training curves live", TRAINING, required=False),
)

STAGES = (
    ("aerialworld_core", "everything", True),
    ("aerialworld_city", "city models to worlds", True),
    ("aerialworld_sim", "the embedded engine", True),
    ("aerialworld_missions", "planning flights and drives", True),
    ("aerialworld_recorder", "recording sessions", True),
    ("aerialworld_description", "the shipped sensor rigs", True),
    ("aerialworld_training", "training and evaluation", False),
)


def examine() -> list[Check]:
    """Every check, in the order of the table. A check that fails itself is an error with its reason."""
    checks: list[Check] = []
    for section in (_python, _stages, _libraries, _embree, _rig, _machine, _gpu, _ros, gazebo):
        checks += section()
    return checks


def _python() -> Iterator[Check]:
    version = sys.version_info[:3]
    text = platform.python_version()
    floor = PYTHON_FLOORS.get(version[:2])
    if version < (3, 11):
        yield Check("Python", "error", text, "AerialWorld needs Python 3.11 or newer")
    elif floor and version < floor:
        wanted = ".".join(map(str, floor))
        yield Check("Python", "warning", text, f"known flaws in reading archives are fixed in {wanted}; update Python")
    else:
        yield Check("Python", "ok", text)


def _stages() -> Iterator[Check]:
    for name, purpose, required in STAGES:
        try:
            yield Check(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "error" if required else "missing", "not installed", f"for {purpose}: {INSTALL[name]}")


def _libraries() -> Iterator[Check]:
    for library in LIBRARIES:
        try:
            version = metadata.version(library.name)
        except metadata.PackageNotFoundError:
            state: State = "error" if library.required else "missing"
            yield Check(library.name, state, "not installed", f"for {library.purpose}: {library.install}")
            continue
        floor = ".".join(map(str, library.floor))
        if version_numbers(version) < library.floor:
            advice = f"needs {floor} or newer, for {library.purpose}: pip install '{library.name}>={floor}'"
            yield Check(library.name, library.below_floor if library.required else "warning", version, advice)
        elif library.name == "torch" and version_numbers(version) < (2, 13):
            yield Check("torch", "warning", version, "works; 2.13.0 fixes known flaws: pip install 'torch>=2.13'")
        else:
            yield Check(library.name, "ok", version)


def _attempt(name: str, test: Callable[[], str], advice: str, state: State = "error") -> Check:
    try:
        return Check(name, "ok", test())
    except Exception as error:  # a self-test reports whatever broke; nothing is swallowed, it is the result
        return Check(name, state, f"{type(error).__name__}: {error}", advice)


def _embree() -> Iterator[Check]:
    yield _attempt("ray through one triangle (Embree)", _one_triangle, f"reinstall the ray caster: {LOCAL}")
    yield _attempt("compiled kernel", _compiled_kernel, f"reinstall llvmlite: {LOCAL}")
    yield _attempt("numba kernel", _numba_kernel, f"reinstall numba: {LOCAL}")


def _one_triangle() -> str:
    """A ray down onto a triangle at z = 0 from 2 m: it hits at 2 m, and beside it nothing."""
    import numpy as np

    rtcore = importlib.import_module("embreex.rtcore_scene")
    mesh = importlib.import_module("embreex.mesh_construction")
    scene = rtcore.EmbreeScene()
    mesh.TriangleMesh(scene, np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0]]], np.float32))
    origins = np.array([[0.2, 0.2, 2.0], [0.9, 0.9, 2.0]], np.float32)
    result = scene.run(origins, np.array([[0, 0, -1], [0, 0, -1]], np.float32), output=1)
    distance = float(result["tfar"][0])
    if list(result["geomID"] >= 0) != [True, False] or abs(distance - 2.0) > 1e-5:
        raise RuntimeError(f"the ray returned {result['geomID'].tolist()} at {distance} m instead of one hit at 2 m")
    return "hit at 2.000 m"


def _total(n: int) -> int:
    result = 0
    for i in range(n):
        result += i
    return result


def _run_compiled(compiler: Callable[[Callable[[int], int]], Callable[[int], int]]) -> None:
    if compiler(_total)(1000) != 499_500:
        raise RuntimeError("a compiled loop gave a wrong sum")


def _compiled_kernel() -> str:
    """A loop compiled now; where compiled code is kept from one start to the next."""
    _run_compiled(importlib.import_module("aerialworld_core.kernels").kernel)
    kept = importlib.import_module("aerialworld_core.kernels.store").folder()
    return "compiles; kept in " + str(kept) if kept else "compiles, at every start: no private folder to keep code in"


def _numba_kernel() -> str:
    _run_compiled(importlib.import_module("numba").njit)
    return f"compiles for {importlib.import_module('llvmlite.binding').get_host_cpu_name()}"


def _rig() -> Iterator[Check]:
    def load() -> str:
        rig = importlib.import_module("aerialworld_core.world").load_rig("rig_drone")
        return f"{len(rig.cameras)} cameras, {len(rig.depth)} depth faces"

    yield _attempt("sensor rig rig_drone", load, f"install the models: {INSTALL['aerialworld_description']}")


def _machine() -> Iterator[Check]:
    wide = [f for f in ("avx512f", "avx2", "avx", "sse4_2", "asimd") if f in _cpu_flags()]
    yield Check("CPU", "ok", f"{cpu_model()}, {processors()} cores" + (f", {wide[0]}" if wide else ""))
    memory = memory_bytes()
    if memory is None:
        yield Check("memory", "warning", "unknown", "the demo needs about 4 GB")
    else:
        few = memory < MINIMUM_MEMORY
        advice = "the demo needs about 4 GB; use --rig rig_small" if few else ""
        yield Check("memory", "warning" if few else "ok", f"{memory / 1e9:.1f} GB", advice)
    free = shutil.disk_usage(Path.cwd()).free
    short = free < MINIMUM_FREE_DISK
    advice = "a demo writes about 0.5 GB, recordings 2 to 6 MB a frame; free some space" if short else ""
    yield Check("disk (this folder)", "warning" if short else "ok", f"{free / 1e9:.1f} GB free", advice)


def _cpu_flags() -> set[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.split(":")[0].strip() in ("flags", "Features"):
                return set(line.split(":", 1)[1].split())
    except OSError:
        return set()  # not Linux: the features stay unsaid
    return set()


def _gpu() -> Iterator[Check]:
    line = output_of("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        torch = None
    advice = "optional: trains large models; on a host with an NVIDIA GPU install a CUDA build of torch"
    if torch is not None and torch.cuda.is_available():
        yield Check("GPU", "ok", line or str(torch.cuda.get_device_name(0)))
    elif line:
        yield Check("GPU", "warning", line, "torch does not see it; install a CUDA build of torch")
    else:
        yield Check("GPU", "missing", "none found", advice)


def _ros() -> Iterator[Check]:
    purpose = "optional: publishes the sensors as ROS 2 topics"
    try:
        importlib.import_module("rclpy")
        found = True
    except ImportError:
        found = False
    distro = os.environ.get("ROS_DISTRO", "")
    prefix = os.environ.get("AMENT_PREFIX_PATH", "")
    where = f"ROS_DISTRO={distro or 'unset'}, AMENT_PREFIX_PATH={'set' if prefix else 'unset'}"
    if not found:
        advice = f"{purpose}; install ROS 2 Jazzy and source its setup.bash, or install its rclpy wheels"
        yield Check("ROS 2 (rclpy)", "missing", f"not importable, {where}", advice)
    elif distro and distro != "jazzy":
        yield Check("ROS 2 (rclpy)", "warning", where, "tested with Jazzy only")
    else:
        yield Check("ROS 2 (rclpy)", "ok", f"importable, {where}")

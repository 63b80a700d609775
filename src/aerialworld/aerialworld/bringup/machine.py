"""What a run finds on this machine: its folder, the environment, the programs and Gazebo's version."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from aerialworld.bringup.arguments import ARDUPILOT, GAZEBO, Simulation
from aerialworld.bringup.process import Place

#: gz-sim's Python module: Harmonic, Ionic, Jetty and newer. Where it is, gz-sim's PythonSystemLoader is.
GAZEBO_MODULES = ("gz.sim8", "gz.sim9", "gz.sim")
#: Wall seconds that `gz sim --versions` may take.
_VERSION = 30.0


def run_folder() -> Path:
    """A folder of this run's own, below ROS_HOME (~/.ros); it is not made yet."""
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    return home / "aerialworld" / f"run_{time.strftime('%Y%m%d_%H%M%S')}_{os.getpid()}"


def here(asked: Simulation) -> Place:
    """This machine, for the run that was asked for."""
    folder = run_folder()
    if asked.engine != GAZEBO:
        return Place(folder, dict(os.environ))
    names = ["gz"]
    if asked.autopilot == ARDUPILOT:
        names += [asked.arducopter, asked.ardurover]
    programs = found(names)
    return Place(folder, dict(os.environ), programs, gazebo_version(programs.get("gz")), gazebo_python())


def found(names: Iterable[str]) -> dict[str, str]:
    """Path of every program that is there, by the name or path that it is asked for."""
    paths = {name: shutil.which(os.path.expanduser(name)) for name in names}
    return {name: os.path.abspath(path) for name, path in paths.items() if path}


def gazebo_python() -> str:
    """gz-sim's Python module that this Python finds, as gz.sim8; "" where there is none."""
    return first_module(GAZEBO_MODULES)


def first_module(names: Iterable[str]) -> str:
    """The first of some modules that this Python finds; "" where there is none. Nothing but their package is loaded."""
    for name in names:
        try:
            if find_spec(name) is not None:
                return name
        except ModuleNotFoundError:  # the package itself is not there
            continue
    return ""


def gazebo_version(gz: str | None) -> str:
    """The newest gz-sim that `gz` knows, as 8.14.0; "" where it does not say."""
    if gz is None:
        return ""
    try:
        result = subprocess.run(
            [gz, "sim", "--versions"], capture_output=True, text=True, timeout=_VERSION, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    versions = [line.strip() for line in result.stdout.splitlines() if line.strip()[:1].isdigit()]
    return max(versions, key=lambda v: [int(p) for p in v.split(".") if p.isdigit()], default="")

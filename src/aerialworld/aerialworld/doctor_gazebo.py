"""What `simulation.launch.py engine:=gazebo` and `simulate --engine gazebo` need: is it there, what does not go without
it, and how it comes. All of it is optional: the embedded engine needs none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from aerialworld.bringup.machine import GAZEBO_MODULES, first_module, gazebo_python, gazebo_version
from aerialworld.checks import Check, version_numbers

#: gz-sim's major versions; the first is the oldest that is supported.
NAMES = {8: "Harmonic", 9: "Ionic", 10: "Jetty"}
#: Packages of ROS that carry Gazebo's topics, and compress its pictures.
BRIDGES = ("ros_gz_bridge", "ros_gz_image", "ros_gz_interfaces", "compressed_image_transport")
#: gz-transport's Python modules, as `aerialworld_sim.gazebo.server` tries them.
TRANSPORTS = ("gz.transport13", "gz.transport14", "gz.transport")
SITL = {"arducopter": "drones", "ardurover": "rovers"}
PLUGIN = "libArduPilotPlugin.so"
SCRIPT = "scripts/install_ardupilot_gazebo_stack.sh"


def gazebo(environment: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Gazebo, its bridges, its Python bindings, ArduPilot and ardupilot_gazebo, in an environment's variables."""
    yield _gz(environment)
    yield _bridges(environment)
    yield _bindings()
    yield from (_sitl(name, what, environment) for name, what in SITL.items())
    yield _plugin(environment)


def _gz(environment: Mapping[str, str]) -> Check:
    gz = shutil.which("gz", path=environment.get("PATH", ""))
    without = "optional: without it there is no engine:=gazebo, --engine gazebo, compare-engines"
    if gz is None:
        return Check("Gazebo", "missing", "gz not on PATH", f"{without}; {SCRIPT} installs it")
    version = gazebo_version(gz)
    if not version:
        advice = f"{without}; {gz} has no `gz sim`: install Gazebo Harmonic or newer ({SCRIPT})"
        return Check("Gazebo", "warning", f"{gz}, without gz sim", advice)
    major = version_numbers(version)[0]
    found = f"gz sim {version} ({NAMES.get(major, 'unknown')})"
    if major < min(NAMES):
        return Check("Gazebo", "warning", found, f"needs Harmonic (gz sim {min(NAMES)}) or newer: {SCRIPT}")
    return Check("Gazebo", "ok", found)


def _bridges(environment: Mapping[str, str]) -> Check:
    prefixes = [Path(p) for p in environment.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    lacking = [
        name
        for name in BRIDGES
        if not any((prefix / "share/ament_index/resource_index/packages" / name).is_file() for prefix in prefixes)
    ]
    if not lacking:
        return Check("ros_gz", "ok", ", ".join(BRIDGES))
    distro = environment.get("ROS_DISTRO", "jazzy")
    how = (
        f"apt install {' '.join('ros-' + distro + '-' + name.replace('_', '-') for name in lacking)}"
        if prefixes
        else f"source /opt/ros/{distro}/setup.bash ({SCRIPT} installs it)"
    )
    advice = f"optional: without it Gazebo's topics are not ROS topics (simulation.launch.py engine:=gazebo); {how}"
    return Check("ros_gz", "missing", f"no {', '.join(lacking)}", advice)


def _bindings() -> Check:
    simulation, transport = gazebo_python(), first_module(TRANSPORTS)
    if simulation and transport:
        return Check("Gazebo's Python bindings", "ok", f"{simulation}, {transport}")
    lacking = [names[0] for names, found in ((GAZEBO_MODULES, simulation), (TRANSPORTS, transport)) if not found]
    advice = (
        "optional: without gz.transport there is no --engine gazebo and no compare-engines, without gz.sim no "
        f"traffic:= in Gazebo. With Gazebo from ROS's packages source the env.sh of {SCRIPT}; with its own packages: "
        "apt install python3-gz-sim8 python3-gz-transport13; an environment needs --system-site-packages"
    )
    return Check("Gazebo's Python bindings", "missing", f"no {', '.join(lacking)}", advice)


def _sitl(name: str, what: str, environment: Mapping[str, str]) -> Check:
    path = shutil.which(name, path=environment.get("PATH", ""))
    if path:
        return Check(f"ArduPilot SITL ({name})", "ok", path)
    advice = f"optional: flies Gazebo's {what}; {SCRIPT} builds it, then source its env.sh, or give {name}:=PATH"
    return Check(f"ArduPilot SITL ({name})", "missing", "not on PATH", advice)


def _plugin(environment: Mapping[str, str]) -> Check:
    folders = [Path(p) for p in environment.get("GZ_SIM_SYSTEM_PLUGIN_PATH", "").split(os.pathsep) if p]
    folders.append(Path(environment.get("HOME", "/")) / ".gz/sim/plugins")
    found = next((folder / PLUGIN for folder in folders if (folder / PLUGIN).is_file()), None)
    if found:
        return Check("ardupilot_gazebo", "ok", str(found))
    advice = (
        "optional: without it Gazebo's vehicles do not hear ArduPilot (autopilot:=none moves them by cmd_vel); "
        f"{SCRIPT} builds it, then source its env.sh"
    )
    return Check("ardupilot_gazebo", "missing", f"no {PLUGIN} in GZ_SIM_SYSTEM_PLUGIN_PATH", advice)

"""The doctor's look at Gazebo, ROS's bridges and ArduPilot: on a machine made for it, with and without each of them."""

import sys
from importlib import util
from pathlib import Path

import pytest

from aerialworld.bringup.machine import GAZEBO_MODULES
from aerialworld.doctor_gazebo import BRIDGES, PLUGIN, TRANSPORTS, gazebo
from aerialworld_sim.gazebo.actors import SYSTEM, systems_folder
from aerialworld_sim.gazebo.server import PAIRS


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Everything is there; the variables that say where."""
    for name, text in {
        "gz": "echo 8.14.0; echo 8.9.0", "arducopter": "", "ardurover": "",
    }.items():  # fmt: skip
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    for name in BRIDGES:
        resource = tmp_path / "ros/share/ament_index/resource_index/packages" / name
        resource.parent.mkdir(parents=True, exist_ok=True)
        resource.touch()
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / PLUGIN).touch()
    for module in ("sim8", "transport13"):
        (tmp_path / "python/gz" / module).mkdir(parents=True)
        (tmp_path / "python/gz" / module / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "python"))
    sys.modules.pop("gz", None)
    yield tmp_path, {
        "PATH": f"{tmp_path / 'bin'}:/bin:/usr/bin", "AMENT_PREFIX_PATH": str(tmp_path / "ros"), "ROS_DISTRO": "jazzy",
        "GZ_SIM_SYSTEM_PLUGIN_PATH": str(tmp_path / "plugins"), "HOME": str(tmp_path),
    }  # fmt: skip
    sys.modules.pop("gz", None)


def test_modules_are_those_that_are_used():
    spec = util.spec_from_file_location(SYSTEM, systems_folder() / f"{SYSTEM}.py")
    system = util.module_from_spec(spec)
    spec.loader.exec_module(system)
    assert tuple(simulation for simulation, _ in system.PAIRS) == GAZEBO_MODULES
    assert tuple(transport for transport, _ in PAIRS) == TRANSPORTS


def states(environment):
    return {check.name: check for check in gazebo(environment)}


def test_a_whole_installation_is_well(machine):
    _, environment = machine
    found = states(environment)
    assert {check.state for check in found.values()} == {"ok"} and not any(c.advice for c in found.values())
    assert found["Gazebo"].found == "gz sim 8.14.0 (Harmonic)"
    assert found["Gazebo's Python bindings"].found == "gz.sim8, gz.transport13"


@pytest.mark.parametrize(
    ("gone", "name", "advice"),
    [
        ("bin/gz", "Gazebo", "engine:=gazebo"),
        ("ros/share/ament_index/resource_index/packages/ros_gz_image", "ros_gz", "apt install ros-jazzy-ros-gz-image"),
        ("python/gz/sim8/__init__.py", "Gazebo's Python bindings", "no traffic:="),
        ("python/gz/transport13/__init__.py", "Gazebo's Python bindings", "no --engine gazebo"),
        ("bin/arducopter", "ArduPilot SITL (arducopter)", "arducopter:=PATH"),
        ("bin/ardurover", "ArduPilot SITL (ardurover)", "flies Gazebo's rovers"),
        (f"plugins/{PLUGIN}", "ardupilot_gazebo", "source its env.sh"),
    ],
)
def test_each_thing_that_is_missing_is_told_alone(machine, gone, name, advice):
    folder, environment = machine
    path = folder / gone
    path.unlink()
    if path.name == "__init__.py":
        path.parent.rmdir()
    wrong = {n: c for n, c in states(environment).items() if c.state != "ok"}
    assert set(wrong) == {name} and wrong[name].state == "missing" and advice in wrong[name].advice
    assert wrong[name].advice.startswith("optional")


def test_an_old_gazebo_and_one_that_does_not_answer(machine):
    folder, environment = machine
    gz: Path = folder / "bin/gz"
    for text, word in (("echo 7.9.0", "Harmonic (gz sim 8) or newer"), ("exit 1", "has no `gz sim`")):
        gz.write_text(f"#!/bin/sh\n{text}\n")
        check = states(environment)["Gazebo"]
        assert check.state == "warning" and word in check.advice
    gz.write_text("#!/bin/sh\necho 10.2.0\n")
    assert states(environment)["Gazebo"].state == "ok"


def test_no_ros_is_sourced(machine):
    _, environment = machine
    assert "source /opt/ros/jazzy/setup.bash" in states(environment | {"AMENT_PREFIX_PATH": ""})["ros_gz"].advice

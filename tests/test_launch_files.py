"""The launch files under ROS 2's own `launch`: they describe themselves, start what is planned, and end as they should.

Skipped where `launch` is not installed (there is no pip wheel). From the repository's root an import of `launch` finds
the folder of that name, so it is `launch_ros` that is looked for.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))
pytestmark = pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not installed")

DESCRIBE = """
import importlib.util, sys
from launch.actions import DeclareLaunchArgument
for path in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("launched", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    declared = [e for e in module.generate_launch_description().entities if isinstance(e, DeclareLaunchArgument)]
    assert declared and all(a.description for a in declared), path
    print(path, len(declared))
"""
#: Runs `processes` (Python source of a list of Process) as a launch file would, and exits with its code.
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from aerialworld.bringup.actions import started
from aerialworld.bringup.process import Process, Run
service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription(started(Run(tuple({processes})))))
sys.exit(service.run())
"""
FOREVER = "('sh', '-c', 'trap \"exit 0\" INT TERM; while :; do sleep 0.1; done')"


def launched(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a folder without one named `launch`."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=90, check=False, cwd="/"
    )


def test_every_launch_file_describes_its_arguments():
    result = launched(DESCRIBE, *map(str, FILES))
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(FILES) >= 5


def test_a_run_ends_well_with_its_mission():
    processes = f"[Process('sim', 'required', command={FOREVER}), Process('m', 'mission', command=('true',))]"
    result = launched(RUN.format(processes=processes))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "process has finished cleanly" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("role", "command", "reason"),
    [
        ("required", "('sh', '-c', 'kill -9 $$')", "other was ended by SIGKILL"),
        ("required", "('sh', '-c', 'exit 28')", "other ended with exit code 28"),
        ("mission", "('false',)", "other ended with exit code 1"),
    ],
)
def test_a_run_fails_with_the_reason(role, command, reason):
    processes = f"[Process('sim', 'required', command={FOREVER}), Process('other', '{role}', command={command})]"
    result = launched(RUN.format(processes=processes))
    assert result.returncode == 1 and reason in result.stdout + result.stderr


def test_parameters_arrive_as_they_were_meant():
    """Strings that look like YAML stay strings."""
    code = """
from launch import LaunchContext
from launch_ros.utilities import evaluate_parameters, normalize_parameters
from aerialworld.bringup.actions import _parameter
given = {"place": "1,5", "no": "no", "number": "7", "names": ["drone_1", "on"], "pose": [1.0, 2.0]}
given |= {"n": 3, "fast": True}
normalized = normalize_parameters([{k: _parameter(v) for k, v in given.items()}])
(found,) = evaluate_parameters(LaunchContext(), normalized)
found = {k: list(v) if isinstance(v, (tuple, list)) else v for k, v in found.items()}
assert found == given, found
assert type(found["n"]) is int and type(found["fast"]) is bool
"""
    result = launched(code)
    assert result.returncode == 0, result.stderr

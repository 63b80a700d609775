"""The launch files under ROS 2's own `launch`: they describe themselves, start what is planned, and end as they should.

Skipped where `launch` is not installed (there is no pip wheel). From the repository's root an import of `launch` finds
the folder of that name, so it is `launch_ros` that is looked for.
"""

import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.frames import Pose
from aerialworld_core.plan import Plan
from aerialworld_core.session import Session, list_sessions, validate

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


#: Runs a launch file with arguments (NAME:=VALUE), as `ros2 launch` does.
LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
file, *given = sys.argv[1:]
arguments = [tuple(word.split(":=", 1)) for word in given]
service = LaunchService(noninteractive=True)
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=arguments)])
)
sys.exit(service.run())
"""
#: In Gazebo's place the embedded engine, which publishes what Gazebo and its bridges would.
GZ = """#!/bin/sh
if [ "$2" = --versions ]; then echo 8.14.0; exit 0; fi
exec {python} -m aerialworld_sim.nodes.engine --ros-args -p world:={world} -p "vehicles:=['drone_1', 'rover_1']" \\
  -p rig:=rig_small -p sensor_rate:=2.0 -p "drone_1.pose:=[0.0, 0.0, 40.0, 0.0]" \\
  -p "rover_1.pose:=[9.0, 0.0, 14.3, 0.0]"
"""
SLEEPER = "#!/bin/sh\ntrap 'exit 0' INT TERM\nwhile :; do sleep 0.1; done\n"
RECORDER = '#!/bin/sh\nexec {python} -m aerialworld_recorder.nodes.recorder "$@"\n'


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


@pytest.fixture
def installation(tmp_path):
    """Stand-ins for Gazebo, its bridges and ArduPilot, with the real recorder; the variables that find them."""
    world = ROOT / "worlds/small_city"
    programs = {
        "bin/gz": GZ, "bin/arducopter": SLEEPER, "bin/ardurover": SLEEPER,
        "lib/aerialworld_recorder/recorder": RECORDER, "lib/aerialworld_sim/transforms": SLEEPER,
        "lib/ros_gz_bridge/parameter_bridge": SLEEPER, "lib/ros_gz_image/image_bridge": SLEEPER,
    }  # fmt: skip
    for name, text in programs.items():
        path = tmp_path / "prefix" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(python=sys.executable, world=world) if "{python}" in text else text)
        path.chmod(0o755)
        if path.parts[-3] == "lib":
            resource = tmp_path / "prefix/share/ament_index/resource_index/packages" / path.parts[-2]
            resource.parent.mkdir(parents=True, exist_ok=True)
            resource.touch()
    return {
        **os.environ, "PATH": f"{tmp_path / 'prefix/bin'}:{os.environ['PATH']}",
        "AMENT_PREFIX_PATH": str(tmp_path / "prefix"), "ROS_HOME": str(tmp_path / "ros"),
        "ROS_LOG_DIR": str(tmp_path / "log"), "ROS_DOMAIN_ID": str(random.randint(1, 101)),  # noqa: S311
    }  # fmt: skip


@contextlib.contextmanager
def running(tmp_path, environment, *given):
    """simulation.launch.py of two vehicles that nobody flies, recorded from the start; and where it tells."""
    arguments = [
        f"world:={ROOT / 'worlds/small_city'}", "mission:=none", "rover_mission:=none", "rig:=rig_small",
        f"data_root:={tmp_path / 'data'}", *given,
    ]  # fmt: skip
    command = [sys.executable, "-c", LAUNCH, str(ROOT / "launch/simulation.launch.py"), *arguments]
    log = tmp_path / "launch.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd="/", start_new_session=True)
    try:
        yield process, log
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def process_of(log: Path, name: str) -> int:
    """Process id of one of a run's processes, as `launch` tells it."""
    (line,) = [line for line in log.read_text().splitlines() if f"[{name}-" in line and "started with pid" in line]
    return int(line.rsplit("[", 1)[1].rstrip("]"))


@pytest.mark.long
@pytest.mark.parametrize("victim", ["gazebo", "drone_1_sitl", "rover_1_sitl", "drone_1_bridge", "rover_1_images"])
def test_killing_what_a_run_needs_ends_it_with_the_reason_and_whole_sessions(tmp_path, installation, victim):
    with running(tmp_path, installation) as (launch, log):
        until = time.monotonic() + 240
        while len(list((tmp_path / "data").glob("*/poses/*"))) < 6 and time.monotonic() < until:
            assert launch.poll() is None, log.read_text()
            time.sleep(0.2)
        os.kill(process_of(log, victim), signal.SIGKILL)
        code = launch.wait(240)
    told = log.read_text()
    assert code == 1 and f"{victim} was ended by SIGKILL" in told, told
    assert "Escalating" not in told and "sending signal 'SIGTERM'" not in told, told
    sessions = {s.meta.vehicle: s for s in map(Session.open, list_sessions(tmp_path / "data"))}
    assert set(sessions) == {"drone_1", "rover_1"}, told
    for session in sessions.values():
        assert session.meta.frames == len(session.frame_indices) >= 1 and session.meta.engine["name"] == "gazebo"
        assert not [e for e in validate(session.path).errors if "the data holds no world" not in e]


@pytest.mark.long
def test_a_sweep_records_every_pose_of_its_plan_and_ends(tmp_path, installation):
    """Nobody flies and nothing of ROS is started: poses, yaws included, are the plan's; a sweep that fails says so."""
    t = np.arange(5) * 0.5
    position = np.stack([4.0 * t, np.zeros(5), np.full(5, 40.0)], axis=1)
    orientation = np.array([Pose.from_rpy(0, 0, 0, 0, 0, 0.4 * s).orientation for s in t])
    plan = tmp_path / "sweep.json"
    Plan("sweep", "drone_1", "drone", "survey", "place A", 0, t, position, orientation).write(plan)
    given = ("mode:=sweep", "engine:=embedded", f"plan:={plan}")
    with running(tmp_path, installation, *given) as (launch, log):
        assert launch.wait(240) == 0, log.read_text()
    assert "all missions have ended" in log.read_text()
    (path,) = list_sessions(tmp_path / "data")
    session = Session.open(path)
    assert session.meta.frames == 5 and session.frame_indices == list(range(5))
    for index in range(5):
        pose = session.pose(index).pose
        assert np.allclose(pose.position, position[index], atol=1e-9)
        assert abs(float(pose.orientation @ orientation[index])) == pytest.approx(1.0)
    plan.write_text("{}")
    with running(tmp_path, installation, *given) as (launch, log):
        assert launch.wait(240) == 1 and "sweep ended with exit code" in log.read_text(), log.read_text()

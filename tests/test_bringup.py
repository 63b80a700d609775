"""What `simulation.launch.py` starts: checked without `launch`, against what the nodes and Gazebo take."""

import ast
import json
import os
import re
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from lxml import etree

from aerialworld.bringup import gazebo, replay, view
from aerialworld.bringup.arguments import ARGUMENTS, MISSIONS, Simulation
from aerialworld.bringup.ending import Watch
from aerialworld.bringup.machine import found, gazebo_version
from aerialworld.bringup.places import APART, CLEAR, starts
from aerialworld.bringup.process import Place, Process, Run
from aerialworld.bringup.simulation import simulation
from aerialworld_core.errors import InputError
from aerialworld_core.resources import share
from aerialworld_sim.gazebo.actors import COMMAND, systems_folder

ROOT = Path(__file__).resolve().parents[1]
WORLD = ROOT / "worlds/small_city"


def asked(**given):
    return Simulation.from_arguments({"world": str(WORLD)} | given)


# ---- arguments


def test_every_argument_has_a_default_that_is_taken_and_a_description():
    assert asked().names == ("drone_1", "rover_1") and asked().autopilot == "ardupilot"
    assert asked(engine="embedded").autopilot == "embedded"
    fields = set(Simulation.__dataclass_fields__) - {"names"}
    assert fields == set(ARGUMENTS) - {"local_time"}
    assert asked(local_time="07:30").conditions == "local_time=07:30"
    assert asked(local_time="07:30", conditions="date=2024-04-01").conditions == "local_time=07:30,date=2024-04-01"
    assert all(text.endswith(".") for _, text in ARGUMENTS.values())


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"world": ""}, "world:=FOLDER is needed"),
        ({"world": "/nowhere"}, "no such file"),
        ({"engine": "unity"}, "engine:=unity: must be one of gazebo, embedded"),
        ({"autopilot": "px4"}, "autopilot:=px4"),
        ({"autopilot": "embedded"}, "use engine:=embedded"),
        ({"engine": "embedded", "autopilot": "ardupilot"}, "autopilot:=sitl"),
        ({"drones": "two"}, "drones:=two: must be a whole number"),
        ({"drones": "0", "rovers": "0"}, "1 to 28 vehicles"),
        ({"drones": "-1"}, "1 to 28 vehicles"),
        ({"drones": "29"}, "1 to 28 vehicles"),
        ({"mode": "walk"}, "mode:=walk: must be one of fly, sweep"),
        ({"mode": "sweep"}, "go together"),
        ({"plan": str(ROOT / "README.md")}, "go together"),
        ({"mission": "dance"}, "mission:=dance"),
        ({"mission": "patrol"}, "mission:=patrol: must be one of survey"),
        ({"rover_mission": "orbit"}, "rover_mission:=orbit: must be one of patrol, none"),
        ({"altitude": "high"}, "altitude:=high: must be a number"),
        ({"altitude": "nan"}, "altitude:=nan"),
        ({"frame_rate": "0"}, "frame_rate:=0"),
        ({"record": "maybe"}, "record:=maybe: must be true or false"),
        ({"place": "here"}, "two numbers"),
        ({"place": "1,inf"}, "million metres"),
        ({"conditions": "local_time=noon"}, "local_time"),
        ({"traffic": "ufos=3"}, "ufos"),
        ({"local_time": "noon"}, "local_time"),
        ({"local_time": "07:30", "conditions": "local_time=08:00"}, "both give a time"),
        ({"engine": "embedded", "traffic": "ufos=3"}, "ufos"),
        ({"engine": "embedded", "conditions": "local_time=noon"}, "local_time"),
        ({"mission_params": "/nowhere.yaml"}, "mission_params"),
        ({"seed": "-1"}, "seed"),
        ({"speed": "3"}, "there is no such argument"),
    ],
)
def test_wrong_arguments_are_named(given, match):
    with pytest.raises(InputError, match=match):
        asked(**given)


# ---- when a run is over


def watch(**roles):
    return Watch(Process(name, role, command=("true",)) for name, role in roles.items())


def test_a_run_is_over_when_its_missions_are():
    w = watch(gazebo="required", a="mission", b="mission")
    assert w.ended("a", 0) is None
    assert (w.ended("b", 0).failed, w.ended("gazebo", -2)) == (False, None)


def test_a_failed_mission_fails_the_run_but_lets_the_others_end():
    w = watch(a="mission", b="mission")
    assert w.ended("a", 3) is None
    ending = w.ended("b", 0)
    assert ending.failed and ending.reason == "a ended with exit code 3"


@pytest.mark.parametrize(
    ("code", "reason"), [(-9, "sitl was ended by SIGKILL"), (1, "sitl ended with exit code 1"), (-200, "signal 200")]
)
def test_what_is_required_ends_the_run_with_its_reason(code, reason):
    ending = watch(sitl="required", a="mission").ended("sitl", code)
    assert ending.failed and reason in ending.reason


def test_a_simulator_that_is_closed_ends_a_run_without_missions_well_and_one_with_them_not():
    assert not watch(gazebo="required").ended("gazebo", 0).failed
    assert watch(gazebo="required", a="mission").ended("gazebo", 0).failed


def test_a_helper_may_end():
    w = watch(helper="helper", other="helper", a="mission")
    assert w.ended("helper", 0) is None and w.ended("other", 2).failed


def test_a_process_is_a_node_or_a_command():
    with pytest.raises(ValueError, match="a node or a command"):
        Process("x", "required")


# ---- where vehicles start


class Slope:
    """A plane that rises with x beyond 10 m, a block 20 m wide on its west, no ground beyond 50 m."""

    def terrain_height(self, xy):
        x, y = np.asarray(xy).T
        return np.where(np.hypot(x, y) > 50, np.nan, 5.0 + np.maximum(0.0, x - 10.0))

    def surface_height(self, xy):
        x, y = np.asarray(xy).T
        return self.terrain_height(xy) + np.where((np.abs(y) < 10) & (x < 0) & (x > -20), 8.0, 0.0)


def test_vehicles_start_apart_on_free_and_level_ground():
    found_places = starts(Slope(), (0.0, 0.0), 12)
    assert found_places.shape == (12, 3) and (found_places[:, 2] == 5.0).all()
    for x, y, _ in found_places:
        assert x <= 10.5 - CLEAR + 1e-9  # half a metre of rise within CLEAR is level
        assert (
            not (-20 - CLEAR < x < CLEAR and abs(y) < 10 + CLEAR)
            or np.hypot(max(x, 0), max(abs(y) - 10, 0)) >= CLEAR / 2
        )
    gaps = np.linalg.norm(found_places[:, None, :2] - found_places[None, :, :2], axis=-1)
    assert gaps[~np.eye(12, dtype=bool)].min() >= APART
    assert np.array_equal(found_places, starts(Slope(), (0.0, 0.0), 12))


def test_the_place_that_was_asked_for_is_taken_where_it_is_free():
    assert starts(Slope(), (3.5, 30.0), 1).tolist() == [[3.5, 30.0, 5.0]]


def test_no_room_is_said():
    with pytest.raises(InputError, match=r"0 of 2 vehicles find free"):
        starts(Slope(), (2000.0, 0.0), 2)


# ---- what is started


PROGRAMS = {"gz": "/opt/gz", "arducopter": "/opt/arducopter", "ardurover": "/opt/ardurover"}


def run_of(tmp_path, environment=None, programs=PROGRAMS, gazebo_python="gz.sim8", **given) -> Run:
    place = Place(tmp_path / "run", environment or {}, programs, "8.14.0", gazebo_python)
    return simulation(asked(data_root=str(tmp_path / "data"), **given), place)


def by_name(run):
    assert len({p.name for p in run.processes}) == len(run.processes)
    return {p.name: p for p in run.processes}


def declared_of(process) -> set[str]:
    """Parameters that a node's module declares."""
    pytest.importorskip("rclpy")
    from aerialworld_recorder.nodes.parameters import DECLARED as RECORDER
    from aerialworld_sim.nodes import pacer, transforms
    from aerialworld_sim.nodes.parameters import DECLARED as ENGINE

    return set(
        {"recorder": RECORDER, "engine": ENGINE, "pacer": pacer.DECLARED, "transforms": transforms.DECLARED}[
            process.executable
        ]
    )


@pytest.mark.parametrize("given", [{}, {"fast": "true"}, {"engine": "embedded", "fast": "true", "rig": "rig_small"}])
def test_nodes_of_ours_get_parameters_that_they_have(tmp_path, given):
    ours = [p for p in run_of(tmp_path, **given).processes if p.package in ("aerialworld_sim", "aerialworld_recorder")]
    assert ours
    for process in ours:
        of_vehicles = {n for n in process.parameters if "." in n}
        assert set(process.parameters) - of_vehicles <= declared_of(process)
        assert {n.split(".")[1] for n in of_vehicles} <= {"pose"}
        setup = (ROOT / f"src/{process.package}/setup.py").read_text()
        assert re.search(rf'"{process.executable} = {process.package}\.nodes\.', setup)


def test_a_drone_and_a_rover_in_gazebo(tmp_path):
    run = run_of(tmp_path, fast="true", seed="4")
    processes = by_name(run)
    assert list(processes) == [
        "gazebo", "clock_bridge", "drone_1_bridge", "drone_1_images", "drone_1_sitl", "rover_1_bridge",
        "rover_1_images", "rover_1_sitl", "transforms", "pacer", "drone_1_recorder", "rover_1_recorder",
        "drone_1_survey", "rover_1_patrol",
    ]  # fmt: skip
    made = tmp_path / "run/world.sdf"
    assert processes["gazebo"].command == (
        "/opt/gz", "sim", "-s", "--headless-rendering", "--seed", "5", str(made),
    )  # fmt: skip
    # Paused until the pacer steps it, and not bound to the wall clock then.
    assert "<real_time_factor>0</real_time_factor>" in run.files[made]
    environment = processes["gazebo"].environment
    assert environment["GZ_IP"] == "127.0.0.1" and environment["GZ_SIM_RESOURCE_PATH"] == str(WORLD / "models")
    partitions = {p.environment.get("GZ_PARTITION") for p in run.processes if "bridge" in p.executable} | {
        environment["GZ_PARTITION"]
    }
    assert len(partitions) == 1 and None not in partitions
    assert processes["clock_bridge"].arguments == ("/world/small_city/control@ros_gz_interfaces/srv/ControlWorld",)
    assert processes["pacer"].parameters["service"] == "/world/small_city/control"
    assert (processes["pacer"].parameters["period"], processes["pacer"].parameters["step_size"]) == (0.1, 0.001)
    recorder = processes["drone_1_recorder"].parameters
    assert (recorder["engine"], recorder["engine_version"], recorder["lockstep"]) == ("gazebo", "8.14.0", True)
    assert processes["pacer"].parameters["listeners"] == ["drone_1_recorder", "rover_1_recorder"]
    assert all(p.role == ("mission" if p.package == "aerialworld_missions" else "required") for p in run.processes)


def test_sitl_flies_the_vehicle_whose_plugin_waits_for_it(tmp_path):
    from lxml import etree

    run = run_of(tmp_path, drones="2", rovers="1")
    processes = by_name(run)
    world = etree.fromstring(run.files[tmp_path / "run/world.sdf"].encode()).find("world")
    origin = world.find("spherical_coordinates")
    sitls = [p for p in run.processes if p.name.endswith("_sitl")]
    folders = {p.folder for p in sitls}
    assert folders == set(run.folders) and len(folders) == 3
    for number, process in enumerate(sitls):
        vehicle = process.name.removesuffix("_sitl")
        words = list(process.command)
        assert words[0] == ("/opt/ardurover" if vehicle.startswith("rover") else "/opt/arducopter")
        assert f"-I{number}" in words and words[words.index("--sysid") + 1] == str(number + 1)
        port = world.findtext(f"model[@name='{vehicle}']/plugin[@filename='ArduPilotPlugin']/fdm_port_in")
        assert int(port) == 9002 + 10 * number  # where instance `number` of SITL sends motor outputs to
        home = [float(v) for v in words[words.index("--home") + 1].split(",")]
        assert home == [float(origin.findtext(t)) for t in ("latitude_deg", "longitude_deg", "elevation")] + [0.0]
        for path in words[words.index("--defaults") + 1].split(","):
            assert Path(path).is_file()
        (mission,) = (p for p in run.processes if p.role == "mission" and p.parameters["vehicle"] == vehicle)
        kind, address, where = mission.parameters["connect"].split(":")
        serial = [words[words.index(f"--serial{n}") + 1] for n in range(3)]  # by default the latter two listen for all
        assert serial == [f"udpclient:{address}:{where}", f"udpclient:{address}:{int(where) + 1}", "none"]
        assert kind == "udpin"
    assert len({p.parameters["connect"] for p in run.processes if p.role == "mission"}) == 3
    assert "pacer" not in processes and "-r" in processes["gazebo"].command  # in real time: Gazebo runs by itself


def test_vehicles_stand_on_the_ground(tmp_path):
    from lxml import etree

    from aerialworld_core.world import load_world

    text = run_of(tmp_path, autopilot="none", place="40,-20").files[tmp_path / "run/world.sdf"]
    world = load_world(WORLD)
    for name, height in (("drone_1", 0.25), ("rover_1", 0.0)):
        x, y, z, *_ = (
            float(v) for v in etree.fromstring(text.encode()).findtext(f"world/model[@name='{name}']/pose").split()
        )
        assert 0 < z - height - float(world.terrain_height(np.array([[x, y]]))[0]) < 0.05
        assert not world.inside_solid(np.array([[x, y, z + 0.2]])).any()


def test_a_gazebo_without_autopilots_needs_none_and_takes_velocities(tmp_path):
    run = run_of(tmp_path, programs={"gz": "/opt/gz"}, autopilot="none", headless="false", record="false")
    processes = by_name(run)
    assert set(processes) == {
        "gazebo", "clock_bridge", "drone_1_bridge", "drone_1_images", "rover_1_bridge", "rover_1_images", "transforms",
    }  # fmt: skip
    assert "-s" not in processes["gazebo"].command and "-r" in processes["gazebo"].command
    bridged = yaml.safe_load(run.files[tmp_path / "run/bridges/drone_1.yaml"])
    assert {e["ros_topic_name"] for e in bridged if e["direction"] == "ROS_TO_GZ"} == {"/drone_1/cmd_vel"}


def test_the_sun_of_the_conditions_shines_in_gazebo_and_weather_is_refused(tmp_path):
    from lxml import etree

    run = run_of(tmp_path, autopilot="none", conditions="local_time=07:30")
    (light,) = etree.fromstring(run.files[tmp_path / "run/world.sdf"].encode()).findall("world/light")
    east, _, up = (float(v) for v in light.findtext("direction").split())
    assert east < 0 and up < 0  # light of the morning's sun travels west, and down
    recorders = [p for p in run.processes if p.executable == "recorder"]
    assert all(p.parameters["conditions"] == "local_time=07:30" for p in recorders)
    with pytest.raises(InputError, match="weather is not shown by Gazebo"):
        run_of(tmp_path, autopilot="none", conditions="weather=rain")


def test_every_bridge_reads_a_file_that_is_written(tmp_path):
    run = run_of(tmp_path)
    configured = [Path(p.parameters["config_file"]) for p in run.processes if p.executable == "parameter_bridge"]
    assert set(configured) == {p for p in run.files if p.suffix == ".yaml"} and len(configured) == 3
    run.write()
    for path in configured:
        entries = yaml.safe_load(path.read_text())
        assert entries and all(e["direction"] in ("GZ_TO_ROS", "ROS_TO_GZ") for e in entries)


@pytest.mark.parametrize(
    ("programs", "given", "match"),
    [
        ({}, {}, r"gz, arducopter:=arducopter, ardurover:=ardurover; scripts/install"),
        ({"gz": "x"}, {"rovers": "0"}, r"not found: arducopter:=arducopter;"),
        ({"gz": "x", "arducopter": "x"}, {"ardurover": "/no/rover"}, r"ardurover:=/no/rover"),
    ],
)
def test_programs_that_are_missing_are_named_with_the_way_out(tmp_path, programs, given, match):
    with pytest.raises(InputError, match=match):
        run_of(tmp_path, programs=programs, **given)


def test_foreign_nodes_stay_on_this_machine_unless_the_user_says_otherwise(tmp_path):
    bridge = by_name(run_of(tmp_path))["drone_1_bridge"].environment
    assert Path(bridge["FASTRTPS_DEFAULT_PROFILES_FILE"]).name == "loopback.xml"
    opened = by_name(run_of(tmp_path, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "GZ_IP": "10.0.0.3"}))
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in opened["drone_1_bridge"].environment
    assert opened["gazebo"].environment["GZ_IP"] == "10.0.0.3"


def test_the_users_models_stay_findable(tmp_path):
    place = Place(tmp_path, {"GZ_SIM_RESOURCE_PATH": f"/a{os.pathsep}/b"})
    paths = gazebo.environment(WORLD, place)["GZ_SIM_RESOURCE_PATH"].split(os.pathsep)
    assert paths == [str(WORLD / "models"), "/a", "/b"]


def test_traffic_is_in_gazebos_world_with_the_system_that_moves_it(tmp_path):
    given = {"traffic": "cars=3,parked=0.4,seed=4", "GZ_SIM_SYSTEM_PLUGIN_PATH": "/ardupilot"}
    run = run_of(tmp_path, {k: v for k, v in given.items() if k.startswith("GZ")}, traffic=given["traffic"])
    environment = by_name(run)["gazebo"].environment
    command = json.loads(environment[COMMAND])
    assert command == [sys.executable, "-m", "aerialworld_sim.traffic.poses", str(WORLD), given["traffic"]]
    assert environment["GZ_SIM_SYSTEM_PLUGIN_PATH"].split(os.pathsep) == [str(systems_folder()), "/ardupilot"]
    assert (systems_folder() / "aerialworld_traffic.py").is_file()
    world = etree.fromstring(run.files[tmp_path / "run/world.sdf"].encode())
    names = {m.get("name") for m in world.iter("model")}
    assert {"car_1", "car_2", "parked_1", "drone_1", "rover_1"} <= names
    assert len(list(world.iter("module_name"))) == 1

    calm = by_name(run_of(tmp_path))["gazebo"].environment
    assert COMMAND not in calm and "GZ_SIM_SYSTEM_PLUGIN_PATH" not in calm
    with pytest.raises(InputError, match="aerialworld traffic export"):
        run_of(tmp_path, gazebo_python="", traffic="cars=3")


def test_the_embedded_engine_needs_nothing_of_gazebo(tmp_path):
    run = run_of(tmp_path, programs={}, engine="embedded", rig="rig_small", traffic="cars=2", fast="true")
    processes = by_name(run)
    recorders = ["drone_1_recorder", "rover_1_recorder"]
    assert list(processes) == ["engine", *recorders, "drone_1_survey", "rover_1_patrol"] and not run.files
    engine = processes["engine"].parameters
    assert (engine["rate"], engine["autopilot"], engine["lockstep"]) == (0.0, "embedded", recorders)
    assert (engine["rig"], engine["traffic"]) == ("rig_small", "cars=2")
    assert [p.parameters["connect"] for p in run.processes if p.role == "mission"] == [
        "tcp:127.0.0.1:5760",
        "tcp:127.0.0.1:5770",
    ]
    slow = by_name(run_of(tmp_path, programs={}, engine="embedded", record="false", autopilot="none"))
    assert list(slow) == ["engine"] and "lockstep" not in slow["engine"].parameters
    assert slow["engine"].parameters["rate"] == 1.0 and "autopilot" not in slow["engine"].parameters


def test_missions_and_their_parameters(tmp_path):
    (tmp_path / "more.yaml").write_text("/**: {ros__parameters: {speed: 4.0}}")
    run = run_of(
        tmp_path, mission="orbit", rover_mission="none", altitude="45", mission_params=str(tmp_path / "more.yaml")
    )
    (mission,) = (p for p in run.processes if p.role == "mission")
    assert (mission.package, mission.executable) == ("aerialworld_missions", "orbit") and "orbit" in MISSIONS
    assert (mission.parameters["record"], mission.parameters["recorder"]) == (True, "drone_1_recorder")
    # The mission starts its recorder; a vehicle without one is recorded from the start.
    assert [p.parameters["autostart"] for p in run.processes if p.executable == "recorder"] == [False, True]
    assert mission.parameters["altitude"] == 45.0 and mission.parameter_files == (tmp_path / "more.yaml",)


@pytest.mark.parametrize("engine", ["gazebo", "embedded"])
def test_a_sweep_is_a_simulation_of_its_plan(tmp_path, engine):
    """The command takes what it is given, and means it."""
    from typer.main import get_command

    from aerialworld.cli import app

    plan = tmp_path / "plan.json"
    plan.touch()
    given = {"mode": "sweep", "plan": str(plan), "engine": engine, "rig": "rig_small", "frame_rate": "0.5", "seed": "7"}
    (process,) = run_of(tmp_path, programs={}, **given).processes
    assert process.role == "mission" and process.command[:4] == (sys.executable, "-m", "aerialworld", "simulate")
    taken = get_command(app).commands["simulate"].make_context("simulate", list(process.command[4:])).params
    assert (taken["world"], taken["plans"], taken["out"]) == (WORLD, [plan], tmp_path / "data")
    assert (taken["engine"], taken["rig"], taken["frame_rate"], taken["seed"]) == (engine, "rig_small", 0.5, 7)


# ---- the machine


def test_programs_are_found_by_name_and_by_path(tmp_path):
    tool = tmp_path / "my_copter"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    assert found(["sh", str(tool), "no_such_program", str(tmp_path)]).keys() == {"sh", str(tool)}


@pytest.mark.parametrize(
    ("says", "version"), [("8.9.0\\n8.14.0\\n", "8.14.0"), ("I cannot find any available\\n", ""), ("", "")]
)
def test_gazebos_version_is_asked_of_it(tmp_path, says, version):
    gz = tmp_path / "gz"
    gz.write_text(f"#!/bin/sh\n[ \"$*\" = 'sim --versions' ] && printf '{says}'\n")
    gz.chmod(0o755)
    assert gazebo_version(str(gz)) == version
    assert gazebo_version(None) == gazebo_version(str(tmp_path / "none")) == ""


# ---- the other launch files


def test_replay_plays_the_bag_and_records_it(tmp_path):
    run = replay.replay({"bag": str(tmp_path), "world": str(WORLD), "vehicles": "drone_1, rover_1", "rate": "2"})
    recorder, bag = run.processes
    assert bag.command[:4] == ("ros2", "bag", "play", str(tmp_path)) and bag.role == "mission"
    assert bag.command[bag.command.index("--rate") + 1] == "2"
    assert recorder.parameters["vehicles"] == ["drone_1", "rover_1"]
    assert set(recorder.parameters) <= declared_of(recorder)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "bag:= is needed"),
        ({"bag": "/nowhere"}, "no such file"),
        ({"bag": "."}, "world:= is needed"),
        ({"bag": ".", "world": ".", "vehicles": " ,"}, "names none"),
        ({"bag": ".", "world": ".", "rate": "fast"}, "rate:=fast"),
        ({"bag": ".", "world": ".", "rate": "0"}, "rate:=0"),
    ],
)
def test_replay_says_what_is_wrong(given, match):
    with pytest.raises(InputError, match=match):
        replay.replay(given)


def test_view_shows_the_topics_of_its_vehicle(tmp_path):
    from aerialworld_core import topics
    from aerialworld_core.world import load_rig

    run = view.view({"vehicle": "rover_2"}, tmp_path)
    (path,) = run.files
    assert run.processes[0].arguments == ("-d", str(path))
    config = yaml.safe_load(run.files[path])
    shown = re.findall(r'"Value": "(/[^"]+)"', json.dumps(config))
    offered = {t.name for t in topics.vehicle_topics("rover_2", load_rig("rig_rover"))} | {topics.occupancy("rover_2")}
    assert len(shown) == 5 and set(shown) <= offered
    manager = config["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "map"
    assert manager["Views"]["Current"]["Target Frame"] == topics.base_frame("rover_2")
    with pytest.raises(InputError, match="no such file"):
        view.view({"config": "/nowhere.rviz"}, tmp_path)
    with pytest.raises(InputError, match="a vehicle's name"):
        view.view({"vehicle": "../x"}, tmp_path)


def test_launch_files_are_installed_with_what_they_need():
    """Their folder is a package of data: bringup's package.xml names what they import and start."""
    from lxml import etree

    depends = {e.text for e in etree.parse(share("aerialworld_bringup") / "package.xml").iter("exec_depend")}
    imported, executed = set(), {"aerialworld_missions"}
    for path in sorted((ROOT / "launch").glob("*.launch.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    run = simulation(asked(fast="true"), Place(Path("/run"), {}, PROGRAMS))
    executed |= {p.package for p in run.processes if p.package} | {"rviz2"}
    assert {"aerialworld", "launch", "launch_ros"} <= imported
    assert imported - {"typing", "yaml"} | executed <= depends


def test_missions_get_parameters_that_they_have(tmp_path):
    pytest.importorskip("rclpy")
    declared = pytest.importorskip("aerialworld_missions.nodes.parameters").declared
    for mission in MISSIONS:
        for process in run_of(tmp_path, mission=mission).processes:
            if process.role == "mission":
                assert set(process.parameters) - {"use_sim_time"} <= set(declared(process.executable))

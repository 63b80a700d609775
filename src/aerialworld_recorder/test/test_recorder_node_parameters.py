"""The recorder node's parameters: what they mean, and that every mistake is named."""

from __future__ import annotations

import importlib.util
import random
import re
import subprocess
import sys

import pytest

from aerialworld_core.errors import InputError
from aerialworld_core.grid import DEFAULT_GRID, VoxelGrid

pytestmark = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")
MS = 1_000_000


@pytest.fixture(scope="module")
def context():
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=random.randint(1, 101))  # noqa: S311
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def read(context):
    """Reads parameters as the node does, from overrides as `--ros-args -p` would give them."""
    import rclpy
    from rclpy.parameter import Parameter

    from aerialworld_recorder.nodes.parameters import read_parameters

    nodes = []

    def read(**given):
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in given.items()]
        nodes.append(rclpy.create_node("recorder", context=context, parameter_overrides=overrides))
        return read_parameters(nodes[-1])

    yield read
    for node in nodes:
        node.destroy_node()


def test_the_defaults_are_the_projects(read):
    p = read(world="w")
    assert [v.name for v in p.vehicles] == ["drone_1"] and p.grid == DEFAULT_GRID and p.velocity == "twist"
    timing = p.timing(0.1)
    assert (timing.period_ns, timing.tolerance_ns, timing.phase_ns) == (500 * MS, 50 * MS, 0)


def test_what_is_given_is_taken(read):
    p = read(
        world="w", vehicles=["a", "b"], rig="rig_small", a__plan="p.json", b__rig="mine.sdf", engine="gazebo",
        frame_rate=10.0, grid=[-8.0, -8.0, -2.0, 8.0, 8.0, 13.0, 0.4, 0.4, 1.25], lockstep=True, tolerance=0.02,
    )  # fmt: skip
    assert [(v.name, v.rig, v.plan and str(v.plan)) for v in p.vehicles] == [
        ("a", "rig_small", "p.json"), ("b", "mine.sdf", None),
    ]  # fmt: skip
    assert p.grid == VoxelGrid.from_range((-8, -8, -2, 8, 8, 13), (0.4, 0.4, 1.25))
    timing = p.timing(0.1)
    assert (timing.tolerance_ns, timing.velocity, timing.reorder_ns) == (20 * MS, "positions", 0)
    assert (
        p.timing(1.0).tolerance_ns == 20 * MS and read(world="w", frame_rate=10.0).timing(1.0).tolerance_ns == 50 * MS
    )


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "parameter world: give"),
        ({"frame_rate": 0.0}, "parameter frame_rate"),
        ({"frame_rate": 2}, "parameter frame_rate.*like 2.0"),
        ({"jpeg_quality": 101}, "parameter jpeg_quality"),
        ({"max_frames": -1}, "parameter max_frames"),
        ({"min_free_disk": -1}, "parameter min_free_disk"),
        ({"grid": [1.0, 2.0]}, "parameter grid: takes 9 numbers"),
        ({"grid": [0.0] * 9}, "parameter grid:"),
        ({"grid": [float("nan")] * 9}, "parameter grid:.*not finite"),
        ({"occupancy_mode": "magic"}, "parameter occupancy_mode: 'magic' is none of depth, lidar"),
        ({"velocity": "guess"}, "parameter velocity.*twist, positions"),
        ({"image_transport": "theora"}, "parameter image_transport.*compressed, raw"),
        ({"engine": "unreal"}, "parameter engine.*embedded, gazebo"),
        ({"qos": "fast"}, "parameter qos"),
        ({"vehicles": [""]}, "parameter vehicles: it is empty"),
        ({"vehicles": ["a/b"]}, "parameter vehicles: 'a/b' cannot be part of a topic name"),
        ({"vehicles": ["a", "a"]}, "parameter vehicles: a is there twice"),
        ({"vehicles": ["a", "b"], "plan": "p.json"}, "parameter plan: .*e.g. a.plan"),
        ({"conditions": "weather=sand"}, "parameter conditions: .*sand"),
        ({"keep_boxes": True, "actors": "without"}, "parameter keep_boxes: .*it needs actors: with"),
        ({"keep_boxes": True, "modalities": ["depth", "lidar"]}, "parameter keep_boxes: .*images among the modalities"),
        ({"start_time": "noon"}, "parameter start_time: .*ISO 8601"),
        ({"frame_rat": 3.0}, "parameter frame_rat: it is unknown; did you mean frame_rate?"),
        ({"c__rig": "x"}, "parameter c.rig: it is unknown; c is none of `vehicles`"),
    ],
)
def test_every_mistake_is_named(read, given, complaint):
    with pytest.raises(InputError, match=complaint):
        read(**({"world": "w"} if given else {}), **given)


def test_a_tolerance_that_reaches_the_next_frame_is_refused(read):
    with pytest.raises(InputError, match="tolerance"):
        read(world="w", frame_rate=10.0, tolerance=0.06).timing(0.1)


def test_every_parameter_is_described_and_help_shows_it():
    from aerialworld_recorder.nodes.parameters import DECLARED

    command = [sys.executable, "-m", "aerialworld_recorder.nodes.recorder"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=90).stdout
    for name, (_, text) in DECLARED.items():
        assert text.endswith(".") and re.search(rf"\n  {name} \(default .*\n      {re.escape(text)}\n", shown), name
    wrong = subprocess.run([*command, "bag.mcap"], capture_output=True, text=True, check=False, timeout=90)
    assert wrong.returncode == 2 and "the recorder takes parameters only" in wrong.stderr


def test_a_world_without_a_place_is_refused(tmp_path):
    (tmp_path / "world.sdf").write_text(
        '<?xml version="1.0"?><sdf version="1.10"><world name="w"><model name="m"><static>true</static><link name="l">'
        '<visual name="v"><geometry><box><size>9 9 1</size></box></geometry></visual></link></model></world></sdf>'
    )
    command = [sys.executable, "-m", "aerialworld_recorder.nodes.recorder", "--ros-args", "-p", f"world:={tmp_path}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert result.returncode == 2 and "add <spherical_coordinates>" in result.stderr.splitlines()[-1]


def test_voxels_of_the_lidar_need_no_faces(read):
    """Nothing listens to them, unless they are kept; session.json says what the voxels are made of."""
    from aerialworld_core.resources import share
    from aerialworld_recorder.nodes.setup import Setup

    city = str(share("aerialworld_worlds") / "small_city")
    lidar = {"world": city, "rig": "rig_small", "occupancy_mode": "lidar"}
    for given, faces in (({}, 0), ({"keep_depth": True}, 6), ({"modalities": ["lidar", "images"]}, 0)):
        vehicle = Setup(read(**lidar, **given)).vehicles[0]
        heard = [c.kind for c in vehicle.channels]
        assert heard.count("depth") == heard.count("semantic") == heard.count("depth_info") == faces
        assert "lidar" in heard and vehicle.maker.engine["occupancy"] == "lidar"
        assert len(vehicle.maker.rig.depth) == faces
    assert "occupancy" not in Setup(read(world=city, rig="rig_small")).vehicles[0].maker.engine
    for given, complaint in (
        ({**lidar, "modalities": ["images", "depth"]}, "without its LiDAR"),
        ({**lidar, "modalities": ["lidar"], "keep_depth": True}, "none can be kept"),
        ({"world": city, "rig": "rig_small", "modalities": ["lidar"]}, "there is no occupancy to record"),
    ):
        with pytest.raises(InputError, match=complaint):
            Setup(read(**given))


def test_the_conditions_are_those_of_the_engines_light(read):
    """The engine's node knows of no session: a date that is not given is not that of start_time."""
    from aerialworld_core.conditions import Conditions
    from aerialworld_core.resources import share
    from aerialworld_recorder.nodes.setup import Setup

    city = share("aerialworld_worlds") / "small_city"
    setup = Setup(read(world=str(city), conditions="local_time=07:30", start_time="2023-07-01T12:00:00Z"))
    maker, world = setup.vehicles[0].maker, setup.world
    light = Conditions(local_time="07:30").light(world.light, world.georeference)
    assert maker.conditions["sun_direction"] == pytest.approx(light.direction, abs=1e-6)
    said = Conditions.of_session(maker.conditions)
    assert said.light(world.light, world.georeference).direction == pytest.approx(light.direction)
    assert maker.attribution == "Generated by AerialWorld; no real place."


def test_launch_arguments_are_parameters_with_their_defaults_and_descriptions():
    """Read from the source: `launch` is not installed everywhere."""
    import ast
    from pathlib import Path

    import yaml

    from aerialworld_recorder.nodes.parameters import DECLARED

    file = Path(__file__).resolve().parents[3] / "launch/record.launch.py"
    (rows,) = [
        node.value.elts
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ARGUMENTS"
    ]
    assert rows
    for row in rows:
        name, default, _, text = (e.value if isinstance(e, ast.Constant) else None for e in row.elts)
        expected, description = DECLARED[name]
        if default is None:
            assert expected == "" and description == f"{text} Required."
        else:
            assert text == description, name
            assert (default if isinstance(expected, str) else yaml.safe_load(default)) == expected, name

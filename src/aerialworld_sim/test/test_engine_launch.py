"""The launch file offers exactly the node's parameters, with the same defaults and descriptions, and starts it."""

import ast
import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[3] / "launch/embedded.launch.py"
needs_launch = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not installed (no pip wheel)"
)


def offered() -> dict[str, tuple[object, str]]:
    """Name → default and description, read from the source: `launch` is not installed everywhere."""
    for node in ast.parse(FILE.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ARGUMENTS":
            rows = [[e.value if isinstance(e, ast.Constant) else None for e in row.elts] for row in node.value.elts]
            return {name: (default, description) for name, default, _, description in rows}
    raise AssertionError("no ARGUMENTS")


@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")
def test_launch_arguments_are_the_nodes_parameters():
    import yaml

    from aerialworld_sim.nodes.parameters import DECLARED

    arguments = offered()
    assert list(arguments) == list(DECLARED)
    for name, (default, description) in arguments.items():
        expected, text = DECLARED[name]
        if default is None:
            assert name == "world" and expected == "" and text.startswith(description)
        else:
            assert description == text, name
            assert (default if isinstance(expected, str) else yaml.safe_load(default)) == expected, name


@pytest.fixture
def launch_file():
    spec = importlib.util.spec_from_file_location("embedded_launch", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_launch
def test_every_argument_is_described(launch_file):
    from launch.actions import DeclareLaunchArgument

    entities = launch_file.generate_launch_description().entities
    declared = [e for e in entities if isinstance(e, DeclareLaunchArgument)]
    assert [e.name for e in declared] == list(offered()) and all(e.description for e in declared)


@needs_launch
def test_the_node_gets_every_argument_with_its_type(launch_file):
    """Arguments as `ros2 launch` hands them over, evaluated as launch_ros does before it starts the process."""
    from launch.actions import DeclareLaunchArgument
    from launch_ros.actions import Node
    from launch_ros.utilities import evaluate_parameters, normalize_parameters

    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update(
        {"world": "tokyo", "vehicles": "['drone_1', 'rover_1']", "rover_1.pose": "[4.0, 2.0, 0.0, 1.5]", "rate": "0"}
    )
    nodes = []
    for entity in launch_file.generate_launch_description().entities:
        made = entity.execute(context)
        nodes += [] if isinstance(entity, DeclareLaunchArgument) else made
    (node,) = nodes
    assert isinstance(node, Node) and (node.node_package, node.node_executable) == ("aerialworld_sim", "engine")
    given = launch_file.start_engine(context)[0]._Node__parameters  # launch_ros has no public name for them
    (values,) = evaluate_parameters(context, normalize_parameters(list(given)))
    assert set(values) == {*offered(), "rover_1.pose"}
    assert values["world"] == "tokyo" and list(values["vehicles"]) == ["drone_1", "rover_1"]
    assert list(values["rover_1.pose"]) == [4.0, 2.0, 0.0, 1.5] and list(values["lockstep"]) == [""]
    assert (values["rate"], values["seed"], values["stop_at_end"], values["plan"]) == (0.0, 0, False, "")
    assert isinstance(values["rate"], float)

"""The launch file offers exactly the node's parameters, with the same defaults."""

import ast
import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[3] / "launch/embedded.launch.py"


def offered() -> dict[str, tuple[object, str]]:
    """Name → default and description, read from the source: `launch` is not installed everywhere."""
    for node in ast.parse(FILE.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ARGUMENTS":
            rows = [[e.value if isinstance(e, ast.Constant) else None for e in row.elts] for row in node.value.elts]
            return {name: (default, description) for name, default, _, description in rows}
    raise AssertionError("no ARGUMENTS")


@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")
def test_launch_arguments_are_the_nodes_parameters():
    from aerialworld_sim.nodes.parameters import _DECLARED

    arguments = offered()
    assert set(arguments) == set(_DECLARED)
    for name, (default, description) in arguments.items():
        assert description and _DECLARED[name][1]
        expected = _DECLARED[name][0]
        if default is None:
            assert name == "world" and expected == ""
        else:
            assert default == expected if isinstance(expected, str) else ast.literal_eval(str(default)) == expected, (
                name
            )


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="launch_ros is not installed (no pip wheel)")
def test_launch_file_describes_the_node():
    from launch.actions import DeclareLaunchArgument
    from launch_ros.actions import Node

    spec = importlib.util.spec_from_file_location("embedded_launch", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    declared = [e for e in entities if isinstance(e, DeclareLaunchArgument)]
    assert {e.name for e in declared} == set(offered()) and all(e.description for e in declared)
    assert sum(isinstance(e, Node) for e in entities) == 1

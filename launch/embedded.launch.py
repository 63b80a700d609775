"""The embedded engine with one vehicle: `ros2 launch aerialworld_bringup embedded.launch.py world:=path/to/world`."""

from typing import List  # noqa: UP035 - launch compares with typing's lists

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

# name, default (None: must be given), type, description
ARGUMENTS = (
    ("world", None, str, "World folder with world.sdf, or an SDF file."),
    ("rig", "rig_drone", str, "Sensor rig: a shipped model's name, or the path of a model's SDF file or folder."),
    ("vehicle", "drone_1", str, "Name of the vehicle: the first part of its topics and frames."),
    ("plan", "", str, "Plan file (JSON) to follow; without one the vehicle hovers at `pose`."),
    (
        "pose",
        "[0.0, 0.0, 30.0, 0.0]",
        List[float],  # noqa: UP006
        "x, y, z in map (m) and yaw (rad) to hover at.",
    ),
    ("seed", "0", int, "Seed of all noise."),
    ("rate", "1.0", float, "Simulated seconds per wall second; 0.0 runs as fast as possible."),
    ("sensor_rate", "10.0", float, "Frames per simulated second (Hz)."),
    (
        "modalities",
        "['depth', 'images', 'imu', 'lidar']",
        List[str],  # noqa: UP006
        "Which sensors to simulate.",
    ),
)


def generate_launch_description() -> LaunchDescription:
    """Every argument is a parameter of the node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, _, description in ARGUMENTS
    ]
    parameters = {name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, _, kind, _ in ARGUMENTS}
    engine = Node(
        package="aerialworld_sim",
        executable="engine",
        name="engine",
        output="screen",
        emulate_tty=True,
        parameters=[parameters],
    )
    return LaunchDescription([*declared, engine])

"""Recording what runs already: `ros2 launch aerialworld_bringup record.launch.py world:=path/to/world`.

What is likely to change is an argument here; all other parameters: `recorder --help`, and `-p` of `ros2 run`.
"""

from typing import List  # noqa: UP035 - launch compares with typing's lists

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

# name, default (None: must be given), type, description: parameters of the node `recorder`
ARGUMENTS = (
    ("world", None, str, "World folder with world.sdf, or an SDF file: place, terrain, datum, credit."),
    (
        "vehicles",
        "['drone_1']",
        List[str],  # noqa: UP006
        "Vehicles to record: the first parts of their topics. Each has NAME.rig and NAME.plan.",
    ),
    (
        "rig",
        "",
        str,
        "Sensor rig: a shipped model's name, or the path of a model's SDF file or folder. "
        "Without one: rig_rover for rovers, else rig_drone.",
    ),
    ("data_root", "data", str, "Folder in which the sessions' folders are made."),
    ("frame_rate", "2.0", float, "Frames per simulated second that are recorded (Hz)."),
    ("lockstep", "false", bool, "Acknowledge every sensor frame on /lockstep, under this node's name."),
    ("engine", "embedded", str, "What publishes the topics, for session.json: embedded or gazebo."),
    (
        "image_transport",
        "compressed",
        str,
        "Camera topics: compressed (JPEGs, stored as they come) or raw (encoded here).",
    ),
)


def generate_launch_description() -> LaunchDescription:
    """The node with every argument as a parameter."""
    parameters = {name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, _, kind, _ in ARGUMENTS}
    node = Node(
        package="aerialworld_recorder",
        executable="recorder",
        name="recorder",
        output="screen",
        emulate_tty=True,
        parameters=[parameters],
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, _, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, node])

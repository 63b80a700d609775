"""The embedded engine: `ros2 launch aerialworld_bringup embedded.launch.py world:=path/to/world`.

With several vehicles, each vehicle's own parameters are arguments too:
`vehicles:="['drone_1', 'rover_1']" drone_1.plan:=survey.json rover_1.pose:="[4.0, 2.0, 0.0, 1.57]"`.
"""

from typing import List  # noqa: UP035 - launch compares with typing's lists

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

# name, default (None: must be given), type, description: the parameters of the node `engine`
ARGUMENTS = (
    ("world", None, str, "World folder with world.sdf, or an SDF file."),
    ("vehicle", "drone_1", str, "Name of the only vehicle: the first part of its topics and frames."),
    (
        "rig",
        "",
        str,
        "Sensor rig: a shipped model's name, or the path of a model's SDF file or folder. "
        "Without one: rig_rover for rovers, else rig_drone.",
    ),
    ("plan", "", str, "Plan file (JSON) to follow; without one the vehicle stays at `pose`."),
    (
        "pose",
        "[0.0, 0.0, 30.0, 0.0]",
        List[float],  # noqa: UP006
        "x, y, z in map (m) and yaw (rad) to stay at when there is no plan.",
    ),
    (
        "vehicles",
        "['']",
        List[str],  # noqa: UP006
        "Names of several vehicles, instead of `vehicle`; each has NAME.rig (default: `rig`), NAME.plan, NAME.pose.",
    ),
    (
        "autopilot",
        "",
        str,
        "Who flies the vehicle instead of a plan: embedded (MAVLink), or sitl (an ArduPilot binary).",
    ),
    (
        "mavlink",
        "['']",
        List[str],  # noqa: UP006
        "Where the embedded autopilot is reached: tcp:PORT, udp:HOST:PORT, udpin:HOST:PORT.",
    ),
    (
        "conditions",
        "",
        str,
        "Time of day and weather, e.g. local_time=07:30,weather=rain; without: the world's own sun.",
    ),
    ("seed", "0", int, "Seed of all noise; equal seeds give equal bytes."),
    ("threads", "0", int, "Threads that render; 0: one for each processor."),
    ("rate", "1.0", float, "Simulated seconds per wall second; 0.0 runs as fast as possible."),
    (
        "sensor_rate",
        "10.0",
        float,
        "Frames per simulated second of cameras, depth and LiDAR (Hz); it must divide 100 Hz.",
    ),
    (
        "modalities",
        "['depth', 'images', 'imu', 'lidar']",
        List[str],  # noqa: UP006
        "Which sensors to simulate: images, depth, lidar, imu.",
    ),
    (
        "lockstep",
        "['']",
        List[str],  # noqa: UP006
        "Listeners that must acknowledge every sensor frame on /lockstep before time goes on.",
    ),
    ("lockstep_timeout", "10.0", float, "Wall seconds after which a listener in lockstep counts as silent."),
    ("lockstep_lost", "wait", str, "What to do about a silent listener: wait, continue (without it) or stop."),
    ("start_paused", "false", bool, "Stand at time 0 until ~/pause or ~/step is called."),
    ("duration", "0.0", float, "Simulated seconds after which the run ends; 0.0: never."),
    ("stop_at_end", "false", bool, "End the run when the longest plan ends."),
    ("qos", "reliable", str, "Quality of service of the vehicles' topics: reliable or best_effort."),
    ("lidar_sampling", "exact", str, "Rays of the LiDAR: exact, or gazebo (the texels that Gazebo reads)."),
    ("rolling_lidar", "false", bool, "The LiDAR moves on during its sweep, as a real one does."),
    ("backend", "auto", str, "What renders: embree (CPU), warp (CUDA), or auto."),
    ("traffic", "", str, "What else moves: cars=100,pedestrians=20/km,parked=0.3,seed=0; empty: nothing."),
)
# what each of several vehicles has of its own, and its type
OF_EACH = {"rig": str, "plan": str, "pose": List[float], "autopilot": str, "mavlink": List[str]}  # noqa: UP006


def start_engine(context):
    """The node with every argument as a parameter, and those of each vehicle that were given."""
    parameters = {name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, _, kind, _ in ARGUMENTS}
    for vehicle in yaml.safe_load(LaunchConfiguration("vehicles").perform(context)):
        for key, kind in OF_EACH.items():
            name = f"{vehicle}.{key}"
            if name in context.launch_configurations:
                parameters[name] = ParameterValue(LaunchConfiguration(name), value_type=kind)
    return [
        Node(
            package="aerialworld_sim",
            executable="engine",
            name="engine",
            output="screen",
            emulate_tty=True,
            parameters=[parameters],
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Every argument is a parameter of the node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, _, description in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start_engine)])

"""rviz2 on what runs: `ros2 launch aerialworld_bringup view.launch.py vehicle:=drone_1`."""

from launch.actions import OpaqueFunction

from aerialworld.bringup.actions import declared, given, started
from aerialworld.bringup.machine import run_folder
from aerialworld.bringup.view import ARGUMENTS, view
from launch import LaunchDescription


def start(context):
    """rviz2, with a configuration."""
    return started(view(given(context, ARGUMENTS), run_folder()))


def generate_launch_description() -> LaunchDescription:
    """Every argument has a default and a description."""
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=start)])

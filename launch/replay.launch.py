"""Sessions of a bag: `ros2 launch aerialworld_bringup replay.launch.py bag:=flight/ world:=path/to/world`.

Ends when the bag does and everything is written. `aerialworld session import` does the same without ROS.
"""

from launch.actions import OpaqueFunction

from aerialworld.bringup.actions import declared, given, started
from aerialworld.bringup.replay import ARGUMENTS, replay
from launch import LaunchDescription


def start(context):
    """Bag and recorder."""
    return started(replay(given(context, ARGUMENTS)))


def generate_launch_description() -> LaunchDescription:
    """Every argument has a default and a description."""
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=start)])

"""A whole run: `ros2 launch aerialworld_bringup simulation.launch.py world:=path/to/world`.

Simulator, autopilots, bridges, recorder and missions. It ends when the missions have ended, with exit code 0 if all did
well, or with exit code 1 and the reason when something that it needs has ended. `engine:=embedded` needs no Gazebo.
`aerialworld.bringup` says what is started.
"""

from launch.actions import OpaqueFunction

from aerialworld.bringup.actions import declared, given, started
from aerialworld.bringup.arguments import ARGUMENTS, Simulation
from aerialworld.bringup.machine import here
from aerialworld.bringup.simulation import simulation
from launch import LaunchDescription


def start(context):
    """Everything that the arguments ask for."""
    asked = Simulation.from_arguments(given(context, ARGUMENTS))
    return started(simulation(asked, here(asked)))


def generate_launch_description() -> LaunchDescription:
    """Every argument has a default and a description."""
    return LaunchDescription([*declared(ARGUMENTS), OpaqueFunction(function=start)])

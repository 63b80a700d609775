"""Where missions and autopilots of a run meet."""

from __future__ import annotations

from aerialworld.bringup.arguments import GAZEBO, Simulation
from aerialworld_core.piloting import MAVLINK_PORT, PORTS_PER_INSTANCE

#: Where the first vehicle's mission awaits its ArduPilot (UDP); each further one adds PORTS_PER_INSTANCE.
_MISSION_PORT = 14550


def mission_port(number: int) -> int:
    """UDP port of vehicle `number`, to which its ArduPilot sends."""
    return _MISSION_PORT + PORTS_PER_INSTANCE * number


def station_port(number: int) -> int:
    """UDP port for a ground station that looks on, to which the ArduPilot of vehicle `number` also sends."""
    return mission_port(number) + 1


def connection(asked: Simulation, number: int) -> str:
    """Where the autopilot of vehicle `number` is reached: SITL sends to the mission, our autopilot awaits it."""
    if asked.engine == GAZEBO:
        return f"udpin:127.0.0.1:{mission_port(number)}"
    return f"tcp:127.0.0.1:{MAVLINK_PORT + PORTS_PER_INSTANCE * number}"

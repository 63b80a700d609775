"""An ArduPilot-like autopilot per vehicle, spoken to over MAVLink."""

from aerialworld_sim.autopilot.channel import Channel
from aerialworld_sim.autopilot.core import Autopilot
from aerialworld_sim.autopilot.settings import AutopilotError, Settings

__all__ = ["Autopilot", "AutopilotError", "Channel", "Settings"]

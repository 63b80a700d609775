"""What an arriving message sets off: those for this vehicle are handed on by type, all others are met with silence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aerialworld_sim.autopilot.channel import Channel

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

Handler = Callable[[Channel, Any], None]


class Inbox:
    """Sorts the messages of all channels."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._handlers: dict[str, Handler] = {
            "HEARTBEAT": self._heartbeat,
            "COMMAND_LONG": autopilot.commands.long,
            "COMMAND_INT": autopilot.commands.whole,
            "SET_MODE": autopilot.commands.set_mode_message,
            "PARAM_REQUEST_LIST": self._parameter_list,
            "PARAM_REQUEST_READ": autopilot.telemetry.read_parameter,
            "PARAM_SET": self._parameter_set,
            "SET_POSITION_TARGET_LOCAL_NED": lambda _, m: autopilot.modes.guided.local(m),
            "SET_POSITION_TARGET_GLOBAL_INT": lambda _, m: autopilot.modes.guided.on_earth(m),
            "REQUEST_DATA_STREAM": autopilot.telemetry.request_stream,
            "TIMESYNC": autopilot.telemetry.timesync,
            "RC_CHANNELS_OVERRIDE": self._override,
            "MANUAL_CONTROL": self._manual,
            **autopilot.protocol.handlers,
        }

    def handle(self, channel: Channel, message: Any) -> None:
        """Do what a message asks, if it is for this vehicle."""
        if message.get_srcSystem() == self._autopilot.settings.sysid or not self._for_us(message):
            return
        handler = self._handlers.get(message.get_type())
        if handler is not None:
            handler(channel, message)

    def _for_us(self, message: Any) -> bool:
        """Messages without a target are for all, and so are those to system 0."""
        target = getattr(message, "target_system", getattr(message, "target", 0) if _is_manual(message) else 0)
        return target in (0, self._autopilot.settings.sysid)

    def _from_station(self, message: Any) -> bool:
        return bool(message.get_srcSystem() == int(self._autopilot.parameters["MAV_GCS_SYSID"]))

    def _heartbeat(self, channel: Channel, message: Any) -> None:
        if self._from_station(message):
            self._autopilot.failsafes.heartbeat()

    def _parameter_list(self, channel: Channel, message: Any) -> None:
        channel.listing = 0
        self._autopilot.telemetry.banner()

    def _parameter_set(self, channel: Channel, message: Any) -> None:
        if self._autopilot.parameters.set_by_client(message.param_id, message.param_value) is not None:
            self._autopilot.tell_parameter(message.param_id)

    def _override(self, channel: Channel, message: Any) -> None:
        if self._from_station(message):
            self._autopilot.sticks.override(message)

    def _manual(self, channel: Channel, message: Any) -> None:
        if self._from_station(message):
            self._autopilot.sticks.manual(message)


def _is_manual(message: Any) -> bool:
    return bool(message.get_type() == "MANUAL_CONTROL")

"""When what is told: heartbeats, streams at the rates that were asked for, texts, parameters, single requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aerialworld_core.mavlink.wire import Message, message_id
from aerialworld_core.mavlink.words import Severity
from aerialworld_sim.autopilot.channel import LISTED_PER_STEP, Channel, Interval
from aerialworld_sim.autopilot.settings import BUILD, VERSION
from aerialworld_sim.autopilot.telemetry_motion import Motion
from aerialworld_sim.autopilot.telemetry_system import System

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

SECOND = 1_000_000_000
#: Seconds between the time synchronisations that are sent unasked, and between those of STAT_RUNTIME.
TIMESYNC_PERIOD, RUNTIME_PERIOD = 10, 30
#: Bytes of a STATUSTEXT; longer texts go in numbered pieces.
TEXT_SIZE = 50
#: What a rover sends each second without being asked.
ROVER_DEFAULTS = (
    "sys_status power_status meminfo mission_current gps_raw_int fence_status global_position_int local_position_ned "
    "nav_controller_output attitude vfr_hud ahrs ahrs2 system_time rc_channels servo_output_raw rc_channels_scaled "
    "raw_imu scaled_imu2 scaled_imu3 scaled_pressure scaled_pressure2 vibration battery_status ekf_status_report "
    "position_target_global_int simstate"
).split()
#: Groups of the old REQUEST_DATA_STREAM by MAV_DATA_STREAM.
GROUPS = {
    1: "raw_imu scaled_imu2 scaled_imu3 scaled_pressure scaled_pressure2",
    2: "sys_status power_status meminfo mission_current gps_raw_int nav_controller_output fence_status "
    "position_target_global_int",
    3: "servo_output_raw rc_channels",
    6: "global_position_int local_position_ned",
    10: "attitude simstate ahrs2",
    11: "vfr_hud",
    12: "ahrs system_time battery_status ekf_status_report vibration extended_sys_state",
}
ALL_GROUPS = 0


class Telemetry:
    """What one autopilot sends, to whom and when."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self._builders: dict[str, Callable[[], Message | None]] = {}
        self._system = System(autopilot)
        self._builders |= self._system.builders | Motion(autopilot).builders
        self._names = {message_id(name): name for name in self._builders}
        self._texts: list[tuple[str, Severity]] = []
        self._text_number = 0
        self._reached: int | None = None
        self._next_heartbeat = autopilot.boot.timeline.first_heartbeat
        self._next_sync = TIMESYNC_PERIOD - 0.095
        self._next_runtime = float(RUNTIME_PERIOD)

    # Single messages

    def heartbeat(self) -> Message:
        return self._system.heartbeat()

    def mission_current(self) -> Message:
        return self._system.mission_current()

    def say(self, text: str, severity: Severity) -> None:
        """Queue a status text for all; it goes out at the end of the step, after acknowledgements."""
        self._texts.append((text, severity))

    def reached(self, seq: int) -> None:
        """A mission item was reached; of several in one step the last is told, as by ArduPilot."""
        self._reached = seq

    def send_once(self, channel: Channel, number: int) -> bool:
        """REQUEST_MESSAGE: send it now if there is anything to tell; False for an unknown number."""
        name = self._names.get(number)
        return name is not None and self.send_named(channel, name)

    def send_named(self, channel: Channel, name: str) -> bool:
        message = self._builders[name]()
        if message is not None:
            channel.post(message)
        return True

    def timesync(self, channel: Channel, message: Any) -> None:
        """Answer a client's time synchronisation with the vehicle's time."""
        if message.tc1 == 0:
            channel.post(Message("timesync", {"tc1": self._autopilot.boot_ns(), "ts1": message.ts1}))

    def banner(self) -> None:
        """Who this is, said when a client lists the parameters."""
        copter = self._autopilot.settings.kind == "drone"
        name, (major, minor, patch, _) = "ArduCopter" if copter else "ArduRover", VERSION
        self.say(f"{name} V{major}.{minor}.{patch}-dev ({BUILD})", Severity.INFO)
        self.say(f"{BUILD}: simulated {'multirotor' if copter else 'rover'}", Severity.INFO)
        if copter:
            self.say("Frame: QUAD/PLUS", Severity.INFO)

    # Streams

    def set_interval(self, channel: Channel, number: int, interval_us: float) -> bool:
        """SET_MESSAGE_INTERVAL: −1 stops it, 0 is the default rate; False for an unknown number."""
        name = self._names.get(number)
        if name is None:
            return False
        if interval_us == 0:
            interval_us = self._default_us(name)
        if interval_us < 0:
            channel.intervals.pop(number, None)
            return True
        period = max(1, round(interval_us)) * 1000
        channel.intervals[number] = Interval(period, self._autopilot.now_ns + period)
        return True

    def _default_us(self, name: str) -> float:
        rover = self._autopilot.settings.kind == "rover" and name in ROVER_DEFAULTS
        return 1e6 if rover or name == "heartbeat" else -1.0

    def set_defaults(self, channel: Channel) -> None:
        """The streams of a fresh channel: a copter's has none, a rover's some twenty at 1 Hz."""
        if self._autopilot.settings.kind == "rover":
            for name in ROVER_DEFAULTS:
                channel.intervals[message_id(name)] = Interval(SECOND, self._autopilot.now_ns + SECOND)

    def request_stream(self, channel: Channel, message: Any) -> None:
        """REQUEST_DATA_STREAM: a group of messages at a rate in Hz, or none of it."""
        groups = list(GROUPS) if message.req_stream_id == ALL_GROUPS else [message.req_stream_id]
        rate = message.req_message_rate if message.start_stop else 0
        for name in " ".join(GROUPS.get(group, "") for group in groups).split():
            self.set_interval(channel, message_id(name), 1e6 / rate if rate else -1.0)

    def interval_us(self, channel: Channel, number: int) -> int:
        """MESSAGE_INTERVAL's value: −1 for a stream that is off, 0 for a message that there is not."""
        if number not in self._names:
            return 0
        interval = channel.intervals.get(number)
        if interval is None:
            return 1_000_000 if self._names[number] == "heartbeat" else -1
        return min(interval.period_ns // 1000, 2**31 - 1)

    # Parameters

    def tell_parameter(self, name: str) -> None:
        """The value of a parameter to all, unasked."""
        parameters = self._autopilot.parameters
        parameter = parameters.find(name)
        if parameter is not None:
            self._autopilot.broadcast(parameters.told(parameter))

    def read_parameter(self, channel: Channel, message: Any) -> None:
        """PARAM_REQUEST_READ: by index or by name; an unknown one is met with silence."""
        parameters = self._autopilot.parameters
        by_index = message.param_index >= 0
        found = parameters.at(message.param_index) if by_index else parameters.find(message.param_id)
        if found is not None:
            channel.post(parameters.told(found, with_index=by_index))

    def _list_parameters(self, channel: Channel) -> None:
        parameters = self._autopilot.parameters
        for _ in range(LISTED_PER_STEP):
            if channel.listing is None or not channel.quiet():
                return
            parameter = parameters.at(channel.listing)
            if parameter is None:
                channel.listing = None
                return
            channel.post(parameters.told(parameter, with_index=True))
            channel.listing += 1

    # Each step

    def update(self) -> None:
        """Send what is due."""
        autopilot = self._autopilot
        if autopilot.now >= self._next_heartbeat:
            self._next_heartbeat += 1.0
            autopilot.broadcast(self.heartbeat())
        if autopilot.now >= self._next_sync:
            self._next_sync += TIMESYNC_PERIOD
            autopilot.broadcast(Message("timesync", {"tc1": 0, "ts1": autopilot.boot_ns()}))
        if autopilot.now >= self._next_runtime:
            self._next_runtime += RUNTIME_PERIOD
            autopilot.parameters.keep("STAT_RUNTIME", int(autopilot.now))
            self.tell_parameter("STAT_RUNTIME")
        if self._reached is not None:
            autopilot.broadcast(Message("mission_item_reached", {"seq": self._reached}))
            self._reached = None
        self.flush_texts()
        for channel in autopilot.channels:
            self._list_parameters(channel)
            if autopilot.boot.ready:
                self._stream(channel)

    def _stream(self, channel: Channel) -> None:
        now = self._autopilot.now_ns
        for number, interval in channel.intervals.items():
            if interval.due_ns > now:
                continue
            interval.due_ns += interval.period_ns
            if interval.due_ns <= now:  # asked for more often than the steps, or after the boot: no burst follows
                interval.due_ns = now + interval.period_ns - (now - interval.due_ns) % interval.period_ns
            message = self._builders[self._names[number]]()
            if message is not None:
                channel.post(message)

    def flush_texts(self) -> None:
        """Send the status texts that wait, in pieces where they are long."""
        texts, self._texts = self._texts, []
        for text, severity in texts:
            for message in self._pieces(text.encode("ascii", "replace"), severity):
                self._autopilot.broadcast(message)

    def _pieces(self, text: bytes, severity: Severity) -> list[Message]:
        if len(text) <= TEXT_SIZE:
            return [Message("statustext", {"severity": int(severity), "text": text, "id": 0, "chunk_seq": 0})]
        self._text_number = self._text_number % 65535 + 1
        cuts = [text[i : i + TEXT_SIZE] for i in range(0, len(text), TEXT_SIZE)]
        return [
            Message("statustext", {"severity": int(severity), "text": c, "id": self._text_number, "chunk_seq": n})
            for n, c in enumerate(cuts)
        ]

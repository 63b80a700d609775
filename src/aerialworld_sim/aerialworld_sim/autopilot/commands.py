"""COMMAND_LONG and COMMAND_INT: what each command does, and the result that its acknowledgement carries."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aerialworld_core.earth import on_earth
from aerialworld_core.mavlink.wire import Message
from aerialworld_core.mavlink.words import (
    CUSTOM_MODE,
    FORCE_ARM,
    FORCE_DISARM,
    GLOBAL_FRAMES,
    RELATIVE_FRAMES,
    Cmd,
    Frame,
    Result,
)
from aerialworld_sim.autopilot import telemetry_home
from aerialworld_sim.autopilot.channel import Channel
from aerialworld_sim.autopilot.mission_items import Item

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: Bit of DO_REPOSITION's param2: change into GUIDED for it.
CHANGE_MODE = 1


@dataclass(frozen=True)
class Command:
    """A command in either form: `p` its parameters 1 to 4; `x`, `y` degrees × 1e7; `z` its seventh parameter in
    `frame`. `whole` tells a COMMAND_INT."""

    channel: Channel
    number: int
    p: tuple[float, float, float, float]
    x: int
    y: int
    z: float
    frame: int
    whole: bool


class Commands:
    """The commands that the autopilot takes."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        drone = autopilot.settings.kind == "drone"
        both: dict[int, Callable[[Command], Result]] = {
            Cmd.DO_SET_MODE: self._set_mode,
            Cmd.COMPONENT_ARM_DISARM: self._arm,
            Cmd.RUN_PREARM_CHECKS: self._prearm,
            Cmd.MISSION_START: self._mission_start,
            Cmd.DO_SET_MISSION_CURRENT: self._set_current,
            Cmd.DO_PAUSE_CONTINUE: self._pause,
            Cmd.DO_CHANGE_SPEED: self._change_speed,
            Cmd.DO_REPOSITION: self._reposition,
            Cmd.DO_SET_HOME: self._set_home,
            Cmd.DO_FENCE_ENABLE: self._fence_enable,
            Cmd.NAV_RETURN_TO_LAUNCH: lambda c: self._mode("RTL"),
            Cmd.NAV_LOITER_UNLIM: lambda c: self._mode("LOITER"),
            Cmd.GET_HOME_POSITION: self._get_home,
            Cmd.SET_MESSAGE_INTERVAL: self._set_interval,
            Cmd.GET_MESSAGE_INTERVAL: self._get_interval,
            Cmd.REQUEST_MESSAGE: self._request_message,
            Cmd.REQUEST_AUTOPILOT_CAPABILITIES: lambda c: self._sends(c, "autopilot_version"),
            Cmd.PREFLIGHT_CALIBRATION: self._when_disarmed,
            Cmd.PREFLIGHT_STORAGE: self._when_disarmed,
            Cmd.PREFLIGHT_REBOOT_SHUTDOWN: self._reboot,
        }
        copter: dict[int, Callable[[Command], Result]] = {
            Cmd.NAV_TAKEOFF: self._take_off,
            Cmd.NAV_LAND: lambda c: self._mode("LAND"),
            Cmd.CONDITION_YAW: self._yaw,
            Cmd.DO_SET_ROI: self._roi,
            Cmd.DO_SET_ROI_LOCATION: self._roi,
            Cmd.DO_SET_ROI_NONE: self._no_roi,
        }
        self._table = both | (copter if drone else {})

    # The two messages

    def long(self, channel: Channel, message: Any) -> None:
        """COMMAND_LONG: places are degrees in floats, altitudes are relative to home."""
        x, y = (round(v * 1e7) if abs(v) <= 180.0 else 0 for v in (message.param5, message.param6))
        p = (message.param1, message.param2, message.param3, message.param4)
        frame = Frame.GLOBAL_RELATIVE_ALT
        command = Command(channel, message.command, p, x, y, message.param7, frame, whole=False)
        self._run(command, message)

    def whole(self, channel: Channel, message: Any) -> None:
        """COMMAND_INT."""
        p = (message.param1, message.param2, message.param3, message.param4)
        command = Command(channel, message.command, p, message.x, message.y, message.z, message.frame, whole=True)
        self._run(command, message)

    def _run(self, command: Command, message: Any) -> None:
        handler = self._table.get(command.number)
        result = Result.UNSUPPORTED if handler is None else handler(command)
        self.acknowledge(command.channel, command.number, result, message)
        self._autopilot.tell_mode_change()

    def acknowledge(self, channel: Channel, number: int, result: Result, message: Any) -> None:
        """Send the COMMAND_ACK of what a message asked."""
        fields = {"command": number, "result": int(result), "progress": 0, "result_param2": 0}
        target = {"target_system": message.get_srcSystem(), "target_component": message.get_srcComponent()}
        channel.post(Message("command_ack", fields | target))

    # Modes and arming

    def _set_mode(self, command: Command) -> Result:
        base, number = command.p[0], command.p[1]
        if not _whole(base, 0, 255) or not int(base) & CUSTOM_MODE:
            return Result.DENIED
        number = number if _whole(number, 0, 255) else 255
        return Result.ACCEPTED if self._autopilot.set_mode(int(number)) else Result.FAILED

    def set_mode_message(self, channel: Channel, message: Any) -> None:
        """The old SET_MODE message, acknowledged like a command of that number."""
        result = Result.DENIED
        if message.base_mode & CUSTOM_MODE:
            known = message.custom_mode <= 255 and self._autopilot.set_mode(message.custom_mode)
            result = Result.ACCEPTED if known else Result.FAILED
        self.acknowledge(channel, 11, result, message)
        self._autopilot.tell_mode_change()

    def _mode(self, name: str) -> Result:
        return Result.ACCEPTED if self._autopilot.enter(name) else Result.FAILED

    def _arm(self, command: Command) -> Result:
        wanted, force = command.p[0], command.p[1]
        if wanted == 1.0:
            return Result.ACCEPTED if self._autopilot.arm(force == FORCE_ARM) else Result.FAILED
        if wanted == 0.0:
            return Result.ACCEPTED if self._autopilot.disarm(force == FORCE_DISARM) else Result.FAILED
        return Result.UNSUPPORTED

    def _prearm(self, command: Command) -> Result:
        if self._autopilot.armed:
            return Result.TEMPORARILY_REJECTED
        self._autopilot.arming.complain()
        return Result.ACCEPTED

    def _when_disarmed(self, command: Command) -> Result:
        return Result.FAILED if self._autopilot.armed else Result.ACCEPTED

    def _reboot(self, command: Command) -> Result:
        if command.p[0] not in (1.0, 3.0):
            return Result.UNSUPPORTED
        if self._autopilot.armed:
            return Result.FAILED
        self._autopilot.reboot_soon()
        return Result.ACCEPTED

    # Missions

    def _mission_start(self, command: Command) -> Result:
        return Result.ACCEPTED if self._autopilot.start_mission() else Result.FAILED

    def _set_current(self, command: Command) -> Result:
        seq = command.p[0]
        if not _whole(seq, 0, 65535) or not self._autopilot.runner.jump_to(int(seq)):
            return Result.DENIED
        command.channel.post(self._autopilot.telemetry.mission_current())
        return Result.ACCEPTED

    def _pause(self, command: Command) -> Result:
        if command.p[0] not in (0.0, 1.0):
            return Result.DENIED
        return self._autopilot.modes.pause(command.p[0] == 0.0)

    # Flying

    def _take_off(self, command: Command) -> Result:
        autopilot = self._autopilot
        if command.whole and command.frame != Frame.GLOBAL_RELATIVE_ALT:
            return Result.DENIED
        if not math.isfinite(command.z):
            return Result.FAILED
        return Result.ACCEPTED if autopilot.copter.take_off(autopilot.estimator.home_z() + command.z) else Result.FAILED

    def _change_speed(self, command: Command) -> Result:
        done = self._autopilot.modes.change_speed(command.p[0], command.p[1])
        return Result.ACCEPTED if done else Result.FAILED

    def _yaw(self, command: Command) -> Result:
        angle, _, direction, relative = command.p
        if not 0.0 <= angle <= 360.0 or relative not in (0.0, 1.0) or not math.isfinite(direction):
            return Result.FAILED
        self._autopilot.copter.yaw.condition(angle, direction, relative == 1.0)
        self._autopilot.copter.turn()
        return Result.ACCEPTED

    def _reposition(self, command: Command) -> Result:
        autopilot = self._autopilot
        if command.frame not in GLOBAL_FRAMES or not math.isfinite(command.z) or abs(command.z) > 1e6:
            return Result.DENIED
        if not on_earth(command.x, command.y):
            return Result.DENIED
        change = _whole(command.p[1], 0, 255) and int(command.p[1]) & CHANGE_MODE
        if autopilot.mode.name != "GUIDED" and not change:
            return Result.DENIED
        if not autopilot.estimator.has_position:
            return Result.FAILED
        place = autopilot.missions.target(
            Item(command.number, command.frame, (0.0, 0.0, 0.0, 0.0), command.x, command.y, command.z)
        )
        if autopilot.fence.outside(place):
            return Result.FAILED
        if autopilot.mode.name != "GUIDED" and not autopilot.enter("GUIDED"):
            return Result.FAILED
        return Result.ACCEPTED if autopilot.modes.go_to(place) else Result.FAILED

    def _roi(self, command: Command) -> Result:
        if not on_earth(command.x, command.y) or not math.isfinite(command.z):
            return Result.FAILED
        return self._look_at(Item(command.number, command.frame, (0.0, 0.0, 0.0, 0.0), command.x, command.y, command.z))

    def _look_at(self, item: Item) -> Result:
        autopilot = self._autopilot
        autopilot.modes.yaw.roi = autopilot.missions.target(item) if item.has_place else None
        return Result.ACCEPTED

    def _no_roi(self, command: Command) -> Result:
        self._autopilot.modes.yaw.roi = None
        return Result.ACCEPTED

    # Home and fence

    def _set_home(self, command: Command) -> Result:
        autopilot = self._autopilot
        if command.p[0] == 1.0 or not (command.x or command.y):
            if not autopilot.estimator.has_local_position:
                return Result.FAILED
            autopilot.estimator.set_home(autopilot.estimator.position)
            return Result.ACCEPTED
        if autopilot.estimator.origin is None or not math.isfinite(command.z) or abs(command.z) > 1e5:
            return Result.FAILED
        if not on_earth(command.x, command.y):
            return Result.DENIED
        place = np.zeros(3)
        place[:2] = autopilot.earth.map_of(command.x, command.y)
        relative = command.whole and command.frame in RELATIVE_FRAMES
        place[2] = (
            command.z + autopilot.estimator.home_z() if relative else command.z - autopilot.earth.reference.height
        )
        autopilot.estimator.set_home(place)
        return Result.ACCEPTED

    def _get_home(self, command: Command) -> Result:
        if self._autopilot.estimator.home is None:
            return Result.FAILED
        command.channel.post(telemetry_home.home_position(self._autopilot))
        return Result.ACCEPTED

    def _fence_enable(self, command: Command) -> Result:
        if command.p[0] not in (0.0, 1.0):
            return Result.FAILED
        self._autopilot.parameters.keep("FENCE_ENABLE", command.p[0])
        return Result.ACCEPTED

    # Streams

    def _set_interval(self, command: Command) -> Result:
        number, interval = command.p[0], command.p[1]
        if not _whole(number, 0, 2**24) or not math.isfinite(interval):
            return Result.DENIED
        known = self._autopilot.telemetry.set_interval(command.channel, int(number), interval)
        if not known:
            self._autopilot.say(f"No ap_message for mavlink id ({int(number)})")
        return Result.ACCEPTED if known else Result.DENIED

    def _get_interval(self, command: Command) -> Result:
        number = command.p[0]
        if not _whole(number, 0, 65535):
            return Result.FAILED
        interval = self._autopilot.telemetry.interval_us(command.channel, int(number))
        command.channel.post(Message("message_interval", {"message_id": int(number), "interval_us": interval}))
        return Result.ACCEPTED

    def _request_message(self, command: Command) -> Result:
        number = command.p[0]
        if not _whole(number, 0, 2**24):
            return Result.FAILED
        known = self._autopilot.telemetry.send_once(command.channel, int(number))
        return Result.ACCEPTED if known else Result.FAILED

    def _sends(self, command: Command, name: str) -> Result:
        known = self._autopilot.telemetry.send_named(command.channel, name)
        return Result.ACCEPTED if known else Result.FAILED

    # Items of a mission that are done on the way

    def do_item(self, item: Item) -> None:
        """Do what stands between two leading items. Servos, relays and cameras are taken note of and move nothing."""
        autopilot = self._autopilot
        if item.command == Cmd.DO_CHANGE_SPEED:
            if autopilot.modes.change_speed(item.params[0], item.params[1]) and autopilot.settings.kind == "rover":
                autopilot.say(f"speed: {item.params[1]:.1f} m/s")
        elif item.command in (Cmd.DO_SET_ROI, Cmd.DO_SET_ROI_LOCATION):
            self._look_at(item)
        elif item.command == Cmd.DO_SET_ROI_NONE:
            autopilot.modes.yaw.roi = None
        elif item.command == Cmd.DO_SET_HOME:
            here = item.params[0] == 1.0 or not item.has_place
            autopilot.estimator.set_home(autopilot.estimator.position if here else autopilot.missions.target(item))
        elif item.command == Cmd.DO_FENCE_ENABLE:
            autopilot.parameters.keep("FENCE_ENABLE", 1.0 if item.params[0] == 1.0 else 0.0)


def _whole(value: float, low: int, high: int) -> bool:
    """Whether a parameter holds a whole number of that range."""
    return math.isfinite(value) and low <= value <= high and value == int(value)

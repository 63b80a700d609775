"""One vehicle's autopilot: messages in, messages out, and a goal for the vehicle; no sockets, no clock.

    autopilot = Autopilot(vehicle, Settings("drone", georeference))
    channel = autopilot.open_channel("serial0")
    channel.receive(bytes_from_a_client)
    autopilot.advance(10_000_000)        # 10 ms of simulation time: the vehicle gets its goal
    vehicle.step(10_000_000)
    bytes_to_the_client = channel.take_all()

All times are simulation time, so that it behaves the same at any speed-up; it is a function of what comes in and when.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aerialworld_core.earth import Earth
from aerialworld_core.frames import Array
from aerialworld_core.mavlink.signing import Signer
from aerialworld_core.mavlink.wire import Message
from aerialworld_core.mavlink.words import ARMED, GUIDED_FLAG, Severity, Status
from aerialworld_sim.autopilot.arming import Arming
from aerialworld_sim.autopilot.battery import Battery
from aerialworld_sim.autopilot.boot import BOOT_LEAD, Boot
from aerialworld_sim.autopilot.channel import TRIES_PER_STEP, Channel
from aerialworld_sim.autopilot.commands import Commands
from aerialworld_sim.autopilot.copter import Copter
from aerialworld_sim.autopilot.estimator import Estimator
from aerialworld_sim.autopilot.failsafes import Failsafes
from aerialworld_sim.autopilot.fence import Fence
from aerialworld_sim.autopilot.inbox import Inbox
from aerialworld_sim.autopilot.logic import ModeLogic, radius_within
from aerialworld_sim.autopilot.mission_protocol import MissionProtocol
from aerialworld_sim.autopilot.missions import Missions
from aerialworld_sim.autopilot.modes import Mode, mode_named, modes_of
from aerialworld_sim.autopilot.parameters import Parameters
from aerialworld_sim.autopilot.rover import Rover
from aerialworld_sim.autopilot.runner import MissionRunner
from aerialworld_sim.autopilot.settings import AutopilotError, Settings
from aerialworld_sim.autopilot.sticks import Sticks
from aerialworld_sim.autopilot.telemetry import Telemetry
from aerialworld_sim.vehicles.interface import Contact, Goal, Off, SimulatedVehicle


class Autopilot:
    """An ArduPilot-like autopilot that flies `vehicle`.

    `parameters` are set before it boots, as a file of defaults is. Raises AutopilotError for one that there is not.
    `ground` gives map's terrain height at a place (3,), for altitudes above terrain; without it the start's height
    counts.
    """

    def __init__(
        self,
        vehicle: SimulatedVehicle,
        settings: Settings,
        parameters: Mapping[str, float] | None = None,
        ground: Any | None = None,
    ) -> None:
        if vehicle.kind != settings.kind:
            raise AutopilotError(f"an autopilot of a {settings.kind} cannot fly a {vehicle.kind}")
        self.vehicle = vehicle
        self.settings = settings
        self.earth = Earth(settings.georeference)
        self.parameters = Parameters(settings.kind)
        self.parameters.keep("MAV_SYSID", settings.sysid)
        self.parameters.keep("SIM_SPEEDUP", settings.speedup)
        for name, value in (parameters or {}).items():
            self.parameters.keep(name, value)
        self._ground = ground
        self._modes = modes_of(settings.kind)
        self.channels: list[Channel] = []
        #: Frames that have been tried of all channels, wrong ones too: what the listening has cost.
        self.tried = 0
        self.missions = Missions(self)
        self._power_on()

    def power_cycle(self) -> None:
        """Off and on again, at time 0: what a reboot forgets is forgotten; parameters, missions and channels stay."""
        self._power_on()

    def _power_on(self) -> None:
        """Everything that a reboot forgets; parameters, missions and channels stay."""
        self.now_ns = 0
        self._reboot_at: int | None = None
        self._landed_here = False
        self._untold_mode = False
        self._touch_speed = 0.0
        self._contact = self.vehicle.contact
        self._in_flight_aligned = False
        self.start: Array = np.array(self.vehicle.state.pose.position)
        self.commanded: Goal | None = None
        self.mode = mode_named(self.settings.kind, "STABILIZE" if self.settings.kind == "drone" else "INITIALISING")
        self.boot = Boot(self)
        self.estimator = Estimator(self)
        self.battery = Battery(self)
        self.arming = Arming(self)
        self.fence = Fence(self)
        self.fence.load(self.missions.fence)
        self.failsafes = Failsafes(self)
        self.sticks = Sticks(self)
        self.runner = MissionRunner(self)
        self.modes: ModeLogic = Copter(self) if self.settings.kind == "drone" else Rover(self)
        self.commands = Commands(self)
        self.protocol = MissionProtocol(self)
        self.telemetry = Telemetry(self)
        self._inbox = Inbox(self)

    # Time

    @property
    def now(self) -> float:
        """Seconds since the power came on."""
        return self.now_ns * 1e-9

    def boot_ns(self) -> int:
        return self.now_ns + round(BOOT_LEAD * 1e9)

    def boot_us(self) -> int:
        return self.boot_ns() // 1000

    def boot_ms(self) -> int:
        """time_boot_ms of messages."""
        return self.boot_ns() // 1_000_000 % 2**32

    # What goes in and out

    def open_channel(self, name: str, signer: Signer | None = None) -> Channel:
        """A serial port more, for one link; it stays for the autopilot's life. Whoever made the signer closes it."""
        channel = Channel(name, self.settings.sysid, signer, len(self.channels))
        self.telemetry.set_defaults(channel)
        self.channels.append(channel)
        return channel

    def listen(self, tries: int = TRIES_PER_STEP) -> None:
        """Handle what has arrived, without time passing: at most `tries` frames of each channel."""
        for channel in self.channels:
            messages, left = channel.messages(tries)
            self.tried += tries - left
            for message in messages:
                self._inbox.handle(channel, message)
        self.telemetry.flush_texts()

    def broadcast(self, message: Message) -> None:
        """Send to every channel."""
        for channel in self.channels:
            channel.post(message)

    def say(self, text: str, severity: Severity = Severity.INFO) -> None:
        """A status text to every client."""
        self.telemetry.say(text, severity)

    def tell_parameter(self, name: str) -> None:
        """A parameter's value to every client, unasked."""
        if self.channels:
            self.telemetry.tell_parameter(name)

    def item_reached(self, seq: int) -> None:
        self.telemetry.reached(seq)

    # Each step

    def advance(self, dt_ns: int, tries: int = TRIES_PER_STEP) -> None:
        """Let `dt_ns` > 0 of simulation time pass: handle what came, decide, command the vehicle, send what is due.

        Call it before the vehicle's own step of the same length. `tries` bounds the frames of each channel.
        """
        if dt_ns <= 0:
            raise ValueError(f"time goes forward: a step of {dt_ns} ns is none")
        self.listen(tries)
        self.now_ns += dt_ns
        seconds = dt_ns * 1e-9
        self.boot.update()
        self.estimator.update()
        self._feel_the_ground()
        self.battery.update(seconds)
        self.failsafes.update()
        self.fence.update()
        self.arming.update()
        self.protocol.update()
        self._command(seconds)
        self.telemetry.update()
        self.tell_mode_change()
        if self._reboot_at is not None and self.now_ns >= self._reboot_at:
            self._power_on()

    def _command(self, seconds: float) -> None:
        if self.vehicle.contact is Contact.CRASHED or not self.armed:
            if self.mode.name == "AUTO":
                self.runner.idle()
            goal: Goal = self.commanded if isinstance(self.commanded, Off) else Off()
        else:
            goal = self.modes.goal(seconds)
            if not self.armed:  # it has landed
                goal = Off()
        if goal is not self.commanded:
            self.commanded = goal
            self.vehicle.command(goal)

    def arrived(self, goal: Goal | None) -> bool:
        """Whether the vehicle has `goal` and has reached it."""
        return goal is not None and self.commanded is goal and self.vehicle.arrived()

    def _feel_the_ground(self) -> None:
        """A copter's touch is told as its simulation tells it, its take-off as its estimator does."""
        if self.settings.kind != "drone":
            return
        before, self._contact = self._contact, self.vehicle.contact
        if before is Contact.AIR and self._contact is not Contact.AIR:
            self.say(f"SIM Hit ground at {self._touch_speed:.6g} m/s")
        if self._contact is Contact.AIR:
            self._touch_speed = max(0.0, -float(self.vehicle.state.linear_velocity[2]))
            if not self._in_flight_aligned and self.estimator.relative_altitude() > 2.5:
                self._in_flight_aligned = True
                self.say("EKF3 IMU0 MAG0 in-flight yaw alignment complete")
                self.say("EKF3 IMU1 MAG0 in-flight yaw alignment complete")

    # Modes

    @property
    def copter(self) -> Copter:
        """The mode logic of a multirotor; there is one only there."""
        assert isinstance(self.modes, Copter)
        return self.modes

    @property
    def rover(self) -> Rover:
        """The logic of a rover; only for what is a rover."""
        assert isinstance(self.modes, Rover)
        return self.modes

    def enter(self, name: str) -> bool:
        """Go into a mode by its name; False when it cannot be."""
        return self.set_mode(mode_named(self.settings.kind, name).number)

    def set_mode(self, number: int) -> bool:
        """Go into a mode by its number, or say why not."""
        mode = self._modes.get(number)
        if mode is None:
            self.say(f"No such mode {number}", Severity.WARNING)
            return False
        if mode is self.mode:
            return True
        needs_position = mode.position and self.armed and not self.estimator.has_position
        reason = "requires position" if needs_position else self.modes.enter(mode)
        if reason:
            self._refuse(mode, reason)
            return False
        self._go_into(mode)
        return True

    def _refuse(self, mode: Mode, reason: str) -> None:
        if self.settings.kind == "rover":
            self.say("Flight mode change failed", Severity.WARNING)
        elif reason.startswith("Auto:"):
            self.say(reason, Severity.CRITICAL)
            self.say(f"Mode change to {mode.name} failed: init failed", Severity.WARNING)
        else:
            self.say(f"Mode change to {mode.name} failed: {reason}", Severity.WARNING)

    def _go_into(self, mode: Mode) -> None:
        self.mode = mode
        self._landed_here = False
        self._untold_mode = True

    def tell_mode_change(self) -> None:
        """A heartbeat at once after the mode has changed, once the command was acknowledged."""
        if self._untold_mode:
            self._untold_mode = False
            if self.now >= self.boot.timeline.first_heartbeat:
                self.broadcast(self.telemetry.heartbeat())

    def become_ready(self) -> None:
        """The boot is over: whatever mode was asked for meanwhile is forgotten."""
        self.modes.fresh()
        self.runner.stop()
        self.mode = mode_named(self.settings.kind, "STABILIZE" if self.settings.kind == "drone" else "MANUAL")
        self._untold_mode = True
        self.tell_mode_change()

    def base_mode(self) -> int:
        """base_mode of the heartbeat."""
        base = self.mode.base
        if self.settings.kind == "drone":
            if self.now < self.boot.timeline.calm:
                base |= GUIDED_FLAG
            elif self._landed_here or (self.mode.name == "LAND" and self.armed and not self.estimator.has_position):
                base &= ~GUIDED_FLAG
        return base | (ARMED if self.armed else 0)

    def status(self) -> Status:
        """system_status of the heartbeat."""
        if self.failsafes.active:
            return Status.CRITICAL
        if self.settings.kind == "rover":
            if not self.boot.ready and self.mode.name == "INITIALISING":
                return Status.CALIBRATING
            return Status.STANDBY if self.mode.name == "HOLD" else Status.ACTIVE
        if not self.boot.ready:
            return Status.BOOT
        return Status.ACTIVE if self.armed and self.vehicle.contact is Contact.AIR else Status.STANDBY

    # Arming and missions

    @property
    def armed(self) -> bool:
        return self.arming.armed

    def arm(self, force: bool = False) -> bool:
        return self.arming.arm(force)

    def disarm(self, force: bool = False) -> bool:
        done = self.arming.disarm(force)
        if done and not self.armed:
            self.failsafes.disarmed()
        return done

    def landed(self) -> None:
        """A mode has brought the copter down: it disarms."""
        self._landed_here = self.mode.name in ("RTL", "AUTO")
        self.disarm()

    def start_mission(self) -> bool:
        """MISSION_START: into AUTO, and begin."""
        fresh = self.mode.name != "AUTO"
        if not self.enter("AUTO"):
            return False
        if not self.runner.running:
            self.runner.start_or_resume()
            if fresh and self.settings.kind == "drone" and self.mode.name == "AUTO":
                self.runner.wait_for_origin()
        return True

    def mission_complete(self) -> None:
        """The last item is done: a copter on the ground disarms, in the air it stays; a rover stands."""
        if self.settings.kind == "rover":
            self.say("Mission Complete", Severity.NOTICE)
        elif not self.boot.ready:
            self.enter("LAND")
        elif self.vehicle.contact is not Contact.AIR:
            self.landed()

    def reboot_soon(self) -> None:
        """Begin anew in a quarter of a second, when the acknowledgement is out."""
        self._reboot_at = self.now_ns + 250_000_000

    # The surroundings

    def ground_height(self, place: Array) -> float:
        """Map's terrain height at a place (its east and north)."""
        height = self._ground(place) if self._ground is not None else float(self.start[2])
        return float(height) if np.isfinite(height) else float(self.start[2])

    def waypoint_radius(self) -> float:
        """Metres around a waypoint within which it is reached."""
        rover = self.settings.kind == "rover"
        return radius_within(self.parameters["WP_RADIUS"] if rover else self.parameters["WPNAV_RADIUS"] / 100.0)

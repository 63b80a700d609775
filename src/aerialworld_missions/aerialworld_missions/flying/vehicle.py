"""One vehicle, as it is asked to do things: each call returns when the vehicle has done it, or raises MissionEnded that
says what the autopilot said.

Two clocks bound every wait. What the vehicle does is given seconds of its own clock, but never less than `LEAST`
seconds of the wall's, for the link does not get faster with the simulation; and never more than `SLOWEST` times its
seconds on the wall's, so that a simulation that crawls or stands ends the wait too. What only the link does (an answer
to come) is given seconds of the wall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from aerialworld_core.earth import Earth
from aerialworld_core.frames import Array, Georeference
from aerialworld_core.mavlink.wire import Message, message_id
from aerialworld_core.mavlink.words import CUSTOM_MODE, Cmd, Frame, Result, Status
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.site import Site
from aerialworld_missions.flying.station import Station

Kind = Literal["drone", "rover"]
T = TypeVar("T")

#: Wall seconds of any wait at least, and wall seconds for each second of a wait at most.
LEAST, SLOWEST = 5.0, 10.0
#: Wall seconds between looks while waiting.
LOOK = 0.05
#: Wall seconds until a command is sent again, growing by a half each time up to a second, and until it counts as not
#: answered; and in which a second answer to a command that was sent twice may still come.
FIRST_TRY, GROWTH, LONGEST_TRY, ANSWER, LATE = 0.6, 1.5, 1.0, 12.0, 1.5
#: Wall seconds in which texts may follow a refusal.
TEXTS_FOLLOW = 0.3
#: ArduPilot's modes by the names used here.
MODES: Mapping[Kind, Mapping[str, int]] = {
    "drone": {"STABILIZE": 0, "ALT_HOLD": 2, "AUTO": 3, "GUIDED": 4, "LOITER": 5, "RTL": 6, "LAND": 9, "BRAKE": 17},
    "rover": {"MANUAL": 0, "HOLD": 4, "LOITER": 5, "AUTO": 10, "RTL": 11, "GUIDED": 15, "INITIALISING": 16},
}
#: MAV_TYPE of the vehicles of each kind.
TYPES: Mapping[Kind, frozenset[int]] = {"drone": frozenset({2, 3, 4, 13, 14, 15, 29, 35}), "rover": frozenset({10, 11})}
#: Messages that a mission needs, and Hz of the vehicle's time; the last ones are asked for and may be refused.
STREAMS = {"global_position_int": 10.0, "sys_status": 2.0, "ekf_status_report": 2.0, "mission_current": 5.0}
OPTIONAL_STREAMS = {"fence_status": 1.0, "local_position_ned": 10.0}


class Vehicle:
    """A vehicle of a kind on a station's link. `guard` is looked at during every wait: it raises to end it."""

    def __init__(self, station: Station, kind: Kind, system: int | None = None, component: int = 1) -> None:
        self.station, self.kind = station, kind
        self.peer = station.expect(system, component)
        self.state = self.peer.telemetry
        self.guard: Callable[[], None] = lambda: None
        self.modes = MODES[kind]
        #: Answers that may still come, by command, and until when (wall).
        self._owed: dict[int, tuple[int, float]] = {}
        self._names = {number: name for name, number in self.modes.items()}

    @property
    def mode(self) -> str:
        """The mode by its name, or its number where that is not known."""
        return self.mode_name(self.state.mode)

    def mode_name(self, number: int | None) -> str:
        return "unknown" if number is None else self._names.get(number, f"mode {number}")

    def said(self, after: int = 0) -> str:
        """What the autopilot complained of after a text's number, for the end of a sentence."""
        texts = self.state.complaints(after) or [t.text for t in self.state.texts_after(after)]
        return f"; the autopilot said: {' / '.join(texts[-4:])}" if texts else "; the autopilot said nothing"

    # Waiting

    def check(self) -> None:
        """Raise what ends a wait: the link's failure, or what the guard has found."""
        if self.station.failure is not None:
            raise self.station.failure
        self.guard()

    def wait(
        self,
        done: Callable[[], T],
        what: str,
        seconds: float,
        outcome: Outcome = Outcome.TIMEOUT,
        after: int | None = None,
    ) -> T:
        """Until `done()` is true, and what it gave. `seconds` of the vehicle's clock, as the module says.

        Raises MissionEnded with `outcome`, with what was said after text number `after` (default: since the start).
        """
        since = self.state.said if after is None else after
        begin, vehicle = time.monotonic(), self.state.clock.now
        with self.station.changed:
            while True:
                self.check()
                if found := done():
                    return found
                wall, passed = time.monotonic() - begin, self.state.clock.now - vehicle
                if (passed >= seconds and wall >= LEAST) or wall >= max(seconds * SLOWEST, LEAST):
                    break
                self.station.changed.wait(LOOK)
        spent = f"{passed:.0f} s of its time, {wall:.0f} s on the clock"
        raise MissionEnded(outcome, f"{what}: not within {spent}{self.said(since)}")

    def pause(self, wall_seconds: float) -> None:
        """Let so much wall time pass, guarded."""
        until = time.monotonic() + wall_seconds
        with self.station.changed:
            while (left := until - time.monotonic()) > 0:
                self.check()
                self.station.changed.wait(min(left, LOOK))

    # Messages

    def send(self, name: str, **fields: Any) -> None:
        """A message to the vehicle."""
        target = {"target_system": self.peer.system or 0, "target_component": self.peer.component}
        self.station.send(Message(name, {**target, **fields}), self.peer)

    def ask(self, number: int, params: Sequence[float], confirmation: int = 0) -> None:
        """Send a COMMAND_LONG without waiting."""
        filled = [float(p) for p in params] + [0.0] * (7 - len(params))
        self.send(
            "command_long",
            command=int(number),
            confirmation=confirmation,
            **{f"param{i}": value for i, value in enumerate(filled, start=1)},
        )

    def command(
        self, number: int, *params: float, within: float = ANSWER, done: Callable[[], bool] = lambda: False
    ) -> Result | int | None:
        """The result of a command, sent again while no answer comes; None where none came within `within` wall
        seconds. All that are sent so may be carried out twice without harm. An answer may be lost: where the vehicle
        has `done` it, it was accepted."""
        return self._until_answered(number, lambda again: self.ask(number, params, min(again, 255)), within, done)

    def _until_answered(
        self, number: int, send: Callable[[int], None], within: float, done: Callable[[], bool] = lambda: False
    ) -> Result | int | None:
        after, begin, again, patience = self.state.answered, time.monotonic(), 0, FIRST_TRY
        # An answer to what was sent before is none to this: the autopilot may not have heard of this yet.
        owed, late = self._owed.pop(number, (0, 0.0))
        with self.station.changed:
            while time.monotonic() - begin < within:
                send(again)
                again += 1
                until = min(time.monotonic() + patience, begin + within)
                patience = min(patience * GROWTH, LONGEST_TRY)
                while (left := until - time.monotonic()) > 0:
                    self.check()
                    for seen, message in self.state.answers(after, "COMMAND_ACK"):
                        after = seen
                        if message.command != number or not self._for_us(message) or message.result == 5:  # in progress
                            continue
                        if owed and time.monotonic() < late:
                            owed -= 1
                            continue
                        self._owed[number] = again - 1, time.monotonic() + LATE
                        return _result(message.result)
                    if done():
                        self._owed[number] = again + owed, time.monotonic() + LATE
                        return Result.ACCEPTED
                    self.station.changed.wait(min(left, LOOK))
        return None

    def _for_us(self, message: Any) -> bool:
        """Whether an answer is not another station's (older autopilots do not say whose it is)."""
        return getattr(message, "target_system", 0) in (0, self.station.system)

    def demand(self, number: int, *params: float, what: str) -> None:
        """A command that must be accepted. Raises MissionEnded (refused, or no answer) with the reasons."""
        said = self.state.said
        self.accept(self.command(number, *params), what, said)

    def accept(self, result: Result | int | None, what: str, said: int) -> None:
        if result is None:
            raise MissionEnded(Outcome.REFUSED, f"{what}: no answer within {ANSWER:.0f} s{self.said(said)}")
        if result != Result.ACCEPTED:
            self.pause(TEXTS_FOLLOW)
            raise MissionEnded(Outcome.REFUSED, f"{what}: {result_name(result)}{self.said(said)}")

    # Before the flight

    def connect(self, seconds: float = 30.0) -> None:
        """Wait for the vehicle's heartbeat: wall seconds, as its clock is not known yet. Raises MissionEnded."""
        until = time.monotonic() + seconds
        with self.station.changed:
            while self.state.kind is None and time.monotonic() < until:
                self.check()
                self.station.changed.wait(LOOK)
        link = self.station.link
        if self.state.kind is None:
            whom = f"system {self.peer.system}" if self.peer.system is not None else "any vehicle"
            trouble = getattr(link, "trouble", "")
            counts = self.station.ignored + self.station.refused
            ignored = ", ".join(f"{n} messages {why}" for why, n in counts.items())
            details = "".join(f"; {text}" for text in (trouble, ignored) if text)
            raise MissionEnded(
                Outcome.NO_VEHICLE, f"{link.where}: no heartbeat of {whom} within {seconds:.0f} s{details}"
            )
        if self.state.signed and not self.station.signed:
            raise MissionEnded(
                Outcome.REFUSED, f"{link.where}: the vehicle signs what it sends and takes what is signed: give its key"
            )
        if self.state.kind not in TYPES[self.kind]:
            raise MissionEnded(
                Outcome.REFUSED, f"{link.where}: the vehicle is of MAV_TYPE {self.state.kind}, and no {self.kind}"
            )

    def request_streams(self, places: float = 10.0) -> None:
        """Ask for what a mission needs to know, `places` Hz of where it is among it. Raises MissionEnded where the
        autopilot has it not."""
        positions = {"global_position_int": places, "local_position_ned": places}
        for name, hertz in (STREAMS | OPTIONAL_STREAMS | positions).items():
            result = self.command(Cmd.SET_MESSAGE_INTERVAL, message_id(name), 1e6 / hertz)
            if name in STREAMS:
                self.accept(result, f"asking for {name.upper()}", self.state.said)

    def wait_ready(self, seconds: float = 120.0) -> None:
        """Into GUIDED, and until it may be armed there: booted, with a position, home and passed checks.

        A mode that is chosen before an ArduPilot is ready is lost, so that it is chosen again. Raises MissionEnded.
        """
        said = self.state.said
        self.wait(
            lambda: self.state.status >= Status.STANDBY, "waiting for the boot's end", seconds, Outcome.NOT_READY, said
        )
        asked, next_ask = 0, 0.0

        def ready() -> bool:
            nonlocal asked, next_ask
            missing = self.missing()
            if missing and time.monotonic() >= next_ask:
                next_ask = time.monotonic() + 1.0
                asked += 1
                if self.mode != "GUIDED":
                    self.ask(Cmd.DO_SET_MODE, (CUSTOM_MODE, self.modes["GUIDED"]))
                if self.state.home is None:
                    self.ask(Cmd.REQUEST_MESSAGE, (message_id("home_position"),))
                if asked % 10 == 0 and self.state.has_position:
                    self.ask(Cmd.RUN_PREARM_CHECKS, ())
            return not missing

        try:
            self.wait(ready, "waiting until it may be armed", seconds, Outcome.NOT_READY, said)
        except MissionEnded as ended:
            if ended.outcome is Outcome.NOT_READY:
                raise MissionEnded(ended.outcome, f"{ended.reason}; missing: {', '.join(self.missing())}") from None
            raise

    def missing(self) -> list[str]:
        """What is still to come before the vehicle may be armed in GUIDED."""
        state, found = self.state, []
        if self.mode != "GUIDED":
            found.append(f"mode GUIDED (it is in {self.mode})")
        if not state.has_position:
            found.append(f"a position (EKF flags {'unknown' if state.ekf is None else state.ekf})")
        if not state.healthy:
            found.append("the checks before arming")
        if state.home is None:
            found.append("home")
        if state.place is None:
            found.append("GLOBAL_POSITION_INT")
        return found

    def site(self, georeference: Georeference | None, ground: float | None = None) -> Site:
        """Where the plan's map lies. Without a georeference its origin is home.

        ground  map z of the ground at home, where a world tells it: it counts when home's own altitude differs from it
                by more than 2 m, as a real receiver's does
        """
        home = self.state.home
        assert home is not None
        if georeference is None:
            georeference = Georeference(home.lat_e7 * 1e-7, home.lon_e7 * 1e-7, home.altitude)
        told = home.altitude - georeference.height
        return Site(Earth(georeference), told if ground is None or abs(told - ground) <= 2.0 else ground)

    # What it does

    def set_mode(self, name: str, seconds: float = 10.0) -> None:
        """Into a mode: asked until a heartbeat shows it. Raises MissionEnded when it is refused."""
        number, said = self.modes[name], self.state.said
        begin = time.monotonic()
        while self.state.mode != number:
            result = self.command(Cmd.DO_SET_MODE, CUSTOM_MODE, number, done=lambda: self.state.mode == number)
            if result is not None:
                self.accept(result, f"changing to {name}", said)
            try:
                self.wait(lambda: self.state.mode == number, f"changing to {name}", 2.0, after=said)
            except MissionEnded as ended:
                if ended.outcome is not Outcome.TIMEOUT or time.monotonic() - begin > max(seconds, LEAST):
                    raise

    def arm(self, seconds: float = 15.0) -> None:
        """Arm, asked again while it is refused. Raises MissionEnded with the autopilot's reasons."""
        said, begin, vehicle = self.state.said, time.monotonic(), self.state.clock.now
        while not self.state.armed:
            result = self.command(Cmd.COMPONENT_ARM_DISARM, 1, done=lambda: self.state.armed)
            wall = time.monotonic() - begin
            late = (self.state.clock.now - vehicle > seconds and wall > LEAST) or wall > seconds * SLOWEST
            if result != Result.ACCEPTED and late:
                self.accept(result, "arming", said)
            if result == Result.ACCEPTED:
                self.wait(lambda: self.state.armed, "waiting for the motors", 5.0, Outcome.REFUSED, said)
            else:
                self.pause(0.5)

    def disarm(self) -> None:
        """On the ground. Raises MissionEnded when it is refused."""
        if self.state.armed:
            self.demand(Cmd.COMPONENT_ARM_DISARM, 0, what="disarming")
            self.wait(lambda: not self.state.armed, "disarming", 5.0)

    def take_off(self, height: float) -> None:
        """Arm and climb to metres above home. A copter that switched off again meanwhile is armed again, as a late
        command makes it (ArduPilot disarms what stands for 10 s)."""
        said = self.state.said
        for again in (True, True, False):
            self.arm()
            result = self.command(Cmd.NAV_TAKEOFF, 0, 0, 0, 0, 0, 0, height, done=lambda: self.above_home() > 1.0)
            if result == Result.ACCEPTED or (self.state.armed and self.above_home() > 1.0) or not again:
                break
            self.pause(0.5)
            if self.state.armed:
                break
        if not self.above_home() > 1.0:
            self.accept(result, "taking off", said)

        def there() -> bool:
            if not self.state.armed:
                raise MissionEnded(Outcome.REFUSED, f"taking off: the motors went off{self.said(said)}")
            return self.above_home() > height - max(0.5, 0.03 * height)

        self.wait(there, f"climbing to {height:.0f} m", 25.0 + 2.0 * height, after=said)

    def above_home(self) -> float:
        return self.state.place.relative if self.state.place is not None else 0.0

    def position(self, site: Site) -> Array:
        """Where it is in map (3,)."""
        place = self.state.place
        assert place is not None
        return site.map_of(place.lat_e7, place.lon_e7, place.relative)

    def reposition(self, site: Site, position: Array, yaw_heading: float | None = None) -> None:
        """Go to a point in GUIDED (DO_REPOSITION, which unlike a setpoint is acknowledged). `yaw_heading` in compass
        radians. Raises MissionEnded when it is refused."""
        lat, lon = site.lat_lon(position)
        fields = {
            "frame": int(Frame.GLOBAL_RELATIVE_ALT),
            "command": int(Cmd.DO_REPOSITION),
            "current": 0,
            "autocontinue": 0,
            "param1": -1.0,
            "param2": 0.0,
            "param3": 0.0,
            "param4": float("nan") if yaw_heading is None else yaw_heading,
            "x": lat,
            "y": lon,
            "z": site.above_home(position[2]),
        }
        said = self.state.said
        result = self._until_answered(Cmd.DO_REPOSITION, lambda _: self.send("command_int", **fields), ANSWER)
        self.accept(result, "going to a point", said)


def _result(number: int) -> Result | int:
    return Result(number) if number in set(Result) else int(number)


def result_name(result: Result | int) -> str:
    """MAV_RESULT by name."""
    return result.name if isinstance(result, Result) else f"MAV_RESULT {result}"

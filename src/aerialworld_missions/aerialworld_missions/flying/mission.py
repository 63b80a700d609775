"""A mission from the first heartbeat to the last: ready, refused before anything arms or flown, ended by the rules of
docs/missions_flying.md, and left safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from aerialworld_core.earth import heading_of
from aerialworld_core.errors import AerialWorldError
from aerialworld_core.mavlink.words import Cmd, Result, Status
from aerialworld_core.plan import Plan
from aerialworld_missions.flying import safety
from aerialworld_missions.flying.follow import Follower, Track
from aerialworld_missions.flying.guard import Guard, StationFailsafe
from aerialworld_missions.flying.items import HOLD, RTL, Mission, check_reach, mission_of
from aerialworld_missions.flying.options import FlightOptions, Flown, Method, Progress, Recording
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.site import Site
from aerialworld_missions.flying.upload import upload
from aerialworld_missions.flying.vehicle import Kind, Vehicle

#: How near a start or a rover's waypoint must be reached, metres.
NEAR: dict[Kind, float] = {"drone": 0.8, "rover": 2.5}
#: A mission may take so many times the plan's duration, and so many seconds of the vehicle more.
LONGER, MORE = 3.0, 240.0
#: How often a vehicle that went away for want of heartbeats is led back.
RESUMED = 3
#: Places that the vehicle tells for each of its seconds, at least.
PLACES = 10.0
#: mission_state of MISSION_CURRENT: complete.
COMPLETE = 5


class Flight:
    """One plan, flown by one vehicle. `interrupted` is asked at every wait how often the user wanted to stop: once ends
    by landing or holding, twice ends the wait for that too."""

    def __init__(
        self,
        vehicle: Vehicle,
        plan: Plan,
        options: FlightOptions,
        *,
        report: Callable[[Progress], None] = lambda _: None,
        recording: Recording | None = None,
        interrupted: Callable[[], int] = lambda: 0,
    ) -> None:
        self.vehicle, self.plan, self.options = vehicle, plan, options
        self._report, self._recording, self._interrupted = report, recording, interrupted
        self.kind: Kind = vehicle.kind
        self.end = options.end or (RTL if self.kind == "drone" else HOLD)
        # Looked at before anything is asked of the vehicle: whatever is wrong with the plan shows here.
        self.waypoints = plan.route()
        looks = any(w.yaw is not None for w in self.waypoints)
        self.method: Method = options.method or ("guided" if looks and self.kind == "drone" else "auto")
        self.guard = Guard(vehicle, options.limits, lambda: interrupted() > 0, options.paused)
        vehicle.guard = self.guard
        self.site: Site | None = None
        self._mission: Mission | None = None
        self._follower: Follower | None = None
        self._transit: float | None = None
        self._share = 0.0
        self._recorded = False
        self._unrecorded: AerialWorldError | None = None
        self._resumed = 0

    # The story

    def fly(self) -> Flown:
        """Fly it, and leave the vehicle safe whatever happens. Raises only what is wrong with plan or options (before
        anything arms) and what no rule foresees."""
        vehicle = self.vehicle
        try:
            self._prepare()
            self._fly()
            ended = MissionEnded(Outcome.COMPLETE, "the whole plan was flown")
        except MissionEnded as error:
            ended = error
        except BaseException:
            self._end_recording("stop")
            safety.leave_safe(vehicle, Outcome.INTERRUPTED, self.end, self._leaving)
            raise
        reason = ended.reason
        self._end_recording("stop")
        self._tell("ending", f"{ended.outcome}: {reason}" if ended.outcome is not Outcome.COMPLETE else "plan flown")
        outcome, more = safety.leave_safe(vehicle, ended.outcome, self.end, self._leaving)
        self._end_recording("finish")
        if self._unrecorded is not None:
            more += f"; {self._unrecorded}"
            outcome = Outcome.NOT_RECORDED if outcome is Outcome.COMPLETE else outcome
        state = vehicle.state
        flown = Flown(
            outcome,
            reason + more,
            state.clock.now,
            self._share,
            vehicle.mode,
            state.armed,
            self.guard.longest_silence,
            self._resumed,
            tuple((at, vehicle.mode_name(number)) for at, number in state.modes),
        )
        self._tell("done", f"{flown.outcome}: {flown.reason}")
        return flown

    def _prepare(self) -> None:
        vehicle, options = self.vehicle, self.options
        self._tell("connecting", vehicle.station.link.where)
        vehicle.connect(options.connect)
        if vehicle.state.armed:
            raise MissionEnded(
                Outcome.TAKEN_OVER, f"it is armed already, in {vehicle.mode}: somebody else flies it; disarm it first"
            )
        vehicle.request_streams(max(PLACES, options.rate))
        self._tell("waiting", "until it may be armed")
        vehicle.wait_ready(options.ready)
        home = vehicle.state.home
        assert home is not None
        here = (home.lat_e7, home.lon_e7)
        site = vehicle.site(options.georeference)
        x, y = (float(v) for v in site.earth.map_of(*here))
        if options.ground is not None:
            site = vehicle.site(options.georeference, options.ground(x, y))
        self.site = site
        check_reach(self.plan, site, here, self.kind)
        if options.transit is not None and self.kind == "drone":
            ends = [w.position for w in (self.waypoints[0], self.waypoints[-1])]
            self._transit = max(options.transit((x, y), (px, py)) for px, py, _ in ends)
        if self.method == "auto":
            self._mission = mission_of(self.plan, site, (*here, home.altitude), self.kind, self.end, self._transit)
            self._tell("uploading", f"{len(self._mission.items)} items")
            upload(vehicle, self._mission.items)

    def _fly(self) -> None:
        self.guard.watch({"GUIDED", "AUTO"})
        while True:
            try:
                if self.method == "auto":
                    self._auto()
                elif self.kind == "drone":
                    self._guided_drone()
                else:
                    self._guided_rover()
                return
            except StationFailsafe as lost:
                self._lead_back(lost)

    def _lead_back(self, lost: StationFailsafe) -> None:
        """Heartbeats come through again: go on with the mission, where the vehicle is still on its way."""
        vehicle = self.vehicle
        if self._resumed >= RESUMED:
            raise lost
        self._resumed += 1
        said = vehicle.state.said
        self.guard.watch(())
        self._tell("resuming", lost.reason)

        def cleared() -> bool:
            told = any("cleared" in t.text.lower() for t in vehicle.state.texts_after(max(said - 8, 0)))
            return told or vehicle.state.status == Status.ACTIVE

        try:
            vehicle.wait(cleared, "waiting for the failsafe's end", 30.0)
        except MissionEnded as ended:
            raise lost if ended.outcome is Outcome.TIMEOUT else ended from None
        if not vehicle.state.armed:
            raise lost
        vehicle.set_mode("AUTO" if self.method == "auto" else "GUIDED")

    # AUTO

    def _auto(self) -> None:
        vehicle, mission, site = self.vehicle, self._mission, self.site
        assert mission is not None and site is not None
        if vehicle.mode != "AUTO":
            self._tell("starting", "arming, then AUTO")
            self._start_auto()
        longest = self._standing()
        state, limit = vehicle.state, LONGER * self.plan.duration + MORE

        def passed(number: int) -> bool:
            return number in state.reached or (state.item or 0) > number or state.mission_state == COMPLETE

        self.guard.watch({"AUTO"}, flying=True, site=site, standing=longest)
        self._tell("to the start", "AUTO")
        vehicle.wait(lambda: passed(mission.first), "reaching the first waypoint", limit)
        self.guard.watch({"AUTO"}, flying=True, site=site, fence=self.plan.fence, standing=longest)
        self._start_recording()

        def done() -> bool:
            self._advance(mission)
            return passed(mission.last)

        vehicle.wait(done, "flying the mission", limit)
        self._share = 1.0

    def _start_auto(self) -> None:
        """Arm and MISSION_START. A copter that switched off again before it took off is started once more."""
        vehicle, said = self.vehicle, self.vehicle.state.said
        for _ in range(3):
            vehicle.arm()
            result = vehicle.command(Cmd.MISSION_START, done=lambda: vehicle.mode == "AUTO")
            if result != Result.ACCEPTED:
                vehicle.accept(result, "starting the mission", said)
            vehicle.state.forget_mission()
            self.guard.watch({"GUIDED", "AUTO"})
            vehicle.wait(
                lambda: (vehicle.mode == "AUTO" and self._on_its_way()) or not vehicle.state.armed,
                "starting the mission",
                30.0,
            )
            if vehicle.state.armed:
                return
        raise MissionEnded(Outcome.REFUSED, f"starting the mission: the motors went off again{vehicle.said(said)}")

    def _on_its_way(self) -> bool:
        return self.kind == "rover" or self.vehicle.above_home() > 1.0

    def _advance(self, mission: Mission) -> None:
        item = self.vehicle.state.item or 0
        places = mission.last - mission.first + 1
        share = min(max((item - mission.first) / places, 0.0), 1.0)
        if share != self._share:
            self._share = share
            self._tell("flying", f"item {item} of {len(mission.items) - 1}")

    # GUIDED

    def _guided_drone(self) -> None:
        vehicle, site = self.vehicle, self.site
        assert site is not None
        track = Track.of(self.plan)
        start, _, _, yaw = track.at(0.0)
        over = start if self._transit is None else np.array([start[0], start[1], max(self._transit, start[2])])
        follower = self._follower = self._follower or Follower(vehicle, site, track, self.options.rate)
        if follower.time == 0.0:
            if vehicle.above_home() < 1.0 or not vehicle.state.armed:
                self._tell("taking off", f"to {site.above_home(over[2]):.1f} m above home")
                vehicle.take_off(site.above_home(over[2]))
            self.guard.watch({"GUIDED"}, flying=True, site=site)
            self._tell("to the start", "GUIDED")
            for point in (over, start):
                self._go(point, yaw)
        self.guard.watch({"GUIDED"}, flying=True, site=site, fence=self.plan.fence, standing=self._standing())
        self._start_recording()
        follower.run(self._streamed)
        self._share = 1.0
        vehicle.pause(0.2)
        if self._transit is not None and self.end == RTL:
            last, _, _, yaw = track.at(track.duration)
            self._go(np.array([last[0], last[1], max(self._transit, last[2])]), yaw)

    def _standing(self) -> float:
        return max((w.hold for w in self.waypoints), default=0.0)

    def _streamed(self, share: float) -> None:
        if share - self._share >= 0.01:
            self._share = share
            self._tell("flying", "setpoints")

    def _go(self, point: np.ndarray, yaw: float | None, speed: float | None = None) -> None:
        """To a point of map, at a new speed if one is given, and until it is there."""
        vehicle, site = self.vehicle, self.site
        assert site is not None
        vehicle.reposition(site, point, None if yaw is None else heading_of(yaw))
        if speed is not None:  # an ArduPilot rover in GUIDED takes a speed only when it goes somewhere
            vehicle.demand(Cmd.DO_CHANGE_SPEED, 1, round(speed, 2), -1, what="changing speed")
        drone = self.kind == "drone"

        def distance() -> float:
            off = vehicle.position(site) - point
            return float(np.linalg.norm(off if drone else off[:2]))

        seconds = 60.0 + distance() / 1.0
        x, y, z = point
        vehicle.wait(lambda: distance() < NEAR[self.kind], f"going to ({x:.1f}, {y:.1f}, {z:.1f})", seconds)

    def _guided_rover(self) -> None:
        vehicle, site = self.vehicle, self.site
        assert site is not None
        vehicle.arm()
        self.guard.watch({"GUIDED"}, flying=True, site=site, standing=self._standing())
        self._tell("to the start", "GUIDED")
        waypoints, speed = self.waypoints, 0.0
        for number in range(round(self._share * len(waypoints)), len(waypoints)):
            waypoint = waypoints[number]
            wanted = max(waypoint.speed or waypoints[min(1, len(waypoints) - 1)].speed, 0.5)
            changes = abs(wanted - speed) > 0.5
            speed = wanted if changes else speed
            self._go(np.array(waypoint.position), None, speed if changes else None)
            if number == 0:
                self.guard.watch({"GUIDED"}, flying=True, site=site, fence=self.plan.fence, standing=self._standing())
                self._start_recording()
            if waypoint.hold:
                until = vehicle.state.clock.now + waypoint.hold
                vehicle.wait(lambda until=until: vehicle.state.clock.now >= until, "standing", waypoint.hold + 10)  # type: ignore[misc]
            self._share = (number + 1) / len(waypoints)
            self._tell("driving", f"waypoint {number + 1} of {len(waypoints)}")

    # Beside the flight

    def _start_recording(self) -> None:
        if self._recording is not None and not self._recorded:
            self._tell("recording", "starts")
            self._recording.start()
            self._recorded = True

    def _end_recording(self, step: Literal["stop", "finish"]) -> None:
        """What goes wrong with it decides the outcome of a mission that is complete otherwise."""
        if self._recording is None or not self._recorded or self._unrecorded is not None:
            return
        try:
            (self._recording.stop if step == "stop" else self._recording.finish)()
        except AerialWorldError as error:
            self._unrecorded = error

    def _leaving(self) -> None:
        """The guard of the way down: only a second wish to stop, or a silent vehicle, ends the wait."""
        if self._interrupted() > 1:
            raise MissionEnded(Outcome.INTERRUPTED, "asked twice to stop: its way down is not watched")
        silence, most = self.vehicle.state.silence, self.options.limits.link
        if silence > most:
            raise MissionEnded(Outcome.LINK_LOST, f"nothing has come from the vehicle for {silence:.0f} s")

    def _tell(self, phase: str, text: str) -> None:
        self._report(Progress(phase, self._share, text))

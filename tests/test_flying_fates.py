"""What may become of an autopilot, and what becomes of the mission then: switched off, hung, restarted, another's,
doubled (F13), and its own failsafes (F14). In made-up time; the recorder is stopped within 3 s of the end's cause."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from aerialworld_core.plan import Plan
from aerialworld_core.route import Fence
from aerialworld_missions.flying.guard import Limits
from aerialworld_missions.flying.mission import Flight
from aerialworld_missions.flying.options import FlightOptions, Flown
from aerialworld_missions.flying.outcomes import Outcome

sys.path.insert(0, str(Path(__file__).parent))
import flying_air as air_
import flying_rig as rig
from flying_air import Air, Bench

FLIGHT = rig.line_plan([(0.0, 5.0, 15.0), (0.0, 65.0, 15.0), (50.0, 65.0, 15.0)])
DRIVE = rig.line_plan([(0.0, 3.0, 0.0), (0.0, 50.0, 0.0), (30.0, 50.0, 0.0)], vehicle="rover_1", speed=3.0)
PLANS = {"drone": FLIGHT, "rover": DRIVE}
#: Seconds of silence after which a link counts as lost here.
LINK = 10.0
LIMITS = Limits(link=LINK, stuck=20.0)


@dataclass
class Case:
    """What came of a mission with one vehicle to be flown (bench 0)."""

    flown: Flown
    air: Air
    flight: Flight
    recorder: air_.Recorder
    #: When it happened.
    at: float


def case(
    kind: Any,
    happens: Callable[[Air], None],
    *,
    when: Callable[[Air, Flight], Any] | None = None,
    others: list[Bench] | None = None,
    system: int | None = 1,
    method: Any = "auto",
    parameters: dict[str, float] | None = None,
    plan: Plan | None = None,
) -> Case:
    """Fly; `happens` once `when` (by default: some seconds into the plan)."""
    air = Air([Bench(kind, parameters).ready(), *(others or [])])
    recorder, at = air_.Recorder(air), [0.0]

    def prepare(flight: Flight) -> None:
        def now() -> None:
            at[0] = air.now
            happens(air)

        way = lambda: recorder.begun is not None and air.now > recorder.begun + 4.0  # noqa: E731
        air.when.append((way if when is None else (lambda: when(air, flight)), now))

    options = FlightOptions(method=method, georeference=rig.HOME, limits=LIMITS)
    flown, flight = air_.fly(air, kind, plan or PLANS[kind], options, system=system, recording=recorder, before=prepare)
    assert at[0] > 0.0, "it never happened"
    if recorder.begun is not None:
        assert recorder.ended is not None
    return Case(flown, air, flight, recorder, at[0])


def off(air: Air) -> None:
    air.silent.add(0)


def hung(air: Air) -> None:
    """Its time stands, and what it says is the same for ever: the last heartbeat again and again."""
    pilot = air.benches[0].autopilot
    air.silent.add(0)

    def beat() -> None:
        from aerialworld_core.mavlink.wire import Message

        fields = {"type": 2, "autopilot": 3, "base_mode": 217, "custom_mode": pilot.mode.number}
        pilot.channels[0].post(Message("heartbeat", {**fields, "system_status": 4, "mavlink_version": 3}))
        while (frame := pilot.channels[0].take()) is not None:
            air.station._take(frame, ("air", 0))
        air.at.append((air.now + 1.0, beat))

    beat()


def restart(air: Air) -> None:
    air.benches[0].autopilot.power_cycle()


# F13


@pytest.mark.parametrize("kind", ["drone", "rover"])
def test_switched_off_on_the_way_the_link_is_lost(kind: str) -> None:
    c = case(kind, off)
    assert c.flown.outcome is Outcome.LINK_LOST and f"for {LINK:.0f} s" in c.flown.reason
    assert c.recorder.ended is not None and c.recorder.ended - c.at < LINK + 3.0


@pytest.mark.long
def test_switched_off_before_it_arms_or_while_it_climbs_nothing_is_recorded() -> None:
    for mode in ("GUIDED", "AUTO"):
        c = case("drone", off, when=lambda air, _, mode=mode: air.benches[0].autopilot.mode.name == mode)
        assert c.flown.outcome is Outcome.LINK_LOST and c.recorder.begun is None
        assert c.air.now - c.at < 60.0


@pytest.mark.long
def test_switched_off_during_the_upload_it_is_refused_or_lost_in_time() -> None:
    c = case("drone", off, when=lambda air, _: air.benches[0].autopilot.missions.count > 0 or air.now > 5.0)
    assert c.flown.outcome in (Outcome.LINK_LOST, Outcome.REFUSED) and c.air.now - c.at < 60.0
    assert c.recorder.begun is None


@pytest.mark.long
def test_switched_off_on_its_way_home_the_mission_is_not_complete() -> None:
    c = case("drone", off, when=lambda air, flight: flight._share == 1.0 and air.benches[0].autopilot.now)
    assert c.flown.outcome is Outcome.LINK_LOST and c.flown.share == 1.0
    assert c.recorder.ended is not None


@pytest.mark.long
@pytest.mark.parametrize("method", ["auto", "guided"])
def test_a_hung_autopilot_that_still_beats_is_found_out(method: str) -> None:
    c = case("drone", hung, method=method)
    assert c.flown.outcome in (Outcome.STUCK, Outcome.LINK_LOST, Outcome.TIMEOUT), c.flown.reason
    assert c.recorder.ended is not None and c.recorder.ended - c.at < 10 * LIMITS.stuck


@pytest.mark.long
@pytest.mark.parametrize("kind", ["drone", "rover"])
def test_a_restart_on_the_way_ends_it(kind: str) -> None:
    c = case(kind, restart)
    assert c.flown.outcome in (Outcome.RESTARTED, Outcome.CRASHED), c.flown.reason
    assert c.recorder.ended is not None and c.recorder.ended - c.at < 3.0 + 2.0


def test_another_system_is_not_flown() -> None:
    c = case("drone", lambda air: None, when=lambda air, _: air.now > 1.0, system=7)
    assert c.flown.outcome is Outcome.NO_VEHICLE and "no heartbeat of system 7" in c.flown.reason
    assert "of others" in c.flown.reason and not c.air.benches[0].autopilot.armed


@pytest.mark.long
def test_two_vehicles_on_a_link_only_the_one_asked_for_is_flown() -> None:
    other = Bench("drone", sysid=2).ready()
    c = case("drone", lambda air: None, others=[other])
    assert (c.flown.outcome, c.flown.armed) == (Outcome.COMPLETE, False), c.flown.reason
    assert other.autopilot.missions.count == 0 and not other.autopilot.armed


@pytest.mark.long
def test_a_second_vehicle_of_the_same_number_is_not_heard() -> None:
    """It comes from another address: neither its places nor its refusals count, and it is told nothing."""
    twin = Bench("drone").ready()
    c = case("drone", lambda air: None, others=[twin])
    assert (c.flown.outcome, c.flown.armed) == (Outcome.COMPLETE, False), c.flown.reason
    assert c.air.station.ignored["from another address"] > 100
    assert twin.autopilot.missions.count == 0 and not twin.autopilot.armed


# F14

#: What happens, what it makes of a drone and a rover, and a word of the reason.
FAILSAFES: dict[str, tuple[dict[str, float], Callable[[Air], None], dict[str, set[Outcome]]]] = {
    "satellites": (
        {},
        lambda air: air.benches[0].autopilot.parameters.keep("SIM_GPS1_ENABLE", 0),
        {"drone": {Outcome.FAILSAFE}, "rover": {Outcome.FAILSAFE, Outcome.STUCK}},
    ),
    "heartbeats": (
        {"FS_GCS_ENABLE": 1, "FS_GCS_TIMEOUT": 5},
        lambda air: setattr(air.station, "_beat", lambda: None),
        {"drone": {Outcome.FAILSAFE}, "rover": {Outcome.FAILSAFE}},
    ),
    "somebody else": (
        {},
        lambda air: air.benches[0].send(
            air.benches[0].words.MAVLink_command_long_message(1, 1, 176, 0, 1, 5, 0, 0, 0, 0, 0),
            200,
        ),
        {"drone": {Outcome.TAKEN_OVER}, "rover": {Outcome.TAKEN_OVER}},
    ),
    "pause": (
        {},
        lambda air: air.benches[0].send(
            air.benches[0].words.MAVLink_command_long_message(1, 1, 193, 0, 0, 0, 0, 0, 0, 0, 0), 200
        ),
        {"drone": {Outcome.STUCK}, "rover": {Outcome.STUCK}},
    ),
    "motors": (
        {},
        lambda air: air.benches[0].send(
            air.benches[0].words.MAVLink_command_long_message(1, 1, 400, 0, 0, 21196, 0, 0, 0, 0, 0), 200
        ),
        {"drone": {Outcome.CRASHED}, "rover": {Outcome.CRASHED}},
    ),
    "battery": (
        {"BATT_LOW_VOLT": 10.5, "BATT_FS_LOW_ACT": 2},
        lambda air: air.benches[0].autopilot.parameters.keep("SIM_BATT_VOLTAGE", 10.0),
        {"drone": {Outcome.LOW_BATTERY}, "rover": {Outcome.LOW_BATTERY}},
    ),
    "fence": (
        {"FENCE_ENABLE": 1, "FENCE_TYPE": 2, "FENCE_RADIUS": 40},
        lambda air: None,
        {"drone": {Outcome.FENCE}, "rover": {Outcome.FENCE}},
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["drone", "rover"])
@pytest.mark.parametrize("what", FAILSAFES)
def test_failsafes_end_a_mission_by_its_rules(what: str, kind: str) -> None:
    parameters, happens, outcomes = FAILSAFES[what]
    c = case(kind, happens, parameters=parameters)
    assert c.flown.outcome in outcomes[kind], (c.flown.outcome, c.flown.reason)
    modes = [mode for _, mode in c.flown.modes]
    assert modes[-1] == c.flown.mode and "AUTO" in modes
    assert c.recorder.ended is not None and c.flown.share < 1.0
    if c.flown.outcome not in (Outcome.TAKEN_OVER,):
        assert not c.air.benches[0].autopilot.armed, (c.flown.reason, modes)


@pytest.mark.long
@pytest.mark.parametrize("method", ["auto", "guided"])
@pytest.mark.parametrize("kind", ["drone", "rover"])
def test_who_leaves_the_fence_of_its_plan_is_sent_home_or_stopped(kind: str, method: str) -> None:
    """Whatever the autopilot's own fence says: the plan's ends 35 m north of home."""
    fence = Fence(((-20.0, -20.0), (90.0, -20.0), (90.0, 35.0), (-20.0, 35.0)), -5.0, 100.0)
    c = case(kind, lambda air: None, method=method, plan=replace(PLANS[kind], fence=fence))
    assert c.flown.outcome is Outcome.FENCE and "it has left the plan's fence at" in c.flown.reason, c.flown
    assert not c.flown.armed and c.flown.mode == ("RTL" if kind == "drone" else "HOLD")
    north = max(c.flight.site.earth.map_of(lat, lon)[1] for _, lat, lon, _ in c.flight.vehicle.state.track)
    assert 37.0 < north < 55.0
    assert c.recorder.ended is not None and c.recorder.ended < c.air.now

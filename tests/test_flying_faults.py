"""Flights on the embedded autopilot, in a process of its own over real sockets, with everything that goes wrong on the
way: each comes to an outcome with its reason, within a time limit."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aerialworld_missions.flying.guard import Limits
from aerialworld_missions.flying.mission import Flight
from aerialworld_missions.flying.options import FlightOptions, Flown
from aerialworld_missions.flying.outcomes import MissionEnded, Outcome
from aerialworld_missions.flying.station import Station
from aerialworld_missions.flying.vehicle import Vehicle

sys.path.insert(0, str(Path(__file__).parent))
import flying_rig as rig

pytestmark = pytest.mark.timeout(150)
SQUARE = [(0.0, 5.0, 15.0), (0.0, 55.0, 15.0), (50.0, 55.0, 15.0), (50.0, 5.0, 15.0)]
PLAN = rig.line_plan(SQUARE)
OPTIONS = FlightOptions(method="auto", georeference=rig.HOME)


@contextlib.contextmanager
def behind(faults: rig.Faults, *arguments: str, speedup: float = 20.0) -> Iterator[tuple[rig.Way, int]]:
    """An autopilot behind a faulty way, and its own TCP port."""
    port = rig.free_port()
    with rig.Way(faults) as way:
        udp = f"127.0.0.1:{way.vehicle_port}"
        with rig.autopilot("drone", "--udp", udp, *arguments, speedup=speedup, port=port):
            yield way, port


def flown(
    faults: rig.Faults,
    *arguments: str,
    options: FlightOptions = OPTIONS,
    speedup: float = 20.0,
    during: Callable[[Flight, rig.Way, int], None] | None = None,
    interrupted: Callable[[], int] = lambda: 0,
    plan: Any = PLAN,
) -> tuple[Flown, Flight]:
    with behind(faults, *arguments, speedup=speedup) as (way, port):
        beside = None if during is None else (lambda flight: during(flight, way, port))
        return rig.fly_plan(f"udpin:127.0.0.1:{way.client_port}", plan, options, during=beside, interrupted=interrupted)


def on_the_way(flight: Flight) -> None:
    """Until the first leg is flown."""
    rig.wait_until(lambda: (flight.vehicle.state.item or 0) >= 4 or flight._share > 0.2)


# Before the flight


def test_no_heartbeat_ends_with_its_reason() -> None:
    port = rig.free_port(socket.SOCK_DGRAM)
    with Station.open(f"udpin:127.0.0.1:{port}") as station:
        begin = time.monotonic()
        with pytest.raises(
            MissionEnded, match=f"no vehicle: udpin 127.0.0.1:{port}: no heartbeat of system 7"
        ) as ended:
            Vehicle(station, "drone", 7).connect(0.5)
        assert time.monotonic() - begin < 5
    assert ended.value.outcome is Outcome.NO_VEHICLE and ended.value.exit_code == 11


@pytest.mark.long
def test_a_vehicle_that_may_not_arm_says_why() -> None:
    result, _ = flown(
        rig.Faults(), "--param", "BATT_ARM_VOLT=20", options=FlightOptions(georeference=rig.HOME, ready=60)
    )
    assert result.outcome is Outcome.NOT_READY and not result.armed
    assert "Battery 1 below minimum arming voltage" in result.reason and "the checks before arming" in result.reason


@pytest.mark.long
def test_the_other_kind_of_vehicle_is_refused() -> None:
    port = rig.free_port()
    with rig.autopilot("rover", port=port):
        result, _ = rig.fly_plan(f"tcp:127.0.0.1:{port}", PLAN, OPTIONS)
    assert result.outcome is Outcome.REFUSED and "MAV_TYPE 10, and no drone" in result.reason


# On the link


@pytest.mark.long
@pytest.mark.parametrize("method", ["auto", "guided"])
def test_a_fifth_of_all_frames_lost(method: Any) -> None:
    options = FlightOptions(method=method, georeference=rig.HOME)
    result, _ = flown(rig.Faults(loss=0.2), options=options, speedup=10)
    assert (result.outcome, result.armed) == (Outcome.COMPLETE, False), result.reason


@pytest.mark.long
def test_frames_doubled_and_out_of_order() -> None:
    result, flight = flown(rig.Faults(double=0.3, disorder=0.3), speedup=10)
    assert (result.outcome, result.armed) == (Outcome.COMPLETE, False), result.reason
    assert flight.vehicle.station.ignored["twice"] > 50 and flight.vehicle.state.clock.restarts == 0


@pytest.mark.long
def test_half_a_second_of_latency_each_way() -> None:
    result, _ = flown(rig.Faults(delay=0.5), speedup=5)
    assert (result.outcome, result.armed) == (Outcome.COMPLETE, False), result.reason


@pytest.mark.long
def test_no_answer_to_any_command_is_told_once_it_matters() -> None:
    """Without acknowledgements streams cannot be had for certain: refused, on the ground."""
    result, _ = flown(rig.Faults(drop=lambda m: m.get_type() == "COMMAND_ACK"))
    assert result.outcome is Outcome.REFUSED and "no answer within 12 s" in result.reason and not result.armed


@pytest.mark.long
def test_first_answers_lost() -> None:
    seen: dict[int, int] = {}

    def first(message: Any) -> bool:
        if message.get_type() != "COMMAND_ACK":
            return False
        seen[message.command] = seen.get(message.command, 0) + 1
        return seen[message.command] % 2 == 1

    result, _ = flown(rig.Faults(drop=first), speedup=10)
    assert (result.outcome, result.armed) == (Outcome.COMPLETE, False), result.reason
    assert len(seen) >= 4


@pytest.mark.long
@pytest.mark.parametrize("method", ["auto", "guided"])
def test_silence_of_ten_seconds_is_lived_through(method: Any) -> None:
    def dark(flight: Flight, way: rig.Way, port: int) -> None:
        on_the_way(flight)
        way.faults.dark.set()
        time.sleep(10)
        way.faults.dark.clear()

    options = FlightOptions(method=method, georeference=rig.HOME)
    result, _ = flown(rig.Faults(), options=options, speedup=2 if method == "auto" else 5, during=dark)
    assert (result.outcome, result.armed) == (Outcome.COMPLETE, False), result.reason
    assert 9.5 < result.silence < 15


@pytest.mark.long
def test_a_link_that_stays_silent_is_lost() -> None:
    def dark(flight: Flight, way: rig.Way, port: int) -> None:
        on_the_way(flight)
        way.faults.dark.set()

    options = FlightOptions(method="auto", georeference=rig.HOME, limits=Limits(link=3.0))
    result, _ = flown(rig.Faults(), options=options, during=dark)
    assert result.outcome is Outcome.LINK_LOST and "nothing has come from the vehicle for 3 s" in result.reason
    assert "RTL was sent after it" in result.reason


@pytest.mark.long
def test_a_clock_that_jumps_an_hour_is_no_time() -> None:
    words = rig.dialect()
    link = words.MAVLink(None, srcSystem=1, srcComponent=1)
    jumped: list[int] = []

    def jump(message: Any) -> bytes | None:
        if message.get_type() != "GLOBAL_POSITION_INT" or message.time_boot_ms < 70_000:
            return None
        jumped.append(message.time_boot_ms)
        fields = {k: v for k, v in message.to_dict().items() if k != "mavpackettype"}
        fields["time_boot_ms"] += 3_600_000
        link.seq = message.get_seq()
        return bytes(words.MAVLink_global_position_int_message(**fields).pack(link))

    result, flight = flown(rig.Faults(change=jump))
    assert (result.outcome, result.armed) == (Outcome.COMPLETE, False), result.reason
    assert jumped and flight.vehicle.state.clock.jumps == 1 and result.seconds < 600


# Around the vehicle


@pytest.mark.long
def test_a_vehicle_that_is_in_the_air_already_is_let_be() -> None:
    port = rig.free_port()
    plan = rig.line_plan([(0.0, 5.0, 10.0), (0.0, 25.0, 10.0)])
    stays = FlightOptions(method="auto", end="hold", georeference=rig.HOME)
    with rig.autopilot("drone", port=port):
        first, _ = rig.fly_plan(f"tcp:127.0.0.1:{port}", plan, stays)
        assert (first.outcome, first.armed) == (Outcome.COMPLETE, True), first.reason
        second, _ = rig.fly_plan(f"tcp:127.0.0.1:{port}", plan, OPTIONS)
    assert (second.outcome, second.armed) == (Outcome.TAKEN_OVER, True)
    assert f"armed already, in {first.mode}" in second.reason


@pytest.mark.long
def test_missed_heartbeats_send_it_home_and_it_is_led_back() -> None:
    def dark(flight: Flight, way: rig.Way, port: int) -> None:
        on_the_way(flight)
        way.faults.dark.set()
        time.sleep(1.0)
        way.faults.dark.clear()

    result, _ = flown(rig.Faults(), "--param", "FS_GCS_ENABLE=1", speedup=10, during=dark)
    assert (result.outcome, result.armed, result.resumed) == (Outcome.COMPLETE, False, 1), result.reason


def _meddled(act: Callable[[rig.Meddler], None]) -> Callable[[Flight, rig.Way, int], None]:
    def during(flight: Flight, way: rig.Way, port: int) -> None:
        on_the_way(flight)
        meddler = rig.Meddler(port)
        act(meddler)
        time.sleep(30)
        meddler.close()

    return during


@pytest.mark.long
def test_somebody_else_takes_over_and_is_let_be() -> None:
    result, _ = flown(rig.Faults(), speedup=10, during=_meddled(lambda m: m.command(176, 1, 17)))
    assert result.outcome is Outcome.TAKEN_OVER and result.mode == "BRAKE" and result.armed
    assert "from AUTO to BRAKE" in result.reason


@pytest.mark.long
def test_lost_satellites_end_in_the_autopilots_landing() -> None:
    result, _ = flown(rig.Faults(), speedup=10, during=_meddled(lambda m: m.set("SIM_GPS1_ENABLE", 0)))
    assert result.outcome is Outcome.FAILSAFE and not result.armed
    assert "EKF Failsafe: changed to LAND Mode" in result.reason and result.mode == "LAND"


@pytest.mark.long
def test_a_low_battery_turns_it_back() -> None:
    options = FlightOptions(method="auto", georeference=rig.HOME, limits=Limits(battery=97))
    result, _ = flown(rig.Faults(), options=options)
    assert result.outcome is Outcome.LOW_BATTERY and not result.armed and result.mode == "RTL"
    assert "below 97 %" in result.reason


@pytest.mark.long
def test_a_fence_breached_ends_the_mission() -> None:
    fence = ("--param", "FENCE_ENABLE=1", "--param", "FENCE_TYPE=2", "--param", "FENCE_RADIUS=30")
    result, _ = flown(rig.Faults(), *fence)
    assert result.outcome is Outcome.FENCE and not result.armed and "fence breach" in result.reason.lower()


@pytest.mark.long
def test_no_progress_ends_as_stuck() -> None:
    options = FlightOptions(method="auto", georeference=rig.HOME, limits=Limits(stuck=20.0))
    result, _ = flown(rig.Faults(), options=options, speedup=10, during=_meddled(lambda m: m.command(193, 0)))
    assert result.outcome is Outcome.STUCK and "no progress for" in result.reason and not result.armed


@pytest.mark.long
def test_interrupted_it_lands_where_it_is() -> None:
    asked = [0]

    def stop(flight: Flight, way: rig.Way, port: int) -> None:
        on_the_way(flight)
        asked[0] = 1

    result, flight = flown(rig.Faults(), during=stop, interrupted=lambda: asked[0])
    assert result.outcome is Outcome.INTERRUPTED and result.mode == "LAND" and not result.armed
    place = flight.vehicle.state.place
    assert place is not None and place.relative < 0.5


# What cannot be flown


@pytest.mark.long
def test_plans_that_lie_elsewhere_or_below_are_refused_before_anything_arms() -> None:
    from aerialworld_core.errors import PlanError

    far = rig.line_plan([(40_000.0 + 10 * k, 0.0, 20.0) for k in range(3)])
    low = rig.line_plan([(0.0, 10.0 * k, -4.0) for k in range(3)])
    port = rig.free_port()
    with rig.autopilot("drone", port=port):
        for plan, words in ((far, "reaches 40.0 km from the vehicle's home"), (low, "lowest point is -4")):
            with pytest.raises(PlanError, match=words):
                rig.fly_plan(f"tcp:127.0.0.1:{port}", plan, OPTIONS)

"""Our client against recorded ArduPilots: it asks what they expect, in order, and says what they refuse and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from aerialworld_core.earth import Earth
from aerialworld_core.mavlink.words import Cmd
from aerialworld_missions.flying.options import FlightOptions
from aerialworld_missions.flying.outcomes import Outcome

sys.path.insert(0, str(Path(__file__).parent))
import flying_rig as rig
from flying_replay import Recorded, logged

pytestmark = pytest.mark.timeout(120)
OPTIONS = FlightOptions(method="auto", georeference=rig.HOME)


def recorded_plan(name: str, vehicle: str, speed: float, *more: tuple[float, float, float]) -> Any:
    """The plan whose AUTO mission has the recorded one's items: its waypoints, and the circle's centre for it; and
    `more` points."""
    earth = Earth(rig.HOME)
    items = [m for _, m in logged(name) if m.get_type() == "MISSION_ITEM_INT" and m.command in (16, 18) and m.seq]
    places = {m.seq: (*(float(v) for v in earth.map_of(m.x, m.y)), 30.0) for m in items}
    return rig.line_plan([*(places[k] for k in sorted(places)), *more], speed=speed, vehicle=vehicle)


@pytest.mark.long
def test_a_recorded_copter_flies_its_mission_for_us() -> None:
    plan = recorded_plan("full_arducopter_udp_7", "drone_1", 8.0)
    with Recorded("full_arducopter_udp_7", guided=4) as copter:
        result, flight = rig.fly_plan(f"udpin:127.0.0.1:{copter.port}", plan, OPTIONS)
    assert copter.stopped_at is None
    assert (result.outcome, result.armed, result.mode) == (Outcome.COMPLETE, False, "AUTO"), result.reason
    items = [("MISSION_ITEM_INT", n) for n in range(19)]
    assert copter.keys() == [("MISSION_COUNT", 19), *items, ("COMMAND_LONG", 400), ("COMMAND_LONG", 300)]
    commands = copter.commands()
    assert commands.index(Cmd.SET_MESSAGE_INTERVAL) < commands.index(Cmd.DO_SET_MODE) < commands.index(400)
    assert commands.count(Cmd.DO_SET_MODE) == 1  # not before the boot's end, when it would be lost
    # The items are the recorded client's, but for the circle, which is a waypoint of ours, and the recorded frame.
    theirs = {m.seq: m for _, m in logged("full_arducopter_udp_7") if m.get_type() == "MISSION_ITEM_INT"}
    ours = {m.seq: m for m in copter.asked if m.get_type() == "MISSION_ITEM_INT"}
    assert [ours[n].command for n in range(19)] == [16 if n == 17 else theirs[n].command for n in range(19)]
    for n in range(3, 18):
        assert abs(ours[n].x - theirs[n].x) <= 1 and abs(ours[n].y - theirs[n].y) <= 1
        assert ours[n].z == pytest.approx(30.0, abs=0.2) and ours[n].frame == theirs[n].frame
    assert ours[2].param2 == theirs[2].param2 == 8.0
    assert flight.vehicle.state.clock.pace > 10


@pytest.mark.long
def test_a_recorded_rover_drives_its_mission_for_us() -> None:
    """The recorded one's last item is RTL, ours a waypoint at home; and ours holds and is switched off then."""
    plan = recorded_plan("full_ardurover_udp_11", "rover_1", 4.0, (10.0, 0.0, 30.0))
    with Recorded("full_ardurover_udp_11", guided=15) as rover:
        result, _ = rig.fly_plan(f"udpin:127.0.0.1:{rover.port}", plan, OPTIONS)
    assert rover.stopped_at is None
    assert (result.outcome, result.armed, result.mode) == (Outcome.COMPLETE, False, "HOLD"), result.reason
    items = [("MISSION_ITEM_INT", n) for n in range(18)]
    assert rover.keys() == [("MISSION_COUNT", 18), *items, ("COMMAND_LONG", 400), ("COMMAND_LONG", 300)]
    last = [m for m in rover.asked if m.get_type() == "COMMAND_LONG"][-2:]
    assert [(m.command, m.param1, m.param2) for m in last] == [(176, 1.0, 4.0), (400, 0.0, 0.0)]


def refusal(name: str, kind: str, **fields: Any) -> Any:
    """The first recorded message of a kind with these fields."""
    for _, message in logged(name):
        if message.get_type() == kind and all(getattr(message, k) == v for k, v in fields.items()):
            return message
    pytest.fail(f"{name}: no {kind} with {fields}")


def test_a_recorded_refusal_to_arm_is_told_with_its_reason() -> None:
    plan = recorded_plan("full_arducopter_udp_7", "drone_1", 8.0)
    no = refusal("copter_early", "COMMAND_ACK", command=400, result=4)
    why = refusal("copter_early", "STATUSTEXT", text="Arm: Need Position Estimate")

    def refuse(message: Any) -> list[Any] | None:
        arms = message.get_type() == "COMMAND_LONG" and message.command == Cmd.COMPONENT_ARM_DISARM
        return [no, why] if arms else None

    with Recorded("full_arducopter_udp_7", guided=4, refuse=refuse) as copter:
        result, _ = rig.fly_plan(f"udpin:127.0.0.1:{copter.port}", plan, OPTIONS)
    assert result.outcome is Outcome.REFUSED and not result.armed
    assert "arming: FAILED" in result.reason and "Arm: Need Position Estimate" in result.reason
    assert copter.commands().count(Cmd.COMPONENT_ARM_DISARM) > 3 and Cmd.MISSION_START not in copter.commands()


@pytest.mark.parametrize(
    ("code", "word"),
    [(2, "UNSUPPORTED_FRAME"), (3, "UNSUPPORTED"), pytest.param(12, "INVALID_PARAM7", marks=pytest.mark.long)],
)
def test_a_recorded_refusal_of_an_item_is_told_and_the_mixture_cleared(code: int, word: str) -> None:
    plan = recorded_plan("full_arducopter_udp_7", "drone_1", 8.0)
    no = refusal("copter_mission_errors", "MISSION_ACK", type=code)
    cleared = refusal("copter_mission_errors", "MISSION_ACK", type=0)

    def refuse(message: Any) -> list[Any] | None:
        if message.get_type() == "MISSION_CLEAR_ALL":
            return [cleared]
        return [no] if message.get_type() == "MISSION_ITEM_INT" and message.seq == 5 else None

    with Recorded("full_arducopter_udp_7", guided=4, refuse=refuse) as copter:
        result, _ = rig.fly_plan(f"udpin:127.0.0.1:{copter.port}", plan, OPTIONS)
    assert result.outcome is Outcome.REFUSED and not result.armed
    assert "item 5 (NAV_WAYPOINT at 35.68" in result.reason and f": {word};" in result.reason
    assert copter.asked[-1].get_type() in ("MISSION_CLEAR_ALL", "HEARTBEAT")
    assert any(m.get_type() == "MISSION_CLEAR_ALL" for m in copter.asked)
    assert Cmd.COMPONENT_ARM_DISARM not in copter.commands()


def test_the_recorded_words_of_a_vehicle_are_read() -> None:
    """Everything that two whole flights said goes through, and leaves the state that they ended in."""
    from aerialworld_missions.flying.telemetry import Telemetry

    now = [0.0]
    state = Telemetry(lambda: now[0])
    first: float | None = None
    for t, message in logged("full_arducopter_udp_7"):
        if message.get_srcSystem() < 200:
            first = t if first is None else first
            now[0] = t - first
            state.take(message)
    assert (state.mode, state.armed, state.mission_state) == (3, False, 5)
    assert state.clock.now == pytest.approx(303.5, abs=1.0) and state.clock.pace == pytest.approx(20, rel=0.1)
    assert state.reached >= set(range(2, 19)) and state.has_position and state.battery == 37
    assert state.texts[-1].text == "Disarming motors" and (state.clock.restarts, state.clock.jumps) == (0, 0)

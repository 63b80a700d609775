"""What the vehicle does by itself when station, satellites, battery or fence are lost: recorded seconds and words."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import Bench
from test_autopilot_reference import item, upload

GUIDED, AUTO, RTL, LAND, LOITER = 4, 3, 6, 9, 5


def set_parameter(bench: Bench, name: str, value: float) -> None:
    bench.send(bench.words.MAVLink_param_set_message(1, 1, name.encode(), value, 9))
    said = bench.run(0.05)
    assert any(m.get_type() == "PARAM_VALUE" and m.param_id == name for m in said)


def mode_after(bench: Bench, number: int, limit: float) -> float:
    """Seconds until a mode."""
    began = bench.now
    bench.run_until(lambda: bench.autopilot.mode.number == number, limit)
    return bench.now - began


def status(bench: Bench) -> int:
    bench.run(1.1)
    return int([m for m in bench.heard if m.get_type() == "HEARTBEAT"][-1].system_status)


def test_without_the_parameter_a_lost_station_changes_nothing() -> None:
    bench = Bench()
    bench.beating = True
    bench.flying(15.0)
    bench.beating = False
    bench.run(30.0)
    assert bench.autopilot.mode.number == GUIDED


def test_the_rover_holds_when_its_station_is_lost() -> None:
    bench = Bench("rover", {"FS_GCS_ENABLE": 1})
    bench.beating = True
    bench.ready()
    assert bench.result(176, 1, 15) == 0 and bench.result(400, 1) == 0
    bench.beating = False
    bench.heartbeat()
    assert mode_after(bench, 4, 10.0) == pytest.approx(6.4, abs=0.2)
    assert status(bench) == 5
    assert "Radio Failsafe" in bench.texts()  # the recorded text
    bench.beating = True
    bench.run(1.0)
    assert status(bench) == 3
    assert "GCS Failsafe Cleared" in bench.texts() and bench.autopilot.mode.number == 4


def test_arming_is_refused_while_the_station_is_lost() -> None:
    bench = Bench(parameters={"FS_GCS_ENABLE": 1})
    bench.heartbeat()
    bench.ready()
    assert bench.result(400, 1) == 4
    assert "Arm: GCS failsafe on" in bench.texts()
    bench.beating = True
    bench.run(2.0)
    assert bench.result(400, 1) == 0


def test_lost_satellites_land_it_and_guided_is_refused_until_they_are_back() -> None:
    bench = Bench().flying(20.0)
    set_parameter(bench, "SIM_GPS1_ENABLE", 0)
    assert mode_after(bench, LAND, 12.0) == pytest.approx(8.0, abs=0.15)
    assert status(bench) == 5
    assert bench.texts()[-2:] == ["EKF variance", "EKF Failsafe: changed to LAND Mode"]
    beat = [m for m in bench.heard if m.get_type() == "HEARTBEAT"][-1]
    assert beat.base_mode == 209  # no longer "guided": there is no position
    assert bench.result(176, 1, GUIDED) == 4
    assert "Mode change to GUIDED failed: requires position" in bench.texts()
    set_parameter(bench, "SIM_GPS1_ENABLE", 1)
    began = bench.now
    bench.hear("EKF Failsafe Cleared", 5.0)
    assert bench.now - began == pytest.approx(1.2, abs=0.2)
    assert bench.autopilot.mode.number == LAND
    assert bench.result(176, 1, GUIDED) == 0


def test_a_short_loss_of_satellites_is_bridged() -> None:
    bench = Bench().flying(20.0)
    set_parameter(bench, "SIM_GPS1_ENABLE", 0)
    bench.run(6.0)
    set_parameter(bench, "SIM_GPS1_ENABLE", 1)
    bench.run(6.0)
    assert bench.autopilot.mode.number == GUIDED and "EKF variance" not in bench.texts()


def test_a_low_battery_goes_home_after_its_timer() -> None:
    bench = Bench(parameters={"BATT_FS_LOW_ACT": 2}).flying(20.0)
    set_parameter(bench, "SIM_BATT_VOLTAGE", 10.0)
    assert mode_after(bench, RTL, 15.0) == pytest.approx(10.0, abs=0.2)
    assert status(bench) == 5
    assert any(text.startswith("Battery 1 is low 10.00V used") for text in bench.texts())
    assert bench.result(176, 1, GUIDED) == 0  # and it does not go home again by itself
    bench.run(15.0)
    assert bench.autopilot.mode.number == GUIDED


def test_the_battery_is_used_up_as_a_real_ones_is() -> None:
    """29 A in hover, and about 80 % left after 80 s in the air, of 3300 mAh (recorded)."""
    bench = Bench().flying(20.0)
    bench.run(5.0)
    assert bench.autopilot.battery.current == pytest.approx(29.0, abs=2.0)
    began = bench.autopilot.battery.used_mah
    bench.run(60.0)
    assert bench.autopilot.battery.used_mah - began == pytest.approx(29.0 * 60.0 / 3.6, rel=0.07)
    assert 70 <= bench.autopilot.battery.remaining <= 85


def test_the_circle_fence_sends_it_home() -> None:
    bench = Bench(parameters={"FENCE_ENABLE": 1, "FENCE_RADIUS": 60.0, "FENCE_ACTION": 1}).flying(20.0)
    assert upload(bench, [item(bench, 0), item(bench, 1, north=100.0)]) == 0  # taken although it leads outside
    assert bench.result(176, 1, AUTO) == 0
    bench.run_until(lambda: bench.autopilot.mode.number == RTL, 30.0)
    assert float(bench.vehicle.state.pose.position[1]) == pytest.approx(60.0, abs=2.0)
    bench.run(0.1)
    assert bench.texts()[-1] == "Circle fence breached"
    bench.run(12.0)
    assert "Fence breach cleared" in bench.texts()


def fence_item(bench: Bench, seq: int, command: int, north: float, east: float, p1: float) -> Any:
    made = item(bench, seq, command, north=north, param1=p1)
    made.y += round(east / 90.5 * 1000) * 10  # 90.5 km per degree of longitude at 35.68 N
    return made


def test_a_drawn_fence_of_a_polygon_and_a_circle() -> None:
    bench = Bench(parameters={"FENCE_ENABLE": 1, "FENCE_TYPE": 4}).ready()
    corners = [(-30.0, -30.0), (-30.0, 30.0), (30.0, 30.0), (30.0, -30.0)]
    fence = [fence_item(bench, i, 5001, n, e, 4) for i, (n, e) in enumerate(corners)]
    fence.append(fence_item(bench, 4, 5004, 20.0, 0.0, 5.0))
    assert upload(bench, fence, kind=1) == 0
    assert "Fence Indexed OK" in bench.texts(bench.run(0.05)) + bench.texts()
    outside = bench.autopilot.fence.outside
    inside = [(0, 0), (29, 29), (-29, 0), (0, 28)]
    beyond = [(31, 0), (0, -31), (0, 20), (0, 24)]  # map: east, north; the last two lie in the circle
    assert [bool(outside(np.array([*p, 10.0]))) for p in inside] == [False] * 4
    assert [bool(outside(np.array([*p, 10.0]))) for p in beyond] == [True] * 4
    bench.send(bench.words.MAVLink_mission_request_list_message(1, 1, 1))
    assert [m.count for m in bench.run(0.05) if m.get_type() == "MISSION_COUNT"] == [5]


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ([(5001, 2), (5001, 2)], "Invalid vertex count (2)"),
        ([(5001, 4), (5001, 4), (5001, 4)], "Incorrect vertex count"),
        ([(5001, 3), (5001, 4), (5001, 3)], "Incorrect vertex count"),
        ([(5003, 0)], "Invalid circle radius"),
    ],
)
def test_fences_without_sense_are_refused_and_the_old_one_stays(points: list[tuple[int, int]], text: str) -> None:
    bench = Bench()
    bench.run(3.0)
    assert upload(bench, [fence_item(bench, 0, 5003, 0.0, 0.0, 50.0)], kind=1) == 0
    assert upload(bench, [fence_item(bench, i, c, 10.0 * i, 0.0, p) for i, (c, p) in enumerate(points)], kind=1) == 1
    bench.run(0.05)
    assert bench.texts()[-2:] == [text, "Fence validation failed"]
    assert len(bench.autopilot.missions.fence) == 1


def test_a_crash_disarms_and_is_told() -> None:
    bench = Bench().flying(25.0)
    assert bench.result(400, 0) == 4
    assert bench.result(400, 0, 21196) == 0
    bench.run(4.0)
    assert any(text.startswith("SIM Hit ground at") for text in bench.texts())
    assert not bench.autopilot.armed
    assert bench.result(400, 1) == 4  # what lies broken on the ground is not armed
    assert any(text.startswith("Arm: Vehicle crashed") for text in bench.texts())

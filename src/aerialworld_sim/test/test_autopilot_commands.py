"""Commands, modes and missions in flight: each row of what a real ArduPilot answers, and what then happens."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import Bench
from test_autopilot_reference import item, modes, upload

ACCEPTED, DENIED, UNSUPPORTED, FAILED = 0, 2, 3, 4
GUIDED, AUTO, RTL, LAND, LOITER, CIRCLE, BRAKE, STABILIZE, ALT_HOLD = 4, 3, 6, 9, 5, 7, 17, 0, 2


def height(bench: Bench) -> float:
    return float(bench.autopilot.estimator.relative_altitude())


def test_refusals_on_the_ground() -> None:
    bench = Bench().ready()
    assert bench.result(176, 1, 99) == FAILED and "No such mode 99" in bench.texts()
    assert bench.result(176, 0, GUIDED) == DENIED
    assert bench.result(65000) == UNSUPPORTED
    assert bench.result(34, 40) == UNSUPPORTED
    assert bench.result(401) == ACCEPTED
    assert bench.result(511, 99999, 1000) == DENIED and "No ap_message for mavlink id (99999)" in bench.texts()
    assert bench.result(512, 31999) == FAILED
    assert bench.result(22, 0, 0, 0, 0, 0, 0, 10) == FAILED
    assert bench.result(400, 1) == ACCEPTED  # STABILIZE
    assert bench.result(22, 0, 0, 0, 0, 0, 0, 10) == FAILED  # not in STABILIZE
    assert bench.result(176, 1, AUTO) == FAILED  # no mission
    assert bench.texts()[-1] == "Mode change to AUTO failed: init failed"
    assert bench.result(400, 0) == ACCEPTED


def test_auto_is_not_armable_and_not_entered_on_the_ground_without_a_takeoff() -> None:
    bench = Bench().ready()
    assert upload(bench, [item(bench, 0), item(bench, 1, north=20.0)]) == 0
    assert bench.result(176, 1, AUTO) == ACCEPTED  # disarmed: checks come with arming
    assert bench.result(400, 1) == FAILED and "Arm: AUTO mode not armable" in bench.texts()
    assert bench.result(176, 1, GUIDED) == ACCEPTED and bench.result(400, 1) == ACCEPTED
    assert bench.result(176, 1, AUTO) == FAILED and "Auto: Missing Takeoff Cmd" in bench.texts()


def test_takeoff_by_command_int_takes_one_frame() -> None:
    bench = Bench().ready()
    bench.result(176, 1, GUIDED)
    bench.result(400, 1)
    for frame, expected in ((0, DENIED), (6, DENIED), (3, ACCEPTED)):
        bench.send(bench.words.MAVLink_command_int_message(1, 1, frame, 22, 0, 0, 0, 0, 0, 0, 0, 0, 15.0))
        assert [m.result for m in bench.run(0.05) if m.get_type() == "COMMAND_ACK"] == [expected]
    bench.run(2.0)
    assert bench.result(22, 0, 0, 0, 0, 0, 0, 15.0) == ACCEPTED  # still on the ground, spooling up
    bench.run(8.0)
    assert bench.result(22, 0, 0, 0, 0, 0, 0, 15.0) == FAILED
    assert bench.result(400, 0) == FAILED


def test_the_climb_is_the_recorded_one() -> None:
    """4.0 s on the ground after the acknowledgement, then 2.5 m/s: 5 m at 6.7 s, 30 m at 17.7 s (within 0.7 s)."""
    bench = Bench().ready()
    bench.result(176, 1, GUIDED)
    bench.result(400, 1)
    assert bench.result(22, 0, 0, 0, 0, 0, 0, 30.0) == ACCEPTED
    began, seen = bench.now, {}
    for mark in (0.1, 5.0, 29.5):
        bench.run_until(lambda mark=mark: height(bench) >= mark, 30.0)
        seen[mark] = bench.now - began
    assert seen[0.1] == pytest.approx(4.3, abs=0.7)
    assert seen[5.0] == pytest.approx(6.7, abs=0.7)
    assert seen[29.5] == pytest.approx(17.5, abs=0.8)


def test_a_disarm_during_the_spool_up_ends_it() -> None:
    bench = Bench().ready()
    bench.result(176, 1, GUIDED)
    bench.result(400, 1)
    bench.result(22, 0, 0, 0, 0, 0, 0, 30.0)
    bench.run(2.0)
    assert bench.result(400, 0) == ACCEPTED
    bench.run(5.0)
    assert height(bench) == pytest.approx(0.0, abs=0.01)


def test_modes_in_the_air() -> None:
    bench = Bench().flying(20.0)
    assert bench.result(176, 1, BRAKE) == ACCEPTED
    bench.run(3.0)
    assert height(bench) == pytest.approx(20.0, abs=0.3)
    # Nobody holds the sticks: the throttle is at its lowest, and LOITER sinks (recorded: 5 m in 3 s).
    assert bench.result(176, 1, LOITER) == ACCEPTED
    bench.run(3.0)
    assert 13.0 < height(bench) < 17.5
    # A pilot who does holds it.
    centred = [1500] * 8
    for _ in range(30):
        bench.send(bench.words.MAVLink_rc_channels_override_message(1, 1, *centred))
        bench.run(0.1)
    held = height(bench)
    for _ in range(30):
        bench.send(bench.words.MAVLink_rc_channels_override_message(1, 1, 1500, 1100, 1500, 1500, *[65535] * 4))
        bench.run(0.1)
    assert height(bench) == pytest.approx(held, abs=0.7)
    assert float(bench.vehicle.state.linear_velocity[1]) > 4.0  # pitch forward: its nose points north
    assert bench.result(176, 1, GUIDED) == ACCEPTED
    bench.run(6.0)
    # CIRCLE: 20 degrees a second, less as the acceleration allows, its centre 10 m ahead.
    centre = bench.vehicle.state.pose.position + 10.0 * np.array(
        [math.cos(bench.vehicle.state.pose.yaw), math.sin(bench.vehicle.state.pose.yaw), 0.0]
    )
    assert bench.result(176, 1, CIRCLE) == ACCEPTED
    bench.run(10.0)
    distances = []
    for _ in range(20):
        bench.run(0.5)
        distances.append(math.dist(bench.vehicle.state.pose.position[:2], centre[:2]))
    assert np.mean(distances) == pytest.approx(10.0, abs=1.0)
    assert bench.result(176, 1, LAND) == ACCEPTED
    bench.run_until(lambda: not bench.autopilot.armed, 60.0)
    assert bench.autopilot.mode.number == LAND


def test_rtl_climbs_returns_lands_and_stays_in_rtl() -> None:
    bench = Bench().flying(5.0)
    place = bench.words.MAVLink_set_position_target_local_ned_message
    bench.send(place(0, 1, 1, 1, 0b110111111000, 60, 0, -5, 0, 0, 0, 0, 0, 0, 0, 0))
    bench.run(20.0)
    assert bench.result(176, 1, RTL) == ACCEPTED
    top = 0.0
    while bench.autopilot.armed:
        bench.run(0.5)
        top = max(top, height(bench))
        assert bench.now < 250.0
    assert top == pytest.approx(15.0, abs=0.6)  # RTL_ALT
    assert bench.autopilot.mode.number == RTL
    assert math.hypot(*bench.vehicle.state.pose.position[:2]) < 1.0
    assert modes(bench.run(1.1))[-1] == RTL


def mission(bench: Bench) -> list[Any]:
    """Up, out, back half way, home."""
    return [
        item(bench, 0),
        item(bench, 1, 22, z=15.0),
        item(bench, 2, north=60.0),
        item(bench, 3, north=30.0),
        item(bench, 4, 20),
    ]


def test_a_mission_is_interrupted_resumed_paused_changed_and_ends_disarmed_in_auto() -> None:
    bench = Bench().ready()
    assert upload(bench, mission(bench)) == 0
    bench.result(176, 1, GUIDED)
    assert bench.result(400, 1) == ACCEPTED
    assert bench.result(300) == ACCEPTED
    assert bench.autopilot.mode.number == AUTO
    bench.run_until(lambda: bench.autopilot.runner.current == 2, 40.0)
    bench.run(3.0)
    assert bench.result(176, 1, BRAKE) == ACCEPTED
    bench.run(3.0)
    assert (bench.autopilot.runner.current, bench.autopilot.runner.state) == (2, 2)
    assert bench.result(176, 1, AUTO) == ACCEPTED
    bench.run(0.2)
    assert bench.texts()[-1] == "Mission: 2 WP"
    assert bench.result(193, 0) == ACCEPTED
    bench.run(3.0)
    assert bench.autopilot.runner.state == 4 and np.linalg.norm(bench.vehicle.state.linear_velocity) < 0.3
    assert bench.result(193, 1) == ACCEPTED and bench.result(193, 7) == DENIED
    bench.send(bench.words.MAVLink_mission_clear_all_message(1, 1, 0))
    assert [m.type for m in bench.run(0.05) if m.get_type() == "MISSION_ACK"] == [1]  # it is being flown
    assert upload(bench, [*mission(bench)[:2], item(bench, 2, north=40.0), *mission(bench)[3:]]) == 0
    bench.run(0.1)
    assert "Auto mission changed, restarted command" in bench.texts()
    bench.run_until(lambda: bench.autopilot.runner.current == 3, 30.0)
    assert float(bench.vehicle.state.pose.position[1]) == pytest.approx(40.0, abs=3.0)
    bench.run_until(lambda: not bench.autopilot.armed, 90.0)
    bench.run(0.1)
    reached = [m.seq for m in bench.heard if m.get_type() == "MISSION_ITEM_REACHED"]
    assert reached == [1, 2, 3, 4]
    assert bench.autopilot.mode.number == AUTO and bench.autopilot.runner.current == 0


def test_reposition_leaves_auto_only_with_its_flag() -> None:
    bench = Bench().flying(15.0)
    assert upload(bench, [item(bench, 0), item(bench, 1, north=200.0)]) == 0
    assert bench.result(176, 1, AUTO) == ACCEPTED
    bench.run(2.0)
    for flag, expected, mode in ((0.0, DENIED, AUTO), (1.0, ACCEPTED, GUIDED)):
        place = (356812360, 1397671250, 20.0)
        bench.send(bench.words.MAVLink_command_int_message(1, 1, 6, 192, 0, 0, -1, flag, 0, 0, *place))
        assert [m.result for m in bench.run(0.05) if m.get_type() == "COMMAND_ACK"] == [expected]
        assert bench.autopilot.mode.number == mode


def test_jumps_delays_conditions_and_the_end_without_rtl() -> None:
    bench = Bench().flying(15.0)
    items = [
        item(bench, 0),
        item(bench, 1, north=15.0, param1=2.0),
        item(bench, 2, 112, param1=1.5),
        item(bench, 3, 178, param1=1.0, param2=3.0),
        item(bench, 4, north=-5.0),
        item(bench, 5, 177, param1=1.0, param2=1.0),
    ]
    assert upload(bench, items) == 0
    began = bench.now
    assert bench.result(176, 1, AUTO) == ACCEPTED
    bench.run_until(lambda: bench.autopilot.runner.state == 5, 120.0)
    texts = [t for t in bench.texts() if t.startswith("Mission:") or t.startswith("Reached")]
    once = ["Mission: 1 WP", "Reached command #1", "Mission: 2 CondDelay", "Mission: 4 WP", "Mission: 3 ChangeSpeed",
            "Reached command #4"]  # fmt: skip
    assert texts == once * 2
    assert bench.now - began > 2 * 2.0
    bench.run(5.0)
    assert bench.autopilot.armed and bench.autopilot.mode.number == AUTO
    assert np.linalg.norm(bench.vehicle.state.linear_velocity) < 0.2


def test_turns_are_flown_around_their_centre_and_counted() -> None:
    """Two turns of 40 m, nose to the middle: 36 s each as recorded (its radius there: 37.9 m)."""
    bench = Bench().flying(30.0)
    items = [item(bench, 0), item(bench, 1, 18, param1=2.0, param3=40.0, x=0, y=0, z=30.0), item(bench, 2, 17, z=30.0)]
    assert upload(bench, items) == 0
    assert bench.result(176, 1, AUTO) == ACCEPTED
    bench.hear("Mission: starting circle 1/2", 40.0)
    began = bench.now
    centre = bench.autopilot.runner.target()[:2]
    bench.run(10.0)
    radii, noses = [], []
    while "Mission: starting circle 3/2" not in bench.texts():
        bench.run(0.5)
        place = bench.vehicle.state.pose
        to_middle = centre - place.position[:2]
        radii.append(math.hypot(*to_middle))
        noses.append(abs(math.remainder(math.atan2(to_middle[1], to_middle[0]) - place.yaw, 2 * math.pi)))
        assert bench.now - began < 90.0
    assert bench.now - began == pytest.approx(72.0, abs=4.0)
    assert 36.5 < np.mean(radii) < 40.5
    assert max(noses) < 0.35
    assert bench.autopilot.runner.current == 2


def test_a_partial_list_replaces_a_part() -> None:
    bench = Bench().ready()
    assert upload(bench, mission(bench)) == 0
    bench.send(bench.words.MAVLink_mission_write_partial_list_message(1, 1, 2, 3, 0))
    replaced = {2: item(bench, 2, north=11.0), 3: item(bench, 3, north=12.0)}
    acks = []
    for _ in range(60):
        for m in bench.step():
            if m.get_type() == "MISSION_REQUEST":
                bench.send(replaced[m.seq])
            elif m.get_type() == "MISSION_ACK":
                acks.append(m.type)
    assert acks == [0]
    assert [i.x for i in bench.autopilot.missions.items[1:3]] == [replaced[2].x, replaced[3].x]
    bench.send(bench.words.MAVLink_mission_write_partial_list_message(1, 1, 3, 9, 0))
    assert [m.type for m in bench.run(0.05) if m.get_type() == "MISSION_ACK"] == [1]


def test_another_station_is_kept_out_of_an_upload() -> None:
    bench = Bench().ready()
    bench.send(bench.words.MAVLink_mission_count_message(1, 1, 3, 0))
    bench.run(0.05)
    bench.send(bench.words.MAVLink_mission_count_message(1, 1, 2, 0), system=254)
    bench.send(bench.words.MAVLink_mission_request_list_message(1, 1, 0), system=254)
    acks = [(m.target_system, m.type) for m in bench.run(0.05) if m.get_type() == "MISSION_ACK"]
    assert acks == [(254, 14), (254, 14)]


def test_streams_have_their_exact_rates_and_the_old_request_works() -> None:
    bench = Bench().ready()
    bench.every("ATTITUDE", 10)
    bench.every("GLOBAL_POSITION_INT", 4)
    bench.send(bench.words.MAVLink_request_data_stream_message(1, 1, 11, 5, 1))  # EXTRA2: VFR_HUD
    said = bench.run(10.0)
    for name, hz in (("ATTITUDE", 10), ("GLOBAL_POSITION_INT", 4)):
        stamps = [m.time_boot_ms for m in said if m.get_type() == name]
        assert np.diff(stamps) == pytest.approx(1000 / hz, abs=0.01)
        assert len(stamps) in (10 * hz, 10 * hz - 1)
    assert sum(m.get_type() == "VFR_HUD" for m in said) in (49, 50)
    assert bench.result(510, 30) == ACCEPTED
    assert [m.interval_us for m in bench.heard if m.get_type() == "MESSAGE_INTERVAL"] == [100_000]
    assert bench.result(511, 30, -1) == ACCEPTED
    assert not any(m.get_type() == "ATTITUDE" for m in bench.run(1.0))


def test_every_known_message_can_be_asked_for_on_both_vehicles() -> None:
    for kind in ("drone", "rover"):
        bench = Bench(kind, {"FENCE_ENABLE": 1}).ready()
        names = bench.autopilot.telemetry._names
        assert len(names) > 30
        for number, name in names.items():
            said = bench.command(512, number)
            assert [m.result for m in said if m.get_type() == "COMMAND_ACK"] == [0], name
            target = name.startswith("position_target") or (kind == "rover" and name == "nav_controller_output")
            assert target or name.upper() in {m.get_type() for m in said}, name


def test_a_reboot_begins_the_boot_anew_and_keeps_mission_and_parameters() -> None:
    bench = Bench().ready()
    assert upload(bench, mission(bench)) == 0
    bench.autopilot.parameters.keep("RTL_ALT", 2000)
    assert bench.result(246, 1) == ACCEPTED
    bench.run(1.0)
    assert bench.now < 1.0
    said = bench.run(3.0)
    assert "ArduPilot Ready" in bench.texts(said)
    assert bench.autopilot.missions.count == 5 and bench.autopilot.parameters["RTL_ALT"] == 2000


def test_rover_modes() -> None:
    bench = Bench("rover")
    bench.run(4.0)
    assert bench.result(176, 1, 15) == ACCEPTED
    assert bench.result(400, 1) == FAILED
    assert {"Arm: Accels inconsistent", "Arm: AHRS: waiting for home"} <= set(bench.texts())
    assert bench.result(176, 1, 10) == FAILED and "No Mission. Can't set AUTO." in bench.texts()
    assert bench.result(176, 1, 5) == FAILED and "Flight mode change failed" in bench.texts()
    bench.ready()
    assert bench.result(22, 0, 0, 0, 0, 0, 0, 5) == UNSUPPORTED
    assert bench.result(178, 1, 2.0, -1) == FAILED  # in GUIDED, but it goes nowhere
    assert upload(bench, [item(bench, 0), item(bench, 1, north=30.0), item(bench, 2, 20)]) == 0
    assert bench.result(176, 1, 10) == ACCEPTED
    assert bench.result(178, 1, 5.0, -1) == ACCEPTED
    assert bench.result(400, 1) == ACCEPTED  # in AUTO, and it drives off at once
    bench.run(5.0)
    assert float(bench.vehicle.state.pose.position[1]) > 4.0
    bench.hear("Mission Complete", 90.0)
    assert bench.autopilot.armed and bench.autopilot.runner.state == 5
    bench.run(5.0)
    assert bench.result(176, 1, 15) == ACCEPTED
    assert bench.result(178, 1, 2.0, -1) == FAILED and bench.autopilot.modes.go_to(np.zeros(3))
    assert bench.result(178, 1, 2.0, -1) == ACCEPTED and bench.autopilot.modes.speed == 2.0
    # By hand: throttle forward, then nothing.
    assert bench.result(176, 1, 0) == ACCEPTED
    before = np.array(bench.vehicle.state.pose.position)
    for _ in range(20):
        bench.send(bench.words.MAVLink_manual_control_message(1, 0, 0, 750, 0, 0))
        bench.run(0.1)
    assert np.linalg.norm(bench.vehicle.state.pose.position - before) > 2.0
    bench.run(12.0)
    assert np.linalg.norm(bench.vehicle.state.linear_velocity) < 0.3
    assert bench.result(176, 1, 11) == ACCEPTED
    bench.hear("Reached destination", 60.0)
    assert bench.autopilot.armed and bench.autopilot.mode.number == 11
    assert bench.result(400, 0) == ACCEPTED and "Throttle disarmed" in bench.texts(bench.run(0.1)) + bench.texts()


def moving(kind: str) -> Bench:
    """On its way, with a mission at hand."""
    bench = Bench(kind).flying(20.0) if kind == "drone" else Bench(kind).ready()
    if kind == "rover":
        assert bench.result(176, 1, 15) == 0 and bench.result(400, 1) == 0
    items = [item(bench, 0), item(bench, 1, 18, param1=1.0), item(bench, 2, north=20.0), item(bench, 3, 20)]
    assert upload(bench, items) == 0
    return bench


@pytest.mark.parametrize("kind", ["drone", "rover"])
def test_no_value_of_a_parameter_stops_the_autopilot(kind: str) -> None:
    """Every parameter that counts, at values without sense, while every mode is flown for a moment."""
    bench, tried = moving(kind), 0
    numbers = [2, 3, 4, 5, 6, 7, 9, 17] if kind == "drone" else [0, 4, 5, 9, 10, 11, 15]
    kept = ("ARMING", "MAV_", "SIM_GPS1", "STAT", "LOG", "SERVO", "SERIAL", "INS", "COMPASS", "EK3", "RC")
    for parameter in list(bench.autopilot.parameters._in_order):
        if parameter.name.startswith(kept):
            continue
        speeds = parameter.name.startswith(("WP", "CIRC", "RTL", "LAND", "PILOT", "LOIT_SPEED"))
        for i, value in enumerate((-3e38, 0.0, 3e38)):
            for number in numbers if speeds else numbers[i::3]:
                usual = bench.autopilot.parameters[parameter.name]
                bench.autopilot.parameters.keep(parameter.name, value)
                bench.autopilot.set_mode(number)
                bench.step()
                bench.autopilot.modes.go_to(np.array([5.0, 5.0, 20.0]))
                bench.step()
                bench.autopilot.telemetry.send_named(bench.channel, "position_target_global_int")
                bench.autopilot.parameters.keep(parameter.name, usual)
                tried += 1
        if not bench.autopilot.armed:  # a failsafe, the fence or the landing has ended it
            bench = moving(kind)
    assert tried > 200

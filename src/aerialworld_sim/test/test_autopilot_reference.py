"""What a client of ArduPilot must live with, one test each: the behaviour that fake vehicles usually leave out."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import Bench, Served20

GUIDED, AUTO, RTL, LAND = 4, 3, 6, 9
FRAME_REL = 6


@pytest.fixture
def bench() -> Bench:
    return Bench()


def names(messages: list[Any]) -> set[str]:
    return {m.get_type() for m in messages}


def modes(messages: list[Any]) -> list[int]:
    return [m.custom_mode for m in messages if m.get_type() == "HEARTBEAT"]


def item(bench: Bench, seq: int, command: int = 16, north: float = 0.0, z: float = 20.0, **more: Any) -> Any:
    """A mission item so many metres north of home."""
    fields: dict[str, Any] = dict.fromkeys(("param1", "param2", "param3", "param4"), 0.0)
    fields |= {"frame": FRAME_REL, "x": 356812360 + round(north * 89.99), "y": 1397671250, "z": z, **more}
    order = ("param1", "param2", "param3", "param4", "x", "y", "z")
    values = [fields[name] for name in order]
    return bench.words.MAVLink_mission_item_int_message(1, 1, seq, fields["frame"], command, 0, 1, *values)


def upload(bench: Bench, items: list[Any], kind: int = 0) -> int:
    """Upload as a client does; the MISSION_ACK's type."""
    bench.send(bench.words.MAVLink_mission_count_message(1, 1, len(items), kind))
    for _ in range(20 * len(items) + 20):
        for message in bench.step():
            if message.get_type() == "MISSION_REQUEST":
                items[message.seq].mission_type = kind
                bench.send(items[message.seq])
            elif message.get_type() == "MISSION_ACK":
                return int(message.type)
    raise AssertionError("no MISSION_ACK")


def test_1_nothing_before_the_heartbeat_and_nothing_but_it_unasked(bench: Bench) -> None:
    first = bench.run(0.8)
    assert names(first) <= {"STATUSTEXT", "PARAM_VALUE"}
    heard = bench.run(40.0)
    unasked = {"HEARTBEAT", "STATUSTEXT", "PARAM_VALUE", "TIMESYNC", "HOME_POSITION", "GPS_GLOBAL_ORIGIN"}
    assert names(heard) <= unasked
    beats = [m for m in heard if m.get_type() == "HEARTBEAT"]
    assert len(beats) == 41  # one a second, and one at once when the mode became STABILIZE for good
    assert (beats[0].system_status, beats[0].base_mode, beats[0].custom_mode) == (1, 89, 0)


def test_1b_a_rover_streams_some_twenty_messages_unasked() -> None:
    bench = Bench("rover")
    heard = bench.run(20.0)
    counts = {name: sum(m.get_type() == name for m in heard) for name in names(heard)}
    assert 18 <= len([n for n, c in counts.items() if 15 <= c <= 19]) <= 26


def test_2_a_mode_asked_for_before_ready_is_accepted_and_then_lost(bench: Bench) -> None:
    bench.run(1.0)
    assert bench.result(176, 1, GUIDED) == 0
    assert modes(bench.heard)[-1] == GUIDED
    said = bench.run(2.0)
    assert modes(said)[-1] == 0
    assert "ArduPilot Ready" in bench.texts(said)
    assert not any("GUIDED" in text or "fail" in text for text in bench.texts(said))


def test_3_the_prearm_bit_is_true_too_early_in_stabilize(bench: Bench) -> None:
    bench.run(5.0)
    bench.every("SYS_STATUS", 4)
    bench.every("EKF_STATUS_REPORT", 4)

    def prearm() -> bool:
        return bool(
            [m for m in bench.heard if m.get_type() == "SYS_STATUS"][-1].onboard_control_sensors_health >> 28 & 1
        )

    def flags() -> int:
        return int([m for m in bench.heard if m.get_type() == "EKF_STATUS_REPORT"][-1].flags)

    bench.run(22.0 - bench.now)
    assert not prearm()
    bench.run(24.0 - bench.now)
    assert prearm() and flags() == 167
    assert bench.result(176, 1, GUIDED) == 0
    bench.run(1.5)
    assert not prearm()
    assert bench.result(400, 1) == 4
    assert "Arm: Need Position Estimate" in bench.texts(bench.run(0.1)) + bench.texts()
    bench.run(43.0 - bench.now)
    assert prearm() and flags() == 831
    assert bench.result(400, 1) == 0


def test_4_arming_is_acknowledged_before_the_armed_bit_shows(bench: Bench) -> None:
    bench.ready()
    bench.result(176, 1, GUIDED)
    bench.run(1.0 - bench.now % 1.0 + 0.95)  # just after a heartbeat
    said = bench.command(400, 1)
    assert [m.result for m in said if m.get_type() == "COMMAND_ACK"] == [0]
    assert "HEARTBEAT" not in names(said)
    began = bench.now
    said = bench.run_until(lambda: bench.heard[-1].get_type() == "HEARTBEAT" and bench.heard[-1].base_mode & 128, 2.0)
    assert 0.5 < bench.now - began <= 1.0


def test_5_armed_and_not_taken_off_it_disarms_after_ten_seconds(bench: Bench) -> None:
    bench.ready()
    bench.result(176, 1, GUIDED)
    began = bench.now
    assert bench.result(400, 1) == 0
    bench.run_until(lambda: not bench.autopilot.armed, 15.0)
    assert bench.now - began == pytest.approx(9.95, abs=0.1)
    bench.run(0.05)
    assert "Disarming motors" in bench.texts()


def test_6_upload_asks_with_mission_request_and_item_0_is_home(bench: Bench) -> None:
    bench.ready()
    items = [
        item(bench, 0, north=5000.0, z=77.0),
        item(bench, 1, north=30.0),
        item(bench, 2, 178, param1=1.0, param2=8.0),
    ]
    assert upload(bench, items) == 0
    requests = [m.seq for m in bench.heard if m.get_type() == "MISSION_REQUEST"]
    assert requests == [0, 1, 2] and "MISSION_REQUEST_INT" not in names(bench.heard)
    bench.every("MISSION_CURRENT", 10)
    bench.run(0.2)
    assert [m.total for m in bench.heard if m.get_type() == "MISSION_CURRENT"][-1] == 2
    stored = []
    for seq in range(3):
        bench.send(bench.words.MAVLink_mission_request_int_message(1, 1, seq, 0))
        stored.append(next(m for m in bench.run(0.05) if m.get_type() == "MISSION_ITEM_INT"))
    home = stored[0]
    assert (home.frame, home.x, home.y) == (0, 356812360, 1397671250)
    assert home.z == pytest.approx(10.0, abs=0.011)
    assert (stored[1].frame, stored[1].x, stored[1].z) == (3, items[1].x, 20.0)
    assert (stored[2].frame, stored[2].x, stored[2].z, stored[2].param2) == (0, 0, 0.0, 8.0)


BAD = [
    (2, {"frame": 1}), (2, {"frame": 4}), (2, {"frame": 8}), (2, {"frame": 99}), (3, {"command": 9999}),
    (3, {"command": 31010}), (5, {"command": 0}), (10, {"x": 950_000_000}), (11, {"y": 1_900_000_000}),
    (12, {"z": float("nan")}), (6, {"param1": float("nan")}),
    (0, {"param4": float("nan")}), (0, {"z": 40000.0}), (0, {"x": 0, "y": 0}),
    *((0, {"frame": frame}) for frame in (0, 2, 3, 5, 6, 10, 11)),
]  # fmt: skip


@pytest.mark.parametrize(("ack", "change"), BAD)
def test_7_each_bad_item_has_its_own_refusal(bench: Bench, ack: int, change: dict[str, Any]) -> None:
    bench.run(3.0)
    command = change.pop("command", 16) if "command" in change else 16
    assert upload(bench, [item(bench, 0), item(bench, 1, command, **change)]) == ack


def test_7b_a_lost_item_is_asked_for_each_second_and_given_up_after_eight(bench: Bench) -> None:
    bench.run(3.0)
    began = bench.now
    bench.send(bench.words.MAVLink_mission_count_message(1, 1, 3, 0))
    asked, acks = [], []
    while bench.now < began + 9.0:
        for m in bench.step():
            if m.get_type() == "MISSION_REQUEST":
                asked.append((round(bench.now - began, 1), m.seq))
            elif m.get_type() == "MISSION_ACK":
                acks.append((round(bench.now - began, 1), m.type))
    assert asked == [(float(t), 0) for t in range(8)]
    assert acks == [(8.0, 15)]
    assert "Mission upload timeout" in bench.texts()


def test_7c_a_failed_upload_leaves_a_mixed_mission(bench: Bench) -> None:
    bench.ready()
    old = [item(bench, 0)] + [item(bench, i, north=10.0 * i, z=11.0) for i in range(1, 5)]
    assert upload(bench, old) == 0
    new = [item(bench, 0), item(bench, 1, north=100.0, z=50.0), item(bench, 2, 9999), item(bench, 3, z=50.0)]
    assert upload(bench, new) == 3
    stored = bench.autopilot.missions
    assert stored.count == 4
    assert [i.z for i in stored.items] == [50.0, 11.0, 11.0]


def test_8_reached_is_told_before_the_point_and_for_do_items(bench: Bench) -> None:
    bench.flying(20.0)
    mission = [item(bench, 0), item(bench, 1, 178, param1=1.0, param2=8.0), item(bench, 2, north=60.0), item(bench, 3)]
    assert upload(bench, mission) == 0
    assert bench.result(176, 1, AUTO) == 0
    bench.run(0.1)
    reached = [m.seq for m in bench.heard if m.get_type() == "MISSION_ITEM_REACHED"]
    assert reached == [1]
    bench.run_until(lambda: any(m.get_type() == "MISSION_ITEM_REACHED" and m.seq == 2 for m in bench.heard), 30.0)
    left = 60.0 - float(bench.vehicle.state.pose.position[1])
    assert 0.2 < left < 3.0
    bench.every("MISSION_CURRENT", 10)
    bench.run(0.2)
    assert bench.heard[-1].seq == 3 or any(m.get_type() == "MISSION_CURRENT" and m.seq == 3 for m in bench.heard[-5:])


def test_9_the_ground_station_failsafe_does_not_return_by_itself() -> None:
    bench = Bench(parameters={"FS_GCS_ENABLE": 1})
    bench.beating = True
    bench.flying(20.0)
    bench.beating = False
    bench.heartbeat()
    began = bench.now
    bench.run_until(lambda: bench.autopilot.mode.number == RTL, 10.0)
    assert bench.now - began == pytest.approx(5.1, abs=0.15)
    for _ in range(6):
        bench.heartbeat(system=254)
        bench.run(0.5)
    assert bench.autopilot.failsafes.station_lost  # another station's heartbeats do not count
    for _ in range(6):
        bench.heartbeat()
        bench.run(0.5)
    assert not bench.autopilot.failsafes.station_lost
    assert bench.autopilot.mode.number == RTL
    assert {"GCS Failsafe", "GCS Failsafe Cleared"} <= set(bench.texts())
    assert bench.result(176, 1, GUIDED) == 0


def test_10_paused_physics_is_silence_without_a_fault() -> None:
    bench = Bench(parameters={"FS_GCS_ENABLE": 1})
    bench.heartbeat()
    bench.ready()
    bench.heartbeat()
    bench.autopilot.listen()
    before = bench.now
    for _ in range(1000):  # the simulation stands still, whatever the wall clock does
        bench.autopilot.listen()
        assert bench.channel.take() is None
    assert bench.now == before
    assert modes(bench.run(1.0)) == [0]


def test_11_what_is_refused_in_silence(bench: Bench) -> None:
    bench.ready()
    bench.result(176, 1, GUIDED)
    before = len(bench.texts())
    assert bench.result(22, 0, 0, 0, 0, 0, 0, 10.0) == 4  # take-off disarmed
    bench.send(bench.words.MAVLink_param_request_read_message(1, 1, b"NO_SUCH_PARAM", -1))
    bench.send(bench.words.MAVLink_param_set_message(1, 1, b"NO_SUCH_PARAM", 1.0, 9))
    bench.send(bench.words.MAVLink_mission_set_current_message(1, 1, 99))
    assert names(bench.run(0.9)) <= {"HEARTBEAT", "TIMESYNC"}
    assert bench.result(224, 99) == 2  # the command says what the message does not
    assert bench.command(400, 1, target=2) == []  # another vehicle
    assert len(bench.texts()) == before


def test_11b_a_guided_target_beyond_the_fence_is_ignored() -> None:
    bench = Bench(parameters={"FENCE_ENABLE": 1, "FENCE_RADIUS": 60})
    bench.flying(20.0)
    before, texts = bench.vehicle.state.pose.position, len(bench.texts())
    for north in (100.0, 30.0):
        bench.send(
            bench.words.MAVLink_set_position_target_local_ned_message(
                0, 1, 1, 1, 0b110111111000, north, 0, -20, 0, 0, 0, 0, 0, 0, 0, 0
            )
        )
        bench.run(14.0)
        moved = float(bench.vehicle.state.pose.position[1] - before[1])
        assert moved == pytest.approx(0.0 if north == 100.0 else 30.0, abs=0.5)
    assert len(bench.texts()) == texts


def test_12_a_dead_peer_gives_none_and_no_exception() -> None:
    from pymavlink import mavutil

    with Served20() as running:
        client = mavutil.mavlink_connection(f"tcp:127.0.0.1:{running.port}", autoreconnect=False)
        assert client.wait_heartbeat(timeout=20) is not None
    for _ in range(1000):  # what had been sent before it died
        client.recv_match(blocking=False)
    assert client.recv_match(type="HEARTBEAT", blocking=True, timeout=0.2) is None
    client.close()

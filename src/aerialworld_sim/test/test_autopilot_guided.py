"""GUIDED in the air and on the ground: every frame and mask, timeouts, speeds, the nose; positions by hand."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import Bench

POSITION, VELOCITY, POSITION_VELOCITY = 0b110111111000, 0b110111000111, 0b110111000000
YAW, YAW_RATE = 0b100111111000, 0b010111000111
LOCAL, OFFSET, BODY, BODY_OFFSET = 1, 7, 8, 9


@pytest.fixture(scope="module")
def hovering() -> Bench:
    return Bench().flying(20.0)


def local(
    bench: Bench,
    frame: int,
    mask: int,
    place: tuple[float, ...],
    speed: tuple[float, ...] = (0, 0, 0),
    yaw: float = 0,
    rate: float = 0,
) -> None:
    bench.send(
        bench.words.MAVLink_set_position_target_local_ned_message(
            0, 1, 1, frame, mask, *place, *speed, 0, 0, 0, yaw, rate
        )
    )


def on_earth(
    bench: Bench, frame: int, north: float, alt: float, mask: int = POSITION, speed: tuple[float, ...] = (0, 0, 0)
) -> None:
    lat = 356812360 + round(north / 110.9464 * 1000) * 10  # 110,946.4 m per degree of latitude at 35.68 N (WGS 84)
    bench.send(
        bench.words.MAVLink_set_position_target_global_int_message(
            0, 1, 1, frame, mask, lat, 1397671250, alt, *speed, 0, 0, 0, 0, 0
        )
    )


def ned(bench: Bench) -> Any:
    """North, east, height above home."""
    x, y, z = bench.autopilot.estimator.position - bench.autopilot.estimator.home
    return np.array([y, x, z])


def settle(bench: Bench, seconds: float = 16.0) -> Any:
    bench.run(seconds)
    return ned(bench)


def test_places_in_every_local_frame(hovering: Bench) -> None:
    bench = hovering
    local(bench, LOCAL, POSITION, (20, 10, -25))
    assert settle(bench) == pytest.approx([20, 10, 25], abs=0.2)
    local(bench, OFFSET, POSITION, (-5, 5, 3))
    assert settle(bench) == pytest.approx([15, 15, 22], abs=0.4)
    # Turn the nose east, then 10 m forward and 4 m to the right is 10 m east and 4 m south.
    before = ned(bench)
    local(bench, LOCAL, YAW, (*before[:2], -before[2]), yaw=math.pi / 2)
    settle(bench, 6.0)
    assert bench.vehicle.state.pose.yaw == pytest.approx(0.0, abs=0.03)
    for frame in (BODY, BODY_OFFSET):
        before = ned(bench)
        local(bench, frame, POSITION & ~0x400, (10, 4, -2), yaw=0.0)
        assert settle(bench) - before == pytest.approx([-4, 10, 2], abs=0.5)


def test_places_on_earth_in_every_frame(hovering: Bench) -> None:
    bench = hovering
    for frame, alt in ((0, 10.0 + 22.0), (5, 10.0 + 22.0), (3, 22.0), (6, 22.0), (10, 22.0), (11, 22.0)):
        on_earth(bench, frame, 15.0, alt + (0.25 if frame in (10, 11) else 0.0))
        got = settle(bench, 18.0)
        assert got == pytest.approx([15.0, 0.0, 22.0], abs=0.3), frame
        on_earth(bench, 6, 0.0, 20.0)
        settle(bench, 14.0)


def test_a_velocity_is_kept_for_three_seconds_and_then_ends(hovering: Bench) -> None:
    bench = hovering
    for _ in range(25):
        local(bench, LOCAL, VELOCITY, (0, 0, 0), (3, 0, 0))
        bench.run(0.2)
    assert bench.vehicle.state.linear_velocity == pytest.approx([0, 3, 0], abs=0.3)
    bench.run(2.5)
    assert float(bench.vehicle.state.linear_velocity[1]) == pytest.approx(3.0, abs=0.3)
    bench.run(4.0)
    assert np.linalg.norm(bench.vehicle.state.linear_velocity) < 0.2
    assert bench.autopilot.mode.name == "GUIDED"


def test_a_velocity_of_the_body_and_a_turn_rate(hovering: Bench) -> None:
    bench = hovering
    for _ in range(20):
        local(bench, BODY, 0b010111000111, (0, 0, 0), (2, 0, 0), rate=0.2)
        bench.run(0.2)
    state = bench.vehicle.state
    forward = float(state.linear_velocity @ np.array([math.cos(state.pose.yaw), math.sin(state.pose.yaw), 0]))
    assert forward == pytest.approx(2.0, abs=0.4)
    assert float(state.angular_velocity[2]) == pytest.approx(-0.2, abs=0.05)  # MAVLink turns clockwise
    bench.run(8.0)


def test_streamed_places_with_velocities_fly_a_circle(hovering: Bench) -> None:
    """40 m around a point at 6 m/s: the recorded radius of a real one is 40.7 ± 0.8."""
    bench = hovering
    radius, speed = 40.0, 6.0
    local(bench, LOCAL, POSITION, (radius, 0, -20))
    settle(bench, 25.0)
    seen = []
    for i in range(220):
        a = speed / radius * i * 0.2
        place = (radius * math.cos(a), radius * math.sin(a), -20)
        local(bench, LOCAL, POSITION_VELOCITY, place, (-speed * math.sin(a), speed * math.cos(a), 0))
        bench.run(0.2)
        seen.append(math.hypot(*ned(bench)[:2]))
    assert np.mean(seen[40:]) == pytest.approx(40.3, abs=1.0)
    before = ned(bench)
    bench.run(8.0)  # the stream has stopped: the point moves on for 3 s, as recorded (22 m)
    assert 14.0 < np.linalg.norm(ned(bench) - before) < 26.0


def test_a_place_moves_on_with_its_velocity_and_acceleration(hovering: Bench) -> None:
    """North of the place after t seconds: v t + a t² / 2, until the stream counts as lost after 3 s."""
    bench = hovering
    place = ned(bench)
    position = (float(place[0]), float(place[1]), -float(place[2]))
    bench.send(
        bench.words.MAVLink_set_position_target_local_ned_message(
            0, 1, 1, LOCAL, 0b110000000000, *position, 1.0, 0, 0, 0.5, 0, 0, 0, 0
        )
    )
    begin, guided = bench.autopilot.now, bench.autopilot.modes.guided
    bench.run(2.0)
    passed = bench.autopilot.now - begin
    moved = guided.target - (bench.autopilot.estimator.home + np.array([place[1], place[0], place[2]]))
    assert moved == pytest.approx([0.0, 1.0 * passed + 0.25 * passed**2, 0.0], abs=0.05)
    bench.run(3.0)
    stopped = guided.target
    bench.run(2.0)
    assert np.array_equal(guided.target, stopped)
    assert np.linalg.norm(ned(bench)[:2] - place[:2]) > 4.0


def test_a_place_on_earth_moves_on_with_its_velocity_alone(hovering: Bench) -> None:
    """ArduCopter takes accelerations with SET_POSITION_TARGET_LOCAL_NED and ignores them in the other message."""
    bench = hovering
    place = bench.autopilot.estimator.position
    lat, lon = bench.autopilot.earth.e7_of(place)
    bench.send(
        bench.words.MAVLink_set_position_target_global_int_message(
            0, 1, 1, 6, 0b110000000000, lat, lon, float(ned(bench)[2]), 1.0, 0, 0, 0.5, 0, 0, 0, 0
        )
    )
    begin, guided = bench.autopilot.now, bench.autopilot.modes.guided
    bench.run(2.0)
    moved = guided.target - place
    assert moved == pytest.approx([0.0, bench.autopilot.now - begin, 0.0], abs=0.05)
    bench.run(3.0)


def test_reposition_is_acknowledged_and_change_speed_and_yaw_act(hovering: Bench) -> None:
    bench = hovering
    words = bench.words

    def whole(number: int, *p: float, frame: int = 6, x: int = 0, y: int = 0, z: float = 0.0) -> int:
        before = len(bench.heard)
        bench.send(words.MAVLink_command_int_message(1, 1, frame, number, 0, 0, *p, x, y, z))
        bench.run(0.05)
        return next(int(m.result) for m in bench.heard[before:] if m.get_type() == "COMMAND_ACK")

    assert whole(192, -1, 0, 0, 0, x=356812360, y=1397671250, z=20.0) == 0
    settle(bench, 25.0)
    assert ned(bench) == pytest.approx([0, 0, 20], abs=0.3)
    assert bench.result(178, 1, 2.0) == 0
    assert whole(192, -1, 0, 0, 0, x=356812360 + 3605, y=1397671250, z=20.0) == 0  # 40 m north
    bench.run(10.0)
    assert float(bench.vehicle.state.linear_velocity[1]) == pytest.approx(2.0, abs=0.15)
    assert bench.result(178, 1, -3.0) == 4
    settle(bench, 20.0)
    assert bench.result(115, 90, 20, 1, 0) == 0
    bench.run(8.0)
    assert bench.vehicle.state.pose.yaw == pytest.approx(0.0, abs=0.05)
    assert bench.result(115, 45, 20, -1, 1) == 0
    bench.run(6.0)
    assert math.degrees(bench.vehicle.state.pose.yaw) == pytest.approx(45.0, abs=3.0)
    assert whole(192, -1, 0, 0, 0, frame=1, x=0, y=0, z=20.0) == 2


@pytest.mark.parametrize("mask", [0xFFFF, 0b110111111000 | 0x200])
def test_masks_without_sense_move_nothing(hovering: Bench, mask: int) -> None:
    bench = hovering
    before = ned(bench)
    local(bench, LOCAL, mask & ~0x1C0 if mask != 0xFFFF else mask, (50, 50, -50))
    assert settle(bench, 4.0) - before == pytest.approx([0, 0, 0], abs=0.3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e9])
def test_numbers_that_are_none_move_nothing(hovering: Bench, bad: float) -> None:
    bench = hovering
    before = ned(bench)
    local(bench, LOCAL, POSITION, (bad, 0, -20))
    local(bench, LOCAL, VELOCITY, (0, 0, 0), (bad, 0, 0))
    local(bench, LOCAL, YAW, (0, 0, -20), yaw=bad if bad != 1e9 else math.nan)
    assert settle(bench, 3.0) - before == pytest.approx([0, 0, 0], abs=0.3)


def test_setpoints_count_only_in_guided() -> None:
    bench = Bench().flying(20.0)
    assert bench.result(176, 1, 17) == 0
    before = ned(bench)
    local(bench, LOCAL, POSITION, (50, 0, -20))
    assert settle(bench, 3.0) - before == pytest.approx([0, 0, 0], abs=0.3)


def rover() -> Bench:
    bench = Bench("rover").ready()
    assert bench.result(176, 1, 15) == 0
    assert bench.result(400, 1) == 0
    return bench


def test_a_rover_goes_to_a_place_and_along_its_nose() -> None:
    bench = rover()
    local(bench, LOCAL, POSITION, (10, 10, 0))
    bench.run(15.0)
    assert math.dist(ned(bench)[:2], (10, 10)) < 3.1
    for _ in range(20):
        local(bench, BODY, 0b010111000111, (0, 0, 0), (2, 0, 0), rate=0.3)
        bench.run(0.2)
    assert np.linalg.norm(bench.vehicle.state.linear_velocity) == pytest.approx(2.0, abs=0.3)
    assert float(bench.vehicle.state.angular_velocity[2]) == pytest.approx(-0.3, abs=0.06)
    bench.run(2.7)
    assert "target not received last 3secs, stopping" not in bench.texts()
    bench.run(4.0)
    assert bench.texts().count("target not received last 3secs, stopping") == 1
    assert np.linalg.norm(bench.vehicle.state.linear_velocity) < 0.1
    # A velocity over ground turns the nose into it.
    for _ in range(30):
        local(bench, LOCAL, VELOCITY, (0, 0, 0), (-2, 0, 0))
        bench.run(0.2)
    assert float(bench.vehicle.state.linear_velocity[1]) == pytest.approx(-2.0, abs=0.4)

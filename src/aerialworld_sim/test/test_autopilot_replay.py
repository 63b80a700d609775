"""The recorded client of each exchange with a real ArduPilot, played to our endpoint: the same answers in one order.

Compared, each kind by itself and in order: every COMMAND_ACK (command, result), every heartbeat's change of mode, of
arming and of system status, every STATUSTEXT (severity and text), every MISSION_ACK, MISSION_REQUEST, MISSION_COUNT and
downloaded item, every MISSION_ITEM_REACHED, the value and type of every parameter that was read or set, unasked and
requested home, origin and version messages, and the steps of MISSION_CURRENT while in AUTO. Not compared: the order
between kinds, times (flights have tests of their own), measured numbers in texts, and what the link lost before the
recorded client listened.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from autopilot_recordings import load, play, told

SHORT = [("copter_early", "drone"), ("copter_arm_autodisarm", "drone"), ("copter_mission_errors", "drone")]
SHORT += [("copter_failsafe", "drone"), ("rover_failsafe", "rover")]
LONG = [("copter_main", "drone"), ("rover_main", "rover")]
LONG += [("full_arducopter_udp_7", "drone"), ("full_ardurover_udp_11", "rover")]
#: Kinds that a recording made without a log does not hold completely.
NOT_IN_EVENTS = ("ONCE",)
#: The two lines about the satellite receiver come between others at a time that is not the client's.
UNRELATED = ("GPS 1: probing", "GPS 1: detected")


@pytest.mark.parametrize(("name", "kind"), SHORT)
def test_a_recorded_client_is_answered_as_it_was(name: str, kind: str) -> None:
    _compare(name, kind)


@pytest.mark.long
@pytest.mark.parametrize(("name", "kind"), LONG)
def test_a_recorded_mission_is_answered_as_it_was(name: str, kind: str) -> None:
    _compare(name, kind)


def _compare(name: str, kind: str) -> None:
    recording = load(name)
    _, ours = play(recording, kind)
    real = recording.told
    for what in sorted(set(real) | set(ours)):
        if what in NOT_IN_EVENTS and name.endswith("_main"):
            continue
        expected, found = _comparable(what, real.get(what, []), name), _comparable(what, ours.get(what, []), name)
        assert found[: len(expected)] == expected, what
        # What the endpoint still says while the client has stopped listening is not held against it.
        extra = found[len(expected) :]
        assert not extra or what == "CURRENT", (what, extra)


def _comparable(what: str, values: list[Any], name: str) -> list[Any]:
    if what == "CURRENT":
        return _steps([v for v in values if v[3] == 1])
    if what != "TEXT":
        return values
    heard = [v for v in values if not v[1].startswith(UNRELATED)]
    if "_udp_" in name:  # the first lines were sent before the client's socket was there
        first = next(i for i, v in enumerate(heard) if v[1].startswith("Barometer 1"))
        heard = [v for v in heard[first:] if not v[1].startswith("ArduCopter V") and not v[1].startswith("Frame")]
    return _steps(heard)


def _steps(values: list[Any]) -> list[Any]:
    """Without immediate repetitions. Of "Auto mission changed" with the line before it, which are said each time that a
    mission in flight is found changed, one of a row is kept: how often that is during an upload is the link's
    timing."""
    kept: list[Any] = []
    for value in values:
        if value in kept[-2:] and any("Auto mission changed" in str(v) for v in (value, *kept[-1:])):
            continue
        if not kept or value != kept[-1]:
            kept.append(value)
    return kept


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "kind", "mean", "most"),
    [("full_arducopter_udp_7", "drone", 0.5, 1.3), ("full_ardurover_udp_11", "rover", 0.7, 2.0)],
)
def test_a_recorded_mission_is_flown_where_and_when_it_was(name: str, kind: str, mean: float, most: float) -> None:
    """Each item is reached within 2.5 s of the recorded time, and between them the track is the recorded one: metres
    apart in the mean and at most, aligned at the items that were reached."""
    real, real_start, real_reached = _flight(told(name))
    bench, _ = play(load(name), kind)
    ours, start, reached = _flight(bench.heard)
    items = sorted(real_reached)
    assert sorted(reached) == items
    recorded = np.array([real_reached[i] - real_start for i in items])
    flown = np.array([reached[i] - start for i in items])
    assert np.abs(flown - recorded).max() < 2.5
    moments = real[(real[:, 0] > real_start + 1.0) & (real[:, 0] < real_reached[items[-1]])]
    aligned = np.interp(moments[:, 0] - real_start, np.append(0.0, recorded), np.append(0.0, flown)) + start
    places = np.stack([np.interp(aligned, ours[:, 0], ours[:, i]) for i in (1, 2, 3)], axis=1)
    apart = np.linalg.norm(places - moments[:, 1:], axis=1)
    assert apart.mean() < mean
    assert apart.max() < most


def _flight(messages: list[Any]) -> tuple[Any, float, dict[int, float]]:
    """Track (N, 4) of seconds, north, east, down; when the mission was started; when each item was reached."""
    track, reached, began, now = [], {}, 0.0, 0.0
    for message in messages:
        name = message.get_type()
        if name == "LOCAL_POSITION_NED":
            now = message.time_boot_ms / 1000.0
            track.append((now, message.x, message.y, message.z))
        elif name == "MISSION_ITEM_REACHED":
            reached[message.seq] = now
        elif name == "COMMAND_ACK" and message.command == 300:
            began = now
    return np.array(track), began, reached

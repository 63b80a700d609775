"""Which messages make a frame: known flights in, every frame with its own messages and true states out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, quaternion_from_rotation, rotation_from_rpy
from aerialworld_recorder.stream.channels import SENSORS, vehicle_channels
from aerialworld_recorder.stream.messages import ContentError, Message, Odometry
from aerialworld_recorder.stream.synchroniser import Bad, Bundle, Dropped, Restart, Synchroniser, Timing
from aerialworld_recorder.stream.tracks import POSITIONS, PoseTrack, slerp

sys.path.insert(0, str(Path(__file__).parent))
from recorder_stream_messages import HEIGHT, MS, SPEED, channels, flight, payload, small_rig

TIMING = Timing(500 * MS, 50 * MS)
SENSOR_TOPICS = [c.topic for c in channels() if c.kind in SENSORS]
CAMERA = "/drone_1/camera/cam_front/image/compressed"


def feed(messages, timing=TIMING, finish=True, check=lambda channel, message: None):
    synchroniser = Synchroniser(channels(), timing, check)
    events = [event for message in messages for event in synchroniser.put(message)]
    return synchroniser, events + (synchroniser.finish() if finish else [])


def assert_true(bundle: Bundle, stamp_ns: int) -> None:
    """All sensors' messages of the stamp, and the state and samples there."""
    assert bundle.stamp_ns == stamp_ns
    assert {c.topic: m.stamp_ns for c, m in bundle.messages.items()} == dict.fromkeys(SENSOR_TOPICS, stamp_ns)
    t = stamp_ns * 1e-9
    along = np.array([np.cos(0.5), np.sin(0.5), 0])
    assert np.allclose(bundle.state.pose.position, SPEED * t * along + [0, 0, HEIGHT], atol=1e-9)
    assert np.allclose(bundle.state.linear_velocity, SPEED * along, atol=1e-9)
    assert np.isclose(bundle.state.pose.yaw, 0.5, atol=1e-9)
    expected = np.arange(max(stamp_ns - 500 * MS, -1) // (10 * MS) + 1, stamp_ns // (10 * MS) + 1) * 0.01
    assert np.allclose(bundle.imu[:, 0], expected, atol=1e-9)


def test_a_whole_flight_becomes_its_frames():
    synchroniser, events = feed(flight(2000 * MS))
    assert [e.index for e in events] == [0, 1, 2, 3, 4]
    for event in events:
        assert_true(event, event.index * 500 * MS)
    counts = synchroniser.counts
    assert all(counts[t].received == 21 and counts[t].used == 5 and counts[t].off_tick == 16 for t in SENSOR_TOPICS)


def test_frames_are_known_as_soon_as_their_last_message_comes():
    """An engine in lockstep waits: nothing after the tick may be needed."""
    _, events = feed(flight(500 * MS), finish=False)
    assert [e.index for e in events] == [0, 1]


def test_a_frame_without_a_camera_is_dropped_and_told_and_the_next_is_whole():
    messages = [m for m in flight(3500 * MS) if not (m.topic == CAMERA and 900 * MS < m.stamp_ns < 1600 * MS)]
    synchroniser, events = feed(messages)
    assert [e.index for e in events if isinstance(e, Bundle)] == [0, 1, 4, 5, 6, 7]
    dropped = [e for e in events if isinstance(e, Dropped)]
    assert [(d.index, d.missing) for d in dropped] == [(2, ("camera cam_front",)), (3, ("camera cam_front",))]
    assert synchroniser.counts[CAMERA].missing == 2


@pytest.mark.parametrize("patience_ms", [200, 1000])
def test_a_camera_that_stops_drops_every_frame_after_patience(patience_ms):
    messages = [m for m in flight(4000 * MS) if not (m.topic == CAMERA and m.stamp_ns > 1200 * MS)]
    _, events = feed(messages, Timing(500 * MS, 50 * MS, patience_ms * MS), finish=False)
    assert [e.index for e in events if isinstance(e, Bundle)] == [0, 1, 2]
    last = (4000 - patience_ms - 50 - 1) // 500
    assert [e.index for e in events if isinstance(e, Dropped)] == list(range(3, last + 1))


def test_ticks_of_which_nothing_came_are_counted_in_one():
    messages = [m for m in flight(5000 * MS) if not 900 * MS < m.stamp_ns < 3400 * MS]
    _, events = feed(messages)
    (dropped,) = [e for e in events if isinstance(e, Dropped)]
    assert (dropped.index, dropped.ticks) == (2, 5) and "odometry" in dropped.missing and "lidar" in dropped.missing
    assert [e.index for e in events if isinstance(e, Bundle)] == [0, 1, 7, 8, 9, 10]


def test_topics_that_are_found_late_begin_the_frames_late():
    messages = [m for m in flight(3000 * MS) if m.topic != CAMERA or m.stamp_ns >= 1100 * MS]
    synchroniser, events = feed(messages)
    assert [(e.index, e.stamp_ns) for e in events] == [(0, 1500 * MS), (1, 2000 * MS), (2, 2500 * MS), (3, 3000 * MS)]
    assert synchroniser.skipped == 3


def test_a_reset_begins_a_new_session_whatever_comes_first():
    before, after = flight(1700 * MS), flight(1000 * MS)
    _, events = feed([*before, *after])
    kinds = [(type(e).__name__, getattr(e, "index", None)) for e in events]
    frames = [("Bundle", 0), ("Bundle", 1), ("Bundle", 2), ("Bundle", 3)]
    assert kinds == [*frames, ("Restart", None), ("Bundle", 0), ("Bundle", 1), ("Bundle", 2)]
    restart = next(e for e in events if isinstance(e, Restart))
    assert (restart.before_ns, restart.stamp_ns) == (1700 * MS, 0)
    for event in events[5:]:
        assert_true(event, event.index * 500 * MS)


def test_messages_on_their_way_during_a_reset_do_not_reach_the_new_session():
    """Some topics still bring the old time when most are in the new one."""
    before, after = flight(1700 * MS), flight(1000 * MS)
    late = [m for m in before if m.topic == CAMERA and m.stamp_ns > 1000 * MS]
    before = [m for m in before if m not in late]
    _, events = feed([*before, *[m for m in after if m.stamp_ns < 300 * MS and m.topic != CAMERA], *late, *[
        m for m in after if m.stamp_ns >= 300 * MS or m.topic == CAMERA
    ]])  # fmt: skip
    bundles = [e for e in events if isinstance(e, Bundle)]
    new = [e for e in events[[isinstance(e, Restart) for e in events].index(True) :] if isinstance(e, Bundle)]
    assert len(new) == 3 and len(bundles) >= 5
    for event in new:
        assert_true(event, event.stamp_ns)


def test_what_was_out_of_order_before_a_reset_is_not_of_the_new_session():
    """Odometry and IMU samples that overtook each other at the end: with them the new session's time would begin at
    the old one's end, and its first frame be overdue at once."""
    last = [m for m in flight(1200 * MS) if m.stamp_ns in (1180 * MS, 1190 * MS, 1200 * MS)]
    swapped = [m for m in flight(1200 * MS) if m.stamp_ns < 1180 * MS] + last[::-1]
    _, events = feed([*swapped, *flight(1000 * MS)])
    (restart,) = [e for e in events if isinstance(e, Restart)]
    assert restart.stamp_ns == 0
    after = [e for e in events[events.index(restart) :] if isinstance(e, Bundle)]
    assert [(b.index, b.stamp_ns) for b in after] == [(0, 0), (1, 500 * MS), (2, 1000 * MS)]


def test_single_messages_from_the_past_or_the_future_change_nothing():
    messages = flight(3000 * MS)
    front = next(c for c in channels() if c.topic == CAMERA)
    nonsense = [Message.of(CAMERA, s, payload(front, 0)) for s in (0, 900_000_000 * MS, 10 * MS, 300 * MS)]
    where = len(messages) // 2
    _, events = feed([*messages[:where], *nonsense, *messages[where:]])
    bundles = [e for e in events if isinstance(e, Bundle)]
    assert not any(isinstance(e, Restart) for e in events) and [b.index for b in bundles] == list(range(7))
    for bundle in bundles:
        assert_true(bundle, bundle.index * 500 * MS)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_frames_do_not_depend_on_order_within_a_tenth_of_a_second(data):
    """Messages delayed by up to 100 ms, some sent twice, topics interleaved in any way: the same frames."""
    messages = flight(1700 * MS)
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    messages += [m for m in messages if rng.random() < 0.05]
    keys = [m.stamp_ns + rng.integers(0, 100 * MS) for m in messages]
    shuffled = [messages[i] for i in np.argsort(keys, kind="stable")]
    _, events = feed(shuffled)
    bundles = [e for e in events if isinstance(e, Bundle)]
    assert not [e for e in events if isinstance(e, Dropped | Restart)]
    assert [b.stamp_ns for b in bundles] == [i * 500 * MS for i in range(4)]
    for bundle in bundles:
        assert_true(bundle, bundle.stamp_ns)


@given(st.sets(st.integers(0, 20_000), max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_whatever_is_lost_no_frame_is_filled_in(lost, seed):
    """Any messages may be lost: every frame has one message per sensor within the tolerance, every other tick between
    the first frame and the last is told as dropped."""
    messages = flight(2600 * MS)
    kept = [m for i, m in enumerate(messages) if (i * 7919) % 20_011 not in lost]
    rng = np.random.default_rng(seed)
    kept = [m for m in kept if m.topic not in SENSOR_TOPICS or rng.random() > 0.02]
    _, events = feed(kept)
    told = []
    for event in events:
        if isinstance(event, Bundle):
            assert {c.topic for c in event.messages} == set(SENSOR_TOPICS)
            assert all(abs(m.stamp_ns - event.stamp_ns) <= 50 * MS for m in event.messages.values())
            told.append(event.index)
        else:
            assert isinstance(event, Dropped)
            told += range(event.index, event.index + event.ticks)
    assert told == list(range(len(told)))


def test_sensors_off_the_tick_are_taken_within_the_tolerance_and_the_skew_is_told():
    """A LiDAR 30 ms late is near enough, 60 ms late is not; the nearest of two is taken."""
    lidar = "/drone_1/lidar/points"

    def shifted(by: int):
        return [Message(m.topic, m.stamp_ns + (by if m.topic == lidar else 0), m.load) for m in flight(2000 * MS)]

    _, events = feed(shifted(30 * MS))
    bundles = [e for e in events if isinstance(e, Bundle)]
    assert len(bundles) == 5 and {b.skew_ns for b in bundles} == {30 * MS}
    _, events = feed(shifted(-40 * MS), Timing(500 * MS, 50 * MS))
    assert {m.stamp_ns - b.stamp_ns for b in events for c, m in b.messages.items() if c.topic == lidar} == {-40 * MS}
    wide = [m for m in shifted(60 * MS) if m.topic != lidar or m.stamp_ns % (500 * MS) == 60 * MS]
    assert not [e for e in feed(wide)[1] if isinstance(e, Bundle)]


def test_stamps_of_a_real_vehicle_set_the_phase():
    begin = 1_700_000_000_123 * MS
    messages = [Message(m.topic, m.stamp_ns + begin, m.load) for m in flight(1200 * MS)]
    _, events = feed(messages, Timing(500 * MS, 50 * MS, phase_ns=None))
    assert [e.stamp_ns - begin for e in events if isinstance(e, Bundle)] == [0, 500 * MS, 1000 * MS]


def test_messages_that_cannot_be_used_are_told_with_topic_and_stamp():
    def check(channel, message):
        if channel.topic == CAMERA and message.stamp_ns == 500 * MS:
            raise ContentError("it is green")

    synchroniser, events = feed(flight(2000 * MS), check=check)
    (bad,) = [e for e in events if isinstance(e, Bad)]
    assert str(bad) == f"{CAMERA} at 0.500000000 s: it is green"
    assert [e.index for e in events if isinstance(e, Bundle)] == [0, 2, 3, 4]
    assert [e.missing for e in events if isinstance(e, Dropped)] == [("camera cam_front",)]
    assert synchroniser.counts[CAMERA].bad == 1
    nowhere = Odometry("map", "b", (np.nan, 0, 0), (0, 0, 0, 1), (0, 0, 0), (0, 0, 0))
    turned = Odometry("map", "b", (0, 0, 0), (0, 0, 0, 0), (0, 0, 0), (0, 0, 0))
    for stamp, odometry, reason in ((2020 * MS, nowhere, "finite"), (2040 * MS, turned, "must be 1")):
        (bad,) = synchroniser.put(Message.of("/drone_1/odom", stamp, odometry))
        assert reason in bad.reason


def test_what_is_given_up_is_not_waited_for_until_it_is_heard():
    """Time that stands for a camera (an engine in lockstep) goes on without it; heard again, it is waited for again."""
    synchroniser = Synchroniser(channels(), TIMING)
    events = []
    for m in flight(1000 * MS):
        if m.topic != CAMERA or m.stamp_ns < 1000 * MS:
            events += synchroniser.put(m)
    assert [e.index for e in events] == [0, 1]
    assert [e.missing for e in synchroniser.expire()] == [("camera cam_front",)] and synchroniser.gone == {CAMERA}
    events = []
    for m in flight(1500 * MS, 1010 * MS):
        events += synchroniser.put(m) if m.topic != CAMERA else []
    assert [(e.index, e.missing) for e in events] == [(3, ("camera cam_front",))]
    events = [e for m in flight(2000 * MS, 1510 * MS) for e in synchroniser.put(m)]
    assert [type(e) for e in events] == [Bundle] and not synchroniser.gone


def test_memory_stays_small_when_frames_cannot_be_made():
    """Sensors that never come must not let odometry and samples pile up."""
    synchroniser = Synchroniser(channels(), TIMING)
    for m in flight(20_000 * MS):
        if m.topic not in SENSOR_TOPICS:
            assert synchroniser.put(m) == []
    assert len(synchroniser._poses._stamps) < 200 and len(synchroniser._imu._stamps) < 400


@given(st.floats(-3, 3), st.floats(-1.5, 1.5), st.floats(-3, 3), st.floats(0.0, 1.0), st.floats(0.0, 3.1))
@settings(max_examples=100, deadline=None)
def test_slerp_turns_evenly_about_one_axis(roll, pitch, yaw, share, angle):
    a = quaternion_from_rotation(rotation_from_rpy(roll, pitch, yaw))
    turn = rotation_from_rpy(0.0, 0.0, angle)
    b = quaternion_from_rotation(rotation_from_rpy(roll, pitch, yaw) @ turn)
    expected = rotation_from_rpy(roll, pitch, yaw) @ rotation_from_rpy(0.0, 0.0, share * angle)
    for sign in (1.0, -1.0):
        assert np.allclose(Pose(np.zeros(3), slerp(a, sign * b, share)).rotation, expected, atol=1e-9)


def odometry(t: float, twist: float) -> Odometry:
    """A circle of 10 m, once in 20 s, heading along it; `twist` times the true speed."""
    a = 2 * np.pi * t / 20
    q = quaternion_from_rotation(rotation_from_rpy(0, 0, a + np.pi / 2))
    return Odometry(
        "map", "b", (10 * np.cos(a), 10 * np.sin(a), 5.0), tuple(q), (twist * np.pi, 0, 0), (0, 0, 2 * np.pi / 20)
    )


def test_poses_between_odometry_are_within_a_millimetre_and_velocities_in_map():
    track, by_positions = PoseTrack(), PoseTrack(POSITIONS)
    for i in range(51):
        track.add(i * 20 * MS, odometry(i * 0.02, 1.0))
        by_positions.add(i * 20 * MS, odometry(i * 0.02, 0.5))  # a source that smooths its twist
    for stamp in (100 * MS, 110 * MS, 333 * MS, 507 * MS):
        t, a = stamp * 1e-9, 2 * np.pi * stamp * 1e-9 / 20
        truth = odometry(t, 1.0)
        velocity = np.pi * np.array([-np.sin(a), np.cos(a), 0])
        for state, slack in ((track.at(stamp), 1e-3), (by_positions.at(stamp), 0.05)):
            assert np.allclose(state.pose.position, truth.position, atol=1e-3)
            assert np.allclose(state.pose.orientation, truth.orientation, atol=1e-6)
            assert np.allclose(state.linear_velocity, velocity, atol=slack)


def test_a_pose_is_never_guessed():
    track = PoseTrack(max_gap_ns=100 * MS)
    track.add(0, odometry(0, 1))
    track.add(500 * MS, odometry(0.5, 1))
    assert track.at(250 * MS) is None and track.at(600 * MS) is None and track.at(500 * MS) is not None
    assert track.covers(500 * MS) and not track.covers(501 * MS)


def test_channels_are_those_of_the_rig_and_can_be_renamed():
    rig = small_rig()
    renamed = vehicle_channels("v", rig, renamed={"camera/cam_front": "/axis/image", "odom": "/vio"})
    assert {(c.topic, c.kind) for c in renamed if c.sensor == "cam_front" and c.kind != "camera_info"} == {
        ("/axis/image", "image")
    }
    assert next(c for c in renamed if c.kind == "odom").topic == "/vio"
    with pytest.raises(InputError, match="camera/cam_up"):
        vehicle_channels("v", rig, renamed={"camera/cam_up": "/x"})
    with pytest.raises(InputError, match="tolerance"):
        Timing(100 * MS, 60 * MS)

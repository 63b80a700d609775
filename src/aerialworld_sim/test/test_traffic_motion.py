"""Traffic on roads of known shape: who is where, how fast, on which side, and that it is a function of time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from traffic_checks import heights_above_ground, least_gap, off_ground, tops
from traffic_worlds import crossroads, plain

from aerialworld_core.errors import InputError
from aerialworld_sim import Engine, Static, Vehicle
from aerialworld_sim.traffic import Traffic, TrafficOptions
from aerialworld_sim.traffic.kinds import BY_NAME

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def crossing():
    return crossroads()


@pytest.fixture(scope="module")
def traffic(crossing):
    return Traffic(crossing, TrafficOptions(cars=16, pedestrians=24, parked=0.25, emergencies=40, seed=4))


def moving(traffic):
    return np.array([m.parked is None for m in traffic.members])


def noses(shot):
    """(N, 3) where the bodies' x axes point."""
    x, y, z, w = shot.orientation.T
    return np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=1)


def shots(traffic, seconds, rate=10):
    return [traffic.snapshot(k * SECOND // rate) for k in range(seconds * rate)]


def test_no_two_overlap_at_any_time_and_nobody_leaves_the_ground(crossing, traffic):
    for k in range(0, 900):
        assert least_gap(traffic, k * SECOND // 5 + 37_000_000) > 0.0
    for k in range(0, 180, 3):
        assert off_ground(crossing, traffic, k * SECOND) == []
        assert np.abs(heights_above_ground(crossing, traffic, k * SECOND)).max() < 0.06


def test_vehicles_drive_on_carriageways_and_pedestrians_walk_on_sidewalks_or_along_roads(crossing, traffic):
    drives = np.array([m.name.startswith("car") for m in traffic.members])
    walks = np.array([m.name.startswith("pedestrian") for m in traffic.members])
    on_sidewalk = 0
    for k in range(0, 180, 6):
        label = tops(crossing, traffic.snapshot(k * SECOND).position[:, :2])
        assert (label[drives] == 11).all()
        assert np.isin(label[walks], (11, 13)).all()
        on_sidewalk += int((label[walks] == 13).sum())
    assert on_sidewalk > 100


def test_traffic_keeps_left(traffic):
    """On the road along x, whoever drives east is in the northern half, whoever drives west in the southern."""
    drives = np.array([m.name.startswith("car") for m in traffic.members])
    seen = 0
    for shot in shots(traffic, 120, 1):
        p, v = shot.position[drives], shot.linear_velocity[drives]
        along = (np.abs(p[:, 0]) > 30) & (np.abs(p[:, 0]) < 90) & (np.abs(p[:, 1]) < 7) & (np.abs(v[:, 0]) > 2)
        assert (np.sign(p[along, 1]) == np.sign(v[along, 0])).all()
        seen += int(along.sum())
    assert seen > 50


def test_speeds_are_the_derivatives_of_positions_and_stay_plausible(traffic):
    run = shots(traffic, 180)
    position = np.stack([s.position for s in run])
    velocity = np.stack([s.linear_velocity for s in run])
    change = np.linalg.norm(np.diff(position, axis=0) / 0.1 - 0.5 * (velocity[1:] + velocity[:-1]), axis=2)
    assert np.percentile(change, 99) < 0.05 and change.max() < 0.5
    speed = np.linalg.norm(velocity, axis=2)
    fastest = np.array([m.kind.speed[1] for m in traffic.members])
    assert (speed < 1.3 * fastest).all()  # a long body's middle is faster than its rear axle in a bend
    step = np.linalg.norm(np.diff(position, axis=0), axis=2)
    assert (step <= 0.1 * np.maximum(speed[1:], speed[:-1]) + 0.05).all()  # nothing jumps
    along = np.diff(np.stack([traffic.simulation.log(k)[1] for k in range(1800)]), axis=0) / 0.1
    assert along.min() > -7.01 and along.max() < 2.5
    mean = speed[:, moving(traffic)].mean(axis=0)
    assert (mean > 0.2).mean() > 0.95  # it flows
    assert (speed[:, ~moving(traffic)] == 0).all()


def test_headings_are_those_of_the_motion_but_in_reverse(traffic):
    for shot in shots(traffic, 60, 2):
        heading = noses(shot)[:, :2]
        flat = shot.linear_velocity[:, :2]
        fast = np.linalg.norm(flat, axis=1) > 2.0
        assert ((heading[fast] * flat[fast]).sum(axis=1) > 0.8 * np.linalg.norm(flat[fast], axis=1)).all()


def test_some_brake_hard_and_come_to_a_stop(traffic):
    speed = np.stack([traffic.simulation.log(k)[1] for k in range(1800)])
    hard = np.diff(speed, axis=0) / 0.1 < -5.5
    assert hard.any()
    k, i = np.argwhere(hard)[0]
    stopped = np.flatnonzero(speed[k:, i] == 0.0)
    assert len(stopped) and stopped[0] < 30
    assert (speed[k + stopped[0] : k + stopped[0] + 20, i] == 0.0).all()  # the shock takes a while


def test_a_state_does_not_depend_on_what_was_asked_before(crossing):
    options = TrafficOptions(cars=8, pedestrians=8, seed=9)
    stamps = [7 * SECOND + 123_456_789, 0, 40 * SECOND, 7 * SECOND + 123_456_789, 3 * SECOND]
    one, two = Traffic(crossing, options), Traffic(crossing, options)
    first = {stamp: one.snapshot(stamp).position.copy() for stamp in stamps}
    for stamp in sorted(stamps, reverse=True):
        assert np.array_equal(two.snapshot(stamp).position, first[stamp])


def test_the_same_seed_gives_the_same_traffic_and_another_seed_another(crossing):
    def run(seed):
        made = Traffic(crossing, TrafficOptions(cars=8, pedestrians=8, seed=seed))
        return [m.kind.name for m in made.members], made.snapshot(30 * SECOND)

    (kinds, one), (same, two), (_, three) = run(1), run(1), run(2)
    assert kinds == same and np.array_equal(one.position, two.position)
    assert np.array_equal(one.orientation, two.orientation)
    assert not np.allclose(one.position, three.position)


def test_motion_between_steps_is_exact(traffic):
    """Within a step of a tenth of a second accelerations are constant."""
    (s0, v0), (s1, v1) = traffic.simulation.log(55), traffic.simulation.log(56)
    assert np.allclose(s1 - s0, 0.05 * (v0 + v1), atol=1e-12)
    i = int(np.argmax(v0))
    a, b, c = (traffic.snapshot(5_500_000_000 + t).position[i] for t in (0, 50_000_000, 100_000_000))
    assert np.linalg.norm(c - a) == pytest.approx(s1[i] - s0[i], rel=2e-3)
    assert np.linalg.norm(b - a) == pytest.approx(0.05 * v0[i] + 0.125 * 0.01 * (v1[i] - v0[i]) / 0.1, rel=5e-3)


def test_vehicles_stand_along_a_slope():
    world = plain((-120, -8, 120, 8), slope=0.06)
    made = Traffic(world, TrafficOptions(cars=6, parked=0.0, seed=2))
    rises = []
    for shot in shots(made, 60, 1):
        nose = noses(shot)
        straight = np.abs(nose[:, 0]) > 0.99
        rises += (nose[straight, 2] / nose[straight, 0]).tolist()
        assert np.abs(heights_above_ground(world, made, shot.stamp_ns)).max() < 0.05
        assert np.allclose(shot.linear_velocity[straight, 2], 0.06 * shot.linear_velocity[straight, 0], atol=0.02)
    assert np.allclose(rises, 0.06, atol=0.003) and len(rises) > 100


def test_dead_ends_are_turned_in():
    """One straight road: whoever goes east comes back west, again and again."""
    made = Traffic(plain((-100, -9, 100, 9)), TrafficOptions(cars=3, parked=0.0, emergencies=0, seed=1))
    x = np.stack([s.position[:, 0] for s in shots(made, 240, 2)])
    assert (x.max(axis=0) > 50).all() and (x.min(axis=0) < -50).all()


def test_narrow_dead_ends_are_turned_in_by_reversing():
    made = Traffic(plain((-100, -5.4, 100, 5.4)), TrafficOptions(cars=2, parked=0.0, emergencies=0, seed=1))
    reversing = 0
    for shot in shots(made, 200, 4):
        heading = noses(shot)[:, :2]
        reversing += int(((heading * shot.linear_velocity[:, :2]).sum(axis=1) < -0.2).sum())
    assert reversing > 3


def test_parked_cars_stand_clear_of_the_lanes_and_never_move(traffic):
    still = ~moving(traffic)
    assert still.sum() == 4
    first, last = traffic.snapshot(0).position[still], traffic.snapshot(100 * SECOND).position[still]
    assert np.array_equal(first, last)


@pytest.mark.long
def test_a_world_without_roads_gets_patrols_on_open_ground():
    world = plain(houses=[(-10, -10, 10, 10)])
    made = Traffic(world, TrafficOptions(cars=6, pedestrians=4, parked=0.0, seed=3))
    assert made.network.made_up
    for k in range(0, 60, 5):
        assert off_ground(world, made, k * SECOND) == [] and least_gap(made, k * SECOND) > 0


def test_what_cannot_be_is_refused_with_a_way_out(crossing):
    with pytest.raises(InputError, match=r"there is room for about .*; ask for fewer"):
        Traffic(crossing, TrafficOptions(cars=900, parked=0.0))
    with pytest.raises(InputError, match=r"has no roads.*--modules bldg,tran,dem"):
        Traffic(plain(half=25.0), TrafficOptions(cars=1))
    with pytest.raises(InputError, match="begins at stamp 0"):
        Traffic(crossing, TrafficOptions(cars=1, parked=0.0)).snapshot(-1)


def test_bodies_have_the_sizes_and_classes_that_are_written_to_sessions(traffic):
    classes = {
        "sedan": 4,
        "kei": 4,
        "van": 4,
        "bus": 3,
        "truck": 10,
        "motorcycle": 6,
        "bicycle": 2,
        "adult": 7,
        "child": 7,
    }
    for member, actor in zip(traffic.members, traffic.actors, strict=True):
        record = actor.record(actor.motion.state(5 * SECOND))
        assert record["class"] == classes[member.kind.name]
        assert np.allclose(record["size"], member.kind.size, atol=1e-5)
        low, high = actor.body.bounds
        assert np.allclose(low + high, [0, 0, member.kind.size[2]], atol=1e-5) and abs(low[2]) < 1e-6


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_bodies_are_closed_and_face_outward(name):
    from aerialworld_sim.traffic.meshes import body

    kind = BY_NAME[name]
    scene = body(kind, kind.colours[0])
    t = scene.triangles.astype(float)
    volume = np.einsum("ij,ij->i", t[:, 0], np.cross(t[:, 1], t[:, 2])).sum() / 6
    assert 0.1 * np.prod(kind.size) < volume < 1.02 * np.prod(kind.size)
    edges = {}
    for triangle in np.round(t, 5):
        for a, b in ((0, 1), (1, 2), (2, 0)):
            key = (tuple(triangle[a]), tuple(triangle[b]))
            edges[key] = edges.get(key, 0) + 1
    assert all(edges.get((b, a), 0) == count for (a, b), count in edges.items())


def test_the_engine_shows_the_traffic_where_its_boxes_are(crossing, traffic, cube):
    """From above a crossing: every actor's pixels lie in its own box, of its class and instance, and all that are near
    the middle of the picture are seen."""
    from aerialworld_core.frames import Pose
    from aerialworld_core.rig import Rig

    rig = Rig("cube", (), cube(500))
    eye = np.array([0.0, 0.0, 60.0])
    engine = Engine(crossing, {"drone_1": Vehicle(rig, Static(Pose.from_rpy(*eye)))}, actors=traffic.actors)
    engine.step(12 * SECOND)
    frame = engine.render("drone_1", modalities=["depth", "truth"])
    depth, label, instance = frame.depth["down"], frame.semantic["down"], frame.instance["down"]
    row, column = np.nonzero(np.isin(label, (2, 3, 4, 6, 7, 10)) & np.isfinite(depth))
    d = depth[row, column].astype(float)
    # The down face: its picture's top is forward (+x), its right is −y.
    x, y = (250 - (row + 0.5)) / 250 * d, (250 - (column + 0.5)) / 250 * d
    points = np.stack([x, y, eye[2] - d], axis=1)
    names = crossing.scene.instances + [a.name for a in traffic.actors]
    seen = set()
    for number in np.unique(instance[row, column]):
        actor = traffic.actors[names.index(names[int(number) - 1]) - len(crossing.scene.instances)]
        record = actor.record(actor.motion.state(12 * SECOND))
        mine = instance[row, column] == number
        pose = Pose(np.array(record["position"]), np.array(record["orientation"]))
        local = np.abs(pose.inverse().transform(points[mine]))
        assert (local <= np.array(record["size"]) / 2 + 0.03).all()
        assert (label[row, column][mine] == record["class"]).all()
        seen.add(actor.name)
    inside = {r["id"] for r in frame.actors if np.abs(r["position"][:2]).max() < 40}
    assert len(inside) > 3 and inside <= seen


def test_pairs_that_nearly_touch_are_told_apart_by_the_checks():
    """The checks themselves: two boxes of a metre, turned by 45°, whose corners are 2 cm apart, and 2 cm into each
    other."""
    from traffic_checks import gap

    size, heading = np.ones((2, 2)), np.array([0.0, np.pi / 4])
    reach = 0.5 + np.sqrt(0.5)
    for shift in (0.02, -0.02):
        middle = np.array([[0.0, 0.0], [reach + shift, 0.0]])
        assert gap(middle, heading, size, np.array([0]), np.array([1]))[0] == pytest.approx(shift)

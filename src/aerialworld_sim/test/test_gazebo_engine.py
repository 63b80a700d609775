"""Gazebo behind the engine's face. Gazebo itself is not here: the embedded engine stands in for it, and what it sees is
sent as Gazebo would send it; what comes out at the other end must be what went in."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from aerialworld_core import topics
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose
from aerialworld_core.resources import share
from aerialworld_core.world import load_rig, load_world
from aerialworld_sim.engine import Engine
from aerialworld_sim.gazebo import decode
from aerialworld_sim.gazebo.drives import PLACED
from aerialworld_sim.gazebo.engine import GazeboEngine, SilentSensor, placed_rig
from aerialworld_sim.gazebo.making import gazebo_engine, sensor_period
from aerialworld_sim.gazebo.server import Bindings, GazeboError
from aerialworld_sim.gazebo.vehicle import GazeboVehicle, vehicle_element
from aerialworld_sim.motion import Static, Vehicle
from aerialworld_sim.traffic import Traffic, TrafficOptions

PERIOD = 100_000_000


def stamped(stamp, **fields):
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp // 10**9, nsec=stamp % 10**9))
    return SimpleNamespace(header=header, **fields)


def image(stamp, pixels, pixel_format, padding=0):
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return stamped(
        stamp, width=pixels.shape[1], height=pixels.shape[0], step=padded.shape[1], pixel_format_type=pixel_format,
        data=padded.tobytes(),
    )  # fmt: skip


def cloud(stamp, points, ring, beams=6, bigendian=False):
    """As gpu_lidar sends it: 32 bytes a point, and points that have no return are infinite, or NaN, by component."""
    order = ">" if bigendian else "<"
    layout = np.dtype(
        {"names": ["x", "y", "z", "intensity", "ring"], "formats": [order + f for f in ("f4", "f4", "f4", "f4", "u2")],
         "offsets": [0, 4, 8, 16, 24], "itemsize": 32}
    )  # fmt: skip
    made = np.zeros(len(points) + beams, layout)
    made["x"][:beams], made["y"][:beams], made["z"][:beams] = np.inf, -np.inf, np.nan
    for i, name in enumerate(("x", "y", "z", "intensity")):
        made[name][beams:] = points[:, i]
    made["ring"][beams:] = ring
    types = {"f4": 6, "u2": 3}
    fields = [
        SimpleNamespace(name=n, offset=made.dtype.fields[n][1], datatype=types[made.dtype.fields[n][0].str[1:]])
        for n in made.dtype.names
    ]
    return stamped(
        stamp, field=fields, width=len(made), height=1, point_step=32, is_bigendian=bigendian, data=made.tobytes()
    )


class Held:
    """Where a model was set last."""

    def __init__(self, pose):
        self.pose = pose

    def state(self, stamp_ns):
        return Static(self.pose).state(stamp_ns)


class StandIn:
    """Answers as Gazebo does: renders where models are, a message of each subscribed topic in a period, late at first,
    and with the last period's messages still there when the next is asked for."""

    version = "8.14.0"

    def __init__(self, world, rigs, seed=0, late=0, dead=(), actors=()):
        self.rigs, self.motions = rigs, {name: Held(Pose.identity()) for name in (*rigs, *(a.name for a in actors))}
        vehicles = {n: Vehicle(r, self.motions[n]) for n, r in rigs.items()}
        held = [replace(actor, motion=self.motions[actor.name]) for actor in actors]
        self.engine = Engine(world, vehicles, seed=seed, threads=1, actors=held)
        self.topics, self.newest, self.time, self.late, self.dead = {}, {}, 0, late, set(dead)
        self.closed = False

    def listen(self, topic, kind):
        self.topics[topic] = kind

    def place(self, poses):
        for name, pose in poses.items():
            self.motions[name].pose = pose

    def advance(self):
        before, self.time = self.time, self.time + PERIOD
        self.engine.reset()
        if self.late > 0:
            self.late -= 1
            return before
        for name in self.rigs:
            frame = self.engine.render(name, modalities=("images", "depth", "lidar"))
            sent = {topics.camera(name, n): image(self.time, p, 3, 5) for n, p in frame.images.items()}
            sent |= {topics.depth(name, n): image(self.time, d, 13) for n, d in frame.depth.items()}
            sent |= {
                topics.semantic(name, n) + "/labels_map": image(self.time, np.stack([c] * 3, -1), 3)
                for n, c in frame.semantic.items()
            }
            sent[topics.lidar(name)] = cloud(self.time, frame.lidar, frame.lidar_ring)
            self.newest |= {t: m for t, m in sent.items() if t in self.topics and t not in self.dead}
        return before

    def wait(self, wanted, after_ns, seconds):
        return {t: m for t in wanted if (m := self.newest.get(t)) and decode.stamp_ns(m) > after_ns}

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def world():
    return load_world(share("aerialworld_worlds") / "small_city")


@pytest.fixture(scope="module")
def rig():
    return load_rig("rig_small")


def poses():
    return [Pose.from_rpy(10.0 * k, -5.0 * k, 30.0 + k, 0.05 * k, -0.03, 0.7 * k) for k in range(3)]


def assert_same(a, b):
    for kind in ("images", "depth", "semantic"):
        one, two = getattr(a, kind), getattr(b, kind)
        assert one.keys() == two.keys() and all(np.array_equal(one[n], two[n]) for n in one), kind
        assert all(one[n].dtype == two[n].dtype for n in one)
    assert np.array_equal(a.lidar, b.lidar) and np.array_equal(a.lidar_ring, b.lidar_ring)
    assert (a.ground_z, a.stamp_ns) == (b.ground_z, b.stamp_ns)


class Stops:
    """A motion that jumps: at pose k from second k on."""

    def state(self, stamp_ns):
        return Static(poses()[min(stamp_ns // 10**9, 2)]).state(stamp_ns)


def test_a_frame_is_what_gazebo_saw_at_its_pose(world, rig):
    """Sent as Gazebo sends it, with rows padded, points without return, and the renderer two periods late."""
    engine = GazeboEngine(world, {"drone_1": Vehicle(rig, Stops())}, StandIn(world, {"drone_1": rig}, late=2))
    for k, pose in enumerate(poses()):
        if k:
            engine.step(10**9)
        frame = engine.render("drone_1")
        truth = Engine(world, {"drone_1": Vehicle(rig, Static(pose))}, threads=1).render("drone_1")
        truth.state = engine.state("drone_1")
        assert_same(frame, truth)
        assert np.allclose(frame.state.pose.matrix, pose.matrix)
    assert engine.entry == {"name": "gazebo", "version": "8.14.0", "renderer": "ogre2"}


def test_actors_are_where_they_are_at_every_frame(world, rig):
    """Gazebo is told their poses with the vehicle's, and the frame lists those around it."""
    actors = Traffic(world, TrafficOptions(cars=20, parked=0.0, seed=3)).actors
    stand = StandIn(world, {"drone_1": rig}, actors=actors)
    vehicle = {"drone_1": Vehicle(rig, Static(Pose.from_rpy(0.0, 0.0, 30.0)))}
    ours, theirs = GazeboEngine(world, vehicle, stand, actors=actors), Engine(world, vehicle, threads=1, actors=actors)
    for _ in range(2):
        for engine in (ours, theirs):
            engine.step(3 * 10**9)
        one, other = (engine.render("drone_1", modalities=("depth",)) for engine in (ours, theirs))
        for name in one.depth:
            assert np.array_equal(one.depth[name], other.depth[name])
            assert np.array_equal(one.semantic[name], other.semantic[name])
        assert one.actors == other.actors and len(one.actors) >= 5
    assert any((classes == 4).any() for classes in one.semantic.values())


def test_imu_samples_are_those_of_the_motion(world, rig):
    vehicle = {"drone_1": Vehicle(rig, Stops())}
    ours, theirs = (
        GazeboEngine(world, vehicle, StandIn(world, {"drone_1": rig}), seed=3),
        Engine(world, vehicle, seed=3),
    )
    for engine in (ours, theirs):
        engine.step(50_000_000)
    assert np.array_equal(ours.imu_samples("drone_1"), theirs.imu_samples("drone_1"))


def test_only_what_is_asked_for_is_subscribed_to(world, rig):
    link = StandIn(world, {"drone_1": rig})
    engine = GazeboEngine(world, {"drone_1": Vehicle(rig, Stops())}, link)
    frame = engine.render("drone_1", modalities=("depth",), sensors=("down",))
    assert set(link.topics) == {topics.depth("drone_1", "down"), topics.semantic("drone_1", "down") + "/labels_map"}
    assert list(frame.depth) == list(frame.semantic) == ["down"] and frame.lidar is None and not frame.images
    assert frame.imu is None and engine.render("drone_1", modalities=("imu",)).imu is not None


def test_vehicles_are_placed_together(world, rig):
    rigs = {"drone_1": rig, "rover_1": rig}
    link = StandIn(world, rigs)
    with GazeboEngine(world, {n: Vehicle(r, Stops()) for n, r in rigs.items()}, link) as engine:
        engine.step(10**9)
        engine.render("rover_1", modalities=("lidar",))
        assert all(np.allclose(m.pose.matrix, poses()[1].matrix) for m in link.motions.values())
    assert link.closed


def test_a_sensor_that_sends_nothing_is_named(world, rig):
    silent = topics.camera("drone_1", "cam_back")
    engine = GazeboEngine(world, {"drone_1": Vehicle(rig, Stops())}, StandIn(world, {"drone_1": rig}, dead=[silent]))
    with pytest.raises(SilentSensor, match=rf"nothing on {silent} at 0\.000 s"):
        engine.render("drone_1", modalities=("images",))


def test_what_gazebo_does_not_have_is_refused(world, rig):
    engine = GazeboEngine(world, {"drone_1": Vehicle(rig, Stops())}, StandIn(world, {"drone_1": rig}))
    with pytest.raises(InputError, match="no truth"):
        engine.render("drone_1", modalities=("images", "truth"))
    with pytest.raises(InputError, match="no vehicle 'drone_2'"):
        engine.state("drone_2")
    with pytest.raises(InputError, match="does not advance"):
        engine.step(0)


def test_a_placed_vehicle_stands_and_senses_no_motion(rig):
    model = vehicle_element(GazeboVehicle("drone_1", placed_rig(rig), PLACED))
    assert model.findtext("static") == "true"
    assert {s.get("type") for s in model.iter("sensor")} == {
        "camera", "depth_camera", "segmentation_camera", "gpu_lidar", "navsat",
    }  # fmt: skip
    assert "ArduPilotPlugin" not in {p.get("name") for p in model.iter("plugin")}


def test_the_period_has_a_frame_of_every_sensor(rig):
    from dataclasses import replace

    assert sensor_period({"a": Vehicle(rig, Stops())}) == 0.1
    slow = replace(rig, lidar=replace(rig.lidar, rate=5.0))
    assert sensor_period({"a": Vehicle(rig, Stops()), "b": Vehicle(slow, Stops())}) == 0.2
    with pytest.raises(InputError, match="nothing that Gazebo could render"):
        sensor_period({"a": Vehicle(replace(rig, cameras=(), depth=(), lidar=None), Stops())})


# ---- messages


def test_clouds_of_either_byte_order():
    points = np.arange(12, dtype=np.float32).reshape(3, 4)
    for bigendian in (False, True):
        found, ring = decode.cloud(cloud(5, points, np.array([0, 7, 300]), bigendian=bigendian), "/x")
        assert np.array_equal(found, points) and ring.tolist() == [0, 7, 300]
        assert found.dtype == np.float32 and found.dtype.isnative


@pytest.mark.parametrize(
    ("change", "match"),
    [({"pixel_format_type": 8}, "pixel format 8, not 3"), ({"data": b"12"}, "2 bytes"), ({"step": 1}, "rows of 1")],
)
def test_pictures_that_are_not_what_they_say(change, match):
    message = image(0, np.zeros((4, 6, 3), np.uint8), 3)
    message.__dict__.update(change)
    with pytest.raises(decode.GazeboMessageError, match=rf"/cam: .*{match}"):
        decode.rgb(message, "/cam")


def test_clouds_that_are_not_what_they_say():
    message = cloud(0, np.zeros((3, 4), np.float32), np.zeros(3))
    message.data = message.data[:40]
    with pytest.raises(decode.GazeboMessageError, match="40 bytes for 9 points of 32 bytes"):
        decode.cloud(message, "/x")
    message.field = message.field[:2]
    with pytest.raises(decode.GazeboMessageError, match="lacks z, intensity, ring; it has x, y"):
        decode.cloud(message, "/x")


# ---- without Gazebo


def test_a_missing_gazebo_is_said_with_the_way_out(world, rig, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GazeboError, match=r"the program gz is not found; scripts/install"):
        gazebo_engine(world, {"drone_1": Vehicle(rig, Static(Pose.identity()))})


def test_missing_bindings_are_said_with_the_way_out():
    import importlib.util

    if importlib.util.find_spec("gz"):
        pytest.skip("Gazebo's bindings are installed")
    with pytest.raises(GazeboError, match="python3-gz-transport13"):
        Bindings()

"""The node's parameters: what they mean, and that every mistake is named."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aerialworld_core.errors import AerialWorldError, InputError
from aerialworld_core.frames import Pose
from aerialworld_core.network import LOOPBACK, PROFILES, RANGE, stay_on_this_machine
from aerialworld_core.plan import Plan
from aerialworld_sim import Engine

sys.path.insert(0, str(Path(__file__).parent))
from engine_node_network import PATIENCE, random_domain, write_world

needs_rclpy = pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")


@pytest.fixture(scope="module")
def context():
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=random_domain())
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def read(context):
    """Reads parameters as the node does, from overrides as `--ros-args -p` would give them."""
    import rclpy
    from rclpy.parameter import Parameter

    from aerialworld_sim.nodes.parameters import read_parameters

    nodes = []

    def read(**given):
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in given.items()]
        nodes.append(rclpy.create_node("engine", context=context, parameter_overrides=overrides))
        return read_parameters(nodes[-1])

    yield read
    for node in nodes:
        node.destroy_node()


def write_plan(folder: Path, vehicle: str, agent_type: str, seconds: float) -> str:
    t = np.linspace(0.0, seconds, 5)
    position = np.stack([t, 0 * t, 5 + 0 * t], axis=1)
    orientation = np.tile([0.0, 0.0, 0.0, 1.0], (5, 1))
    path = folder / f"{vehicle}.json"
    Plan("there", vehicle, agent_type, "road", "place A", 0, t, position, orientation).write(path)
    return str(path)


@needs_rclpy
def test_the_short_form_is_one_vehicle(read):
    p = read(world="w", vehicle="rover_3", rig="rig_small", pose=[1.0, 2.0, 3.0, np.pi / 2])
    (vehicle,) = p.vehicles
    assert (vehicle.name, vehicle.rig, vehicle.plan) == ("rover_3", "rig_small", None)
    assert vehicle.pose.position.tolist() == [1.0, 2.0, 3.0] and np.isclose(vehicle.pose.yaw, np.pi / 2)
    assert p.lockstep == () and p.threads is None and p.modalities == {"images", "depth", "lidar", "imu"}


@needs_rclpy
def test_each_vehicle_has_its_own_parameters(read):
    p = read(
        world="w", vehicles=["drone_1", "rover_1"], rig="rig_small", drone_1__plan="a.json", rover_1__rig="rig_rover",
        rover_1__pose=[4.0, 5.0, 0.0, 0.0], lockstep=["left", "right"],
    )  # fmt: skip
    drone, rover = p.vehicles
    assert (drone.name, drone.rig, drone.plan) == ("drone_1", "rig_small", Path("a.json"))
    assert (rover.name, rover.rig, rover.plan) == ("rover_1", "rig_rover", None)
    assert rover.pose.position.tolist() == [4.0, 5.0, 0.0] and p.lockstep == ("left", "right")


@needs_rclpy
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "parameter world: give"),
        ({"rate": -1.0}, "parameter rate"),
        ({"rate": 2}, "parameter rate.*like 2.0"),
        ({"rate": float("nan")}, "parameter rate.*nan"),
        ({"sensor_rate": 0.0}, "parameter sensor_rate"),
        ({"seed": -1}, "parameter seed"),
        ({"threads": -1}, "parameter threads"),
        ({"duration": -0.5}, "parameter duration"),
        ({"lockstep_timeout": 0.0}, "parameter lockstep_timeout"),
        ({"start_paused": "yes"}, "parameter start_paused"),
        ({"conditions": "weather=snow"}, "parameter conditions: weather.*snow.*rain"),
        ({"autopilot": "px4"}, "parameter autopilot.*embedded or sitl"),
        ({"mavlink": ["tcp:5760"]}, "parameter mavlink.*autopilot:=embedded"),
        ({"autopilot": "sitl", "mavlink": ["tcp:5760"]}, "parameter autopilot.*SITL"),
        ({"autopilot": "embedded", "plan": "p.json"}, "parameter autopilot.*follows a plan"),
        ({"modalities": ["depth", "radar"]}, "parameter modalities.*radar.*images"),
        ({"qos": "fast"}, "parameter qos: 'fast' is none of reliable, best_effort"),
        ({"lockstep_lost": "panic"}, "parameter lockstep_lost.*wait, continue, stop"),
        ({"lidar_sampling": "random"}, "parameter lidar_sampling.*exact, gazebo"),
        ({"pose": [1.0, 2.0]}, "parameter pose: takes 4 numbers.*not 2"),
        ({"pose": [1.0, 2.0, float("inf"), 0.0]}, "parameter pose:.*not finite"),
        ({"pose": [1, 2, 3, 0]}, "parameter pose.*like 2.0"),
        ({"vehicle": ""}, "parameter vehicle: it is empty"),
        ({"vehicle": "a/b"}, "parameter vehicle: 'a/b' cannot be part of a topic name"),
        ({"vehicle": "a__b"}, "parameter vehicle: 'a__b'"),
        ({"vehicle": "1st"}, "parameter vehicle: '1st'"),
        ({"plan": "a.json", "pose": [1.0, 2.0, 3.0, 0.0]}, "parameter pose: drone_1 follows a plan"),
        ({"vehicles": ["a", "b", "a"]}, "parameter vehicles: a is there twice"),
        ({"vehicles": ["a", "b c"]}, "parameter vehicles: 'b c'"),
        ({"vehicles": ["a"], "plan": "a.json"}, "parameter plan: with `vehicles`.*a.plan"),
        ({"vehicles": ["a"], "a__pose": [1.0]}, "parameter a.pose: takes 4 numbers"),
        ({"vehicles": ["a"], "a__plan": "p", "a__pose": [1.0, 0.0, 0.0, 0.0]}, "leave one of a.plan, a.pose out"),
        ({"vehicles": ["a"], "b__rig": "rig_small"}, "parameter b.rig: it is unknown; b is none of `vehicles`"),
        ({"vehicles": ["a"], "a__rgi": "rig_small"}, "parameter a.rgi: it is unknown"),
        ({"sensor_rat": 5.0}, "parameter sensor_rat: it is unknown; did you mean sensor_rate"),
        ({"lockstep": ["my recorder"]}, "parameter lockstep: 'my recorder'"),
    ],
)
def test_mistakes_are_named(read, given, complaint):
    world = {} if given == {} else {"world": "w"}
    with pytest.raises(InputError, match=complaint) as caught:
        read(**world, **given)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


@needs_rclpy
@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"sensor_rate": 30.0}, "parameter sensor_rate: 30.0 Hz does not divide 100 Hz"),
        ({"stop_at_end": True}, "parameter stop_at_end: no vehicle has a plan"),
        ({"rig": "rig_missing"}, "rig_missing"),
        ({"plan": "/missing/plan.json"}, "/missing/plan.json: no such plan"),
        ({"world": "/missing/world"}, "/missing/world"),
    ],
)
def test_what_only_the_whole_shows(tmp_path, context, given, complaint):
    from rclpy.parameter import Parameter

    from aerialworld_sim.nodes.engine import EngineNode

    values = {"world": str(write_world(tmp_path)), "rig": "rig_small", **given}
    with pytest.raises(AerialWorldError, match=complaint) as caught:
        EngineNode(context=context, parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
    assert caught.value.exit_code == 2


@needs_rclpy
def test_conditions_are_the_engines_light(tmp_path, context):
    from rclpy.parameter import Parameter

    from aerialworld_core.conditions import Conditions
    from aerialworld_sim.nodes.engine import EngineNode

    values = {"world": str(write_world(tmp_path)), "rig": "rig_small", "conditions": "weather=fog,visibility_m=150"}
    node = EngineNode(context=context, parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
    try:
        light, world = node.engine.scene.light, node.engine.world
        wanted = Conditions(weather="fog", visibility_m=150.0).light(world.light, world.georeference)
        assert light.air is not None and wanted.air is not None and world.light.air is None
        assert light.air.extinction == wanted.air.extinction > 0
        assert np.array_equal(light.sun, wanted.sun)
    finally:
        node.destroy_node()


@needs_rclpy
@pytest.mark.parametrize("qos", ["reliable", "best_effort"])
def test_topics_are_one_second_deep(tmp_path, context, qos):
    """reliable or best effort, for every topic of a vehicle; /clock is reliable anyway."""
    from rclpy.parameter import Parameter
    from rclpy.qos import ReliabilityPolicy

    from aerialworld_sim.nodes.engine import EngineNode

    values = {"world": str(write_world(tmp_path)), "rig": "rig_small", "qos": qos, "sensor_rate": 20.0}
    node = EngineNode(context=context, parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
    try:
        quality = {p.topic_name: p.qos_profile for p in node.publishers}
        depths = {
            "/clock": 100, "/drone_1/odom": 50, "/drone_1/imu": 100, "/drone_1/navsat": 10,
            "/drone_1/lidar/points": 20, "/drone_1/depth/down/image": 20, "/drone_1/camera/cam_front/camera_info": 20,
        }  # fmt: skip
        assert {name: quality[name].depth for name in depths} == depths
        expected = ReliabilityPolicy.RELIABLE if qos == "reliable" else ReliabilityPolicy.BEST_EFFORT
        assert {q.reliability for name, q in quality.items() if name.startswith("/drone_1")} == {expected}
        assert quality["/clock"].reliability == ReliabilityPolicy.RELIABLE
    finally:
        node.destroy_node()


@needs_rclpy
@pytest.mark.skipif(importlib.util.find_spec("tf2_msgs") is None, reason="tf2_msgs is not installed (no pip wheel)")
def test_transforms_are_published_where_tf2_is_installed(tmp_path, context):
    """/tf_static for whoever comes later, /tf with every vehicle's place."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from tf2_msgs.msg import TFMessage

    from aerialworld_sim.nodes.engine import EngineNode

    values = {"world": str(write_world(tmp_path)), "rig": "rig_small", "pose": [1.0, 2.0, 3.0, 0.0]}
    node = EngineNode(context=context, parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])
    listener = rclpy.create_node("listener", context=context)
    fixed: list[TFMessage] = []
    moving: list[TFMessage] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    listener.create_subscription(TFMessage, "/tf_static", fixed.append, latched)
    listener.create_subscription(TFMessage, "/tf", moving.append, 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    deadline = time.monotonic() + PATIENCE
    try:
        while not (fixed and moving) and time.monotonic() < deadline:
            node.repeat(0)
            executor.spin_once(timeout_sec=0.05)
        assert "drone_1/down_optical_frame" in {t.child_frame_id for t in fixed[0].transforms}
        (base,) = moving[0].transforms
        assert (base.header.frame_id, base.child_frame_id) == ("map", "drone_1/base_link")
        assert (base.transform.translation.x, base.transform.translation.z) == (1.0, 3.0)
    finally:
        executor.shutdown()
        listener.destroy_node()
        node.destroy_node()


@needs_rclpy
def test_engine_options_are_the_engines():
    from aerialworld_sim.nodes.parameters import DECLARED, ENGINE_OPTIONS

    assert set(ENGINE_OPTIONS) <= set(DECLARED) & set(inspect.signature(Engine).parameters)


class Asked:
    def __init__(self, name: str, rig: str = "", plan: str | None = None) -> None:
        self.name, self.rig, self.plan, self.pose = name, rig, plan and Path(plan), Pose.identity()
        self.piloting = None


def test_a_vehicle_gets_the_rig_that_suits_it(tmp_path):
    from aerialworld_sim.nodes.fleet import Fleet

    plan = write_plan(tmp_path, "rover_1", "rover", 4.0)
    fleet = Fleet([Asked("drone_1"), Asked("rover_2"), Asked("scout", plan=plan), Asked("b", rig="rig_small")])
    assert {n: v.rig.name for n, v in fleet.vehicles.items()} == {
        "drone_1": "rig_drone", "rover_2": "rig_rover", "scout": "rig_rover", "b": "rig_small",
    }  # fmt: skip
    assert fleet.notes == [f"scout follows {plan}, which was made for rover_1"]


def test_the_run_ends_with_the_longest_plan_or_after_the_duration(tmp_path):
    from aerialworld_sim.nodes.fleet import Fleet

    plans = [write_plan(tmp_path, name, "drone", seconds) for name, seconds in (("a", 4.0), ("b", 6.0))]
    fleet = Fleet([Asked(name, "rig_small", plan) for name, plan in zip("ab", plans, strict=True)])
    assert fleet.end_ns(0.0, False) is None and fleet.end_ns(5.0, False) == 5_000_000_000
    assert fleet.end_ns(0.0, True) == 6_000_000_000 and fleet.end_ns(5.0, True) == 5_000_000_000


@pytest.mark.parametrize(
    ("given", "middleware", "expected"),
    [
        ({}, "rmw_fastrtps_cpp", {RANGE: "SYSTEM_DEFAULT", **dict.fromkeys(PROFILES, str(LOOPBACK))}),
        ({}, "rmw_cyclonedds_cpp", {RANGE: "LOCALHOST"}),
        ({PROFILES[0]: "mine.xml"}, "rmw_fastrtps_cpp", {RANGE: "LOCALHOST"}),
        ({"ROS_STATIC_PEERS": "10.0.0.7"}, "rmw_fastrtps_cpp", {RANGE: "LOCALHOST"}),
        ({RANGE: "SUBNET"}, "rmw_fastrtps_cpp", {}),
        ({"ROS_LOCALHOST_ONLY": "1"}, "rmw_fastrtps_cpp", {}),
    ],
)  # fmt: skip
def test_traffic_stays_on_this_machine_unless_the_environment_asks_for_more(given, middleware, expected):
    environment = dict(given)
    assert stay_on_this_machine(middleware, environment)
    assert environment == {**given, **expected}
    assert LOOPBACK.is_file()

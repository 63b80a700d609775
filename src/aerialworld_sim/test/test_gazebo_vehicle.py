"""A vehicle for Gazebo says what the rig says, names what exists, and is built so that it can fly and drive."""

from dataclasses import replace

import numpy as np
import pytest
from lxml import etree

from aerialworld_core import topics
from aerialworld_core.errors import InputError
from aerialworld_core.frames import Pose, rotation_from_rpy
from aerialworld_core.navigation import NavSatSpec
from aerialworld_core.resources import share
from aerialworld_core.rig import Rig
from aerialworld_core.world import load_rig
from aerialworld_sim.gazebo.drives import (
    AUTOPILOT_IMU_RATE,
    BLADE,
    LEFT_WHEELS,
    PLACED,
    RIGHT_WHEELS,
    ROTOR_GAIN,
    ROTOR_SPEED,
    ROTOR_TORQUE,
    ROTORS,
    SERVO_MAX,
    SERVO_MIN,
    WHEEL_GAIN,
    WHEEL_RADIUS,
    WHEEL_SEPARATION,
    WHEEL_TORQUE,
)
from aerialworld_sim.gazebo.sensors import METRES_PER_DEGREE
from aerialworld_sim.gazebo.vehicle import ALL_VISIBLE, MOST_VEHICLES, GazeboVehicle, vehicle_element, vehicle_sdf

#: gz-sim 8's plugins that our vehicles use, by the folder of their sources (src/systems/…) and their class.
SYSTEMS = {
    "gz-sim-label-system": "gz::sim::systems::Label",
    "gz-sim-lift-drag-system": "gz::sim::systems::LiftDrag",
    "gz-sim-apply-joint-force-system": "gz::sim::systems::ApplyJointForce",
    "gz-sim-joint-state-publisher-system": "gz::sim::systems::JointStatePublisher",
    "gz-sim-odometry-publisher-system": "gz::sim::systems::OdometryPublisher",
    "gz-sim-velocity-control-system": "gz::sim::systems::VelocityControl",
    "gz-sim-diff-drive-system": "gz::sim::systems::DiffDrive",
    "ArduPilotPlugin": "ArduPilotPlugin",
}
GRAVITY, STEP = 9.8, 0.001


@pytest.fixture(scope="module")
def rigs() -> dict[str, Rig]:
    return {kind: load_rig(f"rig_{kind}") for kind in ("drone", "rover", "small")}


def built(rigs, name="drone_1", autopilot="ardupilot", **options):
    rig = rigs["rover" if name.startswith("rover") else "drone"]
    return vehicle_element(GazeboVehicle(name, rig, autopilot, **options))


def read_back(tmp_path, vehicle):
    path = tmp_path / "vehicle.sdf"
    path.write_text(vehicle_sdf(vehicle))
    return load_rig(path)


def assert_same_rig(a, b):
    """Equal to the last digit, but for poses, whose angles are written and read."""
    for one, two in zip((*a.cameras, *a.depth), (*b.cameras, *b.depth), strict=True):
        assert np.allclose(one.pose.matrix, two.pose.matrix, atol=1e-12)
        assert replace(one, pose=two.pose) == two
    for name in ("lidar", "imu"):
        one, two = getattr(a, name), getattr(b, name)
        assert np.allclose(one.pose.matrix, two.pose.matrix, atol=1e-12)
        assert replace(one, pose=two.pose).to_dict() == two.to_dict()


@pytest.mark.parametrize("rig", ["rig_drone", "rig_rover", "rig_small"])
def test_gazebo_gets_the_rig_that_was_chosen(tmp_path, rig):
    chosen = load_rig(rig)
    assert_same_rig(read_back(tmp_path, GazeboVehicle("drone_7", chosen, "none")), chosen)


def test_noise_lenses_and_receivers_are_kept(tmp_path, rigs):
    rig = rigs["small"]
    camera = replace(rig.cameras[0], focal_y=250.0, principal_point=(170.0, 80.0), noise_mean=0.01, noise_stddev=0.02)
    rig = replace(
        rig,
        cameras=(camera, *rig.cameras[1:]),
        depth=(replace(rig.depth[0], noise_mean=0.0, noise_stddev=0.05), *rig.depth[1:]),
        imu=replace(rig.imu, gyro_bias_mean=(0.1, 0.2, 0.3), accel_precision=0.01),
        navsat=NavSatSpec("gps", Pose.from_rpy(0.1, 0.0, 0.2), 5.0, 1.5, 3.0),
    )
    again = read_back(tmp_path, GazeboVehicle("drone_1", rig, "none"))
    # A class image has no noise of its own: it is depth that is disturbed.
    assert again.depth[0].noise_stddev == 0.05
    assert_same_rig(again, rig)
    assert (again.navsat.name, again.navsat.rate, again.navsat.vertical_stddev) == ("gps", 5.0, 3.0)
    # Gazebo adds this to degrees of latitude: 1.5 m there are 1.5 m.
    assert again.navsat.horizontal_stddev * METRES_PER_DEGREE == pytest.approx(1.5)
    assert np.pi / 180 * 6_371_000 == pytest.approx(METRES_PER_DEGREE, rel=1e-4)


def test_a_lens_that_gazebo_does_not_render_is_refused(rigs):
    rig = rigs["small"]
    bent = replace(rig, cameras=(replace(rig.cameras[0], distortion=(-0.1, 0.01, 0.0, 0.0, 0.0)),))
    with pytest.raises(InputError, match="no lens distortion"):
        vehicle_sdf(GazeboVehicle("drone_1", bent))


@pytest.mark.parametrize("name", ["drone_1", "rover_1"])
@pytest.mark.parametrize("autopilot", ["ardupilot", "none"])
def test_plugins_are_real_and_name_what_exists(rigs, name, autopilot):
    model = built(rigs, name, autopilot)
    joints = {j.get("name") for j in model.findall("joint")}
    links = {link.get("name") for link in model.findall("link")}
    sensors = {f"{link.get('name')}::{s.get('name')}" for link in model.findall("link") for s in link.findall("sensor")}
    for element in (*model.findall("joint"), *model.findall("link")):
        assert element.get("name")
    assert len(joints) == len(model.findall("joint")) and len(links) == len(model.findall("link"))
    for joint in model.findall("joint"):
        assert {joint.findtext("parent"), joint.findtext("child")} <= links
    # Every link hangs on base_link, or the vehicle would fall apart.
    assert links - {j.findtext("child") for j in model.findall("joint")} == {"base_link"}
    for plugin in model.iter("plugin"):
        assert SYSTEMS[plugin.get("filename")] == plugin.get("name")
        for element in plugin.iter("joint_name", "jointName", "left_joint", "right_joint"):
            assert element.text in joints
        assert plugin.findtext("link_name") in (None, *links)
        assert plugin.findtext("imuName") in (None, *sensors)
    assert not [i for i in model.iter("include")]


@pytest.mark.parametrize("name", ["drone_1", "rover_1"])
@pytest.mark.parametrize("autopilot", ["ardupilot", "none", PLACED])
def test_no_two_siblings_bear_one_name(rigs, name, autopilot):
    """As `gz sdf --check` asks: a visual and a collision of one link are siblings; plugins alone are excepted."""
    for element in built(rigs, name, autopilot).iter():
        names = [child.get("name") for child in element if child.get("name") and child.tag != "plugin"]
        assert len(set(names)) == len(names), element.attrib


def test_nothing_of_two_vehicles_clashes(rigs):
    names = ("drone_1", "drone_2", "rover_1")
    models = [built(rigs, name, instance=i) for i, name in enumerate(names)]
    for get in (
        lambda m: {m.get("name")},
        lambda m: {e.text for e in m.iter("topic", "odom_topic")},
        lambda m: {e.text for e in m.iter("optical_frame_id", "gz_frame_id", "robot_base_frame")},
        lambda m: {m.findtext("plugin/fdm_port_in")},
        lambda m: {e.text for e in m.iter("visibility_flags")},
        lambda m: {e.text for e in m.iter("visibility_mask")},
    ):
        found = [get(m) for m in models]
        assert all(found) and sum(map(len, found)) == len(set.union(*found))
    assert [m.findtext("plugin/fdm_port_in") for m in models] == ["9002", "9012", "9022"]


def test_a_vehicle_is_hidden_from_its_own_sensors_and_from_no_other(rigs):
    vehicles = [GazeboVehicle(f"drone_{i}", rigs["small"], instance=i) for i in range(MOST_VEHICLES)]
    masks = []
    for v in vehicles[:3] + vehicles[-1:]:
        model = vehicle_element(v)
        assert {int(e.text) for e in model.iter("visibility_flags")} == {v.flag}
        (mask,) = {int(e.text) for e in model.iter("visibility_mask")}
        masks.append((v.flag, mask))
        assert len(list(model.iter("visual"))) == len(list(model.iter("visibility_flags")))
    for i, (_, mask) in enumerate(masks):
        assert mask & 0xFFFFFFFF and mask <= ALL_VISIBLE  # what bears every flag, as the city does, is seen
        assert [bool(mask & flag) for flag, _ in masks] == [i != j for j in range(len(masks))]
    with pytest.raises(InputError, match="at most 28"):
        GazeboVehicle("drone_99", rigs["small"], instance=MOST_VEHICLES)


def test_odometry_is_the_true_pose_in_map(rigs):
    (plugin,) = (p for p in built(rigs, "rover_3").iter("plugin") if p.get("name").endswith("OdometryPublisher"))
    assert {e.tag: e.text for e in plugin} == {
        "odom_frame": "map",
        "robot_base_frame": "rover_3/base_link",
        "odom_topic": topics.odometry("rover_3"),
        "odom_publish_frequency": "50.0",
        "dimensions": "3",
    }
    # The model's frame, whose pose Gazebo publishes, is base_link's.
    base = built(rigs, "rover_3").find("link[@name='base_link']")
    assert base.find("pose") is None


def inertial(link):
    mass = float(link.findtext("inertial/mass"))
    x, y, z, xy, xz, yz = (
        float(link.findtext(f"inertial/inertia/{k}")) for k in ("ixx", "iyy", "izz", "ixy", "ixz", "iyz")
    )
    return mass, np.array([[x, xy, xz], [xy, y, yz], [xz, yz, z]])


@pytest.mark.parametrize("name", ["drone_1", "rover_1"])
def test_every_link_has_a_possible_weight(rigs, name):
    for link in built(rigs, name).findall("link"):
        mass, tensor = inertial(link)
        a, b, c = np.linalg.eigvalsh(tensor)
        assert 0.001 < mass < 100 and a > 0 and a + b >= c * (1 - 1e-9), link.get("name")
        # A body this heavy is not larger than the vehicle: √(I / m) is its radius of gyration.
        assert np.sqrt(c / mass) < 0.6, link.get("name")


def test_the_drone_hovers_at_half_throttle_and_has_strength_to_spare(rigs):
    model = built(rigs)
    mass = sum(inertial(link)[0] for link in model.findall("link"))
    assert mass == pytest.approx(3.0)
    thrust = 2 * len(ROTORS) * BLADE.lift(ROTOR_SPEED)
    assert 2.0 < thrust / (mass * GRAVITY) < 4.0
    hover = ROTOR_SPEED * np.sqrt(mass * GRAVITY / thrust)
    assert 0.4 < hover / ROTOR_SPEED < 0.7
    assert 2 * len(ROTORS) * BLADE.lift(hover) == pytest.approx(mass * GRAVITY)
    # The motor can hold its fastest turn against drag and bearing, and its controller settles from step to step.
    damping = float(model.findtext("joint[@name='rotor_0_joint']/axis/dynamics/damping"))
    assert 2 * BLADE.drag(ROTOR_SPEED) * BLADE.radius + damping * ROTOR_SPEED < ROTOR_TORQUE / 2
    spin_inertia = inertial(model.find("link[@name='rotor_0']"))[1][2, 2]
    assert 0 < STEP * (ROTOR_GAIN + damping) / spin_inertia < 1
    assert AUTOPILOT_IMU_RATE * STEP == 1
    # Turning it by the drag of its rotors takes as much of it as of real propellers: 1 to 3 cm of torque for lift.
    assert 0.01 < BLADE.drag(hover) * BLADE.radius / BLADE.lift(hover) < 0.03


def test_ardupilots_thrust_curve_is_the_rotors(rigs):
    """MOT_THST_EXPO and MOT_THST_HOVER of launch/config/drone.parm, from what the rotors lift at a motor output."""
    lines = (share("aerialworld_bringup") / "config/drone.parm").read_text().splitlines()
    parameters = {n: float(v) for n, v in (line.split() for line in lines if line and not line.startswith("#"))}
    spin_min, spin_max = 0.15, 0.95  # MOT_SPIN_MIN, MOT_SPIN_MAX: ArduPilot's defaults
    output = np.linspace(0, 1, 11)
    lift = np.array([BLADE.lift(ROTOR_SPEED * (spin_min + (spin_max - spin_min) * o)) for o in output])
    thrust = (lift - lift[0]) / (lift[-1] - lift[0])
    expo = parameters["MOT_THST_EXPO"]
    assert np.allclose((1 - expo) * output + expo * output**2, thrust, atol=0.005)
    mass = sum(inertial(link)[0] for link in built(rigs).findall("link"))
    hover = (mass * GRAVITY / 8 - lift[0]) / (lift[-1] - lift[0])
    assert parameters["MOT_THST_HOVER"] == pytest.approx(hover, abs=0.02)
    assert (parameters["FRAME_CLASS"], parameters["FRAME_TYPE"]) == (1, 1)
    assert (parameters["MOT_PWM_MIN"], parameters["MOT_PWM_MAX"]) == (SERVO_MIN, SERVO_MAX)


def test_motors_are_those_of_ardupilots_x_frame(rigs):
    """Motor 1 front right and 2 back left anticlockwise, 3 front left and 4 back right clockwise (AP_MotorsMatrix)."""
    model = built(rigs)
    controls = {c.get("channel"): c for c in model.iter("control")}
    for channel, (ahead, left, spin) in enumerate([(1, -1, 1), (-1, 1, 1), (1, 1, -1), (-1, -1, -1)]):
        control = controls[str(channel)]
        link = control.findtext("jointName").removesuffix("_joint")
        x, y = (float(v) for v in model.findtext(f"link[@name='{link}']/pose").split()[:2])
        assert np.sign([x, y, float(control.findtext("multiplier"))]).tolist() == [ahead, left, spin]
        assert abs(x) == abs(y)
        blades = [p for p in model.iter("plugin") if p.findtext("link_name") == link]
        assert len(blades) == 2
        for blade in blades:
            cp, forward, upward = (
                np.array([float(v) for v in blade.findtext(t).split()]) for t in ("cp", "forward", "upward")
            )
            # A blade moves the way it faces.
            assert np.allclose(forward, np.cross([0, 0, spin], cp) / np.linalg.norm(cp))
            assert upward.tolist() == [0, 0, 1]
        assert float(blades[0].findtext("cp").split()[0]) == -float(blades[1].findtext("cp").split()[0])


def test_wheels_roll_forwards_and_slide_sideways(rigs):
    model = built(rigs, "rover_1")
    sides = {"0": (1, LEFT_WHEELS), "2": (-1, RIGHT_WHEELS)}
    found = {}
    for control in model.iter("control"):
        joint = model.find(f"joint[@name='{control.findtext('jointName')}']")
        link = model.find(f"link[@name='{joint.findtext('child')}']")
        pose = [float(v) for v in link.findtext("pose").split()]
        axis = rotation_from_rpy(*pose[3:]) @ [float(v) for v in joint.findtext("axis/xyz").split()]
        assert np.allclose(axis, [0, 1, 0])  # turning about +y, the tread below moves back: the rover forwards
        side, joints = sides[control.get("channel")]
        assert np.sign(pose[1]) == side and joint.get("name") in joints
        assert pose[2] == WHEEL_RADIUS == float(link.findtext("collision/geometry/cylinder/radius"))
        friction = link.find("collision/surface/friction/ode")
        along = np.array([float(v) for v in friction.findtext("fdir1").split()])
        assert np.allclose(rotation_from_rpy(*pose[3:]) @ along, axis)
        assert float(friction.findtext("mu")) < float(friction.findtext("mu2"))
        # ½ is standing still, 1 forwards, 0 backwards
        offset, multiplier = float(control.findtext("offset")), float(control.findtext("multiplier"))
        speeds = [(value + offset) * multiplier * WHEEL_RADIUS for value in (0.0, 0.5, 1.0)]
        assert speeds == pytest.approx([-7.0, 0.0, 7.0])
        found.setdefault(side, []).append(pose[1])
        assert 0 < STEP * WHEEL_GAIN / inertial(link)[1][2, 2] < 1
    assert found[1][0] - found[-1][0] == pytest.approx(WHEEL_SEPARATION) and {len(v) for v in found.values()} == {2}
    mass = sum(inertial(link)[0] for link in model.findall("link"))
    # It can turn on the spot: torque at half the track moves wheels sideways over half the wheelbase.
    sliding = 0.3 * mass * GRAVITY * 0.3
    assert 4 * WHEEL_TORQUE / WHEEL_RADIUS * WHEEL_SEPARATION / 2 > 1.5 * sliding


@pytest.mark.parametrize("name", ["drone_1", "rover_1"])
def test_every_joint_that_ardupilot_turns_has_its_speed_measured(rigs, name):
    """gz-sim fills in a joint's velocity only where a system asked for it, and ArduPilotPlugin skips joints without."""
    model = built(rigs, name)
    turned = [control.findtext("jointName") for control in model.iter("control")]
    by_class = {p.get("name").rsplit("::", 1)[-1]: p for p in model.iter("plugin")}
    assert [e.text for e in by_class["JointStatePublisher"].iter("joint_name")] == turned
    forced = [p.findtext("joint_name") for p in model.iter("plugin") if p.get("name").endswith("ApplyJointForce")]
    assert forced == turned and len(set(turned)) == 4


@pytest.mark.parametrize(("name", "systems"), [("drone_1", "VelocityControl"), ("rover_1", "DiffDrive")])
def test_a_kinematic_vehicle_takes_velocities_and_awaits_no_autopilot(rigs, name, systems):
    model = built(rigs, name, "none")
    names = [p.get("name").rsplit("::", 1)[-1] for p in model.iter("plugin")]
    assert systems in names and "ArduPilotPlugin" not in names and "LiftDrag" not in names
    (drive,) = (p for p in model.iter("plugin") if p.get("name").endswith(systems))
    assert drive.findtext("topic") == f"/{name}/cmd_vel"
    weightless = [link.findtext("gravity") for link in model.findall("link")]
    assert set(weightless) == ({"false"} if name == "drone_1" else {None})
    if name == "rover_1":
        assert {e.text for e in drive.iter("left_joint")} == set(LEFT_WHEELS)
        assert (float(drive.findtext("wheel_separation")), float(drive.findtext("wheel_radius"))) == (0.6, 0.165)


def test_only_gazebos_autopilots_are_taken(rigs):
    with pytest.raises(InputError, match="engine:=embedded"):
        built(rigs, autopilot="embedded")


def test_a_foreign_rig_changes_no_weight(tmp_path, rigs):
    own = etree.fromstring(vehicle_sdf(GazeboVehicle("drone_1", rigs["small"])).encode())
    shipped = etree.fromstring(vehicle_sdf(GazeboVehicle("drone_1", rigs["drone"])).encode())
    assert [e.text for e in own.iter("mass")] == [e.text for e in shipped.iter("mass")]

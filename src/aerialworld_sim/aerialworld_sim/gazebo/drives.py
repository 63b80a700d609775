"""What moves the shipped vehicles in Gazebo: ArduPilot through rotors and wheels, or velocities that a topic commands.

The drone's motors are ArduPilot's X frame (FRAME_CLASS 1, FRAME_TYPE 1), its rotors lift as gz-sim's LiftDrag says; the
rover is steered by its left and right wheels (SERVO1_FUNCTION 73, SERVO3_FUNCTION 74). launch/config has ArduPilot's
parameters that belong to these numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from lxml import etree

from aerialworld_core.errors import InputError
from aerialworld_core.piloting import PHYSICS_PORT, PORTS_PER_INSTANCE
from aerialworld_sim.gazebo.xml import add, add_all, plugin, written

#: Of a vehicle that nothing moves but who sets its pose.
PLACED = "placed"
#: The autopilot's own IMU: exact and faster than its loop. Its frame is forward-right-down, as ArduPilot takes it.
AUTOPILOT_IMU, AUTOPILOT_IMU_RATE = "autopilot_imu", 1000.0

#: Servo outputs (µs) that mean 0 and 1; ArduPilot's defaults of both vehicles.
SERVO_MIN, SERVO_MAX = 1100, 1900

#: The wheels by side.
LEFT_WHEELS = ("wheel_front_left_joint", "wheel_back_left_joint")
RIGHT_WHEELS = ("wheel_front_right_joint", "wheel_back_right_joint")
#: Of the rover model, metres.
WHEEL_RADIUS, WHEEL_SEPARATION = 0.165, 0.6
#: The rover's wheels turn this fast at full throttle (rad/s): 7 m/s.
WHEEL_SPEED = 7.0 / WHEEL_RADIUS


@dataclass(frozen=True)
class Rotor:
    """One rotor: `channel` of the servo output, `spin` +1 anticlockwise seen from above, −1 clockwise."""

    link: str
    channel: int
    spin: int

    @property
    def joint(self) -> str:
        return f"{self.link}_joint"


ROTORS = (Rotor("rotor_0", 0, 1), Rotor("rotor_1", 1, 1), Rotor("rotor_2", 2, -1), Rotor("rotor_3", 3, -1))


@dataclass(frozen=True)
class Blade:
    """One of the two blades of a rotor, as LiftDrag takes it: lift = cla · alpha · ½ ρ v² · area at `radius` metres
    from the axis, drag by cda; alpha (rad) is the pitch where the air is still."""

    radius: float = 0.084
    area: float = 0.0028
    alpha: float = 0.3
    lift_slope: float = 4.25
    drag_slope: float = 0.8
    air_density: float = 1.2041

    def lift(self, speed: float) -> float:
        """Newtons at a rotor speed in rad/s, hovering in still air."""
        return self.lift_slope * self.alpha * self._pressure_area(speed)

    def drag(self, speed: float) -> float:
        return self.drag_slope * self.alpha * self._pressure_area(speed)

    def _pressure_area(self, speed: float) -> float:
        return 0.5 * self.air_density * (speed * self.radius) ** 2 * self.area


BLADE = Blade()
#: Rotor speed at full throttle (rad/s), and the controller that holds it: torque per rad/s of error, and at most (N·m).
ROTOR_SPEED, ROTOR_GAIN, ROTOR_TORQUE = 838.0, 0.1, 2.5
#: The same of a wheel: proportional and integral gain, and at most.
WHEEL_GAIN, WHEEL_INTEGRAL, WHEEL_TORQUE = 8.0, 16.0, 12.0


def physics_port(instance: int) -> int:
    """UDP port at which Gazebo awaits the motor outputs of ArduPilot's instance."""
    return PHYSICS_PORT + PORTS_PER_INSTANCE * instance


def command_topic(vehicle: str) -> str:
    """Where a kinematic vehicle takes its velocity from (geometry_msgs/Twist, base_link)."""
    return f"/{vehicle}/cmd_vel"


def add_ardupilot(model: Any, base: Any, kind: str, instance: int) -> None:
    """Motors, their IMU in the link `base`, and ardupilot_gazebo's plugin, which waits for SITL's instance."""
    sensor = add(base, "sensor", name=AUTOPILOT_IMU, type="imu")
    add_all(sensor, (("pose", f"0 0 0 {math.pi!r} 0 0"), ("always_on", True), ("update_rate", AUTOPILOT_IMU_RATE)))
    controls = _rotors(model) if kind == "drone" else _wheels()
    joints = list(dict.fromkeys(str(control["jointName"]) for control in controls))
    for joint in joints:
        plugin(model, "ApplyJointForce", "apply-joint-force", [("joint_name", joint)])
    # ArduPilotPlugin applies no force to a joint whose speed nobody asks physics for, and asks for none itself.
    plugin(model, "JointStatePublisher", "joint-state-publisher", [("joint_name", joint) for joint in joints])
    ardupilot = add(model, "plugin", filename="ArduPilotPlugin", name="ArduPilotPlugin")
    add_all(
        ardupilot,
        (
            ("fdm_addr", "127.0.0.1"),
            ("fdm_port_in", physics_port(instance)),
            ("connectionTimeoutMaxCount", 5),
            ("lock_step", 1),
            ("no_time_sync", 1),  # SITL is as fast as Gazebo: it does not hold wall time
            ("have_32_channels", 0),
        ),
    )
    add(ardupilot, "modelXYZToAirplaneXForwardZDown", "0 0 0 180 0 0", degrees="true")
    add(ardupilot, "gazeboXYZToNED", "0 0 0 180 0 90", degrees="true")
    add(ardupilot, "imuName", f"{base.get('name')}::{AUTOPILOT_IMU}")
    for control in controls:
        channel = str(control.pop("channel"))
        add_all(add(ardupilot, "control", channel=channel), control.items())


def _control(channel: int, joint: str, multiplier: float, offset: float, gains: tuple[float, float, float]) -> Any:
    """Output in 0…1 plus `offset`, times `multiplier`, is the joint's speed (rad/s); gains are P, I and torque."""
    p, i, torque = gains
    return {
        "channel": channel,
        "jointName": joint,
        "useForce": 1,
        "multiplier": multiplier,
        "offset": offset,
        "servo_min": SERVO_MIN,
        "servo_max": SERVO_MAX,
        "type": "VELOCITY",
        "p_gain": p,
        "i_gain": i,
        "d_gain": 0,
        "i_max": torque if i else 0,
        "i_min": -torque if i else 0,
        "cmd_max": torque,
        "cmd_min": -torque,
        "controlVelocitySlowdownSim": 1,
    }


def _rotors(model: Any) -> list[dict[str, object]]:
    controls = []
    for rotor in ROTORS:
        for side in (1, -1):
            plugin(model, "LiftDrag", "lift-drag", _blade(rotor, side))
        gains = (ROTOR_GAIN, 0.0, ROTOR_TORQUE)
        controls.append(_control(rotor.channel, rotor.joint, rotor.spin * ROTOR_SPEED, 0.0, gains))
    return controls


def _blade(rotor: Rotor, side: int) -> list[tuple[str, object]]:
    """A blade at +x or −x of its rotor moves along ±y."""
    return [
        ("a0", BLADE.alpha),
        ("alpha_stall", 1.4),
        ("cla", BLADE.lift_slope),
        ("cda", BLADE.drag_slope),
        ("cma", 0.0),
        ("cla_stall", -0.025),
        ("cda_stall", 0.0),
        ("cma_stall", 0.0),
        ("area", BLADE.area),
        ("air_density", BLADE.air_density),
        ("cp", f"{written(side * BLADE.radius)} 0 0"),
        ("forward", f"0 {side * rotor.spin} 0"),
        ("upward", "0 0 1"),
        ("link_name", rotor.link),
    ]


def _wheels() -> list[dict[str, object]]:
    gains = (WHEEL_GAIN, WHEEL_INTEGRAL, WHEEL_TORQUE)
    sides = ((0, LEFT_WHEELS), (2, RIGHT_WHEELS))
    return [_control(channel, joint, 2 * WHEEL_SPEED, -0.5, gains) for channel, joints in sides for joint in joints]


def add_kinematic(model: Any, vehicle: str, kind: str) -> None:
    """Velocities in base_link from `command_topic`: a drone without weight, a rover that drives with its wheels."""
    topic = command_topic(vehicle)
    if kind == "drone":
        for link in model.iter("link"):
            add(link, "gravity", False)
        plugin(model, "VelocityControl", "velocity-control", [("topic", topic)])
        return
    values: list[tuple[str, object]] = [("left_joint", joint) for joint in LEFT_WHEELS]
    values += [("right_joint", joint) for joint in RIGHT_WHEELS]
    values += [("wheel_separation", WHEEL_SEPARATION), ("wheel_radius", WHEEL_RADIUS), ("topic", topic)]
    plugin(model, "DiffDrive", "diff-drive", values)


def add_drive(model: Any, base: Any, vehicle: str, kind: str, autopilot: str, instance: int) -> None:
    """`autopilot` ardupilot, none for the kinematic variant, or PLACED. Raises InputError for any other."""
    if autopilot == PLACED:
        model.insert(0, etree.Element("static"))
        model[0].text = "true"
    elif autopilot == "ardupilot":
        add_ardupilot(model, base, kind, instance)
    elif autopilot == "none":
        add_kinematic(model, vehicle, kind)
    else:
        raise InputError(
            f"autopilot {autopilot!r}: in Gazebo it is ardupilot or none; the embedded autopilot flies the embedded "
            "engine's vehicles (engine:=embedded)"
        )

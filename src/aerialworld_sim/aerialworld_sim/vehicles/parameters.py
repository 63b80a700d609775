"""What a vehicle can do: limits, gains and sizes, with the defaults of ArduCopter and Rover 4.7 in metres.

The names in brackets are the parameters of ArduPilot that a field stands for. Gains are kept because they show: a
controller without feed-forward of drag lags behind its leg just as the recorded one does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from aerialworld_core.errors import InputError

Vector = tuple[float, float, float]


def check_parameters(parameters: object, free: tuple[str, ...] = (), skip: tuple[str, ...] = ()) -> None:
    """Raise InputError for a number that is not finite or, where it is not in `free`, not positive."""
    for field in fields(parameters):  # type: ignore[arg-type]  # called with dataclasses only
        if field.name in skip:
            continue
        value = getattr(parameters, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(math.isfinite(v) for v in numbers):
            raise InputError(f"{type(parameters).__name__}.{field.name} must be finite, not {value!r}")
        if field.name not in free and not all(v > 0 for v in numbers):
            raise InputError(f"{type(parameters).__name__}.{field.name} must be positive, not {value!r}")


@dataclass(frozen=True)
class Wind:
    """Moving air: a steady part and gusts.

    mean       (3,) m/s in map, where the air moves to
    gust       standard deviation of each horizontal component, m/s; half of it vertically
    gust_time  correlation time of the gusts, seconds (first-order Gauss-Markov, the time form of Dryden's longitudinal
               spectrum in MIL-F-8785C at constant airspeed)
    """

    mean: Vector = (0.0, 0.0, 0.0)
    gust: float = 0.0
    gust_time: float = 3.0

    def __post_init__(self) -> None:
        check_parameters(self, free=("mean", "gust"))
        if self.gust < 0:
            raise InputError(f"Wind.gust must not be negative, not {self.gust!r}")


@dataclass(frozen=True)
class LegLimits:
    """What legs are planned with: speeds (m/s), accelerations (m/s²), jerk (m/s³), snap (m/s⁴); `position_gain` (1/s)
    is the controller's that follows them, and tells how far it may stay behind."""

    climb_speed: float
    descent_speed: float
    acceleration: float
    vertical_acceleration: float
    corner_acceleration: float
    jerk: float
    snap: float
    position_gain: float


@dataclass(frozen=True)
class MultirotorParameters:
    """A multirotor as ArduCopter's SITL flies its 3 kg quadrotor.

    mass               kg
    hover_throttle     share of full throttle that holds the weight (MOT_THST_HOVER)
    thrust_ratio       full thrust over weight
    drag_linear, drag_quadratic
                       deceleration by air per m/s and per (m/s)², fitted to the recorded lean angles at 5 to 8 m/s; the
                       linear part is of turning rotors and is given for hovering thrust
    drag_vertical      the linear part of vertical motion, fitted to the recorded throttle of climb and descent
    motor_time         time constant of thrust, seconds
    spool_up           from the take-off command to lift-off, seconds
    spool_down         from touch-down to stopped motors, seconds
    speed, climb_speed, descent_speed, acceleration, vertical_acceleration, corner_acceleration, leg_jerk
                       of legs (WPNAV_SPEED, _SPEED_UP, _SPEED_DN, _ACCEL, _ACCEL_Z, _ACCEL_C with its 0 as twice
                       _ACCEL, _JERK)
    input_time         of attitude commands (ATC_INPUT_TC); bounds the snap of legs
    jerk               of everything else (PSC_JERK_XY, PSC_JERK_Z)
    brake_acceleration of `Brake`
    radius             within which a point counts as reached (WPNAV_RADIUS)
    lean_max           steepest commanded lean, radians (ANGLE_MAX)
    position_gain, velocity_gain, integral_gain, derivative_gain
                       horizontal (PSC_POSXY_P, PSC_VELXY_P, _I, _D)
    height_gain, climb_gain
                       vertical (PSC_POSZ_P, PSC_VELZ_P)
    attitude_gain      of lean and heading, 1/s
    rate_time          time constant of body rates, seconds
    lean_acceleration, yaw_acceleration
                       rad/s² (ATC_ACCEL_R_MAX is larger than what motors give; ATC_ACCEL_Y_MAX)
    yaw_rate           rad/s (ATC_SLEW_YAW)
    body_radius, body_height
                       of what collides, metres
    stand              height of base_link above what it stands on, metres
    hard_landing       touch-down faster than this breaks it, m/s
    """

    mass: float = 3.0
    hover_throttle: float = 0.37
    thrust_ratio: float = 2.5
    drag_linear: float = 0.247
    drag_quadratic: float = 0.0322
    drag_vertical: float = 0.36
    motor_time: float = 0.05
    spool_up: float = 3.28
    spool_down: float = 0.6
    speed: float = 10.0
    climb_speed: float = 2.5
    descent_speed: float = 1.5
    acceleration: float = 2.5
    vertical_acceleration: float = 1.0
    corner_acceleration: float = 5.0
    leg_jerk: float = 1.0
    input_time: float = 0.15
    jerk: float = 5.0
    brake_acceleration: float = 5.0
    radius: float = 2.0
    lean_max: float = math.radians(30.0)
    position_gain: float = 1.0
    velocity_gain: float = 2.0
    integral_gain: float = 1.0
    derivative_gain: float = 0.25
    height_gain: float = 1.0
    climb_gain: float = 5.0
    attitude_gain: float = 6.0
    rate_time: float = 0.04
    lean_acceleration: float = 20.0
    yaw_acceleration: float = math.radians(270.0)
    yaw_rate: float = math.radians(60.0)
    body_radius: float = 0.35
    body_height: float = 0.2
    stand: float = 0.25
    hard_landing: float = 3.0

    def __post_init__(self) -> None:
        check_parameters(self, free=("drag_linear", "drag_quadratic", "drag_vertical", "derivative_gain"))
        if self.lean_max >= math.radians(80.0):
            raise InputError(f"MultirotorParameters.lean_max must be below 80 degrees, not {self.lean_max!r} rad")
        if self.thrust_ratio <= 1.0 / math.cos(self.lean_max):
            raise InputError(
                f"MultirotorParameters.thrust_ratio {self.thrust_ratio!r} cannot hold the height at the steepest lean"
            )
        if self.hover_throttle >= 1.0:
            raise InputError(f"MultirotorParameters.hover_throttle is a share below 1, not {self.hover_throttle!r}")

    @property
    def leg_limits(self) -> LegLimits:
        """ArduCopter leaves half of the snap that the attitude controller can follow as a margin."""
        return LegLimits(
            climb_speed=self.climb_speed,
            descent_speed=self.descent_speed,
            acceleration=self.acceleration,
            vertical_acceleration=self.vertical_acceleration,
            corner_acceleration=self.corner_acceleration,
            jerk=self.leg_jerk,
            snap=0.25 * math.pi * self.leg_jerk / max(self.input_time, 0.1),
            position_gain=self.position_gain,
        )


@dataclass(frozen=True)
class RoverParameters:
    """A rover as Rover's SITL drives its car.

    steering           "ackermann" (a car) or "skid" (turns on the spot)
    full_speed         that full throttle gives on the level, m/s
    drive_time         with which speed follows throttle, seconds
    cruise_throttle, cruise_speed
                       the throttle that the controller believes to give this speed (CRUISE_THROTTLE, CRUISE_SPEED)
    speed_gain, speed_integral
                       throttle per m/s of error, and per m (ATC_SPEED_P, _I)
    estimate_time      lag of the speed that the controller sees, seconds; with it the recorded overshoot comes out
    speed              of legs (WP_SPEED), m/s
    acceleration       of wanted speed (ATC_ACCEL_MAX), m/s²; the jerk of legs is the same number (WP_JERK 0)
    snap               of legs, m/s⁴
    radius             within which a point counts as reached (WP_RADIUS)
    position_gain, velocity_gain
                       (PSC_POS_P, PSC_VEL_P)
    side_acceleration  m/s² (ATC_TURN_MAX_G)
    turn_radius        tightest, metres (TURN_RADIUS)
    yaw_rate           rad/s (ATC_STR_RAT_MAX)
    heading_gain       1/s, of a wanted heading (ATC_STR_ANG_P)
    turn_acceleration  rad/s² of a wanted turn rate (ATC_STR_ACC_MAX)
    turn_feed, turn_gain, turn_integral
                       full steering per m/s and rad/s that is wanted, that is missing, and that stays missing
                       (ATC_STR_RAT_FF, _P, _I); a car's only
    wheel_angle        of full steering, radians
    wheelbase, track   metres, between the wheels that follow the ground
    body_radius, body_height, body_bottom
                       of what collides; the body's underside above the ground
    steepest           ground steeper than this is no way, radians
    """

    steering: str = "ackermann"
    full_speed: float = 20.0
    drive_time: float = 0.667
    cruise_throttle: float = 0.3
    cruise_speed: float = 5.0
    speed_gain: float = 0.1
    speed_integral: float = 0.2
    estimate_time: float = 0.1
    speed: float = 5.0
    acceleration: float = 1.0
    snap: float = 15.0
    radius: float = 3.0
    position_gain: float = 0.2
    velocity_gain: float = 1.0
    side_acceleration: float = 5.88
    turn_radius: float = 0.9
    yaw_rate: float = math.radians(120.0)
    heading_gain: float = 2.0
    turn_acceleration: float = math.radians(120.0)
    turn_feed: float = 0.75
    turn_gain: float = 0.2
    turn_integral: float = 0.2
    wheel_angle: float = math.radians(35.0)
    wheelbase: float = 0.6
    track: float = 0.6
    body_radius: float = 0.45
    body_height: float = 0.3
    body_bottom: float = 0.15
    steepest: float = math.radians(40.0)

    def __post_init__(self) -> None:
        if self.steering not in ("ackermann", "skid"):
            raise InputError(f"RoverParameters.steering is ackermann or skid, not {self.steering!r}")
        check_parameters(self, skip=("steering",))

    @property
    def leg_limits(self) -> LegLimits:
        return LegLimits(
            climb_speed=self.full_speed,
            descent_speed=self.full_speed,
            acceleration=self.acceleration,
            vertical_acceleration=self.acceleration,
            corner_acceleration=self.side_acceleration,
            jerk=self.acceleration,
            snap=self.snap,
            position_gain=self.position_gain,
        )

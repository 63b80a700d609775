"""What is told of the vehicle's motion: attitude, position, speed, where it is going, its inertial sensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aerialworld_core.earth import attitude_of, heading_of, ned_of
from aerialworld_core.frames import Array
from aerialworld_core.mavlink.wire import Message
from aerialworld_core.sensing import GRAVITY, VehicleState

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: type_mask of a target that is a place alone, as ArduPilot reports it.
PLACE_ONLY = 65016


def whole(value: float, bits: int, signed: bool = True) -> int:
    """A number as it fits an integer field of that many bits; what is no number is 0."""
    if not math.isfinite(value):
        return 0
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return min(max(round(value), low), high)


class Motion:
    """Builders of the motion's messages; None where there is nothing to tell yet."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.builders: dict[str, Callable[[], Message | None]] = {
            "attitude": self.attitude,
            "attitude_quaternion": self.attitude_quaternion,
            "global_position_int": self.global_position,
            "local_position_ned": self.local_position,
            "vfr_hud": self.vfr_hud,
            "nav_controller_output": self.nav_controller,
            "position_target_global_int": self.target_on_earth,
            "position_target_local_ned": self.target_local,
            "raw_imu": lambda: Message("raw_imu", {"time_usec": autopilot.boot_us(), **self._inertial(), "id": 0}),
            "scaled_imu2": lambda: self._scaled_imu("scaled_imu2"),
            "scaled_imu3": lambda: self._scaled_imu("scaled_imu3"),
            "simstate": self.simstate,
            "ahrs": self.ahrs,
            "ahrs2": self.ahrs2,
        }

    def attitude(self) -> Message:
        names = ("roll", "pitch", "yaw", "rollspeed", "pitchspeed", "yawspeed")
        values = dict(zip(names, attitude_of(self._autopilot.vehicle.state), strict=True))
        return Message("attitude", {"time_boot_ms": self._autopilot.boot_ms(), **values})

    def attitude_quaternion(self) -> Message:
        roll, pitch, yaw, p, q, r = attitude_of(self._autopilot.vehicle.state)
        (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a / 2), math.sin(a / 2)) for a in (roll, pitch, yaw))
        fields = {
            "time_boot_ms": self._autopilot.boot_ms(),
            "q1": cr * cp * cy + sr * sp * sy,
            "q2": sr * cp * cy - cr * sp * sy,
            "q3": cr * sp * cy + sr * cp * sy,
            "q4": cr * cp * sy - sr * sp * cy,
            "rollspeed": p,
            "pitchspeed": q,
            "yawspeed": r,
        }
        return Message("attitude_quaternion", fields)

    def global_position(self) -> Message:
        autopilot, estimator = self._autopilot, self._autopilot.estimator
        fields: dict[str, Any] = {"time_boot_ms": autopilot.boot_ms(), "lat": 0, "lon": 0, "alt": 0, "relative_alt": 0}
        fields |= {"vx": 0, "vy": 0, "vz": 0, "hdg": 0}
        if self._on_earth():
            position = estimator.position
            latitude, longitude = autopilot.earth.e7_of(position)
            north, east, down = ned_of(autopilot.vehicle.state.linear_velocity)
            fields |= {
                "lat": latitude,
                "lon": longitude,
                "alt": whole(autopilot.earth.altitude_of(float(position[2])) * 1000, 32),
                "relative_alt": whole(estimator.relative_altitude() * 1000, 32),
                "vx": whole(north * 100, 16),
                "vy": whole(east * 100, 16),
                "vz": whole(down * 100, 16),
                "hdg": round(math.degrees(self._heading()) * 100) % 36000,
            }
        return Message("global_position_int", fields)

    def local_position(self) -> Message | None:
        autopilot, estimator = self._autopilot, self._autopilot.estimator
        origin = estimator.origin if estimator.origin is not None else autopilot.start
        if not estimator.has_local_position:
            return None
        x, y, z = ned_of(estimator.position - origin)
        vx, vy, vz = ned_of(autopilot.vehicle.state.linear_velocity)
        fields = {"x": x, "y": y, "z": z, "vx": vx, "vy": vy, "vz": vz}
        return Message("local_position_ned", {"time_boot_ms": autopilot.boot_ms(), **fields})

    def vfr_hud(self) -> Message:
        autopilot = self._autopilot
        east, north, up = (float(v) for v in autopilot.vehicle.state.linear_velocity)
        speed = math.hypot(east, north)
        known = self._on_earth()
        fields = {
            "airspeed": speed,
            "groundspeed": speed,
            "heading": round(math.degrees(self._heading())) % 360,
            "throttle": whole(100 * abs(autopilot.vehicle.throttle) * autopilot.armed, 16, signed=False),
            "alt": autopilot.earth.altitude_of(float(autopilot.estimator.position[2])) if known else 0.0,
            "climb": up,
        }
        return Message("vfr_hud", fields)

    def _on_earth(self) -> bool:
        """Whether it is known where on earth the vehicle is: soon after the satellites' first fix."""
        return self._autopilot.now >= self._autopilot.boot.timeline.gps + 0.2

    def _heading(self) -> float:
        return heading_of(self._autopilot.vehicle.state.pose.yaw)

    # Where it is going

    def nav_controller(self) -> Message | None:
        autopilot, target = self._autopilot, self._autopilot.modes.target()
        if target is None and autopilot.settings.kind == "rover":
            return None
        roll, pitch, yaw, *_ = attitude_of(autopilot.vehicle.state)
        distance = bearing = error = 0.0
        if target is not None:
            east, north, up = (float(v) for v in target - autopilot.estimator.position)
            distance, bearing, error = math.hypot(east, north), math.degrees(math.atan2(east, north)), up
        fields = {
            "nav_roll": math.degrees(roll) if autopilot.armed else 0.0,
            "nav_pitch": math.degrees(pitch) if autopilot.armed else 0.0,
            "nav_bearing": whole(math.degrees(yaw) if target is not None else 0.0, 16),
            "target_bearing": whole(bearing, 16),
            "wp_dist": whole(distance, 16, signed=False),
            "alt_error": error,
            "aspd_error": 0.0,
            "xtrack_error": 0.0,
        }
        return Message("nav_controller_output", fields)

    def target_on_earth(self) -> Message | None:
        autopilot, target = self._autopilot, self._autopilot.modes.target()
        if target is None:
            return None
        latitude, longitude = autopilot.earth.e7_of(target)
        altitude = autopilot.earth.altitude_of(float(target[2]))
        fields = {"coordinate_frame": 0, "lat_int": latitude, "lon_int": longitude, "alt": altitude}
        return Message("position_target_global_int", self._target_fields() | fields)

    def target_local(self) -> Message | None:
        target, origin = self._autopilot.modes.target(), self._autopilot.estimator.origin
        if target is None or origin is None:
            return None
        x, y, z = ned_of(target - origin)
        fields = {"coordinate_frame": 1, "x": x, "y": y, "z": z}
        return Message("position_target_local_ned", self._target_fields() | fields)

    def _target_fields(self) -> dict[str, Any]:
        setpoint = self._autopilot.modes.guided.setpoint
        velocity = setpoint.velocity if setpoint is not None and self._autopilot.mode.name == "GUIDED" else None
        vx, vy, vz = ned_of(velocity) if velocity is not None else (0.0, 0.0, 0.0)
        fields: dict[str, Any] = {"time_boot_ms": self._autopilot.boot_ms(), "type_mask": PLACE_ONLY}
        fields |= {"vx": vx, "vy": vy, "vz": vz, "afx": 0.0, "afy": 0.0, "afz": 0.0, "yaw": 0.0, "yaw_rate": 0.0}
        return fields

    # Inertial sensors

    def _inertial(self) -> dict[str, int]:
        """Specific force in 1/1000 g, rates in 1/1000 rad/s, magnetic field in milligauss; forward, right, down."""
        state = self._autopilot.vehicle.state
        force = _specific_force(state)
        field = state.pose.rotation.T @ np.array([-41.0, 303.0, -353.0])
        rate = state.angular_velocity
        names = ("acc", "gyro", "mag")
        scaled = (force * 1000.0 / GRAVITY, np.asarray(rate) * 1000.0, field)
        fields: dict[str, int] = {}
        for name, (forward, left, up) in zip(names, scaled, strict=True):
            fields |= {f"x{name}": whole(forward, 16), f"y{name}": whole(-left, 16), f"z{name}": whole(-up, 16)}
        return fields

    def _scaled_imu(self, name: str) -> Message:
        return Message(name, {"time_boot_ms": self._autopilot.boot_ms(), **self._inertial()})

    def simstate(self) -> Message:
        autopilot, state = self._autopilot, self._autopilot.vehicle.state
        roll, pitch, yaw, p, q, r = attitude_of(state)
        force = _specific_force(state)
        latitude, longitude = autopilot.earth.e7_of(autopilot.estimator.position)
        fields = {"roll": roll, "pitch": pitch, "yaw": yaw, "xgyro": p, "ygyro": q, "zgyro": r}
        fields |= {"xacc": float(force[0]), "yacc": -float(force[1]), "zacc": -float(force[2])}
        return Message("simstate", fields | {"lat": latitude, "lng": longitude})

    def ahrs(self) -> Message:
        names = ("omegaIx", "omegaIy", "omegaIz", "accel_weight", "renorm_val", "error_rp", "error_yaw")
        return Message("ahrs", dict.fromkeys(names, 0.0))

    def ahrs2(self) -> Message | None:
        autopilot = self._autopilot
        if autopilot.now < autopilot.boot.timeline.estimator[1][0]:
            return None
        roll, pitch, yaw, *_ = attitude_of(autopilot.vehicle.state)
        known = self._on_earth()
        latitude, longitude = autopilot.earth.e7_of(autopilot.estimator.position) if known else (0, 0)
        altitude = autopilot.earth.altitude_of(float(autopilot.estimator.position[2])) if known else 0.0
        fields = {"roll": roll, "pitch": pitch, "yaw": yaw, "altitude": altitude, "lat": latitude, "lng": longitude}
        return Message("ahrs2", fields)


def _specific_force(state: VehicleState) -> Array:
    """What accelerometers feel (3,), m/s², forward, left, up."""
    force: Array = state.pose.rotation.T @ (np.asarray(state.linear_acceleration) + np.array([0.0, 0.0, GRAVITY]))
    return force

"""What is told of the autopilot's own state: sensors' health, satellites, battery, servos, mission, version."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aerialworld_core.mavlink import words
from aerialworld_core.mavlink.wire import Message
from aerialworld_sim.autopilot import telemetry_home
from aerialworld_sim.autopilot.settings import BUILD, VERSION
from aerialworld_sim.autopilot.telemetry_motion import whole
from aerialworld_sim.vehicles.interface import Contact

if TYPE_CHECKING:
    from aerialworld_sim.autopilot.core import Autopilot

#: SYS_STATUS: present, enabled and healthy sensors of a copter after the boot, without what comes and goes.
COPTER_PRESENT, COPTER_ENABLED, COPTER_HEALTHY = 0x5371FC0F, 0x53419C0F, 0x47519C0F
ROVER_PRESENT, ROVER_ENABLED, ROVER_HEALTHY = 0x1331DC0F, 0x1201800F, 0x0311810F
#: Bits that come and go.
GPS, ALTITUDE_CONTROL, POSITION_CONTROL, FENCE = 1 << 5, 1 << 13, 1 << 14, 1 << 20
AHRS, BATTERY, PREARM = 1 << 21, 1 << 25, 1 << 28
#: What a pulse stays at before the throttle is armed, and between what motors and servos move, microseconds.
PULSE_MIN, PULSE_MID, PULSE_MAX = 1000, 1500, 2000
CAPABILITIES = 64495
UNKNOWN = 65535


class System:
    """Builders of the messages about the autopilot itself; None where there is nothing to tell yet."""

    def __init__(self, autopilot: Autopilot) -> None:
        self._autopilot = autopilot
        self.builders: dict[str, Callable[[], Message | None]] = {
            "heartbeat": self.heartbeat,
            "sys_status": self.sys_status,
            "system_time": self.system_time,
            "gps_raw_int": self.gps_raw,
            "ekf_status_report": self.ekf_status,
            "mission_current": self.mission_current,
            "servo_output_raw": self.servo_output,
            "rc_channels": self.rc_channels,
            "rc_channels_scaled": self.rc_channels_scaled,
            "battery_status": self.battery_status,
            "extended_sys_state": self.extended_state,
            "home_position": lambda: self._home(telemetry_home.home_position, autopilot.estimator.home),
            "gps_global_origin": lambda: self._home(telemetry_home.global_origin, autopilot.estimator.origin),
            "fence_status": self.fence_status,
            "power_status": lambda: Message("power_status", {"Vcc": 5000, "Vservo": 0, "flags": 0}),
            "meminfo": lambda: Message("meminfo", {"brkval": 0, "freemem": 65535, "freemem32": 524288}),
            "hwstatus": lambda: Message("hwstatus", {"Vcc": 5000, "I2Cerr": 0}),
            "vibration": self.vibration,
            "scaled_pressure": lambda: self._pressure("scaled_pressure"),
            "scaled_pressure2": lambda: self._pressure("scaled_pressure2"),
            "autopilot_version": self.autopilot_version,
        }

    def _home(self, make: Callable[[Autopilot], Message], known: Any) -> Message | None:
        return None if known is None else make(self._autopilot)

    def heartbeat(self) -> Message:
        autopilot = self._autopilot
        copter = autopilot.settings.kind == "drone"
        fields = {
            "type": 2 if copter else 10,
            "autopilot": 3,
            "base_mode": autopilot.base_mode(),
            "custom_mode": autopilot.mode.number,
            "system_status": int(autopilot.status()),
            "mavlink_version": 3,
        }
        return Message("heartbeat", fields)

    # Sensors

    def sys_status(self) -> Message:
        autopilot, battery = self._autopilot, self._autopilot.battery
        present, enabled, healthy = self._sensors()
        known = battery.monitored
        fields: dict[str, Any] = {
            "onboard_control_sensors_present": present,
            "onboard_control_sensors_enabled": enabled,
            "onboard_control_sensors_health": healthy,
            "load": 0,
            "voltage_battery": whole(battery.voltage * 1000, 16, signed=False) if known else 0,
            "current_battery": whole(battery.current * 100, 16) if known else -1,
            "battery_remaining": battery.remaining if known else -1,
            "drop_rate_comm": 0,
            "errors_comm": min(sum(c.bad_frames for c in autopilot.channels), 65535),
            "errors_count1": 0,
            "errors_count2": 0,
            "errors_count3": 0,
            "errors_count4": 0,
        }
        return Message("sys_status", fields)

    def _sensors(self) -> tuple[int, int, int]:
        autopilot = self._autopilot
        if autopilot.settings.kind == "drone":
            present, enabled, healthy = COPTER_PRESENT, COPTER_ENABLED, COPTER_HEALTHY
        else:
            present, enabled, healthy = ROVER_PRESENT, ROVER_ENABLED, ROVER_HEALTHY
        if autopilot.now >= autopilot.boot.timeline.gps:
            present, enabled = present | GPS, enabled | GPS
            healthy |= GPS if autopilot.estimator.has_satellites else 0
        if not autopilot.battery.monitored:
            healthy &= ~BATTERY
        flying = autopilot.mode.planned or autopilot.mode.position
        if flying:
            enabled, healthy = (
                enabled | POSITION_CONTROL | ALTITUDE_CONTROL,
                healthy | POSITION_CONTROL | ALTITUDE_CONTROL,
            )
        if autopilot.now >= autopilot.boot.timeline.checks:
            enabled |= AHRS
            good = autopilot.settings.kind == "drone" or autopilot.estimator.has_position
            healthy |= AHRS if good and not autopilot.failsafes.estimate_bad else 0
        if autopilot.fence.enabled:
            enabled |= FENCE
        if autopilot.fence.breached:
            healthy &= ~FENCE
        healthy = healthy | PREARM if autopilot.arming.healthy else healthy & ~PREARM
        return present & 0xFFFFFFFF, enabled & present, healthy & present

    def gps_raw(self) -> Message:
        autopilot = self._autopilot
        fields: dict[str, Any] = dict.fromkeys(("time_usec", "fix_type", "lat", "lon", "alt", "vel", "cog"), 0)
        fields |= {"eph": UNKNOWN, "epv": UNKNOWN, "satellites_visible": 0, "alt_ellipsoid": 0}
        fields |= dict.fromkeys(("h_acc", "v_acc", "vel_acc", "hdg_acc", "yaw"), 0)
        if autopilot.estimator.has_satellites:
            position = autopilot.estimator.position
            east, north, _ = (float(v) for v in autopilot.vehicle.state.linear_velocity)
            latitude, longitude = autopilot.earth.e7_of(position)
            altitude = whole(autopilot.earth.altitude_of(float(position[2])) * 1000, 32)
            fields |= {"time_usec": autopilot.boot_us(), "fix_type": 6, "lat": latitude, "lon": longitude}
            fields |= {"alt": altitude, "alt_ellipsoid": altitude, "eph": 121, "epv": 200}
            fields |= {"vel": whole(math.hypot(east, north) * 100, 16, signed=False), "h_acc": 300, "v_acc": 300}
            fields |= {"cog": round(math.degrees(math.atan2(east, north)) * 100) % 36000}
            fields |= {"satellites_visible": whole(autopilot.parameters["SIM_GPS1_NUMSATS"], 8, signed=False)}
        return Message("gps_raw_int", fields)

    def ekf_status(self) -> Message | None:
        autopilot = self._autopilot
        if autopilot.now < autopilot.boot.timeline.reported:
            return None
        lost = autopilot.estimator.flags == words.EKF_NO_POSITION
        fields = dict.fromkeys(("velocity_variance", "pos_horiz_variance", "pos_vert_variance"), 1.2 if lost else 0.01)
        fields |= {"compass_variance": 0.01, "terrain_alt_variance": 0.0}
        return Message("ekf_status_report", {"flags": autopilot.estimator.flags, **fields})

    def vibration(self) -> Message:
        fields: dict[str, Any] = {"time_usec": self._autopilot.boot_us()}
        fields |= dict.fromkeys(("vibration_x", "vibration_y", "vibration_z"), 0.003)
        return Message("vibration", fields | {"clipping_0": 0, "clipping_1": 0, "clipping_2": 0})

    def _pressure(self, name: str) -> Message:
        """The standard atmosphere at the vehicle's height, hPa."""
        altitude = self._autopilot.earth.altitude_of(float(self._autopilot.estimator.position[2]))
        share = max(1.0 - altitude / 44330.8, 0.01)
        fields = {"time_boot_ms": self._autopilot.boot_ms(), "press_abs": 1013.25 * share**5.25588}
        return Message(name, {**fields, "press_diff": 0.0, "temperature": 2500})

    def system_time(self) -> Message:
        """There is no clock in the simulation: only the time since the boot."""
        return Message("system_time", {"time_unix_usec": 0, "time_boot_ms": self._autopilot.boot_ms()})

    # Power and outputs

    def battery_status(self) -> Message:
        battery = self._autopilot.battery
        voltages = [whole(battery.voltage * 1000, 16, signed=False)] + [UNKNOWN] * 9
        fields = {
            "id": 0,
            "battery_function": 0,
            "type": 0,
            "temperature": 32767,
            "voltages": voltages,
            "current_battery": whole(battery.current * 100, 16),
            "current_consumed": whole(battery.used_mah, 32),
            "energy_consumed": whole(battery.used_wh * 36, 32),
            "battery_remaining": battery.remaining,
            "time_remaining": 0,
            "charge_state": 1,
        }
        return Message("battery_status", fields)

    def servo_output(self) -> Message:
        autopilot, throttle = self._autopilot, self._autopilot.vehicle.throttle
        pulses = [0] * 8
        if autopilot.settings.kind == "drone":
            motor = PULSE_MIN + (PULSE_MAX - PULSE_MIN) * max(0.0, throttle) if autopilot.armed else PULSE_MIN
            pulses[:4] = [whole(min(motor, PULSE_MAX), 16, signed=False)] * 4
        else:
            pulses[2] = whole(PULSE_MID + 500 * throttle * autopilot.armed, 16, signed=False)
            pulses[0] = PULSE_MID
        fields = {f"servo{i}_raw": pulse for i, pulse in enumerate(pulses, start=1)}
        time_usec = autopilot.boot_us() % 2**32
        return Message("servo_output_raw", {"time_usec": time_usec, "port": 0, **fields})

    def rc_channels(self) -> Message:
        raw = self._autopilot.sticks.channels() + [0] * 10
        fields = {f"chan{i}_raw": value for i, value in enumerate(raw, start=1)}
        head = {"time_boot_ms": self._autopilot.boot_ms(), "chancount": 8, "rssi": 255}
        return Message("rc_channels", head | fields)

    def rc_channels_scaled(self) -> Message:
        throttle = self._autopilot.vehicle.throttle * self._autopilot.armed
        fields = dict.fromkeys((f"chan{i}_scaled" for i in range(1, 9)), 0)
        fields["chan3_scaled"] = whole(throttle * 10000, 16)
        return Message(
            "rc_channels_scaled", {"time_boot_ms": self._autopilot.boot_ms(), "port": 0, "rssi": 255, **fields}
        )

    # State

    def mission_current(self) -> Message:
        autopilot, count = self._autopilot, self._autopilot.missions.count
        fields = {
            "seq": autopilot.runner.current,
            "total": max(0, count - 1),
            "mission_state": autopilot.runner.state,
            "mission_mode": int(autopilot.mode.name == "AUTO"),
        }
        return Message("mission_current", fields)

    def extended_state(self) -> Message:
        """MAV_LANDED_STATE: 1 on the ground, 2 in the air, 3 taking off, 4 landing."""
        autopilot = self._autopilot
        state = 1
        if autopilot.settings.kind == "drone" and autopilot.vehicle.contact is Contact.AIR:
            state = 3 if autopilot.modes.taking_off else 4 if autopilot.modes.landing else 2
        return Message("extended_sys_state", {"vtol_state": 0, "landed_state": state})

    def fence_status(self) -> Message | None:
        fence = self._autopilot.fence
        if not fence.enabled:
            return None
        fields = {
            "breach_status": int(bool(fence.breached)),
            "breach_count": min(fence.breaches, 65535),
            "breach_type": fence.breach_type,
            "breach_time": fence.breach_ms,
        }
        return Message("fence_status", fields)

    def autopilot_version(self) -> Message:
        major, minor, patch, kind = VERSION
        fields = {
            "capabilities": CAPABILITIES,
            "flight_sw_version": major << 24 | minor << 16 | patch << 8 | kind,
            "middleware_sw_version": 0,
            "os_sw_version": 0,
            "board_version": 0,
            "flight_custom_version": list(BUILD.encode()[:8].ljust(8, b"\0")),
            "middleware_custom_version": [0] * 8,
            "os_custom_version": [0] * 8,
            "vendor_id": 0,
            "product_id": 0,
            "uid": 0,
            "uid2": [0] * 18,
        }
        return Message("autopilot_version", fields)

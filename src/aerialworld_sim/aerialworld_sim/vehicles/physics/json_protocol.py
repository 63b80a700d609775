"""ArduPilot's JSON physics protocol: servo packets in, lines of JSON out. NED and FRD exist only here.

Servo packet, little endian: u16 magic (18458 for 16 channels, 29569 for 32), u16 frame rate, u32 frame count, u16 PWM
per channel. The answer is one object on a line of its own; SITL finds its fields by text search, so no blank may follow
a colon (libraries/SITL/examples/JSON of ArduPilot).
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass

from aerialworld_core.sensing import GRAVITY
from aerialworld_sim.vehicles.moments import Moment, Quaternion, inverse, multiply, rotated
from aerialworld_sim.vehicles.parameters import Vector

_CHANNELS = {18458: 16, 29569: 32}
_HEADER = struct.Struct("<HHI")
_HALF = math.sqrt(0.5)
#: Longest packet that is one; what is longer is not read.
LONGEST = _HEADER.size + 2 * 32


@dataclass(frozen=True)
class Servos:
    """One packet: what the autopilot believes to be the frame rate (Hz), its count of frames, PWM in µs per channel."""

    frame_rate: int
    frame_count: int
    pwm: tuple[int, ...]


def parse_servos(packet: bytes) -> Servos | None:
    """The packet's content; None for anything that is no servo packet."""
    if len(packet) < _HEADER.size:
        return None
    magic, rate, count = _HEADER.unpack_from(packet)
    channels = _CHANNELS.get(magic)
    if channels is None or len(packet) != _HEADER.size + 2 * channels:
        return None
    return Servos(rate, count, struct.unpack_from(f"<{channels}H", packet, _HEADER.size))


def pack_servos(servos: Servos) -> bytes:
    """As the autopilot sends it."""
    magic = {n: m for m, n in _CHANNELS.items()}[len(servos.pwm)]
    return _HEADER.pack(magic, servos.frame_rate, servos.frame_count) + struct.pack(f"<{len(servos.pwm)}H", *servos.pwm)


def ned_from_map(orientation: Quaternion) -> Quaternion:
    """Attitude of the body (forward, right, down) in NED from that of base_link in map; both x, y, z, w, w ≥ 0."""
    q = multiply(multiply((_HALF, _HALF, 0.0, 0.0), orientation), (1.0, 0.0, 0.0, 0.0))
    return q if q[3] >= 0 else (-q[0], -q[1], -q[2], -q[3])


def encode_state(seconds: float, moment: Moment, home: Vector) -> bytes:
    """The answer for a body at `moment`, `seconds` after the physics' start; positions count from `home` (map)."""
    (x, y, z), (vx, vy, vz), (ax, ay, az) = moment.position, moment.velocity, moment.acceleration
    # Specific force in the body: acceleration against gravity.
    fx, fy, fz = rotated(inverse(moment.orientation), (ax, ay, az + GRAVITY))
    nx, ny, nz, nw = ned_from_map(moment.orientation)
    p, q, r = moment.rate
    state = {
        "timestamp": seconds,
        "imu": {"gyro": [p, -q, -r], "accel_body": [fx, -fy, -fz]},
        "position": [y - home[1], x - home[0], home[2] - z],
        "velocity": [vy, vx, -vz],
        "quaternion": [nw, nx, ny, nz],
    }
    return b"\n" + json.dumps(state, separators=(",", ":")).encode() + b"\n"

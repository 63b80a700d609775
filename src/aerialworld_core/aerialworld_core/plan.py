"""A mission as it will be flown: timed poses in map, read and written as JSON, and the smooth motion through them.

The plan holds positions and orientations at knots; velocity and acceleration are derivatives of the spline through
them, so that velocity = dx/dt holds by construction. Needs scipy (`aerialworld_core[world]`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerialworld_core.entries import shown
from aerialworld_core.errors import PlanError
from aerialworld_core.files import canonical_json, read_json, write_json
from aerialworld_core.frames import Array, Pose
from aerialworld_core.route import Fence, Waypoint, route
from aerialworld_core.sensing import VehicleState

SCHEMA_VERSION = 1
#: A plan file larger than this is refused unread; an hour at 10 Hz takes 6 MB.
MAX_PLAN_BYTES = 64 * 1024 * 1024
MAX_KNOTS = 500_000
#: Farther than this from map's origin, metres, no world reaches.
MAX_DISTANCE = 1e6
MAX_DURATION = 1e6

_VEHICLE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_WORD = re.compile(r"[^\W_][\w .+-]{0,99}")


@dataclass(frozen=True, eq=False)
class Plan:
    """A planned run of one vehicle.

    name         also used as a file name: letters, digits, `_`, `-`, `+`, `.` and spaces
    vehicle      as in topic names: lower-case letters, digits, `_`
    t            (N,) seconds from the run's start, increasing, t[0] = 0, N ≥ 4
    position     (N, 3) base_link in map, metres
    orientation  (N, 4) x, y, z, w
    place        name of the block it stays in: splits are made by place
    parameters   what the planner was asked for, for the record; plain JSON
    fence        what all its poses stay in, None where the planner set none

    Raises PlanError, naming the plan, for anything else.
    """

    name: str
    vehicle: str
    agent_type: str
    pattern: str
    place: str
    seed: int
    t: Array
    position: Array
    orientation: Array
    parameters: dict[str, Any] = field(default_factory=dict)
    fence: Fence | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _WORD.fullmatch(self.name):
            raise PlanError(f"plan: name {shown(self.name)} must be letters, digits, spaces and _ . + - (100 at most)")
        label = f"plan {self.name}"
        if not isinstance(self.vehicle, str) or not _VEHICLE.fullmatch(self.vehicle):
            raise PlanError(f"{label}: vehicle {shown(self.vehicle)} must be like drone_1 (a-z, 0-9, _)")
        for key in ("pattern", "place"):
            value = getattr(self, key)
            if not isinstance(value, str) or not _WORD.fullmatch(value):
                raise PlanError(f"{label}: {key} {shown(value)} must be letters, digits, spaces and _ . + -")
        if self.agent_type not in ("drone", "rover"):
            raise PlanError(f"{label}: agent_type is drone or rover, not {shown(self.agent_type)}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise PlanError(f"{label}: seed {shown(self.seed)} must be a whole number ≥ 0")
        if not isinstance(self.parameters, dict):
            raise PlanError(f"{label}: parameters must be an object, not {shown(self.parameters)}")
        try:
            canonical_json(self.parameters)
        except (TypeError, ValueError, RecursionError) as error:
            raise PlanError(f"{label}: parameters are not plain JSON: {error}") from error
        if self.fence is not None and not isinstance(self.fence, Fence):
            raise PlanError(f"{label}: fence must be a Fence, not {shown(self.fence)}")
        t, p, q = (_numbers(label, key, getattr(self, key)) for key in ("t", "position", "orientation"))
        if t.ndim != 1 or len(t) < 4 or p.shape != (len(t), 3) or q.shape != (len(t), 4):
            raise PlanError(f"{label}: needs N ≥ 4 knots of t (N,), position (N, 3), orientation (N, 4)")
        if not (np.isfinite(t).all() and np.isfinite(p).all() and np.isfinite(q).all()):
            raise PlanError(f"{label}: a knot is not finite")
        if abs(t[0]) > 1e-9 or (np.diff(t) <= 0).any():
            raise PlanError(f"{label}: times must start at 0 and increase")
        if np.diff(t).min() < 1e-3 or t[-1] > MAX_DURATION:
            raise PlanError(f"{label}: knots must be at least 1 ms apart and end before {MAX_DURATION:.0f} s")
        if len(t) > MAX_KNOTS or np.abs(p).max() > MAX_DISTANCE:
            raise PlanError(
                f"{label}: more than {MAX_KNOTS} knots or farther than {MAX_DISTANCE:.0f} m from the origin"
            )
        if (np.abs(np.linalg.norm(q, axis=1) - 1) > 1e-3).any():
            raise PlanError(f"{label}: a quaternion is not of unit length")
        for key, value in (("t", t), ("position", p), ("orientation", q)):
            object.__setattr__(self, key, value)

    @property
    def duration(self) -> float:
        """Seconds from the first knot to the last."""
        return float(self.t[-1])

    def trajectory(self) -> Trajectory:
        return Trajectory(self)

    def route(self, tolerance: float = 0.5) -> tuple[Waypoint, ...]:
        """The plan as few waypoints with straight legs, which stay within `tolerance` metres of its path: what an
        autopilot is given. See `aerialworld_core.route`."""
        return route(self, tolerance)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; a fence only where there is one, as older readers know none."""
        return {
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "vehicle": self.vehicle,
            "agent_type": self.agent_type,
            "pattern": self.pattern,
            "place": self.place,
            "seed": self.seed,
            "parameters": self.parameters,
            "t": np.round(self.t, 6).tolist(),
            "position": np.round(self.position, 6).tolist(),
            "orientation": np.round(self.orientation, 9).tolist(),
            **({"fence": self.fence.to_dict()} if self.fence is not None else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Raises PlanError for missing, unknown or malformed entries."""
        if not isinstance(data, Mapping):
            raise PlanError(f"plan: must be a JSON object, not {shown(data)}")
        version = data.get("schema_version")
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise PlanError(f"plan: schema_version {shown(version)} is not {SCHEMA_VERSION}; make the plan again")
        entries = {k: v for k, v in data.items() if k != "schema_version"}
        if "fence" in entries:
            entries["fence"] = Fence.from_dict(entries["fence"])
        try:
            return cls(**entries)
        except TypeError as error:
            raise PlanError(f"plan: missing or unknown entry: {str(error).replace('Plan.__init__() ', '')}") from error

    def write(self, path: Path) -> None:
        """Write atomically as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Raises PlanError, naming the file, when it is missing, too large, no JSON or no plan."""
        try:
            return cls.from_dict(read_json(path, limit=MAX_PLAN_BYTES))
        except FileNotFoundError:
            raise PlanError(f"{path}: no such plan") from None
        except OSError as error:
            raise PlanError(f"{path}: cannot be read: {error.strerror or error}") from error
        except RecursionError as error:
            raise PlanError(f"{path}: nested too deeply to be a plan") from error
        except (ValueError, PlanError) as error:  # ValueError: not JSON, not UTF-8, too large
            text = str(error)
            raise PlanError(text if text.startswith(f"{path}:") else f"{path}: {text}") from error


def agent_type(vehicle: str, plan: Plan | None = None) -> str:
    """drone or rover: as the plan says, else as the vehicle's name begins."""
    if plan:
        return plan.agent_type
    return "rover" if vehicle.lower().startswith("rover") else "drone"


def _numbers(label: str, key: str, value: Any) -> Array:
    """An array of floats from an array or nested lists of numbers; text, booleans and ragged lists are refused."""
    try:
        array = np.asarray(value)
        if array.dtype.kind in "iuf":
            return array.astype(np.float64)
    except (ValueError, OverflowError):
        pass  # ragged lists and numbers beyond any integer type: refused below
    raise PlanError(f"{label}: {key} must be an array of numbers")


@dataclass(frozen=True, eq=False)
class Motion:
    """A trajectory sampled at N times: the arrays of `VehicleState`.

    t (N,) seconds; position, linear_velocity, linear_acceleration (N, 3) in map; orientation (N, 4) x, y, z, w;
    angular_velocity (N, 3) in base_link.
    """

    t: Array
    position: Array
    orientation: Array
    linear_velocity: Array
    linear_acceleration: Array
    angular_velocity: Array

    @cached_property
    def yaw_rate(self) -> Array:
        """(N,) angular velocity about the vertical of map, rad/s."""
        from scipy.spatial.transform import Rotation

        return np.asarray(Rotation.from_quat(self.orientation).apply(self.angular_velocity)[:, 2])


class Trajectory:
    """The smooth motion through a plan's knots: cubic spline in position (C²), rotation spline in orientation.

    The position spline's end conditions are not-a-knot: it reproduces a constant acceleration exactly, ends included,
    so that a run cut out of a longer one begins and ends with the accelerations of that one.
    """

    def __init__(self, plan: Plan) -> None:
        from scipy.interpolate import CubicSpline
        from scipy.spatial.transform import Rotation, RotationSpline

        self.plan = plan
        self._position = CubicSpline(plan.t, plan.position, axis=0, bc_type="not-a-knot")
        self._velocity = self._position.derivative(1)
        self._acceleration = self._position.derivative(2)
        self._rotation = RotationSpline(plan.t, Rotation.from_quat(plan.orientation))

    @property
    def duration_ns(self) -> int:
        return round(self.plan.duration * 1e9)

    def sample(self, t: NDArray[Any]) -> Motion:
        """The motion at times `t` (N,) seconds, each between 0 and the plan's duration (1 µs of rounding is clipped).

        Raises ValueError for a time outside.
        """
        t = np.atleast_1d(np.asarray(t, dtype=np.float64))
        if t.size and not (t.min() >= -1e-6 and t.max() <= self.plan.duration + 1e-6):
            raise ValueError(f"times {t.min()} … {t.max()} s leave the plan's 0 … {self.plan.duration} s")
        t = np.clip(t, 0.0, self.plan.duration)
        return Motion(
            t=t,
            position=self._position(t),
            orientation=self._rotation(t).as_quat(),
            linear_velocity=self._velocity(t),
            linear_acceleration=self._acceleration(t),
            angular_velocity=self._rotation(t, 1),  # scipy gives body rates
        )

    def states(self, stamps: NDArray[np.int64]) -> Motion:
        """`state` at each of `stamps` (N,), integer nanoseconds; at rest before the start and after the end."""
        end = self.duration_ns
        moving = ((stamps >= 0) & (stamps <= end))[:, None]
        t = np.minimum(np.clip(stamps, 0, end) * 1e-9, self.plan.duration)
        return Motion(
            t=np.asarray(stamps * 1e-9, np.float64),
            position=self._position(t),
            orientation=self._rotation(t).as_quat(),
            linear_velocity=self._velocity(t) * moving,
            linear_acceleration=self._acceleration(t) * moving,
            angular_velocity=self._rotation(t, 1) * moving,
        )

    def state(self, stamp_ns: int) -> VehicleState:
        """The state at `stamp_ns`; before the start and after the end the vehicle stands at the ends, at rest."""
        end = self.duration_ns
        t = min(max(stamp_ns, 0), end) * 1e-9
        t = min(t, self.plan.duration)
        moving = 0 <= stamp_ns <= end
        pose = Pose(self._position(t), self._rotation(t).as_quat())
        zero = np.zeros(3)
        return VehicleState(
            stamp_ns=stamp_ns,
            pose=pose,
            linear_velocity=self._velocity(t) if moving else zero,
            angular_velocity=self._rotation(t, 1) if moving else zero,  # scipy gives body rates
            linear_acceleration=self._acceleration(t) if moving else zero,
        )

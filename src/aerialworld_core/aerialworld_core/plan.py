"""A mission as it will be flown: timed poses in map, read and written as JSON, and the smooth motion through them.

The plan holds positions and orientations at knots; velocity and acceleration are derivatives of the spline through them,
so that velocity = dx/dt holds by construction. Needs scipy (`aerialworld_core[world]`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aerialworld_core.errors import PlanError
from aerialworld_core.files import read_json, write_json
from aerialworld_core.frames import Array, Pose
from aerialworld_core.sensing import VehicleState

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Plan:
    """A planned run of one vehicle.

    t            (N,) seconds from the run's start, increasing, t[0] = 0, N ≥ 4
    position     (N, 3) base_link in map, metres
    orientation  (N, 4) x, y, z, w
    place        name of the block it stays in: splits are made by place
    parameters   what the planner was asked for, for the record
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

    def __post_init__(self) -> None:
        t, p, q = (np.asarray(a, dtype=np.float64) for a in (self.t, self.position, self.orientation))
        if self.agent_type not in ("drone", "rover"):
            raise PlanError(f"plan {self.name}: agent_type is drone or rover, not {self.agent_type!r}")
        if t.ndim != 1 or len(t) < 4 or p.shape != (len(t), 3) or q.shape != (len(t), 4):
            raise PlanError(f"plan {self.name}: needs N ≥ 4 knots of t (N,), position (N, 3), orientation (N, 4)")
        if not (np.isfinite(t).all() and np.isfinite(p).all() and np.isfinite(q).all()):
            raise PlanError(f"plan {self.name}: a knot is not finite")
        if abs(t[0]) > 1e-9 or (np.diff(t) <= 0).any():
            raise PlanError(f"plan {self.name}: times must start at 0 and increase")
        if (np.abs(np.linalg.norm(q, axis=1) - 1) > 1e-3).any():
            raise PlanError(f"plan {self.name}: a quaternion is not of unit length")
        for key, value in (("t", t), ("position", p), ("orientation", q)):
            object.__setattr__(self, key, value)

    @property
    def duration(self) -> float:
        """Seconds from the first knot to the last."""
        return float(self.t[-1])

    def trajectory(self) -> Trajectory:
        return Trajectory(self)

    def to_dict(self) -> dict[str, Any]:
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
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        try:
            version = data["schema_version"]
            if version != SCHEMA_VERSION:
                raise PlanError(f"plan: schema_version {version!r} is not {SCHEMA_VERSION}; make the plan again")
            return cls(**{k: v for k, v in data.items() if k != "schema_version"})
        except (KeyError, TypeError, ValueError) as error:
            raise PlanError(f"plan: missing or malformed entry: {error}") from error

    def write(self, path: Path) -> None:
        """Write atomically as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Raises PlanError, naming the file, when it is missing, no JSON or no plan."""
        try:
            return cls.from_dict(read_json(path))
        except FileNotFoundError:
            raise PlanError(f"{path}: no such plan") from None
        except (json.JSONDecodeError, UnicodeDecodeError, PlanError) as error:
            raise PlanError(f"{path}: {error}") from error


class Trajectory:
    """The smooth motion through a plan's knots: cubic spline in position (C²), rotation spline in orientation."""

    def __init__(self, plan: Plan) -> None:
        from scipy.interpolate import CubicSpline
        from scipy.spatial.transform import Rotation, RotationSpline

        self.plan = plan
        self._position = CubicSpline(plan.t, plan.position, axis=0, bc_type="natural")
        self._velocity = self._position.derivative(1)
        self._acceleration = self._position.derivative(2)
        self._rotation = RotationSpline(plan.t, Rotation.from_quat(plan.orientation))

    @property
    def duration_ns(self) -> int:
        return round(self.plan.duration * 1e9)

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

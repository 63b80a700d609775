"""Vehicles under one goal at a time, logged step by step, and the world around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aerialworld_core.frames import rpy_from_rotation
from aerialworld_core.world import World
from aerialworld_sim.vehicles.surroundings import Surroundings

MS = 1_000_000


def run(vehicle, goal, seconds: float, step: int = 20 * MS) -> np.ndarray:
    """Rows: t, position, velocity, roll, pitch, yaw, throttle, acceleration, angular velocity."""
    vehicle.command(goal)
    rows = []
    for _ in range(round(seconds * 1e9 / step)):
        s = vehicle.step(step)
        rows.append(
            [s.stamp_ns * 1e-9, *s.pose.position, *s.linear_velocity, *rpy_from_rotation(s.pose.rotation),
             vehicle.throttle, *s.linear_acceleration, *s.angular_velocity]
        )  # fmt: skip
    return np.array(rows)


def real(world, sha256: str = "") -> World:
    """A hand-made world with the rays and heights of a real one."""
    return World("w", Path("w.sdf"), sha256, None, world.scene, world.light)


def surroundings(world, **options) -> Surroundings:
    return Surroundings(real(world), **options)

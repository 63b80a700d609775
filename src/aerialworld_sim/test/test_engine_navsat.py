"""Satellite fixes against the earth's own curvature radii, and their noise."""

from __future__ import annotations

import numpy as np
import pytest

from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.rig import NavSatSpec
from aerialworld_core.sensing import VehicleState
from aerialworld_sim.navsat import fix

ORIGIN = Georeference(35.68, 139.76, 12.0)
#: WGS 84.
A, F = 6378137.0, 1 / 298.257223563


def state(x=0.0, y=0.0, z=0.0, yaw=0.0, stamp=0) -> VehicleState:
    return VehicleState(stamp, Pose.from_rpy(x, y, z, 0, 0, yaw), np.zeros(3), np.zeros(3))


def metres_per_degree() -> tuple[float, float]:
    """North and east at the origin, from the meridian's and the prime vertical's radii of curvature."""
    phi, e2 = np.radians(ORIGIN.latitude), F * (2 - F)
    w = np.sqrt(1 - e2 * np.sin(phi) ** 2)
    north, east = A * (1 - e2) / w**3 + ORIGIN.height, (A / w + ORIGIN.height) * np.cos(phi)
    return np.radians(north), np.radians(east)


def test_the_origin_and_steps_from_it():
    north, east = metres_per_degree()
    assert fix(None, state(), ORIGIN, 0, "v") == pytest.approx((ORIGIN.latitude, ORIGIN.longitude, ORIGIN.height))
    latitude, longitude, altitude = fix(None, state(50.0, -80.0, 30.0), ORIGIN, 0, "v")
    assert (latitude - ORIGIN.latitude) * north == pytest.approx(-80.0, abs=2e-3)
    assert (longitude - ORIGIN.longitude) * east == pytest.approx(50.0, abs=2e-3)
    assert altitude == pytest.approx(42.0, abs=2e-3)


def test_the_antenna_turns_with_the_vehicle():
    north, east = metres_per_degree()
    spec = NavSatSpec("gps", Pose.from_rpy(2.0, 0.0, 1.0), 10.0)
    latitude, longitude, altitude = fix(spec, state(yaw=np.pi / 2), ORIGIN, 0, "v")  # forward is north
    assert (latitude - ORIGIN.latitude) * north == pytest.approx(2.0, abs=1e-5)
    assert (longitude - ORIGIN.longitude) * east == pytest.approx(0.0, abs=1e-5) and altitude == pytest.approx(13.0)


def test_noise_is_in_metres_and_a_function_of_seed_vehicle_and_stamp():
    north, east = metres_per_degree()
    spec = NavSatSpec("gps", Pose.identity(), 10.0, 1.5, 4.0)
    fixes = np.array([fix(spec, state(stamp=i * 100_000_000), ORIGIN, 3, "v") for i in range(2000)])
    error = (fixes - [ORIGIN.latitude, ORIGIN.longitude, ORIGIN.height]) * [north, east, 1.0]
    assert np.allclose(error.std(axis=0), [1.5, 1.5, 4.0], rtol=0.05)
    assert np.abs(error.mean(axis=0)).max() < 0.3 and np.abs(np.corrcoef(error.T) - np.eye(3)).max() < 0.08
    assert fix(spec, state(stamp=700_000_000), ORIGIN, 3, "v") == tuple(fixes[7])
    assert fix(spec, state(stamp=700_000_000), ORIGIN, 4, "v") != tuple(fixes[7])
    assert fix(spec, state(stamp=700_000_000), ORIGIN, 3, "w") != tuple(fixes[7])

"""Frames between map and MAVLink, against pymap3d and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymap3d import enu2geodetic, geodetic2enu

from aerialworld_core.earth import Earth, attitude_of, heading_of, map_of_ned, ned_of, yaw_of_heading
from aerialworld_core.frames import Georeference, Pose
from aerialworld_core.sensing import VehicleState

latitudes = st.floats(-89.0, 89.0)
longitudes = st.floats(-180.0, 180.0)
metres = st.floats(-5000.0, 5000.0)


@settings(max_examples=200, deadline=None)
@given(latitudes, longitudes, st.floats(-100.0, 4000.0), metres, metres, st.floats(-200.0, 2000.0))
def test_places_on_earth_are_those_of_pymap3d(lat: float, lon: float, h: float, e: float, n: float, u: float) -> None:
    earth = Earth(Georeference(lat, lon, h))
    got_lat, got_lon = earth.e7_of(np.array([e, n, u]))
    true_lat, true_lon, _ = enu2geodetic(e, n, u, lat, lon, h)
    assert abs(got_lat - true_lat * 1e7) <= 1
    apart = math.remainder(got_lon * 1e-7 - float(true_lon), 360.0)
    assert abs(apart) * 1e7 <= 1.01
    back = earth.map_of(got_lat, got_lon)
    east, north, _ = geodetic2enu(got_lat * 1e-7, got_lon * 1e-7, h, lat, lon, h)
    assert back == pytest.approx([float(east), float(north)], abs=1e-4)


def test_headings_turn_the_other_way_than_yaw() -> None:
    assert heading_of(0.0) == pytest.approx(math.pi / 2)  # east
    assert heading_of(math.pi / 2) == pytest.approx(0.0)  # north
    assert heading_of(math.pi) == pytest.approx(3 * math.pi / 2)  # west
    for degrees in range(0, 360, 7):
        heading = math.radians(degrees)
        assert heading_of(yaw_of_heading(heading)) == pytest.approx(heading, abs=1e-12)


def test_north_east_down() -> None:
    assert ned_of(np.array([1.0, 2.0, 3.0])) == (2.0, 1.0, -3.0)
    assert map_of_ned(2.0, 1.0, -3.0).tolist() == [1.0, 2.0, 3.0]


def test_attitude_is_that_of_a_forward_right_down_body() -> None:
    # Nose to the north-east, leaning to the right by 10 degrees, nose up by 5 (SDF's pitch is positive down).
    pose = Pose.from_rpy(0, 0, 0, math.radians(10), math.radians(-5), math.radians(45))
    state = VehicleState(0, pose, np.zeros(3), np.array([0.1, 0.2, 0.3]))
    roll, pitch, yaw, p, q, r = attitude_of(state)
    assert [math.degrees(v) for v in (roll, pitch, yaw)] == pytest.approx([10.0, 5.0, 45.0])
    assert (p, q, r) == pytest.approx((0.1, -0.2, -0.3))

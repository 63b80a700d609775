"""Coordinates: places land where pyproj says, in the zone that the survey law names, in the right handedness."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from aerialworld_city.geodesy import LocalFrame, Projection, find_zone, plane_of, to_plane
from aerialworld_city.readers.citygml import epsg_of
from aerialworld_core.errors import InputError


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ((32.80, 130.71), 6670),  # Kumamoto
        ((34.69, 135.50), 6674),  # Osaka
        ((35.10, 138.86), 6676),  # Numazu
        ((36.65, 138.19), 6676),  # Nagano
        ((35.68, 139.76), 6677),  # Tokyo
        ((36.08, 140.11), 6677),  # Tsukuba
        ((43.06, 141.35), 6680),  # Sapporo
        ((27.09, 142.19), 6682),  # Ogasawara
        ((26.21, 127.68), 6683),  # Naha
    ],
)
def test_zones_of_known_cities(place, zone):
    assert find_zone(*place) == zone


def test_outside_japan_is_an_error():
    with pytest.raises(InputError, match="none of Japan's plane zones"):
        find_zone(48.85, 2.35)


def test_points_land_at_pyproj_coordinates_to_a_millimetre():
    points = np.array([[35.6581, 139.7414, 25.0], [35.665, 139.75, 2.5], [35.70, 139.60, 300.0]])
    projection = Projection(6677)
    frame = LocalFrame.at(projection, 35.66, 139.745)
    local = frame.from_plane(to_plane(points, 6697, projection))
    reference = pyproj.Transformer.from_crs("EPSG:6668", "EPSG:6677", always_xy=True)
    e0, n0 = reference.transform(139.745, 35.66)
    e, n = reference.transform(points[:, 1], points[:, 0])
    assert local == pytest.approx(np.column_stack([e - e0, n - n0, points[:, 2]]), abs=1e-3)
    assert local[1, 0] > 0 and local[1, 1] > 0  # further east and north is +x, +y


def test_the_projection_agrees_with_the_geodesic_on_the_ellipsoid():
    """Distances by an independent method: the inverse geodesic problem, times the plane's scale."""
    projection = Projection(6677)
    a, b = (35.6600, 139.7450), (35.6640, 139.7490)
    east, north = projection.forward(np.array([a[0], b[0]]), np.array([a[1], b[1]]))
    azimuth, _, distance = pyproj.Geod(ellps="GRS80").inv(a[1], a[0], b[1], b[0])
    scale = projection.scale(35.662, 139.747)
    assert np.hypot(*np.diff([east, north], axis=1)) == pytest.approx(distance * scale, abs=1e-4)
    bearing = np.degrees(np.arctan2(np.diff(east), np.diff(north)))[0]
    # Convergence: grid north lies clockwise of true north by γ, so a grid bearing is the true azimuth minus γ.
    assert bearing == pytest.approx(azimuth - projection.convergence(*a), abs=1e-3)


def test_origin_round_trip_and_heights():
    frame = LocalFrame.at_plane(Projection(6677), -8100.0, -37400.0)
    again = LocalFrame.at(frame.projection, frame.georeference.latitude, frame.georeference.longitude)
    assert (again.east, again.north) == pytest.approx((-8100.0, -37400.0), abs=1e-6)
    assert frame.from_plane(np.array([[-8100.0, -37400.0, 24.8]])) == pytest.approx(np.array([[0, 0, 24.8]]))


def test_plane_systems_come_north_first():
    points = to_plane(np.array([[-37035.87, -8234.16, 24.8]]), 10170, Projection(6677))
    assert points == pytest.approx(np.array([[-8234.16, -37035.87, 24.8]]))


def test_impossible_places_become_nan_and_leave_the_others_alone():
    rows = [[35.66, 139.7, 3.0], [np.nan, 139.7, 3.0], [1e9, 139.7, 3.0], [35.66, 139.7, 1e9], [35.66, np.inf, 0.0]]
    plane = to_plane(np.array(rows), 6697, Projection(6677))
    assert np.isfinite(plane[0]).all() and np.isnan(plane[1:]).all()


@pytest.mark.parametrize("code", [1234567, 4326, 6697, 3857 + 900000])
def test_unknown_or_unfit_target_systems_are_refused(code):
    with pytest.raises(InputError, match="EPSG"):
        Projection(code)


def test_codes_in_names():
    assert epsg_of("http://www.opengis.net/def/crs/EPSG/0/6697") == 6697
    assert epsg_of("urn:ogc:def:crs:EPSG::6697") == 6697
    assert epsg_of("EPSG:6677") == 6677
    assert epsg_of(None) is None and epsg_of("somewhere") == 0
    with pytest.raises(InputError):
        plane_of(0)
